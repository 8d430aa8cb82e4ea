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
//! A program that goes further, with limits, a grant, a model, a rubric and a swap, is `examples/embed.rs`.
//!
//! # What things cost and how long they live
//!
//! * [`Runtime`]: one per process. Engine, worker threads, address space; about a millisecond. Clones are counters.
//! * [`PluginSpec`]: plain data that says what to load and how: path, settings, seed, [`Limits`], [`Grants`],
//!   [`Isolation`] (and [`Worker`], when warm instances retire), [`Wasi`], [`CacheScores`], [`Services`]. Cheap to clone.
//! * [`Plugin`]: a compiled component and its settings. Tens of milliseconds to compile, twice for a snapshot; a few to
//!   read from the cache on disk. An interpreter takes seconds, and a third of that once it was edited. Keeps its runtime alive. Most start from a snapshot taken after `configure`, so that no
//!   instance pays for it; [`Plugin::no_snapshot`] says why one does not.
//! * [`Reward`]: a plugin seen as a judge. Free; and so are [`GroupReward`], which judges the answers to one task
//!   together, and [`Environment`].
//! * [`Episode`]: one live environment, from `start` to `finish`. Tens of microseconds, then about one a turn; it holds its
//!   instance's memory meanwhile, and no thread.
//! * an instance: lives for one sample, ten microseconds; for a call of up to 32 under [`Isolation::Batch`]; for many
//!   calls under [`Isolation::Worker`]; for one [`Episode`]. There is no other type for it, because nobody may keep one.
//! * [`Services`]: the [`Model`]s and [`Tool`]s that granted plugins may ask; clones are counters, lives as long as a
//!   plugin that was given it. A [`Model`] is a function of yours, called on a thread of its own with what many guests
//!   ask as one batch; they are suspended meanwhile. A [`Tool`] is a plugin whose functions may be called, each call in
//!   an instance of its own.
//! * [`Rubric`]: named [`Grader`]s under [`RubricRules`], and the counts of their faults. Arithmetic beside the calls;
//!   [`Rubric::swap`] replaces a grader's plugin between two batches and costs nothing. A [`Sitting`] lives for one batch;
//!   its [`Panel`], a counter, may be asked about parts of the batch while others are still to come.
//! * [`Score`], [`Fault`], [`Judgement`] and its [`Receipt`] (fuel, time, peak memory): plain data; keep them as long as
//!   you like.
//!
//! # What a plugin can do to you
//!
//! Use its [`Limits`] up, and answer nonsense. It sees the [`Sample`]s it judges, its settings and a seed; it has no
//! clock, no files, no network and no randomness. What it may do beyond computing stands in its import list:
//!
//! * `host-log`, `host-model` and `host-tools` do something only when [`Grants`] names them. Otherwise a plugin that
//!   imports them still loads: its log lines go nowhere, and its questions are answered `unavailable`, with the line of
//!   configuration that would grant them. A plugin that imports nothing is [sealed](Plugin::sealed).
//! * WASI is refused when the plugin is loaded. With [`Wasi::Virtual`] there is one with nothing behind it: a clock that
//!   starts at a fixed time, random numbers from the seed, no arguments, environment, files or sockets.
//! * Anything else is refused when it is loaded, and so is a component that would take minutes to compile.
//!
//! Under [`Isolation::Sample`] it has no memory of other samples, so no answer can change how another is judged. Under
//! [`Isolation::Batch`] and [`Isolation::Worker`] a plugin may remember the samples before: choose them for plugins you
//! wrote or vetted. There a part of up to 32 samples is one call on *one* sample's budget. When that call fails, each of
//! its samples is judged alone in a fresh instance, so a fault is always that of one sample; `k` samples that never end
//! cost at most `2 * k * timeout_ms / jobs` of time. Under [`Isolation::Sample`] it is half of that.
//!
//! # Limits
//!
//! For one sample, one group, or one call of an episode; each is a field of [`Limits`], settable for each plugin.
//!
//! | limit | default | beyond it |
//! | --- | --- | --- |
//! | [`fuel`](Limits::fuel) | 1 000 000 000 | [`Fault::OutOfFuel`] |
//! | [`timeout_ms`](Limits::timeout_ms) | 5 000 | [`Fault::Deadline`]; looked at every 5 ms |
//! | [`memory_bytes_max`](Limits::memory_bytes_max) | 256 MiB | growing fails; [`Fault::OutOfMemory`] when it gives up |
//! | [`stack_bytes_max`](Limits::stack_bytes_max) | 1 MiB | [`Fault::Trap`] |
//! | [`table_elements_max`](Limits::table_elements_max) | 100 000 | as for memory |
//! | [`output_bytes_max`](Limits::output_bytes_max) | 1 MiB | [`Fault::InvalidOutput`] |
//! | [`host_call_bytes_max`](Limits::host_call_bytes_max) | 1 MiB | the guest hears `unavailable` |
//! | [`host_calls_max`](Limits::host_calls_max) | 100 | the guest hears `unavailable` |
//! | [`host_call_timeout_ms`](Limits::host_call_timeout_ms) | 30 000 | the guest hears `unavailable` |
//! | [`log_lines_max`](Limits::log_lines_max) | 20 | further lines are dropped |
//! | [`log_line_bytes_max`](Limits::log_line_bytes_max) | 1 024 | the line is cut |
//!
//! # Equal input, equal score
//!
//! With [`PluginSpec::deterministic`], the default, fuel is the budget, NaNs have one bit pattern and relaxed SIMD is
//! off: a [reproducible](Plugin::reproducible) plugin gives the same bits and uses the same fuel on every machine. It
//! meets the same faults too, with one exception that [`Fault::is_reproducible`] tells: [`Fault::Deadline`], a net behind
//! the fuel that counts real time. Without `deterministic`, guests run faster, [`Receipt::fuel`] is 0, and only the
//! deadline ends a loop. A plugin that was granted `host-model` or `host-tools` and imports it is not reproducible; nor is
//! one that remembers under [`Isolation::Worker`], where what an instance judged before depends on the threads.
//!
//! [`CacheScores`] rests on this: a score that is remembered is one that would be given again, and faults are never kept.
//!
//! This crate prints nothing, reads no environment variables and starts no processes; what guests log goes to the `log`
//! facade under the target `rewarden::plugin`.

