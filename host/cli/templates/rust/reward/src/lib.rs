//! Pays 1 for the reference answer after the marker, 0 for anything else.

use rewarden_sdk::{Fault, Sample, Score, reward};
use serde::Deserialize;

/// What a run can set; settings.schema.json says the same for people and tools.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    pub marker: String,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings { marker: "Answer:".into() }
    }
}

/// Judges one sample. A wrong answer is a score of 0; a `Fault` means that nobody could judge this.
pub fn score(sample: &Sample, settings: &Settings) -> Result<Score, Fault> {
    if sample.ground_truth.trim().is_empty() {
        return Err(Fault::invalid_input("the sample has no ground truth"));
    }
    let Some((_, answer)) = sample.response().rsplit_once(&settings.marker) else {
        return Ok(Score::of(0.0).note("no marker"));
    };
    let right = answer.trim() == sample.ground_truth.trim();
    Ok(Score::of(if right { 1.0 } else { 0.0 }).note(answer.trim()))
}

reward!(score, Settings);

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(response: &str, expected: f64) {
        let score = score(&Sample::new(response, "42"), &Settings::default()).unwrap();
        assert_eq!(score.value, Some(expected));
    }

    #[test]
    fn the_answer_after_the_last_marker_counts() {
        check("Answer: 42", 1.0);
        check("Answer: 7. No, wait. Answer: 42", 1.0);
        check("Answer: 7", 0.0);
        check("42", 0.0);
        check("", 0.0);
    }
}
