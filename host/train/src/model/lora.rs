//! Low-rank adapters (Hu et al. 2021, LoRA): a frozen model, and beside some of its matrices W a trained product, so that
//! the layer computes W + (alpha / rank) B A. On disk as PEFT has them: `adapter_config.json`, `adapter_model.safetensors`.

use rand_distr::{Distribution, Uniform};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::BTreeSet;
use std::ops::Range;
use std::path::Path;

use super::config::ModelConfig;
use super::files::{self, Array};
use super::head::Head;
use super::weights::{EMBEDDING, Parameter, Weights, parameter_shapes};
use crate::engine::LowRankPlace;
use crate::engine::cpu::add_low_rank;
use crate::error::{Error, Result};
use crate::seed::{self, Purpose};

/// The file that makes a folder an adapter.
pub(crate) const ADAPTER_CONFIG: &str = "adapter_config.json";
const ADAPTER: &str = "adapter_model.safetensors";
const PREFIX: &str = "base_model.model.";
const HEAD: &str = "lm_head";
const SCORE: &str = "score";
/// What PEFT saves whole beside adapters of a reward model: `score` is ours, the other is a name it adds by habit.
const KNOWN_SAVED: [&str; 2] = [SCORE, "classifier"];

/// Which layers get adapters, and of which shape. The names are tinker's.
#[derive(Clone, Debug, PartialEq)]
pub struct Lora {
    /// Width of the bottleneck, at least 1.
    pub rank: usize,
    /// The adapter's share is `alpha / rank`.
    pub alpha: f64,
    /// Adapters on the four projections of attention.
    pub train_attn: bool,
    /// Adapters on the three matrices of the MLP.
    pub train_mlp: bool,
    /// An adapter on the head that gives logits; a tied embedding stays as it is.
    pub train_unembed: bool,
}

/// The adapters of one model. Its variables are what is trained; the model beside it is not.
#[derive(Debug)]
pub struct Adapter {
    rank: usize,
    alpha: f64,
    head: Head,
    base: String,
    weights: Weights,
}

/// `adapter_config.json`, as far as it matters here.
#[derive(Serialize, Deserialize)]
struct PeftConfig {
    peft_type: String,
    #[serde(default)]
    task_type: Option<String>,
    #[serde(default)]
    base_model_name_or_path: Option<String>,
    r: usize,
    lora_alpha: f64,
    #[serde(default)]
    target_modules: Value,
    #[serde(default = "none")]
    bias: String,
    #[serde(flatten)]
    more: Map<String, Value>,
}

fn none() -> String {
    "none".into()
}

/// What PEFT can switch on and is not computed here.
const UNSUPPORTED: [&str; 15] = [
    "use_dora",
    "use_rslora",
    "use_qalora",
    "use_bdlora",
    "kasa_config",
    "monteclora_config",
    "arrow_config",
    "alora_invocation_tokens",
    "fan_in_fan_out",
    "lora_bias",
    "rank_pattern",
    "alpha_pattern",
    "trainable_token_indices",
    "layer_replication",
    "target_parameters",
];

impl Adapter {
    /// New adapters that change nothing yet: A drawn as PEFT draws it, B zero. `base` is what PEFT shall find as the
    /// model's name or path.
    pub(super) fn new(config: &ModelConfig, model: &Weights, lora: &Lora, base: &str, seed: u64) -> Result<Self> {
        let mut arrays = vec![];
        for (index, (module, [out, width])) in modules(config).into_iter().enumerate() {
            if !lora.adapts(&module) {
                continue;
            }
            let bound = 1.0 / (width as f32).sqrt();
            let uniform = Uniform::new(-bound, bound).map_err(|e| Error::config("lora_rank", e.to_string()))?;
            let values = uniform.sample_iter(seed::generator(seed, Purpose::Adapters, &[index as u64]));
            let a = Array { shape: vec![lora.rank, width], values: values.take(lora.rank * width).collect() };
            let b = Array { shape: vec![out, lora.rank], values: vec![0.0; out * lora.rank] };
            arrays.extend([(name(&module, 'A'), a), (name(&module, 'B'), b)]);
        }
        if arrays.is_empty() {
            let message = "adapters need at least one of `train_attn`, `train_mlp` and `train_unembed`";
            return Err(Error::config("lora_rank", message));
        }
        // A head for scores is small and new: it is trained whole.
        for (name, shape) in config.head().shapes(config.hidden_size) {
            let values = model.get(name).map_or(vec![], |known| known.values.to_vec());
            arrays.push((format!("{PREFIX}{name}"), Array { shape, values }));
        }
        Ok(Self {
            rank: lora.rank,
            alpha: lora.alpha,
            head: config.head(),
            base: base.to_owned(),
            weights: Weights::of(arrays),
        })
    }

