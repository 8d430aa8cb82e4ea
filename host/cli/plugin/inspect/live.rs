//! The part of the page that takes running the plugin.

use std::path::Path;

use anyhow::Result;
use rewarden_runtime::{Manifest, PluginSpec, Wasi};
use serde::Serialize;

use crate::plugin::cases::{Case, Cases};
use crate::plugin::component_file::ComponentFile;
use crate::plugin::ran::Ran;
use crate::plugin::subject::{self, Question, Subject};
use crate::runtime;

/// Cases that are asked for their fuel.
const CASES_MAX: usize = 200;

/// What a plugin that loads shows of itself.
pub(super) struct Live {
    pub(super) described: Manifest,
    pub(super) no_snapshot: Option<String>,
    /// Or why it is not known.
    pub(super) fuel: Result<Fuel, String>,
}

/// Fuel of one question.
#[derive(Debug, Serialize)]
pub(super) struct Fuel {
    pub(super) p50: u64,
    pub(super) most: u64,
    /// What was asked.
    pub(super) of: String,
}

/// Loads it and asks it; the inner error says why it does not load.
pub(super) fn look(file: &ComponentFile, cases: &Path) -> Result<Result<Live, String>> {
    // Cases that cannot be read leave the fuel unknown and the rest of the page as it is.
    let cases = cases.is_file().then(|| Cases::read(cases).map_err(|error| format!("{error:#}")));
    let models = cases.iter().flatten().next().map_or(&[][..], |cases| &cases.models);
    // Looking refuses nothing: a plugin is shown together with what it wants.
    let spec = PluginSpec { wasi: Wasi::Virtual, ..subject::spec(&file.path, file.manifest(), models)? };
    let runtime = runtime::start(0)?;
    runtime::block_on(async {
        let mut subject = match Subject::load(&runtime, &spec).await {
            Ok(subject) => subject,
            Err(error) => return Ok(Err(error.to_string())),
        };
        let fuel = match &cases {
            Some(Err(reason)) => Err(reason.clone()),
            Some(Ok(cases)) => of_cases(&mut subject, cases).await?,
            None => of_neutral(&mut subject).await?,
        };
        let plugin = subject.plugin();
        let no_snapshot = plugin.no_snapshot().map(str::to_owned);
        Ok(Ok(Live { described: plugin.manifest().clone(), no_snapshot, fuel }))
    })?
}

async fn of_cases(subject: &mut Subject, cases: &Cases) -> Result<Result<Fuel, String>> {
    if let Err(error) = cases.check_world(subject.plugin().world()) {
        return Ok(Err(error.to_string()));
    }
    let questions: Vec<Question> = cases.cases.iter().take(CASES_MAX).map(Case::question).collect();
    fuel(subject, &questions, format!("{} cases", questions.len())).await
}

async fn of_neutral(subject: &mut Subject) -> Result<Result<Fuel, String>> {
    let neutral = subject.neutral().await?;
    fuel(subject, &[neutral], "one neutral question".into()).await
}

async fn fuel(subject: &mut Subject, questions: &[Question], of: String) -> Result<Result<Fuel, String>> {
    let ran = subject.ask(questions).await?;
    // What it took until a fault is not what an answer takes.
    let mut fuel: Vec<u64> = ran.iter().filter(|ran| ran.fault.is_none()).map(Ran::fuel).collect();
    fuel.sort_unstable();
    Ok(match (fuel.last(), ran.iter().find_map(|ran| ran.fault.as_ref())) {
        (Some(&most), _) => Ok(Fuel { p50: fuel[(fuel.len() - 1) / 2], most, of }),
        (None, Some(fault)) => Err(format!("{of}, and {}: {fault}", fault.kind())),
        (None, None) => Err("nothing was asked".into()),
    })
}
