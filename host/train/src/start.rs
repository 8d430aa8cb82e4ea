//! Where a stage gets its first policy: a checkpoint it is told, the stage before it, a model folder, or fresh random
//! weights of the tiny preset; and whether adapters are put on it.

use std::path::{Path, PathBuf};

use crate::config::{RunConfig, Stage, TINY};
use crate::data::{Dataset, Example};
use crate::error::{Error, Result};
use crate::model::lora::{self, ADAPTER_CONFIG};
use crate::model::{Family, ModelConfig, Policy, TokenIds};
use crate::renderer::{self, Renderer, RendererName};
use crate::run_dir::StageDir;
use crate::tokenizer::{IM_END, TOKENIZER, Tokenizer};

/// A model without its tokenizer is none.
type Model = (Policy, Renderer);

/// Reads a model folder, an adapter with the model it belongs to, or a checkpoint, which is either.
pub(crate) fn read(config: &RunConfig, folder: &Path) -> Result<Model> {
    if !folder.is_dir() {
        return Err(Error::model(
            folder,
            "no such folder; a model is a folder with config.json, model.safetensors and tokenizer.json",
        ));
    }
    let adapter = folder.join(ADAPTER_CONFIG).is_file();
    let base = if adapter { base(config, folder)? } else { folder.to_owned() };
    let mut policy = Policy::read(&base)?;
    if adapter {
        policy = policy.with_adapter(folder)?;
    }
    // PEFT leaves the tokenizer with the model, runs of ours and many trainers save it with the adapter too.
    let tokens = if folder.join(TOKENIZER).is_file() { folder } else { &base };
    let mut tokenizer = Tokenizer::read(tokens)?;
    tokenizer.stop_at(policy.config().eos_token_id.as_ref().map_or(&[], TokenIds::ids));
    if tokenizer.vocab_size() > policy.config().vocab_size {
        let message = format!(
            "tokenizer.json has {} tokens, the model only {}: they do not belong together",
            tokenizer.vocab_size(),
            policy.config().vocab_size
        );
        return Err(Error::model(folder, message));
    }
    let name = config.renderer_name.unwrap_or(match policy.config().model_type {
        Family::Qwen3 => RendererName::Qwen3,
        Family::Qwen2 | Family::Llama => RendererName::ChatTemplate,
    });
    Ok((policy, Renderer::new(name, tokenizer)?))
}

/// The folder of the model that an adapter belongs to.
fn base(config: &RunConfig, adapter: &Path) -> Result<PathBuf> {
    let name = lora::base_of(adapter)?;
    let folder = if name == config.model_name { config.model_path() } else { Path::new(&name) };
    if folder.join(ADAPTER_CONFIG).is_file() {
        return Err(Error::model(adapter, format!("is an adapter of an adapter, {name}; merge that one first")));
    }
    match folder.is_dir() {
        true => Ok(folder.to_owned()),
        false => Err(Error::model(
            adapter,
            format!(
                "belongs to the model `{name}`, which is no folder here; name a model of the hub as `model_name`, or \
                 correct `base_model_name_or_path` in its {ADAPTER_CONFIG}"
            ),
        )),
    }
}

/// The first policy of the supervised stage.
pub(crate) fn supervised(config: &RunConfig, dataset: &Dataset) -> Result<Model> {
    match &config.sft.load_checkpoint_path {
        Some(folder) => trained(config, read(config, folder)?, folder),
        None => fresh(config, dataset, Stage::Sft),
    }
}

/// The first policy of reinforcement learning: what the supervised stage of this run made, if it has one.
pub(crate) fn reinforced(config: &RunConfig, dataset: &Dataset) -> Result<Model> {
    match (config.rl.load_checkpoint_path.clone(), finished(config, Stage::Sft)?) {
        (Some(folder), _) | (None, Some(folder)) => trained(config, read(config, &folder)?, &folder),
        (None, None) if config.stages.contains(&Stage::Sft) => {
            let message = "the supervised stage has no final checkpoint yet; run `rewarden sft` with this config first, or \
                           name a model as `rl.load_checkpoint_path`";
            Err(Error::run_dir(config.log_path.join(Stage::Sft.name()), message))
        }
        (None, None) => fresh(config, dataset, Stage::Rl),
    }
}

/// The reference that reinforcement learning of a model of this shape is held to: what it started from, unless the config
/// names another.
pub(crate) fn reference(config: &RunConfig, dataset: &Dataset, shape: &ModelConfig) -> Result<Policy> {
    let Some(folder) = &config.rl.kl_reference else { return Ok(reinforced(config, dataset)?.0) };
    let (policy, _) = read(config, folder)?;
    match policy.config().vocab_size == shape.vocab_size {
        true => Ok(policy),
        false => {
            let (ours, theirs) = (shape.vocab_size, policy.config().vocab_size);
            let message = format!("as `rl.kl_reference` it must share the policy's {ours} tokens; it has {theirs}");
            Err(Error::model(folder, message))
        }
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
pub(crate) fn named(config: &RunConfig, dataset: &Dataset) -> Result<Model> {
    if config.model_name != TINY {
        return read(config, config.model_path());
    }
    let name = config.renderer_name.unwrap_or(RendererName::Qwen3);
    let conversations = dataset.train.iter().map(Example::messages);
    let texts: Vec<String> = conversations.flat_map(|messages| renderer::texts(&messages, name)).collect();
    let tokenizer = Tokenizer::learn(&texts)?;
    let shape = ModelConfig::tiny(tokenizer.vocab_size(), tokenizer.id(IM_END).unwrap_or_default());
    let policy = Policy::random(shape, config.seed)?;
    Ok((policy, Renderer::new(name, tokenizer)?))
}

/// The model that `model_name` stands for, as `stage` trains it.
fn fresh(config: &RunConfig, dataset: &Dataset, stage: Stage) -> Result<Model> {
    let (policy, renderer) = named(config, dataset)?;
    if config.model_name != TINY {
        return trained(config, (policy, renderer), Path::new(&config.model_name));
    }
    // An adapter is worth nothing without its model, and nobody else has this one.
    let folder = config.log_path.join(stage.name()).join("base");
    if config.lora().is_some() {
        std::fs::create_dir_all(&folder).map_err(Error::io("create", &folder))?;
        policy.write(&folder)?;
        renderer.tokenizer().write(&folder)?;
    }
    trained(config, (policy, renderer), &folder)
}

/// A policy as the config wants it trained: under adapters, or whole. `from` is the folder or name it was read from.
fn trained(config: &RunConfig, (policy, renderer): Model, from: &Path) -> Result<Model> {
    let policy = match (policy.adapter(), config.lora()) {
        (None, None) => policy,
        (None, Some(lora)) => policy.with_new_adapter(&lora, &from.to_string_lossy(), config.seed)?,
        (Some(_), None) => policy.merged()?,
        (Some(adapter), Some(lora)) => {
            let going_on = adapter.check(policy.config(), &lora);
            going_on.map_err(|why| {
                Error::model(
                    from,
                    format!("cannot go on with this adapter: {why}; change the config, or merge it first"),
                )
            })?;
            policy
        }
    };
    Ok((policy, renderer))
}
