//! The decoder against numbers that PyTorch transformers computed (fixtures/make_models.py).

use candle_core::{DType, Device, Tensor};
use std::collections::HashMap;
use std::path::PathBuf;

use super::oracle::Oracle;
use super::*;
use crate::batch::Datum;
use crate::gradient::{Gradients, gradients, log_probs};
use crate::layout::Layout;
use crate::loss::nll;
use crate::objective::{Objective, Prediction, Slopes};

pub(super) fn fixture(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(name)
}

pub(super) struct Reference {
    pub(super) policy: Policy,
    pub(super) tensors: HashMap<String, Tensor>,
}

pub(super) fn numbers(tensor: &Tensor) -> Vec<f32> {
    tensor.flatten_all().unwrap().to_vec1().unwrap()
}

impl Reference {
    fn read(name: &str) -> Self {
        Self::of(Policy::read(&fixture(name)).unwrap(), name)
    }

    /// `policy`, and what PyTorch computed for it in the folder `name`.
    pub(super) fn of(policy: Policy, name: &str) -> Self {
        let file = fixture(name).join("reference.safetensors");
        Self { policy, tensors: candle_core::safetensors::load(file, &Device::Cpu).unwrap() }
    }

    /// The rows without their padding, every token but the first trained.
    pub(super) fn data(&self) -> Vec<Datum> {
        let lengths: Vec<i64> = self.tensors["lengths"].to_vec1().unwrap();
        let rows: Vec<Vec<u32>> = self.tensors["ids"].to_dtype(DType::U32).unwrap().to_vec2().unwrap();
        let datum = |(row, length): (Vec<u32>, i64)| {
            let tokens = row[..length as usize].to_vec();
            Datum { trained: vec![true; tokens.len()], tokens }
        };
        rows.into_iter().zip(lengths).map(datum).collect()
    }

    /// PyTorch's log-probabilities of the trained tokens of [`Reference::data`].
    pub(super) fn log_probs(&self) -> Vec<f32> {
        let logits: Vec<Vec<Vec<f32>>> = self.tensors["logits"].to_vec3().unwrap();
        let of_token = |row: &[f32], token: u32| {
            let sum: f64 = row.iter().map(|&logit| f64::from(logit).exp()).sum();
            (f64::from(row[token as usize]) - sum.ln()) as f32
        };
        let data = self.data();
        let rows = data.iter().zip(&logits);
        rows.flat_map(|(datum, logits)| (1..datum.tokens.len()).map(|at| of_token(&logits[at - 1], datum.tokens[at])))
            .collect()
    }
}

/// The gradients of a flat gradient's parameters.
pub(super) fn by_parameter<'a>(policy: &'a Policy, found: &Gradients) -> Vec<(&'a str, Vec<f32>)> {
    let (mut start, values) = (0, found.values().unwrap());
    let one = |parameter: Parameter<'a>| {
        start += parameter.values.len();
        (parameter.name, values[start - parameter.values.len()..start].to_vec())
    };
    policy.trainable().iter().map(one).collect()
}

fn nll_gradients(reference: &Reference, layout: impl Into<Layout>) -> Gradients {
    let data = reference.data();
    gradients(&reference.policy, &data, layout, Objective::each(&nll(&data))).unwrap()
}

/// Relative L2 distance.
pub(super) fn distance(got: &[f32], want: &[f32]) -> f64 {
    assert_eq!(got.len(), want.len());
    let square = |value: f32| f64::from(value).powi(2);
    let difference: f64 = got.iter().zip(want).map(|(g, w)| square(g - w)).sum();
    (difference / want.iter().map(|&w| square(w)).sum::<f64>()).sqrt()
}

/// Each family, tied and untied; configs in the shape of transformers 4 (`qwen2`, `llama`) and 5; weights in f32, bf16 (one
/// of them in shards) and f16; `llama3` rope scaling in both shapes.
const MODELS: [&str; 5] = ["qwen3-tied", "qwen3-untied", "qwen2", "llama", "llama-tied"];

#[test]
fn log_probabilities_equal_pytorch() {
    for name in MODELS {
        let reference = Reference::read(name);
        let found = log_probs(&reference.policy, &reference.data(), 0).unwrap().concat();
        let off = distance(&found, &reference.log_probs());
        assert!(off < 1e-5, "{name}: {off:e}");
    }
}

