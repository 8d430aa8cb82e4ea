//! JSONL rows in the shapes the field uses, recognised by their keys, one shape per row:
//!
//! | keys | shape |
//! | --- | --- |
//! | `messages` | chat: the last assistant message is the answer, all before it the prompt |
//! | `question`, `answer` | GSM8K: the solution is the answer and, its last line, the reference |
//! | `question`, `ground_truth` (`response`) | a question with a bare reference and perhaps an answer |
//! | `prompt`, `reward_model.ground_truth` (`data_source`, `extra_info`) | verl |
//!
//! Any further key goes to the grader in `extra`.

use rewarden_runtime::{Message, Role, ToolCall};
use serde::Deserialize;
use serde_json::{Map, Value};
use std::io::{BufRead, BufReader};
use std::path::Path;

use super::{Example, Task};
use crate::error::{Error, Result};
use crate::renderer::message;

/// Longest accepted line: longer than any chat, short enough that a wrong file cannot exhaust memory.
const LINE_BYTES_MAX: usize = 16 << 20;

/// Reads the rows of a JSONL file, `rows_max` at most; the first bad one is an error that names its line. Blank lines are
/// skipped.
pub fn read_jsonl(file: &Path, rows_max: usize) -> Result<Vec<Example>> {
    let reader = std::fs::File::open(file).map_err(Error::io("open the data file", file))?;
    let mut reader = BufReader::new(reader);
    let mut examples = vec![];
    let mut line = vec![];
    for number in 1.. {
        if examples.len() == rows_max {
            break;
        }
        line.clear();
        let read = std::io::Read::take(&mut reader, LINE_BYTES_MAX as u64 + 1).read_until(b'\n', &mut line);
        if read.map_err(Error::io("read", file))? == 0 {
            break;
        }
        let failed = |message: String| Error::Row { file: file.to_owned(), line: number, message };
        if line.len() > LINE_BYTES_MAX {
            return Err(failed(format!("longer than {} MiB; is this a JSONL file?", LINE_BYTES_MAX >> 20)));
        }
        if line.iter().all(u8::is_ascii_whitespace) {
            continue;
        }
        let row: Map<String, Value> = serde_json::from_slice(&line).map_err(|e| failed(not_json(&e)))?;
        examples.push(example(row, &format!("row-{number}")).map_err(failed)?);
    }
    match examples.is_empty() {
        true => Err(Error::Row { file: file.to_owned(), line: 1, message: "the file holds no row".into() }),
        false => Ok(examples),
    }
}

fn not_json(error: &serde_json::Error) -> String {
    format!("not a JSON object: {error}; the file must hold one JSON object a line")
}

type Row = Map<String, Value>;

fn example(mut row: Row, id: &str) -> std::result::Result<Example, String> {
    let has = |key: &str| row.contains_key(key);
    match () {
        () if has("messages") => chat(&mut row, id),
        () if has("question") => question(&mut row, id),
        () if has("prompt") && has("reward_model") => verl(&mut row, id),
        () => {
            let keys: Vec<&str> = row.keys().take(12).map(String::as_str).collect();
            Err(format!(
                "unknown shape, keys {keys:?}; known are {{messages}}, {{question, answer}}, {{question, ground_truth}} \
                 and {{prompt, reward_model}}"
            ))
        }
    }
}

fn chat(row: &mut Row, id: &str) -> std::result::Result<Example, String> {
    let mut prompt = messages(row.remove("messages").unwrap_or_default(), "messages")?;
    let answer = match prompt.last() {
        Some(last) if last.role == Role::Assistant => prompt.split_off(prompt.len() - 1),
        Some(_) => vec![],
        None => return Err("`messages` is empty".into()),
    };
    let ground_truth = optional_text(row, "ground_truth")?.unwrap_or_default();
    Ok(Example { task: task(row, id, "chat", prompt, ground_truth)?, answer })
}

fn question(row: &mut Row, id: &str) -> std::result::Result<Example, String> {
    let prompt = vec![message(Role::User, text(row, "question")?)];
    let answer = match optional_text(row, "answer")? {
        Some(answer) => Some(answer),
        None => optional_text(row, "response")?,
    };
    let ground_truth = match (optional_text(row, "ground_truth")?, &answer) {
        (Some(reference), _) => reference,
        (None, Some(answer)) => last_line(answer).to_owned(),
        (None, None) => return Err("`question` without `answer` or `ground_truth`".into()),
    };
    let answer = answer.map(|answer| message(Role::Assistant, answer)).into_iter().collect();
    Ok(Example { task: task(row, id, "openai/gsm8k", prompt, ground_truth)?, answer })
}

/// The part of a GSM8K solution that follows its last `####`; the whole when there is none.
fn last_line(solution: &str) -> &str {
    solution.rsplit_once("####").map_or(solution, |(_, reference)| reference).trim()
}

