//! `Fault`: why one sample has no score. Data, never an exception: a batch always comes back whole.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::generated::rewarden::plugin::types::Fault as GuestFault;

/// Longest text a guest can put into a fault. Enough for a stack trace, too little to drown a log.
const MESSAGE_BYTES_MAX: usize = 4096;

/// Why a sample has no score: a limit it ran into, a trap, a malformed answer, or the guest's own refusal.
///
/// Small, owned and `Send + Sync`; free to keep beside the scores for as long as the run lasts. A wrong answer is never
/// a fault: that is a score of 0. The first five are the host's findings, the next four the guest's own
/// words, and the last two are of guests that were not asked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", content = "detail", rename_all = "kebab-case")]
pub enum Fault {
    /// The guest ran longer than [`Limits::timeout_ms`](crate::Limits::timeout_ms). The one fault that depends on the
    /// machine; fuel is the reproducible limit.
    Deadline {
        /// The limit it ran into, in milliseconds.
        timeout_ms: u64,
        /// The functions it was in, innermost first; empty where the component does not name them.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        at: String,
    },
    /// The guest executed more than [`Limits::fuel`](crate::Limits::fuel) allows.
    OutOfFuel {
        /// The limit it ran into, in wasmtime's units (about one per instruction).
        fuel: u64,
        /// The functions it was in, as above.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        at: String,
    },
    /// The guest was refused memory over [`Limits::memory_bytes_max`](crate::Limits::memory_bytes_max) and gave up.
    OutOfMemory {
        /// The limit it ran into, in bytes over all its memories.
        memory_bytes_max: usize,
        /// The functions it was in when it gave up, as above.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        at: String,
    },
    /// The guest stopped abnormally: a panic, an `unreachable`, an overflowing stack, an access out of bounds. The text
    /// has its last words where it left some (a Rust plugin's panic message), and the functions it was in where the
    /// component names them.
    Trap(String),
    /// The guest answered, and the answer is not one: NaN, a wrong number of scores, more bytes than allowed.
    InvalidOutput(String),
    /// The guest says: this sample cannot be judged.
    InvalidInput(String),
    /// The guest says: my settings are wrong.
    Misconfigured(String),
    /// The guest says: a host service I need is not there.
    Unavailable(String),
    /// The guest says: I have a bug, or a limit of my own.
    Internal(String),
    /// The guest was not asked: its episode had ended before, and the text says how.
    EpisodeOver(String),
    /// The guest was not asked: it faulted too often in a row
    /// ([`RubricRules::quarantine_after`](crate::RubricRules::quarantine_after)).
    Quarantined {
        /// The training step at which that happened.
        since_step: u32,
        /// How many faults in a row it took.
        faults: u32,
    },
}

impl Fault {
    /// Every name that [`Fault::kind`] gives.
    pub const KINDS: [&'static str; 11] = [
        "deadline",
        "out-of-fuel",
        "out-of-memory",
        "trap",
        "invalid-output",
        "invalid-input",
        "misconfigured",
        "unavailable",
        "internal",
        "episode-over",
        "quarantined",
    ];

