//! Adapters against PEFT's numbers (fixtures/make_models.py), against finite differences, and on disk.

use candle_core::{DType, Device, Tensor};
use std::collections::BTreeMap;

use super::*;
use crate::batch::Datum;
use crate::gradient::{self, Gradients, gradients};
use crate::loss::nll;
use crate::model::tests::{Reference, by_parameter, check_against_oracle, distance, fixture, numbers, ragged};
use crate::model::{Family, Policy};
use crate::objective::Objective;

const ALL: Lora = Lora { rank: 3, alpha: 6.0, train_attn: true, train_mlp: true, train_unembed: true };

/// A model of the fixtures under adapters whose B is not zero, as if some steps had been made.
fn adapted(name: &str, lora: &Lora) -> Policy {
    trained(Policy::read(&fixture(name)).unwrap().with_new_adapter(lora, name, 1).unwrap())
}

fn trained(mut policy: Policy) -> Policy {
    let parts: Vec<(bool, Range<usize>)> = policy
        .trainable()
        .iter()
        .map(|parameter| {
            (
                parameter.name.contains("lora_B") || parameter.name.contains("score"),
                policy.trainable().range(parameter.name).unwrap(),
            )
        })
        .collect();
    for (index, (_, range)) in parts.into_iter().enumerate().filter(|(_, (is_b, _))| *is_b) {
        let values = policy.trainable_mut().values_mut()[range].iter_mut().enumerate();
        values.for_each(|(i, value)| *value = 0.2 * ((i * 7 + index) as f32).sin());
    }
    policy
}

/// Some sequences over the fixtures' forty tokens.
fn data() -> Vec<Datum> {
    let datum = |start: u32| {
        let tokens: Vec<u32> = (0..9).map(|i| (start + i * i) % 40).collect();
        Datum { trained: vec![true; tokens.len()], tokens }
    };
    [3, 8, 21].map(datum).to_vec()
}

fn nll_gradients(policy: &Policy, data: &[Datum]) -> Gradients {
    gradients(policy, data, 0, Objective::each(&nll(data))).unwrap()
}

fn log_probs(policy: &Policy) -> Vec<f32> {
    gradient::log_probs(policy, &data(), 0).unwrap().concat()
}

#[test]
fn what_peft_saved_computes_and_learns_as_in_peft() {
    for (adapter, base) in [("lora-qwen3-tied", "qwen3-tied"), ("lora-qwen2", "qwen2")] {
        let policy = Policy::read(&fixture(base)).unwrap().with_adapter(&fixture(adapter)).unwrap();
        let reference = Reference::of(policy, adapter);
        let found = nll_gradients(&reference.policy, &reference.data());
        let loss: Vec<f32> = reference.tensors["loss"].to_vec1().unwrap();
        assert!((found.loss - f64::from(loss[0])).abs() < 1e-5, "{adapter}: {} against {loss:?}", found.loss);
        let wanted = reference.tensors.keys().filter(|name| name.starts_with("grad.")).count();
        let found = by_parameter(&reference.policy, &found);
        assert_eq!(found.len(), wanted, "{adapter}");
        for (parameter, gradient) in found {
            let off = distance(&gradient, &numbers(&reference.tensors[&format!("grad.{parameter}")]));
            assert!(off < 1e-4, "{adapter}, {parameter}: {off:e}");
        }
        let said = gradient::log_probs(&reference.policy, &reference.data(), 0).unwrap().concat();
        assert!(distance(&said, &reference.log_probs()) < 1e-5, "{adapter}");
    }
}

#[test]
fn long_batches_under_adapters_equal_the_oracle() {
    for family in [Family::Qwen3, Family::Qwen2, Family::Llama] {
        let config = ModelConfig { model_type: family, tie_word_embeddings: false, ..ModelConfig::tiny(50, 0) };
        for (head, train_unembed) in [(Head::Tokens, true), (Head::Steps, false)] {
            let policy = Policy::random(config.clone(), 5).unwrap().with_head(head);
            let lora = Lora { train_unembed, rank: 5, ..ALL };
            let policy = trained(policy.with_new_adapter(&lora, "", 2).unwrap());
            check_against_oracle(&policy, &ragged(&[300, 1, 70]), &format!("{family:?} {head:?}"));
        }
    }
}