fn verl(row: &mut Row, id: &str) -> std::result::Result<Example, String> {
    let prompt = match row.remove("prompt").unwrap_or_default() {
        Value::String(text) => vec![message(Role::User, text)],
        list => messages(list, "prompt")?,
    };
    let Some(Value::Object(mut reward_model)) = row.remove("reward_model") else {
        return Err("`reward_model` is not an object".into());
    };
    let ground_truth = match reward_model.remove("ground_truth") {
        Some(Value::String(text)) => text,
        Some(other) => other.to_string(),
        None => return Err("`reward_model.ground_truth` is missing".into()),
    };
    // verl hands `extra_info` itself to its reward functions, not the row around it.
    if let Some(Value::Object(extra)) = row.remove("extra_info") {
        row.extend(extra);
    }
    Ok(Example { task: task(row, id, "verl", prompt, ground_truth)?, answer: vec![] })
}

fn task(
    row: &mut Row,
    id: &str,
    source: &str,
    prompt: Vec<Message>,
    ground_truth: String,
) -> std::result::Result<Task, String> {
    if prompt.is_empty() {
        return Err("the prompt has no message".into());
    }
    let id = optional_text(row, "id")?.unwrap_or_else(|| id.to_owned());
    let data_source = optional_text(row, "data_source")?.unwrap_or_else(|| source.to_owned());
    Ok(Task { id, data_source, prompt, ground_truth, extra: Value::Object(std::mem::take(row)).to_string() })
}

fn text(row: &mut Row, key: &str) -> std::result::Result<String, String> {
    optional_text(row, key)?.ok_or_else(|| format!("`{key}` is missing"))
}

fn optional_text(row: &mut Row, key: &str) -> std::result::Result<Option<String>, String> {
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

fn messages(value: Value, key: &str) -> std::result::Result<Vec<Message>, String> {
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

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// prompt | answer | ground truth | source | extra
    #[track_caller]
    fn check(row: &str, expected: &str) {
        let got = match example(serde_json::from_str(row).unwrap(), "row-1") {
            Err(message) => message,
            Ok(Example { task, answer }) => {
                let words =
                    |messages: &[Message]| messages.iter().map(|m| m.content.as_str()).collect::<Vec<_>>().join(" / ");
                let (prompt, answer) = (words(&task.prompt), words(&answer));
                format!("{prompt} | {answer} | {} | {} | {}", task.ground_truth, task.data_source, task.extra)
            }
        };
        assert_eq!(got, expected);
    }

    #[test]
    fn every_shape_is_read() {
        check(
            r#"{"messages":[{"role":"system","content":"S"},{"role":"user","content":"Q"},{"role":"assistant","content":"A"}],"lang":"en"}"#,
            r#"S / Q | A |  | chat | {"lang":"en"}"#,
        );
        check(r#"{"messages":[{"role":"user","content":"Q"}]}"#, "Q |  |  | chat | {}");
        check(r#"{"question":"Q","answer":"1+1=2\n#### 2"}"#, "Q | 1+1=2\n#### 2 | 2 | openai/gsm8k | {}");
        check(r#"{"question":"Q","ground_truth":7,"response":"R"}"#, "Q | R | 7 | openai/gsm8k | {}");
        check(
            r#"{"data_source":"d","prompt":[{"role":"user","content":"Q"}],"reward_model":{"style":"rule","ground_truth":"72"},"extra_info":{"split":"train","index":3}}"#,
            r#"Q |  | 72 | d | {"index":3,"split":"train"}"#,
        );
    }

    #[test]
    fn bad_rows_say_what_is_wrong() {
        check(
            r#"{"text":"hello"}"#,
            r#"unknown shape, keys ["text"]; known are {messages}, {question, answer}, {question, ground_truth} and {prompt, reward_model}"#,
        );
        check(r#"{"messages":"hi"}"#, "`messages` is a string, expected a list");
        check(r#"{"messages":[]}"#, "`messages` is empty");
        check(
            r#"{"messages":[{"role":"bot","content":"x"}]}"#,
            "`messages[0]`: role `bot`; known are system, user, assistant and tool",
        );
        check(r#"{"question":"Q"}"#, "`question` without `answer` or `ground_truth`");
        check(r#"{"question":["Q"],"answer":"A"}"#, "`question` is a list, expected a string");
        check(r#"{"prompt":"Q","reward_model":{}}"#, "`reward_model.ground_truth` is missing");
    }

    #[track_caller]
    fn check_file(content: &str, expected: &str) {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("rows.jsonl");
        std::fs::write(&file, content).unwrap();
        let error = read_jsonl(&file, usize::MAX).unwrap_err().to_string();
        assert!(error.ends_with(expected), "{error}");
    }

    #[test]
    fn errors_name_file_and_line() {
        check_file(
            "{\"question\":\"Q\",\"answer\":\"1\"}\n\n{oops\n",
            "rows.jsonl:3: not a JSON object: key must be a string at line 1 column 2; the file must hold one JSON object a line",
        );
        check_file("\n", "rows.jsonl:1: the file holds no row");
    }
}
