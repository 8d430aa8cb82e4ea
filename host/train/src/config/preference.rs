//! The configuration of what learns from preferences and labelled steps: reward models, their use as graders, and DPO.

use rewarden_runtime::{OnFault, Weight};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

use super::{AdamConfig, DataConfig, LrSchedule};
use crate::error::{Error, Result};
use crate::loss::{PairLoss, PairLossFn};
use crate::model::Head;
use crate::schedule::Schedule;

/// A preference or process reward model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PrmConfig {
    /// What it learns from: pairs of answers or labelled steps, whichever `loss_fn` is about. Left out, it is `[data]`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data: Option<DataConfig>,
    /// What kind of model this is.
    pub loss_fn: PrmLossFn,
    /// Factor of the log-ratio to the reference; only of `implicit`.
    pub beta: f64,
    /// Weight of the squared sum of a pair's scores, which keeps them around 0 (TRL); only of `bradley_terry`.
    pub center_rewards_coefficient: f64,
    /// What separates the steps of an answer.
    pub step_separator: String,
    /// Learns from the last step of an answer only; of `steps`.
    pub train_on_last_step_only: bool,
    /// Peak learning rate.
    pub learning_rate: f64,
    /// Its course after that of the warmup.
    pub lr_schedule: LrSchedule,
    /// Steps in which it rises from 0 to its peak.
    pub warmup_steps: usize,
    /// Or their share of all steps.
    pub warmup_ratio: f64,
    /// Passes over the training data.
    pub num_epochs: usize,
    /// Steps at most.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_steps: Option<usize>,
    /// Pairs, or answers in steps, in one update.
    pub batch_size: usize,
    /// Sequences in one pass (a pair is two): memory, never the gradient. 0 means all.
    pub micro_batch_size: usize,
    /// Longest conversation in tokens; rows with longer ones are left out, and counted.
    pub max_length: usize,
    /// Steps between measurements on held-out rows; 0 means only at the end.
    pub eval_every: usize,
    /// Steps between checkpoints; 0 means only the last.
    pub save_every: usize,
    /// Checkpoints that stay: so many of the newest; 0 means all.
    pub keep_last: usize,
    /// Model folder or checkpoint to start from instead of this run's supervised stage.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub load_checkpoint_path: Option<PathBuf>,
    /// The optimizer.
    pub adam: AdamConfig,
}

/// The kinds of reward models.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PrmLossFn {
    /// A score for a whole answer, from pairs (Bradley and Terry 1952; TRL's RewardTrainer).
    BradleyTerry,
    /// An answer's summed log-probability, from pairs, without a reference (MinT).
    Pairwise,
    /// `beta` times the log-ratio to a reference, from pairs: a reward for every token (Rafailov et al. 2024, PRIME).
    Implicit,
    /// The probability that each step is right, from labelled steps (Lightman et al. 2023; TRL's PRMTrainer).
    Steps,
}

/// Direct preference optimisation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DpoConfig {
    /// Pairs of answers. Left out, it is `[data]`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data: Option<DataConfig>,
    /// The variant.
    pub loss_fn: DpoLossFn,
    /// How closely the policy is held to the reference.
    pub dpo_beta: f64,
    /// Model folder or checkpoint of the reference instead of what this stage starts from (of new adapters, the model
    /// under them).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reference: Option<PathBuf>,
    /// Peak learning rate.
    pub learning_rate: f64,
    /// Its course after that of the warmup.
    pub lr_schedule: LrSchedule,
    /// Steps in which it rises from 0 to its peak.
    pub warmup_steps: usize,
    /// Or their share of all steps.
    pub warmup_ratio: f64,
    /// Passes over the training data.
    pub num_epochs: usize,
    /// Steps at most.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_steps: Option<usize>,
    /// Pairs in one update.
    pub batch_size: usize,
    /// Sequences in one pass (a pair is two): memory, never the gradient. 0 means all.
    pub micro_batch_size: usize,
    /// Longest conversation in tokens; pairs with longer ones are left out, and counted.
    pub max_length: usize,
    /// Steps between measurements on held-out pairs; 0 means only at the end.
    pub eval_every: usize,
    /// Steps between checkpoints; 0 means only the last.
    pub save_every: usize,
    /// Checkpoints that stay: so many of the newest; 0 means all.
    pub keep_last: usize,
    /// Model folder or checkpoint to start from instead of this run's supervised stage.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub load_checkpoint_path: Option<PathBuf>,
    /// The optimizer.
    pub adam: AdamConfig,
}

