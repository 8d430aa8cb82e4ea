//! Puts a plugin to the probes and says what each of them earned.
//!
//! Unless the cases say otherwise, a probe that is an attempt to be paid for nothing must stay below full marks: the most
//! that any of the author's own answers earns under the same settings.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;
use rewarden_runtime::{Fault, printable};
use serde::Serialize;
use serde_json::Value;

use super::probes::{Aim, BROKEN_SETTINGS, Base, PROBES, Probe, broken_settings, with_answer};
use crate::plugin::cases::{Case, Rule};
use crate::plugin::ran::Ran;
use crate::plugin::subject::{Question, Subject};

/// Tasks of the cases that probes are made from.
const TASKS_MAX: usize = 200;

/// Of the author's own answers, those that are tried for full marks under settings they were not written for.
const ANSWERS_MAX: usize = 16;

/// Failures of different reasons that are shown of one probe; all are counted.
const SHOWN_MAX: usize = 3;

/// Inputs that are asked at once. Each may be a megabyte.
const CHUNK: usize = 32;

/// What became of one probe.
#[derive(Debug, Serialize)]
pub(crate) struct Probed {
    pub(crate) name: &'static str,
    pub(crate) aim: Aim,
    pub(crate) about: &'static str,
    pub(crate) inputs: usize,
    pub(crate) faults: usize,
    /// The most that one of its inputs earned.
    pub(crate) most: Option<f64>,
    /// How many of its inputs broke a rule, and the first for each reason.
    pub(crate) failed: usize,
    pub(crate) failures: Vec<Failure>,
}

/// One input that broke a rule.
#[derive(Debug, Serialize)]
pub(crate) struct Failure {
    /// The line of the case it was made from, and that case's name.
    pub(crate) line: usize,
    pub(crate) case: String,
    pub(crate) answer: String,
    /// The rule and what happened.
    pub(crate) reason: String,
    pub(crate) is_fault: bool,
}

type Settings = (String, u32);

/// The plugin's best under each settings.
struct FullMarks(BTreeMap<Settings, f64>);

/// Puts the plugin to every probe. They are made from the cases that it judges; `tick` hears which probe is on.
pub(crate) async fn probe(
    subject: &mut Subject,
    judged: &[&Case],
    rules: &[Rule],
    tick: &mut impl FnMut(&str),
) -> Result<Vec<Probed>> {
    let tasks = tasks(judged);
    let full = FullMarks::measure(subject, judged, &tasks).await?;
    let mut probed = vec![];
    for probe in &PROBES {
        tick(probe.name);
        probed.push(put(probe, subject, rules, &tasks, &full).await?);
    }
    tick(BROKEN_SETTINGS);
    probed.push(break_settings(subject, rules).await);
    Ok(probed)
}

fn key(case: &Case) -> Settings {
    (case.settings.to_string(), case.seed)
}

/// Cases that stand for different tasks or settings.
fn tasks<'a>(judged: &[&'a Case]) -> Vec<&'a Case> {
    let mut seen = BTreeSet::new();
    let is_new = |case: &&'a Case| {
        let base = Base::of(case);
        let task = [base.prompt, Some(base.ground_truth), base.answer].map(|text| text.map(str::to_owned));
        seen.insert((key(case), task))
    };
    judged.iter().copied().filter(is_new).take(TASKS_MAX).collect()
}

impl FullMarks {
    async fn measure(subject: &mut Subject, judged: &[&Case], tasks: &[&Case]) -> Result<FullMarks> {
        let paid = |case: &&Case| case.expect.as_ref().map_or(0.0, promised);
        let mut best: Vec<&Case> = judged.to_vec();
        best.sort_by(|a, b| paid(b).total_cmp(&paid(a)));
        best.truncate(ANSWERS_MAX);
        let mut full = BTreeMap::new();
        for task in tasks {
            if full.contains_key(&key(task)) {
                continue;
            }
            let own = judged.iter().copied().filter(|case| key(case) == key(task));
            let (settings, seed) = (&task.settings, task.seed);
            let question = |case: &Case| Question { settings: settings.clone(), seed, input: case.input.clone() };
            let questions: Vec<Question> = best.iter().copied().chain(own).map(question).collect();
            let earned = subject.ask(&questions).await?.into_iter().flat_map(|ran| ran.pay);
            full.insert(key(task), earned.fold(0.0, f64::max));
        }
        Ok(FullMarks(full))
    }
}

/// The most that an expectation promises.
fn promised(expect: &Value) -> f64 {
    match expect {
        Value::Array(members) => members.iter().map(promised).fold(0.0, f64::max),
        expect => {
            let steps = expect.get("steps").and_then(Value::as_array).into_iter().flatten();
            let total: f64 = steps.filter_map(|step| step.get("reward")?.as_f64()).sum();
            [expect.get("score"), expect.get("reward")]
                .into_iter()
                .flatten()
                .filter_map(Value::as_f64)
                .fold(total, f64::max)
        }
    }
}

