//! Samples, messages and tool calls as people and data sets write them in JSON: requests, golden cases.
//!
//! Generous in what it reads (missing fields, two spellings of names, numbers as ground truth), and exact about what it
//! refuses. Golden cases refuse unknown fields too, before they come here.

use rewarden_runtime::{Message, Role, Sample, StopReason, Task, ToolCall};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

/// The short form: `response`, `ground_truth` or `gold`, `question`; whatever else there is goes to `extra`.
pub(crate) fn sample_from_input(mut input: Map<String, Value>) -> Result<Sample, String> {
    let response = match input.remove("response") {
        Some(Value::String(response)) => response,
        Some(_) => return Err("`input.response` is not a string".into()),
        None => return Err("`input.response` is missing".into()),
    };
    let ground_truth = match input.remove("ground_truth") {
        Some(truth) => scalar("input.ground_truth", truth)?,
        None => input.remove("gold").map_or(Ok(String::new()), |gold| scalar("input.gold", gold))?,
    };
    let question = input.remove("question").map(|question| scalar("input.question", question)).transpose()?;
    Ok(Sample {
        prompt: question.map(|question| message(Role::User, question)).into_iter().collect(),
        completion: vec![message(Role::Assistant, response)],
        ground_truth,
        extra: Value::Object(input).to_string(),
        ..empty_sample()
    })
}

fn scalar(field: &str, value: Value) -> Result<String, String> {
    match value {
        Value::String(text) => Ok(text),
        Value::Null => Ok(String::new()),
        Value::Number(number) => Ok(number.to_string()),
        Value::Bool(flag) => Ok(flag.to_string()),
        Value::Array(_) | Value::Object(_) => Err(format!("`{field}` is neither a string nor a number")),
    }
}

/// A message that is nothing but its text.
pub(crate) fn message(role: Role, content: String) -> Message {
    Message { role, content, name: None, tool_calls: Vec::new(), tool_call_id: None }
}

/// A sample of nothing.
pub(crate) fn empty_sample() -> Sample {
    Sample {
        id: String::new(),
        group: String::new(),
        data_source: String::new(),
        prompt: Vec::new(),
        completion: Vec::new(),
        ground_truth: String::new(),
        extra: "{}".into(),
        stop_reason: StopReason::Completed,
        turn_scores: Vec::new(),
        completion_tokens: 0,
        step: 0,
    }
}

/// The whole record, its fields spelled `ground_truth` or `ground-truth`, all of them optional.
#[derive(Deserialize, Default)]
#[serde(default)]
struct FullSample {
    id: String,
    group: String,
    #[serde(alias = "data-source")]
    data_source: String,
    prompt: Vec<FullMessage>,
    completion: Vec<FullMessage>,
    #[serde(alias = "ground-truth")]
    ground_truth: Value,
    extra: Value,
    #[serde(alias = "stop-reason")]
    stop_reason: Option<String>,
    #[serde(alias = "turn-scores")]
    turn_scores: Vec<f64>,
    #[serde(alias = "completion-tokens")]
    completion_tokens: u32,
    step: u32,
}

#[derive(Deserialize)]
struct FullMessage {
    role: String,
    #[serde(default)]
    content: Option<String>,
    #[serde(default)]
    name: Option<String>,
    #[serde(default, alias = "tool-calls")]
    tool_calls: Vec<FullToolCall>,
    #[serde(default, alias = "tool-call-id")]
    tool_call_id: Option<String>,
}

#[derive(Deserialize)]
struct FullToolCall {
    #[serde(default)]
    id: String,
    name: String,
    #[serde(default)]
    arguments: Value,
}

/// A whole sample.
pub(crate) fn full_sample(sample: Value) -> Result<Sample, String> {
    let sample: FullSample = parsed(sample)?;
    Ok(Sample {
        id: sample.id,
        group: sample.group,
        data_source: sample.data_source,
        prompt: messages(sample.prompt)?,
        completion: messages(sample.completion)?,
        ground_truth: scalar("ground_truth", sample.ground_truth)?,
        extra: json_text(sample.extra),
        stop_reason: stop_reason(sample.stop_reason.as_deref())?,
        turn_scores: sample.turn_scores,
        completion_tokens: sample.completion_tokens,
        step: sample.step,
    })
}

/// A task of an environment, its fields spelled as those of a sample.
pub(crate) fn full_task(task: Value) -> Result<Task, String> {
    let FullSample { id, data_source, prompt, ground_truth, extra, .. } = parsed(task)?;
    let ground_truth = scalar("ground_truth", ground_truth)?;
    Ok(Task { id, data_source, prompt: messages(prompt)?, ground_truth, extra: json_text(extra) })
}

/// One message.
pub(crate) fn message_of(message: Value) -> Result<Message, String> {
    full_message(parsed(message)?)
}

/// One call of a tool; arguments that are no text are written out as JSON.
pub(crate) fn call_of(call: Value) -> Result<ToolCall, String> {
    Ok(full_call(parsed(call)?))
}

fn messages(messages: Vec<FullMessage>) -> Result<Vec<Message>, String> {
    messages.into_iter().map(full_message).collect()
}

fn full_message(message: FullMessage) -> Result<Message, String> {
    let unknown = || format!("{:?} is no role: use system, user, assistant or tool", message.role);
    let role = Role::named(&message.role).ok_or_else(unknown)?;
    Ok(Message {
        role,
        content: message.content.unwrap_or_default(),
        name: message.name,
        tool_calls: message.tool_calls.into_iter().map(full_call).collect(),
        tool_call_id: message.tool_call_id,
    })
}

fn full_call(call: FullToolCall) -> ToolCall {
    ToolCall { id: call.id, name: call.name, arguments: json_text(call.arguments) }
}

fn parsed<T: DeserializeOwned>(value: Value) -> Result<T, String> {
    serde_json::from_value(value).map_err(|error| error.to_string())
}

/// JSON that travels as text: text stays, anything else is written out.
fn json_text(value: Value) -> String {
    match value {
        Value::Null => "{}".into(),
        Value::String(text) => text,
        value => value.to_string(),
    }
}

fn stop_reason(name: Option<&str>) -> Result<StopReason, String> {
    // The contract writes `max-tokens`, rollout files `max_tokens`.
    let reason = name.map_or(Some(StopReason::Completed), |name| StopReason::named(&name.replace('-', "_")));
    let other = || name.unwrap_or_default().replace('_', "-");
    reason.ok_or_else(|| format!("{:?} is no stop reason: see `stop-reason` in wit/reward.wit", other()))
}
