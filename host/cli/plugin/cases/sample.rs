//! Samples, tasks, messages and calls of a case: as requests write them (`records.rs`), but without unknown fields, so that
//! a misspelt one is not a silent default.

use rewarden_runtime::{Message, Sample, Task, ToolCall};
use serde_json::{Map, Value, json};

use super::Mistake;
use super::parse::known;
use crate::records;

const SAMPLE: [&str; 13] = [
    "response",
    "completion",
    "question",
    "prompt",
    "ground_truth",
    "extra",
    "id",
    "group",
    "data_source",
    "stop_reason",
    "turn_scores",
    "completion_tokens",
    "step",
];
const TASK: [&str; 6] = ["question", "prompt", "ground_truth", "extra", "id", "data_source"];
const MESSAGE: [&str; 5] = ["role", "content", "name", "tool_calls", "tool_call_id"];
const CALL: [&str; 3] = ["name", "arguments", "id"];

/// A sample: `response`, the answer's text, or `completion`, its messages; `prompt`, a text or messages, which requests call
/// `question`; the contract's other fields as they are.
pub(super) fn sample(path: &str, value: Value) -> Result<Sample, Mistake> {
    let mut sample = object(path, value)?;
    known(path, &sample, &SAMPLE)?;
    short_form(path, &mut sample, "response", "completion", "assistant")?;
    short_form(path, &mut sample, "question", "prompt", "user")?;
    prompt_of_text(&mut sample);
    if !sample.contains_key("completion") {
        return Err(Mistake::new(format!("{path}.response"), "is missing: the answer to judge"));
    }
    for key in ["prompt", "completion"] {
        messages(&format!("{path}.{key}"), sample.get(key))?;
    }
    records::full_sample(Value::Object(sample)).map_err(|what| Mistake::new(path, what))
}

/// A task: `prompt`, and the contract's other fields.
pub(super) fn task(path: &str, value: Value) -> Result<Task, Mistake> {
    let mut task = object(path, value)?;
    known(path, &task, &TASK)?;
    short_form(path, &mut task, "question", "prompt", "user")?;
    prompt_of_text(&mut task);
    messages(&format!("{path}.prompt"), task.get("prompt"))?;
    records::full_task(Value::Object(task)).map_err(|what| Mistake::new(path, what))
}

pub(super) fn message(path: &str, value: Value) -> Result<Message, Mistake> {
    check_message(path, &value)?;
    records::message_of(value).map_err(|what| Mistake::new(path, what))
}

pub(super) fn call(path: &str, value: Value) -> Result<ToolCall, Mistake> {
    let call = object(path, value)?;
    known(path, &call, &CALL)?;
    records::call_of(Value::Object(call)).map_err(|what| Mistake::new(path, what))
}

/// A text where the contract has a list of messages: one message.
fn short_form(path: &str, object: &mut Map<String, Value>, short: &str, long: &str, role: &str) -> Result<(), Mistake> {
    let Some(text) = object.remove(short) else { return Ok(()) };
    if object.contains_key(long) {
        return Err(Mistake::new(format!("{path}.{short}"), format!("says what `{long}` says: keep one of them")));
    }
    if !text.is_string() {
        return Err(Mistake::is_no(format!("{path}.{short}"), &text, "text"));
    }
    object.insert(long.into(), json!([{"role": role, "content": text}]));
    Ok(())
}

fn prompt_of_text(object: &mut Map<String, Value>) {
    if let Some(prompt) = object.get_mut("prompt").filter(|prompt| prompt.is_string()) {
        *prompt = json!([{"role": "user", "content": prompt}]);
    }
}

fn messages(path: &str, value: Option<&Value>) -> Result<(), Mistake> {
    match value {
        None => Ok(()),
        Some(Value::Array(messages)) => messages
            .iter()
            .enumerate()
            .try_for_each(|(index, message)| check_message(&format!("{path}[{index}]"), message)),
        Some(other) => {
            let hint = if path.ends_with("prompt") { "" } else { ": `response` takes a text" };
            Err(Mistake::is_no(path, other, &format!("list of messages{hint}")))
        }
    }
}

fn check_message(path: &str, message: &Value) -> Result<(), Mistake> {
    let Value::Object(message) = message else {
        return Err(Mistake::is_no(path, message, "message: it has `role` and `content`"));
    };
    known(path, message, &MESSAGE)?;
    let calls = message.get("tool_calls").and_then(Value::as_array);
    for (index, call) in calls.into_iter().flatten().enumerate() {
        if let Value::Object(call) = call {
            known(&format!("{path}.tool_calls[{index}]"), call, &CALL)?;
        }
    }
    Ok(())
}

fn object(path: &str, value: Value) -> Result<Map<String, Value>, Mistake> {
    match value {
        // The contract writes `ground-truth`, most people `ground_truth`.
        Value::Object(object) => Ok(object.into_iter().map(|(key, value)| (key.replace('-', "_"), value)).collect()),
        other => Err(Mistake::is_no(path, &other, "JSON object")),
    }
}
