//! Where a stage gets its first policy: a checkpoint it is told, the stage before it, a model folder, or fresh random
//! weights of the tiny preset.

use std::path::{Path, PathBuf};

use crate::config::{RunConfig, Stage, TINY};
use crate::data::{Dataset, Example};
use crate::error::{Error, Result};
use crate::model::{ModelConfig, Policy};
use crate::renderer::{self, Renderer};
use crate::run_dir::StageDir;
use crate::tokenizer::Tokenizer;

/// Reads a model folder or checkpoint.
pub(crate) fn read(config: &RunConfig, folder: &Path) -> Result<(Policy, Renderer)> {
    if !folder.is_dir() {
        return Err(Error::model(
            folder,
            "no such folder; a model is a folder with config.json, model.safetensors and tokenizer.json",
        ));
    }
    let (policy, tokenizer) = (Policy::read(folder)?, Tokenizer::read(folder)?);
    if tokenizer.vocab_size() > policy.config().vocab_size {
        let message = format!(
            "tokenizer.json has {} tokens, the model only {}: they do not belong together",
            tokenizer.vocab_size(),
            policy.config().vocab_size
        );
        return Err(Error::model(folder, message));
    }
    Ok((policy, Renderer::new(config.renderer_name, tokenizer)))
}

/// The first policy of the supervised stage.
pub(crate) fn supervised(config: &RunConfig, dataset: &Dataset) -> Result<(Policy, Renderer)> {
    match &config.sft.load_checkpoint_path {
        Some(folder) => read(config, folder),
        None => named(config, dataset),
    }
}

/// The first policy of reinforcement learning: what the supervised stage of this run made, if it has one.
pub(crate) fn reinforced(config: &RunConfig, dataset: &Dataset) -> Result<(Policy, Renderer)> {
    match (config.rl.load_checkpoint_path.clone(), finished(config, Stage::Sft)?) {
        (Some(folder), _) | (None, Some(folder)) => read(config, &folder),
        (None, None) if config.stages.contains(&Stage::Sft) => {
            let message = "the supervised stage has no final checkpoint yet; run `rewarden sft` with this config first, or \
                           name a model as `rl.load_checkpoint_path`";
            Err(Error::run_dir(config.log_path.join(Stage::Sft.name()), message))
        }
        (None, None) => named(config, dataset),
    }
}

/// Whether this stage of the run has its final checkpoint.
pub fn is_finished(config: &RunConfig, stage: Stage) -> Result<bool> {
    Ok(finished(config, stage)?.is_some())
}

/// The folder of a stage's final checkpoint, if the stage is finished.
pub(crate) fn finished(config: &RunConfig, stage: Stage) -> Result<Option<PathBuf>> {
    if !config.log_path.join(stage.name()).is_dir() {
        return Ok(None);
    }
    let dir = StageDir::open(&config.log_path, stage)?;
    Ok(dir.latest()?.filter(|checkpoint| checkpoint.is_final).map(|checkpoint| dir.folder(&checkpoint)))
}

/// The model that `model_name` stands for.
pub(crate) fn named(config: &RunConfig, dataset: &Dataset) -> Result<(Policy, Renderer)> {
    if config.model_name != TINY {
        return read(config, Path::new(&config.model_name));
    }
    let conversations = dataset.train.iter().map(Example::messages);
    let texts: Vec<String> =
        conversations.flat_map(|messages| renderer::texts(&messages, config.renderer_name)).collect();
    let tokenizer = Tokenizer::learn(&texts)?;
    let policy = Policy::random(ModelConfig::tiny(tokenizer.vocab_size(), tokenizer.end()), config.seed)?;
    Ok((policy, Renderer::new(config.renderer_name, tokenizer)))
}
