//! What a table of translations is made of: one row for each key of another system, with ours and how its value changes.

use serde_json::Value;

use super::source::{Source, word};
use crate::args::{Recipe, System};

/// What becomes of a value: ours, nothing to say, or the reason why it cannot be said here.
pub(super) type Outcome = Result<Option<toml::Value>, String>;

/// One trainer of one system.
pub(super) struct Dialect {
    pub(super) system: System,
    /// In words.
    pub(super) name: &'static str,
    /// The stage that does the same here; what `*` stands for in the keys of rows.
    pub(super) recipe: Recipe,
    /// Parts of the commands that start it.
    pub(super) programs: &'static [&'static str],
    /// Keys, or beginnings of keys (`*`), that tell it from its siblings.
    pub(super) marks: &'static [&'static str],
    /// Of two rows for one of our keys, the first that has a value is heard.
    pub(super) rows: &'static [&'static [Row]],
    /// Known keys without a counterpart, and why.
    pub(super) without: &'static [&'static [Without]],
    /// What the system does without a key for it: our key, its value as TOML, why.
    pub(super) implied: &'static [(&'static str, &'static str, &'static str)],
}

/// Keys, or beginnings of keys (`*`), without a counterpart, and why.
pub(super) type Without = (&'static str, &'static str);

/// One key.
#[derive(Clone, Copy)]
pub(super) struct Row {
    /// Theirs; several names of one thing are separated by `|`.
    pub(super) from: &'static str,
    /// Ours.
    pub(super) to: &'static str,
    pub(super) how: How,
    /// What it is there when left out, as TOML of ours, where that differs from our default.
    pub(super) default: Option<&'static str>,
    /// Another of their keys, and what it must be for this one to be heard there.
    pub(super) when: Option<(&'static str, &'static str)>,
    /// The same, and what it must not be.
    pub(super) unless: Option<(&'static str, &'static str)>,
    /// What else to know.
    pub(super) note: &'static str,
}

/// Why a temperature other than 1 is not all that it is there.
pub(super) const LEARNT_AT: &str = "sampling is the same, learning is not: there training divides the logits by it too, and \
     here it never does";

/// How a value changes on the way.
#[derive(Clone, Copy)]
pub(super) enum How {
    /// A whole number of at least 0.
    Int,
    /// The same; a negative one means never, or no bound: 0 here.
    OrZero,
    /// The same; a negative one means not set, there and here.
    OrUnset,
    Number,
    /// 1 less the number: a distance from a ratio of 1.
    OneMinus,
    OnePlus,
    Bool,
    Text,
    /// Words, each with ours as TOML; nothing where that is empty, and the reason behind a `!` where there is none.
    Words(&'static [(&'static str, &'static str)]),
    /// The one word that is the same as here, where no key says it; and the reason why others are not.
    Only(&'static str, &'static str),
    /// Whatever needs more than its own value.
    With(fn(&Source, &Value) -> Outcome),
}

pub(super) const fn row(from: &'static str, to: &'static str, how: How) -> Row {
    Row { from, to, how, default: None, when: None, unless: None, note: "" }
}

impl Row {
    pub(super) const fn or(self, default: &'static str) -> Self {
        Self { default: Some(default), ..self }
    }

    pub(super) const fn when(self, key: &'static str, value: &'static str) -> Self {
        Self { when: Some((key, value)), ..self }
    }

    pub(super) const fn unless(self, key: &'static str, value: &'static str) -> Self {
        Self { unless: Some((key, value)), ..self }
    }

    pub(super) const fn note(self, note: &'static str) -> Self {
        Self { note, ..self }
    }

