//! What one sample may use. Every limit exists so that a hostile guest costs its own sample and nothing else.

use serde::{Deserialize, Serialize};

/// Elements of one table that the instance pool has room for.
pub(crate) const TABLE_ELEMENTS_MAX: usize = 1_000_000;

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
        if !Self::STACK_BYTES.contains(&self.stack_bytes_max) {
            return Some(format!("`stack_bytes_max` = {} must be between {least} and {most}", self.stack_bytes_max));
        }
        let elements = self.table_elements_max;
        (elements > TABLE_ELEMENTS_MAX)
            .then(|| format!("`table_elements_max` = {elements} must be at most {TABLE_ELEMENTS_MAX}"))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(change: fn(&mut Limits), expected: Option<&str>) {
        let mut limits = Limits::default();
        change(&mut limits);
        let refusal = limits.refusal();
        assert_eq!(refusal.is_some(), expected.is_some(), "{refusal:?}");
        assert!(refusal.unwrap_or_default().contains(expected.unwrap_or_default()));
    }

    #[test]
    fn what_cannot_be_armed_names_its_key() {
        check(|_| {}, None);
        check(|limits| limits.stack_bytes_max = 1000, Some("`stack_bytes_max` = 1000"));
        check(|limits| limits.stack_bytes_max = 1 << 30, Some("`stack_bytes_max`"));
        check(|limits| limits.table_elements_max = 1_000_001, Some("`table_elements_max`"));
        check(|limits| limits.fuel = 0, None);
    }
}
