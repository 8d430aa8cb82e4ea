//! What came of asking a plugin: the answer in the form that cases expect it in, what was paid, and what it took.

use rewarden_runtime::{Fault, Judgement, Metric, Receipt, Score, ToolOutput};
use serde_json::{Map, Value, json};

/// What came of it.
#[derive(Debug, Clone)]
pub(crate) struct Ran {
    /// In the form that `cases/expect.rs` describes.
    pub(crate) got: Value,
    /// The first fault, wherever it was.
    pub(crate) fault: Option<Fault>,
    /// What was paid: to the sample, to each member of a group, in the whole episode, for the call.
    pub(crate) pay: Vec<f64>,
    /// Of each call that it took.
    pub(crate) receipts: Vec<Receipt>,
}

impl Ran {
    /// Fuel of all its calls.
    pub(crate) fn fuel(&self) -> u64 {
        self.receipts.iter().map(|receipt| receipt.fuel).sum()
    }

    pub(super) fn failed(fault: Fault, receipts: Vec<Receipt>) -> Ran {
        Ran { got: fault_json(&fault), fault: Some(fault), pay: vec![], receipts }
    }

    pub(super) fn of_sample(judgement: Judgement) -> Ran {
        let receipts = vec![judgement.receipt];
        match judgement.result {
            Ok(score) => Ran { got: score_json(&score), fault: None, pay: score.value.into_iter().collect(), receipts },
            Err(fault) => Ran::failed(fault, receipts),
        }
    }

    pub(super) fn of_group(judgement: Judgement<Vec<Score>>) -> Ran {
        let receipts = vec![judgement.receipt];
        match judgement.result {
            Ok(scores) => {
                let pay = scores.iter().map(|score| score.value.unwrap_or_default()).collect();
                Ran { got: Value::Array(scores.iter().map(score_json).collect()), fault: None, pay, receipts }
            }
            Err(fault) => Ran::failed(fault, receipts),
        }
    }

    pub(super) fn of_call(judgement: Judgement<ToolOutput>) -> Ran {
        let receipts = vec![judgement.receipt];
        match judgement.result {
            Ok(output) => {
                let got =
                    json!({"content": output.content, "reward": output.reward, "metrics": named(&output.metrics)});
                Ran { got, fault: None, pay: vec![output.reward], receipts }
            }
            Err(fault) => Ran::failed(fault, receipts),
        }
    }
}

fn score_json(score: &Score) -> Value {
    json!({
        "score": score.value,
        "steps": score.steps,
        "components": named(&score.components),
        "metrics": named(&score.metrics),
        "note": score.note,
    })
}

pub(super) fn fault_json(fault: &Fault) -> Value {
    json!({"fault": fault.kind(), "message": fault.to_string()})
}

/// Numbers by name.
pub(super) fn named(metrics: &[Metric]) -> Value {
    Value::Object(metrics.iter().map(|metric| (metric.name.clone(), json!(metric.value))).collect::<Map<_, _>>())
}
