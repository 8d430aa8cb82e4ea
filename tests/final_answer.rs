//! One rule in five languages, with equal scores and notes.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::gsm8k::corpus;
use crate::guests::{root, succeeds};
use crate::languages::built;
use crate::score::run;

const FINAL_ANSWER: [&str; 5] = ["rust", "python", "ts", "c", "go"];

fn final_answer(language: &str) -> PathBuf {
    root().join(format!("guest-examples/final-answer-{language}"))
}

#[test]
fn the_final_answer_has_one_set_of_cases() {
    let cases = |language| fs::read_to_string(final_answer(language).join("cases.jsonl")).expect(language);
    for language in FINAL_ANSWER {
        assert_eq!(cases(language), cases("rust"), "{language}");
    }
}

/// What each sample earned, with its note.
fn scored(component: &Path, requests: &[Value]) -> Vec<(Value, Value)> {
    let lines: String = requests.iter().map(|request| format!("{request}\n")).collect();
    let printed = succeeds(run(component, &[], lines.as_bytes()));
    let answers = printed.lines().map(|line| serde_json::from_str::<Value>(line).expect(line));
    answers.map(|answer| (answer["score"].clone(), answer["extracted"].clone())).collect()
}

#[test]
fn five_languages_give_equal_scores() {
    let Some(rows) = corpus("five_languages_give_equal_scores") else { return };
    let request = |row: &Value| {
        json!({
            "id": row["id"],
            "input": {"response": row["response"], "ground_truth": row["ground_truth"]},
            "config": {"format_score": 0.25},
        })
    };
    let requests: Vec<Value> = rows.iter().take(2000).map(request).collect();
    assert_eq!(requests.len(), 2000);
    let expected = scored(&built(&final_answer("rust")).expect("Rust is here"), &requests);
    let paid = |value: f64| expected.iter().filter(|(score, _)| *score == json!(value)).count();
    assert!(paid(0.25) > 100 && paid(1.0) > 100 && paid(0.25) + paid(0.0) + paid(1.0) == 2000, "the rows tell nothing");
    for language in &FINAL_ANSWER[1..] {
        let Some(component) = built(&final_answer(language)) else { continue };
        for ((got, expected), request) in scored(&component, &requests).iter().zip(&expected).zip(&requests) {
            assert_eq!(got, expected, "{language}: {request}");
        }
    }
}
