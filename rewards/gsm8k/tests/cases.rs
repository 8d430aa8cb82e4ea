//! The golden cases, judged natively. The workspace's tests judge the same file through the sandbox.

use std::time::{Duration, Instant};

use gsm8k::{Method, Numbers, Settings, score};
use rewarden_sdk::{Fault, Sample};
use serde_json::Value;

#[track_caller]
fn check(case: &Value) {
    let text = |field: &str| case["sample"][field].as_str().expect(field);
    let settings = match &case["settings"] {
        Value::Null => Settings::default(),
        settings => serde_json::from_value(settings.clone()).expect("settings"),
    };
    let result = score(&Sample::new(text("response"), text("ground_truth")), &settings);
    match (&case["expect"], result) {
        (Value::Object(_), Err(Fault::InvalidInput(_))) => assert_eq!(case["expect"]["fault"], "invalid-input"),
        (Value::Number(expected), Ok(score)) => assert_eq!(score.value, expected.as_f64(), "{}", case["name"]),
        (expected, result) => panic!("{}: expected {expected}, got {result:?}", case["name"]),
    }
}

#[test]
fn golden_cases() {
    let mut cases: Vec<Value> =
        include_str!("../cases.jsonl").lines().map(|line| serde_json::from_str(line).expect(line)).collect();
    // Lines about probes are for `rewarden plugin test`.
    cases.retain(|case| case["probe"].is_null());
    assert!(cases.len() >= 40);
    cases.iter().for_each(check);
}

/// Not a benchmark: quadratic scanning of these would take hours.
#[test]
#[allow(clippy::disallowed_methods, reason = "tells linear from quadratic by four orders of magnitude")]
fn a_megabyte_of_anything_is_read_in_linear_time() {
    let started = Instant::now();
    for unit in
        ["#", "#### ", "####-", "#### 1,", "9", "9,", ".", "-", "-9", "$", "****", " ", "#### \\boxed{", "ü", "#### -$"]
    {
        let response = unit.repeat((1 << 20) / unit.len());
        for method in [Method::First, Method::Strict, Method::Flexible] {
            for numbers in [Numbers::Lenient, Numbers::Exact] {
                let settings = Settings { method, numbers, ..Settings::default() };
                score(&Sample::new(&*response, "36"), &settings).expect("a score");
            }
        }
    }
    assert!(started.elapsed() < Duration::from_secs(60));
}

#[test]
fn the_note_is_the_answer_that_was_found() {
    let note = |response: &str| score(&Sample::new(response, "36"), &Settings::default()).expect("a score").note;
    assert_eq!(note("#### $1,234.50 per day"), "1,234.50");
    assert_eq!(note("#### -7"), "-7");
    assert_eq!(note("nothing"), "");
}

#[test]
fn unknown_settings_are_named() {
    let parse = rewarden_sdk::settings_from::<Settings>;
    assert!(matches!(parse(r#"{"methd":"first"}"#), Err(Fault::Misconfigured(why)) if why.contains("methd")));
    assert!(matches!(parse(r#"{"method":"last"}"#), Err(Fault::Misconfigured(why)) if why.contains("strict")));
    assert_eq!(parse("{}"), Ok(Settings::default()));
}
