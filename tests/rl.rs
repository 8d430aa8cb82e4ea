//! `rewarden rl`: reinforcement learning from a plugin, and from nothing else.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::guests::{rewarden, root};
use crate::training::{checkpoint, copy, fails, finish, folder, rows, small, survives_a_kill_after_sft, timeless};

#[test]
fn a_killed_stage_resumes_bit_for_bit() {
    survives_a_kill_after_sft("rl");
}

#[test]
fn it_logs_every_trajectory_with_its_score_and_digest() {
    let run = folder();
    finish(small("sft", run.path()));
    finish(small("rl", run.path()));
    let metrics = rows(&run.path().join("rl/metrics.jsonl"));
    let numbers = [
        "env/all/reward/total",
        "rewards/gsm8k/mean",
        "optim/kl_sample_train_v1",
        "optim/entropy",
        "env/all/by_group/frac_mixed",
        "stop/completed",
        "rewards/gsm8k/std",
        "rewards/gsm8k/weight",
        "plugin/gsm8k/calls",
        "plugin/gsm8k/faults",
        "plugin/gsm8k/traps",
        "plugin/gsm8k/timeouts",
        "plugin/gsm8k/irreproducible",
        "plugin/gsm8k/fuel_mean",
        "plugin/gsm8k/fuel_max",
        "time/plugin/gsm8k/ms_p50",
        "time/plugin/gsm8k/ms_p99",
        "time/sampling",
        "time/scoring",
        "time/scoring_wait",
        "progress/batch",
        "env/all/turns_per_episode",
        "reward",
        "sequence_length",
    ];
    for name in numbers {
        assert!(metrics.iter().all(|row| row[name].is_number()), "{name}");
    }
    let rollouts = rows(&run.path().join("rl/rollouts.jsonl"));
    assert_eq!(rollouts.len(), 12 * 2 * 4);
    let digest = metrics[0]["plugin/gsm8k/digest"].as_str().expect("a digest");
    assert!(digest.starts_with("sha256:"));
    for row in &rollouts {
        assert_eq!(row["scores"]["gsm8k"]["plugin"], digest);
        assert_eq!(row["reward"], row["scores"]["gsm8k"]["score"]["value"]);
        assert!(row["scores"]["gsm8k"]["fuel"].as_u64().is_some_and(|fuel| fuel > 0) && row["turn_scores"].is_array());
        assert!(row["completion"][0]["content"].is_string() && row["advantage"].is_number());
        assert_eq!((&row["prompt"][0]["role"], &row["completion"][0]["role"]), (&"user".into(), &"assistant".into()));
        assert!(row["stop_reason"] == "completed" || row["stop_reason"] == "max_tokens", "{row:?}");
    }
}

