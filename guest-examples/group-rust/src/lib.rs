//! Pays answers for being unlike the others of their group.

use std::collections::BTreeMap;

use rewarden_sdk::{Fault, Sample, Score, group_reward};

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {}

/// 1 for an answer that nobody else of the group gave, 1/n for one that n members gave; case and blanks do not count.
pub fn score_group(group: &[Sample], _: &Settings) -> Result<Vec<Score>, Fault> {
    let answers: Vec<String> = group.iter().map(|sample| plain(sample.response())).collect();
    let mut counts = BTreeMap::new();
    for answer in &answers {
        *counts.entry(answer).or_insert(0.0) += 1.0;
    }
    Ok(answers.iter().map(|answer| Score::of(1.0 / counts[answer]).metric("equal_answers", counts[answer])).collect())
}

fn plain(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ").to_lowercase()
}

group_reward!(score_group, Settings);
