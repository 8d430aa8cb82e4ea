//! The configuration of a run: one struct per stage, every default a value that works, unknown keys refused. What a run
//! resolved to is written back into its directory, and that file *is* the run.

mod counts;
mod data;
mod device;
mod docs;
mod nearest;
mod parse;
mod preference;
mod rl;
mod set;

use rewarden_runtime::{
    CacheScores, Grants, Isolation, Limits, OnFault, PluginSpec, RubricRules, Wasi, Weight, Worker,
};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::layout::Layout;
use crate::model::Lora;
use crate::renderer::{RendererName, TrainOnWhat};
use crate::sampler::Sampling;
use crate::schedule::Schedule;
use crate::seed::{self, Purpose};
pub use data::DataConfig;
pub use device::Device;
pub use docs::{KeyDoc, config_docs};
pub use nearest::{nearest, nearest_name};
pub use preference::{Aggregate, DpoConfig, DpoLossFn, PrmConfig, PrmLossFn, RewardModelConfig};
pub use rl::{AdvEstimator, KlIn, LossFnConfig, RlConfig};

/// The `model_name` that stands for random weights of a small shape instead of a folder.
pub const TINY: &str = "tiny";

/// A whole run: its model, data, rewards and stages.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunConfig {
    /// All randomness of the run derives from it.
    #[serde(default = "one")]
    pub seed: u64,
    /// The run directory.
    pub log_path: PathBuf,
    /// What `rewarden run` does, in order.
    #[serde(default = "all_stages")]
    pub stages: Vec<Stage>,
    /// `tiny`, a folder with `config.json`, safetensors and `tokenizer.json`, or a name on the Hugging Face hub.
    #[serde(default = "tiny")]
    pub model_name: String,
    /// Where the model of that name lies, when the name is no path: whoever starts the run finds out.
    #[serde(skip)]
    pub model_folder: Option<PathBuf>,
    /// What the models compute on.
    #[serde(default)]
    pub device: Device,
    /// Rank of the adapters that are trained; 0 trains every weight. Left out, it is 32, or 0 for `tiny`, whose random
    /// weights are not worth keeping.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lora_rank: Option<usize>,
    /// The adapters' share is `lora_alpha / lora_rank`.
    #[serde(default = "lora_alpha")]
    pub lora_alpha: f64,
    /// Whether training keeps only what came into each layer and computes the rest once more: less memory for a third more
    /// work, and the same gradient.
    #[serde(default)]
    pub gradient_checkpointing: bool,
    /// Adapters on the projections of attention.
    #[serde(default = "yes")]
    pub train_attn: bool,
    /// Adapters on the matrices of the MLP.
    #[serde(default = "yes")]
    pub train_mlp: bool,
    /// An adapter on the head that gives logits.
    #[serde(default = "yes")]
    pub train_unembed: bool,
    /// Chat format. Left out, it is `qwen3` for Qwen3 models, and for others the template that came with them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub renderer_name: Option<RendererName>,
    /// Where examples come from.
    #[serde(default)]
    pub data: DataConfig,
    /// The rewards of reinforcement learning and evaluation.
    #[serde(default)]
    pub reward: Vec<RewardConfig>,
    /// Trained reward models among the rewards.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reward_model: Vec<RewardModelConfig>,
    /// How the rewards become one number, and what their faults do to the run.
    #[serde(default)]
    pub rubric: RubricRules,
    /// Supervised fine-tuning.
    #[serde(default)]
    pub sft: SftConfig,
    /// A preference or process reward model.
    #[serde(default)]
    pub prm: PrmConfig,
    /// Direct preference optimisation.
    #[serde(default)]
    pub dpo: DpoConfig,
    /// Reinforcement learning.
    #[serde(default)]
    pub rl: RlConfig,
    /// Evaluation.
    #[serde(default)]
    pub eval: EvalConfig,
}

/// One stage of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// Supervised fine-tuning.
    Sft,
    /// A reward model, trained on preferences or labelled steps.
    Prm,
    /// Direct preference optimisation.
    Dpo,
    /// Reinforcement learning from the rewards.
    Rl,
    /// Evaluation of what the earlier stages made.
    Eval,
}

impl Stage {
    /// Name of the stage's folder and verb.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sft => "sft",
            Self::Prm => "prm",
            Self::Dpo => "dpo",
            Self::Rl => "rl",
            Self::Eval => "eval",
        }
    }

    /// Whether the stage asks the rewards.
    pub fn asks_rewards(self) -> bool {
        matches!(self, Self::Rl | Self::Eval)
    }
}

