//! From what was typed to a run that can start: the config resolved, its plugins built and loaded, someone watching.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use rewarden_runtime::{Grader, Rubric, Runtime, Scorer};
use rewarden_train::{
    Existing, Observer, Pinned, PluginStore, RewardConfig, Rewards, RunConfig, Stage, Summary, pinned,
    reward_model_graders,
};

use crate::args::TrainArgs;
use crate::watch::Watch;
use crate::{hub, plugin, progress, runtime};

/// Resolves the config; prints it and stops when only that was asked, else hands it to `go` with its rewards.
pub(crate) fn launch(
    args: &TrainArgs,
    watch: bool,
    stages: impl Fn(&RunConfig) -> Vec<Stage>,
    go: impl FnOnce(&RunConfig, Option<&mut Rewards>, Existing, Observer) -> rewarden_train::Result<Summary>,
) -> Result<ExitCode> {
    let text = fs::read_to_string(&args.config).with_context(|| format!("cannot read {}", args.config.display()))?;
    let mut config = RunConfig::parse(&args.config, &text, &args.set)?;
    if args.dry_run {
        out!("{}", config.to_toml()?);
        return Ok(ExitCode::SUCCESS);
    }
    config.model_folder = hub::folder(&config.model_name)?;
    let stages = stages(&config);
    // Looked at before anything is built, so that no change falls between the two.
    let watch = watch.then(|| Watch::look(&config));
    let mut rewards = match stages.iter().any(|stage| stage.asks_rewards()) {
        // A resumed run goes on with the components it had, whatever lies at the config's paths by now.
        true if args.resume => Some(rewards(&config, &pinned(&config, &stages)?)?),
        true => Some(rewards(&config, &Pinned::default())?),
        false => None,
    };
    let _watching = watch.zip(rewards.as_ref()).map(|(watch, rewards)| watch.start(rewards));
    let existing = if args.resume { Existing::Resume } else { Existing::SetAside };
    let mut progress = progress::Progress::new();
    let summary = go(&config, rewards.as_mut(), existing, &mut |event| progress.show(event))?;
    progress::summarise(&config, &stages, &summary)?;
    Ok(ExitCode::SUCCESS)
}

/// Every reward of the config, loaded and asked for the right world: the pinned component, or else what the config
/// names, built if it is a folder.
fn rewards(config: &RunConfig, pinned: &Pinned) -> Result<Rewards> {
    let runtime = runtime::start(0)?;
    let store = PluginStore::of(&config.log_path);
    let mut components = BTreeMap::new();
    let mut load = |reward: &RewardConfig| -> Result<Grader> {
        let component = match pinned.rewards.get(&reward.name) {
            Some(&digest) => store.component(digest)?,
            None => plugin::build::ensure_built(&reward.plugin)?,
        };
        components.insert(reward.name.clone(), component.clone());
        Ok(Grader {
            name: reward.name.clone(),
            weight: reward.weight.clone(),
            priority: reward.priority,
            data_source: reward.data_source.clone(),
            on_fault: reward.on_fault,
            scorer: loaded(&runtime, config, reward, component)?,
        })
    };
    let named =
        |reward| load(reward).with_context(|| format!("reward `{}` of the config cannot be loaded", reward.name));
    let mut graders: Vec<Grader> = config.reward.iter().map(named).collect::<Result<_>>()?;
    graders.extend(reward_model_graders(config));
    let mut rubric = Rubric::new(graders, config.rubric)?;
    for (name, &digest) in &pinned.shadows {
        let shadow = loaded(&runtime, config, config.reward_named(name)?, store.component(digest)?)?;
        rubric.set_shadow(name, Some(shadow))?;
    }
    Ok(Rewards { rubric, runtime, components })
}

/// A component as one of a run's rewards: its settings, limits, grants and seed.
pub(crate) fn loaded(
    runtime: &Runtime,
    config: &RunConfig,
    reward: &RewardConfig,
    component: PathBuf,
) -> Result<Scorer> {
    Ok(runtime::block_on(runtime.load(&config.plugin_spec(reward, component)?))??.scorer()?)
}
