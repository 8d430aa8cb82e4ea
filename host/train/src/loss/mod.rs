//! Losses. Each is a pure function from log-probabilities to a loss and its slopes ([`crate::objective`]); `token` holds
//! the formulas of single tokens, `mean` what a token weighs in its batch, `kl` the distance from a reference; `pair` the
//! losses of preferred answers, `step` that of labelled steps.

mod kl;
mod mean;
mod pair;
mod step;
mod token;

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

pub use kl::KlEstimator;
pub use mean::LossAggMode;
pub use pair::{Compared, PairLoss, PairLossFn, Preference};
pub(crate) use step::Verdicts;
pub use step::step_loss;
pub use token::Clip;

use crate::batch::Datum;
use crate::objective::{Prediction, Slopes};
use token::TokenLoss;

/// The loss of a reinforcement learning step. `grpo`, `dr_grpo` and `dapo` are `ppo` with the bounds, mean and advantage
/// of their papers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LossFn {
    /// The policy gradient with the ratio of policy and sampler (tinker).
    ImportanceSampling,
    /// The plain policy gradient (Williams 1992; nanochat).
    Reinforce,
    /// The clipped ratio (Schulman et al. 2017).
    Ppo,
    /// The ratio as a bounded weight (MiniMax-M1 2025).
    Cispo,
    /// Group relative policy optimisation (DeepSeekMath 2024).
    Grpo,
    /// GRPO without its biases towards length and easy questions (Liu et al. 2025).
    DrGrpo,
    /// Clip higher, mean over tokens (Yu et al. 2025).
    Dapo,
    /// One ratio for a sequence (Zheng et al. 2025).
    Gspo,
}

impl LossFn {
    /// The least and largest ratio of its paper, if it has bounds at all.
    pub(crate) fn thresholds(self) -> Option<(f64, f64)> {
        match self {
            Self::ImportanceSampling | Self::Reinforce => None,
            Self::Ppo | Self::Grpo | Self::DrGrpo => Some((0.8, 1.2)),
            Self::Dapo => Some((0.8, 1.28)),
            Self::Cispo => Some((0.0, 4.0)),
            Self::Gspo => Some((1.0 - 3e-4, 1.0 + 4e-4)),
        }
    }

    /// The mean of its paper.
    pub(crate) fn loss_agg_mode(self) -> LossAggMode {
        match self {
            Self::Grpo | Self::Gspo => LossAggMode::SeqMeanTokenMean,
            Self::DrGrpo => LossAggMode::SeqMeanTokenSumNorm,
            Self::ImportanceSampling | Self::Reinforce | Self::Ppo | Self::Cispo | Self::Dapo => LossAggMode::TokenMean,
        }
    }

    /// Whether its paper divides advantages by their group's deviation.
    pub(crate) fn norm_adv_by_std(self) -> bool {
        matches!(self, Self::Grpo | Self::Dapo | Self::Gspo)
    }

    /// The loss of each token of a sequence; `a` gives a token's advantage, `clip` the bounds where it has some.
    fn tokens(self, p: &[f32], q: &[f32], a: impl Fn(usize) -> f32, clip: Clip) -> Vec<TokenLoss> {
        let whole = if self == Self::Gspo { token::gspo_log_ratio(p, q) } else { 0.0 };
        let one = |t: usize| match self {
            Self::Reinforce => token::reinforce(p[t], a(t)),
            Self::ImportanceSampling => token::importance_sampling(p[t], q[t], a(t)),
            Self::Ppo | Self::Grpo | Self::DrGrpo | Self::Dapo => token::ppo(p[t] - q[t], a(t), clip),
            Self::Cispo => token::cispo(p[t], q[t], a(t), clip),
            Self::Gspo => token::ppo(whole, a(t), clip),
        };
        (0..p.len()).map(one).collect()
    }
}

/// What a policy loss knows of a sampled sequence, token by token, beside what the policy now thinks of it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Experience {
    /// Sequences of one group answer the same task.
    pub group: usize,
    /// The sampler's log-probability of each trained token.
    pub sampled_log_probs: Vec<f32>,
    /// How much better than expected each trained token turned out.
    pub advantages: Vec<f32>,
    /// The reference's log-probability of each trained token; empty where the loss has no KL term.
    pub reference_log_probs: Vec<f32>,
}

