//! A whole run: the stages a config names, in order, each starting from what the one before it made.

use rewarden_runtime::{Rubric, Runtime};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::config::{RunConfig, Stage};
use crate::dpo::dpo;
use crate::error::{Error, Result};
use crate::eval::{Evaluation, eval};
use crate::live::Live;
use crate::material::Material;
use crate::observe::{Event, Observer};
use crate::plugin_store::{self, PluginStore};
use crate::prm::prm;
use crate::ready::ready;
use crate::reward_model::{self, FAILED};
use crate::rl::rl;
use crate::run_dir::{self, StageDir};
use crate::sft::sft;
use crate::start;
use crate::swap;

/// What a run came to; `summary.json`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// The run's seed.
    pub seed: u64,
    /// Seconds of each stage.
    pub seconds: BTreeMap<String, f64>,
    /// Results by the stage whose model was evaluated.
    pub eval: BTreeMap<String, Evaluation>,
    /// Stages that failed and were gone on without, with the reason.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub failed: BTreeMap<String, String>,
    /// Digest of each reward's component, at the end.
    pub plugins: BTreeMap<String, rewarden_runtime::Digest>,
}

/// The rewards of a run, and what it takes to replace one while it goes on.
pub struct Rewards {
    /// What grades the rollouts.
    pub rubric: Rubric,
    /// What loads another component.
    pub runtime: Runtime,
    /// The file each reward was loaded from; the run keeps a copy.
    pub components: BTreeMap<String, PathBuf>,
}

