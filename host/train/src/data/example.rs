//! Tasks and answers to them, in the shapes the field uses, recognised by their keys:
//!
//! | keys | shape |
//! | --- | --- |
//! | `messages` | chat: the last assistant message is the answer, all before it the prompt |
//! | `question`, `answer` | GSM8K: the solution is the answer and, its last line, the reference |
//! | `question`, `ground_truth` (`response`) | a question with a bare reference and perhaps an answer |
//! | `prompt`, `reward_model.ground_truth` (`data_source`, `extra_info`) | verl |
//!
//! Any further key goes to the grader in `extra`.

use rewarden_runtime::{Message, Role};
use serde_json::Value;

use super::columns::{Columns, messages, optional_text, spoken, text};
use super::{Arithmetic, Dataset, Row};
use crate::renderer::message;

/// What a policy is asked, and what only the grader knows.
#[derive(Clone, Debug, PartialEq)]
pub struct Task {
    /// Unique within the data set.
    pub id: String,
    /// Where the row comes from (verl's `data_source`), such as `openai/gsm8k`.
    pub data_source: String,
    /// The messages shown to the policy.
    pub prompt: Vec<Message>,
    /// The reference answer; empty when there is none.
    pub ground_truth: String,
    /// Every further column, a JSON object.
    pub extra: String,
}

/// A task and, for supervised training, an answer to it.
#[derive(Clone, Debug, PartialEq)]
pub struct Example {
    /// The task.
    pub task: Task,
    /// The messages that answer it; empty when the row has none.
    pub answer: Vec<Message>,
}

impl Example {
    /// The whole conversation.
    pub fn messages(&self) -> Vec<Message> {
        self.task.prompt.iter().chain(&self.answer).cloned().collect()
    }
}

impl Row for Example {
    fn read(row: Columns, id: &str) -> std::result::Result<Vec<Self>, String> {
        Ok(vec![example(row, id)?])
    }

    fn generate(arithmetic: &Arithmetic, seed: u64) -> Dataset<Self> {
        arithmetic.generate(seed)
    }

    fn prompt(&self) -> &[Message] {
        &self.task.prompt
    }
}

fn example(mut row: Columns, id: &str) -> std::result::Result<Example, String> {
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

fn chat(row: &mut Columns, id: &str) -> std::result::Result<Example, String> {
    let mut prompt = messages(row.remove("messages").unwrap_or_default(), "messages")?;
    let answer = match prompt.last() {
        Some(last) if last.role == Role::Assistant => prompt.split_off(prompt.len() - 1),
        Some(_) => vec![],
        None => return Err("`messages` is empty".into()),
    };
    let ground_truth = optional_text(row, "ground_truth")?.unwrap_or_default();
    Ok(Example { task: task(row, id, "chat", prompt, ground_truth)?, answer })
}

fn question(row: &mut Columns, id: &str) -> std::result::Result<Example, String> {
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

fn verl(row: &mut Columns, id: &str) -> std::result::Result<Example, String> {
    let prompt = spoken(row, "prompt", Role::User)?;
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
    row: &mut Columns,
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
}
