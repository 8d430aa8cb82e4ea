//! Trained reward models as graders: beside plugins, by step, and with a plugin in their place.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::guests::{rewarden, root, succeeds};
use crate::training::{fails, finish, folder, rows, set, small};

/// The quickstart with a reward model called `prm` and the plugin as a metric beside it.
fn config(folder: &Path, reward_model: &str) -> std::path::PathBuf {
    let text = fs::read_to_string(root().join("configs/quickstart.toml")).expect("readable");
    let plugin = format!("\"{}\"\nweight = 0", root().join("rewards/gsm8k").display());
    let text = text.replace("\"rewards/gsm8k\"", &plugin);
    let file = folder.join("config.toml");
    fs::write(&file, format!("{text}\n[[reward_model]]\nname = \"prm\"\n{reward_model}\n")).expect("written");
    file
}

/// A small run of all stages with these settings, to its end.
fn run(folder: &Path, reward_model: &str, stages: &str, settings: &[&str]) -> std::process::Command {
    let config = config(folder, reward_model);
    let mut command = small("run", &folder.join("run"));
    let mut arguments: Vec<std::ffi::OsString> = command.get_args().map(Into::into).collect();
    arguments[1] = config.into();
    command = rewarden();
    command.args(arguments).args(["--set", &format!("stages={stages}")]);
    set(&mut command, settings);
    command
}

const ALL: &str = "[\"sft\",\"prm\",\"rl\",\"eval\"]";

/// The scores that `prm` gave, one per rollout.
fn scores(run: &Path) -> Vec<Value> {
    let rollouts = rows(&run.join("rl/rollouts.jsonl"));
    rollouts.iter().map(|rollout| rollout["scores"]["prm"].clone()).collect()
}

#[test]
fn every_kind_judges_the_rollouts_of_its_run() {
    for (loss_fn, has_steps) in [("bradley_terry", false), ("pairwise", false), ("implicit", true), ("steps", true)] {
        let folder = folder();
        finish(run(folder.path(), "", ALL, &[&format!("prm.loss_fn={loss_fn}")]));
        let home = folder.path().join("run");
        let metrics = rows(&home.join("rl/metrics.jsonl"));
        assert!(metrics.iter().all(|row| row["reward_source_prm"] == 1.0), "{loss_fn}");
        assert!(metrics.iter().all(|row| row["env/all/reward/total"].is_number()), "{loss_fn}");
        let digest = &metrics[0]["plugin/prm/digest"];
        for score in scores(&home) {
            assert_eq!(&score["plugin"], digest);
            assert!(score["score"]["value"].is_number(), "{loss_fn}: {score}");
            let steps = score["score"]["steps"].as_array().map_or(0, Vec::len);
            assert!(has_steps || steps == 0, "{loss_fn}: {score}");
        }
        assert_eq!(has_steps, scores(&home).iter().any(|score| score["score"]["steps"][0].is_number()), "{loss_fn}");
    }
}

#[test]
fn steps_are_paid_one_by_one() {
    let folder = folder();
    let settings =
        ["prm.loss_fn=steps", "rl.adv_estimator=per_step", "data.arithmetic.operations=2", "rl.max_tokens=40"];
    finish(run(folder.path(), "", ALL, &settings));
    let metrics = rows(&folder.path().join("run/rl/metrics.jsonl"));
    assert!(metrics.iter().all(|row| row["env/all/steps_mismatched"] == 0.0), "the grader and the loop count alike");
    for score in scores(&folder.path().join("run")) {
        let steps: Vec<f64> =
            score["score"]["steps"].as_array().expect("steps").iter().filter_map(Value::as_f64).collect();
        assert!(steps.iter().all(|p| (0.0..=1.0).contains(p)), "{score}");
        let least = steps.iter().copied().fold(f64::INFINITY, f64::min);
        let value = score["score"]["value"].as_f64().expect("a value");
        assert!(steps.is_empty() && value == 0.0 || value == least, "{score}");
    }
}