#![deny(missing_docs)]

mod cache;
mod digest;
mod effort;
mod engine;
mod environment;
mod error;
mod fault;
mod functions;
mod generated;
mod grants;
mod group_reward;
mod guest;
mod host_call;
mod host_log;
mod host_model;
mod inspect;
mod instance;
mod isolation;
mod judge;
mod last_words;
mod limits;
mod linked;
mod names;
mod output;
mod plugin;
mod reward;
mod rubric;
mod runtime;
mod score_cache;
mod scorer;
mod services;
mod snapshot;
mod source;
mod tool;
mod wasi;

/// The sources of the types that configurations are read into: their doc comments say what each key means.
pub const CONFIG_SOURCES: [&str; 7] = [
    include_str!("grants.rs"),
    include_str!("isolation.rs"),
    include_str!("limits.rs"),
    include_str!("rubric/rules.rs"),
    include_str!("rubric/weight.rs"),
    include_str!("score_cache.rs"),
    include_str!("wasi.rs"),
];

pub use digest::{Digest, ParseDigestError};
pub use environment::{Environment, Episode};
pub use error::Error;
pub use fault::{Fault, printable};
pub use generated::exports::rewarden::plugin::environment::{Task, Transition};
pub use generated::exports::rewarden::plugin::plugin::Manifest;
pub use generated::exports::rewarden::plugin::reward::{Sample, Score, StopReason};
pub use generated::exports::rewarden::plugin::tool::{Output as ToolOutput, ToolSpec};
pub use generated::rewarden::plugin::types::{Message, Metric, Role, ToolCall};
pub use grants::{Grants, UnknownGrant};
pub use group_reward::GroupReward;
pub use host_model::Model;
pub use inspect::{Interfaces, World};
pub use isolation::{Isolation, Worker};
pub use limits::Limits;
pub use plugin::{Plugin, PluginSpec};
pub use reward::{Judgement, Receipt, Reward};
pub use rubric::{Asked, Combine, Graded, Grader, OnFault, Panel, Rubric, RubricRules, RubricState, Sitting, Weight};
pub use runtime::{Runtime, RuntimeConfig};
pub use score_cache::CacheScores;
pub use scorer::{HostScorer, Scorer};
pub use services::Services;
pub use source::COMPONENT_BYTES_MAX;
pub use tool::Tool;
pub use wasi::Wasi;
