//! `rewarden eval`: pass@k of what the stages made.

use crate::training::{fails, finish, folder, rows, small};

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

#[test]
fn it_needs_held_out_problems() {
    let run = folder();
    let mut command = small("eval", run.path());
    command.args(["--set", "data.arithmetic.test_size=0"]);
    fails(command, &["held-out rows", "data.test_size"]);
}
