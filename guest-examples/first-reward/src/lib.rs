//! Pays 1 for exactly the reference answer, 0 for anything else.

use rewarden_sdk::{Fault, Sample, Score, reward};

#[derive(serde::Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// `Paris` and `paris` are the same.
    pub ignore_case: bool,
}

pub fn score(sample: &Sample, settings: &Settings) -> Result<Score, Fault> {
    let (said, wanted) = (sample.response().trim(), sample.ground_truth.trim());
    let same = if settings.ignore_case { said.to_lowercase() == wanted.to_lowercase() } else { said == wanted };
    Ok(Score::of(if same { 1.0 } else { 0.0 }).note(said))
}

reward!(score, Settings);
