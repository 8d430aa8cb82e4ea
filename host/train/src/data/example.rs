//! Tasks and answers to them, in the shapes the field uses, recognised by their keys:
//!
//! | keys | shape |
//! | --- | --- |
//! | `messages` | chat: the last assistant message is the answer, all before it the prompt |
//! | `question`, `answer` | GSM8K: the solution is the answer and, its last line, the reference |
//! | `question`, `ground_truth` (`response`) | a question with a bare reference and perhaps an answer |
//! | `prompt`, `reward_model.ground_truth` (`data_source`, `extra_info`) | verl |
//! | `prompt`, `reward_spec.ground_truth` (`env_class`, `extra_info`) | SkyRL; `env_class` is the source |
//! | `prompt` or `question`, `answer`, `info` | verifiers: `answer` is the reference, nothing is imitated |
//! | `prompt` (`completion`, `ground_truth`) | TRL: texts, or lists of messages |
//!
//! `tools` (a list of OpenAI function schemas, or its JSON text) are offered to the policy in each of them. Any further key
//! goes to the grader in `extra`, and so do the tools.

use rewarden_runtime::{Message, Role};
use serde_json::Value;

use super::columns::{Columns, optional_text, text, tools};
use super::messages::{marked_messages, spoken};
use super::{Arithmetic, Dataset, Outcome, Row};
use crate::renderer::{Conversation, message};

/// What a policy is asked, and what only the grader knows.
#[derive(Clone, Debug, PartialEq)]
pub struct Task {
    /// Unique within the data set.
    pub id: String,
    /// Where the row comes from (verl's `data_source`), such as `openai/gsm8k`.
    pub data_source: String,
    /// The messages shown to the policy.
    pub prompt: Vec<Message>,
    /// The functions the policy may call: OpenAI schemas, each a JSON text.
    pub tools: Vec<String>,
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
    /// What the row says of each message, prompt and answer: whether it is trained on. Empty where it does not say.
    pub trainable: Vec<bool>,
}

impl Task {
    /// What the policy is shown.
    pub fn conversation(&self) -> Conversation<'_> {
        Conversation { messages: &self.prompt, tools: &self.tools }
    }
}

impl Example {
    /// The whole conversation.
    pub fn messages(&self) -> Vec<Message> {
        self.task.prompt.iter().chain(&self.answer).cloned().collect()
    }
}

impl Row for Example {
    fn read(row: Columns, id: &str) -> std::result::Result<Outcome<Self>, String> {
        Ok(Outcome::Rows(vec![example(row, id)?]))
    }

    fn generate(arithmetic: &Arithmetic, seed: u64) -> Dataset<Self> {
        arithmetic.generate(seed)
    }

    fn id(&mut self) -> &mut String {
        &mut self.task.id
    }

    fn prompt(&self) -> &[Message] {
        &self.task.prompt
    }
}

fn example(row: Columns, id: &str) -> std::result::Result<Example, String> {
    let asks = row.has("prompt") || row.has("question");
    match () {
        () if row.has("messages") => chat(row, id),
        () if row.has("prompt") && row.has("reward_model") => rule(row, id, "reward_model", "verl"),
        () if row.has("prompt") && row.has("reward_spec") => skyrl(row, id),
        () if row.has("prompt") && row.has("completion") => completion(row, id),
        () if asks && row.has("answer") && (row.has("info") || row.has("prompt")) => verifiers(row, id),
        () if row.has("question") => question(row, id),
        () if row.has("prompt") => completion(row, id),
        () => {
            let keys: Vec<&str> = row.keys().take(12).collect();
            Err(format!(
                "unknown shape, keys {keys:?}; known are {{messages}}, {{question, answer}}, {{question, ground_truth}}, \
                 {{prompt, completion}}, {{prompt, reward_model}}, {{prompt, reward_spec}} and {{prompt, answer}}"
            ))
        }
    }
}

fn chat(mut row: Columns, id: &str) -> std::result::Result<Example, String> {
    let (mut prompt, trainable) = marked_messages(&mut row, "messages")?;
    let answer = match prompt.last() {
        Some(last) if last.role == Role::Assistant => prompt.split_off(prompt.len() - 1),
        Some(_) => vec![],
        None => return Err("`messages` is empty".into()),
    };
    let ground_truth = optional_text(&mut row, "ground_truth")?.unwrap_or_default();
    Ok(Example { task: task(row, id, "chat", prompt, ground_truth)?, answer, trainable })
}

fn question(mut row: Columns, id: &str) -> std::result::Result<Example, String> {
    let prompt = vec![message(Role::User, text(&mut row, "question")?)];
    let answer = match optional_text(&mut row, "answer")? {
        Some(answer) => Some(answer),
        None => optional_text(&mut row, "response")?,
    };
    let ground_truth = match (optional_text(&mut row, "ground_truth")?, &answer) {
        (Some(reference), _) => reference,
        (None, Some(answer)) => last_line(answer).to_owned(),
        (None, None) => return Err("`question` without `answer` or `ground_truth`".into()),
    };
    let answer = answer.map(|answer| message(Role::Assistant, answer)).into_iter().collect();
    Ok(Example { task: task(row, id, "openai/gsm8k", prompt, ground_truth)?, answer, trainable: vec![] })
}