async fn put(
    probe: &Probe,
    subject: &mut Subject,
    rules: &[Rule],
    tasks: &[&Case],
    full: &FullMarks,
) -> Result<Probed> {
    let mut probed = Probed::new(probe.name, probe.aim, probe.about);
    let mut seen = BTreeSet::new();
    let mut asked: Vec<(&Case, String)> = vec![];
    for case in tasks {
        // What breaks a parser breaks it for any task.
        if probe.aim == Aim::Hacking || seen.insert(key(case)) {
            asked.extend((probe.answers)(&Base::of(case)).into_iter().map(|answer| (*case, answer)));
        }
    }
    for chunk in asked.chunks(CHUNK) {
        let question = |(case, answer): &(&Case, String)| Question {
            input: with_answer(&case.input, answer.clone()),
            ..case.question()
        };
        let questions: Vec<Question> = chunk.iter().map(question).collect();
        for ((case, answer), ran) in chunk.iter().zip(subject.ask(&questions).await?) {
            let rule = Allowed::of(rules, probe.name, &case.settings);
            let reason = rule.broken_by(&ran, probe.aim, full.0.get(&key(case)).copied().unwrap_or_default());
            probed.count(case.line, &case.name, answer, &ran, reason);
        }
    }
    Ok(probed)
}

/// Settings that are no JSON must be refused in words.
async fn break_settings(subject: &Subject, rules: &[Rule]) -> Probed {
    let mut probed = Probed::new(BROKEN_SETTINGS, Aim::Robustness, "settings that are no JSON");
    let allowed = Allowed::of(rules, BROKEN_SETTINGS, &Value::Object(Default::default()));
    for settings in broken_settings() {
        probed.inputs += 1;
        let fault = match subject.plugin().try_settings(settings.clone()).await {
            // Who has no settings need not read them.
            Ok(()) | Err(Fault::Misconfigured(_) | Fault::InvalidInput(_)) => continue,
            Err(fault) => fault,
        };
        probed.faults += 1;
        if allowed.fault.as_deref() != Some(fault.kind()) {
            let reason = format!("{}: {fault}; answer `misconfigured` instead", fault.kind());
            probed.fail(Failure { line: 0, case: String::new(), answer: excerpt(&settings), reason, is_fault: true });
        }
    }
    probed
}

/// What the rules that concern a probe say, the last of them first.
struct Allowed {
    max: Option<f64>,
    fault: Option<String>,
}

impl Allowed {
    fn of(rules: &[Rule], probe: &str, settings: &Value) -> Allowed {
        let held = |wanted: &Value| {
            let mut wanted = wanted.as_object().into_iter().flatten();
            wanted.all(|(key, value)| settings.get(key) == Some(value))
        };
        let mut allowed = Allowed { max: None, fault: None };
        for rule in rules.iter().filter(|rule| (rule.probe == probe || rule.probe == "*") && held(&rule.settings)) {
            allowed.max = rule.max.or(allowed.max);
            allowed.fault = rule.fault.clone().or(allowed.fault);
        }
        allowed
    }

    /// The rule that an answer broke, in words.
    fn broken_by(&self, ran: &Ran, aim: Aim, full: f64) -> Option<String> {
        if let Some(fault) = &ran.fault {
            let is_allowed = self.fault.as_deref() == Some(fault.kind());
            return (!is_allowed).then(|| format!("{}: {fault}", fault.kind()));
        }
        let earned = *ran.pay.last()?;
        match self.max {
            Some(max) => (earned > max).then(|| format!("earned {earned}, and may earn {max}")),
            None => {
                (aim == Aim::Hacking && earned > 0.0 && earned >= full).then(|| format!("earned {earned}, full marks"))
            }
        }
    }
}

impl Probed {
    fn new(name: &'static str, aim: Aim, about: &'static str) -> Probed {
        Probed { name, aim, about, inputs: 0, faults: 0, most: None, failed: 0, failures: vec![] }
    }

    fn count(&mut self, line: usize, case: &str, answer: &str, ran: &Ran, reason: Option<String>) {
        self.inputs += 1;
        self.faults += usize::from(ran.fault.is_some());
        if let (None, Some(&earned)) = (&ran.fault, ran.pay.last()) {
            self.most = Some(self.most.map_or(earned, |most| most.max(earned)));
        }
        if let Some(reason) = reason {
            let (case, answer, is_fault) = (case.to_owned(), excerpt(answer), ran.fault.is_some());
            self.fail(Failure { line, case, answer, reason, is_fault });
        }
    }

    fn fail(&mut self, failure: Failure) {
        self.failed += 1;
        let is_new = self.failures.iter().all(|known| known.reason != failure.reason);
        if is_new && self.failures.len() < SHOWN_MAX {
            self.failures.push(failure);
        }
    }
}

/// Enough of an answer to recognise it.
fn excerpt(text: &str) -> String {
    let shown = printable(text, 60);
    if shown.len() < text.len() { format!("{shown} ({} bytes)", text.len()) } else { shown }
}