    /// Reads what [`Adapter::write`] or PEFT wrote for a model with these weights.
    pub(super) fn read(folder: &Path, config: &ModelConfig, model: &Weights) -> Result<Self> {
        let peft = peft_config(folder)?;
        let file = folder.join(ADAPTER);
        if !file.is_file() {
            return Err(Error::model(folder, format!("holds {ADAPTER_CONFIG} but no {ADAPTER}")));
        }
        let mut found = files::read(&file)?;
        let mut arrays = vec![];
        for (module, [out, width]) in modules(config) {
            let found = [('A', vec![peft.r, width]), ('B', vec![out, peft.r])].map(|(letter, shape)| {
                let Some(array) = found.remove(&name(&module, letter)) else { return Ok(None) };
                match array.shape == shape {
                    true => Ok(Some((name(&module, letter), array))),
                    false => Err(Error::model(
                        &file,
                        format!(
                            "the adapter of {module} has a lora_{letter} of shape {:?}; for this model and r = {} it \
                             would be {shape:?}",
                            array.shape, peft.r
                        ),
                    )),
                }
            });
            let [a, b] = found;
            match (a?, b?) {
                (None, None) => {}
                (Some(a), Some(b)) => arrays.extend([a, b]),
                (Some(_), None) | (None, Some(_)) => {
                    let message = format!("the adapter of {module} has only one of lora_A and lora_B");
                    return Err(Error::model(&file, message));
                }
            }
        }
        for (name, shape) in config.head().shapes(config.hidden_size) {
            let stored = format!("{PREFIX}{name}");
            match found.remove(&stored) {
                Some(array) if array.shape == shape => arrays.push((stored, array)),
                Some(array) => {
                    let message = format!("tensor {stored} has shape {:?}, its head would have {shape:?}", array.shape);
                    return Err(Error::model(&file, message));
                }
                None => {
                    return Err(Error::model(&file, format!("tensor {stored}, the reward model's head, is missing")));
                }
            };
        }
        for (name, array) in found {
            check_copy(&name, &array, model).map_err(|message| Error::model(&file, message))?;
        }
        if arrays.is_empty() {
            return Err(Error::model(&file, "holds no adapter of this model's layers"));
        }
        let base = peft.base_model_name_or_path.unwrap_or_default();
        let weights = Weights::of(arrays);
        Ok(Self { rank: peft.r, alpha: peft.lora_alpha, head: config.head(), base, weights })
    }

    /// Writes both files into an existing folder, with `weights` as what is trained.
    pub(super) fn write(&self, weights: &Weights, folder: &Path) -> Result<()> {
        let targets: BTreeSet<&str> =
            self.modules().map(|module| module.rsplit_once('.').map_or(module, |(_, last)| last)).collect();
        let more = serde_json::json!({
            "fan_in_fan_out": false, "inference_mode": true, "init_lora_weights": true, "lora_dropout": 0.0,
            "modules_to_save": (self.head != Head::Tokens).then_some([SCORE]),
        });
        let peft = PeftConfig {
            peft_type: "LORA".into(),
            task_type: Some(self.head.task_type().into()),
            base_model_name_or_path: Some(self.base.clone()),
            r: self.rank,
            lora_alpha: self.alpha,
            target_modules: serde_json::json!(targets),
            bias: none(),
            more: more.as_object().cloned().unwrap_or_default(),
        };
        let file = folder.join(ADAPTER_CONFIG);
        let text = serde_json::to_string_pretty(&peft).map_err(|e| Error::model(&file, e.to_string()))?;
        std::fs::write(&file, text + "\n").map_err(Error::io("write", &file))?;
        files::write(&folder.join(ADAPTER), &weights.by_name())
    }

