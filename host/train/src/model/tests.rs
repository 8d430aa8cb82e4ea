//! The decoder against numbers that PyTorch transformers computed (fixtures/make_models.py).

use candle_core::{DType, Tensor};
use std::collections::HashMap;
use std::path::PathBuf;

use super::*;
use crate::batch::Datum;
use crate::gradient::{Gradients, gradients};
use crate::layout::Layout;
use crate::loss::nll;
use crate::objective::Objective;

pub(super) fn fixture(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(name)
}

pub(super) struct Reference {
    pub(super) policy: Policy,
    pub(super) tensors: HashMap<String, Tensor>,
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

    pub(super) fn ids(&self) -> Tensor {
        self.tensors["ids"].to_dtype(DType::U32).unwrap()
    }

    /// The rows without their padding, every token but the first trained.
    pub(super) fn data(&self) -> Vec<Datum> {
        let lengths: Vec<i64> = self.tensors["lengths"].to_vec1().unwrap();
        let rows: Vec<Vec<u32>> = self.ids().to_vec2().unwrap();
        let datum = |(row, length): (Vec<u32>, i64)| {
            let tokens = row[..length as usize].to_vec();
            Datum { trained: vec![true; tokens.len()], tokens }
        };
        rows.into_iter().zip(lengths).map(datum).collect()
    }
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
fn logits_equal_pytorch() {
    for name in MODELS {
        let reference = Reference::read(name);
        let decoder = reference.policy.frozen();
        let logits = decoder.logits(&decoder.hidden(&reference.ids()).unwrap()).unwrap();
        let lengths: Vec<i64> = reference.tensors["lengths"].to_vec1().unwrap();
        for (row, length) in lengths.into_iter().enumerate() {
            let real = |logits: &Tensor| -> Vec<f32> {
                logits
                    .get(row)
                    .unwrap()
                    .narrow(0, 0, length as usize)
                    .unwrap()
                    .flatten_all()
                    .unwrap()
                    .to_vec1()
                    .unwrap()
            };
            let off = distance(&real(&logits), &real(&reference.tensors["logits"]));
            assert!(off < 1e-5, "{name}, row {row}: {off:e}");
        }
    }
}

#[test]
fn loss_and_every_gradient_equal_pytorch() {
    for name in MODELS {
        let reference = Reference::read(name);
        let found = nll_gradients(&reference, 0);
        let loss: Vec<f32> = reference.tensors["loss"].to_vec1().unwrap();
        assert!((found.loss - f64::from(loss[0])).abs() < 1e-5, "{name}: {} against {loss:?}", found.loss);
        for ((parameter, _), gradient) in reference.policy.trainable().iter().zip(found.iter()) {
            let want = &reference.tensors[&format!("grad.{parameter}")];
            let off = distance(gradient, &want.flatten_all().unwrap().to_vec1::<f32>().unwrap());
            assert!(off < 1e-4, "{name}, {parameter}: {off:e}");
        }
    }
}

#[test]
fn every_variable_gets_a_finite_gradient_that_is_not_zero() {
    for name in MODELS {
        let reference = Reference::read(name);
        let found = nll_gradients(&reference, 0);
        for ((parameter, _), gradient) in reference.policy.trainable().iter().zip(found.iter()) {
            assert!(gradient.iter().all(|value| value.is_finite()), "{name}, {parameter}");
            assert!(gradient.iter().any(|&value| value != 0.0), "{name}, {parameter}");
        }
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
            for ((parameter, _), (got, want)) in reference.policy.trainable().iter().zip(parts.iter().zip(whole.iter()))
            {
                let off = distance(got, want);
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
        for ((parameter, a), (_, b)) in first.trainable().iter().zip(second.trainable().iter()) {
            let bits = |var: &candle_core::Var| var.flatten_all().unwrap().to_vec1::<f32>().unwrap();
            assert_eq!(bits(a), bits(b), "{parameter}");
        }
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
