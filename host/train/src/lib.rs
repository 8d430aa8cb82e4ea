//! Rewarden's training host: data, renderer, model, sampler, rollouts, rewards, losses and loops.
//!
//! One run, end to end: a TOML becomes a [`RunConfig`]; [`Dataset`] holds what it learns from; a [`Policy`] is sampled
//! by a [`Sampler`]; the text of its [`rollout`](Rollout)s goes to a [`Rubric`](rewarden_runtime::Rubric) of sandboxed rewards; advantages, a
//! [`LossFn`] and an [`Optimizer`] move the policy; the run directory remembers everything and resumes exactly.
//! [`run`] does all of it, [`stage`] a part. A [`SwapRequest`] replaces a reward of a run that goes on; a
//! [`StoredRollout`] is what was judged, to be judged again.
//!
//! This crate computes and writes run directories. It never prints, reads environment variables or starts processes; it
//! tells an [`Observer`] what happens. Graders see text only, and no plugin code is linked here: rewards arrive as
//! [`rewarden_runtime::Grader`]s.

#![deny(missing_docs)]

mod advantage;
mod attempt;
mod batch;
mod chains;
mod clock;
mod config;
mod data;
mod dpo;
mod engine;
mod epochs;
mod error;
mod eval;
mod events;
mod gradient;
mod layout;
mod learner;
mod live;
mod loss;
mod material;
mod merge;
mod model;
mod objective;
mod observe;
mod optim;
mod pairs;
mod plugin_store;
mod prm;
mod ready;
mod renderer;
mod replay;
mod report;
mod reward_model;
mod rl;
mod rollout;
mod run;
mod run_dir;
mod sampler;
mod schedule;
mod seed;
mod sft;
mod start;
mod swap;
mod tokenizer;

pub use advantage::{group_normalised, is_constant, leave_one_out, mean_centred, overlong_penalty, whiten};
pub use attempt::{Attempted, Timing, attempt};
pub use batch::Datum;
pub use config::{
    AdamConfig, AdvEstimator, Aggregate, DataConfig, Device, DpoConfig, DpoLossFn, EvalConfig, KeyDoc, KlIn,
    LossFnConfig, LrSchedule, PrmConfig, PrmLossFn, RewardConfig, RewardModelConfig, RlConfig, RunConfig, SftConfig,
    Stage, TINY, config_docs, nearest, nearest_name,
};
pub use data::{Arithmetic, Chain, Columns, Dataset, Example, MixConfig, Outcome, Pair, Row, Skipped, Task, read_data};
pub use error::{Error, Result, is_full_disk};
pub use eval::{Evaluation, pass_at_k};
pub use gradient::{Gradients, gradients, log_probs, mean_nll};
pub use layout::Layout;
pub use live::is_live;
pub use loss::{
    Clip, Compared, Experience, KlEstimator, LossAggMode, LossFn, PairLoss, PairLossFn, PolicyLoss, Preference, nll,
    step_loss,
};
pub use merge::{base_of, merge};
pub use model::{Adapter, Family, Head, Lora, ModelConfig, Parameter, Policy, Rope, RopeParameters, TokenIds, Weights};
pub use objective::{Objective, Prediction, Slopes};
pub use observe::{Event, Observer};
pub use optim::Optimizer;
pub use plugin_store::{Pinned, PluginStore, pinned};
pub use renderer::{Conversation, Rendered, Renderer, RendererName, TrainOnWhat, message};
pub use replay::{StoredRollout, StoredScore};
pub use reward_model::{reward_model_graders, trained_scorer};
pub use rollout::{Plan, Rollout, roll_out};
pub use run::{Existing, Rewards, SUMMARY, Summary, run, stage};
pub use run_dir::{METRICS, Metrics, ROLLOUTS, read_rows};
pub use sampler::{End, Guide, Next, Progress, Request, Sampled, Sampler, Sampling};
pub use schedule::Schedule;
pub use seed::Purpose;
pub use start::is_finished;
pub use swap::{SWAPS, SwapKind, SwapRecord, SwapRequest, swap_outcome};
pub use tokenizer::{IM_END, IM_START, Tokenizer};