#[test]
fn the_oracle_equals_pytorch() {
    for name in MODELS {
        let reference = Reference::read(name);
        let oracle = Oracle::of(&reference.policy);
        for (row, datum) in reference.data().iter().enumerate() {
            let want = reference.tensors["logits"].get(row).unwrap().narrow(0, 0, datum.tokens.len()).unwrap();
            let off = distance(&numbers(&oracle.logits(&datum.tokens)), &numbers(&want));
            assert!(off < 1e-5, "{name}, row {row}: {off:e}");
        }
    }
}

#[test]
fn loss_and_every_gradient_equal_pytorch() {
    for name in MODELS {
        let reference = Reference::read(name);
        for is_on in [false, true] {
            let policy = Policy::read(&fixture(name)).unwrap().with_gradient_checkpointing(is_on);
            let data = reference.data();
            let found = gradients(&policy, &data, 0, Objective::each(&nll(&data))).unwrap();
            let loss: Vec<f32> = reference.tensors["loss"].to_vec1().unwrap();
            assert!((found.loss - f64::from(loss[0])).abs() < 1e-5, "{name}: {} against {loss:?}", found.loss);
            for (parameter, gradient) in by_parameter(&policy, &found) {
                let off = distance(&gradient, &numbers(&reference.tensors[&format!("grad.{parameter}")]));
                assert!(off < 1e-4, "{name}, {parameter}: {off:e}");
            }
        }
    }
}

#[test]
fn every_parameter_gets_a_finite_gradient_that_is_not_zero() {
    for name in MODELS {
        let reference = Reference::read(name);
        let found = nll_gradients(&reference, 0);
        for (parameter, gradient) in by_parameter(&reference.policy, &found) {
            assert!(gradient.iter().all(|value| value.is_finite()), "{name}, {parameter}");
            assert!(gradient.iter().any(|&value| value != 0.0), "{name}, {parameter}");
        }
    }
}

/// Slopes that differ from token to token, so that no sum hides an exchange.
fn uneven(seen: Prediction) -> Slopes {
    let slope = |at: usize| ((at * 5 + seen.index * 3) % 7) as f32 - 2.5;
    let log_probs: Vec<f32> = (0..seen.log_probs.len()).map(slope).collect();
    let loss = log_probs.iter().zip(seen.log_probs).map(|(slope, p)| f64::from(slope * p)).sum();
    Slopes { loss, log_probs, ..Slopes::default() }
}

/// Sequences longer than a tile of attention and than a piece of a pass, heads that share keys, several of each family:
/// what was said, and every gradient, against autograd.
#[test]
fn long_and_ragged_batches_equal_the_oracle() {
    for (family, heads, key_heads, width, tied) in [
        (Family::Qwen3, 4, 2, 16, true),
        (Family::Qwen2, 3, 1, 10, false),
        (Family::Llama, 2, 2, 64, true),
        (Family::Qwen3, 6, 2, 32, false),
    ] {
        let config = ModelConfig {
            model_type: family,
            num_attention_heads: heads,
            num_key_value_heads: key_heads,
            head_dim: width,
            num_hidden_layers: 2,
            hidden_size: 40,
            intermediate_size: 72,
            tie_word_embeddings: tied,
            ..ModelConfig::tiny(50, 0)
        };
        for head in [Head::Tokens, Head::Score, Head::Steps] {
            let mut policy = Policy::random(config.clone(), 3).unwrap().with_head(head);
            stir(&mut policy);
            check_against_oracle(&policy, &ragged(&[1, 150, 64, 65, 2, 300]), &format!("{family:?} {head:?}"));
            check_against_oracle(&policy, &groups(), &format!("{family:?} {head:?}, groups"));
        }
    }
}

/// Moves every number a little, so that no norm is one and no bias or head zero.
fn stir(policy: &mut Policy) {
    let values = policy.trainable_mut().values_mut().iter_mut();
    values.enumerate().for_each(|(at, value)| *value += 0.2 * ((at * 37 % 101) as f32 / 101.0 - 0.5));
}

/// Sequences of these lengths that have nothing in common.
pub(super) fn ragged(lengths: &[usize]) -> Vec<Datum> {
    let datum = |(row, &length): (usize, &usize)| Datum {
        tokens: (0..length).map(|at| ((at * at * 7 + row * 11 + at) % 40) as u32).collect(),
        trained: (0..length).map(|at| at % 4 != 1).collect(),
    };
    lengths.iter().enumerate().map(datum).collect()
}

