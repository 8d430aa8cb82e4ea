//! `rewarden sft`: supervised fine-tuning.

use std::fs;

use serde_json::Value;

use crate::guests::root;
use crate::training::{checkpoint, fails, finish, folder, rows, set, small, survives_a_kill};

#[test]
fn a_killed_stage_resumes_bit_for_bit() {
    let whole = folder();
    finish(small("sft", whole.path()));
    survives_a_kill("sft", whole.path(), |_| ());
}

#[test]
fn it_leaves_metrics_and_a_model_folder() {
    let run = folder();
    finish(small("sft", run.path()));
    let rows = rows(&run.path().join("sft/metrics.jsonl"));
    assert_eq!(rows.len(), 12);
    for name in [
        "train_mean_nll",
        "optim/lr",
        "optim/grad_norm",
        "num_sequences",
        "num_tokens",
        "num_loss_tokens",
        "progress/done_frac",
    ] {
        assert!(rows.iter().all(|row| row[name].is_number()), "{name}");
    }
    let nll = |row: &serde_json::Map<String, Value>| row["train_mean_nll"].as_f64().expect("a number");
    assert!(nll(&rows[11]) < nll(&rows[0]), "nothing was learnt");
    assert!(rows[11]["test/nll"].is_number(), "held-out loss is measured at the end");
    let names: Vec<String> = fs::read_dir(run.path().join("sft/checkpoints"))
        .expect("checkpoints")
        .map(|e| e.expect("one").file_name().into_string().expect("UTF-8"))
        .collect();
    assert_eq!(names.len(), 3, "{names:?}");
    let config: Value = serde_json::from_slice(&checkpoint(run.path(), "sft", "000012", "config.json")).expect("JSON");
    assert_eq!(config["architectures"][0], "Qwen3ForCausalLM");
}

#[test]
fn a_checkpoint_is_a_model_to_start_from() {
    let (first, second) = (folder(), folder());
    finish(small("sft", first.path()));
    let mut again = small("sft", second.path());
    again.args(["--set", "sft.learning_rate=0", "--set", "lora_rank=0", "--set"]);
    again.arg(format!("model_name={}", first.path().join("sft/checkpoints/000012").display()));
    finish(again);
    let weights = |run: &tempfile::TempDir| checkpoint(run.path(), "sft", "000012", "model.safetensors");
    assert!(weights(&first) == weights(&second), "a learning rate of 0 must not move the loaded weights");
}

