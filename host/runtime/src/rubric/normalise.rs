//! GDPO, "group reward-decoupled normalisation" (arXiv 2601.05242), as TRL computes it for `normalize_then_sum`: each
//! grader's values are z-scored within their group, summed by weight, and the sums of the batch brought to deviation 1.
//! So a grader with a small range teaches as much as one with a large range, and equal sums of different parts differ.

use std::ops::Range;

use super::combine::{Part, Term};

/// Keeps a constant group from dividing by zero; TRL's number.
const EPSILON: f64 = 1e-4;

/// The normalised reward of each sample that has a `total`; the others have no part in any mean or deviation.
pub(super) fn normalise(
    terms: &[Term],
    groups: &[Range<usize>],
    rows: &[Vec<Part>],
    totals: &[Option<f64>],
) -> Vec<Option<f64>> {
    let mut rewards: Vec<Option<f64>> = totals.iter().map(|total| total.map(|_| 0.0)).collect();
    for group in groups {
        for (index, term) in terms.iter().enumerate().filter(|(_, term)| term.counts()) {
            let judged = || group.clone().filter(|&sample| totals[sample].is_some());
            let values = judged().filter_map(|sample| Some((sample, rows[sample][index].value()?)));
            let (samples, values): (Vec<usize>, Vec<f64>) = values.unzip();
            let (mean, deviation) = moments(&values);
            for (sample, value) in samples.into_iter().zip(values) {
                let normalised = term.weight * (value - mean) / (deviation + EPSILON);
                rewards[sample] = rewards[sample].map(|sum| sum + normalised);
            }
        }
    }
    // The mean of the batch is not subtracted: it is 0 but for rounding, and a group whose values are all equal keeps a
    // clean 0 this way.
    let (_, deviation) = moments(&rewards.iter().flatten().copied().collect::<Vec<_>>());
    rewards
        .into_iter()
        .map(|reward| Some(reward? / (deviation + EPSILON)).filter(|reward| reward.is_finite()))
        .collect()
}

/// Mean and sample deviation (n - 1); one value alone deviates by 0.
fn moments(values: &[f64]) -> (f64, f64) {
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    // A constant has deviation 0 exactly, which its rounded mean would hide.
    if values.windows(2).all(|pair| pair[0] == pair[1]) {
        return (values.first().copied().unwrap_or(mean), 0.0);
    }
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    (mean, (squares / (count - 1.0)).sqrt())
}