impl Rewards {
    /// Copies every component in use into the run's store.
    fn keep(&self, run: &Path) -> Result<()> {
        let store = PluginStore::of(run);
        for (name, digest) in self.rubric.digests() {
            if let Some(component) = self.components.get(&name) {
                store.keep(component, digest)?;
            }
        }
        Ok(())
    }
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
    mut rewards: Option<&mut Rewards>,
    existing: Existing,
    observe: Observer,
) -> Result<Summary> {
    let mut material = ready(config, &config.stages, &config.stages, existing)?;
    material.skipped().for_each(|skipped| observe(Event::RowsSkipped { skipped }));
    let run = &config.log_path;
    Live::refuse(run)?;
    match existing {
        Existing::SetAside => {
            if let Some(path) = run_dir::start_run(run, &config.to_toml()?)? {
                observe(Event::SetAside { path });
            }
        }
        Existing::Resume => check_same(config)?,
    }
    let _live = begin(config, rewards.as_deref(), existing)?;
    let mut summary = Summary { seed: config.seed, ..Summary::default() };
    for &stage in &config.stages {
        run_stage(config, &mut material, rewards.as_deref_mut(), (stage, existing), &mut summary, observe)?;
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
    rewards: Option<&mut Rewards>,
    stage: Stage,
    existing: Existing,
    observe: Observer,
) -> Result<Summary> {
    // What trains takes all the run's data, not only its own: the tiny preset learns its tokens from it.
    let others = config.stages.iter().filter(|_| stage != Stage::Eval);
    let stages: Vec<Stage> = others.copied().chain([stage]).collect();
    let mut material = ready(config, &stages, &[stage], existing)?;
    material.skipped().for_each(|skipped| observe(Event::RowsSkipped { skipped }));
    Live::refuse(&config.log_path)?;
    match existing {
        Existing::SetAside => {
            run_dir::check_ours(&config.log_path)?;
            swap::drop_pending(&config.log_path);
            if let Some(path) = run_dir::start_stage(&config.log_path, stage)? {
                observe(Event::SetAside { path });
            }
            run_dir::write_config(&config.log_path, &config.to_toml()?)?;
        }
        Existing::Resume => check_same(config)?,
    }
    let _live = begin(config, rewards.as_deref(), existing)?;
    let mut summary = Summary { seed: config.seed, ..Summary::default() };
    run_stage(config, &mut material, rewards, (stage, existing), &mut summary, observe)?;
    Ok(summary)
}

/// Takes the directory's lock and keeps the components; a new run pins them.
fn begin(config: &RunConfig, rewards: Option<&Rewards>, existing: Existing) -> Result<Live> {
    let live = Live::hold(&config.log_path)?;
    if let Some(rewards) = rewards {
        rewards.keep(&config.log_path)?;
        pin(&config.log_path, config, rewards, existing)?;
    }
    Ok(live)
}

/// Writes `plugins.lock`, which a resumed run finds and leaves alone.
fn pin(folder: &Path, config: &RunConfig, rewards: &Rewards, existing: Existing) -> Result<()> {
    match existing == Existing::Resume && plugin_store::has_lock(folder) {
        true => Ok(()),
        false => plugin_store::write_lock(folder, config, &rewards.rubric.digests()),
    }
}

fn run_stage(
    config: &RunConfig,
    material: &mut Material,
    mut rewards: Option<&mut Rewards>,
    (stage, existing): (Stage, Existing),
    summary: &mut Summary,
    observe: Observer,
) -> Result<()> {
    let folder = config.log_path.join(stage.name());
    // Stages may be run one by one with different settings: each folder says with which.
    let remember = |rewards: Option<&Rewards>| {
        run_dir::write_config(&folder, &config.to_toml()?)?;
        rewards.map_or(Ok(()), |rewards| pin(&folder, config, rewards, existing))
    };
    let missing = || Error::config("reward", "this stage needs at least one [[reward]]");
    let seconds = match (stage, start::finished(config, stage)?) {
        (Stage::Sft | Stage::Prm | Stage::Dpo | Stage::Rl, Some(_)) => {
            observe(Event::StageSkipped { stage });
            StageDir::open(&config.log_path, stage)?.latest()?.map_or(0.0, |checkpoint| checkpoint.seconds)
        }
        (Stage::Sft, None) => {
            remember(None)?;
            sft(config, material, observe)?
        }
        (Stage::Prm, None) => {
            remember(None)?;
            match prm_or_fallback(config, material, existing, observe)? {
                Ok(seconds) => seconds,
                Err(reason) => {
                    observe(Event::StageFailed { stage, reason: &reason });
                    summary.failed.insert(stage.name().to_owned(), reason);
                    return Ok(());
                }
            }
        }
        (Stage::Dpo, None) => {
            remember(None)?;
            dpo(config, material, observe)?
        }
        (Stage::Rl, None) => {
            let rewards = rewards.as_deref_mut().ok_or_else(missing)?;
            reward_model::seat(config, rewards, observe)?;
            remember(Some(rewards))?;
            rl(config, material, rewards, observe)?
        }
        (Stage::Eval, _) => {
            let _ = run_dir::start_stage(&config.log_path, Stage::Eval)?;
            let rewards = rewards.as_deref_mut().ok_or_else(missing)?;
            reward_model::seat(config, rewards, observe)?;
            remember(Some(rewards))?;
            let (results, seconds) = eval(config, material, &mut rewards.rubric, observe)?;
            summary.eval = results;
            seconds
        }
    };
    summary.seconds.insert(stage.name().to_owned(), seconds);
    summary.plugins = rewards.map(|rewards| rewards.rubric.digests()).unwrap_or_default();
    Ok(())
}

/// Trains the reward model. Where the run can do without, its failure is kept, and a run that went on after it does not try
/// again: rewards must not change their source on the way. A full disk is no such failure: the run stops, to be resumed.
fn prm_or_fallback(
    config: &RunConfig,
    material: &mut Material,
    existing: Existing,
    observe: Observer,
) -> Result<std::result::Result<f64, String>> {
    let folder = config.log_path.join(Stage::Prm.name());
    let has_gone_on = existing == Existing::Resume && config.log_path.join(Stage::Rl.name()).is_dir();
    if let Some(reason) = reward_model::failure(config).filter(|_| has_gone_on) {
        return Ok(Err(reason));
    }
    let file = folder.join(FAILED);
    let _ = std::fs::remove_file(&file); // of an earlier attempt
    match prm(config, material, observe) {
        Err(error) if config.can_do_without(Stage::Prm) && !error.is_of_the_machine() => {
            let reason = error.to_string();
            std::fs::write(&file, &reason).map_err(Error::io("write", &file))?;
            Ok(Err(reason))
        }
        result => result.map(Ok),
    }
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