#[test]
fn rows_of_every_shape_are_learnt_from() {
    let run = folder();
    let data = run.path().join("mixed.jsonl");
    let row = |index: usize| match index % 2 {
        0 => format!(r#"{{"question":"What is {index}+1?","answer":"It is {0}.\n#### {0}"}}"#, index + 1),
        _ => format!(
            r#"{{"messages":[{{"role":"user","content":"Say {index}"}},{{"role":"assistant","content":"{index}"}}]}}"#
        ),
    };
    fs::write(&data, (0..24).map(|index| row(index) + "\n").collect::<String>()).expect("written");
    let mut command = crate::guests::rewarden();
    command.args(["sft", "configs/gsm8k-smoke.toml", "--set"]).arg(format!("data.path={}", data.display()));
    command.arg("--set").arg(format!("log_path={}", run.path().join("run").display()));
    finish(command);
}

#[test]
fn rows_left_out_are_counted() {
    let run = folder();
    let data = run.path().join("twice.jsonl");
    let row = |index: usize| format!("{{\"prompt\":\"What is {0}+1?\",\"completion\":\"{0}\"}}\n", index % 12);
    fs::write(&data, (0..24).map(row).collect::<String>()).expect("written");
    let mut command = crate::guests::rewarden();
    command.args(["sft", "configs/gsm8k-smoke.toml", "--set"]).arg(format!("data.path={}", data.display()));
    command.arg("--set").arg(format!("log_path={}", run.path().join("run").display()));
    let said = String::from_utf8(finish(command).stderr).expect("UTF-8");
    assert!(said.contains("twice.jsonl: 2 rows skipped: asks what a held-out row asks"), "{said}");
}

/// `rewarden sft` on these rows, a row a step, none held out, at most 100 tokens each.
fn row_by_row(rows: &str, folder: &std::path::Path) -> std::process::Command {
    let data = folder.join("rows.jsonl");
    fs::write(&data, rows).expect("written");
    let mut command = crate::guests::rewarden();
    command.args(["sft", "configs/gsm8k-smoke.toml", "--set"]).arg(format!("data.path={}", data.display()));
    command.arg("--set").arg(format!("log_path={}", folder.join("run").display()));
    set(&mut command, &["data.test_size=0", "sft.batch_size=1", "sft.max_steps=99", "sft.max_length=100"]);
    command
}

#[test]
fn rows_that_teach_nothing_are_left_out_and_counted() {
    let run = folder();
    let row = |index: usize| match index % 3 {
        0 => format!("{{\"prompt\":\"What is {index}+1?\",\"completion\":\"{}\"}}\n", index + 1),
        1 => format!("{{\"prompt\":\"What is {index}+1?\"}}\n"),
        _ => format!("{{\"prompt\":\"{}{index}?\",\"completion\":\"7\"}}\n", "What? ".repeat(200)),
    };
    let mixed: String = (0..12).map(row).collect();
    let said = String::from_utf8(finish(row_by_row(&mixed, run.path())).stderr).expect("UTF-8");
    assert!(said.contains("sft: 8 rows left out"), "{said}");
    let metrics = rows(&run.path().join("run/sft/metrics.jsonl"));
    assert_eq!(metrics.len(), 4, "an epoch of what is learnt from");
    for metrics in &metrics {
        assert!(metrics["num_loss_tokens"].as_u64().is_some_and(|count| count > 0), "{metrics:?}");
        assert!(metrics["train_mean_nll"].is_number(), "{metrics:?}");
    }
    let nothing: String = [1, 2].map(row).concat();
    fails(row_by_row(&nothing, folder().path()), &["no row has an assistant message", "sft.max_length"]);
}

/// A data file and what the error must say.
#[track_caller]
fn check_bad_data(content: &str, expected: &[&str]) {
    let run = folder();
    let data = run.path().join("rows.jsonl");
    fs::write(&data, content).expect("written");
    let mut command = crate::guests::rewarden();
    command.args(["sft", "configs/gsm8k-smoke.toml", "--set"]).arg(format!("data.path={}", data.display()));
    command.arg("--set").arg(format!("log_path={}", run.path().join("run").display()));
    fails(command, expected);
    assert!(!run.path().join("run").exists(), "a run directory was made for data that cannot be read");
}

#[test]
fn bad_rows_are_named_by_line() {
    let good = r#"{"question":"1+1?","answer":"2\n#### 2"}"#;
    check_bad_data(&format!("{good}\n{good}\n{{\"question\":\n"), &["rows.jsonl:3", "not a JSON object"]);
    check_bad_data(&format!("{good}\n[1]\n"), &["rows.jsonl:2", "one JSON object a line"]);
    check_bad_data(&format!("{good}\n{{\"text\":\"x\"}}\n"), &["rows.jsonl:2", "unknown shape", "question, answer"]);
    check_bad_data("", &["holds no row"]);
    check_bad_data(&format!("{good}\n"), &["no training row is left"]);
}

#[test]
fn models_that_cannot_be_loaded_are_named() {
    let run = folder();
    let with_model = |model: &std::path::Path| {
        let mut command = small("sft", &run.path().join("run"));
        command.arg("--set").arg(format!("model_name={}", model.display()));
        command
    };
    fails(with_model(&run.path().join("nothing")), &["nothing", "no such folder"]);
    fails(with_model(&root().join("host/train/fixtures/qwen3-tied")), &["tokenizer.json"]);
}

/// Rows of 64 tokens hold several conversations; what is learnt stays the same.
#[test]
fn packing_changes_nothing_but_the_time() {
    let (padded, packed) = (folder(), folder());
    let stage = |run: &std::path::Path, packing: &str| {
        let mut command = small("sft", run);
        command.args(["--set", "sft.max_length=64", "--set", "sft.warmup_ratio=0.3", "--set", packing]);
        command
    };
    finish(stage(padded.path(), "sft.packing=false"));
    finish(stage(packed.path(), "sft.packing=true"));
    let rows = [&padded, &packed].map(|run| rows(&run.path().join("sft/metrics.jsonl")));
    assert_eq!(rows[0].len(), 12);
    for (padded, packed) in rows[0].iter().zip(&rows[1]) {
        for name in ["num_sequences", "num_tokens", "num_loss_tokens", "optim/lr"] {
            assert_eq!(padded[name], packed[name]);
        }
        let [padded, packed] = [padded, packed].map(|row| row["train_mean_nll"].as_f64().expect("a number"));
        assert!((padded - packed).abs() < 1e-3, "{padded} and {packed}");
    }
    assert_eq!(rows[0][0]["optim/lr"], 0.0, "the rate rises from 0");
}
