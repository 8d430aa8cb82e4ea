//! Losses of pairs of answers, one of which is preferred: reward models, and DPO, which is one in disguise.
//!
//! What an answer is worth is a number w, linear in what the model says of its tokens. All losses look at the margin
//! d = w(chosen) - w(rejected):
//!
//! | name | w | loss | source |
//! | --- | --- | --- | --- |
//! | `bradley_terry` | the head's score s | -log sigmoid(d - m) + c (s_c + s_r)^2 | Bradley and Terry 1952; TRL's RewardTrainer |
//! | `pairwise` | sum p | -log sigmoid(d) | MinT's recipe |
//! | `sigmoid` | beta sum (p - f) | -log sigmoid(d) | DPO, Rafailov et al. 2023 |
//! | `sigmoid_norm` | beta mean (p - f) | -log sigmoid(d) | TRL; as SimPO (Meng et al. 2024), with a reference |
//! | `ipo` | mean (p - f) | (d - 1 / (2 beta))^2 | Azar et al. 2023, averaged over tokens as TRL does |
//!
//! p and f are the log-probabilities of the model and of a reference, m the margin people gave, c the centring.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

use super::logistic;
use crate::objective::{Prediction, Slopes};

/// A loss of pairs of answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PairLossFn {
    /// A reward model's, of what its head says.
    BradleyTerry,
    /// Of summed log-probabilities (MinT).
    Pairwise,
    /// DPO's, and that of an implicit reward.
    Sigmoid,
    /// DPO's with log-ratios averaged over an answer's tokens.
    SigmoidNorm,
    /// The squared distance of the margin from what `beta` asks for.
    Ipo,
}

/// A loss of pairs with its constants.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PairLoss {
    /// The formula.
    pub loss_fn: PairLossFn,
    /// How far the model may leave its reference; unused by formulas without one.
    pub beta: f64,
    /// Weight of (s_c + s_r)^2, which keeps scores around 0; only of [`PairLossFn::BradleyTerry`].
    pub centering: f64,
}

/// What a loss knows of a pair beside what the model says.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Preference {
    /// The reference's log-probability of each token of the chosen and of the rejected answer; empty without one.
    pub reference: [Vec<f32>; 2],
    /// By how much people prefer the chosen one.
    pub margin: f64,
}

/// What a loss says of one pair.
#[derive(Clone, Debug, PartialEq)]
pub struct Compared {
    /// Its loss.
    pub loss: f64,
    /// What the chosen and the rejected answer are worth.
    pub worth: [f64; 2],
    /// Derivative of the loss by each token of the one and of the other.
    slopes: [f64; 2],
}

impl Compared {
    /// By how much the chosen answer is worth more.
    pub fn margin(&self) -> f64 {
        self.worth[0] - self.worth[1]
    }

    /// Sums for the logs. Answers worth the same are no right guess.
    fn metrics(&self) -> BTreeMap<&'static str, f64> {
        let [chosen, rejected] = self.worth;
        BTreeMap::from([
            ("pairs", 1.0),
            ("right", f64::from(chosen > rejected)),
            ("margin", self.margin()),
            ("chosen", chosen),
            ("rejected", rejected),
        ])
    }
}

impl PairLossFn {
    /// Whether it looks at a reference.
    pub fn has_reference(self) -> bool {
        matches!(self, Self::Sigmoid | Self::SigmoidNorm | Self::Ipo)
    }
}

impl PairLoss {
    /// The judge of a batch whose sequences are chosen, rejected, chosen, rejected, ..., for
    /// [`crate::Objective::pairs`]: a mean over pairs.
    pub fn on<'a>(
        &'a self,
        batch: &'a [Preference],
    ) -> impl Fn(Prediction, Prediction) -> [Slopes; 2] + Sync + use<'a> {
        let weight = 1.0 / batch.len() as f64;
        move |chosen, rejected| {
            let compared = self.compare([chosen.log_probs, rejected.log_probs], &batch[chosen.index / 2]);
            let slopes = |slope: f64, seen: Prediction| vec![(weight * slope) as f32; seen.log_probs.len()];
            let [first, second] = compared.slopes;
            [
                Slopes {
                    loss: weight * compared.loss,
                    log_probs: slopes(first, chosen),
                    metrics: compared.metrics(),
                    ..Slopes::default()
                },
                Slopes { log_probs: slopes(second, rejected), ..Slopes::default() },
            ]
        }
    }

    /// The loss of one pair: what the model says of the tokens of the chosen answer and of the rejected one.
    pub fn compare(&self, [chosen, rejected]: [&[f32]; 2], known: &Preference) -> Compared {
        let (first, first_slope) = self.worth(chosen, &known.reference[0]);
        let (second, second_slope) = self.worth(rejected, &known.reference[1]);
        let margin = first - second;
        let (mut loss, slope) = match self.loss_fn {
            PairLossFn::BradleyTerry => logistic(margin - known.margin),
            PairLossFn::Pairwise | PairLossFn::Sigmoid | PairLossFn::SigmoidNorm => logistic(margin),
            PairLossFn::Ipo => {
                let short = margin - 0.5 / self.beta;
                (short * short, 2.0 * short)
            }
        };
        let mut slopes = [slope * first_slope, -slope * second_slope];
        if self.loss_fn == PairLossFn::BradleyTerry && self.centering != 0.0 {
            loss += self.centering * (first + second).powi(2);
            slopes.iter_mut().for_each(|slope| *slope += 2.0 * self.centering * (first + second));
        }
        Compared { loss, worth: [first, second], slopes }
    }

    /// What an answer is worth, and the derivative of that by what the model says of each of its tokens.
    pub fn worth(&self, said: &[f32], reference: &[f32]) -> (f64, f64) {
        let sum: f64 = said.iter().copied().map(f64::from).sum();
        let ratio = || sum - reference.iter().copied().map(f64::from).sum::<f64>();
        let mean = 1.0 / said.len() as f64;
        match self.loss_fn {
            PairLossFn::BradleyTerry | PairLossFn::Pairwise => (sum, 1.0),
            PairLossFn::Sigmoid => (self.beta * ratio(), self.beta),
            PairLossFn::SigmoidNorm => (self.beta * mean * ratio(), self.beta * mean),
            PairLossFn::Ipo => (mean * ratio(), mean),
        }
    }
}
