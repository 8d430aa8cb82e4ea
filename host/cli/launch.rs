//! From what was typed to a run that can start: the config resolved, its plugins built and loaded, someone watching.

use std::fs;
use std::process::ExitCode;

use anyhow::{Context, Result};
use rewarden_runtime::{Error, Grader, PluginSpec, Rubric, Runtime};
use rewarden_train::{Existing, Observer, RewardConfig, RunConfig, Stage, Summary};

use crate::args::TrainArgs;
use crate::{plugin, progress, runtime};

/// Resolves the config; prints it and stops when only that was asked, else hands it to `go` with its rewards.
pub(crate) fn launch(
    args: &TrainArgs,
    stages: impl Fn(&RunConfig) -> Vec<Stage>,
    go: impl FnOnce(&RunConfig, Option<&mut Rubric>, Existing, Observer) -> rewarden_train::Result<Summary>,
) -> Result<ExitCode> {
    let text = fs::read_to_string(&args.config).with_context(|| format!("cannot read {}", args.config.display()))?;
    let config = RunConfig::parse(&args.config, &text, &args.set)?;
    if args.dry_run {
        print!("{}", config.to_toml()?);
        return Ok(ExitCode::SUCCESS);
    }
    let stages = stages(&config);
    let mut rubric = if stages.iter().any(|&stage| stage != Stage::Sft) { Some(rubric(&config)?) } else { None };
    let existing = if args.resume { Existing::Resume } else { Existing::SetAside };
    let mut progress = progress::Progress::new();
    let summary = go(&config, rubric.as_mut(), existing, &mut |event| progress.show(event))?;
    progress::summarise(&config, &stages, &summary)?;
    Ok(ExitCode::SUCCESS)
}

/// Every reward of the config: built if it is a folder, loaded, and asked for the right world.
fn rubric(config: &RunConfig) -> Result<Rubric> {
    let runtime = runtime::start(0)?;
    let load = |reward: &RewardConfig| -> Result<Grader> {
        let spec = PluginSpec {
            name: reward.name.clone(),
            settings: serde_json::to_value(&reward.settings)?,
            seed: config.guest_seed(),
            limits: reward.limits.clone(),
            grants: reward.grants.clone(),
            ..PluginSpec::path(plugin::build::ensure_built(&reward.plugin)?)
        };
        Ok(Grader {
            name: reward.name.clone(),
            weight: reward.weight.clone(),
            priority: reward.priority,
            data_source: reward.data_source.clone(),
            on_fault: reward.on_fault,
            reward: loaded(&runtime, &spec)?,
        })
    };
    let named =
        |reward| load(reward).with_context(|| format!("reward `{}` of the config cannot be loaded", reward.name));
    let rewards = config.reward.iter().map(named).collect::<Result<_>>()?;
    Rubric::new(rewards, config.rubric).map_err(Error::into)
}

fn loaded(runtime: &Runtime, spec: &PluginSpec) -> Result<rewarden_runtime::Reward> {
    Ok(runtime::block_on(runtime.load(spec))??.reward()?)
}