/// One named reward: which plugin, for which samples, with which settings, weight and limits.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RewardConfig {
    /// Name in metrics and rollouts.
    pub name: String,
    /// A component file, or a plugin's source folder.
    pub plugin: PathBuf,
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
    /// The plugin's settings.
    #[serde(default)]
    pub settings: toml::Table,
    /// Host interfaces the plugin may use.
    #[serde(default)]
    pub grants: Grants,
    /// `refused`, or `virtual` for a plugin that imports WASI: then it gets one with nothing behind it.
    #[serde(default)]
    pub wasi: Wasi,
    /// What samples may share: nothing (`sample`), a batch's instance (`batch`), or a warm one (`worker`).
    #[serde(default)]
    pub isolation: Isolation,
    /// Whether equal input must give equal scores on every machine; without, only the clock bounds the plugin's work.
    #[serde(default = "yes")]
    pub deterministic: bool,
    /// Whether scores are remembered: `off`, `memory` or `disk`. Then the plugin sees no `id`, `group` and `step`.
    #[serde(default)]
    pub cache: CacheScores,
    /// When a warm instance retires.
    #[serde(default)]
    pub worker: Worker,
    /// What one score may cost.
    #[serde(default)]
    pub limits: Limits,
}

/// How the learning rate falls over a stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LrSchedule {
    /// To zero after the last step, in a straight line.
    Linear,
    /// To zero after the last step, along half a cosine.
    Cosine,
    /// Not at all.
    Constant,
}

/// AdamW (Loshchilov and Hutter 2019) with clipping by global norm.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AdamConfig {
    /// Decay of the first moment.
    pub beta1: f64,
    /// Decay of the second moment.
    pub beta2: f64,
    /// Added to the root of the second moment.
    pub eps: f64,
    /// Decoupled decay of weights; norms are never decayed.
    pub weight_decay: f64,
    /// Gradients are scaled down to this global norm; 0 never scales.
    pub max_grad_norm: f64,
}

/// Supervised fine-tuning.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SftConfig {
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
    /// Conversations in one update.
    pub batch_size: usize,
    /// Conversations in one pass: memory, never the gradient. 0 means all. With `packing`, rows.
    pub micro_batch_size: usize,
    /// Whether a pass is so many rows of at most `max_length` tokens, filled with whole conversations, instead of so many
    /// conversations of any length. None sees another: time and memory, never the gradient.
    pub packing: bool,
    /// Longest conversation in tokens; longer ones are cut at the end, and counted and left out if nothing to learn remains.
    pub max_length: usize,
    /// Which messages are learnt.
    pub train_on_what: TrainOnWhat,
    /// Steps between measurements of held-out loss; 0 never.
    pub eval_every: usize,
    /// Steps between checkpoints; 0 means only the last.
    pub save_every: usize,
    /// So many of the newest checkpoints stay, and those that the config names; 0 means all.
    pub keep_last: usize,
    /// Model folder or checkpoint to start from instead of `model_name`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub load_checkpoint_path: Option<PathBuf>,
    /// The optimizer.
    pub adam: AdamConfig,
}

/// Evaluation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EvalConfig {
    /// Tasks at most.
    pub max_examples: usize,
    /// Answers sampled for each task.
    pub num_samples: usize,
    /// The k of each pass@k and maj@k; none may exceed `num_samples`.
    pub k: Vec<usize>,
    /// The reward whose score decides about an answer. Not set, it is what the rubric makes of all of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub graded_by: Option<String>,
    /// An answer passes when its reward is at least this.
    pub pass_threshold: f64,
    /// Tokens of one answer at most.
    pub max_tokens: usize,
    /// Divides the logits; 0 takes the likeliest token.
    pub temperature: f64,
    /// Draws among this many likeliest tokens; 0 means all.
    pub top_k: usize,
    /// Draws among the likeliest tokens whose probabilities reach this sum.
    pub top_p: f64,
    /// Texts that end an answer, themselves included.
    pub stop: Vec<String>,
    /// Model folder or checkpoint to evaluate instead of this run's stages.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub load_checkpoint_path: Option<PathBuf>,
    /// Tasks of another data set instead of what `[data]` holds out: those it holds out itself, or all if none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data: Option<DataConfig>,
}

impl Default for AdamConfig {
    fn default() -> Self {
        Self { beta1: 0.9, beta2: 0.95, eps: 1e-8, weight_decay: 0.0, max_grad_norm: 1.0 }
    }
}

impl Default for SftConfig {
    fn default() -> Self {
        Self {
            learning_rate: 1e-4,
            lr_schedule: LrSchedule::Linear,
            warmup_steps: 0,
            warmup_ratio: 0.0,
            num_epochs: 1,
            max_steps: None,
            batch_size: 32,
            micro_batch_size: 16,
            packing: false,
            max_length: 2048,
            train_on_what: TrainOnWhat::LastAssistantMessage,
            eval_every: 0,
            save_every: 20,
            keep_last: 0,
            load_checkpoint_path: None,
            adam: AdamConfig::default(),
        }
    }
}

impl Default for EvalConfig {
    fn default() -> Self {
        Self {
            max_examples: 400,
            num_samples: 8,
            k: vec![1, 8],
            graded_by: None,
            pass_threshold: 1.0,
            max_tokens: 256,
            temperature: 1.0,
            top_k: 0,
            top_p: 1.0,
            stop: vec![],
            load_checkpoint_path: None,
            data: None,
        }
    }
}

