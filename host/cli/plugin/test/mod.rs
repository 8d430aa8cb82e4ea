//! `rewarden plugin test`: an author's golden cases, and what every plugin is put to besides: broken and hostile inputs,
//! and answers that try to be paid for nothing.

pub(crate) mod probes;
pub(crate) mod probing;
mod report;
mod watch;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use indicatif::ProgressBar;
use rewarden_runtime::Runtime;
use serde_json::Value;

use crate::args::TestArgs;
use crate::plugin::build::ensure_built;
use crate::plugin::cases::expect::{Difference, differences, rewritten};
use crate::plugin::cases::{Case, Cases, FILE, edit};
use crate::plugin::ran::Ran;
use crate::plugin::subject::{self, Question, Subject};
use crate::progress::spinner;
use crate::runtime;
use report::{FailedCase, Report};

/// Cases that are asked between two ticks of the bar.
const CHUNK: usize = 64;

pub(crate) fn run(args: TestArgs) -> Result<ExitCode> {
    if args.watch {
        return watch::run(&args);
    }
    // The file first: it is read in a moment, and a build may take minutes.
    let cases = Cases::read(&cases_path(&args.plugin, args.cases.as_deref()))?;
    let component = ensure_built(&args.plugin)?;
    let report = test(&runtime::start(args.jobs)?, &component, cases, &args)?;
    report.print(args.json);
    Ok(if report.passed { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Where the cases of a plugin lie: where that was said, in its folder, or beside its component.
pub(crate) fn cases_path(plugin: &Path, given: Option<&Path>) -> PathBuf {
    match given {
        Some(given) => given.to_owned(),
        None if plugin.is_dir() => plugin.join(FILE),
        None => plugin.with_file_name(FILE),
    }
}

fn test(runtime: &Runtime, component: &Path, mut cases: Cases, args: &TestArgs) -> Result<Report> {
    if let Some(part) = &args.filter {
        cases.retain(part)?;
    }
    if !args.update {
        cases.require_expectations()?;
    }
    let manifest = subject::manifest(component)?;
    let spec = subject::spec(component, manifest.as_ref(), &cases.models)?;
    let bar = spinner();
    let report = runtime::block_on(async {
        let mut subject = Subject::load(runtime, &spec).await?;
        cases.check_world(subject.plugin().world())?;
        let ran = ask_cases(&mut subject, &cases.cases, &bar).await?;
        let failed = failed(&cases.cases, &ran);
        let updated = if args.update { update(&cases, &failed)? } else { vec![] };
        let mut tick = |name: &str| bar.set_message(format!("probe {name}"));
        let probes = match args.filter {
            None => {
                // A case that fails on its own would make every probe of it fail.
                let judged = cases.cases.iter().zip(&ran).filter(|(case, ran)| case.is_judged() && ran.fault.is_none());
                let judged: Vec<&Case> = judged.map(|(case, _)| case).collect();
                probing::probe(&mut subject, &judged, &cases.rules, &mut tick).await?
            }
            Some(_) => vec![],
        };
        anyhow::Ok(Report::new(subject.plugin(), &cases, failed, updated, probes))
    })?;
    bar.finish_and_clear();
    report
}

/// What came of each case.
pub(crate) async fn ask_cases(subject: &mut Subject, cases: &[Case], bar: &ProgressBar) -> Result<Vec<Ran>> {
    let mut ran = vec![];
    for chunk in cases.chunks(CHUNK) {
        let questions: Vec<Question> = chunk.iter().map(Case::question).collect();
        ran.extend(subject.ask(&questions).await?);
        bar.set_message(format!("case {} of {}", ran.len(), cases.len()));
    }
    Ok(ran)
}

/// The cases that came out differently, or expect nothing yet.
pub(crate) fn failed(cases: &[Case], ran: &[Ran]) -> Vec<FailedCase> {
    let failed = |(case, ran): (&Case, &Ran)| {
        let expected = case.expect.clone().unwrap_or(Value::Null);
        let differences = match &case.expect {
            Some(expected) => differences(expected, &ran.got, case.tolerance),
            None => vec![Difference { place: String::new(), expected: Value::Null, got: ran.got.clone() }],
        };
        (!differences.is_empty()).then(|| FailedCase {
            line: case.line,
            name: case.name.clone(),
            expected,
            got: ran.got.clone(),
            differences,
        })
    };
    cases.iter().zip(ran).filter_map(failed).collect()
}

/// Whether an author could mean it: an answer, or a fault in the plugin's own words.
fn is_promise(got: &Value) -> bool {
    match (got, got.get("fault").and_then(Value::as_str)) {
        (_, Some(kind)) => ["invalid-input", "misconfigured", "unavailable", "internal"].contains(&kind),
        (Value::Array(parts), None) => parts.iter().all(is_promise),
        (Value::Object(parts), None) => parts.values().all(is_promise),
        _ => true,
    }
}

/// Writes what the plugin gave into the file, and returns the lines. What the host found wrong (a trap, a limit) is never a
/// promise: who means it writes it by hand.
fn update(cases: &Cases, failed: &[FailedCase]) -> Result<Vec<usize>> {
    let mut new = BTreeMap::new();
    for failed in failed.iter().filter(|failed| is_promise(&failed.got)) {
        let case = cases.cases.iter().find(|case| case.line == failed.line).expect("failed cases are cases");
        new.insert(case.line, rewritten(&case.input, cases.written(case.line).as_ref(), &failed.got));
    }
    if !new.is_empty() {
        let text = edit::with_expectations(&cases.text, &new);
        fs::write(&cases.path, text).with_context(|| format!("cannot write {}", cases.path.display()))?;
    }
    Ok(new.into_keys().collect())
}
