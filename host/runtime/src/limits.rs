//! What one sample may use. Every limit exists so that a hostile guest costs its own sample and nothing else.

use serde::{Deserialize, Serialize};

/// What judging one sample may use, and the defaults an ordinary reward never notices.
///
/// Plain data, cheap to copy, `Send + Sync`. Unknown keys are errors when it is read from a configuration. Fuel and
/// memory are reproducible: the same sample runs into them on every machine. The timeout is a safety net behind them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Work one sample may cost, in wasmtime's fuel: about one per WebAssembly instruction. Default 1 000 000 000, less
    /// than two seconds on the machines of today.
    pub fuel: u64,
    /// Wall-clock milliseconds one sample may run, counted from its first instruction and never while it queues.
    /// Default 5000.
    pub timeout_ms: u64,
    /// Bytes of linear memory, summed over all memories of the instance. Default 256 MiB.
    pub memory_bytes_max: usize,
    /// Bytes one call may hand to the host: its scores with all their strings, or one log line. Default 1 MiB.
    pub output_bytes_max: usize,
    /// Elements over all tables of the instance. Default 100 000.
    pub table_elements_max: usize,
    /// Log lines that are kept for one sample; further ones are dropped and counted. Default 20.
    pub log_lines_max: usize,
    /// Bytes of one log line; the rest is cut. Default 1024.
    pub log_line_bytes_max: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            fuel: 1_000_000_000,
            timeout_ms: 5_000,
            memory_bytes_max: 256 << 20,
            output_bytes_max: 1 << 20,
            table_elements_max: 100_000,
            log_lines_max: 20,
            log_line_bytes_max: 1024,
        }
    }
}