#[test]
fn a_plugin_takes_the_place_of_what_could_not_be_trained() {
    let folder = folder();
    let failing = ["prm.learning_rate=1e30", "prm.adam.max_grad_norm=0"];
    let output = finish(run(folder.path(), "fallback = \"gsm8k\"", ALL, &failing));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("prm failed, and the run goes on without"), "{said}");
    assert!(said.contains("reward model `prm`: its fallback `gsm8k`"), "{said}");
    let home = folder.path().join("run");
    let metrics = rows(&home.join("rl/metrics.jsonl"));
    assert!(metrics.iter().all(|row| row["reward_source_prm"] == 0.0));
    assert!(metrics.iter().all(|row| row["plugin/prm/digest"] == row["plugin/gsm8k/digest"]), "every score says who");
    let summary: Value = serde_json::from_slice(&fs::read(home.join("summary.json")).expect("read")).expect("JSON");
    assert!(summary["failed"]["prm"].is_string(), "{summary}");

    let shown = succeeds(rewarden().arg("rescore").arg(&home).output().expect("the binary runs"));
    assert!(shown.contains("| prm ") && !shown.contains("cannot be reproduced"), "{shown}");

    let mut resume = run(folder.path(), "fallback = \"gsm8k\"", ALL, &failing);
    resume.arg("--resume");
    let again = finish(resume);
    let said = String::from_utf8_lossy(&again.stderr);
    assert!(said.contains("rl: finished before") && said.contains("prm failed"), "{said}");
}

#[test]
fn bad_data_of_a_reward_model_is_its_failure_where_a_plugin_stands_by() {
    let folder = folder();
    let missing = ["prm.data.path=no-such-file.jsonl"];
    let output = finish(run(folder.path(), "fallback = \"gsm8k\"", ALL, &missing));
    assert!(String::from_utf8_lossy(&output.stderr).contains("no-such-file.jsonl"));
    fails(run(folder.path(), "", ALL, &missing), &["no-such-file.jsonl"]);
}

/// A reward model without a model, and what the error must say.
#[track_caller]
fn check_refused(reward_model: &str, settings: &[&str], expected: &[&str]) {
    let folder = folder();
    fails(run(folder.path(), reward_model, "[\"sft\",\"rl\"]", settings), expected);
}

#[test]
fn without_a_model_or_a_fallback_nothing_starts() {
    check_refused("", &["sft.max_steps=1"], &["`reward_model.prm.path`", "`stages`", "`fallback`"]);
    check_refused("path = \"/nowhere/at/all\"", &["sft.max_steps=1"], &["`reward_model.prm.path`", "/nowhere/at/all"]);
    check_refused("fallback = \"rule\"", &[], &["`reward_model.prm.fallback`", "no reward `rule`", "gsm8k"]);
    check_refused("aggregat = \"min\"", &[], &["did you mean `aggregate`?"]);
    check_refused("aggregate = \"median\"", &[], &["`mean`"]);
}

#[test]
fn a_model_of_another_run_judges_and_a_policy_does_not() {
    let (trained, folder) = (folder(), folder());
    finish(run(trained.path(), "", "[\"sft\",\"prm\"]", &[]));
    let path = |name: &str| format!("path = \"{}/run/{name}\"", trained.path().display());
    let stages = "[\"sft\",\"rl\"]";
    let short = ["rl.max_steps=1", "sft.max_steps=1"];
    let policy = run(folder.path(), &path("sft/checkpoints/000012"), stages, &short);
    fails(policy, &["is no reward model", "reward_model.json"]);
    finish(run(folder.path(), &path("prm/checkpoints/000012"), stages, &short));
    let home = folder.path().join("run");
    assert_eq!(rows(&home.join("rl/metrics.jsonl"))[0]["reward_source_prm"], 1.0);
    let output = rewarden().arg("rescore").arg(&home).output().expect("the binary runs");
    let shown = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{shown}");
    assert!(shown.contains("cannot be reproduced: a trained reward model's"), "{shown}");
}
