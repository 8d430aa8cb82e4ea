//! Write a reward plugin in Rust: a plain function, its settings, and one macro.
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
//! The crate is compiled as `crate-type = ["cdylib", "rlib"]`: `rewarden plugin build` makes a component of it, and
//! `cargo test` runs the same code natively. The macro writes everything else that the contract in `wit/` asks for:
//! `describe` (name, version and summary are the package's), `configure` (JSON into your settings) and batches.
//!
//! Every sample is judged in a fresh instance. It starts as `configure` left it: what your settings build while they are
//! read (a regex, a table) is there already. What judging sets up for later, each sample pays for again.

#![deny(missing_docs)]

extern crate self as rewarden_sdk;

#[allow(missing_docs, unsafe_code, unreachable_pub, clippy::all, reason = "generated from wit/")]
#[doc(hidden)]
pub mod bindings {
    wit_bindgen::generate!({
        path: "../../wit",
        world: "reward-plugin",
        runtime_path: "rewarden_sdk::wit_bindgen::rt",
        default_bindings_module: "rewarden_sdk::bindings",
        pub_export_macro: true,
        additional_derives: [PartialEq],
    });
}

mod macros;
mod types;

/// The standard library's allocator in a newer version: this one first uses the heap that `rewarden plugin build` links
/// in, and most samples then never ask the host for memory, which costs more than judging them.
#[cfg(target_family = "wasm")]
#[global_allocator]
static ALLOCATOR: dlmalloc::GlobalDlmalloc = dlmalloc::GlobalDlmalloc;

pub use bindings::exports::rewarden::plugin::plugin::Manifest;
pub use bindings::exports::rewarden::plugin::reward::{Sample, Score, StopReason};
pub use bindings::rewarden::plugin::types::{Fault, Message, Metric, Role, ToolCall};
#[doc(hidden)]
pub use macros::settings_from;
#[doc(hidden)]
pub use wit_bindgen;

/// Lines for the run's log. Calling it makes the plugin import `host-log`; without that grant the lines go nowhere.
pub mod log {
    pub use crate::bindings::rewarden::plugin::host_log::Level;

    /// Writes one line; over the caps it is cut or dropped.
    pub fn line(level: Level, message: &str) {
        crate::bindings::rewarden::plugin::host_log::log(level, message);
    }
}
