//! How a loss is plugged in: a plain function from the policy's log-probabilities to a loss and its slopes.
//!
//! A loss never sees a tensor. It is told the log-probability (and, if it asks, the entropy) of every trained token of a
//! sequence and answers how it changes with each; the chain rule through the model is the host's. Every loss of this
//! crate enters here, and so does one of a program that embeds it (tinker's `forward_backward_custom`).

use std::collections::BTreeMap;

/// What the policy thinks of one sequence: all that a loss may look at.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Prediction<'a> {
    /// Place of the sequence in the data.
    pub index: usize,
    /// Log-probability of each trained token; what a reward model says of it.
    pub log_probs: &'a [f32],
    /// Entropy, in nats, of the distribution each trained token was predicted from; empty unless the objective asks.
    pub entropies: &'a [f32],
}

/// The loss of one sequence, and its derivative by everything the [`Prediction`] held.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Slopes {
    /// The sequence's share of the loss. Shares are added, never averaged: a mean over the batch is the objective's own
    /// business, so that how a batch is cut into passes cannot change it.
    pub loss: f64,
    /// Derivative by each log-probability.
    pub log_probs: Vec<f32>,
    /// Derivative by each entropy; empty when none.
    pub entropies: Vec<f32>,
    /// Numbers for the logs, added over the sequences.
    pub metrics: BTreeMap<&'static str, f64>,
}

/// A loss over a batch of sequences.
///
/// Borrows a function; making one is free. The function must be pure, and gives one [`Slopes`] per sequence with one
/// derivative per trained token: anything else is a bug and a panic. A loss of one's own, here of pairs, and as a function
/// of the whole batch ([`Objective::pairs`] would do):
///
/// ```
/// use rewarden_train::{Datum, Objective, Optimizer, Policy, Prediction, Result, Slopes, gradients};
///
/// /// -log sigmoid(chosen - rejected) over neighbours (Bradley and Terry 1952).
/// fn prefer_the_first(seen: &[Prediction]) -> Vec<Slopes> {
///     let sum = |seen: &Prediction| seen.log_probs.iter().copied().map(f64::from).sum::<f64>();
///     let pair = |pair: &[Prediction]| {
///         let margin = sum(&pair[0]) - sum(&pair[1]);
///         let slope = 1.0 / (1.0 + margin.exp());
///         let slopes = |seen: &Prediction, slope: f64, loss: f64| Slopes {
///             loss,
///             log_probs: vec![slope as f32; seen.log_probs.len()],
///             ..Slopes::default()
///         };
///         [slopes(&pair[0], -slope, (-margin).exp().ln_1p()), slopes(&pair[1], slope, 0.0)]
///     };
///     seen.chunks(2).flat_map(pair).collect()
/// }
///
/// fn step(policy: &mut Policy, optimizer: &mut Optimizer, data: &[Datum]) -> Result<f64> {
///     let found = gradients(policy, data, 16, Objective::whole(&prefer_the_first))?;
///     optimizer.step(policy, &found, 1e-5)?;
///     Ok(found.loss)
/// }
/// ```
#[derive(Clone, Copy)]
pub struct Objective<'a> {
    /// Whether the function looks at entropies, which cost another walk over the vocabulary.
    pub entropies: bool,
    pub(crate) judge: Judge<'a>,
}

/// When the function is asked.
#[derive(Clone, Copy)]
pub(crate) enum Judge<'a> {
    /// Of each sequence, as soon as its log-probabilities are known.
    Each(&'a (dyn Fn(Prediction) -> Slopes + Sync)),
    /// Of each two neighbours likewise, which are never in different passes.
    Pairs(&'a (dyn Fn(Prediction, Prediction) -> [Slopes; 2] + Sync)),
    /// Once, when all are known.
    Whole(&'a dyn Fn(&[Prediction]) -> Vec<Slopes>),
}

impl<'a> Objective<'a> {
    /// A sum over sequences, each judged by itself: one pass through the model.
    pub fn each(judge: &'a (dyn Fn(Prediction) -> Slopes + Sync)) -> Self {
        Self { entropies: false, judge: Judge::Each(judge) }
    }

    /// A sum over pairs of neighbours, each judged by itself: one pass through the model.
    pub fn pairs(judge: &'a (dyn Fn(Prediction, Prediction) -> [Slopes; 2] + Sync)) -> Self {
        Self { entropies: false, judge: Judge::Pairs(judge) }
    }

    /// Any function of the whole batch, such as one of groups: a further forward pass, half as much work again.
    pub fn whole(judge: &'a dyn Fn(&[Prediction]) -> Vec<Slopes>) -> Self {
        Self { entropies: false, judge: Judge::Whole(judge) }
    }
}
