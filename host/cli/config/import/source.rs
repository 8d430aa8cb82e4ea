//! What a config of another system says: dotted keys, in the order of the file, with the lines they stand in.

use std::collections::HashMap;
use std::path::Path;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::{command, yaml};

/// Bytes of a file at most: the largest configs of the field are a tenth of it.
pub(super) const BYTES_MAX: u64 = 1 << 20;
/// Tables in tables at most.
pub(super) const DEPTH_MAX: usize = 32;
/// Values at most.
pub(super) const VALUES_MAX: usize = 50_000;
/// Interpolations that lead to further ones, before they are taken for a circle.
const HOPS_MAX: usize = 8;
/// Bytes of a text that is filled in.
const TEXT_MAX: usize = 1 << 12;

/// One key and its value.
#[derive(Debug)]
pub(super) struct Entry {
    /// Dotted path.
    pub(super) key: String,
    /// Where it stands, from 1; JSON does not tell.
    pub(super) line: Option<usize>,
    pub(super) value: Value,
}

/// A whole file.
#[derive(Default)]
pub(super) struct Source {
    pub(super) entries: Vec<Entry>,
    /// The words of a command before its settings: what it starts.
    pub(super) program: String,
    /// Place of each key; of one that is said twice, the last.
    places: HashMap<String, usize>,
}

impl Source {
    /// Reads JSON, YAML, or the settings of a command, whichever the file is.
    pub(super) fn read(file: &Path, text: &str, home: Option<&str>) -> Result<Self> {
        let ending = file.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
        let (entries, program) = match Format::of(ending, text) {
            Format::Json => (json(text)?, String::new()),
            Format::Yaml => (yaml::read(text)?, String::new()),
            Format::Command => command::read(text, home)?,
        };
        if entries.is_empty() {
            bail!("the file holds no key: neither `key: value` nor `key=value`");
        }
        let mut source = Self { entries, program, places: HashMap::new() };
        source.places = source.entries.iter().enumerate().map(|(place, entry)| (entry.key.clone(), place)).collect();
        source.interpolate();
        Ok(source)
    }

    /// The place of a key.
    pub(super) fn place(&self, key: &str) -> Option<usize> {
        self.places.get(key).copied()
    }

    /// What a key is set to; nothing where it is left out or null.
    pub(super) fn get(&self, key: &str) -> Option<&Value> {
        self.place(key).map(|place| &self.entries[place].value).filter(|value| !value.is_null())
    }

    /// The same as a word: `true`, `grpo`, `8`.
    pub(super) fn word(&self, key: &str) -> Option<String> {
        self.get(key).map(word)
    }

    /// The same as a number.
    pub(super) fn number(&self, key: &str) -> Option<f64> {
        self.get(key).and_then(Value::as_f64)
    }

    /// Hydra's `${a.b}`: what the key `a.b` says. As a whole value it may be anything, within a text it is a scalar.
    fn interpolate(&mut self) {
        for place in 0..self.entries.len() {
            for _ in 0..HOPS_MAX {
                let text = self.entries[place].value.as_str().filter(|text| text.len() <= TEXT_MAX);
                let Some(value) = text.and_then(|text| self.filled(text)) else { break };
                self.entries[place].value = value;
            }
        }
    }

    /// The text with its first interpolation replaced, if it has one that can be.
    fn filled(&self, text: &str) -> Option<Value> {
        let (before, rest) = text.split_once("${")?;
        let (key, after) = rest.split_once('}')?;
        let value = self.get(key)?;
        match value {
            value if before.is_empty() && after.is_empty() => Some(value.clone()),
            Value::String(inner) => Some(Value::String(format!("{before}{inner}{after}"))),
            Value::Number(_) | Value::Bool(_) => Some(Value::String(format!("{before}{value}{after}"))),
            _ => None,
        }
    }
}

/// A scalar as one would type it, in small letters; anything else as JSON.
pub(super) fn word(value: &Value) -> String {
    match value {
        Value::String(text) => text.to_lowercase(),
        value => value.to_string(),
    }
}

enum Format {
    Json,
    Yaml,
    Command,
}

impl Format {
    fn of(ending: &str, text: &str) -> Self {
        let is_said = |line: &&str| !line.is_empty() && !line.starts_with('#');
        let first = text.trim_start_matches('\u{feff}').lines().map(str::trim).find(is_said).unwrap_or_default();
        let is_yaml = first.starts_with("---") || first.split_once(':').is_some_and(|(key, _)| is_key(key));
        match ending {
            "json" => Self::Json,
            "yaml" | "yml" => Self::Yaml,
            "sh" => Self::Command,
            _ if first.starts_with('{') => Self::Json,
            _ if is_yaml => Self::Yaml,
            _ => Self::Command,
        }
    }
}

/// Whether the word could be a dotted key.
pub(super) fn is_key(word: &str) -> bool {
    let starts = word.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    starts && word.chars().all(|c| c.is_ascii_alphanumeric() || "._-/@".contains(c))
}

fn json(text: &str) -> Result<Vec<Entry>> {
    // Its reader refuses what is nested deeper than 128, which bounds the recursion below.
    let root: Value = serde_json::from_str(text.trim_start_matches('\u{feff}')).context("not valid JSON")?;
    if !root.is_object() {
        bail!("line 1: a config is one JSON object");
    }
    let mut entries = vec![];
    flatten(String::new(), root, None, 0, &mut entries)?;
    Ok(entries)
}

/// One entry for each value that is no table.
pub(super) fn flatten(
    key: String,
    value: Value,
    line: Option<usize>,
    depth: usize,
    entries: &mut Vec<Entry>,
) -> Result<()> {
    match value {
        _ if depth > DEPTH_MAX => bail!("`{key}` is nested deeper than {DEPTH_MAX}; no config is"),
        _ if entries.len() >= VALUES_MAX => bail!("the file holds more than {VALUES_MAX} values"),
        Value::Object(items) => {
            for (name, value) in items {
                let key = if key.is_empty() { name } else { format!("{key}.{name}") };
                flatten(key, value, line, depth + 1, entries)?;
            }
        }
        value => entries.push(Entry { key, line, value }),
    }
    Ok(())
}
