//! What a case may expect of what the plugin gave, how the two are compared, and how an expectation is written anew.
//!
//! An expectation is a pattern: it names the fields that matter, and the others may be anything. In full it is
//!
//! ```text
//! a sample    {"score": 1.0, "steps": [1, 0], "components": {"format": 1}, "metrics": {}, "note": "36"}
//! a group     one such object per member
//! a task      {"start": "text", "steps": [{"reward": 0, "done": false, "observation": "text", "metrics": {}}], "metrics": {}}
//! a call      {"content": "3", "reward": 0, "metrics": {}}
//! any         {"fault": "invalid-input", "message": "a part of it"}
//! ```
//!
//! and in short a number (or null: the plugin does not apply) for a score, a number for a step, a list for a task's steps, a
//! text for a call's content.

use rewarden_runtime::Fault;
use serde_json::{Map, Value, json};

use super::{Input, Mistake};
use rewarden_train::nearest;

/// The type of a field.
#[derive(Clone, Copy)]
enum Field {
    Number,
    NumberOrNull,
    Flag,
    Text,
    Numbers,
    /// Numbers by name.
    Named,
    Steps,
}

type Fields = &'static [(&'static str, Field)];

const SCORE: Fields = &[
    ("score", Field::NumberOrNull),
    ("steps", Field::Numbers),
    ("components", Field::Named),
    ("metrics", Field::Named),
    ("note", Field::Text),
];
const STEP: Fields =
    &[("reward", Field::Number), ("done", Field::Flag), ("observation", Field::Text), ("metrics", Field::Named)];
const EPISODE: Fields = &[("start", Field::Text), ("steps", Field::Steps), ("metrics", Field::Named)];
const OUTPUT: Fields = &[("content", Field::Text), ("reward", Field::Number), ("metrics", Field::Named)];

/// An expectation as it was written, in full, or what is wrong with it.
pub(crate) fn in_full(input: &Input, written: &Value) -> Result<Value, Mistake> {
    match (input, written) {
        (Input::Group(members), Value::Array(scores)) if scores.len() == members.len() => {
            let score = |(index, score)| object(&format!("expect[{index}]"), &score_in_full(score), SCORE, false);
            scores.iter().enumerate().map(score).collect::<Result<Vec<_>, _>>().map(Value::Array)
        }
        (Input::Group(members), Value::Array(scores)) => {
            let what = format!("{} scores for a group of {}", scores.len(), members.len());
            Err(Mistake::new("expect", what))
        }
        (Input::Group(_), Value::Object(fault)) if fault.contains_key("fault") => object("expect", written, &[], true),
        (Input::Group(_), other) => Err(Mistake::is_no("expect", other, "list of scores, and has no `fault`")),
        (Input::Sample(_), written) => object("expect", &score_in_full(written), SCORE, true),
        (Input::Episode { .. }, Value::Array(_)) => object("expect", &json!({ "steps": written }), EPISODE, true),
        (Input::Episode { .. }, written) => object("expect", written, EPISODE, true),
        (Input::Call(_), Value::String(_)) => object("expect", &json!({ "content": written }), OUTPUT, true),
        (Input::Call(_), written) => object("expect", written, OUTPUT, true),
    }
}

fn score_in_full(written: &Value) -> Value {
    if written.is_number() || written.is_null() { json!({ "score": written }) } else { written.clone() }
}