    /// What keeps the key from being heard there, if anything does.
    pub(super) fn hindrance(&self, source: &Source) -> Option<String> {
        let is = |key: &str, value: &str| source.word(key).is_some_and(|said| is_word(value, &said));
        let missed =
            self.when.filter(|(key, value)| !is(key, value)).map(|(key, value)| format!("{key} is not {value}"));
        missed.or_else(|| {
            self.unless.filter(|(key, value)| is(key, value)).map(|(key, value)| format!("{key} is {value}"))
        })
    }
}

impl How {
    /// Our value for theirs.
    pub(super) fn convert(self, source: &Source, value: &Value) -> Outcome {
        if let Some(text) = value.as_str().filter(|text| text.contains('$')) {
            return Err(format!("what `{text}` stands for is not in the file"));
        }
        match self {
            Self::Int => whole(value).and_then(|n| int(n, value)).map(Some),
            Self::OrZero => whole(value).map(|n| Some(toml::Value::Integer(n.max(0)))),
            Self::OrUnset => whole(value).map(|n| (n >= 0).then_some(toml::Value::Integer(n))),
            Self::Number => number(value).map(|n| Some(float(n))),
            Self::OneMinus => number(value).map(|n| Some(float(1.0 - n))),
            Self::OnePlus => number(value).map(|n| Some(float(1.0 + n))),
            Self::Bool => boolean(value).map(|b| Some(toml::Value::Boolean(b))),
            Self::Text => text(value).map(|text| Some(toml::Value::String(text))),
            Self::Words(words) => one_of(words, value),
            Self::Only(only, reason) => match is_word(only, &word(value)) {
                true => Ok(None),
                false => Err(reason.to_owned()),
            },
            Self::With(convert) => convert(source, value),
        }
    }
}

/// Whether a value says the word. Python writes members of enums as `TrainOnWhat.ALL_TOKENS`, and 1 as 1.0.
fn is_word(known: &str, said: &str) -> bool {
    let number = |word: &str| word.parse::<f64>().ok();
    said == known || (number(known).is_some() && number(known) == number(said)) || said.ends_with(&format!(".{known}"))
}

fn one_of(words: &[(&str, &str)], value: &Value) -> Outcome {
    let said = match value {
        Value::Array(items) if items.len() == 1 => word(&items[0]),
        value => word(value),
    };
    match words.iter().find(|(known, _)| is_word(known, &said)) {
        Some((_, ours)) => literal(ours),
        None => {
            let known = words.iter().filter(|(_, ours)| !ours.starts_with('!')).map(|(known, _)| *known);
            Err(format!("value not supported; {} can be", known.collect::<Vec<_>>().join(", ")))
        }
    }
}

/// TOML as the tables write it.
pub(super) fn literal(text: &str) -> Outcome {
    if let Some(reason) = text.strip_prefix('!') {
        return Err(reason.to_owned());
    }
    let parsed = toml::from_str::<toml::Table>(&format!("v = {text}")).ok();
    match text.is_empty() {
        true => Ok(None),
        false => Ok(parsed.and_then(|mut table| table.remove("v"))),
    }
}

pub(super) fn number(value: &Value) -> Result<f64, String> {
    let said = value.as_f64().or_else(|| value.as_str().and_then(|text| text.parse().ok()));
    said.filter(|n| n.is_finite()).ok_or_else(|| "value not supported; it must be a number".to_owned())
}

fn whole(value: &Value) -> Result<i64, String> {
    let said = number(value)?;
    match said.fract() == 0.0 && said.abs() < 1e15 {
        true => Ok(said as i64),
        false => Err("value not supported; it must be a whole number here".to_owned()),
    }
}

fn int(number: i64, value: &Value) -> Result<toml::Value, String> {
    match number >= 0 {
        true => Ok(toml::Value::Integer(number)),
        false => Err(format!("value not supported; {value} is below 0")),
    }
}

/// Without the last digits of `1 - 0.28`.
pub(super) fn float(number: f64) -> toml::Value {
    let digits = 1e12;
    let near = (number * digits).round() / digits;
    toml::Value::Float(if (near - number).abs() <= number.abs() * 1e-12 { near } else { number })
}

fn boolean(value: &Value) -> Result<bool, String> {
    match word(value).as_str() {
        "true" | "yes" | "on" | "1" => Ok(true),
        "false" | "no" | "off" | "0" => Ok(false),
        _ => Err("value not supported; it must be true or false".to_owned()),
    }
}

pub(super) fn text(value: &Value) -> Result<String, String> {
    let said = value.as_str().filter(|text| !text.is_empty());
    said.map(str::to_owned).ok_or_else(|| "value not supported; it must be a text".to_owned())
}

/// A file of rows; another system's name for data on a hub is none.
pub(super) fn data_file(_: &Source, value: &Value) -> Outcome {
    let files = match value {
        Value::Array(files) => files.as_slice(),
        file => std::slice::from_ref(file),
    };
    let names: Vec<String> = files.iter().map(text).collect::<Result<_, _>>()?;
    match names.as_slice() {
        [name] if name.contains('$') => Err(format!("what `{name}` stands for is not in the file")),
        [name] if [".jsonl", ".json", ".parquet"].iter().any(|ending| name.ends_with(ending)) => {
            Ok(Some(toml::Value::String(name.clone())))
        }
        [_] => Err("not a file of JSON lines or Parquet: download the rows, and name the file in data.path".to_owned()),
        _ => Err("several files: name one in data.path, and each other in a [[data.mix]] with its ratio".to_owned()),
    }
}

/// `[1, n]`: the k of each pass@k that n answers allow.
pub(super) fn pass_at(_: &Source, value: &Value) -> Outcome {
    let n = whole(value).and_then(|n| int(n, value))?;
    let one = toml::Value::Integer(1);
    Ok(Some(toml::Value::Array(if n == one { vec![n] } else { vec![one, n] })))
}

/// A quotient that must be whole.
pub(super) fn quotient(of: f64, by: f64, said: &str) -> Outcome {
    let quotient = of / by;
    match quotient >= 1.0 && quotient.fract() == 0.0 {
        true => Ok(Some(toml::Value::Integer(quotient as i64))),
        false => Err(format!("value not supported; {said} must be a whole number, and is {of} / {by}")),
    }
}
