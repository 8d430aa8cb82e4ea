//! What rows of every shape have in common: columns of text, tools.

use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use std::collections::BTreeMap;

use crate::renderer::python_json;

/// The columns of a row, each as its JSON text: a chat template shows tools and arguments with their keys in the row's own
/// order, which a parsed object forgets. What a shape knows is taken out, what is left goes to the grader. A null is as
/// good as no column.
#[derive(Clone)]
pub struct Columns(BTreeMap<String, Box<RawValue>>);

impl Columns {
    /// Reads one JSON object.
    pub fn parse(json: &[u8]) -> serde_json::Result<Self> {
        let mut columns: BTreeMap<String, Box<RawValue>> = serde_json::from_slice(json)?;
        columns.retain(|_, column| column.get() != "null");
        Ok(Self(columns))
    }

    /// The names of the columns.
    pub(super) fn keys(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    pub(super) fn has(&self, key: &str) -> bool {
        self.0.contains_key(key)
    }

    /// Whether a column is there and a text.
    pub(super) fn has_text(&self, key: &str) -> bool {
        self.0.get(key).is_some_and(|column| column.get().starts_with('"'))
    }

    /// Whether a column is there and an object.
    pub(super) fn has_object(&self, key: &str) -> bool {
        self.0.get(key).is_some_and(|column| column.get().starts_with('{'))
    }

    /// Whether a column is there and a list.
    pub(super) fn has_list(&self, key: &str) -> bool {
        self.0.get(key).is_some_and(|column| column.get().starts_with('['))
    }

    /// Takes a column out.
    pub(super) fn take(&mut self, key: &str) -> std::result::Result<Option<Value>, String> {
        self.0.remove(key).map(|column| parsed(&column, key)).transpose()
    }

    /// Takes a column out as its JSON text.
    pub(super) fn take_raw(&mut self, key: &str) -> Option<Box<RawValue>> {
        self.0.remove(key)
    }

    /// Takes a column out as what it must hold.
    pub(super) fn take_as<T: DeserializeOwned>(&mut self, key: &str) -> std::result::Result<T, String> {
        self.take_if(key)?.ok_or_else(|| format!("`{key}` is missing"))
    }

    /// The same of a column that need not be there.
    pub(super) fn take_if<T: DeserializeOwned>(&mut self, key: &str) -> std::result::Result<Option<T>, String> {
        self.0.remove(key).map(|column| parsed(&column, key)).transpose()
    }

    /// Takes a column out that is a list, item by item.
    pub(super) fn take_list(&mut self, key: &str) -> std::result::Result<Vec<Box<RawValue>>, String> {
        match self.has_list(key) {
            true => self.take_as(key),
            false => Err(match self.take(key)? {
                Some(other) => format!("`{key}` is {}, expected a list", kind(&other)),
                None => format!("`{key}` is missing"),
            }),
        }
    }

    /// Takes a column out that is an object, column by column.
    pub(super) fn take_object(&mut self, key: &str) -> std::result::Result<Self, String> {
        match self.0.remove(key) {
            Some(column) if column.get().starts_with('{') => {
                Self::parse(column.get().as_bytes()).map_err(|e| format!("`{key}`: {}", placeless(&e)))
            }
            Some(column) => Err(format!("`{key}` is {}, expected an object", kind(&parsed(&column, key)?))),
            None => Err(format!("`{key}` is missing")),
        }
    }

    /// Puts a text in place of what is there.
    pub(super) fn set(&mut self, key: &str, text: &str) {
        let json = RawValue::from_string(Value::from(text).to_string());
        self.0.extend(json.map(|json| (key.to_owned(), json)));
    }

    /// Adds what another object holds, in place of what is there under the same names.
    pub(super) fn extend(&mut self, other: Self) {
        self.0.extend(other.0);
    }

    /// Reads a column as JSON that is the text of an object.
    pub(super) fn unfold(&mut self, key: &str) {
        let text = self.0.get(key).and_then(|column| serde_json::from_str::<String>(column.get()).ok());
        let object =
            text.filter(|text| text.trim_start().starts_with('{')).and_then(|text| RawValue::from_string(text).ok());
        self.0.extend(object.map(|object| (key.to_owned(), object)));
    }

    /// What is left, as a JSON object.
    pub(super) fn rest(&self) -> std::result::Result<String, String> {
        let columns = self.0.iter().map(|(key, column)| Ok((key.clone(), parsed(column, key)?)));
        Ok(Value::Object(columns.collect::<std::result::Result<Map<_, _>, String>>()?).to_string())
    }
}

pub(super) fn parsed<T: DeserializeOwned>(json: &RawValue, key: &str) -> std::result::Result<T, String> {
    serde_json::from_str(json.get()).map_err(|e| format!("`{key}`: {}", placeless(&e)))
}

/// What is wrong, without where: a place within a part of a row is none that anybody finds.
pub(super) fn placeless(error: &serde_json::Error) -> String {
    let told = error.to_string();
    told.rsplit_once(" at line ").map_or(told.as_str(), |(what, _)| what).to_owned()
}

/// A column that must be there.
pub(super) fn text(row: &mut Columns, key: &str) -> std::result::Result<String, String> {
    optional_text(row, key)?.ok_or_else(|| format!("`{key}` is missing"))
}

/// A column of text, or of a number as text.
pub(super) fn optional_text(row: &mut Columns, key: &str) -> std::result::Result<Option<String>, String> {
    match row.take(key)? {
        Some(Value::String(text)) => Ok(Some(text)),
        Some(Value::Number(number)) => Ok(Some(number.to_string())),
        None => Ok(None),
        Some(other) => Err(format!("`{key}` is {}, expected a string", kind(&other))),
    }
}

/// The functions that a row's `tools` offers, each as the JSON text of its schema; the column stays, for the grader.
pub(super) fn tools(row: &Columns) -> std::result::Result<Vec<String>, String> {
    let Some(column) = row.0.get("tools") else { return Ok(vec![]) };
    let inner: Option<String> = serde_json::from_str(column.get()).ok();
    let json = inner.as_deref().unwrap_or(column.get());
    let items: Vec<Box<RawValue>> = serde_json::from_str(json)
        .map_err(|_| "`tools` is no list: expected a list of OpenAI function schemas, or its JSON text".to_owned())?;
    let schema = |(index, item): (usize, Box<RawValue>)| {
        let value: Value = parsed(&item, &format!("tools[{index}]"))?;
        match value["function"]["name"].is_string() {
            true => python_json(item.get()).map_err(|e| format!("`tools[{index}]`: {e}")),
            false => Err(format!(
                "`tools[{index}]` has no `function.name`: expected {{\"type\": \"function\", \"function\": {{\"name\": .., \
                 \"description\": .., \"parameters\": ..}}}}"
            )),
        }
    };
    items.into_iter().enumerate().map(schema).collect()
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
