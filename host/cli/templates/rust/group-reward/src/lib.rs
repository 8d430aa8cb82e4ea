//! Pays for answering in fewer words than the rest of the group.

use rewarden_sdk::{Fault, Sample, Score, group_reward};
use serde::Deserialize;

/// What a run can set: nothing yet.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {}

/// One score per sample, in their order: the share of the others that are longer. A `Fault` judges none of them.
pub fn score_group(group: &[Sample], _: &Settings) -> Result<Vec<Score>, Fault> {
    let words: Vec<usize> = group.iter().map(|sample| sample.response().split_whitespace().count()).collect();
    let others = words.len().saturating_sub(1).max(1) as f64;
    let share = |own: usize| words.iter().filter(|&&other| other > own).count() as f64 / others;
    Ok(words.iter().map(|&own| Score::of(share(own)).metric("words", own as f64)).collect())
}

group_reward!(score_group, Settings);

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(responses: &[&str], expected: &[f64]) {
        let group: Vec<Sample> = responses.iter().map(|response| Sample::new(*response, "")).collect();
        let scores = score_group(&group, &Settings {}).unwrap();
        assert_eq!(scores.iter().map(|score| score.value.unwrap()).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn the_shortest_wins() {
        check(&["a b c", "a", "a b"], &[0.0, 1.0, 0.5]);
        check(&["a", "b"], &[0.0, 0.0]);
        check(&["a"], &[0.0]);
        check(&[], &[]);
    }
}
