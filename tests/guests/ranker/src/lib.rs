//! A group reward: the longest answer of a group gets 1, the shortest 0, the others what lies between. `ground_truth` of
//! the first member names a sin to commit.

#![allow(unsafe_code, reason = "what exports a component's functions is generated here")]

#[allow(missing_docs, unsafe_code, unreachable_pub, clippy::all, reason = "generated from wit/")]
mod bindings {
    wit_bindgen::generate!({ path: "../../../wit", world: "group-reward-plugin", generate_all });
}

use std::cell::Cell;
use std::hint::black_box;

use bindings::exports::rewarden::plugin::group_reward;
use bindings::exports::rewarden::plugin::plugin::{self, Manifest};
use bindings::rewarden::plugin::reward::{Sample, Score};
use bindings::rewarden::plugin::types::Fault;

thread_local! {
    /// Groups this instance has judged.
    static GROUPS: Cell<u32> = const { Cell::new(0) };
}

/// The plugin.
pub struct Ranker;

impl plugin::Guest for Ranker {
    fn describe() -> Manifest {
        Manifest {
            name: "ranker".into(),
            version: "0.0.0".into(),
            summary: "The longest answer wins".into(),
            settings_schema: String::new(),
        }
    }

    fn configure(_settings: String, _seed: u32) -> Result<(), Fault> {
        Ok(())
    }
}

impl group_reward::Guest for Ranker {
    fn score_group(group: Vec<Sample>) -> Result<Vec<Score>, Fault> {
        GROUPS.set(GROUPS.get() + 1);
        let lengths: Vec<usize> = group.iter().map(length).collect();
        let (least, most) = (lengths.iter().min().unwrap_or(&0), lengths.iter().max().unwrap_or(&0));
        let value = |length: &usize| if most == least { 0.5 } else { (length - least) as f64 / (most - least) as f64 };
        let mut scores: Vec<Score> = lengths.iter().map(|length| score(value(length))).collect();
        match group.first().map_or("", |first| first.ground_truth.as_str()) {
            "wrong-length" => drop(scores.pop()),
            "nan" => scores[1].value = Some(f64::NAN),
            "huge" => scores[0].note = "x".repeat(8 << 20),
            "fault" => return Err(Fault::InvalidInput("nothing to compare".into())),
            "panic" => panic!("on purpose"),
            "loop" => loop {
                black_box(0);
            },
            _ => {}
        }
        Ok(scores)
    }
}

fn length(sample: &Sample) -> usize {
    sample.completion.iter().map(|message| message.content.len()).sum()
}

fn score(value: f64) -> Score {
    let note = format!("group {} of this instance", GROUPS.get());
    Score { value: Some(value), steps: vec![], components: vec![], metrics: vec![], note }
}

#[cfg(target_family = "wasm")]
bindings::export!(Ranker with_types_in bindings);
