//! What rows of every shape have in common: columns of text, and lists of messages.

use rewarden_runtime::{Message, Role, ToolCall};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::renderer::message;

/// The columns of a row; what a shape knows is taken out, what is left goes to the grader.
pub(super) type Columns = Map<String, Value>;

/// A column that must be there.
pub(super) fn text(row: &mut Columns, key: &str) -> std::result::Result<String, String> {
    optional_text(row, key)?.ok_or_else(|| format!("`{key}` is missing"))
}

/// A column of text, or of a number as text.
pub(super) fn optional_text(row: &mut Columns, key: &str) -> std::result::Result<Option<String>, String> {
    match row.remove(key) {
        Some(Value::String(text)) => Ok(Some(text)),
        Some(Value::Number(number)) => Ok(Some(number.to_string())),
        Some(Value::Null) | None => Ok(None),
        Some(other) => Err(format!("`{key}` is {}, expected a string", kind(&other))),
    }
}

/// A message as rows write it; what the field calls `function` is flattened by the contract.
#[derive(Deserialize)]
struct RawMessage {
    role: String,
    #[serde(default)]
    content: Option<String>,
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    tool_calls: Vec<RawCall>,
    #[serde(default)]
    tool_call_id: Option<String>,
}

#[derive(Deserialize)]
struct RawCall {
    #[serde(default)]
    id: String,
    function: RawFunction,
}

#[derive(Deserialize)]
struct RawFunction {
    name: String,
    #[serde(default)]
    arguments: Value,
}

/// A column with one side of a conversation: a list of messages, or the text of one by `role`.
pub(super) fn spoken(row: &mut Columns, key: &str, role: Role) -> std::result::Result<Vec<Message>, String> {
    match row.remove(key) {
        Some(Value::String(text)) => Ok(vec![message(role, text)]),
        Some(list) => messages(list, key),
        None => Err(format!("`{key}` is missing")),
    }
}

/// A list of messages.
pub(super) fn messages(value: Value, key: &str) -> std::result::Result<Vec<Message>, String> {
    let Value::Array(items) = value else { return Err(format!("`{key}` is {}, expected a list", kind(&value))) };
    items
        .into_iter()
        .enumerate()
        .map(|(index, item)| one_message(item).map_err(|e| format!("`{key}[{index}]`: {e}")))
        .collect()
}

fn one_message(value: Value) -> std::result::Result<Message, String> {
    let raw: RawMessage = serde_json::from_value(value).map_err(|e| e.to_string())?;
    let role = match raw.role.as_str() {
        "developer" => Some(Role::System),
        name => Role::named(name),
    };
    let role = role.ok_or_else(|| format!("role `{}`; known are system, user, assistant and tool", raw.role))?;
    let call = |call: RawCall| ToolCall {
        id: call.id,
        name: call.function.name,
        arguments: match call.function.arguments {
            Value::String(text) => text,
            other => other.to_string(),
        },
    };
    Ok(Message {
        role,
        content: raw.content.unwrap_or_default(),
        name: raw.name,
        tool_calls: raw.tool_calls.into_iter().map(call).collect(),
        tool_call_id: raw.tool_call_id,
    })
}

/// What a value is, in words.
pub(super) fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}
