//! `rewarden prm`: reward models of every kind.

use serde_json::Value;

use crate::training::{after_sft, checkpoint, fails, finish, folder, rows, set, small, survives_a_kill_after_sft};

#[test]
fn a_killed_stage_resumes_bit_for_bit() {
    survives_a_kill_after_sft("prm");
}

/// A kind of reward model, further settings, the metric that says how often it is right, and the class of the model.
#[track_caller]
fn check_kind(settings: &[&str], accuracy: &str, class: &str) {
    let run = after_sft();
    let mut command = small("prm", run.path());
    set(&mut command, settings);
    finish(command);
    let rows = rows(&run.path().join("prm/metrics.jsonl"));
    assert_eq!(rows.len(), 12);
    for name in ["loss", accuracy, "optim/lr", "optim/grad_norm", "progress/done_frac"] {
        assert!(rows.iter().all(|row| row[name].is_number()), "{settings:?}: {name}");
    }
    for name in ["loss", accuracy] {
        assert!(rows[11][&format!("test/{name}")].is_number(), "{settings:?}: test/{name}");
    }
    let parsed =
        |file: &str| -> Value { serde_json::from_slice(&checkpoint(run.path(), "prm", "000012", file)).expect("JSON") };
    assert_eq!(parsed("config.json")["architectures"][0], class, "{settings:?}");
    let loss_fn = settings[0].split_once('=').expect("a setting").1;
    assert_eq!(parsed("reward_model.json")["loss_fn"], loss_fn);
}

#[test]
fn every_kind_is_trained() {
    check_kind(&["prm.loss_fn=bradley_terry"], "pair_accuracy", "Qwen3ForSequenceClassification");
    check_kind(&["prm.loss_fn=pairwise"], "pair_accuracy", "Qwen3ForCausalLM");
    check_kind(&["prm.loss_fn=implicit"], "pair_accuracy", "Qwen3ForCausalLM");
    check_kind(&["prm.loss_fn=steps"], "step_accuracy", "Qwen3ForTokenClassification");
}

#[test]
fn a_new_head_knows_nothing() {
    for loss_fn in ["bradley_terry", "steps"] {
        let run = after_sft();
        let mut command = small("prm", run.path());
        command.args(["--set", &format!("prm.loss_fn={loss_fn}"), "--set", "prm.max_steps=1"]);
        finish(command);
        let first = rows(&run.path().join("prm/metrics.jsonl"))[0]["loss"].as_f64().expect("a number");
        assert!((first - 2f64.ln()).abs() < 1e-6, "{loss_fn}: {first}");
    }
}

#[test]
fn adapters_bring_their_head() {
    let run = folder();
    let mut command = small("prm", run.path());
    command.args(["--set", "stages=[\"prm\"]", "--set", "lora_rank=2", "--set", "prm.loss_fn=steps"]);
    finish(command);
    let peft: Value =
        serde_json::from_slice(&checkpoint(run.path(), "prm", "000012", "adapter_config.json")).expect("JSON");
    assert_eq!((&peft["task_type"], &peft["modules_to_save"][0]), (&"TOKEN_CLS".into(), &"score".into()));
    assert!(run.path().join("prm/base/config.json").is_file(), "an adapter is worth nothing without its model");
}

/// Settings and what the error must say.
#[track_caller]
fn check_refused(settings: &[&str], expected: &[&str]) {
    let run = folder();
    let mut command = small("prm", run.path());
    command.args(["--set", "stages=[\"prm\"]"]);
    set(&mut command, settings);
    fails(command, expected);
}

#[test]
fn what_cannot_be_learnt_from_is_named() {
    check_refused(&["prm.data.path=no.jsonl"], &["no.jsonl"]);
    check_refused(&["prm.data.path=tests/data/gsm8k.jsonl"], &["gsm8k.jsonl:1", "`chosen` is missing"]);
    check_refused(&["prm.max_length=3"], &["`prm.max_length`", "at most 3 tokens"]);
    check_refused(&["prm.loss_fn=step"], &["did you mean `steps`?"]);
    check_refused(&["prm.beta=0"], &["`prm.beta`", "above 0"]);
    check_refused(&["prm.batch_size=0"], &["`prm.batch_size`"]);
    check_refused(&["prm.loss_fn=steps", "prm.step_separator=="], &["`prm.data`", "within a step"]);
    let start = folder();
    let mut before = small("prm", start.path());
    before.args(["--set", "prm.max_steps=1"]);
    fails(before, &["run `rewarden sft` with this config first"]);
}