/// Samples of prompts: some of a tile and more, one of few tokens, one that is alone, some tokens not trained.
pub(super) fn groups() -> Vec<Datum> {
    let group = |(number, (prompt, samples)): (usize, &(usize, &[usize]))| {
        let prompt: Vec<u32> = (0..*prompt).map(|at| ((at * at * 3 + number * 5 + at) % 40) as u32).collect();
        let sample = |(row, &length): (usize, &usize)| {
            let said = (0..length).map(|at| ((at * at * 7 + row * 11 + at) % 40) as u32);
            let trained = (0..prompt.len() + length).map(|at| at >= prompt.len() && at % 5 != 2).collect();
            Datum { tokens: prompt.iter().copied().chain(said).collect(), trained }
        };
        samples.iter().enumerate().map(sample).collect::<Vec<_>>()
    };
    let groups: [(usize, &[usize]); 4] = [(70, &[3, 65, 130]), (12, &[40, 8, 9, 70]), (20, &[30]), (140, &[9, 4])];
    groups.iter().enumerate().flat_map(group).collect()
}

#[track_caller]
pub(super) fn check_against_oracle(policy: &Policy, data: &[Datum], what: &str) {
    let found = gradients(policy, data, 0, Objective::each(&uneven)).unwrap();
    let oracle = Oracle::of(policy);
    let said: Vec<Tensor> = data.iter().filter(|datum| datum.trained_tokens() > 0).map(|d| oracle.said(d)).collect();
    let said = Tensor::cat(&said, 0).unwrap();
    let off = distance(&found.log_probs, &numbers(&said));
    assert!(off < 1e-5, "{what}: {off:e} in what was said");
    let slopes = data.iter().enumerate().flat_map(|(index, datum)| {
        let log_probs = vec![0.0; datum.trained_tokens()];
        uneven(Prediction { index, log_probs: &log_probs, entropies: &[] }).log_probs
    });
    let slopes = Tensor::new(slopes.collect::<Vec<f32>>(), &Device::Cpu).unwrap();
    let scalar = (said * slopes).unwrap().sum_all().unwrap();
    let gradients = scalar.backward().unwrap();
    for (parameter, gradient) in by_parameter(policy, &found) {
        let off = distance(&gradient, &oracle.gradient(&gradients, parameter));
        assert!(off < 2e-5, "{what}, {parameter}: {off:e}");
    }
}

/// Sequences one by one, some together, all at once; or packed into rows, where each must be as if it were alone.
#[test]
fn the_layout_never_changes_the_gradient() {
    let packed = |rows, length| Layout::Packed { rows, length };
    for name in MODELS {
        let reference = Reference::read(name);
        let tokens = reference.data().iter().map(|datum| datum.tokens.len()).sum();
        let whole = nll_gradients(&reference, 0);
        for layout in [1.into(), 2.into(), 3.into(), packed(0, tokens), packed(1, tokens - 1), packed(0, 1)] {
            let parts = nll_gradients(&reference, layout);
            assert!((parts.loss - whole.loss).abs() < 1e-6, "{name}, {layout:?}");
            let off = distance(&parts.log_probs, &whole.log_probs);
            assert!(off < 1e-6, "{name}, {layout:?}: {off:e}");
            let (parts, whole) = (by_parameter(&reference.policy, &parts), by_parameter(&reference.policy, &whole));
            for ((parameter, got), (_, want)) in parts.into_iter().zip(whole) {
                let off = distance(&got, &want);
                assert!(off < 1e-5, "{name}, {layout:?}, {parameter}: {off:e}");
            }
        }
    }
}

#[test]
fn a_written_model_reads_back_bit_for_bit() {
    for name in MODELS {
        let folder = tempfile::tempdir().unwrap();
        let first = Policy::read(&fixture(name)).unwrap();
        first.write(folder.path()).unwrap();
        let second = Policy::read(folder.path()).unwrap();
        let but_dtype = |policy: &Policy| {
            let mut config = policy.config().clone();
            ["dtype", "torch_dtype"].into_iter().for_each(|key| drop(config.more.remove(key)));
            config
        };
        assert_eq!(but_dtype(&first), but_dtype(&second));
        assert!(first.trainable().iter().eq(second.trainable().iter()));
    }
}