/// Each adapter is moved along its gradient, both ways; the loss must change by what the gradient's length promises.
#[test]
fn gradients_equal_finite_differences() {
    const STEP: f64 = 3e-3;
    for base in ["qwen3-tied", "qwen2", "llama"] {
        let mut policy = adapted(base, &ALL);
        let found = nll_gradients(&policy, &data()).values().unwrap().into_owned();
        let loss = |policy: &Policy| -log_probs(policy).iter().map(|&p| f64::from(p)).sum::<f64>() / 24.0;
        let parameters: Vec<(String, Range<usize>)> = policy
            .trainable()
            .iter()
            .map(|parameter| (parameter.name.to_owned(), policy.trainable().range(parameter.name).unwrap()))
            .collect();
        for (parameter, range) in parameters {
            let gradient = &found[range.clone()];
            let length = gradient.iter().map(|&g| f64::from(g).powi(2)).sum::<f64>().sqrt();
            let start = policy.trainable().values()[range.clone()].to_vec();
            let mut loss_at = |step: f64| {
                let values = policy.trainable_mut().values_mut()[range.clone()].iter_mut();
                let moved = start.iter().zip(gradient).map(|(x, g)| x + (step / length) as f32 * g);
                values.zip(moved).for_each(|(value, moved)| *value = moved);
                loss(&policy)
            };
            let difference = (loss_at(STEP) - loss_at(-STEP)) / (2.0 * STEP);
            loss_at(0.0);
            assert!(
                (difference - length).abs() < 5e-3 * length + 1e-4,
                "{base}, {parameter}: {difference} for {length}"
            );
        }
    }
}

#[test]
fn a_new_adapter_changes_nothing_and_one_seed_gives_one_adapter() {
    let plain = Policy::read(&fixture("llama")).unwrap();
    let before = log_probs(&plain);
    let new = |seed| Policy::read(&fixture("llama")).unwrap().with_new_adapter(&ALL, "llama", seed).unwrap();
    assert_eq!(before, log_probs(&new(1)));
    let first = |policy: &Policy| policy.trainable().iter().next().map(|parameter| parameter.values.to_vec()).unwrap();
    assert_eq!(first(&new(1)), first(&new(1)));
    assert_ne!(first(&new(1)), first(&new(2)));
}

#[test]
fn only_what_is_asked_for_is_adapted() {
    #[track_caller]
    fn check(lora: &Lora, expected: &[&str]) {
        let policy = adapted("qwen3-tied", lora);
        let targets: BTreeSet<String> =
            policy.adapter().unwrap().modules().map(|module| module.rsplit('.').next().unwrap().to_owned()).collect();
        assert_eq!(targets.iter().map(String::as_str).collect::<Vec<_>>(), expected);
        let found = nll_gradients(&policy, &data());
        assert_eq!(found.values().unwrap().len(), policy.trainable().count());
    }
    let none = Lora { train_attn: false, train_mlp: false, train_unembed: false, ..ALL };
    check(&Lora { train_attn: true, ..none.clone() }, &["k_proj", "o_proj", "q_proj", "v_proj"]);
    check(&Lora { train_mlp: true, ..none.clone() }, &["down_proj", "gate_proj", "up_proj"]);
    check(&Lora { train_unembed: true, ..none.clone() }, &["lm_head"]);
    let refused = Policy::read(&fixture("llama")).unwrap().with_new_adapter(&none, "", 1).err().unwrap().to_string();
    assert!(refused.contains("at least one of `train_attn`"), "{refused}");
}

#[test]
fn merging_computes_the_same_and_unties_a_tied_head() {
    for (base, lora) in [
        ("qwen3-tied", ALL),
        ("qwen3-tied", Lora { train_unembed: false, ..ALL }),
        ("qwen2", ALL),
        ("llama", Lora { train_mlp: false, ..ALL }),
    ] {
        let policy = adapted(base, &lora);
        let before = log_probs(&policy);
        let was_tied = policy.config().tie_word_embeddings;
        let merged = policy.merged();
        assert!(merged.adapter().is_none());
        assert_eq!(merged.config().tie_word_embeddings, was_tied && !lora.train_unembed);
        assert!(distance(&log_probs(&merged), &before) < 1e-5, "{base}");
        let folder = tempfile::tempdir().unwrap();
        merged.write(folder.path()).unwrap();
        assert_eq!(log_probs(&Policy::read(folder.path()).unwrap()), log_probs(&merged), "{base}");
    }
}