/// The variants of DPO.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DpoLossFn {
    /// Rafailov et al. 2023.
    Sigmoid,
    /// The same with log-ratios averaged over an answer's tokens (TRL).
    SigmoidNorm,
    /// Identity preference optimisation (Azar et al. 2023).
    Ipo,
}

/// A trained reward model as a grader.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RewardModelConfig {
    /// Name in metrics and rollouts.
    pub name: String,
    /// Checkpoint or model folder. Left out, it is what this run's `prm` stage makes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<PathBuf>,
    /// How rewards of steps become one of the answer. Not set, `min` for a model of steps, `sum` for an implicit one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub aggregate: Option<Aggregate>,
    /// The `[[reward]]` whose plugin judges instead when there is no checkpoint, because it is missing or because the
    /// `prm` stage failed. Without it that ends the run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fallback: Option<String>,
    /// Factor in the reward, a number or a course over the steps; 0 makes it a metric only.
    #[serde(default)]
    pub weight: Weight,
    /// Higher ones are asked first; with `rubric.combine = "gate"`, all above the lowest are gates.
    #[serde(default)]
    pub priority: i32,
    /// The `data_source`s whose samples it judges; empty means every sample.
    #[serde(default)]
    pub data_source: Vec<String>,
    /// What its faults do, when not what `rubric.on_fault` says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_fault: Option<OnFault>,
}

/// How the rewards of steps become one number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Aggregate {
    /// That of the last step.
    Last,
    /// The least.
    Min,
    /// Their product.
    Product,
    /// Their mean.
    Mean,
    /// Their sum.
    Sum,
}

impl Aggregate {
    /// One number of several; none of nothing.
    pub fn of(self, steps: &[f64]) -> Option<f64> {
        let last = steps.last()?;
        Some(match self {
            Self::Last => *last,
            Self::Min => steps.iter().copied().fold(f64::INFINITY, f64::min),
            Self::Product => steps.iter().product(),
            Self::Mean => steps.iter().sum::<f64>() / steps.len() as f64,
            Self::Sum => steps.iter().sum(),
        })
    }
}

impl Default for PrmConfig {
    fn default() -> Self {
        Self {
            data: None,
            loss_fn: PrmLossFn::BradleyTerry,
            beta: 0.1,
            center_rewards_coefficient: 0.0,
            step_separator: "\n".into(),
            train_on_last_step_only: false,
            learning_rate: 1e-4,
            lr_schedule: LrSchedule::Linear,
            warmup_steps: 0,
            warmup_ratio: 0.0,
            num_epochs: 1,
            max_steps: None,
            batch_size: 32,
            micro_batch_size: 16,
            max_length: 1024,
            eval_every: 0,
            save_every: 20,
            keep_last: 0,
            load_checkpoint_path: None,
            adam: AdamConfig::default(),
        }
    }
}

impl Default for DpoConfig {
    fn default() -> Self {
        Self {
            data: None,
            loss_fn: DpoLossFn::Sigmoid,
            dpo_beta: 0.1,
            reference: None,
            learning_rate: 1e-5,
            lr_schedule: LrSchedule::Linear,
            warmup_steps: 0,
            warmup_ratio: 0.0,
            num_epochs: 1,
            max_steps: None,
            batch_size: 32,
            micro_batch_size: 16,
            max_length: 1024,
            eval_every: 0,
            save_every: 20,
            keep_last: 0,
            load_checkpoint_path: None,
            adam: AdamConfig::default(),
        }
    }
}

