//! From losses of tokens to the loss of a batch.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Over what a batch's loss is a mean, under verl's names. The batch is what one update learns from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LossAggMode {
    /// All tokens of the batch count the same (DAPO, arXiv 2503.14476).
    TokenMean,
    /// The plain sum (tinker).
    TokenSum,
    /// Mean over sequences of the sum over tokens.
    SeqMeanTokenSum,
    /// All sequences count the same, whatever their length (GRPO, arXiv 2402.03300).
    SeqMeanTokenMean,
    /// As `seq-mean-token-sum`, divided by `max_tokens`: no length is favoured (Dr. GRPO, arXiv 2503.20783).
    SeqMeanTokenSumNorm,
    /// All groups count the same, and within one all tokens (prompt-level averaging, arXiv 2510.13786).
    GroupMeanTokenMean,
}

impl LossAggMode {
    /// What one token of each sequence weighs. Sequences have `lengths` trained tokens and belong to `groups`; those
    /// without any token count for nothing.
    pub(super) fn weights(self, lengths: &[usize], groups: &[usize], max_tokens: usize) -> Vec<f64> {
        let tokens: usize = lengths.iter().sum();
        let sequences = lengths.iter().filter(|&&length| length > 0).count() as f64;
        let mut by_group: BTreeMap<usize, usize> = BTreeMap::new();
        for (&group, &length) in groups.iter().zip(lengths).filter(|(_, length)| **length > 0) {
            *by_group.entry(group).or_default() += length;
        }
        let weight = |(&length, group): (&usize, &usize)| match self {
            _ if length == 0 => 0.0,
            Self::TokenMean => 1.0 / tokens as f64,
            Self::TokenSum => 1.0,
            Self::SeqMeanTokenSum => 1.0 / sequences,
            Self::SeqMeanTokenMean => 1.0 / (sequences * length as f64),
            Self::SeqMeanTokenSumNorm => 1.0 / (sequences * max_tokens as f64),
            Self::GroupMeanTokenMean => 1.0 / (by_group.len() as f64 * by_group[group] as f64),
        };
        lengths.iter().zip(groups).map(weight).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Weights of the tokens of four sequences with 2, 4, 0 and 4 tokens, the first two of one group, at most 8 tokens.
    #[track_caller]
    fn check(mode: LossAggMode, expected: [f64; 4]) {
        assert_eq!(mode.weights(&[2, 4, 0, 4], &[0, 0, 1, 2], 8), expected, "{mode:?}");
    }

    #[test]
    fn weights() {
        check(LossAggMode::TokenMean, [0.1, 0.1, 0.0, 0.1]);
        check(LossAggMode::TokenSum, [1.0, 1.0, 0.0, 1.0]);
        check(LossAggMode::SeqMeanTokenSum, [1.0 / 3.0, 1.0 / 3.0, 0.0, 1.0 / 3.0]);
        check(LossAggMode::SeqMeanTokenMean, [1.0 / 6.0, 1.0 / 12.0, 0.0, 1.0 / 12.0]);
        check(LossAggMode::SeqMeanTokenSumNorm, [1.0 / 24.0, 1.0 / 24.0, 0.0, 1.0 / 24.0]);
        check(LossAggMode::GroupMeanTokenMean, [1.0 / 12.0, 1.0 / 12.0, 0.0, 1.0 / 8.0]);
    }
}
