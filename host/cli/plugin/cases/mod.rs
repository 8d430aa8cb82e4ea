//! Golden cases, `cases.jsonl`: what an author promises about a plugin, one JSON object a line. One format for every kind:
//!
//! ```text
//! {"name": "plain", "sample": {"response": "#### 36", "ground_truth": "36"}, "expect": 1.0}
//! {"name": "no reference", "sample": {"response": "#### 36"}, "expect": {"fault": "invalid-input"}}
//! {"name": "two steps", "settings": {"strict": true}, "sample": {..}, "expect": {"score": 0.5, "steps": [1, 0]}}
//! {"name": "longest wins", "group": [{"response": "a"}, {"response": "abc"}], "expect": [0, 1]}
//! {"name": "found", "task": {"ground_truth": "7"}, "seed": 1, "actions": ["5", "7"], "expect": [0, {"reward": 1, "done": true}]}
//! {"name": "adds", "call": {"name": "add", "arguments": {"a": 1, "b": 2}}, "expect": "3"}
//! {"probe": "constant", "max": 0.5, "why": "half of the tasks are yes-or-no"}
//! ```
//!
//! A line with a `name` is a case (`parse.rs` holds its fields, `expect.rs` what may be expected of each kind), one with a
//! `probe` says what one of the built-in probes may earn (`../test/probes.rs`), one with a `model` binds a stand-in for a
//! model that the plugin asks. All of the file is checked before any of it is run, and every mistake is named with line
//! and key. Blank lines are allowed.

pub(crate) mod edit;
pub(crate) mod expect;
mod parse;
mod sample;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use rewarden_runtime::{Message, Sample, Task, ToolCall, World, printable};
use serde_json::Value;

use crate::plugin::subject::Question;
use parse::Line;

/// The file's name in a plugin's folder.
pub(crate) const FILE: &str = "cases.jsonl";

/// Mistakes that are shown; all are counted.
const SHOWN_MAX: usize = 20;

/// A file of cases, read and found good.
pub(crate) struct Cases {
    pub(crate) path: PathBuf,
    pub(crate) text: String,
    pub(crate) cases: Vec<Case>,
    pub(crate) rules: Vec<Rule>,
    pub(crate) models: Vec<StandIn>,
}

/// One promise.
pub(crate) struct Case {
    /// Counted from 1.
    pub(crate) line: usize,
    pub(crate) name: String,
    pub(crate) settings: Value,
    pub(crate) seed: u32,
    pub(crate) input: Input,
    /// In full, as `expect::in_full` writes it; none where `--update` is to write it.
    pub(crate) expect: Option<Value>,
    /// How far a number may be off.
    pub(crate) tolerance: f64,
}

/// What is put before the plugin.
#[derive(Debug, Clone)]
pub(crate) enum Input {
    Sample(Sample),
    Group(Vec<Sample>),
    Episode { task: Task, actions: Vec<Message> },
    Call(ToolCall),
}

/// What a probe may earn, where that is not the default.
#[derive(Debug)]
pub(crate) struct Rule {
    /// A probe's name, or `*`.
    pub(crate) probe: String,
    /// Only for cases whose settings hold these.
    pub(crate) settings: Value,
    pub(crate) max: Option<f64>,
    /// A kind of fault that is no failure.
    pub(crate) fault: Option<String>,
}

/// What stands in for a model of the run.
#[derive(Debug, Clone)]
pub(crate) struct StandIn {
    pub(crate) name: String,
    pub(crate) score: Option<f64>,
    pub(crate) generate: Option<String>,
}

/// A mistake in a line: where, and what it is.
#[derive(Debug, PartialEq)]
pub(crate) struct Mistake {
    /// With dots, such as `sample.prompt[0].role`; empty for the line as a whole.
    pub(crate) key: String,
    pub(crate) what: String,
}

impl Mistake {
    pub(crate) fn new(key: impl Into<String>, what: impl Into<String>) -> Mistake {
        Mistake { key: key.into(), what: what.into() }
    }

    /// A value of another type than its key wants.
    pub(crate) fn is_no(key: impl Into<String>, value: &Value, wanted: &str) -> Mistake {
        Mistake::new(key, format!("{} is no {wanted}", shown(value)))
    }
}

impl Input {
    /// The key under which a case holds it.
    pub(crate) fn key(&self) -> &'static str {
        match self {
            Input::Sample(_) => "sample",
            Input::Group(_) => "group",
            Input::Episode { .. } => "task",
            Input::Call(_) => "call",
        }
    }

    pub(crate) fn sample(self) -> Option<Sample> {
        if let Input::Sample(sample) = self { Some(sample) } else { None }
    }

    pub(crate) fn group(self) -> Option<Vec<Sample>> {
        if let Input::Group(group) = self { Some(group) } else { None }
    }

    pub(crate) fn episode(self) -> Option<(Task, Vec<Message>)> {
        if let Input::Episode { task, actions } = self { Some((task, actions)) } else { None }
    }

    pub(crate) fn call(self) -> Option<ToolCall> {
        if let Input::Call(call) = self { Some(call) } else { None }
    }
}