/// The part of a GSM8K solution that follows its last `####`; the whole when there is none.
fn last_line(solution: &str) -> &str {
    solution.rsplit_once("####").map_or(solution, |(_, reference)| reference).trim()
}

/// verl's row, and SkyRL's, which calls one column `reward_spec`: `holder` is that column.
fn rule(mut row: Columns, id: &str, holder: &str, source: &str) -> std::result::Result<Example, String> {
    let prompt = spoken(&mut row, "prompt", Role::User)?;
    let ground_truth = match row.take_object(holder)?.take("ground_truth")? {
        Some(Value::String(text)) => text,
        Some(other) => other.to_string(),
        None => return Err(format!("`{holder}.ground_truth` is missing")),
    };
    // Both hand `extra_info` itself to their reward functions, not the row around it.
    if row.has_object("extra_info") {
        let extra = row.take_object("extra_info")?;
        row.extend(extra);
    }
    Ok(Example { task: task(row, id, source, prompt, ground_truth)?, answer: vec![], trainable: vec![] })
}

/// The environment's name decides who judges, as the source of a row does elsewhere; a grader may want to see it too.
fn skyrl(row: Columns, id: &str) -> std::result::Result<Example, String> {
    let mut named = row.clone();
    let source = optional_text(&mut named, "env_class")?.unwrap_or_else(|| "skyrl".into());
    rule(row, id, "reward_spec", &source)
}

fn verifiers(mut row: Columns, id: &str) -> std::result::Result<Example, String> {
    let prompt = match row.has("prompt") {
        true => spoken(&mut row, "prompt", Role::User)?,
        false => vec![message(Role::User, text(&mut row, "question")?)],
    };
    let ground_truth = text(&mut row, "answer")?;
    row.unfold("info");
    Ok(Example { task: task(row, id, "verifiers", prompt, ground_truth)?, answer: vec![], trainable: vec![] })
}

fn completion(mut row: Columns, id: &str) -> std::result::Result<Example, String> {
    let prompt = spoken(&mut row, "prompt", Role::User)?;
    let has_answer = row.has("completion");
    let answer = match has_answer {
        true => spoken(&mut row, "completion", Role::Assistant)?,
        false => vec![],
    };
    let is_answered = answer.last().map(|last| last.role == Role::Assistant);
    if has_answer && is_answered != Some(true) {
        return Err("`completion` does not end with a message of the assistant".into());
    }
    let ground_truth = match optional_text(&mut row, "ground_truth")? {
        None if has_answer => optional_text(&mut row, "answer")?,
        given => given,
    };
    let ground_truth = ground_truth.unwrap_or_default();
    Ok(Example { task: task(row, id, "trl", prompt, ground_truth)?, answer, trainable: vec![] })
}