    /// What is trained.
    pub(super) fn weights(&self) -> &Weights {
        &self.weights
    }

    /// The same to change.
    pub(super) fn weights_mut(&mut self) -> &mut Weights {
        &mut self.weights
    }

    /// Where a tensor of the head lies in its weights, if the adapter brings one.
    pub(super) fn head(&self, name: &str) -> Option<Range<usize>> {
        self.weights.range(&format!("{PREFIX}{name}"))
    }

    /// Where the adapter of a layer lies in its weights.
    pub(super) fn low_rank(&self, module: &str) -> Option<LowRankPlace> {
        let (a, b) = (self.weights.range(&name(module, 'A'))?, self.weights.range(&name(module, 'B'))?);
        Some(LowRankPlace { a, b, rank: self.rank, scale: self.scale() })
    }

    /// The model's weights with every adapter added. A tied head that has one is no longer the embedding: then the config
    /// is untied.
    pub(super) fn merge(&self, config: &mut ModelConfig, model: &Weights) -> Weights {
        let mut arrays: Vec<(String, Array)> = model.iter().map(owned).collect();
        if config.tie_word_embeddings && self.low_rank(HEAD).is_some() {
            config.tie_word_embeddings = false;
            let head = arrays.iter().find(|(name, _)| name == EMBEDDING).map(|(_, array)| array.clone());
            arrays.extend(head.map(|array| (format!("{HEAD}.weight"), array)));
        }
        for (name, array) in &mut arrays {
            if let Some(stored) = self.weights.get(&format!("{PREFIX}{name}")) {
                array.values = stored.values.to_vec(); // the whole head of a reward model
            }
            let Some(low) = name.strip_suffix(".weight").and_then(|module| self.low_rank(module)) else { continue };
            let (a, b) = (&self.weights.values()[low.a], &self.weights.values()[low.b]);
            add_low_rank(&mut array.values, a, b, low.rank, low.scale);
        }
        Weights::of(arrays)
    }

    /// Why training cannot go on with this adapter as `lora` says, if it cannot.
    pub(crate) fn check(&self, config: &ModelConfig, lora: &Lora) -> std::result::Result<(), String> {
        if (self.rank, self.alpha) != (lora.rank, lora.alpha) {
            return Err(format!(
                "it has lora_rank = {} and lora_alpha = {}, the config says {} and {}",
                self.rank, self.alpha, lora.rank, lora.alpha
            ));
        }
        let wanted: BTreeSet<String> =
            modules(config).into_iter().map(|(module, _)| module).filter(|module| lora.adapts(module)).collect();
        match wanted == self.modules().map(str::to_owned).collect() {
            true => Ok(()),
            false => Err("it adapts other layers than `train_attn`, `train_mlp` and `train_unembed` ask for".into()),
        }
    }

    fn scale(&self) -> f32 {
        (self.alpha / self.rank as f64) as f32
    }

    fn modules(&self) -> impl Iterator<Item = &str> {
        let suffix = ".lora_A.weight";
        self.weights.iter().filter_map(move |parameter| parameter.name.strip_prefix(PREFIX)?.strip_suffix(suffix))
    }
}

impl Lora {
    fn adapts(&self, module: &str) -> bool {
        match module {
            HEAD => self.train_unembed,
            _ if module.contains(".self_attn.") => self.train_attn,
            _ => self.train_mlp,
        }
    }
}

