//! Adapters against PEFT's numbers (fixtures/make_models.py), against finite differences, and on disk.

use candle_core::{DType, Tensor, Var};
use std::collections::BTreeMap;

use super::*;
use crate::batch::{Datum, MicroBatch};
use crate::gradient::{Gradients, gradients};
use crate::layout::Layout;
use crate::loss::nll;
use crate::model::Policy;
use crate::model::tests::{Reference, distance, fixture};
use crate::objective::Objective;

const ALL: Lora = Lora { rank: 3, alpha: 6.0, train_attn: true, train_mlp: true, train_unembed: true };

/// A model of the fixtures under adapters whose B is not zero, as if some steps had been made.
fn adapted(name: &str, lora: &Lora) -> Policy {
    let policy = Policy::read(&fixture(name)).unwrap().with_new_adapter(lora, name, 1).unwrap();
    for (index, (name, var)) in policy.trainable().iter().enumerate() {
        if name.contains("lora_B") {
            let count = var.elem_count();
            let values: Vec<f32> = (0..count).map(|i| 0.2 * ((i * 7 + index) as f32).sin()).collect();
            var.set(&Tensor::from_vec(values, var.shape(), var.device()).unwrap()).unwrap();
        }
    }
    policy
}

fn values(tensor: &Tensor) -> Vec<f32> {
    tensor.flatten_all().unwrap().to_vec1().unwrap()
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
    let batch = MicroBatch::new(&data(), &Layout::Padded(0).passes(&data(), 1)[0]).unwrap().unwrap();
    values(&policy.predict(&batch, false).unwrap().0)
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
        assert_eq!(found.iter().count(), wanted, "{adapter}");
        for ((parameter, _), gradient) in reference.policy.trainable().iter().zip(found.iter()) {
            let off = distance(gradient, &values(&reference.tensors[&format!("grad.{parameter}")]));
            assert!(off < 1e-4, "{adapter}, {parameter}: {off:e}");
        }
        let decoder = reference.policy.frozen();
        let logits = decoder.logits(&decoder.hidden(&reference.ids()).unwrap()).unwrap();
        let first = |logits: &Tensor| values(&logits.get(0).unwrap());
        assert!(distance(&first(&logits), &first(&reference.tensors["logits"])) < 1e-5, "what is sampled from");
    }
}

/// Each adapter is moved along its gradient, both ways; the loss must change by what the gradient's length promises.
#[test]
fn gradients_equal_finite_differences() {
    const STEP: f64 = 3e-3;
    for base in ["qwen3-tied", "qwen2", "llama"] {
        let policy = adapted(base, &ALL);
        let found = nll_gradients(&policy, &data());
        let loss = || -log_probs(&policy).iter().map(|&p| f64::from(p)).sum::<f64>() / 24.0;
        for ((parameter, var), gradient) in policy.trainable().iter().zip(found.iter()) {
            let length = gradient.iter().map(|&g| f64::from(g).powi(2)).sum::<f64>().sqrt();
            let start = values(var);
            let loss_at = |step: f64| {
                let moved: Vec<f32> = start.iter().zip(gradient).map(|(x, g)| x + (step / length) as f32 * g).collect();
                set(var, moved);
                loss()
            };
            let difference = (loss_at(STEP) - loss_at(-STEP)) / (2.0 * STEP);
            set(var, start.clone());
            assert!(
                (difference - length).abs() < 5e-3 * length + 1e-4,
                "{base}, {parameter}: {difference} for {length}"
            );
        }
    }
}

fn set(var: &Var, values: Vec<f32>) {
    var.set(&Tensor::from_vec(values, var.shape(), var.device()).unwrap()).unwrap();
}

#[test]
fn a_new_adapter_changes_nothing_and_one_seed_gives_one_adapter() {
    let plain = Policy::read(&fixture("llama")).unwrap();
    let before = log_probs(&plain);
    let new = |seed| Policy::read(&fixture("llama")).unwrap().with_new_adapter(&ALL, "llama", seed).unwrap();
    assert_eq!(before, log_probs(&new(1)));
    let first = |policy: &Policy| policy.trainable().iter().next().map(|(_, var)| values(var)).unwrap();
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
        assert_eq!(found.iter().count(), policy.trainable().iter().count());
    }
    let none = Lora { train_attn: false, train_mlp: false, train_unembed: false, ..ALL };
    check(&Lora { train_attn: true, ..none.clone() }, &["k_proj", "o_proj", "q_proj", "v_proj"]);
    check(&Lora { train_mlp: true, ..none.clone() }, &["down_proj", "gate_proj", "up_proj"]);
    check(&Lora { train_unembed: true, ..none.clone() }, &["lm_head"]);
    let refused = Policy::read(&fixture("llama")).unwrap().with_new_adapter(&none, "", 1).err().unwrap().to_string();
    assert!(refused.contains("at least one of `train_attn`"), "{refused}");
}

/// The backward pass must not even compute them: candle's own product would.
#[test]
fn frozen_matrices_get_no_gradient() {
    let policy = adapted("llama", &ALL);
    let batch = MicroBatch::new(&data(), &Layout::Padded(0).passes(&data(), 1)[0]).unwrap().unwrap();
    let loss = policy.predict(&batch, false).unwrap().0.sum_all().unwrap();
    let store = loss.backward().unwrap();
    let adapters: Vec<_> = policy.trainable().iter().map(|(_, var)| var.as_tensor().id()).collect();
    let frozen: Vec<Vec<usize>> = parameter_shapes(policy.config())
        .into_iter()
        .map(|(_, shape)| shape)
        .filter(|shape| shape.len() == 2)
        .collect();
    let with_gradient = store.get_ids().filter(|id| !adapters.contains(id));
    for id in with_gradient {
        let dims = store.get_id(*id).unwrap().dims();
        assert!(!frozen.iter().any(|shape| shape == dims), "something of shape {dims:?} has a gradient");
    }
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
        let merged = policy.merged().unwrap();
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
    let tensors = |policy: &Policy| -> BTreeMap<String, Vec<f32>> {
        policy.trainable().iter().map(|(name, var)| (name.to_owned(), values(var))).collect()
    };
    assert_eq!(tensors(&first), tensors(&second));
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
    let mut tensors = files::read(&source.join(ADAPTER), &Device::Cpu).unwrap();
    spoil(&mut config, &mut tensors);
    std::fs::write(folder.path().join(ADAPTER_CONFIG), config.to_string()).unwrap();
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
}
