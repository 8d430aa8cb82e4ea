//! One answer line of grade-jsonl/1.

use rewarden_runtime::{Fault, Judgement};
use serde::Serialize;
use serde_json::Value;

/// Serialises to the line; the fields are the protocol's.
#[derive(Serialize)]
pub(crate) struct Answer {
    id: Value,
    score: Option<f64>,
    /// The protocol's place for structured results, which rewards do not give.
    value: Option<()>,
    extracted: Option<String>,
    us: u64,
    error: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fault: Option<Details>,
}

/// What went wrong, beyond the protocol's five words.
#[derive(Serialize)]
struct Details {
    kind: &'static str,
    message: String,
}

impl Answer {
    /// To a request that could not be read or whose settings the plugin refuses.
    pub(crate) fn bad_input(id: Value, message: String) -> Answer {
        Answer::error(id, "bad_input", Some(Details { kind: "invalid-input", message }))
    }

    /// To a request that was judged.
    pub(crate) fn judged(id: Value, judgement: Judgement) -> Answer {
        let us = judgement.receipt.micros;
        match judgement.result {
            Err(fault) => Answer { us, ..Answer::fault(id, &fault) },
            // The plugin does not apply to this sample.
            Ok(score) if score.value.is_none() => Answer { us, ..Answer::error(id, "unsupported", None) },
            Ok(score) => {
                let extracted = Some(score.note).filter(|note| !note.is_empty());
                Answer { id, score: score.value, value: None, extracted, us, error: None, fault: None }
            }
        }
    }

    /// To a request that ended in a fault.
    pub(crate) fn fault(id: Value, fault: &Fault) -> Answer {
        let error = match fault {
            Fault::Deadline { .. } => "timeout",
            Fault::OutOfFuel { .. } => "fuel",
            Fault::OutOfMemory { .. } => "memory",
            Fault::InvalidInput(_) | Fault::Misconfigured(_) => "bad_input",
            Fault::Trap(_) | Fault::InvalidOutput(_) | Fault::Unavailable(_) | Fault::Internal(_) => "unsupported",
            Fault::EpisodeOver(_) | Fault::Quarantined { .. } => "unsupported",
        };
        Answer::error(id, error, Some(Details { kind: fault.kind(), message: fault.to_string() }))
    }

    fn error(id: Value, error: &'static str, fault: Option<Details>) -> Answer {
        Answer { id, score: None, value: None, extracted: None, us: 0, error: Some(error), fault }
    }
}
