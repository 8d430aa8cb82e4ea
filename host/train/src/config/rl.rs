//! The configuration of reinforcement learning: what each key means, and what a key that is not set follows from.

use serde::{Deserialize, Serialize};
use std::path::PathBuf;

use super::{AdamConfig, LrSchedule};
use crate::error::{Error, Result};
use crate::loss::{Clip, KlEstimator, LossAggMode, LossFn, PolicyLoss};
use crate::sampler::Sampling;
use crate::schedule::Schedule;

/// Reinforcement learning.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RlConfig {
    /// Peak learning rate.
    pub learning_rate: f64,
    /// Its course after that of the warmup.
    pub lr_schedule: LrSchedule,
    /// Steps in which it rises from 0 to its peak.
    pub warmup_steps: usize,
    /// Or their share of all steps.
    pub warmup_ratio: f64,
    /// Steps at most; each samples a batch and learns from it. 100 where `num_epochs` is not set either.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_steps: Option<usize>,
    /// Passes over the tasks at most, the last step of which may begin another.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub num_epochs: Option<usize>,
    /// Tasks in one step.
    pub groups_per_batch: usize,
    /// Rollouts of each task; 1 only where answers are not compared within their group.
    pub group_size: usize,
    /// Updates that a step makes, each from its own part of the groups.
    pub num_substeps: usize,
    /// Trajectories in one pass: memory, never the gradient. 0 means all.
    pub micro_batch_size: usize,
    /// The formula that the policy is updated by.
    pub loss_fn: LossFn,
    /// Its bounds, where it has some.
    pub loss_fn_config: LossFnConfig,
    /// Over what the loss is a mean; not set, that of the loss.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub loss_agg_mode: Option<LossAggMode>,
    /// From rewards to advantages.
    pub adv_estimator: AdvEstimator,
    /// Whether `grpo` and `per_step` divide by the deviation; not set, as the loss's paper does. Never where the rubric
    /// has normalised already (`normalize_then_sum`), unless it is set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub norm_adv_by_std: Option<bool>,
    /// What ends a step within an answer, when rewards come by step (`per_step`).
    pub step_separator: String,
    /// Weight of the divergence from the reference; 0 does without a reference.
    pub kl_penalty_coef: f64,
    /// How the divergence is estimated. Its gradient is `k1` in the reward, `k2` (or nearly, `k3`) in the loss.
    pub kl_estimator: KlEstimator,
    /// Where it is charged.
    pub kl_in: KlIn,
    /// Model folder or checkpoint of the reference instead of what this stage starts from; only with a penalty.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kl_reference: Option<PathBuf>,
    /// Weight of the policy's entropy, which the loss rewards.
    pub entropy_coef: f64,
    /// Leaves groups whose rewards are all equal out of the batch.
    pub remove_constant_reward_groups: bool,
    /// Above 1, further tasks are attempted until `groups_per_batch` groups differ in reward, in at most so many batches
    /// (DAPO's dynamic sampling); the step learns from those.
    pub max_num_gen_batches: usize,
    /// Leaves answers that were cut off at `max_tokens` out of the loss; they still count in their group's mean.
    pub mask_truncated_completions: bool,
    /// Tokens before `max_tokens` in which the reward falls, the longer the answer (DAPO's soft overlong punishment).
    pub overlong_buffer_len: usize,
    /// By how much it has fallen at `max_tokens`.
    pub overlong_penalty_factor: f64,
    /// Tokens of one answer at most.
    pub max_tokens: usize,
    /// Divides the logits; above 0, or all answers would be the same.
    pub temperature: f64,
    /// Draws among this many likeliest tokens; 0 means all.
    pub top_k: usize,
    /// Draws among the likeliest tokens whose probabilities reach this sum.
    pub top_p: f64,
    /// Texts that end an answer, themselves included.
    pub stop: Vec<String>,
    /// Steps between evaluations, as `[eval]` says and beginning before the first step; 0 never. Without held-out rows
    /// there are none.
    pub eval_every: usize,
    /// Steps between checkpoints; 0 means only the last.
    pub save_every: usize,
    /// So many of the newest checkpoints stay, and those that the config names; 0 means all.
    pub keep_last: usize,
    /// Model folder or checkpoint to start from instead of this run's supervised stage.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub load_checkpoint_path: Option<PathBuf>,
    /// The optimizer.
    pub adam: AdamConfig,
}

/// The bounds of a loss that clips the ratio of policy and sampler.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LossFnConfig {
    /// Least ratio. Not set, that of the loss: 0.8 of `ppo`, `grpo`, `dr_grpo` and `dapo`, 0 of `cispo`, 0.9997 of `gspo`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clip_low_threshold: Option<f64>,
    /// Largest ratio. Not set, that of the loss: 1.2 of `ppo`, `grpo` and `dr_grpo`, 1.28 of `dapo`, 4 of `cispo`, 1.0004
    /// of `gspo`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clip_high_threshold: Option<f64>,
    /// With a negative advantage A the loss is at most `-c A` (dual clip); not set, unbounded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clip_ratio_c: Option<f64>,
}