    /// The fault's name in logs, metrics and answer lines: `deadline`, `out-of-fuel`, `invalid-input`, ...
    pub fn kind(&self) -> &'static str {
        match self {
            Fault::Deadline { .. } => "deadline",
            Fault::OutOfFuel { .. } => "out-of-fuel",
            Fault::OutOfMemory { .. } => "out-of-memory",
            Fault::Trap(_) => "trap",
            Fault::InvalidOutput(_) => "invalid-output",
            Fault::InvalidInput(_) => "invalid-input",
            Fault::Misconfigured(_) => "misconfigured",
            Fault::Unavailable(_) => "unavailable",
            Fault::Internal(_) => "internal",
            Fault::EpisodeOver(_) => "episode-over",
            Fault::Quarantined { .. } => "quarantined",
        }
    }

    /// Whether the same sample would meet the same fault on every machine. The deadline is the one that depends on how
    /// fast the machine is.
    pub fn is_reproducible(&self) -> bool {
        !matches!(self, Fault::Deadline { .. })
    }

    /// A guest's own fault, its words made safe to print.
    pub(crate) fn from_guest(fault: GuestFault) -> Fault {
        match fault {
            GuestFault::InvalidInput(text) => Fault::InvalidInput(printable(&text, MESSAGE_BYTES_MAX)),
            GuestFault::Misconfigured(text) => Fault::Misconfigured(printable(&text, MESSAGE_BYTES_MAX)),
            GuestFault::Unavailable(text) => Fault::Unavailable(printable(&text, MESSAGE_BYTES_MAX)),
            GuestFault::Internal(text) => Fault::Internal(printable(&text, MESSAGE_BYTES_MAX)),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::Deadline { timeout_ms, at } => write!(f, "ran longer than timeout_ms = {timeout_ms}{}", In(at)),
            Fault::OutOfFuel { fuel, at } => write!(f, "used more than fuel = {fuel}{}", In(at)),
            Fault::OutOfMemory { memory_bytes_max, at } => {
                write!(f, "needed more memory than memory_bytes_max = {memory_bytes_max}{}", In(at))
            }
            Fault::Trap(text) => write!(f, "the plugin trapped: {text}"),
            Fault::InvalidOutput(text) => write!(f, "the plugin's answer is not valid: {text}"),
            Fault::InvalidInput(text) => write!(f, "the plugin cannot judge this input: {text}"),
            Fault::Misconfigured(text) => write!(f, "the plugin refuses its settings: {text}"),
            Fault::Unavailable(text) => write!(f, "the plugin lacks a host service: {text}"),
            Fault::Internal(text) => write!(f, "the plugin failed: {text}"),
            Fault::EpisodeOver(text) => write!(f, "the episode is over: {text}"),
            Fault::Quarantined { since_step, faults } => {
                write!(
                    f,
                    "the plugin is quarantined since step {since_step}, after {faults} faults in a row; a swap lifts it"
                )
            }
        }
    }
}

/// ` (in these functions)`, where they are known.
struct In<'a>(&'a str);

impl fmt::Display for In<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() { Ok(()) } else { write!(f, " (in {})", self.0) }
    }
}

/// A guest's text as one line of at most `bytes_max` bytes: control characters (a terminal would obey them) and
/// characters that reorder text are written as escapes.
pub fn printable(text: &str, bytes_max: usize) -> String {
    let mut line = String::new();
    for c in text.chars() {
        let before = line.len();
        match c {
            '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2028}' | '\u{2029}' | '\u{2066}'..='\u{2069}' => {
                line.extend(c.escape_unicode());
            }
            c if c.is_control() => line.extend(c.escape_default()),
            c => line.push(c),
        }
        if line.len() > bytes_max {
            line.truncate(before);
            line.push_str("...");
            break;
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, bytes_max: usize, expected: &str) {
        assert_eq!(printable(text, bytes_max), expected);
    }

    #[test]
    fn guests_words_are_one_bounded_printable_line() {
        check("plain, ünï", 100, "plain, ünï");
        check("two\nlines\t\u{1b}[31mred\0", 100, r"two\nlines\t\u{1b}[31mred\u{0}");
        check("a\u{202e}b", 100, r"a\u{202e}b");
        check("abcdef", 3, "abc...");
        check("äää", 3, "ä...");
        check("", 0, "");
    }

    #[test]
    fn serialises_under_its_kind() {
        let text = || "boom".to_owned();
        let every = [
            Fault::Deadline { timeout_ms: 5, at: String::new() },
            Fault::OutOfFuel { fuel: 7, at: "inner < outer".into() },
            Fault::OutOfMemory { memory_bytes_max: 9, at: String::new() },
            Fault::Trap(text()),
            Fault::InvalidOutput(text()),
            Fault::InvalidInput(text()),
            Fault::Misconfigured(text()),
            Fault::Unavailable(text()),
            Fault::Internal(text()),
            Fault::EpisodeOver(text()),
            Fault::Quarantined { since_step: 3, faults: 8 },
        ];
        assert_eq!(every.each_ref().map(Fault::kind), Fault::KINDS);
        assert_eq!(every[0].to_string(), "ran longer than timeout_ms = 5");
        assert_eq!(every[1].to_string(), "used more than fuel = 7 (in inner < outer)");
        for fault in every {
            let json = serde_json::to_value(&fault).unwrap();
            assert_eq!(json["kind"], fault.kind());
            assert_eq!(serde_json::from_value::<Fault>(json).unwrap(), fault);
        }
    }
}
