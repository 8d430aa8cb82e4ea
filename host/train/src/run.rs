//! A whole run: the stages a config names, in order, each starting from what the one before it made.

use rewarden_runtime::Rubric;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

use crate::config::{RunConfig, Stage};
use crate::data::Dataset;
use crate::error::{Error, Result};
use crate::eval::{Evaluation, eval};
use crate::observe::{Event, Observer};
use crate::rl::rl;
use crate::run_dir::{self, StageDir};
use crate::sft::sft;
use crate::start;

/// What a run came to; `summary.json`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// The run's seed.
    pub seed: u64,
    /// Seconds of each stage.
    pub seconds: BTreeMap<String, f64>,
    /// Results by the stage whose model was evaluated.
    pub eval: BTreeMap<String, Evaluation>,
    /// Digest of each reward's component at the end.
    pub plugins: BTreeMap<String, rewarden_runtime::Digest>,
}

/// What to do with a run directory that is already there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Existing {
    /// Set it aside and start anew.
    SetAside,
    /// Go on where it stopped; finished stages are skipped.
    Resume,
}

/// Runs every stage of the config and writes `summary.json`.
pub fn run(
    config: &RunConfig,
    mut rubric: Option<&mut Rubric>,
    existing: Existing,
    observe: Observer,
) -> Result<Summary> {
    let dataset = Dataset::load(&config.data, config.seed)?;
    match existing {
        Existing::SetAside => {
            if let Some(path) = run_dir::start_run(&config.log_path, &config.to_toml()?)? {
                observe(Event::SetAside { path });
            }
        }
        Existing::Resume => check_same(config)?,
    }
    let mut summary = Summary { seed: config.seed, ..Summary::default() };
    for &stage in &config.stages {
        run_stage(config, &dataset, rubric.as_deref_mut(), stage, &mut summary, observe)?;
    }
    let file = config.log_path.join(SUMMARY);
    let text = serde_json::to_string_pretty(&summary).map_err(|e| Error::run_dir(&file, e.to_string()))?;
    std::fs::write(&file, text + "\n").map_err(Error::io("write", &file))?;
    Ok(summary)
}

/// File with the [`Summary`].
pub const SUMMARY: &str = "summary.json";

/// Runs one stage by itself, in the directory of its run.
pub fn stage(
    config: &RunConfig,
    rubric: Option<&mut Rubric>,
    stage: Stage,
    existing: Existing,
    observe: Observer,
) -> Result<Summary> {
    let dataset = Dataset::load(&config.data, config.seed)?;
    match existing {
        Existing::SetAside => {
            run_dir::check_ours(&config.log_path)?;
            if let Some(path) = run_dir::start_stage(&config.log_path, stage)? {
                observe(Event::SetAside { path });
            }
            run_dir::write_config(&config.log_path, &config.to_toml()?)?;
        }
        Existing::Resume => check_same(config)?,
    }
    let mut summary = Summary { seed: config.seed, ..Summary::default() };
    run_stage(config, &dataset, rubric, stage, &mut summary, observe)?;
    Ok(summary)
}

fn run_stage(
    config: &RunConfig,
    dataset: &Dataset,
    mut rubric: Option<&mut Rubric>,
    stage: Stage,
    summary: &mut Summary,
    observe: Observer,
) -> Result<()> {
    let no_rubric = || Error::config("reward", "this stage needs at least one [[reward]]");
    // Stages may be run one by one with different settings: each folder says with which.
    let remember = || run_dir::write_config(&config.log_path.join(stage.name()), &config.to_toml()?);
    let seconds = match (stage, start::finished(config, stage)?) {
        (Stage::Sft | Stage::Rl, Some(_)) => {
            observe(Event::StageSkipped { stage });
            StageDir::open(&config.log_path, stage)?.latest()?.map_or(0.0, |checkpoint| checkpoint.seconds)
        }
        (Stage::Sft, None) => {
            remember()?;
            sft(config, dataset, observe)?
        }
        (Stage::Rl, None) => {
            remember()?;
            rl(config, dataset, rubric.as_deref_mut().ok_or_else(no_rubric)?, observe)?
        }
        (Stage::Eval, _) => {
            let _ = run_dir::start_stage(&config.log_path, Stage::Eval)?;
            remember()?;
            let (results, seconds) = eval(config, dataset, rubric.as_deref_mut().ok_or_else(no_rubric)?, observe)?;
            summary.eval = results;
            seconds
        }
    };
    summary.seconds.insert(stage.name().to_owned(), seconds);
    summary.plugins = rubric.map(|rubric| rubric.digests()).unwrap_or_default();
    Ok(())
}

/// A resumed run must be the run that was started: its config is compared with the one in the directory.
fn check_same(config: &RunConfig) -> Result<()> {
    let Some(stored) = run_dir::read_config(&config.log_path)? else {
        return run_dir::write_config(&config.log_path, &config.to_toml()?);
    };
    let resolved = config.to_toml()?;
    let differing = stored.lines().zip(resolved.lines()).find(|(stored, resolved)| stored != resolved);
    match differing {
        None if stored == resolved => Ok(()),
        None => Err(Error::run_dir(&config.log_path, "its config.toml has other keys than this config")),
        Some((stored, resolved)) => Err(Error::run_dir(
            &config.log_path,
            format!(
                "it was started with `{stored}`, this config says `{resolved}`; resume with the config it was started \
                 with ({}/config.toml), or choose another `log_path`",
                config.log_path.display()
            ),
        )),
    }
}