#[test]
fn a_written_adapter_reads_back_bit_for_bit() {
    let folder = tempfile::tempdir().unwrap();
    let first = adapted("qwen2", &ALL);
    first.write(folder.path()).unwrap();
    assert_eq!(base_of(folder.path()).unwrap(), "qwen2");
    let second = Policy::read(&fixture("qwen2")).unwrap().with_adapter(folder.path()).unwrap();
    assert!(first.trainable().iter().eq(second.trainable().iter()));
    let adapter = second.adapter().unwrap();
    assert_eq!(adapter.check(second.config(), &ALL), Ok(()));
    assert!(adapter.check(second.config(), &Lora { rank: 4, ..ALL }).unwrap_err().contains("lora_rank = 3"));
    assert!(adapter.check(second.config(), &Lora { train_mlp: false, ..ALL }).unwrap_err().contains("other layers"));
}

/// PEFT's adapter of `qwen3-tied`, changed by `spoil`, is refused with a message that contains `expected`.
#[track_caller]
fn check_refused(base: &str, spoil: impl Fn(&mut Value, &mut BTreeMap<String, Tensor>), expected: &str) {
    let (source, folder) = (fixture("lora-qwen3-tied"), tempfile::tempdir().unwrap());
    let mut config: Value =
        serde_json::from_str(&std::fs::read_to_string(source.join(ADAPTER_CONFIG)).unwrap()).unwrap();
    let tensors = candle_core::safetensors::load(source.join(ADAPTER), &Device::Cpu).unwrap();
    let mut tensors: BTreeMap<String, Tensor> = tensors.into_iter().collect();
    spoil(&mut config, &mut tensors);
    std::fs::write(folder.path().join(ADAPTER_CONFIG), config.to_string()).unwrap();
    let tensors: BTreeMap<String, &Tensor> = tensors.iter().map(|(name, tensor)| (name.clone(), tensor)).collect();
    files::write(&folder.path().join(ADAPTER), &tensors).unwrap();
    let error = Policy::read(&fixture(base)).unwrap().with_adapter(folder.path()).err();
    let error = error.map(|error| error.to_string()).unwrap_or_default();
    assert!(error.contains(expected), "{error}");
}

#[test]
fn adapters_that_would_compute_wrong_are_refused() {
    let key = |key: &'static str, value: Value| {
        move |config: &mut Value, _: &mut BTreeMap<String, Tensor>| config[key] = value.clone()
    };
    let base = "qwen3-tied";
    check_refused(base, key("peft_type", "IA3".into()), "peft_type is \"IA3\"");
    check_refused(base, key("use_dora", true.into()), "`use_dora` is not supported");
    check_refused(base, key("rank_pattern", serde_json::json!({"q_proj": 8})), "`rank_pattern`");
    check_refused(base, key("modules_to_save", serde_json::json!(["lm_head"])), "`modules_to_save`");
    check_refused(base, key("bias", "all".into()), "bias = \"all\"");
    check_refused(base, key("r", 0.into()), "no usable number");
    check_refused(base, key("r", 4.into()), "lora_A");
    check_refused(base, key("r", "x".into()), "adapter_config.json");
    check_refused("llama", |_, _| {}, "replaces weights of the model");
    let head = "base_model.model.lm_head.lora_A.weight";
    check_refused(base, |_, tensors| drop(tensors.remove(head)), "lm_head has only one of lora_A and lora_B");
    check_refused(base, |_, tensors| tensors.clear(), "holds no adapter");
    let rename = |_: &mut Value, tensors: &mut BTreeMap<String, Tensor>| {
        let tensor = tensors.remove(head).unwrap();
        tensors.insert("base_model.model.model.embed_tokens.lora_embedding_A".into(), tensor);
        tensors.remove(&head.replace("lora_A", "lora_B"));
    };
    check_refused(base, rename, "lora_embedding_A belongs to no adapter");
    let widen = |_: &mut Value, tensors: &mut BTreeMap<String, Tensor>| {
        tensors.insert(head.to_owned(), Tensor::zeros((3, 33), DType::F32, &Device::Cpu).unwrap());
    };
    check_refused(base, widen, "[3, 33]");
    let spoil = |_: &mut Value, tensors: &mut BTreeMap<String, Tensor>| {
        let shape = tensors[head].shape().clone();
        tensors.insert(head.to_owned(), Tensor::full(f32::NAN, shape, &Device::Cpu).unwrap());
    };
    check_refused(base, spoil, "adapter_model.safetensors: tensor base_model.model.lm_head.lora_A.weight holds NaN");
}