/// How rewards become advantages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AdvEstimator {
    /// `R - mean(R)` of the group, divided by its deviation if `norm_adv_by_std` (DeepSeekMath).
    Grpo,
    /// `R - mean(R)` of the group (tinker, nanochat).
    MeanCenter,
    /// `R` less the mean of the others in the group (Ahmadian et al. 2024).
    Rloo,
    /// `R`, brought to mean 0 and deviation 1 over the tokens of the batch (Hu et al. 2025).
    ReinforcePlusPlus,
    /// For `rubric.combine = "normalize_then_sum"`, which normalises each reward by itself (GDPO).
    Gdpo,
    /// By process rewards: what a grader says of single steps is paid to them and all steps before (DeepSeekMath 4.1.3).
    PerStep,
}

/// Where the divergence from the reference is charged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KlIn {
    /// A token's advantage falls by how much it diverges more than the batch (tinker).
    Reward,
    /// The loss has a term for it (GRPO).
    Loss,
}

impl Default for RlConfig {
    fn default() -> Self {
        Self {
            learning_rate: 1e-5,
            lr_schedule: LrSchedule::Linear,
            warmup_steps: 0,
            warmup_ratio: 0.0,
            max_steps: None,
            num_epochs: None,
            groups_per_batch: 16,
            group_size: 16,
            num_substeps: 1,
            micro_batch_size: 16,
            loss_fn: LossFn::ImportanceSampling,
            loss_fn_config: LossFnConfig::default(),
            loss_agg_mode: None,
            adv_estimator: AdvEstimator::Grpo,
            norm_adv_by_std: None,
            step_separator: "\n".into(),
            kl_penalty_coef: 0.0,
            kl_estimator: KlEstimator::K3,
            kl_in: KlIn::Loss,
            kl_reference: None,
            entropy_coef: 0.0,
            remove_constant_reward_groups: false,
            max_num_gen_batches: 1,
            mask_truncated_completions: false,
            overlong_buffer_len: 0,
            overlong_penalty_factor: 1.0,
            max_tokens: 256,
            temperature: 1.0,
            top_k: 0,
            top_p: 1.0,
            stop: vec![],
            eval_every: 20,
            save_every: 20,
            keep_last: 0,
            load_checkpoint_path: None,
            adam: AdamConfig::default(),
        }
    }
}

/// Steps where a config says nothing of them.
const STEPS: usize = 100;

impl RlConfig {
    /// Steps over so many tasks.
    pub fn steps(&self, tasks: usize) -> usize {
        let pass = |epochs: usize| tasks.saturating_mul(epochs).div_ceil(self.groups_per_batch).max(1);
        match (self.max_steps, self.num_epochs.map(pass)) {
            (Some(most), Some(steps)) => most.min(steps),
            (most, steps) => most.or(steps).unwrap_or(STEPS),
        }
    }

    /// The learning rate's course.
    pub fn schedule(&self) -> Schedule {
        let Self { learning_rate, lr_schedule, warmup_steps, warmup_ratio, .. } = *self;
        Schedule { learning_rate, lr_schedule, warmup_steps, warmup_ratio }
    }

    /// How rollouts are sampled.
    pub fn sampling(&self) -> Sampling {
        Sampling { max_tokens: self.max_tokens, temperature: self.temperature, top_k: self.top_k, top_p: self.top_p }
    }

    /// The loss with its bounds, mean and terms.
    pub fn loss(&self) -> PolicyLoss {
        let (low, high) = self.loss_fn.thresholds().unwrap_or((0.0, f64::INFINITY));
        let chosen = &self.loss_fn_config;
        let in_loss = self.kl_penalty_coef != 0.0 && self.kl_in == KlIn::Loss;
        PolicyLoss {
            loss_fn: self.loss_fn,
            clip: Clip {
                low: chosen.clip_low_threshold.unwrap_or(low) as f32,
                high: chosen.clip_high_threshold.unwrap_or(high) as f32,
                dual: chosen.clip_ratio_c.map(|c| c as f32),
            },
            loss_agg_mode: self.loss_agg_mode.unwrap_or(self.loss_fn.loss_agg_mode()),
            max_tokens: self.max_tokens,
            kl: in_loss.then_some((self.kl_penalty_coef, self.kl_estimator)),
            entropy_coef: self.entropy_coef,
        }
    }

    /// Whether advantages are divided by their group's deviation.
    pub(crate) fn divides_by_deviation(&self) -> bool {
        let can = matches!(self.adv_estimator, AdvEstimator::Grpo | AdvEstimator::PerStep);
        can && self.norm_adv_by_std.unwrap_or(self.loss_fn.norm_adv_by_std())
    }

