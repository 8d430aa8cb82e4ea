//! What the tests of training verbs share: a quickstart cut down to seconds, and how two runs are compared.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::{Map, Value};
use tempfile::TempDir;

use crate::guests::{rewarden, root};

/// The quickstart with its sizes cut: enough steps for several checkpoints, too few to learn anything.
const SMALL: [&str; 23] = [
    "data.arithmetic.train_size=120",
    "data.arithmetic.test_size=6",
    "sft.max_steps=12",
    "sft.batch_size=8",
    "sft.micro_batch_size=4",
    "sft.save_every=5",
    "prm.max_steps=12",
    "prm.batch_size=8",
    "prm.micro_batch_size=4",
    "prm.save_every=5",
    "dpo.max_steps=12",
    "dpo.batch_size=8",
    "dpo.micro_batch_size=4",
    "dpo.save_every=5",
    "rl.max_steps=12",
    "rl.groups_per_batch=2",
    "rl.group_size=4",
    "rl.micro_batch_size=4",
    "rl.max_tokens=12",
    "rl.eval_every=5",
    "rl.save_every=5",
    "eval.num_samples=2",
    "eval.k=[1,2]",
];

pub(crate) fn folder() -> TempDir {
    tempfile::tempdir().expect("a folder")
}

/// `rewarden VERB configs/quickstart.toml`, small, in the run directory `run`.
pub(crate) fn small(verb: &str, run: &Path) -> Command {
    let mut command = rewarden();
    command.args([verb, "configs/quickstart.toml", "--set"]).arg(format!("log_path={}", run.display()));
    for setting in SMALL {
        command.args(["--set", setting]);
    }
    command
}

/// Adds settings to a training verb.
pub(crate) fn set(command: &mut Command, settings: &[&str]) {
    for setting in settings {
        command.args(["--set", setting]);
    }
}

/// A run whose supervised stage is finished.
pub(crate) fn after_sft() -> TempDir {
    let run = folder();
    finish(small("sft", run.path()));
    run
}

/// Runs to the end, which must be a good one.
#[track_caller]
pub(crate) fn finish(mut command: Command) -> Output {
    let output = command.output().expect("the binary runs");
    assert!(output.status.success(), "{command:?}\n{}", String::from_utf8_lossy(&output.stderr));
    output
}

/// Runs to a bad end: exit code 2 and a message that holds each of `expected`.
#[track_caller]
pub(crate) fn fails(mut command: Command, expected: &[&str]) {
    let output = command.output().expect("the binary runs");
    let message = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{command:?}\n{message}");
    for part in expected {
        assert!(message.contains(part), "{part:?} is not in\n{message}");
    }
}

/// The rows of a JSONL file.
#[track_caller]
pub(crate) fn rows(file: &Path) -> Vec<Map<String, Value>> {
    let text = fs::read_to_string(file).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
    text.lines().map(|line| serde_json::from_str(line).expect(line)).collect()
}

/// What must be equal in two runs of the same config: all but the time it took.
pub(crate) fn timeless(run: &Path, stage: &str) -> Vec<Map<String, Value>> {
    let timed = |key: &String| key.starts_with("time/") || key.ends_with("tokens_per_second");
    let mut rows = rows(&run.join(stage).join("metrics.jsonl"));
    rows.iter_mut().for_each(|row| row.retain(|key, _| !timed(key)));
    rows
}

/// Bytes of a file in a stage's checkpoint.
#[track_caller]
pub(crate) fn checkpoint(run: &Path, stage: &str, name: &str, file: &str) -> Vec<u8> {
    let path = run.join(stage).join("checkpoints").join(name).join(file);
    fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// Kills the stage without warning after some step past its first checkpoint, resumes it, and compares it with one that
/// was never interrupted.
pub(crate) fn survives_a_kill(stage: &str, whole: &Path, prepare: impl Fn(&Path)) {
    let interrupted = (0..5).map(|_| folder()).find(|folder| {
        prepare(folder.path());
        killed_at(7, stage, folder.path())
    });
    let interrupted = interrupted.expect("one of five kills comes before the end");
    let mut resume = small(stage, interrupted.path());
    resume.arg("--resume");
    finish(resume);
    assert_eq!(timeless(whole, stage), timeless(interrupted.path(), stage));
    for file in ["model.safetensors", "optimizer.safetensors", "tokenizer.json", "config.json"] {
        let bytes = |run: &Path| checkpoint(run, stage, "000012", file);
        assert!(bytes(whole) == bytes(interrupted.path()), "{file} differs after a resume");
    }
    let event_files = |run: &Path| {
        let entries =
            fs::read_dir(run.join(stage)).expect("a folder").map(|entry| entry.expect("an entry").file_name());
        entries.filter(|name| name.to_string_lossy().starts_with("events.out.tfevents.")).count()
    };
    assert_eq!([whole, interrupted.path()].map(event_files), [1, 2], "every session writes an event file of its own");
    if stage == "rl" {
        let rollouts = |run: &Path| fs::read(run.join("rl/rollouts.jsonl")).expect("rollouts");
        assert!(rollouts(whole) == rollouts(interrupted.path()), "rollouts differ after a resume");
    }
}

/// The same for a stage that goes on from the supervised one.
pub(crate) fn survives_a_kill_after_sft(stage: &str) {
    let (start, whole) = (after_sft(), folder());
    copy(start.path(), whole.path());
    finish(small(stage, whole.path()));
    survives_a_kill(stage, whole.path(), |run| copy(start.path(), run));
}

/// Whether the stage was still going on when it was killed, some time after `step` steps.
fn killed_at(step: usize, stage: &str, run: &Path) -> bool {
    let mut child = small(stage, run)
        .stderr(std::process::Stdio::null())
        .stdout(std::process::Stdio::null())
        .spawn()
        .expect("the binary runs");
    let metrics = run.join(stage).join("metrics.jsonl");
    let steps = || fs::read_to_string(&metrics).map_or(0, |text| text.lines().count());
    while steps() < step && child.try_wait().expect("a state").is_none() {
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    child.kill().expect("a signal is sent");
    child.wait().expect("it ends");
    !run.join(stage).join("checkpoints/000012").exists()
}

/// Copies a folder and all below it.
pub(crate) fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder");
    for entry in fs::read_dir(from).expect("readable").map(|entry| entry.expect("an entry").path()) {
        let target = to.join(entry.file_name().expect("a name"));
        match entry.is_dir() {
            true => copy(&entry, &target),
            false => drop(fs::copy(&entry, &target).expect("copied")),
        }
    }
}

/// The first `count` distinct gold rows of the published corpus in GSM8K format, or none where it is absent.
pub(crate) fn published_rows(count: usize) -> Option<String> {
    let text = fs::read_to_string(root().join("../shared/corpora/gsm8k.jsonl")).ok()?;
    let rows = text.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
    let gold = rows.filter(|row| row["suite"] == "gsm8k-gold").take(count);
    let line = |row: Value| serde_json::json!({"question": row["question"], "answer": row["response"]}).to_string();
    Some(gold.map(line).collect::<Vec<_>>().join("\n"))
}
