//! Messages as rows write them, in OpenAI's shape: what that nests under `function` is flattened by the contract, and
//! content in parts is joined. A message says something: a misspelt key must not become an empty answer to learn.

use rewarden_runtime::{Message, Role, ToolCall};
use serde_json::value::RawValue;

use super::columns::{Columns, kind, parsed, placeless, text};
use crate::config::nearest;
use crate::renderer::{message, python_json};

type Result<T> = std::result::Result<T, String>;

/// The keys of a message that mean something here; others are left alone.
const KEYS: [&str; 6] = ["role", "content", "name", "tool_calls", "tool_call_id", "trainable"];

/// A column with one side of a conversation: a list of messages, or the text of one by `role`.
pub(super) fn spoken(row: &mut Columns, key: &str, role: Role) -> Result<Vec<Message>> {
    match row.has_text(key) {
        true => Ok(vec![message(role, text(row, key)?)]),
        false => messages(row, key),
    }
}

/// A column that is a list of messages.
pub(super) fn messages(row: &mut Columns, key: &str) -> Result<Vec<Message>> {
    Ok(marked_messages(row, key)?.0)
}

/// The same with what each message says of `trainable`; nothing where none does.
pub(super) fn marked_messages(row: &mut Columns, key: &str) -> Result<(Vec<Message>, Vec<bool>)> {
    let items = row.take_list(key)?;
    let read = items.iter().enumerate().map(|(at, item)| object(item, &format!("{key}[{at}]"), one_message));
    let read = read.collect::<Result<Vec<_>>>()?;
    let marks: Vec<bool> = read.iter().filter_map(|(mark, _)| *mark).collect();
    match read.iter().position(|(mark, _)| mark.is_none()) {
        Some(index) if !marks.is_empty() => {
            Err(format!("`{key}[{index}]` does not say `trainable`, others do: say it of all or none"))
        }
        _ => Ok((read.into_iter().map(|(_, message)| message).collect(), marks)),
    }
}

/// Reads the object that lies at `path` of a row; what is wrong with one of its keys is told of the key's whole path.
fn object<T>(json: &RawValue, path: &str, read: impl Fn(Columns) -> Result<T>) -> Result<T> {
    if !json.get().starts_with('{') {
        return Err(format!("`{path}` is {}, expected an object", kind(&parsed(json, path)?)));
    }
    let columns = Columns::parse(json.get().as_bytes()).map_err(|e| format!("`{path}`: {}", placeless(&e)))?;
    read(columns).map_err(|message| match message.strip_prefix('`') {
        Some(rest) => format!("`{path}.{rest}"),
        None => format!("`{path}` {message}"),
    })
}

fn one_message(mut row: Columns) -> Result<(Option<bool>, Message)> {
    check_says_something(&row)?;
    let name: String = row.take_as("role")?;
    let role = if name == "developer" { Some(Role::System) } else { Role::named(&name) };
    let calls = if row.has("tool_calls") { row.take_list("tool_calls")? } else { vec![] };
    let calls = calls.iter().enumerate().map(|(at, item)| object(item, &format!("tool_calls[{at}]"), call));
    let message = Message {
        role: role.ok_or_else(|| format!("has the role `{name}`; known are system, user, assistant and tool"))?,
        content: content(&mut row)?,
        name: row.take_if("name")?,
        tool_calls: calls.collect::<Result<_>>()?,
        tool_call_id: row.take_if("tool_call_id")?,
    };
    Ok((row.take_if("trainable")?, message))
}

fn check_says_something(row: &Columns) -> Result<()> {
    if row.has("content") || row.has("tool_calls") {
        return Ok(());
    }
    let strange = || row.keys().filter(|key| !KEYS.contains(key));
    let meant = ["content", "tool_calls"].into_iter().find_map(|key| Some((key, nearest(key, strange())?)));
    let hint = meant.map_or(String::new(), |(key, found)| format!("; its `{found}`: did you mean `{key}`?"));
    Err(format!("has neither `content` nor `tool_calls`{hint}"))
}

/// Text, or a list of parts that are text; empty beside calls.
fn content(row: &mut Columns) -> Result<String> {
    match () {
        () if row.has_text("content") => row.take_as("content"),
        () if row.has_list("content") => {
            let parts = row.take_list("content")?;
            parts.iter().enumerate().map(|(at, item)| object(item, &format!("content[{at}]"), part)).collect()
        }
        () => match row.take("content")? {
            Some(other) => Err(format!("`content` is {}, expected a string or a list of text parts", kind(&other))),
            None => Ok(String::new()),
        },
    }
}

