//! One line: its fields, and a sentence for each that is missing, unknown or of another type.

use rewarden_runtime::{Message, Role};
use serde_json::{Map, Value};

use super::sample::{call, message, sample, task};
use super::{Case, Input, Mistake, Rule, StandIn, edit, expect, shown};
use crate::plugin::test::probes;
use rewarden_train::nearest;

/// Numbers that an author types and a plugin computes differ in their last bits.
const TOLERANCE: f64 = 1e-9;

const INPUTS: [&str; 4] = ["sample", "group", "task", "call"];
const CASE: [&str; 11] =
    ["name", "sample", "group", "task", "call", "actions", "settings", "seed", "expect", "tolerance", "why"];
const RULE: [&str; 5] = ["probe", "settings", "max", "fault", "why"];
const MODEL: [&str; 4] = ["model", "score", "generate", "why"];

type Object = Map<String, Value>;

/// What a line is.
pub(super) enum Line {
    Case(Box<Case>),
    Rule(Rule),
    Model(StandIn),
}

pub(super) fn line(text: &str) -> Result<Line, Mistake> {
    let value: Value = serde_json::from_str(text).map_err(|error| {
        let reason = error.to_string();
        let reason = reason.split(" at line ").next().unwrap_or_default();
        Mistake::new("", format!("the line is not JSON: {reason} at column {}", error.column()))
    })?;
    let Value::Object(object) = value else { return Err(Mistake::new("", "the line is not a JSON object")) };
    let mut keys: Vec<String> = edit::members(text).into_iter().map(|(key, _)| key).collect();
    keys.sort_unstable();
    if let Some(twice) = keys.windows(2).find(|pair| pair[0] == pair[1]) {
        return Err(Mistake::new(&twice[0], "stands in the line twice"));
    }
    if let Some(why) = object.get("why").filter(|why| !why.is_string()) {
        return Err(Mistake::is_no("why", why, "text"));
    }
    match () {
        () if object.contains_key("probe") => rule(&object).map(Line::Rule),
        () if object.contains_key("model") => stand_in(&object).map(Line::Model),
        () => case(object).map(|case| Line::Case(Box::new(case))),
    }
}

/// Refuses fields that are not known, with the one that was meant.
pub(super) fn known(path: &str, object: &Object, known: &[&str]) -> Result<(), Mistake> {
    let Some(key) = object.keys().find(|key| !known.contains(&key.as_str())) else { return Ok(()) };
    let place = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
    let hint = match nearest(key, known.iter().copied()) {
        Some(meant) => format!("did you mean `{meant}`?"),
        None => format!("there are {}", known.join(", ")),
    };
    Err(Mistake::new(place, format!("there is no such field: {hint}")))
}

fn case(mut object: Object) -> Result<Case, Mistake> {
    known("", &object, &CASE)?;
    let name = match object.get("name") {
        Some(Value::String(name)) if !name.trim().is_empty() => name.clone(),
        Some(other) => return Err(Mistake::is_no("name", other, "name: a text that tells cases apart")),
        None => return Err(Mistake::new("name", "is missing: a text that tells this case from the others")),
    };
    let input = input(&mut object)?;
    let tolerance = match object.get("tolerance").map(|tolerance| (tolerance, tolerance.as_f64())) {
        None => TOLERANCE,
        Some((_, Some(tolerance))) if tolerance >= 0.0 => tolerance,
        Some((other, _)) => return Err(Mistake::is_no("tolerance", other, "number of at least 0")),
    };
    let seed = match object.get("seed").map(|seed| (seed, seed.as_u64().and_then(|seed| u32::try_from(seed).ok()))) {
        None => 0,
        Some((_, Some(seed))) => seed,
        Some((other, None)) => return Err(Mistake::is_no("seed", other, "whole number below 2^32")),
    };
    let expect = object.get("expect").map(|written| expect::in_full(&input, written)).transpose()?;
    Ok(Case { line: 0, name, settings: settings(&object)?, seed, input, expect, tolerance })
}