/// The head that the adapter in `folder` was trained for.
pub(crate) fn head_of(folder: &Path) -> Result<Head> {
    Ok(Head::of_task(peft_config(folder)?.task_type.as_deref()))
}

/// The name or path of the model that the adapter in `folder` belongs to.
pub(crate) fn base_of(folder: &Path) -> Result<String> {
    let base = peft_config(folder)?.base_model_name_or_path.filter(|base| !base.is_empty());
    base.ok_or_else(|| Error::model(folder, format!("{ADAPTER_CONFIG} has no `base_model_name_or_path`")))
}

fn peft_config(folder: &Path) -> Result<PeftConfig> {
    let file = folder.join(ADAPTER_CONFIG);
    let failed = |message: String| Error::model(&file, message);
    let peft: PeftConfig = serde_json::from_str(&files::read_text(&file)?).map_err(|e| failed(e.to_string()))?;
    if peft.peft_type != "LORA" {
        return Err(failed(format!("peft_type is \"{}\"; only \"LORA\" is read", peft.peft_type)));
    }
    let empty = |value: &Value| match value {
        Value::Null | Value::Bool(false) => true,
        Value::Object(map) => map.is_empty(),
        Value::Array(list) => list.is_empty(),
        _ => false,
    };
    if let Some(key) = UNSUPPORTED.iter().find(|key| peft.more.get(**key).is_some_and(|value| !empty(value))) {
        return Err(failed(format!("`{key}` is not supported; merge the adapter with PEFT and load the merged model")));
    }
    let saved = |value: &Value| {
        value.as_array().is_some_and(|names| names.iter().all(|name| KNOWN_SAVED.iter().any(|known| name == known)))
    };
    if let Some(value) = peft.more.get("modules_to_save").filter(|value| !empty(value) && !saved(value)) {
        return Err(failed(format!("`modules_to_save` = {value} is not supported; merge the adapter with PEFT first")));
    }
    match () {
        () if peft.bias != "none" => Err(failed(format!("bias = \"{}\" is not supported", peft.bias))),
        () if peft.r == 0 || !peft.lora_alpha.is_finite() => {
            Err(failed("`r` or `lora_alpha` is no usable number".into()))
        }
        () => Ok(peft),
    }
}

/// PEFT stores the frozen head and embedding beside an adapter of the head. A copy of ours is no news; anything else is.
fn check_copy(name: &str, array: &Array, model: &Weights) -> std::result::Result<(), String> {
    let plain = name.strip_prefix(PREFIX).unwrap_or(name).replace(".base_layer.", ".");
    let ours = model.get(&plain).or_else(|| model.get(EMBEDDING).filter(|_| plain == format!("{HEAD}.weight")));
    match ours {
        Some(ours) if ours.shape == array.shape && ours.values == array.values => Ok(()),
        Some(_) => Err(format!("tensor {name} replaces weights of the model; merge the adapter with PEFT first")),
        None => Err(format!("tensor {name} belongs to no adapter of this model's layers")),
    }
}

fn owned(parameter: Parameter) -> (String, Array) {
    (parameter.name.to_owned(), Array { shape: parameter.shape.to_vec(), values: parameter.values.to_vec() })
}

/// Name and shape of every matrix that can have an adapter.
fn modules(config: &ModelConfig) -> Vec<(String, [usize; 2])> {
    let matrix = |(name, shape): (String, Vec<usize>)| {
        let module = name.strip_suffix("_proj.weight").map(|start| format!("{start}_proj"))?;
        let [out, width] = shape[..] else { return None };
        Some((module, [out, width]))
    };
    let head = (config.head() == Head::Tokens).then(|| (HEAD.to_owned(), [config.vocab_size, config.hidden_size]));
    parameter_shapes(config).into_iter().filter_map(matrix).chain(head).collect()
}

fn name(module: &str, letter: char) -> String {
    format!("{PREFIX}{module}.lora_{letter}.weight")
}

#[cfg(test)]
mod tests;
