//! Scores the final answer of GSM8K-style completions: the number after `####`, or the last number.
//!
//! The field's graders agree on the marker and differ on everything around it, so each difference is a setting: `method`
//! says where the answer stands (`extract.rs`), `numbers` says when two answers are the same (`number.rs`). Scanning is
//! written by hand and linear, because a policy may answer with a megabyte of `#`.

mod extract;
mod number;

use rewarden_sdk::{Fault, Sample, Score, reward};
use serde::Deserialize;

use extract::{exact_answer, lenient_answer, reference};
use number::Decimal;

/// What a run can set.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Where the answer stands.
    pub method: Method,
    /// When an answer equals the reference.
    pub numbers: Numbers,
    /// What an answer that was found and is wrong earns.
    pub format_score: f64,
    /// What the right answer earns.
    pub score: f64,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings { method: Method::First, numbers: Numbers::Lenient, format_score: 0.0, score: 1.0 }
    }
}

/// Where the answer stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Method {
    /// After the first `####` that a number follows, as OpenAI's grader and nanochat take it.
    First,
    /// After the last such `####` within the final 300 characters, as verl takes it.
    Strict,
    /// The last number within the final 300 characters, as verl's flexible mode takes it.
    Flexible,
}

/// When an answer equals the reference.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Numbers {
    /// When a person would say so: by value, whatever commas, currency signs, emphasis or dots stand around it.
    Lenient,
    /// When the original graders say so: by their characters.
    Exact,
}

/// Judges one sample.
pub fn score(sample: &Sample, settings: &Settings) -> Result<Score, Fault> {
    let wanted = reference(&sample.ground_truth).ok_or_else(|| no_reference(&sample.ground_truth))?;
    let found = match settings.numbers {
        Numbers::Exact => exact_answer(sample.response(), settings.method)
            .map(|answer| (answer == wanted.text.replace(',', ""), answer)),
        Numbers::Lenient => lenient_answer(sample.response(), settings.method)
            .map(|answer| (answer.value == Some(wanted.value), answer.text)),
    };
    Ok(match found {
        Some((true, answer)) => Score::of(settings.score).note(answer),
        Some((false, answer)) => Score::of(settings.format_score).note(answer),
        None => Score::of(0.0),
    })
}

fn no_reference(ground_truth: &str) -> Fault {
    match ground_truth.trim() {
        "" => Fault::invalid_input("the sample has no ground truth"),
        text => {
            let shown: String = text.chars().take(60).collect();
            Fault::invalid_input(format!("the ground truth is no number: {shown}"))
        }
    }
}

reward!(score, Settings);
