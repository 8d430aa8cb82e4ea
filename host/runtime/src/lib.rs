//! Run untrusted reward plugins: load a WebAssembly component, bound it, score samples with it.
//!
//! ```no_run
//! use rewarden_runtime::{Message, PluginSpec, Role, Runtime, RuntimeConfig, Sample, StopReason};
//!
//! async fn judge() -> Result<(), rewarden_runtime::Error> {
//!     let runtime = Runtime::new(RuntimeConfig::default())?;                 // one per process
//!     let plugin = runtime.load(&PluginSpec::path("gsm8k.wasm")).await?;     // inspected, compiled, tried out
//!     let reward = plugin.reward()?;                                         // Err names the world it has instead
//!     let message = |role, content: &str| Message {
//!         role,
//!         content: content.into(),
//!         name: None,
//!         tool_calls: vec![],
//!         tool_call_id: None,
//!     };
//!     let sample = Sample {
//!         id: "1".into(),
//!         group: "1".into(),
//!         data_source: "example".into(),
//!         prompt: vec![message(Role::User, "What is 6 x 7?")],
//!         completion: vec![message(Role::Assistant, "#### 42")],
//!         ground_truth: "42".into(),
//!         extra: "{}".into(),
//!         stop_reason: StopReason::Completed,
//!         turn_scores: vec![],
//!         completion_tokens: 4,
//!         step: 0,
//!     };
//!     for result in reward.score_batch(vec![sample]).await {                 // same length, same order
//!         match result {
//!             Ok(score) => println!("{:?} ({})", score.value, score.note),
//!             Err(fault) => println!("no score: {fault}"),                   // data, beside its siblings' scores
//!         }
//!     }
//!     Ok(())
//! }
//! ```
//!
//! # What things cost and how long they live
//!
//! * [`Runtime`]: one per process. Engine, worker threads, address space; about a millisecond. Clones are counters.
//! * [`PluginSpec`]: plain data that says what to load: path, settings, seed, [`Limits`], [`Grants`].
//! * [`Plugin`]: a compiled component and its settings. Tens of milliseconds to compile, about one to read from the
//!   cache, less than one to configure anew. Keeps its runtime alive.
//! * [`Reward`]: a plugin seen as a judge. Free.
//! * an instance: lives for one sample, tens of microseconds. There is no type for it, because nobody may keep one.
//! * [`Rubric`]: named [`Grader`]s under [`RubricRules`], and the counts of their faults. Arithmetic beside the calls.
//! * [`Score`] and [`Fault`]: plain data; keep them as long as you like.
//!
//! # What a plugin can do to you
//!
//! Use its [`Limits`] up, and answer nonsense. It sees the one [`Sample`] it judges, its settings and a seed; it has no
//! clock, no files, no network, no randomness, and no memory of other samples. What it may do beyond computing stands in
//! its import list, is refused unless a [`Grants`] names it, and is nothing by default. Equal input, equal score, on
//! every machine: the one exception is [`Fault::Deadline`].
//!
//! This crate prints nothing, reads no environment variables and starts no processes; what guests log goes to the `log`
//! facade under the target `rewarden::plugin`.

#![deny(missing_docs)]

mod cache;
mod digest;
mod effort;
mod engine;
mod error;
mod fault;
mod generated;
mod grants;
mod host_call;
mod host_log;
mod host_model;
mod inspect;
mod instance;
mod isolation;
mod judge;
mod limits;
mod output;
mod plugin;
mod reward;
mod rubric;
mod runtime;
mod score_cache;
mod services;
mod snapshot;
mod tool;
mod wasi;

pub use digest::{Digest, ParseDigestError};
pub use error::Error;
pub use fault::{Fault, printable};
pub use generated::exports::rewarden::plugin::plugin::Manifest;
pub use generated::exports::rewarden::plugin::reward::{Sample, Score, StopReason};
pub use generated::exports::rewarden::plugin::tool::{Output as ToolOutput, ToolSpec};
pub use generated::rewarden::plugin::types::{Message, Metric, Role, ToolCall};
pub use grants::{Grants, UnknownGrant};
pub use host_model::Model;
pub use inspect::World;
pub use isolation::{Isolation, Worker};
pub use limits::Limits;
pub use plugin::{Plugin, PluginSpec};
pub use reward::{Judgement, Receipt, Reward};
pub use rubric::{Combine, Graded, Grader, OnFault, Rubric, RubricRules, RubricState, Weight};
pub use runtime::{Runtime, RuntimeConfig};
pub use score_cache::CacheScores;
pub use services::Services;
pub use tool::Tool;
pub use wasi::Wasi;
