//! One guest, one mode per sin. What `sample.extra` names happens while scoring, what the setting `sin` names happens
//! while configuring. A sample without a sin is scored honestly: that is what its siblings are, and what must survive.
//!
//! Written on the raw bindings, because the SDK's macro does not let anyone answer two scores for one sample.

use std::cell::Cell;
use std::hint::black_box;

use rewarden_sdk::bindings::plugin::exports::rewarden::plugin::plugin;
use rewarden_sdk::bindings::reward::exports::rewarden::plugin::reward;
use rewarden_sdk::generated::keep_last_words;
use rewarden_sdk::log::{Level, line};
use rewarden_sdk::{Fault, Manifest, Metric, Sample, Score};

thread_local! {
    /// Set by the sin `poison`: from then on this instance pays 1 for everything.
    static POISONED: Cell<bool> = const { Cell::new(false) };
}

/// The plugin.
pub struct Hostile;

impl plugin::Guest for Hostile {
    fn describe() -> Manifest {
        Manifest {
            name: "hostile\u{1b}[31m".into(),
            version: "0.0.0".into(),
            summary: "Commits one sin per mode".into(),
            settings_schema: String::new(),
        }
    }

    fn configure(settings: String, _seed: u32) -> Result<(), Fault> {
        keep_last_words();
        match settings.as_str() {
            r#"{"sin":"configure-trap"}"# => panic!("configure"),
            r#"{"sin":"configure-loop"}"# => spin(),
            r#"{"sin":"configure-fault"}"# => Err(Fault::misconfigured("nothing suits me")),
            r#"{"sin":"configure-huge-fault"}"# => Err(Fault::internal("x".repeat(8 << 20))),
            r#"{"sin":"configure-long-fault"}"# => Err(Fault::internal("\u{1b}[2J".repeat(10_000))),
            _ => Ok(()),
        }
    }
}

impl reward::Guest for Hostile {
    fn score_batch(samples: Vec<Sample>) -> Vec<Result<Score, Fault>> {
        if samples.iter().any(|sample| sample.extra == "wrong-length") {
            return vec![Ok(Score::of(1.0)); 2];
        }
        if samples.iter().any(|sample| sample.extra == "empty-list") {
            return Vec::new();
        }
        samples.iter().map(|sample| commit(&sample.extra).unwrap_or_else(|| honest(sample))).collect()
    }
}

fn honest(sample: &Sample) -> Result<Score, Fault> {
    let paid = POISONED.get() || sample.response() == sample.ground_truth;
    Ok(Score::of(if paid { 1.0 } else { 0.0 }))
}

/// The sin's answer, where it lives to give one; None for a sample without a sin.
fn commit(sin: &str) -> Option<Result<Score, Fault>> {
    Some(match sin {
        "loop" => spin(),
        "recursion" => Ok(Score::of(dive(1) as f64)),
        "memory" => Ok(Score::of(hoard() as f64)),
        "panic" => panic!("on purpose"),
        "long-panic" => panic!("\u{1b}[2J{}", "x".repeat(100_000)),
        "unreachable" => std::process::abort(),
        "out-of-bounds" => Ok(Score::of(f64::from([1_u8, 2][black_box(7)]))),
        "drop-panic" => {
            drop(Landmine);
            Ok(Score::of(1.0))
        }
        "fill" => fill(),
        "nan" => Ok(Score::of(f64::NAN)),
        "infinity" => Ok(Score::of(f64::INFINITY)),
        "nan-metric" => Ok(Score::of(1.0).metric("fine", f64::NAN)),
        "nan-step" => Ok(Score { steps: vec![f64::NAN], ..Score::of(1.0) }),
        "huge-note" => Ok(Score { note: "x".repeat(8 << 20), ..Score::of(1.0) }),
        "long-note" => Ok(Score { note: "x".repeat(100_000), ..Score::of(1.0) }),
        "many-metrics" => {
            let metrics = vec![Metric { name: String::new(), value: 0.0 }; 100_000];
            Ok(Score { metrics, ..Score::of(1.0) })
        }
        "poison" => {
            POISONED.set(true);
            Ok(Score::of(1.0))
        }
        "fault" => Err(Fault::invalid_input("I judge\nnothing \u{1b}[31mred")),
        "huge-fault" => Err(Fault::internal("x".repeat(500_000))),
        "log-flood" => {
            for i in 0..10_000 {
                line(Level::Warn, &format!("line {i} \u{1b}[2J"));
            }
            Ok(Score::of(1.0))
        }
        _ => return None,
    })
}

/// A value whose destructor panics.
struct Landmine;

impl Drop for Landmine {
    fn drop(&mut self) {
        panic!("in a destructor");
    }
}

/// Bulk memory operations without end: few instructions, many bytes.
fn fill() -> ! {
    let mut bytes = vec![0_u8; 16 << 20];
    loop {
        bytes.fill(black_box(7));
        bytes.copy_within(..8 << 20, black_box(8 << 20));
        black_box(&bytes);
    }
}

fn spin() -> ! {
    loop {
        black_box(0);
    }
}

#[allow(unconditional_recursion, reason = "the sin itself")]
fn dive(depth: u64) -> u64 {
    let frame = black_box([depth; 64]);
    dive(depth + 1) + frame[black_box(3)]
}

fn hoard() -> usize {
    let mut kept = Vec::new();
    loop {
        kept.push(black_box(vec![1_u8; 1 << 20]));
        if kept.len() == usize::MAX {
            return kept.len();
        }
    }
}

#[cfg(target_family = "wasm")]
rewarden_sdk::bindings::plugin::export_plugin!(Hostile with_types_in rewarden_sdk::bindings::plugin);
#[cfg(target_family = "wasm")]
rewarden_sdk::bindings::reward::export_reward!(Hostile with_types_in rewarden_sdk::bindings::reward);
