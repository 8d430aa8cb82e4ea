//! `rewarden plugin bench`: what plugins cost, side by side.

mod measure;
mod requests;
mod table;
mod work;

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use indicatif::ProgressBar;
use rewarden_runtime::PluginSpec;
use serde_json::{Value, json};

use crate::args::BenchArgs;
use crate::plugin::build::ensure_built;
use crate::plugin::cases::{Case, Cases};
use crate::plugin::subject::{self, Question, Subject};
use crate::plugin::test::cases_path;
use crate::progress::spinner;
use crate::runtime;
use measure::{Figures, measure};

pub(crate) fn run(args: BenchArgs) -> Result<ExitCode> {
    if !(args.seconds > 0.0 && args.seconds <= 3600.0) {
        bail!("--seconds {} must be above 0 and at most 3600", args.seconds);
    }
    let requests = args.requests.as_deref().map(requests::read).transpose()?;
    let bar = spinner();
    let mut figures = vec![];
    for plugin in &args.plugins {
        let measured = one(plugin, &args, requests.as_deref(), &bar);
        figures.push(measured.with_context(|| format!("{} cannot be measured", plugin.display()))?);
    }
    bar.finish_and_clear();
    match args.json {
        true => outln!("{}", json!({"seconds": args.seconds, "plugins": figures})),
        false => outln!("{}", table::of(&figures)),
    }
    Ok(ExitCode::SUCCESS)
}

fn one(plugin: &Path, args: &BenchArgs, requests: Option<&[Question]>, bar: &ProgressBar) -> Result<Figures> {
    let path = cases_path(plugin, args.cases.as_deref());
    let cases = match requests {
        None if args.cases.is_some() || path.is_file() => Some(Cases::read(&path)?),
        _ => None,
    };
    let component = ensure_built(plugin)?;
    let models = cases.as_ref().map_or(&[][..], |cases| &cases.models);
    let spec = subject::spec(&component, subject::manifest(&component)?.as_ref(), models)?;
    runtime::block_on(async {
        let questions = questions(&spec, cases.as_ref(), requests).await?;
        let spec = PluginSpec { settings: questions[0].settings.clone(), ..spec };
        let name = plugin.file_name().unwrap_or(plugin.as_os_str()).to_string_lossy().into_owned();
        let tick = |phase: &str| bar.set_message(format!("{name}: {phase}"));
        measure(name.clone(), &spec, &questions, Duration::from_secs_f64(args.seconds), args.jobs, &tick).await
    })?
}

/// What the plugin is asked, all under the same settings: those requests, the cases that it answers, or a neutral question.
async fn questions(spec: &PluginSpec, cases: Option<&Cases>, requests: Option<&[Question]>) -> Result<Vec<Question>> {
    let subject = Subject::load(&runtime::start(1)?, spec).await?;
    let world = subject.plugin().world();
    if let Some(requests) = requests {
        return match subject.plugin().reward() {
            Ok(_) => Ok(requests.to_vec()),
            Err(_) => {
                bail!("requests are samples to judge, and the plugin is a {world}: name cases for it with --cases")
            }
        };
    }
    let Some(cases) = cases else { return Ok(vec![subject.neutral().await?]) };
    cases.check_world(world)?;
    let judged: Vec<&Case> = cases.cases.iter().filter(|case| case.is_judged()).collect();
    let none = Value::Object(Default::default());
    let settings = match judged.iter().find(|case| case.settings == none).or(judged.first()) {
        Some(case) => &case.settings,
        None => bail!("{} holds no case that the plugin answers", cases.path.display()),
    };
    Ok(judged.into_iter().filter(|case| case.settings == *settings).map(Case::question).collect())
}