impl PrmLossFn {
    /// The last layer of such a model.
    pub fn head(self) -> Head {
        match self {
            Self::BradleyTerry => Head::Score,
            Self::Pairwise | Self::Implicit => Head::Tokens,
            Self::Steps => Head::Steps,
        }
    }

    /// The formula for pairs; none for steps.
    pub(crate) fn of_pairs(self) -> Option<PairLossFn> {
        match self {
            Self::BradleyTerry => Some(PairLossFn::BradleyTerry),
            Self::Pairwise => Some(PairLossFn::Pairwise),
            Self::Implicit => Some(PairLossFn::Sigmoid),
            Self::Steps => None,
        }
    }
}

impl PrmConfig {
    /// The learning rate's course.
    pub fn schedule(&self) -> Schedule {
        let Self { learning_rate, lr_schedule, warmup_steps, warmup_ratio, .. } = *self;
        Schedule { learning_rate, lr_schedule, warmup_steps, warmup_ratio }
    }

    /// The loss of pairs; none for steps.
    pub(crate) fn pair_loss(&self) -> Option<PairLoss> {
        let Self { beta, center_rewards_coefficient: centering, .. } = *self;
        self.loss_fn.of_pairs().map(|loss_fn| PairLoss { loss_fn, beta, centering })
    }

    pub(super) fn check(&self) -> Result<()> {
        at_least_one("prm", [self.batch_size, self.num_epochs, self.max_length])?;
        self.schedule().check("prm")?;
        check_positive("prm.beta", self.beta)?;
        let centering = self.center_rewards_coefficient;
        if !(centering.is_finite() && centering >= 0.0) {
            return Err(Error::config("prm.center_rewards_coefficient", "must be a number of at least 0"));
        }
        if self.step_separator.is_empty() {
            return Err(Error::config("prm.step_separator", "must not be empty; \"\\n\" ends a step with its line"));
        }
        self.data.as_ref().map_or(Ok(()), |data| data.check("prm.data"))
    }
}

impl DpoConfig {
    /// The learning rate's course.
    pub fn schedule(&self) -> Schedule {
        let Self { learning_rate, lr_schedule, warmup_steps, warmup_ratio, .. } = *self;
        Schedule { learning_rate, lr_schedule, warmup_steps, warmup_ratio }
    }

    /// The loss.
    pub(crate) fn pair_loss(&self) -> PairLoss {
        let loss_fn = match self.loss_fn {
            DpoLossFn::Sigmoid => PairLossFn::Sigmoid,
            DpoLossFn::SigmoidNorm => PairLossFn::SigmoidNorm,
            DpoLossFn::Ipo => PairLossFn::Ipo,
        };
        PairLoss { loss_fn, beta: self.dpo_beta, centering: 0.0 }
    }

    pub(super) fn check(&self) -> Result<()> {
        at_least_one("dpo", [self.batch_size, self.num_epochs, self.max_length])?;
        self.schedule().check("dpo")?;
        check_positive("dpo.dpo_beta", self.dpo_beta)?;
        self.data.as_ref().map_or(Ok(()), |data| data.check("dpo.data"))
    }
}

fn at_least_one(table: &str, values: [usize; 3]) -> Result<()> {
    let names = ["batch_size", "num_epochs", "max_length"];
    match names.iter().zip(values).find(|(_, value)| *value == 0) {
        Some((name, _)) => Err(Error::config(format!("{table}.{name}"), "must be at least 1")),
        None => Ok(()),
    }
}

fn check_positive(key: &str, value: f64) -> Result<()> {
    match value.is_finite() && value > 0.0 {
        true => Ok(()),
        false => Err(Error::config(key, "must be a number above 0")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_become_one_number() {
        for (aggregate, expected) in [
            (Aggregate::Last, 0.5),
            (Aggregate::Min, 0.25),
            (Aggregate::Product, 0.125),
            (Aggregate::Mean, 1.75 / 3.0),
            (Aggregate::Sum, 1.75),
        ] {
            assert_eq!(aggregate.of(&[1.0, 0.25, 0.5]), Some(expected), "{aggregate:?}");
            assert_eq!(aggregate.of(&[]), None);
        }
    }
}
