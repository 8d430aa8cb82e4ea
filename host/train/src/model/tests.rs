//! The decoder against numbers that PyTorch transformers computed (fixtures/make_qwen3.py).

use candle_core::{DType, Tensor};
use std::collections::HashMap;
use std::path::PathBuf;

use super::*;
use crate::batch::Datum;
use crate::gradient::gradients;
use crate::loss::nll;

fn fixture(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(name)
}

struct Reference {
    policy: Policy,
    tensors: HashMap<String, Tensor>,
}

impl Reference {
    fn read(name: &str) -> Self {
        let folder = fixture(name);
        let tensors = candle_core::safetensors::load(folder.join("reference.safetensors"), &Device::Cpu).unwrap();
        Self { policy: Policy::read(&folder).unwrap(), tensors }
    }

    fn ids(&self) -> Tensor {
        self.tensors["ids"].to_dtype(DType::U32).unwrap()
    }

    /// The rows without their padding, every token but the first trained.
    fn data(&self) -> Vec<Datum> {
        let lengths: Vec<i64> = self.tensors["lengths"].to_vec1().unwrap();
        let rows: Vec<Vec<u32>> = self.ids().to_vec2().unwrap();
        let datum = |(row, length): (Vec<u32>, i64)| {
            let tokens = row[..length as usize].to_vec();
            Datum { trained: vec![true; tokens.len()], tokens, sampled_log_probs: vec![], advantage: 0.0 }
        };
        rows.into_iter().zip(lengths).map(datum).collect()
    }
}

/// Relative L2 distance.
fn distance(got: &[f32], want: &[f32]) -> f64 {
    assert_eq!(got.len(), want.len());
    let square = |value: f32| f64::from(value).powi(2);
    let difference: f64 = got.iter().zip(want).map(|(g, w)| square(g - w)).sum();
    (difference / want.iter().map(|&w| square(w)).sum::<f64>()).sqrt()
}

const MODELS: [&str; 2] = ["qwen3-tied", "qwen3-untied"];

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
        let found = gradients(&reference.policy, &reference.data(), 0, |log_probs, _| nll(log_probs)).unwrap();
        let loss: Vec<f32> = reference.tensors["loss"].to_vec1().unwrap();
        assert!((found.loss - f64::from(loss[0])).abs() < 1e-5, "{name}: {} against {loss:?}", found.loss);
        for ((parameter, _), gradient) in reference.policy.weights().iter().zip(found.iter()) {
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
        let found = gradients(&reference.policy, &reference.data(), 0, |log_probs, _| nll(log_probs)).unwrap();
        for ((parameter, _), gradient) in reference.policy.weights().iter().zip(found.iter()) {
            assert!(gradient.iter().all(|value| value.is_finite()), "{name}, {parameter}");
            assert!(gradient.iter().any(|&value| value != 0.0), "{name}, {parameter}");
        }
    }
}

#[test]
fn micro_batch_size_never_changes_the_gradient() {
    let reference = Reference::read("qwen3-tied");
    let data = reference.data();
    let whole = gradients(&reference.policy, &data, 0, |log_probs, _| nll(log_probs)).unwrap();
    for size in [1, 2, 3] {
        let parts = gradients(&reference.policy, &data, size, |log_probs, _| nll(log_probs)).unwrap();
        assert!((parts.loss - whole.loss).abs() < 1e-6);
        for ((parameter, _), (got, want)) in reference.policy.weights().iter().zip(parts.iter().zip(whole.iter())) {
            let off = distance(got, want);
            assert!(off < 1e-5, "size {size}, {parameter}: {off:e}");
        }
    }
}

#[test]
fn a_written_model_reads_back_bit_for_bit() {
    let folder = tempfile::tempdir().unwrap();
    for name in MODELS {
        let first = Policy::read(&fixture(name)).unwrap();
        first.write(folder.path()).unwrap();
        let second = Policy::read(folder.path()).unwrap();
        assert_eq!(first.config(), second.config());
        for ((parameter, a), (_, b)) in first.weights().iter().zip(second.weights().iter()) {
            let bits = |var: &candle_core::Var| var.flatten_all().unwrap().to_vec1::<f32>().unwrap();
            assert_eq!(bits(a), bits(b), "{parameter}");
        }
    }
}

/// `config.json` with one key replaced is refused with a message that contains `expected`.
#[track_caller]
fn check_refused(key: &str, value: serde_json::Value, expected: &str) {
    let folder = tempfile::tempdir().unwrap();
    let text = std::fs::read_to_string(fixture("qwen3-tied/config.json")).unwrap();
    let mut config: serde_json::Value = serde_json::from_str(&text).unwrap();
    config[key] = value;
    std::fs::write(folder.path().join("config.json"), config.to_string()).unwrap();
    std::fs::copy(fixture("qwen3-tied/model.safetensors"), folder.path().join("model.safetensors")).unwrap();
    let error = Policy::read(folder.path()).err().map(|error| error.to_string()).unwrap_or_default();
    assert!(error.contains(expected), "{error}");
}

#[test]
fn folders_that_would_compute_wrong_are_refused() {
    use serde_json::json;
    check_refused("model_type", json!("llama"), "model_type \"llama\"");
    check_refused("attention_bias", json!(true), "attention_bias");
    check_refused("rope_scaling", json!({"type": "yarn"}), "rope scaling");
    check_refused("num_key_value_heads", json!(3), "multiple");
    check_refused("vocab_size", json!(41), "model.embed_tokens.weight has shape [40, 32], config.json says [41, 32]");
    check_refused("num_hidden_layers", json!(3), "model.layers.2.input_layernorm.weight is missing");
    check_refused("num_hidden_layers", json!(1), "does not belong");
    check_refused("hidden_size", json!("big"), "invalid type");
    check_refused("hidden_size", json!(0), "at least 1");
    check_refused("num_hidden_layers", json!(1u64 << 40), "over 1000 layers");
    check_refused("intermediate_size", json!(u64::MAX), "may exceed");
}