impl Case {
    /// Whether it promises an answer rather than a fault, and one that the plugin's rule applies to.
    pub(crate) fn is_judged(&self) -> bool {
        let faults = |step: &Value| step.get("fault").is_some();
        let fails = |expect: &Value| {
            let mut steps = expect.get("steps").and_then(Value::as_array).into_iter().flatten();
            faults(expect) || expect.get("score") == Some(&Value::Null) || steps.any(faults)
        };
        self.expect.as_ref().is_some_and(|expect| !fails(expect))
    }

    pub(crate) fn question(&self) -> Question {
        Question { settings: self.settings.clone(), seed: self.seed, input: self.input.clone() }
    }
}

/// The key under which cases of this kind of plugin hold what is put before it.
fn key_of(world: World) -> &'static str {
    match world {
        World::GroupRewardPlugin => "group",
        World::EnvironmentPlugin => "task",
        World::ToolPlugin => "call",
        _ => "sample",
    }
}

impl Cases {
    /// Reads and checks the whole file.
    pub(crate) fn read(path: &Path) -> Result<Cases> {
        let text = fs::read_to_string(path).with_context(|| {
            format!("cannot read the golden cases {}; see `rewarden plugin test --help`", path.display())
        })?;
        Cases::parse(path, text)
    }

    fn parse(path: &Path, text: String) -> Result<Cases> {
        let mut cases =
            Cases { path: path.to_owned(), text: String::new(), cases: vec![], rules: vec![], models: vec![] };
        let mut mistakes = vec![];
        let mut names: BTreeMap<String, usize> = BTreeMap::new();
        for (index, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
            match parse::line(line) {
                Ok(Line::Case(mut case)) => {
                    case.line = index + 1;
                    if let Some(first) = names.insert(case.name.clone(), case.line) {
                        let what = format!("{:?} is the name of line {first} already", case.name);
                        mistakes.push((case.line, Mistake::new("name", what)));
                    }
                    cases.cases.push(*case);
                }
                Ok(Line::Rule(rule)) => cases.rules.push(rule),
                Ok(Line::Model(model)) => cases.models.push(model),
                Err(mistake) => mistakes.push((index + 1, mistake)),
            }
        }
        cases.text = text;
        refuse(path, &mistakes)?;
        if cases.cases.is_empty() {
            bail!("{} holds no case: a line such as {EXAMPLE}", path.display());
        }
        Ok(cases)
    }

    /// Refuses cases for another kind of plugin.
    pub(crate) fn check_world(&self, world: World) -> Result<()> {
        let wanted = key_of(world);
        let is_other = |case: &&Case| case.input.key() != wanted;
        let mistake = |case: &Case| {
            let what = format!("the plugin is a {world}, and a case for it holds `{wanted}`");
            (case.line, Mistake::new(case.input.key(), what))
        };
        refuse(&self.path, &self.cases.iter().filter(is_other).map(mistake).collect::<Vec<_>>())
    }

    /// Refuses cases that expect nothing yet.
    pub(crate) fn require_expectations(&self) -> Result<()> {
        let mistake = |case: &Case| {
            let what =
                "is missing: write what should come of it, or let `rewarden plugin test --update` write what does";
            (case.line, Mistake::new("expect", what))
        };
        let silent = self.cases.iter().filter(|case| case.expect.is_none());
        refuse(&self.path, &silent.map(mistake).collect::<Vec<_>>())
    }

    /// The expectation of a line as the author wrote it.
    pub(crate) fn written(&self, line: usize) -> Option<Value> {
        let case: Value = serde_json::from_str(self.text.lines().nth(line - 1)?).ok()?;
        case.get("expect").cloned()
    }

    /// Keeps the cases whose names contain this text.
    pub(crate) fn retain(&mut self, part: &str) -> Result<()> {
        let names: Vec<String> = self.cases.iter().map(|case| case.name.clone()).collect();
        self.cases.retain(|case| case.name.contains(part));
        if self.cases.is_empty() {
            let meant = rewarden_train::nearest(part, names.iter().map(String::as_str));
            let hint = meant.map(|name| format!(": did you mean {name:?}?")).unwrap_or_default();
            bail!("no case of {} has {part:?} in its name{hint}", self.path.display());
        }
        Ok(())
    }
}

const EXAMPLE: &str = r#"{"name": "plain", "sample": {"response": "36", "ground_truth": "36"}, "expect": 1.0}"#;

/// A value in a sentence.
fn shown(value: &Value) -> String {
    printable(&value.to_string(), 80)
}

fn refuse(path: &Path, mistakes: &[(usize, Mistake)]) -> Result<()> {
    if mistakes.is_empty() {
        return Ok(());
    }
    let sentence = |(line, mistake): &(usize, Mistake)| match mistake.key.as_str() {
        "" => format!("{}:{line}: {}", path.display(), mistake.what),
        key => format!("{}:{line}: `{key}`: {}", path.display(), mistake.what),
    };
    let mut said: Vec<String> = mistakes.iter().take(SHOWN_MAX).map(sentence).collect();
    if mistakes.len() > SHOWN_MAX {
        said.push(format!("and {} more", mistakes.len() - SHOWN_MAX));
    }
    bail!("{}", said.join("\n"))
}

#[cfg(test)]
mod tests;