/// A folder of the fixtures, changed by `spoil`, is refused with a message that contains `expected`.
#[track_caller]
fn check_refused(name: &str, spoil: impl Fn(&Path), expected: &str) {
    let folder = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir(fixture(name)).unwrap().map(|entry| entry.unwrap().path()) {
        std::fs::copy(&entry, folder.path().join(entry.file_name().unwrap())).unwrap();
    }
    spoil(folder.path());
    let error = Policy::read(folder.path()).err().map(|error| error.to_string()).unwrap_or_default();
    assert!(error.contains(expected), "{error}");
}

/// Replaces one key of `config.json`.
fn set(key: &str, value: serde_json::Value) -> impl Fn(&Path) {
    move |folder| {
        let file = folder.join("config.json");
        let mut config: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(&file).unwrap()).unwrap();
        config[key] = value.clone();
        std::fs::write(file, config.to_string()).unwrap();
    }
}

#[test]
fn configs_that_would_compute_wrong_are_refused() {
    use serde_json::json;
    let check = |key: &str, value, expected: &str| check_refused("qwen3-tied", set(key, value), expected);
    check("model_type", json!("gpt2"), "\"gpt2\" is not supported; \"qwen3\", \"qwen2\" and \"llama\" are");
    check("model_type", json!("qwen3_moe"), "\"qwen3_moe\"");
    check("model_type", json!(null), "no `model_type`");
    check("attention_bias", json!(true), "attention_bias");
    check("use_sliding_window", json!(true), "use_sliding_window");
    check("layer_types", json!(["full_attention", "sliding_attention"]), "sliding_attention");
    check("quantization_config", json!({"bits": 4}), "quantized");
    check("hidden_act", json!("gelu"), "hidden_act \"gelu\"");
    check("rope_parameters", json!({"rope_type": "yarn"}), "rope scaling `yarn`");
    check("num_key_value_heads", json!(3), "multiple");
    check("vocab_size", json!(41), "model.embed_tokens.weight has shape [40, 32], config.json says [41, 32]");
    check("num_hidden_layers", json!(3), "model.layers.2.input_layernorm.weight is missing");
    check("num_hidden_layers", json!(1), "does not belong");
    check("hidden_size", json!("big"), "invalid type");
    check("hidden_size", json!(0), "at least 1");
    check("num_hidden_layers", json!(1u64 << 40), "over 1000 layers");
    check("intermediate_size", json!(u64::MAX), "may exceed");
    check_refused("llama", set("mlp_bias", json!(true)), "mlp_bias");
    check_refused("llama", set("num_attention_heads", json!(5)), "multiple");
    check_refused("qwen2", set("model_type", json!("llama")), "k_proj.bias does not belong");
    check_refused("llama", set("model_type", json!("qwen2")), "q_proj.bias is missing");
}

#[test]
fn folders_that_are_not_whole_say_what_is_missing() {
    let remove = |name: &'static str| move |folder: &Path| std::fs::remove_file(folder.join(name)).unwrap();
    let write =
        |name: &'static str, text: &'static str| move |folder: &Path| std::fs::write(folder.join(name), text).unwrap();
    check_refused("qwen3-tied", remove("config.json"), "config.json");
    check_refused("qwen3-tied", remove("model.safetensors"), "holds neither model.safetensors nor");
    check_refused(
        "qwen2",
        remove("model-00002-of-00003.safetensors"),
        "shard model-00002-of-00003.safetensors is missing",
    );
    let moved = |folder: &Path| {
        let shard = |number: u8| folder.join(format!("model-0000{number}-of-00003.safetensors"));
        std::fs::copy(shard(1), shard(2)).unwrap();
    };
    check_refused("qwen2", moved, " is missing");
    let index = "model.safetensors.index.json";
    check_refused("qwen2", write(index, r#"{"weight_map": {"a": "../model.safetensors"}}"#), "which is no file name");
    check_refused("qwen2", write(index, "{"), index);
    let cut = |folder: &Path| {
        let file = std::fs::OpenOptions::new().write(true).open(folder.join("model.safetensors")).unwrap();
        file.set_len(1000).unwrap();
    };
    check_refused("qwen3-tied", cut, "not a whole safetensors file");
    let integers = |folder: &Path| {
        let tensor = Tensor::new(&[1u32], &Device::Cpu).unwrap();
        tensor.save_safetensors("model.norm.weight", folder.join("model.safetensors")).unwrap();
    };
    check_refused("qwen3-tied", integers, "tensor model.norm.weight is stored as U32");
}
