//! Write a plugin in Rust: a plain function, its settings, and one macro.
//!
//! ```
//! use rewarden_sdk::{Fault, Sample, Score};
//! use serde::Deserialize;
//!
//! #[derive(Deserialize, Default)]
//! #[serde(deny_unknown_fields, default)]
//! struct Settings {
//!     bonus: f64,
//! }
//!
//! fn score(sample: &Sample, settings: &Settings) -> Result<Score, Fault> {
//!     let right = sample.response().trim() == sample.ground_truth;
//!     Ok(Score::of(if right { 1.0 + settings.bonus } else { 0.0 }))
//! }
//!
//! rewarden_sdk::reward!(score, Settings);
//! # fn main() {}
//! ```
//!
//! | a plugin that | macro | is written as |
//! | --- | --- | --- |
//! | judges samples | [`reward!`] | `fn(&Sample, &Settings) -> Result<Score, Fault>` |
//! | compares the samples of a group | [`group_reward!`] | `fn(&[Sample], &Settings) -> Result<Vec<Score>, Fault>` |
//! | answers a policy turn by turn | [`environment!`] | a type with the trait [`Environment`] |
//! | offers functions to a policy | [`tool!`] | `fn(&mut State, Arguments) -> Result<Output, Fault>`, any number |
//!
//! The crate is compiled as `crate-type = ["cdylib", "rlib"]`: `rewarden plugin build` makes a component of it, and
//! `cargo test` runs the same code natively. The macro writes everything else that the contract in `wit/` asks for:
//! `describe` (what plugin.toml says; without that file, the package's name, version and description), `configure` (JSON
//! into your settings) and batches.
//!
//! A panic is a fault of the sample, and the fault carries its message; a plugin built with `--debug` names the functions
//! too.
//!
//! Every sample is judged in a fresh instance. It starts as `configure` left it: what your settings build while they are
//! read (a regex, a table) is there already. What judging sets up for later, each sample pays for again.
//!
//! [`log`], [`model`] and [`tools`] reach the host. Calling one makes the plugin import that interface, which plugin.toml
//! must ask for (`capabilities = ["host-log"]`); a plugin that calls none is sealed.

#![deny(missing_docs)]

extern crate self as rewarden_sdk;

#[allow(missing_docs, unsafe_code, unreachable_pub, clippy::all, reason = "generated from wit/")]
#[doc(hidden)]
pub mod bindings;

mod environment;
mod group_reward;
mod host;
mod last_words;
mod plugin;
mod reward;
mod tool;
mod types;

/// The standard library's allocator in a newer version: this one first uses the heap that `rewarden plugin build` links
/// in, and most samples then never ask the host for memory, which costs more than judging them.
#[cfg(target_family = "wasm")]
#[global_allocator]
static ALLOCATOR: dlmalloc::GlobalDlmalloc = dlmalloc::GlobalDlmalloc;

pub use bindings::environment::exports::rewarden::plugin::environment::{Task, Transition};
pub use bindings::host::rewarden::plugin::types::{Fault, Message, Metric, Role, ToolCall};
pub use bindings::plugin::exports::rewarden::plugin::plugin::Manifest;
pub use bindings::reward::exports::rewarden::plugin::reward::{Sample, Score, StopReason};
pub use bindings::tool::exports::rewarden::plugin::tool::{Output, ToolSpec};
pub use environment::Environment;
pub use host::{log, model, tools};
pub use plugin::settings_from;

/// What the macros write their code with; not for people.
#[doc(hidden)]
pub mod generated {
    pub use crate::environment::{finish, start, step};
    pub use crate::group_reward::score_group;
    pub use crate::last_words::keep_last_words;
    pub use crate::plugin::{Slot, configure};
    pub use crate::reward::score_batch;
    pub use crate::tool::{call, unknown};
}
#[doc(hidden)]
pub use wit_bindgen;
