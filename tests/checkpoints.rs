//! Checkpoints of a run: which stay, and what a full disk or a kill in the middle of one leaves.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::training::{checkpoint, finish, folder, rows, small, timeless};

/// Checkpoints on disk, which must be those of the index.
#[track_caller]
fn stored(run: &Path, stage: &str) -> Vec<String> {
    let entries = fs::read_dir(run.join(stage).join("checkpoints")).expect("checkpoints");
    let mut names: Vec<String> =
        entries.map(|entry| entry.expect("an entry").file_name().into_string().expect("UTF-8")).collect();
    names.sort();
    let index: Vec<Value> =
        rows(&run.join(stage).join("checkpoints.jsonl")).iter().map(|row| row["name"].clone()).collect();
    assert_eq!(names, index);
    names
}

#[test]
fn the_last_ones_stay_and_those_that_another_stage_starts_from() {
    let run = folder();
    let command = |verb: &str| {
        let mut command = small(verb, run.path());
        for setting in ["sft.save_every=2", "sft.keep_last=2", "rl.save_every=3", "rl.keep_last=1"] {
            command.args(["--set", setting]);
        }
        command.arg("--set");
        command.arg(format!("rl.load_checkpoint_path={}", run.path().join("sft/checkpoints/000004").display()));
        command
    };
    finish(command("sft"));
    assert_eq!(stored(run.path(), "sft"), ["000004", "000010", "000012"]);
    finish(command("rl"));
    assert_eq!(stored(run.path(), "rl"), ["000012"]);
}

/// The supervised stage with a checkpoint after every step, that all tests compare with.
fn often(run: &Path) -> Command {
    let mut command = small("sft", run);
    command.args(["--set", "sft.save_every=1", "--set", "sft.keep_last=3"]);
    command.stdout(Stdio::null());
    command
}

/// Runs the stage until `look` says so, and kills it there. Whether it was killed before its end.
fn killed_when(run: &Path, look: impl Fn(&Path) -> bool) -> bool {
    let mut child = often(run).stderr(Stdio::null()).spawn().expect("the binary runs");
    while !look(&run.join("sft")) && child.try_wait().expect("a state").is_none() {
        std::hint::spin_loop();
    }
    child.kill().expect("a signal is sent");
    child.wait().expect("it ends");
    !run.join("sft/checkpoints/000012").exists()
}

#[track_caller]
fn resumes_to(whole: &Path, run: &Path) {
    let mut resume = often(run);
    resume.arg("--resume");
    finish(resume);
    assert_eq!(timeless(whole, "sft"), timeless(run, "sft"));
    assert_eq!(stored(run, "sft"), ["000010", "000011", "000012"]);
    for file in ["model.safetensors", "optimizer.safetensors"] {
        let bytes = |run: &Path| checkpoint(run, "sft", "000012", file);
        assert!(bytes(whole) == bytes(run), "{file} differs after a resume");
    }
}

#[test]
fn a_kill_in_the_middle_of_a_checkpoint_costs_nothing_but_time() {
    let whole = folder();
    finish(often(whole.path()));
    let writing =
        |stage: &Path| stage.join("checkpoints/000004").is_dir() && stage.join("checkpoints/.writing").is_dir();
    let interrupted = (0..20)
        .map(|_| folder())
        .find(|run| killed_when(run.path(), writing) && run.path().join("sft/checkpoints/.writing").is_dir());
    let interrupted = interrupted.expect("one of twenty kills comes while a checkpoint is written");
    resumes_to(whole.path(), interrupted.path());
}

/// The system refuses to let a file grow beyond a limit as it does when the disk is full; here the optimizer's state,
/// twice as large as the model, when the model has been written.
#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_leaves_the_last_checkpoint_and_says_how_to_go_on() {
    let (whole, run) = (folder(), folder());
    finish(often(whole.path()));
    assert!(killed_when(run.path(), |stage| stage.join("checkpoints/000004").is_dir()));
    let before = fs::read(run.path().join("sft/checkpoints.jsonl")).expect("an index");
    let model = checkpoint(run.path(), "sft", "000004", "model.safetensors").len();

    let plain = often(run.path());
    let mut limited = Command::new("bash");
    // Who ignores the signal gets the error instead.
    limited.args(["-c", &format!("trap '' XFSZ; ulimit -f {}; exec \"$@\"", model * 3 / 2 / 1024), "bash"]);
    limited.arg(plain.get_program()).args(plain.get_args()).arg("--resume");
    plain.get_current_dir().map(|folder| limited.current_dir(folder));
    let output = limited.output().expect("bash runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    for part in ["optimizer.safetensors", "File too large", "make room, then go on with --resume"] {
        assert!(said.contains(part), "{part:?} is not in\n{said}");
    }
    assert!(before == fs::read(run.path().join("sft/checkpoints.jsonl")).expect("an index"));
    assert!(!run.path().join("sft/checkpoints/.writing").exists(), "what cannot be finished takes no room");
    resumes_to(whole.path(), run.path());
}