/// Faults are logged beside the other samples' scores and the run goes on; with `fail_run` it stops and says why.
#[test]
fn faults_are_data_until_the_config_says_otherwise() {
    let folder = folder();
    let data = folder.path().join("rows.jsonl");
    // Every other row has no reference answer, which the plugin cannot judge.
    let row = |index: usize| match index % 2 {
        0 => format!("{{\"question\":\"{index}+1?\",\"answer\":\"#### {}\"}}", index + 1),
        _ => format!(
            r#"{{"messages":[{{"role":"user","content":"Say {index}"}},{{"role":"assistant","content":"{index}"}}]}}"#
        ),
    };
    fs::write(&data, (0..8).map(|index| row(index) + "\n").collect::<String>()).expect("written");
    let verb = |verb: &str, policy: &str| {
        let mut command = rewarden();
        command.args([verb, "configs/gsm8k-smoke.toml", "--set", "data.test_size=0", "--set"]);
        command.arg(format!("data.path={}", data.display())).arg("--set").arg(format!("rubric.on_fault={policy}"));
        command.arg("--set").arg(format!("log_path={}", folder.path().join("run").display()));
        command.args(["--set", "rl.max_steps=1", "--set", "rl.groups_per_batch=8"]);
        command
    };
    finish(verb("sft", "skip_sample"));
    finish(verb("rl", "skip_sample"));
    let rollouts = rows(&folder.path().join("run/rl/rollouts.jsonl"));
    let (judged, faulty): (Vec<_>, Vec<_>) = rollouts.iter().partition(|row| row["data_source"] == "openai/gsm8k");
    assert_eq!((judged.len(), faulty.len()), (16, 16));
    assert!(judged.iter().all(|row| row["reward"].is_number()));
    for row in faulty {
        assert_eq!((&row["reward"], &row["advantage"]), (&Value::Null, &Value::Null), "a fault is not a reward of 0");
        assert_eq!(row["scores"]["gsm8k"]["fault"]["kind"], "invalid-input");
    }
    assert_eq!(rows(&folder.path().join("run/rl/metrics.jsonl"))[0]["plugin/gsm8k/faults"], 16.0);
    fails(verb("rl", "fail_run"), &["reward `gsm8k` failed on sample", "skip_sample"]);
    finish(verb("rl", "{fixed=-1.0}"));
    for row in rows(&folder.path().join("run/rl/rollouts.jsonl")) {
        let is_faulty = row["scores"]["gsm8k"]["fault"].is_object();
        assert!(row["reward"].as_f64().is_some_and(|reward| (reward == -1.0) == is_faulty), "{row:?}");
    }
}

/// Two rewards of a config: weights follow their course while raw answers are logged, one is not asked about samples of
/// another source, and what people read stays the plain sum while the update learns from normalised rewards.
#[test]
fn a_rubric_of_the_config_reaches_logs_and_rollouts() {
    let run = folder();
    let mut command = small("rl", run.path());
    let rewards = "reward=[{name='gsm8k', plugin='rewards/gsm8k', weight=[[0, 1.0], [4, 0.0]], on_fault={fixed=0.5}}, \
                   {name='exact', plugin='guest-examples/first-reward', priority=2}, \
                   {name='elsewhere', plugin='guest-examples/first-reward', data_source=['nowhere']}]";
    command.args(["--set", rewards, "--set", "rubric.combine=normalize_then_sum", "--set", "stages=['rl']"]);
    command.args(["--set", "rl.max_steps=5", "--set", "rl.save_every=0"]);
    finish(command);
    let metrics = rows(&run.path().join("rl/metrics.jsonl"));
    let weights: Vec<f64> = metrics.iter().filter_map(|row| row["rewards/gsm8k/weight"].as_f64()).collect();
    assert_eq!(weights, [1.0, 0.75, 0.5, 0.25, 0.0]);
    for row in &metrics {
        assert!(row["rewards/gsm8k/mean"].is_number() && row["rewards/exact/weight"] == 1.0, "{row:?}");
        assert!(row["plugin/elsewhere/calls"] == 0.0 && !row.contains_key("rewards/elsewhere/mean"), "{row:?}");
    }
    for row in rows(&run.path().join("rl/rollouts.jsonl")) {
        let value = |name: &str| row["scores"][name]["score"]["value"].as_f64().expect("a score");
        let weight = weights[row["step"].as_u64().expect("a step") as usize];
        let total = row["total"].as_f64().expect("a total");
        assert!((total - weight * value("gsm8k") - value("exact")).abs() < 1e-12, "{row:?}");
        assert!(row["reward"].is_number() && row["scores"].get("elsewhere").is_none(), "{row:?}");
    }
}

