//! One sin per test: no sibling's score changes, the process lives.

use rewarden_runtime::{Error, Fault, Limits, Message, Reward, Role, Sample, Score, StopReason};
use serde_json::json;

use crate::guests::{HOSTILE, load, rewarden, succeeds, wait};

/// A sample that is scored 1 when the answer is right, or that commits the sin named in `extra`.
fn sample(right: bool, extra: &str) -> Sample {
    let content = if right { "42" } else { "41" }.to_owned();
    Sample {
        id: String::new(),
        group: String::new(),
        data_source: String::new(),
        prompt: vec![],
        completion: vec![Message {
            role: Role::Assistant,
            content,
            name: None,
            tool_calls: vec![],
            tool_call_id: None,
        }],
        ground_truth: "42".into(),
        extra: extra.into(),
        stop_reason: StopReason::Completed,
        turn_scores: vec![],
        completion_tokens: 0,
        step: 0,
    }
}

fn limits() -> Limits {
    // Little fuel and memory keep the tests fast; time enough that fuel is always what ends a loop.
    Limits { fuel: 100_000_000, memory_bytes_max: 32 << 20, timeout_ms: 60_000, ..Limits::default() }
}

fn reward(limits: Limits) -> Reward {
    load(&HOSTILE, json!({}), limits).expect("loads").reward().expect("a reward")
}

/// Scores a batch with the sin in its middle, checks the siblings, and returns what became of the sinner.
#[track_caller]
fn commit(sin: &str, limits: Limits) -> Result<Score, Fault> {
    let siblings = [true, false, false, true, true, false];
    let mut samples: Vec<_> = siblings.iter().map(|right| sample(*right, "{}")).collect();
    samples.insert(3, sample(false, sin));
    let mut results = wait(reward(limits).score_batch(samples));
    let sinner = results.remove(3);
    let values: Vec<_> = results.into_iter().map(|result| result.expect("a sibling's score").value).collect();
    assert_eq!(values, siblings.map(|right| Some(if right { 1.0 } else { 0.0 })), "siblings of {sin}");
    sinner
}

#[track_caller]
fn check(sin: &str, kind: &str) {
    let fault = commit(sin, limits()).expect_err(sin);
    assert_eq!(fault.kind(), kind, "{sin}: {fault}");
    let words = fault.to_string();
    assert!(words.len() < 5000 && !words.contains(|c: char| c.is_control()), "{sin}: {words:?}");
}

#[test]
fn infinite_loop() {
    check("loop", "out-of-fuel");
}

#[test]
fn infinite_loop_without_a_fuel_limit_meets_the_deadline() {
    let limits = Limits { fuel: u64::MAX, timeout_ms: 50, ..limits() };
    assert_eq!(commit("loop", limits), Err(Fault::Deadline { timeout_ms: 50 }));
}

#[test]
fn deep_recursion() {
    check("recursion", "trap");
}

#[test]
fn memory_bomb() {
    check("memory", "out-of-memory");
}

#[test]
fn panics_and_traps() {
    check("panic", "trap");
    check("unreachable", "trap");
    check("out-of-bounds", "trap");
}

#[test]
fn numbers_that_are_none() {
    check("nan", "invalid-output");
    check("infinity", "invalid-output");
    check("nan-metric", "invalid-output");
    check("nan-step", "invalid-output");
}

#[test]
fn huge_output() {
    check("huge-note", "invalid-output");
    check("long-note", "invalid-output");
    check("many-metrics", "invalid-output");
}

#[test]
fn wrong_list_length() {
    check("wrong-length", "invalid-output");
    check("empty-list", "invalid-output");
}

#[test]
fn its_own_fault() {
    check("fault", "invalid-input");
    check("huge-fault", "internal");
    assert_eq!(commit("fault", limits()), Err(Fault::InvalidInput(r"I judge\nnothing \u{1b}[31mred".into())));
}

#[test]
fn state_kept_between_samples() {
    // The poisoner gets its 1; nobody after it does, in this batch or the next, on any thread.
    assert_eq!(commit("poison", limits()).expect("a score").value, Some(1.0));
    let reward = reward(limits());
    wait(reward.score_batch(vec![sample(false, "poison"); 8]));
    let after = wait(reward.score_batch(vec![sample(false, "{}"); 64]));
    assert!(after.iter().all(|result| result.as_ref().expect("a score").value == Some(0.0)));
}

#[test]
fn sins_while_configuring_are_refused_when_loading() {
    for (sin, kind) in
        [("configure-trap", "trap"), ("configure-loop", "out-of-fuel"), ("configure-fault", "misconfigured")]
    {
        match load(&HOSTILE, json!({ "sin": sin }), limits()) {
            Err(Error::Configure { plugin, fault }) => assert_eq!((plugin.as_str(), fault.kind()), ("hostile", kind)),
            other => panic!("{sin}: {:?}", other.map(|plugin| plugin.digest())),
        }
    }
}

#[test]
fn a_manifest_cannot_talk_to_the_terminal() {
    let plugin = load(&HOSTILE, json!({}), limits()).expect("loads");
    assert_eq!(plugin.manifest().name, r"hostile\u{1b}[31m");
}

#[test]
fn log_flood() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let requests = dir.path().join("requests.jsonl");
    std::fs::write(&requests, r#"{"id":1,"sample":{"extra":"log-flood"}}"#).expect("writable");
    let output =
        rewarden().args(["score", "--grant", "host-log"]).arg(&*HOSTILE).arg(&requests).output().expect("runs");
    let logged = String::from_utf8(output.stderr.clone()).expect("UTF-8");
    assert!(succeeds(output).contains(r#""score":1.0"#));
    assert_eq!(logged.lines().filter(|line| line.contains("hostile: line ")).count(), Limits::default().log_lines_max);
    assert!(!logged.contains('\u{1b}'), "{logged:?}");
}

#[test]
fn all_sins_at_once_leave_every_honest_score() {
    let sins =
        ["loop", "recursion", "memory", "panic", "nan", "huge-note", "wrong-length", "poison", "fault", "log-flood"];
    let mut samples = Vec::new();
    for sin in sins.iter().cycle().take(40) {
        samples.extend([sample(true, "{}"), sample(false, sin), sample(false, "{}")]);
    }
    let reward = reward(Limits { fuel: 20_000_000, ..limits() });
    let first = wait(reward.judge_batch(samples.clone()));
    for three in first.chunks(3) {
        let values = [0, 2].map(|i| three[i].result.as_ref().expect("a score").value);
        assert_eq!(values, [Some(1.0), Some(0.0)]);
    }
    // Faults included, everything but the time is the same on every run.
    let second = wait(reward.judge_batch(samples));
    for (a, b) in first.iter().zip(&second) {
        assert_eq!(
            (&a.result, a.receipt.fuel, a.receipt.memory_bytes_peak),
            (&b.result, b.receipt.fuel, b.receipt.memory_bytes_peak)
        );
    }
}
