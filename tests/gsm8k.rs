//! The GSM8K plugin: its golden cases in the sandbox, and agreement with published labels.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::guests::{GSM8K, root, succeeds};
use crate::score::run;

fn rows(path: &Path) -> Vec<Value> {
    let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    text.lines().map(|line| serde_json::from_str(line).expect(line)).collect()
}

/// Sends requests through `rewarden score` and returns the answers.
pub(crate) fn score(requests: impl IntoIterator<Item = Value>) -> Vec<Value> {
    let lines: String = requests.into_iter().map(|request| format!("{request}\n")).collect();
    let printed = succeeds(run(&GSM8K, &[], lines.as_bytes()));
    printed.lines().map(|line| serde_json::from_str(line).expect(line)).collect()
}

#[test]
fn golden_cases_in_the_sandbox() {
    let mut cases = rows(&root().join("rewards/gsm8k/cases.jsonl"));
    cases.retain(|case| case["probe"].is_null());
    let requests =
        cases.iter().map(|case| json!({"id": case["name"], "config": case["settings"], "input": case["sample"]}));
    for (case, answer) in cases.iter().zip(score(requests)) {
        let got =
            if answer["fault"].is_null() { answer["score"].clone() } else { json!({"fault": answer["fault"]["kind"]}) };
        assert_eq!((&answer["id"], &got), (&case["name"], &case["expect"]));
    }
}

/// The published cases, which live beside the checkout; None says so and lets the test pass.
pub(crate) fn corpus(test: &str) -> Option<Vec<Value>> {
    let path: PathBuf = root().join("../shared/corpora/gsm8k.jsonl");
    if path.is_file() {
        return Some(rows(&path));
    }
    println!("skipped: {test} needs {}", path.display());
    None
}

/// How many of the rows the plugin decides differently from what `expected` says of them.
#[track_caller]
fn check(rows: &[Value], config: Value, expected: impl Fn(&Value) -> Option<bool>) {
    let labelled: Vec<_> = rows.iter().filter_map(|row| Some((row, expected(row)?))).collect();
    let input = |row: &Value| json!({"response": row["response"], "ground_truth": row["ground_truth"]});
    let answers =
        score(labelled.iter().map(|(row, _)| json!({"id": row["id"], "input": input(row), "config": config})));
    assert_eq!(answers.len(), labelled.len());
    assert!(!answers.is_empty());
    for ((row, label), answer) in labelled.iter().zip(answers) {
        assert_eq!(answer["score"], json!(if *label { 1.0 } else { 0.0 }), "{config} {}: {answer}", row["id"]);
    }
}

#[test]
fn agrees_with_every_label_of_openai_and_gold() {
    let Some(rows) = corpus("agrees_with_every_label_of_openai_and_gold") else { return };
    for config in [json!({}), json!({"method": "first"}), json!({"method": "strict"})] {
        for suite in ["gsm8k-openai", "gsm8k-gold"] {
            check(&rows, config.clone(), |row| (row["suite"] == suite).then(|| row["expected"].as_bool()).flatten());
        }
    }
}

#[test]
fn reproduces_the_original_graders_on_their_disagreements() {
    let Some(rows) = corpus("reproduces_the_original_graders_on_their_disagreements") else { return };
    let graders = [
        ("first", "openai_nanochat_first_match"),
        ("strict", "verl_strict_last_match_tail300"),
        ("flexible", "verl_flexible"),
    ];
    for (method, grader) in graders {
        check(&rows, json!({"method": method, "numbers": "exact"}), |row| row["expected"][grader].as_bool());
    }
}
