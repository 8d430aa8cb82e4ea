//! One request line as a sample and settings. Generous in what it reads (missing fields, two spellings of names, numbers
//! as ground truth), and exact about what it refuses, because that sentence is all the sender gets.

use rewarden_runtime::{Message, Role, Sample, StopReason, ToolCall};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::lines::Line;

/// A request that was read, well or badly.
pub(crate) struct Request {
    /// As it came, of any JSON type; null when it could not be read.
    pub(crate) id: Value,
    /// What to judge, or why that is not known.
    pub(crate) task: Result<Task, String>,
}

/// A sample and the settings it is judged under.
pub(crate) struct Task {
    pub(crate) sample: Sample,
    pub(crate) settings: Value,
}

impl Request {
    pub(crate) fn parse(line: &Line) -> Request {
        let Line::Bytes(line) = line else {
            return Request { id: Value::Null, task: Err("the line is longer than 16 MiB".into()) };
        };
        match serde_json::from_slice(line) {
            Ok(Value::Object(mut request)) => {
                let id = request.remove("id").unwrap_or_default();
                let task = task(&id, request);
                Request { id, task }
            }
            Ok(_) => Request { id: Value::Null, task: Err("the request is not a JSON object".into()) },
            Err(error) => Request { id: Value::Null, task: Err(format!("the line is not JSON: {error}")) },
        }
    }
}

fn task(id: &Value, mut request: Map<String, Value>) -> Result<Task, String> {
    let settings = match request.remove("config") {
        None | Some(Value::Null) => Value::Object(Map::new()),
        Some(Value::Object(config)) => Value::Object(config),
        Some(_) => return Err("`config` is not a JSON object".into()),
    };
    let mut sample = match (request.remove("sample"), request.remove("input")) {
        (Some(sample), _) => full_sample(sample)?,
        (None, Some(Value::Object(input))) => sample_from_input(input)?,
        (None, Some(_)) => return Err("`input` is not a JSON object".into()),
        (None, None) => return Err("the request has neither `input` nor `sample`".into()),
    };
    if sample.id.is_empty() {
        sample.id =
            id.as_str().map_or_else(|| if id.is_null() { String::new() } else { id.to_string() }, str::to_owned);
    }
    Ok(Task { sample, settings })
}

/// The short form: `response`, `ground_truth` or `gold`, `question`; whatever else there is goes to `extra`.
fn sample_from_input(mut input: Map<String, Value>) -> Result<Sample, String> {
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

fn message(role: Role, content: String) -> Message {
    Message { role, content, name: None, tool_calls: Vec::new(), tool_call_id: None }
}

fn empty_sample() -> Sample {
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

fn full_sample(sample: Value) -> Result<Sample, String> {
    let sample: FullSample = serde_json::from_value(sample).map_err(|error| format!("`sample`: {error}"))?;
    let messages = |messages: Vec<FullMessage>| messages.into_iter().map(full_message).collect::<Result<Vec<_>, _>>();
    Ok(Sample {
        id: sample.id,
        group: sample.group,
        data_source: sample.data_source,
        prompt: messages(sample.prompt)?,
        completion: messages(sample.completion)?,
        ground_truth: scalar("sample.ground_truth", sample.ground_truth)?,
        extra: json_text(sample.extra),
        stop_reason: stop_reason(sample.stop_reason.as_deref())?,
        turn_scores: sample.turn_scores,
        completion_tokens: sample.completion_tokens,
        step: sample.step,
    })
}

fn full_message(message: FullMessage) -> Result<Message, String> {
    let unknown = || format!("{:?} is no role: use system, user, assistant or tool", message.role);
    let role = Role::named(&message.role).ok_or_else(unknown)?;
    let call = |call: FullToolCall| ToolCall { id: call.id, name: call.name, arguments: json_text(call.arguments) };
    Ok(Message {
        role,
        content: message.content.unwrap_or_default(),
        name: message.name,
        tool_calls: message.tool_calls.into_iter().map(call).collect(),
        tool_call_id: message.tool_call_id,
    })
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
