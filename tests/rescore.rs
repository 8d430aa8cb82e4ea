//! `rewarden rescore`: stored scores again, bit for bit, and two plugins compared.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::guests::{FIRST_REWARD, GSM8K, HOSTILE, rewarden, succeeds};
use crate::training::{copy, fails, finish, folder, rows, small};

/// A finished small run of all stages, made once.
fn finished() -> &'static Path {
    static RUN: std::sync::LazyLock<tempfile::TempDir> = std::sync::LazyLock::new(|| {
        let run = folder();
        finish(small("run", run.path()));
        run
    });
    RUN.path()
}

fn rescore(run: &Path, arguments: &[&str]) -> Command {
    let mut command = rewarden();
    command.arg("rescore").arg(run).args(arguments);
    command
}

/// What `--json` prints, and the exit code.
#[track_caller]
fn found(run: &Path, arguments: &[&str]) -> (Value, Option<i32>) {
    let output = rescore(run, arguments).arg("--json").output().expect("the binary runs");
    let message = String::from_utf8_lossy(&output.stderr);
    (serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{e}: {message}")), output.status.code())
}

fn utf8(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

fn digest(component: &Path) -> String {
    rewarden_runtime::Digest::of(&fs::read(component).expect("a component")).to_string()
}

/// Changes the rows of a file.
fn edit(file: &Path, change: impl Fn(usize, &mut Value)) {
    let edited = rows(file).into_iter().enumerate().map(|(index, row)| {
        let mut row = Value::Object(row);
        change(index, &mut row);
        row.to_string() + "\n"
    });
    fs::write(file, edited.collect::<String>()).expect("written");
}

/// 12 steps of 2 groups of 4, and 2 models with 2 answers to 6 problems each.
const ROLLOUTS: usize = 12 * 2 * 4 + 2 * 6 * 2;

#[test]
fn every_score_of_a_run_is_reproduced() {
    let (report, code) = found(finished(), &[]);
    let expected = json!({
        "all_reproduced": true,
        "unreadable": {"rows": 0, "first": []},
        "rewards": [{
            "name": "gsm8k", "shadow": false, "plugin": digest(&GSM8K), "rows": ROLLOUTS, "reproduced": ROLLOUTS,
            "differing": 0, "differing_ids": [], "not_reproducible": {},
        }],
    });
    assert_eq!((report, code), (expected, Some(0)));
    let table = succeeds(rescore(finished(), &[]).output().expect("the binary runs"));
    assert!(table.contains("| gsm8k") && table.contains(&digest(&GSM8K)), "{table}");
}

/// What is spoilt in a copy of the run, and what is then reproduced, differs and cannot be reproduced.
#[track_caller]
fn check(spoil: impl Fn(&Path), reproduced: usize, differing: usize, reason: &str, unreadable: usize) {
    let run = folder();
    copy(finished(), run.path());
    spoil(run.path());
    let (report, code) = found(run.path(), &[]);
    assert_eq!(code, Some(1), "{report}");
    let sum = |key: &str| -> u64 {
        report["rewards"].as_array().expect("rewards").iter().map(|row| row[key].as_u64().expect("a count")).sum()
    };
    assert_eq!((sum("reproduced"), sum("differing")), (reproduced as u64, differing as u64), "{report}");
    assert!(report["rewards"].to_string().contains(reason), "{report}");
    assert_eq!(report["unreadable"]["rows"], unreadable);
}

#[test]
fn what_is_not_as_stored_is_counted_with_its_reason() {
    let rollouts = "rl/rollouts.jsonl";
    let flip = |index: usize, row: &mut Value| {
        // The last bit of the last digit.
        if index == 3 {
            row["scores"]["gsm8k"]["score"]["value"] = json!(f64::EPSILON);
        }
    };
    check(|run| edit(&run.join(rollouts), flip), ROLLOUTS - 1, 1, "\"differing_ids\":[\"0/", 0);
    let lost = |run: &Path| fs::remove_dir_all(run.join("plugins")).expect("removed");
    check(lost, 0, 0, "is missing", 0);
    let altered = |run: &Path| {
        let kept = fs::read_dir(run.join("plugins")).expect("a store").next().expect("one").expect("one").path();
        fs::copy(&*FIRST_REWARD, kept).expect("copied");
    };
    check(altered, 0, 0, "was altered", 0);
    let timed_out = |index: usize, row: &mut Value| {
        if index < 2 {
            let fault = json!({"kind": "deadline", "detail": {"timeout_ms": 5000}});
            row["scores"]["gsm8k"] = json!({"plugin": row["scores"]["gsm8k"]["plugin"], "fault": fault});
        }
    };
    let machine = "\"not_reproducible\":{\"stored is a fault that depends on the machine: ran longer";
    check(|run| edit(&run.join(rollouts), timed_out), ROLLOUTS - 2, 0, machine, 0);
    let torn = |run: &Path| {
        let mut text = fs::read_to_string(run.join(rollouts)).expect("rollouts");
        text = text.replacen("\"assistant\"", "\"wizard\"", 1) + "{\"step\": 99, \"lo";
        fs::write(run.join(rollouts), text).expect("written");
    };
    check(torn, ROLLOUTS - 1, 0, "", 1);
    let renamed = |run: &Path| {
        edit(&run.join(rollouts), |_, row| {
            let scores = row["scores"]["gsm8k"].take();
            row["scores"] = json!({"gsm9k": scores});
        })
    };
    check(renamed, 2 * 6 * 2, 0, "there is no reward `gsm9k`", 0);
}

#[test]
fn another_plugin_is_compared_with_the_stored_scores() {
    let (report, code) = found(finished(), &["--with", utf8(&GSM8K)]);
    assert_eq!((code, &report["agreement"], &report["both"]), (Some(0), &json!(1.0), &json!(ROLLOUTS)));
    assert_eq!((&report["mean_stored"], &report["differing_most"]), (&report["mean_new"], &json!([])));

    // Stored scores by hand: the new plugin, which asks for exactly the reference, gives 0 to all of them.
    let run = folder();
    copy(finished(), run.path());
    fs::remove_dir_all(run.path().join("eval")).expect("removed");
    edit(&run.path().join("rl/rollouts.jsonl"), |index, row| {
        let value = if index < 3 { json!(index + 1) } else { json!(0.0) };
        row["scores"]["gsm8k"]["score"]["value"] = value;
        row["completion"][0]["content"] = json!("a \u{1b}[31m b");
        if index == 10 {
            row["scores"]["gsm8k"]["score"]["value"] = Value::Null;
        }
        if index == 11 {
            row["completion"][0]["content"] = row["ground_truth"].clone();
        }
    });
    let (report, code) = found(run.path(), &["--with", utf8(&FIRST_REWARD), "--name", "gsm8k", "--top", "3"]);
    assert_eq!(code, Some(0));
    let counts =
        ["rows", "both", "only_stored", "only_new", "faults"].map(|key| report[key].as_u64().expect("a count"));
    assert_eq!(counts, [96, 95, 0, 1, 0]);
    assert_eq!(report["agreement"], 91.0 / 95.0);
    assert_eq!((&report["mean_stored"], &report["mean_new"]), (&json!(6.0 / 95.0), &json!(1.0 / 95.0)));
    let most = report["differing_most"].as_array().expect("a list");
    assert_eq!(most.iter().map(|row| row["stored"].as_f64().expect("a number")).collect::<Vec<_>>(), [3.0, 2.0, 1.0]);
    assert_eq!(most[0]["answer"], "a \\u{1b}[31m b");
    assert!(report["spearman"].as_f64().is_some_and(|rank| rank < 0.0), "{report}");

    let shown = succeeds(rescore(run.path(), &["--with", utf8(&FIRST_REWARD)]).output().expect("the binary runs"));
    assert!(shown.contains("Spearman") && shown.contains("prompt: ") && !shown.contains('\u{1b}'), "{shown}");
}

#[test]
fn what_cannot_be_compared_is_named() {
    let empty = folder();
    fails(rescore(empty.path(), &[]), &["is no run directory", "config.toml"]);
    let run = finished();
    fails(rescore(run, &["--with", "no/such.wasm"]), &["no/such.wasm"]);
    fails(rescore(run, &["--with", utf8(&HOSTILE)]), &["cannot judge as the reward `gsm8k`", "host-log"]);
    fails(rescore(run, &["--with", utf8(&GSM8K), "--name", "gsm9k"]), &["no reward `gsm9k`"]);
    let untrained = folder();
    finish(small("sft", untrained.path()));
    fails(rescore(untrained.path(), &[]), &["holds no rollouts"]);
}
