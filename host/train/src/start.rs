//! Where a stage gets its first policy: a checkpoint it is told, the stage before it, a model folder, or fresh random
//! weights of the tiny preset; and whether adapters are put on it.

use std::path::{Path, PathBuf};

use crate::config::{PrmLossFn, RunConfig, Stage, TINY};
use crate::error::{Error, Result};
use crate::material::Material;
use crate::model::lora::{self, ADAPTER_CONFIG};
use crate::model::{Family, Head, ModelConfig, Policy, TokenIds};
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
    let base = model_folder(config, folder)?;
    let mut policy = Policy::read(&base)?;
    if base != folder {
        policy = policy.with_adapter(folder)?;
    }
    let renderer = renderer(config, folder, &base, policy.config())?;
    Ok((policy, renderer))
}

/// The renderer of a model of this shape, from the tokenizer beside it or beside its adapter.
fn renderer(config: &RunConfig, folder: &Path, base: &Path, shape: &ModelConfig) -> Result<Renderer> {
    // PEFT leaves the tokenizer with the model, runs of ours and many trainers save it with the adapter too.
    let tokens = if folder.join(TOKENIZER).is_file() { folder } else { base };
    let mut tokenizer = Tokenizer::read(tokens)?;
    tokenizer.stop_at(shape.eos_token_id.as_ref().map_or(&[], TokenIds::ids));
    if tokenizer.vocab_size() > shape.vocab_size {
        let message = format!(
            "tokenizer.json has {} tokens, the model only {}: they do not belong together",
            tokenizer.vocab_size(),
            shape.vocab_size
        );
        return Err(Error::model(folder, message));
    }
    let name = config.renderer_name.unwrap_or(match shape.model_type {
        Family::Qwen3 => RendererName::Qwen3,
        Family::Qwen2 | Family::Llama => RendererName::ChatTemplate,
    });
    Renderer::new(name, tokenizer)
}

/// Shape and renderer of the model that a stage will have, as far as they are known before the first of `stages`: training
/// changes neither. None where the model is yet to be made elsewhere.
pub(crate) fn outline(
    config: &RunConfig,
    material: &Material,
    stages: &[Stage],
    stage: Stage,
) -> Result<Option<(ModelConfig, Renderer)>> {
    let made = earlier(stage).iter().find(|earlier| stages.contains(earlier));
    let folder = match (config.load_checkpoint_path(stage), made) {
        (Some(folder), _) => folder,
        (None, Some(&made)) => return outline(config, material, stages, made),
        (None, None) if config.model_name == TINY => {
            return named(config, material).map(|(policy, renderer)| Some((policy.config().clone(), renderer)));
        }
        (None, None) => config.model_path(),
    };
    let read = || {
        let base = model_folder(config, folder)?;
        let shape = ModelConfig::read(&base.join("config.json"))?;
        let renderer = renderer(config, folder, &base, &shape)?;
        Ok((shape, renderer))
    };
    folder.is_dir().then(read).transpose()
}

