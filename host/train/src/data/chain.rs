//! Answers in steps, each labelled right or wrong, in the shapes of the field:
//!
//! | keys | shape |
//! | --- | --- |
//! | `prompt`, `completions`, `labels` | TRL, Math-Shepherd: a text per step, and true, false or a number from 0 to 1 |
//!
//! Any further key is left alone.

use rewarden_runtime::{Message, Role};
use serde_json::Value;

use super::columns::{Columns, kind, optional_text, spoken};
use super::{Arithmetic, Dataset, Row};

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
    fn read(mut row: Columns, id: &str) -> std::result::Result<Vec<Self>, String> {
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
                Ok(vec![Self { id, prompt, steps, labels }])
            }
        }
    }

    fn generate(arithmetic: &Arithmetic, seed: u64) -> Dataset<Self> {
        arithmetic.chains(seed)
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