/// An object of these fields, or a fault where one may be.
fn object(path: &str, value: &Value, fields: Fields, may_fault: bool) -> Result<Value, Mistake> {
    let names = || fields.iter().map(|(name, _)| *name).chain(["fault"].into_iter().filter(|_| may_fault));
    let Value::Object(object) = value else {
        let wanted = format!("expectation: it has {}", names().collect::<Vec<_>>().join(", "));
        return Err(Mistake::is_no(path, value, &wanted));
    };
    if let Some(kind) = object.get("fault").filter(|_| may_fault) {
        return fault(path, object, kind);
    }
    if object.is_empty() {
        return Err(Mistake::new(path, "expects nothing"));
    }
    let mut full = Map::new();
    for (key, value) in object {
        let place = format!("{path}.{key}");
        let Some((_, field)) = fields.iter().find(|(name, _)| name == key) else {
            let hint = match nearest(key, names()) {
                Some(meant) => format!("did you mean `{meant}`?"),
                None => format!("there are {}", names().collect::<Vec<_>>().join(", ")),
            };
            return Err(Mistake::new(place, format!("there is no such field: {hint}")));
        };
        full.insert(key.clone(), field.check(&place, value)?);
    }
    Ok(Value::Object(full))
}

fn fault(path: &str, object: &Map<String, Value>, kind: &Value) -> Result<Value, Mistake> {
    fault_kind(&format!("{path}.fault"), kind)?;
    match object.iter().find(|(key, value)| *key != "fault" && !(*key == "message" && value.is_string())) {
        None => Ok(Value::Object(object.clone())),
        Some((key, _)) => Err(Mistake::new(
            format!("{path}.{key}"),
            "beside a `fault` there is only `message`, a part of its text".to_owned(),
        )),
    }
}

/// The name of a kind of fault.
pub(super) fn fault_kind(path: &str, kind: &Value) -> Result<String, Mistake> {
    let name = kind.as_str().unwrap_or_default();
    if Fault::KINDS.contains(&name) {
        return Ok(name.to_owned());
    }
    let hint = match nearest(name, Fault::KINDS) {
        Some(meant) => format!("did you mean {meant:?}?"),
        None => format!("there are {}", Fault::KINDS.join(", ")),
    };
    Err(Mistake::is_no(path, kind, &format!("kind of fault: {hint}")))
}

impl Field {
    /// The value in full, if it is one of this type.
    fn check(self, path: &str, value: &Value) -> Result<Value, Mistake> {
        let is_number = |value: &Value| value.is_number();
        let (good, wanted) = match self {
            Field::Number => (is_number(value), "number"),
            Field::NumberOrNull => (is_number(value) || value.is_null(), "number or null"),
            Field::Flag => (value.is_boolean(), "true or false"),
            Field::Text => (value.is_string(), "text"),
            Field::Numbers => (value.as_array().is_some_and(|list| list.iter().all(is_number)), "list of numbers"),
            Field::Named => {
                (value.as_object().is_some_and(|named| named.values().all(is_number)), "object of numbers by name")
            }
            Field::Steps => return steps(path, value),
        };
        if good { Ok(value.clone()) } else { Err(Mistake::is_no(path, value, wanted)) }
    }
}

fn steps(path: &str, value: &Value) -> Result<Value, Mistake> {
    let Value::Array(steps) = value else {
        return Err(Mistake::is_no(path, value, "list, one entry for each action"));
    };
    let step = |(index, step): (usize, &Value)| {
        let full = if step.is_number() { json!({ "reward": step }) } else { step.clone() };
        object(&format!("{path}[{index}]"), &full, STEP, true)
    };
    steps.iter().enumerate().map(step).collect::<Result<Vec<_>, _>>().map(Value::Array)
}

/// One place where what was expected and what the plugin gave differ.
#[derive(Debug, PartialEq)]
pub(crate) struct Difference {
    /// Such as `steps[1].reward`; empty for all of it.
    pub(crate) place: String,
    pub(crate) expected: Value,
    pub(crate) got: Value,
}

/// Where they differ by more than the tolerance.
pub(crate) fn differences(expected: &Value, got: &Value, tolerance: f64) -> Vec<Difference> {
    let mut found = vec![];
    compare("", expected, got, tolerance, &mut found);
    found
}

