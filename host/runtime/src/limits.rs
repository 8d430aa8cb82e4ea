//! What one sample may use. Every limit exists so that a hostile guest costs its own sample and nothing else.

use serde::{Deserialize, Serialize};

/// What judging one sample may use, and the defaults an ordinary reward never notices.
///
/// Plain data, cheap to copy, `Send + Sync`. Unknown keys are errors when it is read from a configuration. All but the
/// timeouts are reproducible: the same sample runs into them on every machine. The timeouts are a net behind them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Work one sample may cost, in wasmtime's fuel: about one per WebAssembly instruction. Default 1 000 000 000, less
    /// than two seconds on the machines of today. Not counted where `deterministic = false`.
    pub fuel: u64,
    /// Wall-clock milliseconds one sample may run, counted from its first instruction; never while it queues, and never
    /// while it waits for a host service. Default 5000.
    pub timeout_ms: u64,
    /// Bytes of linear memory, summed over all memories of the instance. Default 256 MiB.
    pub memory_bytes_max: usize,
    /// Bytes of stack the guest's calls may take. Default 1 MiB.
    pub stack_bytes_max: usize,
    /// Elements over all tables of the instance. Default 100 000.
    pub table_elements_max: usize,
    /// Bytes the plugin may answer with: its scores with all their strings. Default 1 MiB.
    pub output_bytes_max: usize,
    /// Bytes one call of a host service may carry, either way; a log line too. Default 1 MiB.
    pub host_call_bytes_max: usize,
    /// Calls of `host-model` and `host-tools` for one sample. Default 100.
    pub host_calls_max: usize,
    /// Wall-clock milliseconds one call of `host-model` or `host-tools` may take. Default 30 000.
    pub host_call_timeout_ms: u64,
    /// Log lines that are kept for one sample; further ones are dropped and counted. Default 20.
    pub log_lines_max: usize,
    /// Bytes of one log line; the rest is cut. Default 1024.
    pub log_line_bytes_max: usize,
}

impl Limits {
    /// Stacks below this hold no toolchain's start-up code, above it no thread's.
    const STACK_BYTES: std::ops::RangeInclusive<usize> = 65_536..=(64 << 20);

    /// What is wrong with these values, naming the key.
    pub(crate) fn refusal(&self) -> Option<String> {
        let (least, most) = (Self::STACK_BYTES.start(), Self::STACK_BYTES.end());
        (!Self::STACK_BYTES.contains(&self.stack_bytes_max))
            .then(|| format!("`stack_bytes_max` = {} must be between {least} and {most}", self.stack_bytes_max))
    }
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            fuel: 1_000_000_000,
            timeout_ms: 5_000,
            memory_bytes_max: 256 << 20,
            stack_bytes_max: 1 << 20,
            table_elements_max: 100_000,
            output_bytes_max: 1 << 20,
            host_call_bytes_max: 1 << 20,
            host_calls_max: 100,
            host_call_timeout_ms: 30_000,
            log_lines_max: 20,
            log_line_bytes_max: 1024,
        }
    }
}