fn input(object: &mut Object) -> Result<Input, Mistake> {
    let held: Vec<&str> = INPUTS.into_iter().filter(|key| object.contains_key(*key)).collect();
    let [key] = held[..] else {
        let found = if held.is_empty() { "none".to_owned() } else { held.join(" and ") };
        return Err(Mistake::new("", format!("a case holds one of {}, and this one holds {found}", INPUTS.join(", "))));
    };
    let value = object.remove(key).unwrap_or_default();
    let actions = object.remove("actions");
    if key != "task" && actions.is_some() {
        return Err(Mistake::new("actions", format!("belongs to a `task`, and this case holds a `{key}`")));
    }
    match (key, value) {
        ("sample", value) => Ok(Input::Sample(sample("sample", value)?)),
        ("call", value) => Ok(Input::Call(call("call", value)?)),
        ("task", value) => Ok(Input::Episode { task: task("task", value)?, actions: self::actions(actions)? }),
        (_, Value::Array(members)) => {
            let members = members.into_iter().enumerate();
            Ok(Input::Group(
                members.map(|(index, member)| sample(&format!("group[{index}]"), member)).collect::<Result<_, _>>()?,
            ))
        }
        (key, other) => Err(Mistake::is_no(key, &other, "list of samples")),
    }
}

/// What the policy says, turn by turn: texts, or whole messages.
fn actions(written: Option<Value>) -> Result<Vec<Message>, Mistake> {
    let Some(Value::Array(actions)) = written else {
        let found = written.map_or("is missing".to_owned(), |other| format!("{} is no list", shown(&other)));
        return Err(Mistake::new("actions", format!("{found}: what the policy says, a list of texts or messages")));
    };
    let action = |(index, action)| match action {
        Value::String(text) => Ok(crate::records::message(Role::Assistant, text)),
        other => message(&format!("actions[{index}]"), other),
    };
    actions.into_iter().enumerate().map(action).collect()
}

fn settings(object: &Object) -> Result<Value, Mistake> {
    match object.get("settings") {
        None | Some(Value::Null) => Ok(Value::Object(Map::new())),
        Some(Value::Object(settings)) => Ok(Value::Object(settings.clone())),
        Some(other) => Err(Mistake::is_no("settings", other, "JSON object")),
    }
}

fn rule(object: &Object) -> Result<Rule, Mistake> {
    known("", object, &RULE)?;
    let names = || probes::NAMES.into_iter().chain(["*"]);
    let probe = object["probe"].as_str().unwrap_or_default().to_owned();
    if !names().any(|name| name == probe) {
        let hint = match nearest(&probe, names()) {
            Some(meant) => format!("did you mean `{meant}`?"),
            None => format!("there are {}", names().collect::<Vec<_>>().join(", ")),
        };
        return Err(Mistake::is_no("probe", &object["probe"], &format!("probe: {hint}")));
    }
    let max = match object.get("max") {
        Some(max) => Some(max.as_f64().ok_or_else(|| Mistake::is_no("max", max, "number"))?),
        None => None,
    };
    let fault = object.get("fault").map(|kind| expect::fault_kind("fault", kind)).transpose()?;
    if max.is_none() && fault.is_none() {
        return Err(Mistake::new("probe", "says nothing: add `max`, what it may earn, or `fault`, how it may fail"));
    }
    Ok(Rule { probe, settings: settings(object)?, max, fault })
}

fn stand_in(object: &Object) -> Result<StandIn, Mistake> {
    known("", object, &MODEL)?;
    let Some(name) = object["model"].as_str() else {
        return Err(Mistake::is_no("model", &object["model"], "name"));
    };
    let not = |key: &str, kind: &str| Mistake::is_no(key, &object[key], kind);
    let score = object.get("score").map(|n| n.as_f64().ok_or_else(|| not("score", "number"))).transpose()?;
    let text = |text: &Value| text.as_str().map(str::to_owned).ok_or_else(|| not("generate", "text"));
    let generate = object.get("generate").map(text).transpose()?;
    if score.is_none() && generate.is_none() {
        return Err(Mistake::new("model", "answers nothing: add `score`, a number, or `generate`, a text"));
    }
    Ok(StandIn { name: name.to_owned(), score, generate })
}