fn compare(place: &str, expected: &Value, got: &Value, tolerance: f64, found: &mut Vec<Difference>) {
    let below = |key: &str| if place.is_empty() { key.to_owned() } else { format!("{place}.{key}") };
    let equal = match (expected, got) {
        (Value::Object(wanted), Value::Object(given))
            if wanted.contains_key("fault") || given.contains_key("fault") =>
        {
            same_fault(wanted, given)
        }
        (Value::Object(wanted), Value::Object(given)) => {
            for (key, value) in wanted {
                compare(&below(key), value, given.get(key).unwrap_or(&Value::Null), tolerance, found);
            }
            return;
        }
        (Value::Array(wanted), Value::Array(given)) if wanted.len() == given.len() => {
            for (index, (wanted, given)) in wanted.iter().zip(given).enumerate() {
                compare(&format!("{place}[{index}]"), wanted, given, tolerance, found);
            }
            return;
        }
        (Value::Number(wanted), Value::Number(given)) => {
            let off = wanted.as_f64().zip(given.as_f64()).map(|(wanted, given)| (wanted - given).abs());
            off.is_some_and(|off| off <= tolerance)
        }
        (wanted, given) => wanted == given,
    };
    if !equal {
        found.push(Difference { place: place.to_owned(), expected: expected.clone(), got: got.clone() });
    }
}

/// A message is expected in part: tracebacks and positions come and go.
fn same_fault(wanted: &Map<String, Value>, given: &Map<String, Value>) -> bool {
    let text = |fault: &Map<String, Value>| fault.get("message").and_then(Value::as_str).unwrap_or_default().to_owned();
    wanted.get("fault") == given.get("fault") && text(given).contains(&text(wanted))
}

/// What the plugin gave, in the shape of what was written: the same fields, short where that was short.
pub(crate) fn rewritten(input: &Input, written: Option<&Value>, got: &Value) -> Value {
    if let (Input::Group(_), Value::Array(members)) = (input, got) {
        let written = |index| written.and_then(|written| written.get(index));
        let member = |(index, got)| reshaped(written(index), got, "score");
        return Value::Array(members.iter().enumerate().map(member).collect());
    }
    if let (Input::Episode { .. }, Some(steps)) = (input, got.get("steps").and_then(Value::as_array)) {
        let entries = match written {
            Some(Value::Object(object)) => object.get("steps"),
            other => other,
        };
        let entry = |(index, step)| match entries {
            // Nothing was expected yet: what a person would look at.
            None => kept(&json!({"reward": 0, "done": false, "observation": ""}), step),
            Some(entries) => reshaped(entries.get(index), step, "reward"),
        };
        let steps = Value::Array(steps.iter().enumerate().map(entry).collect());
        return match written {
            Some(Value::Object(object)) if !object.contains_key("fault") => {
                let mut kept = kept(written.unwrap_or(&Value::Null), got);
                if object.contains_key("steps") {
                    kept["steps"] = steps;
                }
                kept
            }
            _ => steps,
        };
    }
    reshaped(written, got, if matches!(input, Input::Call(_)) { "content" } else { "score" })
}

fn reshaped(written: Option<&Value>, got: &Value, short: &str) -> Value {
    match (written, got.get("fault")) {
        (Some(Value::Object(object)), Some(_)) if object.contains_key("message") => got.clone(),
        (_, Some(kind)) => json!({ "fault": kind }),
        (Some(Value::Object(object)), None) if !object.contains_key("fault") => {
            kept(&Value::Object(object.clone()), got)
        }
        (_, None) => got[short].clone(),
    }
}

/// The fields of `got` that `written` has, names of numbers included.
fn kept(written: &Value, got: &Value) -> Value {
    match (written, got) {
        (Value::Object(written), Value::Object(got)) if !written.is_empty() => {
            let field = |(key, written): (&String, &Value)| Some((key.clone(), kept(written, got.get(key)?)));
            Value::Object(written.iter().filter_map(field).collect())
        }
        (_, got) => got.clone(),
    }
}
