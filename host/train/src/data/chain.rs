//! Answers in steps, each labelled right or wrong, in the shapes of the field:
//!
//! | keys | shape |
//! | --- | --- |
//! | `prompt`, `completions`, `labels` | TRL, Math-Shepherd: a text per step, and true, false or a number from 0 to 1 |
//! | `question.problem`, `label.steps` | PRM800K's own files, several chains a row (`host/train/src/data/prm800k.rs`) |
//!
//! Any further key is left alone.

use rewarden_runtime::{Message, Role};
use serde_json::Value;

use super::columns::{Columns, kind, optional_text};
use super::messages::spoken;
use super::{Arithmetic, Dataset, Outcome, Row, prm800k};

/// An answer in steps.
#[derive(Clone, Debug, PartialEq)]
pub struct Chain {
    /// Unique within the data set.
    pub id: String,
    /// The messages that are answered.
    pub prompt: Vec<Message>,
    /// The text of each step, without what separates it from the next.
    pub steps: Vec<String>,
    /// How probable it is that each step is right, 0 or 1 where somebody knows; none where nobody said.
    pub labels: Vec<Option<f64>>,
}

impl Row for Chain {
    fn read(mut row: Columns, id: &str) -> std::result::Result<Outcome<Self>, String> {
        if row.has_object("question") && row.has_object("label") {
            return prm800k::read(row, id);
        }
        let prompt = spoken(&mut row, "prompt", Role::User)?;
        let steps: Vec<String> = list(&mut row, "completions", step)?;
        let labels: Vec<Option<f64>> = list(&mut row, "labels", label)?;
        match () {
            () if prompt.is_empty() => Err("`prompt` is empty".into()),
            () if steps.is_empty() => Err("`completions` is empty".into()),
            () if steps.len() != labels.len() => {
                Err(format!("{} `completions` but {} `labels`", steps.len(), labels.len()))
            }
            () => {
                let id = optional_text(&mut row, "id")?.unwrap_or_else(|| id.to_owned());
                Ok(Outcome::Rows(vec![Self { id, prompt, steps, labels }]))
            }
        }
    }

    fn generate(arithmetic: &Arithmetic, seed: u64) -> Dataset<Self> {
        arithmetic.chains(seed)
    }

    fn id(&mut self) -> &mut String {
        &mut self.id
    }

    fn prompt(&self) -> &[Message] {
        &self.prompt
    }
}

/// A column that is a list, item by item.
fn list<T>(
    row: &mut Columns,
    key: &str,
    item: impl Fn(&Value) -> std::result::Result<T, String>,
) -> std::result::Result<Vec<T>, String> {
    let items = match row.take(key)? {
        Some(Value::Array(items)) => items,
        Some(other) => return Err(format!("`{key}` is {}, expected a list", kind(&other))),
        None => return Err(format!("`{key}` is missing")),
    };
    items.iter().enumerate().map(|(at, value)| item(value).map_err(|e| format!("`{key}[{at}]` is {e}"))).collect()
}

fn step(value: &Value) -> std::result::Result<String, String> {
    match value {
        Value::String(text) if !text.trim().is_empty() => Ok(text.clone()),
        Value::String(_) => Err("blank: a step says something".into()),
        other => Err(format!("{}, expected a string", kind(other))),
    }
}

fn label(value: &Value) -> std::result::Result<Option<f64>, String> {
    match value {
        Value::Null => Ok(None),
        Value::Bool(right) => Ok(Some(f64::from(*right))),
        Value::Number(number) if number.as_f64().is_some_and(|p| (0.0..=1.0).contains(&p)) => Ok(number.as_f64()),
        Value::Number(number) => Err(format!("{number}, expected true, false, null or a number from 0 to 1")),
        other => Err(format!("{}, expected true, false, null or a number from 0 to 1", kind(other))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// prompt | step (label), ...
    #[track_caller]
    fn check(row: &str, expected: &str) {
        let told = |chain: &Chain| {
            let label = |label: &Option<f64>| label.map_or("?".to_owned(), |label| label.to_string());
            let steps = chain.steps.iter().zip(&chain.labels).map(|(step, it)| format!("{step} ({})", label(it)));
            format!("{} | {}", chain.prompt[0].content, steps.collect::<Vec<_>>().join(", "))
        };
        let got = match Chain::read(Columns::parse(row.as_bytes()).unwrap(), "row-1") {
            Err(message) => message,
            Ok(Outcome::Skipped(reason)) => format!("skipped: {reason}"),
            Ok(Outcome::Rows(chains)) => chains.iter().map(told).collect(),
        };
        assert_eq!(got, expected);
    }

    #[test]
    fn labels_are_what_somebody_said() {
        check(r#"{"prompt":"Q","completions":["a","b","c"],"labels":[true,false,true]}"#, "Q | a (1), b (0), c (1)");
        check(
            r#"{"prompt":[{"role":"user","content":"Q"}],"completions":["a","b"],"labels":[0.25,null],"id":7}"#,
            "Q | a (0.25), b (?)",
        );
    }

    #[test]
    fn bad_rows_say_what_is_wrong() {
        check(r#"{"prompt":"Q","completions":["a"]}"#, "`labels` is missing");
        check(r#"{"prompt":"Q","completions":[],"labels":[]}"#, "`completions` is empty");
        check(r#"{"prompt":[],"completions":["a"],"labels":[true]}"#, "`prompt` is empty");
        check(r#"{"prompt":"Q","completions":["a"],"labels":[true,true]}"#, "1 `completions` but 2 `labels`");
        check(r#"{"prompt":"Q","completions":"a","labels":[true]}"#, "`completions` is a string, expected a list");
        check(
            r#"{"prompt":"Q","completions":[" "],"labels":[true]}"#,
            "`completions[0]` is blank: a step says something",
        );
        check(r#"{"prompt":"Q","completions":[7],"labels":[true]}"#, "`completions[0]` is a number, expected a string");
        let expected = "expected true, false, null or a number from 0 to 1";
        check(r#"{"prompt":"Q","completions":["a"],"labels":[2]}"#, &format!("`labels[0]` is 2, {expected}"));
        check(r#"{"prompt":"Q","completions":["a"],"labels":["+"]}"#, &format!("`labels[0]` is a string, {expected}"));
    }
}
