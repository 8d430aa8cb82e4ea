//! Whether a run can end well, as far as that shows before its first stage: the folders that later stages start from or are
//! held to, tasks to be examined on, and prompts that leave room for an answer. A stage checks the same when it starts; that
//! may be hours later.

use std::path::Path;

use crate::config::{RunConfig, Stage};
use crate::error::{Error, Result};
use crate::eval::Exam;
use crate::material::Material;
use crate::rollout::check_lengths;
use crate::run::Existing;
use crate::start;

/// What these stages learn from, when all is there that they need. The data of all stages of `read` is read beside.
pub(crate) fn ready(config: &RunConfig, read: &[Stage], stages: &[Stage], existing: Existing) -> Result<Material> {
    let mut left = vec![];
    for &stage in stages {
        let is_done = existing == Existing::Resume && stage != Stage::Eval && start::finished(config, stage)?.is_some();
        left.extend((!is_done).then_some(stage));
    }
    check_folders(config, stages, &left)?;
    let material = Material::load(config, read, stages)?;
    if left.contains(&Stage::Eval) {
        Exam::prepare(config, &material)?.ok_or_else(Exam::no_tasks)?;
    }
    // A stage by itself, or the first one, finds out soon enough.
    for &stage in left.iter().skip(1) {
        check_prompts(config, &material, stages, stage)?;
    }
    Ok(material)
}

/// Refuses folders of models that are not there and that no earlier stage will have made.
fn check_folders(config: &RunConfig, stages: &[Stage], left: &[Stage]) -> Result<()> {
    for (place, &stage) in stages.iter().enumerate().filter(|(_, stage)| left.contains(stage)) {
        let will_be =
            |folder: &Path| stages[..place].iter().any(|made| is_below(folder, &config.log_path.join(made.name())));
        for (key, folder) in folders(config, stage) {
            if !folder.is_dir() && !will_be(folder) {
                let message = format!(
                    "no such folder: {}; a model is a folder with config.json, model.safetensors and tokenizer.json",
                    folder.display()
                );
                return Err(Error::config(key, message));
            }
        }
    }
    Ok(())
}

/// The folders of models that a stage reads because its config names them.
fn folders(config: &RunConfig, stage: Stage) -> Vec<(String, &Path)> {
    // Where a plugin takes the place of a reward model, the run goes on without.
    let own = config.load_checkpoint_path(stage).filter(|_| !config.can_do_without(stage));
    let reference = match stage {
        Stage::Dpo => config.dpo.reference.as_deref().map(|folder| ("dpo.reference", folder)),
        Stage::Rl if config.rl.kl_penalty_coef != 0.0 => {
            config.rl.kl_reference.as_deref().map(|folder| ("rl.kl_reference", folder))
        }
        _ => None,
    };
    let judges = config.reward_model.iter().filter(|model| stage.asks_rewards() && model.fallback.is_none());
    let judges = judges.filter_map(|model| Some((format!("reward_model.{}.path", model.name), model.path.as_deref()?)));
    let own = own.map(|folder| (format!("{}.load_checkpoint_path", stage.name()), folder));
    own.into_iter().chain(reference.map(|(key, folder)| (key.to_owned(), folder))).chain(judges).collect()
}

fn is_below(path: &Path, folder: &Path) -> bool {
    let whole = |path: &Path| std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    whole(path).starts_with(whole(folder))
}

/// Refuses tasks that the model of a later stage would have no room to answer.
fn check_prompts(config: &RunConfig, material: &Material, stages: &[Stage], stage: Stage) -> Result<()> {
    if !stage.asks_rewards() {
        return Ok(());
    }
    let Some((shape, renderer)) = start::outline(config, material, stages, stage)? else { return Ok(()) };
    if stage == Stage::Rl {
        let tasks = material.examples()?.train.iter().map(|example| &example.task);
        check_lengths(&shape, &renderer, tasks, config.rl.max_tokens)?;
    }
    match Exam::prepare(config, material)? {
        Some(exam) if stage == Stage::Eval || config.rl.eval_every != 0 => exam.check_lengths(&shape, &renderer),
        _ => Ok(()),
    }
}
