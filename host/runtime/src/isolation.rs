//! How much of an instance the samples of one plugin may share.

use serde::{Deserialize, Serialize};

/// Who else an instance may have served before it judges a sample.
///
/// Plain data, `Copy`. Only `sample` keeps a plugin that changes itself from paying for later samples; the others trade
/// that for speed, for plugins you wrote or vetted. Written in a configuration as `isolation = "sample"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Isolation {
    /// Nobody: every sample has an instance of its own. Costs microseconds, and scores never depend on one another.
    #[default]
    Sample,
    /// The samples before it in the same part of the same batch, at most 32. Scores never depend on earlier batches.
    Batch,
    /// Whatever the instance judged since it was made: it stays warm until it has made [`Worker::calls_max`] calls, had
    /// any fault, or holds more than [`Worker::memory_bytes_max`] of memory. Fuel may then differ from run to run.
    Worker,
}

/// When a warm instance retires, under [`Isolation::Worker`].
///
/// Plain data, `Copy`; written in a configuration as `worker = { calls_max = 1000 }`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Worker {
    /// Calls, of up to 32 samples each. Default 1000.
    pub calls_max: u32,
    /// Bytes of linear memory it holds. Default 64 MiB.
    pub memory_bytes_max: usize,
}

impl Default for Worker {
    fn default() -> Worker {
        Worker { calls_max: 1000, memory_bytes_max: 64 << 20 }
    }
}