    /// Writes down what the keys that are not set follow from the others, so that a resolved config says it.
    pub(super) fn resolve(&mut self, rubric_normalises: bool) {
        if let Some((low, high)) = self.loss_fn.thresholds() {
            self.loss_fn_config.clip_low_threshold.get_or_insert(low);
            self.loss_fn_config.clip_high_threshold.get_or_insert(high);
        }
        self.loss_agg_mode.get_or_insert(self.loss_fn.loss_agg_mode());
        let divides = self.divides_by_deviation() && !rubric_normalises;
        self.norm_adv_by_std.get_or_insert(divides);
    }

    /// Refuses values that parse but cannot work.
    pub(super) fn check(&self) -> Result<()> {
        self.schedule().check("rl")?;
        let refuse = |key: &str, message: String| Err(Error::config(format!("rl.{key}"), message));
        if self.temperature == 0.0 {
            return refuse(
                "temperature",
                "must be above 0: answers that are all the same teach nothing; 1 is usual".into(),
            );
        }
        let compares = !matches!(self.adv_estimator, AdvEstimator::ReinforcePlusPlus | AdvEstimator::PerStep);
        if self.group_size == 1 && compares {
            let message = "must be at least 2: an answer is compared with the others of its group. \
                           `rl.adv_estimator` = \"reinforce_plus_plus\" compares with the batch instead";
            return refuse("group_size", message.into());
        }
        if self.kl_reference.is_some() && self.kl_penalty_coef == 0.0 {
            let message = "nothing is charged for leaving it; set `rl.kl_penalty_coef` above 0, or leave this out";
            return refuse("kl_reference", message.into());
        }
        if self.num_substeps == 0 || self.num_substeps > self.groups_per_batch {
            let message = format!("must be between 1 and `rl.groups_per_batch` = {}", self.groups_per_batch);
            return refuse("num_substeps", message);
        }
        if self.max_num_gen_batches == 0 {
            return refuse("max_num_gen_batches", "must be at least 1".into());
        }
        if self.overlong_buffer_len > self.max_tokens {
            let message = format!("must not exceed `rl.max_tokens` = {}, before which it lies", self.max_tokens);
            return refuse("overlong_buffer_len", message);
        }
        if self.step_separator.is_empty() {
            return refuse("step_separator", "must not be empty; \"\\n\" ends a step with its line".into());
        }
        let numbers = [
            ("kl_penalty_coef", self.kl_penalty_coef, 0.0),
            ("overlong_penalty_factor", self.overlong_penalty_factor, 0.0),
            ("entropy_coef", self.entropy_coef, f64::MIN),
        ];
        if let Some((key, _, least)) = numbers.iter().find(|(_, value, least)| !value.is_finite() || value < least) {
            let least = if *least == 0.0 { " of at least 0" } else { "" };
            return refuse(key, format!("must be a number{least}"));
        }
        let divides = matches!(self.adv_estimator, AdvEstimator::Grpo | AdvEstimator::PerStep);
        if self.norm_adv_by_std == Some(true) && !divides {
            return refuse("norm_adv_by_std", "only `rl.adv_estimator` = \"grpo\" and \"per_step\" can do so".into());
        }
        self.check_clip()
    }

    fn check_clip(&self) -> Result<()> {
        let name = toml::Value::try_from(self.loss_fn).map_or(String::new(), |name| name.to_string());
        let refuse = |key: &str, message: String| Err(Error::config(format!("rl.loss_fn_config.{key}"), message));
        let LossFnConfig { clip_low_threshold: low, clip_high_threshold: high, clip_ratio_c } = self.loss_fn_config;
        let given = [("clip_low_threshold", low), ("clip_high_threshold", high), ("clip_ratio_c", clip_ratio_c)];
        if let Some((key, Some(value))) =
            given.iter().find(|(_, value)| value.is_some_and(|value| value < 0.0 || value.is_nan()))
        {
            return refuse(key, format!("{value} is no ratio: it must be at least 0"));
        }
        if let (None, Some((key, _))) = (self.loss_fn.thresholds(), given.iter().find(|(_, value)| value.is_some())) {
            return refuse(key, format!("`rl.loss_fn` = {name} has no bounds; `ppo` and its kind do"));
        }
        if let (Some(low), Some(high)) = (low, high)
            && low > high
        {
            return refuse("clip_low_threshold", format!("{low} is above `clip_high_threshold` = {high}"));
        }
        if self.loss_fn == LossFn::Cispo && clip_ratio_c.is_some() {
            return refuse("clip_ratio_c", "`cispo` does not clip its loss, so there is no second bound".into());
        }
        match clip_ratio_c {
            Some(c) if c <= 1.0 => refuse("clip_ratio_c", format!("{c} must be above 1 (3 is usual)")),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_said_or_follow_from_epochs() {
        let check = |max_steps, num_epochs, expected| {
            let options = RlConfig { max_steps, num_epochs, groups_per_batch: 16, ..RlConfig::default() };
            assert_eq!(options.steps(100), expected, "{max_steps:?} {num_epochs:?}");
        };
        check(None, None, 100);
        check(Some(7), None, 7);
        check(None, Some(1), 7);
        check(None, Some(3), 19);
        check(Some(7), Some(3), 7);
        check(Some(70), Some(3), 19);
    }
}
