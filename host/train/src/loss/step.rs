//! The loss of a process reward model: whether each step of an answer is right, as cross-entropy of two labels
//! (Lightman et al. 2023; TRL's PRMTrainer). A model's two logits matter only by their difference z, the log-odds of
//! "right": -log sigmoid(z) where a step is right, -log sigmoid(-z) where it is wrong, a mixture where nobody is sure.

use std::collections::BTreeMap;

use super::logistic;
use crate::objective::{Prediction, Slopes};

/// Mean over the labelled steps of a batch. `labels` has, for each sequence, the probability that each of the steps it is
/// asked about is right.
pub fn step_loss(labels: &[Vec<f64>]) -> impl Fn(Prediction) -> Slopes + Sync + '_ {
    let weight = 1.0 / labels.iter().map(Vec::len).sum::<usize>() as f64;
    move |seen| {
        let steps = seen.log_probs.iter().zip(&labels[seen.index]);
        let (loss, slopes): (Vec<f64>, Vec<f32>) = steps
            .map(|(&odds, &label)| {
                let (right, right_slope) = logistic(odds.into());
                let (wrong, wrong_slope) = logistic(-f64::from(odds));
                let slope = label * right_slope - (1.0 - label) * wrong_slope;
                (label * right + (1.0 - label) * wrong, (weight * slope) as f32)
            })
            .unzip();
        Slopes {
            loss: weight * loss.iter().sum::<f64>(),
            log_probs: slopes,
            metrics: Verdicts::of(seen.log_probs, &labels[seen.index]).metrics(),
            ..Slopes::default()
        }
    }
}

/// How many steps a model judged as their labels do. A label of at least a half means right.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Verdicts {
    agreed: f64,
    /// Wrong steps called wrong; called wrong in all; wrong in all: finding errors is what such a model is for.
    found: f64,
    called_wrong: f64,
    wrong: f64,
    steps: f64,
}

impl Verdicts {
    pub(crate) fn of(odds: &[f32], labels: &[f64]) -> Self {
        let mut sum = Self::default();
        for (&odds, &label) in odds.iter().zip(labels) {
            let (called_wrong, is_wrong) = (odds < 0.0, label < 0.5);
            sum.agreed += f64::from(called_wrong == is_wrong);
            sum.found += f64::from(called_wrong && is_wrong);
            sum.called_wrong += f64::from(called_wrong);
            sum.wrong += f64::from(is_wrong);
            sum.steps += 1.0;
        }
        sum
    }

    /// Sums for the logs.
    fn metrics(self) -> BTreeMap<&'static str, f64> {
        let Self { agreed, found, called_wrong, wrong, steps } = self;
        BTreeMap::from([
            ("agreed", agreed),
            ("found", found),
            ("called_wrong", called_wrong),
            ("wrong", wrong),
            ("steps", steps),
        ])
    }

    /// From sums over a batch.
    pub(crate) fn summed(metrics: &BTreeMap<&'static str, f64>) -> Self {
        let of = |name| metrics.get(name).copied().unwrap_or(0.0);
        Self {
            agreed: of("agreed"),
            found: of("found"),
            called_wrong: of("called_wrong"),
            wrong: of("wrong"),
            steps: of("steps"),
        }
    }

    /// Share of steps judged as labelled.
    pub(crate) fn accuracy(self) -> f64 {
        self.agreed / self.steps
    }

    /// Harmonic mean of precision and recall in finding wrong steps; none where no step is wrong or called so.
    pub(crate) fn f1(self) -> f64 {
        2.0 * self.found / (self.called_wrong + self.wrong)
    }
}
