//! `rewarden eval`: what the stages made, on held-out tasks or other data; and evaluation within reinforcement learning.

use std::fs;
use std::path::Path;

use serde_json::{Map, Value};

use crate::guests::rewarden;
use crate::training::{checkpoint, copy, fails, finish, folder, rows, small, timeless};

#[test]
fn it_evaluates_each_finished_stage() {
    let run = folder();
    finish(small("sft", run.path()));
    finish(small("rl", run.path()));
    let output = finish(small("eval", run.path()));
    let table = String::from_utf8_lossy(&output.stdout);
    assert!(table.contains("| sft") && table.contains("| rl") && table.contains("pass@2"), "{table}");
    let rows = rows(&run.path().join("eval/metrics.jsonl"));
    assert_eq!(rows.len(), 2);
    for row in &rows {
        assert_eq!(row["test/problems"], 6);
        assert!(row["test/pass@1"].as_f64() <= row["test/pass@2"].as_f64());
    }
}

#[test]
fn without_a_stage_it_evaluates_the_model_itself() {
    let run = folder();
    let output = finish(small("eval", run.path()));
    assert!(String::from_utf8_lossy(&output.stdout).contains("| base"));
}

/// A pass@k of 0 would say that the model is bad, when nobody looked at it. The rows have no answer to compare with.
#[test]
fn where_nothing_could_be_judged_no_figure_stands() {
    let run = folder();
    let data = run.path().join("rows.jsonl");
    let row = |number: usize| {
        let said = format!(r#"{{"role":"user","content":"Say {number}"}},{{"role":"assistant","content":"{number}"}}"#);
        format!("{{\"messages\":[{said}]}}\n")
    };
    fs::write(&data, (0..8).map(row).collect::<String>()).expect("written");
    let mut command = rewarden();
    command.args(["eval", "configs/gsm8k-smoke.toml", "--set", "data.test_size=4", "--set"]);
    command.arg(format!("data.path={}", data.display()));
    command.arg("--set").arg(format!("log_path={}", run.path().join("run").display()));
    let expected = ["eval: no answer of `base` got a reward: reward `gsm8k`", "no ground truth", "base-rollouts.jsonl"];
    fails(command, &expected);
    assert!(!rows(&run.path().join("run/eval/base-rollouts.jsonl")).is_empty(), "what was said is kept");
}

#[test]
fn it_needs_held_out_problems() {
    let run = folder();
    let mut command = small("eval", run.path());
    command.args(["--set", "data.arithmetic.test_size=0"]);
    fails(command, &["held-out rows", "data.test_size"]);
}

/// Rows of two sources as a JSONL file, half of which gsm8k cannot judge.
fn two_sources(file: &Path) {
    let row = |index: usize| match index % 2 {
        0 => format!(r#"{{"question":"{index}+1?","ground_truth":"{}","data_source":"sums"}}"#, index + 1),
        _ => format!(r#"{{"messages":[{{"role":"user","content":"Say {index}"}}]}}"#),
    };
    fs::write(file, (0..8).map(|index| row(index) + "\n").collect::<String>()).expect("written");
}

/// Needs neither the data the model was trained on nor its stages.
#[test]
fn any_checkpoint_is_evaluated_on_any_data() {
    let (trained, run) = (folder(), folder());
    finish(small("sft", trained.path()));
    let data = run.path().join("rows.jsonl");
    two_sources(&data);
    let config = run.path().join("eval.toml");
    let log_path = run.path().join("run");
    let text = format!(
        "log_path = {log_path:?}\n[[reward]]\nname = \"gsm8k\"\nplugin = \"rewards/gsm8k\"\n[eval]\nmax_tokens = 12\n\
         num_samples = 3\nk = [1, 3]\n[eval.data]\npath = {data:?}\n"
    );
    fs::write(&config, text).expect("written");
    let eval = |settings: &[&str]| {
        let mut command = crate::guests::rewarden();
        command.arg("eval").arg(&config).arg("--set");
        command.arg(format!("eval.load_checkpoint_path={}", trained.path().join("sft/checkpoints/000012").display()));
        for setting in settings {
            command.args(["--set", setting]);
        }
        command
    };
    finish(eval(&[]));
    let row = &rows(&log_path.join("eval/metrics.jsonl"))[0];
    assert_eq!(
        (&row["model"], &row["test/problems"], &row["test/faults"]),
        (&"checkpoint".into(), &8.into(), &12.into())
    );
    for name in ["avg@3", "maj@3", "pass@1", "pass@3"] {
        let [all, sums, chat] = ["test", "test/sums", "test/chat"].map(|of| row[&format!("{of}/{name}")].as_f64());
        assert_eq!((chat, all), (Some(0.0), sums.map(|sums| sums / 2.0)), "{name}");
    }
    assert_eq!((&row["test/chat/faults"], &row["test/chat/env/all/reward/total"]), (&12.into(), &Value::Null));

    let greedy = ["eval.temperature=0", "eval.num_samples=1", "eval.k=[1]"];
    finish(eval(&greedy));
    let once = fs::read(log_path.join("eval/checkpoint-rollouts.jsonl")).expect("rollouts");
    finish(eval(&[greedy.as_slice(), &["seed=7"]].concat()));
    assert!(once == fs::read(log_path.join("eval/checkpoint-rollouts.jsonl")).expect("rollouts"), "greedy drew lots");
    let mut nothing = crate::guests::rewarden();
    nothing.arg("eval").arg(&config);
    fails(nothing, &["`model_name`", "rows it trains on"]);
}

/// What training alone decides.
fn training(run: &Path) -> Vec<Map<String, Value>> {
    let mut rows = timeless(run, "rl");
    rows.iter_mut().for_each(|row| row.retain(|key, _| !key.starts_with("test/")));
    rows
}

#[test]
fn training_does_not_notice_that_it_is_evaluated() {
    let (plain, watched) = (folder(), folder());
    finish(small("sft", plain.path()));
    copy(plain.path(), watched.path());
    let data = plain.path().join("rows.jsonl");
    two_sources(&data);
    let rl = |run: &Path, every: &str| {
        let mut command = small("rl", run);
        command.arg("--set").arg(format!("eval.data.path={}", data.display()));
        // Half of the evaluated rows are faults: were they counted, the plugin would be quarantined in training.
        command.args(["--set", every, "--set", "rl.max_steps=5", "--set", "rubric.quarantine_after=8"]);
        command
    };
    finish(rl(plain.path(), "rl.eval_every=0"));
    finish(rl(watched.path(), "rl.eval_every=2"));
    let rows = rows(&watched.path().join("rl/metrics.jsonl"));
    let measured: Vec<bool> = rows.iter().map(|row| row.contains_key("test/pass@1")).collect();
    assert_eq!(measured, [true, false, true, false, true], "before the first step, and every second one after");
    assert!(rows[0]["test/faults"] == 8 && rows[0]["test/sums/pass@2"].is_number(), "{:?}", rows[0]);
    assert_eq!(training(plain.path()), training(watched.path()));
    let rollouts = |run: &Path| fs::read(run.join("rl/rollouts.jsonl")).expect("rollouts");
    assert!(rollouts(plain.path()) == rollouts(watched.path()));
    let weights = |run: &Path| checkpoint(run, "rl", "000005", "model.safetensors");
    assert!(weights(plain.path()) == weights(watched.path()));
    let counts = |run: &Path| fs::read_to_string(run.join("rl/checkpoints.jsonl")).expect("an index");
    let counts = |run: &Path| serde_json::from_str::<Value>(&counts(run)).expect("one row")["rubric"].clone();
    assert_eq!(counts(plain.path()), counts(watched.path()));
}