/// Fault counts outlive the process: a run that is resumed quarantines and stops where the uninterrupted one does. All
/// rows are of the kind the plugin cannot judge: 8 groups of 4 make 32 faults a step.
#[test]
fn quarantine_and_budget_survive_a_resume() {
    let folder = folder();
    let data = folder.path().join("rows.jsonl");
    let row = |index: usize| {
        format!(
            r#"{{"messages":[{{"role":"user","content":"Say {index}"}},{{"role":"assistant","content":"{index}"}}]}}"#
        )
    };
    fs::write(&data, (0..8).map(|index| row(index) + "\n").collect::<String>()).expect("written");
    let verb = |verb: &str, run: &str, rules: &str| {
        let mut command = rewarden();
        command.args([verb, "configs/gsm8k-smoke.toml", "--set", "data.test_size=0", "--set", "rl.max_steps=6"]);
        command.args(["--set", "rl.groups_per_batch=8", "--set", "rl.save_every=2", "--set", "rl.max_tokens=4"]);
        command.arg("--set").arg(format!("data.path={}", data.display())).args(["--set", &format!("rubric={rules}")]);
        command.arg("--set").arg(format!("log_path={}", folder.path().join(run).display()));
        command
    };
    let quarantine = "{quarantine_after=100}";
    finish(verb("sft", "run", quarantine));
    copy(&folder.path().join("run"), &folder.path().join("budget"));
    fails(verb("rl", "run", quarantine), &["rl: no answer of any step got a reward", "quarantined since step 3"]);
    let run = folder.path().join("run");
    let metrics = rows(&run.join("rl/metrics.jsonl"));
    let calls: Vec<f64> = metrics.iter().filter_map(|row| row["plugin/gsm8k/calls"].as_f64()).collect();
    assert_eq!(calls, [32.0, 32.0, 32.0, 32.0, 0.0, 0.0], "the hundredth fault in a row comes in step 3");
    let rollouts = rows(&run.join("rl/rollouts.jsonl"));
    let last = &rollouts.last().expect("a rollout")["scores"]["gsm8k"]["fault"];
    assert_eq!((&last["kind"], &last["detail"]["since_step"]), (&"quarantined".into(), &3.into()));

    // As if it had been killed before its second checkpoint.
    let (whole, index) = (timeless(&run, "rl"), run.join("rl/checkpoints.jsonl"));
    let checkpoints = fs::read_to_string(&index).expect("an index");
    fs::write(&index, checkpoints.lines().next().expect("a checkpoint").to_owned() + "\n").expect("written");
    let mut resume = verb("rl", "run", quarantine);
    resume.arg("--resume");
    finish(resume);
    assert_eq!(timeless(&run, "rl"), whole);
    assert_eq!(rows(&run.join("rl/rollouts.jsonl")), rollouts);
    let counts = |text: &str| {
        text.lines()
            .map(|line| serde_json::from_str::<Value>(line).expect("JSON")["rubric"].clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(counts(&fs::read_to_string(&index).expect("an index")), counts(&checkpoints));

    let spent = ["`rubric.fault_budget` = 150", "`gsm8k` 160 times"];
    fails(verb("rl", "budget", "{fault_budget=150}"), &spent);
    let mut resume = verb("rl", "budget", "{fault_budget=150}");
    resume.arg("--resume");
    fails(resume, &spent);
    assert_eq!(rows(&folder.path().join("budget/rl/metrics.jsonl")).len(), 4, "four steps stay finished");
}

#[test]
fn what_is_missing_is_named() {
    let run = folder();
    fails(small("rl", &run.path().join("a")), &["no final checkpoint", "rewarden sft"]);
    let with_plugin = |plugin: &Path| {
        let mut command = small("rl", run.path());
        command.arg("--set").arg(format!("reward=[{{name='r', plugin='{}'}}]", plugin.display()));
        command
    };
    fails(with_plugin(Path::new("no/such.wasm")), &["reward `r`", "no/such.wasm"]);
    let mut none = small("rl", run.path());
    none.args(["--set", "reward=[]"]);
    fails(none, &["at least one [[reward]]"]);
    let mut cramped = small("rl", &run.path().join("b"));
    cramped.args(["--set", "stages=['rl']", "--set", "rl.max_tokens=2000"]);
    fails(cramped, &["the prompt of task train-0", "max_position_embeddings"]);
    let mut unknown = small("rl", run.path());
    unknown.args(["--set", "reward=[{name='gsm8k', plugin='rewards/gsm8k', settings={methood='first'}}]"]);
    fails(unknown, &["gsm8k", "methood"]);
}

/// A supervised stage long enough to be right sometimes, on problems easy enough for a test.
fn apprentice(verb: &str, run: &Path) -> std::process::Command {
    let mut command = rewarden();
    command.args([verb, "configs/quickstart.toml", "--set"]).arg(format!("log_path={}", run.display()));
    let settings = [
        "data.arithmetic.number_max=4",
        "data.arithmetic.train_size=2500",
        "data.arithmetic.test_size=60",
        "sft.max_steps=150",
        "sft.save_every=0",
        "rl.max_steps=25",
        "rl.groups_per_batch=8",
        "rl.save_every=0",
        "rl.eval_every=0",
        "rl.max_tokens=30",
    ];
    for setting in settings {
        command.args(["--set", setting]);
    }
    command
}

fn pass_at_1(run: &Path) -> [f64; 2] {
    let rows = rows(&run.join("eval/metrics.jsonl"));
    ["sft", "rl"].map(|model| {
        let row = rows.iter().find(|row| row["model"] == model).unwrap_or_else(|| panic!("{model} was not evaluated"));
        row["test/pass@1"].as_f64().expect("a number")
    })
}

/// Changing one line of the plugin's source changes what is learnt: nothing, when it pays nothing.
#[test]
fn the_plugin_is_the_only_teacher() {
    let (honest, paid_nothing) = (folder(), folder());
    finish(apprentice("sft", honest.path()));
    copy(honest.path(), paid_nothing.path());

    finish(apprentice("rl", honest.path()));
    finish(apprentice("eval", honest.path()));
    let [before, after] = pass_at_1(honest.path());
    assert!(after > before + 0.15, "pass@1 went from {before} to {after} under the honest plugin");

    let sources = folder();
    let miser = miser(sources.path());
    let unpaid = |verb: &str| {
        let mut command = apprentice(verb, paid_nothing.path());
        command.arg("--set").arg(format!("reward=[{{name='gsm8k', plugin='{}'}}]", miser.display()));
        command
    };
    finish(unpaid("rl"));
    let trained = checkpoint(paid_nothing.path(), "rl", "000025", "model.safetensors");
    let untrained = checkpoint(paid_nothing.path(), "sft", "000150", "model.safetensors");
    assert!(trained == untrained, "the policy moved although the plugin paid nothing");
}

/// A copy of rewards/gsm8k, edited to pay 0 for everything, that builds outside the workspace.
fn miser(folder: &Path) -> PathBuf {
    let miser = folder.join("gsm8k");
    copy(&root().join("rewards/gsm8k"), &miser);
    fs::copy(root().join("Cargo.lock"), miser.join("Cargo.lock")).expect("copied");
    fs::write(
        miser.join("Cargo.toml"),
        format!(
            "[package]\nname = \"gsm8k\"\nversion = \"0.1.0\"\nedition = \"2024\"\ndescription = \"pays nothing\"\n\n\
             [lib]\ncrate-type = [\"cdylib\", \"rlib\"]\n\n[dependencies]\nrewarden-sdk = {{ path = '{}' }}\n\
             serde = {{ version = \"1\", features = [\"derive\"] }}\n\n[workspace]\n",
            root().join("host/sdk").display()
        ),
    )
    .expect("written");
    let source = fs::read_to_string(miser.join("src/lib.rs")).expect("source");
    let call = "reward!(score, ";
    assert_eq!(source.matches(call).count(), 1, "the plugin's last line has changed: edit this test with it");
    let wrapper = "fn pay_nothing(sample: &Sample, settings: &Settings) -> Result<Score, Fault> {\n    \
                   score(sample, settings).map(|_| Score::of(0.0))\n}\n\n";
    fs::write(miser.join("src/lib.rs"), source.replace(call, &format!("{wrapper}reward!(pay_nothing, ")))
        .expect("written");
    miser
}