/// The rank where a config is silent; tinker's.
const LORA_RANK: usize = 32;

fn one() -> u64 {
    1
}
fn lora_alpha() -> f64 {
    32.0
}
fn yes() -> bool {
    true
}
fn tiny() -> String {
    TINY.into()
}
fn all_stages() -> Vec<Stage> {
    vec![Stage::Sft, Stage::Rl, Stage::Eval]
}

impl RunConfig {
    /// The folder of the model that `model_name` stands for; meaningless for [`TINY`].
    pub fn model_path(&self) -> &Path {
        self.model_folder.as_deref().unwrap_or(Path::new(&self.model_name))
    }

    /// Folders of models that the config names: no stage may remove a checkpoint that another starts from.
    pub(crate) fn named_folders(&self) -> Vec<PathBuf> {
        let paths = [
            &self.sft.load_checkpoint_path,
            &self.prm.load_checkpoint_path,
            &self.dpo.load_checkpoint_path,
            &self.dpo.reference,
            &self.rl.load_checkpoint_path,
            &self.rl.kl_reference,
            &self.eval.load_checkpoint_path,
        ];
        let graders = self.reward_model.iter().map(|model| &model.path);
        paths.into_iter().chain(graders).flatten().cloned().chain([self.model_path().to_owned()]).collect()
    }

    /// The adapters to train; `None` trains every weight.
    pub fn lora(&self) -> Option<Lora> {
        let default = if self.model_name == TINY { 0 } else { LORA_RANK };
        let rank = self.lora_rank.unwrap_or(default);
        let Self { lora_alpha: alpha, train_attn, train_mlp, train_unembed, .. } = *self;
        (rank > 0).then_some(Lora { rank, alpha, train_attn, train_mlp, train_unembed })
    }

    /// Whether the run goes on when this stage fails: a reward model's, if plugins can take its place.
    pub(crate) fn can_do_without(&self, stage: Stage) -> bool {
        let mut ours = self.reward_model.iter().filter(|model| model.path.is_none()).peekable();
        stage == Stage::Prm && ours.peek().is_some() && ours.all(|model| model.fallback.is_some())
    }

    /// Where a stage starts when not from an earlier one.
    pub(crate) fn load_checkpoint_path(&self, stage: Stage) -> Option<&Path> {
        let path = match stage {
            Stage::Sft => &self.sft.load_checkpoint_path,
            Stage::Prm => &self.prm.load_checkpoint_path,
            Stage::Dpo => &self.dpo.load_checkpoint_path,
            Stage::Rl => &self.rl.load_checkpoint_path,
            Stage::Eval => &self.eval.load_checkpoint_path,
        };
        path.as_deref()
    }

    /// The seed that this run gives to its plugins.
    pub fn guest_seed(&self) -> u32 {
        seed::derive(self.seed, Purpose::Guests, &[]) as u32
    }

    /// How a component is loaded as one of this run's rewards.
    pub fn plugin_spec(&self, reward: &RewardConfig, component: PathBuf) -> Result<PluginSpec> {
        let settings = serde_json::to_value(&reward.settings)
            .map_err(|e| Error::config(format!("reward.{}.settings", reward.name), e.to_string()))?;
        Ok(PluginSpec {
            name: reward.name.clone(),
            settings,
            seed: self.guest_seed(),
            limits: reward.limits.clone(),
            grants: reward.grants.clone(),
            wasi: reward.wasi,
            isolation: reward.isolation,
            deterministic: reward.deterministic,
            cache: reward.cache,
            worker: reward.worker,
            ..PluginSpec::path(component)
        })
    }

    /// The reward of this name; the error lists those there are.
    pub fn reward_named(&self, name: &str) -> Result<&RewardConfig> {
        self.reward.iter().find(|reward| reward.name == name).ok_or_else(|| {
            let names: Vec<&str> = self.reward.iter().map(|reward| reward.name.as_str()).collect();
            Error::config("reward", parse::no_reward(name, &names))
        })
    }
}

impl SftConfig {
    /// The learning rate's course.
    pub fn schedule(&self) -> Schedule {
        let Self { learning_rate, lr_schedule, warmup_steps, warmup_ratio, .. } = *self;
        Schedule { learning_rate, lr_schedule, warmup_steps, warmup_ratio }
    }

    /// How a batch goes through the model.
    pub(crate) fn layout(&self) -> Layout {
        match self.packing {
            true => Layout::Packed { rows: self.micro_batch_size, length: self.max_length },
            false => Layout::Sequences(self.micro_batch_size),
        }
    }
}

impl EvalConfig {
    /// How answers are sampled.
    pub fn sampling(&self) -> Sampling {
        Sampling { max_tokens: self.max_tokens, temperature: self.temperature, top_k: self.top_k, top_p: self.top_p }
    }
}