/// The folder with the model itself: this one, or that of the model which the adapter here belongs to.
fn model_folder(config: &RunConfig, folder: &Path) -> Result<PathBuf> {
    match folder.join(ADAPTER_CONFIG).is_file() {
        true => base(config, folder),
        false => Ok(folder.to_owned()),
    }
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

/// Reads a model that samples or is trained to; a reward model is none.
pub(crate) fn read_policy(config: &RunConfig, folder: &Path) -> Result<Model> {
    let (policy, renderer) = read(config, folder)?;
    match policy.config().head() {
        Head::Tokens => Ok((policy, renderer)),
        _ => Err(Error::model(folder, "is a reward model; this stage needs one that writes text")),
    }
}

/// The first model of a stage, as the config wants it trained.
pub(crate) fn first(config: &RunConfig, material: &Material, stage: Stage) -> Result<Model> {
    let (model, mut from) = source(config, material, stage)?;
    let head = if stage == Stage::Prm { config.prm.loss_fn.head() } else { Head::Tokens };
    let (policy, renderer) = model;
    // What is merged here, or drawn, lies nowhere: an adapter needs its model, and an implicit reward its reference.
    let is_new = config.model_name == TINY && from == Path::new(TINY);
    let is_merged = policy.adapter().is_some() && policy.config().head() != head;
    let policy = policy.with_head(head);
    let keeps_base = config.lora().is_some() || stage == Stage::Prm && config.prm.loss_fn == PrmLossFn::Implicit;
    if (is_new || is_merged) && keeps_base {
        from = base_of_stage(config, stage);
        std::fs::create_dir_all(&from).map_err(Error::io("create", &from))?;
        policy.write(&from)?;
        renderer.tokenizer().write(&from)?;
    }
    trained(config, (policy, renderer), &from)
}

/// The model that a stage starts from, and its folder, or name: what the config says, or the earlier stage of this run
/// that made a policy last, or the run's own model.
fn source(config: &RunConfig, material: &Material, stage: Stage) -> Result<(Model, PathBuf)> {
    match origin(config, stage)? {
        Some(folder) => {
            let read = if stage == Stage::Prm { read } else { read_policy };
            Ok((read(config, &folder)?, folder))
        }
        None => {
            let folder = if config.model_name == TINY { Path::new(TINY) } else { config.model_path() };
            Ok((named(config, material)?, folder.to_owned()))
        }
    }
}

/// The folder that a stage starts from: what the config says, or what the nearest earlier stage made. None where that is the
/// run's own model.
fn origin(config: &RunConfig, stage: Stage) -> Result<Option<PathBuf>> {
    if let Some(folder) = config.load_checkpoint_path(stage) {
        return Ok(Some(folder.to_owned()));
    }
    for &earlier in earlier(stage) {
        if let Some(folder) = finished(config, earlier)? {
            return Ok(Some(folder));
        }
        if config.stages.contains(&earlier) {
            let name = earlier.name();
            let message = format!(
                "this stage has no final checkpoint yet; run `rewarden {name}` with this config first, or name a model as \
                 `{}.load_checkpoint_path`",
                stage.name()
            );
            return Err(Error::run_dir(config.log_path.join(name), message));
        }
    }
    Ok(None)
}

/// The stages whose policy a stage goes on with, the nearest first.
fn earlier(stage: Stage) -> &'static [Stage] {
    match stage {
        Stage::Sft => &[],
        Stage::Prm | Stage::Dpo => &[Stage::Sft],
        Stage::Rl | Stage::Eval => &[Stage::Dpo, Stage::Sft],
    }
}

/// Where a stage keeps the model under its adapters, when it lies nowhere else.
fn base_of_stage(config: &RunConfig, stage: Stage) -> PathBuf {
    config.log_path.join(stage.name()).join("base")
}

/// The folder of what a stage starts from, for whoever needs it later as a reference.
pub(crate) fn source_folder(config: &RunConfig, stage: Stage) -> Result<PathBuf> {
    let own = || if config.model_name == TINY { base_of_stage(config, stage) } else { config.model_path().to_owned() };
    Ok(origin(config, stage)?.unwrap_or_else(own))
}

/// The reference that a stage's policy of this shape is held to: what it started from, unless the config names another
/// under `key`.
pub(crate) fn reference(
    config: &RunConfig,
    material: &Material,
    (stage, key, named): (Stage, &str, Option<&Path>),
    shape: &ModelConfig,
) -> Result<Policy> {
    let Some(folder) = named else { return config.device.place(source(config, material, stage)?.0.0) };
    let (policy, _) = read_policy(config, folder)?;
    match policy.config().vocab_size == shape.vocab_size {
        true => config.device.place(policy),
        false => {
            let (ours, theirs) = (shape.vocab_size, policy.config().vocab_size);
            let message = format!("as `{key}` it must share the policy's {ours} tokens; it has {theirs}");
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
pub(crate) fn named(config: &RunConfig, material: &Material) -> Result<Model> {
    if config.model_name != TINY {
        return read_policy(config, config.model_path());
    }
    let name = config.renderer_name.unwrap_or(RendererName::Qwen3);
    let texts = material.texts(|conversation| renderer::texts(conversation, name));
    if texts.is_empty() {
        return Err(Error::config(
            "model_name",
            "`tiny` takes its tokens from the rows it trains on, and there are none",
        ));
    }
    let tokenizer = Tokenizer::learn(&texts)?;
    let shape = ModelConfig::tiny(tokenizer.vocab_size(), tokenizer.id(IM_END).unwrap_or_default());
    let policy = Policy::random(shape, config.seed)?;
    Ok((policy, Renderer::new(name, tokenizer)?))
}

/// A model as the config wants it trained: under adapters, or whole. `from` is the folder or name it was read from.
fn trained(config: &RunConfig, (policy, renderer): Model, from: &Path) -> Result<Model> {
    let policy = match (policy.adapter(), config.lora()) {
        (None, None) => policy,
        (None, Some(lora)) => policy.with_new_adapter(&lora, &from.to_string_lossy(), config.seed)?,
        (Some(_), None) => policy.merged(),
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