/// The loss of a reinforcement learning step with all that belongs to it.
#[derive(Clone, Debug, PartialEq)]
pub struct PolicyLoss {
    /// The formula.
    pub loss_fn: LossFn,
    /// Its bounds; unused by a formula without.
    pub clip: Clip,
    /// Over what it is a mean.
    pub loss_agg_mode: LossAggMode,
    /// The constant of [`LossAggMode::SeqMeanTokenSumNorm`].
    pub max_tokens: usize,
    /// Coefficient and estimator of the divergence from the reference, when the loss has that term.
    pub kl: Option<(f64, KlEstimator)>,
    /// Coefficient of the entropy, which the loss rewards.
    pub entropy_coef: f64,
}

impl PolicyLoss {
    /// The judge of a batch, for [`crate::Objective::each`]. Its metrics are sums over tokens: `clipped`, `kl`, `entropy`.
    pub fn on<'a>(&'a self, batch: &'a [Experience]) -> impl Fn(Prediction) -> Slopes + Sync + 'a {
        let lengths: Vec<usize> = batch.iter().map(|known| known.advantages.len()).collect();
        let groups: Vec<usize> = batch.iter().map(|known| known.group).collect();
        let weights = self.loss_agg_mode.weights(&lengths, &groups, self.max_tokens);
        move |seen| self.judge(seen, &batch[seen.index], weights[seen.index])
    }

    fn judge(&self, seen: Prediction, known: &Experience, weight: f64) -> Slopes {
        let advantage = |t: usize| weight as f32 * known.advantages[t];
        let tokens = self.loss_fn.tokens(seen.log_probs, &known.sampled_log_probs, advantage, self.clip);
        let clipped = tokens.iter().filter(|token| token.clipped).count() as f64;
        let mut slopes = Slopes {
            loss: tokens.iter().map(|token| f64::from(token.loss)).sum(),
            log_probs: tokens.iter().map(|token| token.slope).collect(),
            entropies: vec![],
            metrics: BTreeMap::from([("clipped", clipped)]),
        };
        if let Some((coefficient, estimator)) = self.kl {
            add_kl(&mut slopes, seen, known, coefficient * weight, estimator);
        }
        if self.entropy_coef != 0.0 {
            let entropy: f64 = seen.entropies.iter().copied().map(f64::from).sum();
            slopes.loss -= self.entropy_coef * weight * entropy;
            slopes.entropies = vec![-(self.entropy_coef * weight) as f32; seen.entropies.len()];
            slopes.metrics.insert("entropy", entropy);
        }
        slopes
    }
}

/// Adds the divergence from the reference to a sequence's loss.
fn add_kl(slopes: &mut Slopes, seen: Prediction, known: &Experience, factor: f64, estimator: KlEstimator) {
    let mut sum = 0.0;
    for ((slope, &p), &f) in slopes.log_probs.iter_mut().zip(seen.log_probs).zip(&known.reference_log_probs) {
        sum += estimator.value(p, f);
        *slope += (factor * estimator.slope(p, f)) as f32;
    }
    slopes.loss += factor * sum;
    slopes.metrics.insert("kl", sum);
}

/// Mean negative log-likelihood of the trained tokens of `data`: `-sum p / N`.
pub fn nll(data: &[Datum]) -> impl Fn(Prediction) -> Slopes + Sync + use<> {
    let weight = 1.0 / data.iter().map(Datum::trained_tokens).sum::<usize>() as f64;
    move |seen| {
        let sum: f64 = seen.log_probs.iter().copied().map(f64::from).sum();
        let slope = -weight as f32;
        Slopes { loss: -sum * weight, log_probs: vec![slope; seen.log_probs.len()], ..Slopes::default() }
    }
}

/// -log sigmoid(x) and its derivative, exact at both ends.
fn logistic(x: f64) -> (f64, f64) {
    let loss = if x > 0.0 { (-x).exp().ln_1p() } else { x.exp().ln_1p() - x };
    (loss, -1.0 / (1.0 + x.exp()))
}

#[cfg(test)]
mod preference_tests;
#[cfg(test)]
mod tests;
