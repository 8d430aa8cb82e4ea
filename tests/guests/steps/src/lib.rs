//! Judges every line that says something by its share of letters, and the whole answer by their mean: a process reward
//! that differs between the answers of an untrained policy.

use rewarden_sdk::{Fault, Sample, Score, reward};

#[derive(serde::Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Judges one step more than there are, of every answer of several lines: its host must notice.
    pub miscount: bool,
    /// Says nothing of the steps.
    pub outcome_only: bool,
}

pub fn score(sample: &Sample, settings: &Settings) -> Result<Score, Fault> {
    let lines = sample.response().lines().filter(|line| !line.trim().is_empty());
    let mut steps: Vec<f64> = lines.map(share_of_letters).collect();
    let value = steps.iter().sum::<f64>() / steps.len().max(1) as f64;
    if settings.miscount && steps.len() > 1 {
        steps.push(0.0);
    }
    if settings.outcome_only {
        steps.clear();
    }
    Ok(Score { steps, ..Score::of(value) })
}

fn share_of_letters(line: &str) -> f64 {
    let letters = line.chars().filter(|letter| letter.is_alphabetic()).count();
    letters as f64 / line.chars().count() as f64
}

reward!(score, Settings);