fn task(
    mut row: Columns,
    id: &str,
    source: &str,
    prompt: Vec<Message>,
    ground_truth: String,
) -> std::result::Result<Task, String> {
    if prompt.is_empty() {
        return Err("the prompt has no message".into());
    }
    let id = optional_text(&mut row, "id")?.unwrap_or_else(|| id.to_owned());
    let data_source = optional_text(&mut row, "data_source")?.unwrap_or_else(|| source.to_owned());
    Ok(Task { id, data_source, prompt, tools: tools(&row)?, ground_truth, extra: row.rest()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(row: &str) -> std::result::Result<Example, String> {
        example(Columns::parse(row.as_bytes()).unwrap(), "row-1")
    }

    /// prompt | answer | ground truth | source | extra
    #[track_caller]
    fn check(row: &str, expected: &str) {
        let got = match read(row) {
            Err(message) => message,
            Ok(Example { task, answer, .. }) => {
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
        check(
            r#"{"prompt":[{"role":"user","content":"Q"}],"env_class":"aime","reward_spec":{"method":"rule","ground_truth":[7]},"extra_info":{"index":3}}"#,
            r#"Q |  | [7] | aime | {"env_class":"aime","index":3}"#,
        );
    }

    #[test]
    fn rows_of_verifiers_and_trl_are_read() {
        check(
            r#"{"question":"Q","answer":"7","info":{"level":2},"task":"t"}"#,
            r#"Q |  | 7 | verifiers | {"info":{"level":2},"task":"t"}"#,
        );
        check(r#"{"prompt":"Q","answer":7,"info":"{\"a\": 1}"}"#, r#"Q |  | 7 | verifiers | {"info":{"a":1}}"#);
        check(r#"{"prompt":"Q","answer":7,"info":"plain"}"#, r#"Q |  | 7 | verifiers | {"info":"plain"}"#);
        check(r#"{"prompt":"Q","completion":"A"}"#, "Q | A |  | trl | {}");
        check(
            r#"{"prompt":[{"role":"system","content":"S"},{"role":"user","content":"Q"}],"completion":[{"role":"assistant","content":"A"},{"role":"user","content":"B"},{"role":"assistant","content":"C"}],"answer":"C"}"#,
            "S / Q | A / B / C | C | trl | {}",
        );
        check(
            r#"{"prompt":"Q","solution":"7","ground_truth":null,"completion":null}"#,
            r#"Q |  |  | trl | {"solution":"7"}"#,
        );
    }

    #[test]
    fn bad_rows_say_what_is_wrong() {
        check(
            r#"{"text":"hello"}"#,
            r#"unknown shape, keys ["text"]; known are {messages}, {question, answer}, {question, ground_truth}, {prompt, completion}, {prompt, reward_model}, {prompt, reward_spec} and {prompt, answer}"#,
        );
        check(r#"{"messages":"hi"}"#, "`messages` is a string, expected a list");
        check(r#"{"messages":[]}"#, "`messages` is empty");
        check(
            r#"{"messages":[{"role":"bot","content":"x"}]}"#,
            "`messages[0]` has the role `bot`; known are system, user, assistant and tool",
        );
        check(r#"{"question":"Q"}"#, "`question` without `answer` or `ground_truth`");
        check(r#"{"question":["Q"],"answer":"A"}"#, "`question` is a list, expected a string");
        check(r#"{"prompt":"Q","reward_model":{}}"#, "`reward_model.ground_truth` is missing");
        check(r#"{"prompt":"Q","reward_model":"rule"}"#, "`reward_model` is a string, expected an object");
        check(r#"{"prompt":"Q","reward_spec":{"method":"rule"}}"#, "`reward_spec.ground_truth` is missing");
        check(r#"{"prompt":[],"completion":"A"}"#, "the prompt has no message");
        check(r#"{"prompt":"Q","completion":[]}"#, "`completion` does not end with a message of the assistant");
        check(r#"{"prompt":"Q","completion":7}"#, "`completion` is a number, expected a list");
        check(r#"{"prompt":"Q","answer":["7"]}"#, "`answer` is a list, expected a string");
    }

    /// What the messages of a chat are marked with, and the marks that are read.
    #[track_caller]
    fn check_marks(marks: [&str; 2], expected: std::result::Result<Vec<bool>, &str>) {
        let [user, assistant] = marks;
        let row = format!(
            r#"{{"messages":[{{"role":"user","content":"Q"{user}}},{{"role":"assistant","content":"A"{assistant}}}]}}"#
        );
        assert_eq!(read(&row).map(|example| example.trainable), expected.map_err(str::to_owned));
    }

    #[test]
    fn marks_are_on_all_messages_or_none() {
        let (yes, no) = (r#","trainable":true"#, r#","trainable":false"#);
        check_marks(["", ""], Ok(vec![]));
        check_marks([no, yes], Ok(vec![false, true]));
        check_marks([yes, ""], Err("`messages[1]` does not say `trainable`, others do: say it of all or none"));
        check_marks(
            [r#","trainable":1"#, yes],
            Err("`messages[0].trainable`: invalid type: integer `1`, expected a boolean"),
        );
    }

    /// The tools and calls of a row, in the order of its keys.
    #[track_caller]
    fn check_tools(rest: &str, expected: &str) {
        let row = format!(r#"{{"messages":[{{"role":"user","content":"Q"}}],"tools":{rest}}}"#);
        assert_eq!(read(&row).map_or_else(|error| error, |example| example.task.tools.join(" ; ")), expected);
    }

    #[test]
    fn tools_keep_the_order_of_their_keys() {
        let add = r#"{"type":"function","function":{"name":"add","description":"½"}}"#;
        let shown = r#"{"type": "function", "function": {"name": "add", "description": "½"}}"#;
        check_tools(&format!("[{add},{add}]"), &format!("{shown} ; {shown}"));
        check_tools(&serde_json::Value::from(format!("[{add}]")).to_string(), shown);
        check_tools("[]", "");
        check_tools("null", "");
        let expected = "`tools` is no list: expected a list of OpenAI function schemas, or its JSON text";
        check_tools("7", expected);
        check_tools(r#""add""#, expected);
        check_tools(
            &format!("[{add},{{\"name\":\"add\"}}]"),
            r#"`tools[1]` has no `function.name`: expected {"type": "function", "function": {"name": .., "description": .., "parameters": ..}}"#,
        );
        let deep = format!(r#"[{{"function":{{"name":"f","x":{}1{}}}}}]"#, "[".repeat(100), "]".repeat(100));
        check_tools(&deep, "`tools[0]`: invalid operation: tojson of a value over 64 levels deep");
    }

    #[test]
    fn the_grader_sees_the_tools_too() {
        let tools = r#"[{"function":{"name":"f"}}]"#;
        check(&format!(r#"{{"prompt":"Q","tools":{tools}}}"#), &format!(r#"Q |  |  | trl | {{"tools":{tools}}}"#));
    }
}
