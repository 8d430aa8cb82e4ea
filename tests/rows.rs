//! What a run learns from: Parquet, mixtures, and the messages that `sft.train_on_what` names.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::json;

use crate::guests::{rewarden, root};
use crate::training::{finish, folder, rows, set, timeless};

/// The one stage of `configs/gsm8k-smoke.toml`, on these rows.
fn on(stage: &str, data: &Path, run: &Path) -> Command {
    let mut command = rewarden();
    command
        .args([stage, "configs/gsm8k-smoke.toml", "--set", &format!("stages=[{stage:?}]"), "--set"])
        .arg(format!("data.path={}", data.display()));
    command.arg("--set").arg(format!("log_path={}", run.display()));
    command
}

/// The rows of these JSON lines, and of the Parquet file that pyarrow made of them, train the same model.
#[track_caller]
fn check_parquet(stage: &str, name: &str, settings: &[&str]) {
    let fixtures = root().join("host/train/fixtures/parquet");
    let metrics = ["jsonl", "parquet"].map(|ending| {
        let run = folder();
        let mut command = on(stage, &fixtures.join(name).with_extension(ending), &run.path().join("run"));
        set(&mut command, settings);
        finish(command);
        timeless(&run.path().join("run"), stage)
    });
    assert!(metrics[0].len() > 1, "{stage} took no steps");
    assert_eq!(metrics[0], metrics[1], "{stage} on {name}");
}

#[test]
fn parquet_trains_as_its_rows_in_json_lines_do() {
    check_parquet("sft", "chat", &["data.test_size=0", "sft.batch_size=1", "sft.max_steps=2"]);
    check_parquet("rl", "verl", &["data.test_size=1", "rl.max_steps=2"]);
}

/// Writes questions `from..to`, each its own answer.
fn questions(file: &Path, numbers: std::ops::Range<usize>) {
    let row = |n: usize| json!({"question": format!("What is {n}?"), "answer": format!("It is {n}.\n#### {n}")});
    fs::write(file, numbers.map(|n| row(n).to_string() + "\n").collect::<String>()).expect("written");
}

/// A folder with ten questions in `a.jsonl`, twenty in `b.jsonl`, and the setting that mixes five of these into those.
fn mixture() -> (tempfile::TempDir, String) {
    let folder = folder();
    questions(&folder.path().join("a.jsonl"), 0..10);
    questions(&folder.path().join("b.jsonl"), 10..30);
    let mixed = folder.path().join("b.jsonl");
    let setting = format!("data.mix=[{{path={:?}, ratio=0.5, data_source=\"b\"}}]", mixed.display().to_string());
    (folder, setting)
}

#[test]
fn a_mixture_lengthens_an_epoch_by_its_ratio() {
    let (folder, mix) = mixture();
    let sequences = |settings: &[&str]| -> u64 {
        let run = folder.path().join(format!("run-{}", settings.len()));
        let mut command = on("sft", &folder.path().join("a.jsonl"), &run);
        set(&mut command, &["data.test_size=0", "sft.batch_size=5", "sft.max_steps=9"]);
        set(&mut command, settings);
        finish(command);
        let rows = rows(&run.join("sft/metrics.jsonl"));
        rows.iter().map(|row| row["num_sequences"].as_u64().expect("a number")).sum()
    };
    assert_eq!(sequences(&[]), 10);
    assert_eq!(sequences(&[&mix]), 15);
}

#[test]
fn a_mixture_is_attempted_under_its_own_source() {
    let (folder, mix) = mixture();
    let run = folder.path().join("run");
    let mut command = on("rl", &folder.path().join("a.jsonl"), &run);
    // Six steps of five tasks: two epochs of fifteen.
    set(&mut command, &["data.test_size=0", "rl.max_steps=6", "rl.groups_per_batch=5", "rl.group_size=2", &mix]);
    set(&mut command, &["rl.max_tokens=4"]);
    finish(command);
    let mut tasks: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for row in rows(&run.join("rl/rollouts.jsonl")) {
        let source = row["data_source"].as_str().expect("a source").to_owned();
        tasks.entry(source).or_default().insert(row["prompt"].to_string());
    }
    let counts: Vec<(&str, usize)> = tasks.iter().map(|(source, ids)| (source.as_str(), ids.len())).collect();
    assert_eq!(counts, [("b", 5), ("openai/gsm8k", 10)]);
}

const ROLES: [&str; 7] = ["system", "user", "assistant", "user", "assistant", "tool", "assistant"];

/// One step on two conversations: tokens in all, and tokens that are learnt, where the row says `trainable` of one
/// message.
fn learnt(train_on_what: &str, trainable: Option<usize>) -> (u64, u64) {
    let folder = folder();
    let message = |n: usize, (place, role): (usize, &&str)| {
        let mut message =
            json!({"role": role, "content": format!("{role} number {place} says {}", "so ".repeat(n + place))});
        if let Some(trainable) = trainable {
            message["trainable"] = (trainable == place).into();
        }
        message
    };
    let row = |n: usize| json!({"messages": ROLES.iter().enumerate().map(|at| message(n, at)).collect::<Vec<_>>()});
    let (data, run) = (folder.path().join("chats.jsonl"), folder.path().join("run"));
    fs::write(&data, format!("{}\n{}\n", row(0), row(1))).expect("written");
    let mut command = on("sft", &data, &run);
    set(&mut command, &["data.test_size=0", "sft.batch_size=2", "sft.max_steps=1"]);
    set(&mut command, &[&format!("sft.train_on_what={train_on_what}")]);
    finish(command);
    let row = rows(&run.join("sft/metrics.jsonl")).remove(0);
    let count = |name: &str| row[name].as_u64().expect("a number");
    (count("num_tokens"), count("num_loss_tokens"))
}

/// What each value learns is the sum of what single messages hold, each measured by itself.
#[test]
fn every_mask_learns_the_messages_it_names() {
    let customized = |place| learnt("customized", Some(place)).1;
    let single: Vec<u64> = (0..ROLES.len()).map(customized).collect();
    assert!(single.iter().all(|&tokens| tokens > 0), "{single:?}");
    for (train_on_what, places) in [
        ("last_assistant_message", &[6][..]),
        ("last_assistant_turn", &[4, 6]),
        ("all_assistant_messages", &[2, 4, 6]),
        ("all_user_and_system_messages", &[0, 1, 3]),
        ("all_messages", &[0, 1, 2, 3, 4, 5, 6]),
    ] {
        let expected: u64 = places.iter().map(|&place| single[place]).sum();
        assert_eq!(learnt(train_on_what, None).1, expected, "{train_on_what} of {single:?}");
    }
    let (all, learnt) = learnt("all_tokens", None);
    assert_eq!(learnt, all - 2, "headers are learnt too; nothing foretells the first token of each conversation");
    assert!(learnt > single.iter().sum(), "{single:?}");
}