fn part(mut row: Columns) -> Result<String> {
    match row.take_as::<String>("type")?.as_str() {
        "text" => row.take_as("text"),
        other => Err(format!("is of type `{other}`; parts of type `text` are read")),
    }
}

/// Arguments are text in the contract. An object becomes the text that chat templates make of it, so that it is shown as
/// they would show it.
fn call(mut row: Columns) -> Result<ToolCall> {
    let id = row.take_if("id")?.unwrap_or_default();
    let function = row.take_raw("function").ok_or("`function` is missing")?;
    object(&function, "function", |mut function| {
        let arguments = match function.take_raw("arguments") {
            None => "{}".to_owned(),
            Some(json) if json.get().starts_with('"') => parsed(&json, "arguments")?,
            Some(json) => python_json(json.get()).map_err(|e| format!("`arguments`: {e}"))?,
        };
        Ok((function.take_as("name")?, arguments))
    })
    .map(|(name, arguments)| ToolCall { id, name, arguments })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A message, and what it says, or what is wrong with it.
    #[track_caller]
    fn check(item: &str, expected: &str) {
        let mut row = Columns::parse(format!(r#"{{"messages":[{item}]}}"#).as_bytes()).unwrap();
        let told = |message: &Message| {
            let calls = message.tool_calls.iter().map(|call| format!(" {}({})", call.name, call.arguments));
            format!("{}: {}{}", message.role.name(), message.content, calls.collect::<String>())
        };
        let got = messages(&mut row, "messages").map_or_else(|error| error, |all| told(&all[0]));
        assert_eq!(got, expected);
    }

    #[test]
    fn messages_are_read_as_openai_writes_them() {
        check(r#"{"role":"user","content":"Q","weight":1}"#, "user: Q");
        check(r#"{"role":"developer","content":""}"#, "system: ");
        check(r#"{"role":"user","content":[{"type":"text","text":"a"},{"type":"text","text":"½"}]}"#, "user: a½");
        check(r#"{"role":"user","content":[]}"#, "user: ");
        let call = r#"{"id":"1","type":"function","function":{"name":"add","arguments":{"b":1,"a":2}}}"#;
        let asked = r#"assistant:  add({"b": 1, "a": 2})"#;
        check(&format!(r#"{{"role":"assistant","content":null,"tool_calls":[{call}]}}"#), asked);
        check(&format!(r#"{{"role":"assistant","tool_calls":[{call}]}}"#), asked);
    }

    #[test]
    fn a_message_that_says_nothing_is_refused() {
        let nothing = "`messages[0]` has neither `content` nor `tool_calls`";
        check(r#"{"role":"assistant"}"#, nothing);
        check(r#"{"role":"assistant","content":null}"#, nothing);
        let meant = |key: &str, found: &str| format!("{nothing}; its `{found}`: did you mean `{key}`?");
        check(r#"{"role":"assistant","contnet":"a"}"#, &meant("content", "contnet"));
        check(r#"{"role":"assistant","name":"x","Content":"a"}"#, &meant("content", "Content"));
        check(r#"{"role":"assistant","tool_cals":[]}"#, &meant("tool_calls", "tool_cals"));
    }

    #[test]
    fn what_is_wrong_is_told_of_its_key() {
        check("7", "`messages[0]` is a number, expected an object");
        check(r#"{"content":"a"}"#, "`messages[0].role` is missing");
        check(
            r#"{"role":"bot","content":"x"}"#,
            "`messages[0]` has the role `bot`; known are system, user, assistant and tool",
        );
        check(r#"{"role":1,"content":"x"}"#, "`messages[0].role`: invalid type: integer `1`, expected a string");
        check(
            r#"{"role":"user","content":{}}"#,
            "`messages[0].content` is an object, expected a string or a list of text parts",
        );
        check(r#"{"role":"user","content":["a"]}"#, "`messages[0].content[0]` is a string, expected an object");
        check(
            r#"{"role":"user","content":[{"type":"text","text":"a"},{"type":"image_url","image_url":{}}]}"#,
            "`messages[0].content[1]` is of type `image_url`; parts of type `text` are read",
        );
        check(r#"{"role":"user","content":[{"text":"a"}]}"#, "`messages[0].content[0].type` is missing");
        check(
            r#"{"role":"assistant","tool_calls":[{"function":{"name":7}}]}"#,
            "`messages[0].tool_calls[0].function.name`: invalid type: integer `7`, expected a string",
        );
        check(r#"{"role":"assistant","tool_calls":[{}]}"#, "`messages[0].tool_calls[0].function` is missing");
        check(r#"{"role":"assistant","tool_calls":{}}"#, "`messages[0].tool_calls` is an object, expected a list");
    }
}
