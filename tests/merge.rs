//! `rewarden merge`: an adapter and its model as one model.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::guests::{rewarden, root};
use crate::training::{fails, finish, folder, rows, small};

fn merge(checkpoint: &Path, out: &Path) -> Command {
    let mut command = rewarden();
    command.arg("merge").arg(checkpoint).arg(out);
    command
}

/// Mean held-out loss of a model, as a supervised stage that learns nothing measures it.
fn held_out(model: &Path, run: &Path) -> f64 {
    let mut command = small("sft", run);
    command.args(["--set", "sft.learning_rate=0", "--set", "sft.max_steps=1", "--set", "lora_rank=0", "--set"]);
    command.arg(format!("sft.load_checkpoint_path={}", model.display()));
    finish(command);
    rows(&run.join("sft/metrics.jsonl"))[0]["test/nll"].as_f64().expect("a number")
}

#[test]
fn a_merged_checkpoint_says_what_the_adapter_says() {
    let (run, out) = (folder(), folder());
    let mut command = small("sft", run.path());
    command.args(["--set", "lora_rank=4"]);
    finish(command);
    let adapter = run.path().join("sft/checkpoints/000012");
    let merged = out.path().join("merged");
    finish(merge(&adapter, &merged));
    for file in ["config.json", "model.safetensors", "tokenizer.json"] {
        assert!(merged.join(file).is_file(), "{file}");
    }
    assert!(!merged.join("adapter_config.json").exists() && !out.path().join("merged.writing").exists());
    let [one, other] = [(&adapter, "a"), (&merged, "b")].map(|(model, name)| held_out(model, &out.path().join(name)));
    let base = held_out(&run.path().join("sft/base"), &out.path().join("c"));
    assert!((one - other).abs() < 1e-5 && (one - base).abs() > 1e-2, "{one}, {other}; untrained {base}");
    fails(merge(&adapter, &merged), &["merged", "exists already"]);
}

#[test]
fn what_is_no_adapter_or_has_no_model_is_named() {
    let place = folder();
    let out = place.path().join("out");
    fails(merge(&root().join("host/train/fixtures/qwen3-tied"), &out), &["adapter_config.json", "needs no merging"]);
    let adapter = place.path().join("adapter");
    crate::training::copy(&root().join("host/train/fixtures/lora-qwen2"), &adapter);
    let file = adapter.join("adapter_config.json");
    let mut config: Value = serde_json::from_slice(&fs::read(&file).expect("a config")).expect("JSON");
    config["base_model_name_or_path"] = "no/such/model".into();
    fs::write(&file, config.to_string()).expect("written");
    fails(merge(&adapter, &out), &["`no/such/model`", "base_model_name_or_path"]);
    assert!(!out.exists());
}
