//! One sin per test: no sibling's score changes, the process lives.

use std::path::Path;

use rewarden_runtime::{Error, Fault, Grants, Isolation, Judgement, Limits, PluginSpec, Reward, Sample, Score};
use serde_json::json;

#[cfg(target_os = "linux")]
use std::process::Stdio;

use crate::guests::{GSM8K, HOSTILE, HOSTILE_DEBUG, answer, load, rewarden, runtime, succeeds, wait};

/// A sample that is scored 1 when the answer is right, or that commits the sin named in `extra`.
fn sample(right: bool, extra: &str) -> Sample {
    answer(if right { "42" } else { "41" }, "42", extra)
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
    let limits = Limits { fuel: u64::MAX, timeout_ms: 200, ..limits() };
    assert!(matches!(commit("loop", limits), Err(Fault::Deadline { timeout_ms: 200, .. })));
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

/// A plugin has nowhere to print; its fault carries what it would have printed.
#[test]
fn a_panic_keeps_its_message() {
    let said = |sin| commit(sin, limits()).expect_err(sin).to_string();
    let panic = said("panic");
    assert!(panic.contains("panicked at ") && panic.contains("hostile/src/lib.rs:"), "{panic}");
    assert!(panic.contains(": on purpose (wasm trap"), "{panic}");
    assert!(said("out-of-bounds").contains("the len is 2 but the index is 7"));
    assert!(said("drop-panic").contains(": in a destructor ("));
    // An abort says nothing, and nothing is made up.
    assert_eq!(said("unreachable"), "the plugin trapped: wasm trap: wasm `unreachable` instruction executed");
    let long = said("long-panic");
    assert!(long.contains("xxx... (wasm trap") && !long.contains('\u{1b}') && long.len() < 2500, "{long}");
    match load(&HOSTILE, json!({ "sin": "configure-trap" }), limits()) {
        Err(error) => assert!(error.to_string().contains(": configure (wasm trap"), "{error}"),
        Ok(_) => panic!("it loads"),
    }
}

#[test]
fn a_debug_build_says_where_it_was() {
    let limits = Limits { fuel: 1_000_000_000, timeout_ms: 600_000, ..limits() };
    let reward = load(&HOSTILE_DEBUG, json!({}), limits).expect("loads").reward().expect("a reward");
    let said = |sin| wait(reward.score_batch(vec![sample(true, sin)])).remove(0).expect_err(sin).to_string();
    for (sin, words) in [
        ("panic", ": on purpose (wasm trap: wasm `unreachable` instruction executed, in hostile::commit < "),
        ("recursion", "hostile::dive < hostile::dive < "),
        ("loop", "hostile::commit < "),
        ("memory", "hostile::commit < "),
    ] {
        let said = said(sin);
        assert!(said.contains(words) && said.len() < 2000 && !said.contains("17h"), "{sin}: {said}");
    }
}

#[test]
fn a_destructor_that_panics() {
    check("drop-panic", "trap");
}

#[test]
fn bulk_memory_operations_without_end() {
    // Few instructions and many bytes: fuel counts the bytes, and the deadline strikes between two operations.
    check("fill", "out-of-fuel");
    let limits = Limits { fuel: u64::MAX, timeout_ms: 200, ..limits() };
    assert!(matches!(commit("fill", limits), Err(Fault::Deadline { timeout_ms: 200, .. })));
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
    for (sin, kind) in [
        ("configure-trap", "trap"),
        ("configure-loop", "out-of-fuel"),
        ("configure-fault", "misconfigured"),
        ("configure-huge-fault", "invalid-output"),
        ("configure-long-fault", "internal"),
    ] {
        match load(&HOSTILE, json!({ "sin": sin }), limits()) {
            Err(Error::Configure { plugin, fault }) => {
                assert_eq!((plugin.as_str(), fault.kind()), ("hostile", kind));
                let words = fault.to_string();
                assert!(words.len() < 5000 && !words.contains(|c: char| c.is_control()), "{sin}: {words:?}");
            }
            other => panic!("{sin}: {:?}", other.map(|plugin| plugin.digest())),
        }
    }
}

#[test]
fn settings_that_are_no_json_reach_configure_alone() {
    #[track_caller]
    fn check(path: &Path, settings: &str, kind: Option<&str>) {
        let plugin = load(path, json!({}), limits()).expect("loads");
        let tried = wait(plugin.try_settings(settings.to_owned()));
        assert_eq!(tried.err().map(|fault| fault.kind()), kind, "{settings:?}");
    }
    check(&GSM8K, "{}", None);
    check(&GSM8K, r#"{"method""#, Some("misconfigured"));
    check(&GSM8K, "", Some("misconfigured"));
    check(&HOSTILE, "", None);
    check(&HOSTILE, r#"{"sin":"configure-trap"}"#, Some("trap"));
    check(&HOSTILE, r#"{"sin":"configure-loop"}"#, Some("out-of-fuel"));
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
fn samples_that_are_odd() {
    let judge = |text: &str, ground_truth: &str| {
        let mut sample = sample(true, "{}");
        sample.completion[0].content = text.into();
        sample.ground_truth = ground_truth.into();
        wait(reward(limits()).score_batch(vec![sample])).remove(0)
    };
    let megabyte = "####".repeat(1 << 18);
    for text in
        ["", "\0", "a\0b", "\u{feff}42", "e\u{301}", "\u{202e}42", "\u{fffe}\u{10ffff}", "\u{1f468}\u{200d}", &megabyte]
    {
        assert_eq!(judge(text, text).expect("a score").value, Some(1.0), "{:.20?}", text);
        assert_eq!(judge(text, "42").expect("a score").value, Some(0.0), "{:.20?}", text);
    }
    // One that does not fit into the guest at all.
    let limits = limits();
    assert_eq!(
        judge(&"x".repeat(limits.memory_bytes_max + 1), "42"),
        Err(Fault::OutOfMemory { memory_bytes_max: limits.memory_bytes_max, at: String::new() })
    );
}

#[test]
fn samples_that_share_an_id_keep_their_places() {
    let right = |i: usize| i % 3 < 1;
    let samples: Vec<_> = (0..300).map(|i| Sample { id: "same".into(), ..sample(right(i), "{}") }).collect();
    for (i, result) in wait(reward(limits()).score_batch(samples)).into_iter().enumerate() {
        assert_eq!(result.expect("a score").value, Some(f64::from(u8::from(right(i)))), "sample {i}");
    }
}

/// How many samples show that nothing is kept of them.
#[cfg(target_os = "linux")]
const SAMPLES: usize = 100_000;

/// Sins that end soon even under generous limits.
const QUICK_SINS: [&str; 10] = [
    "panic",
    "unreachable",
    "out-of-bounds",
    "drop-panic",
    "nan",
    "long-note",
    "many-metrics",
    "wrong-length",
    "poison",
    "fault",
];

#[test]
fn ten_thousand_scores_with_one_hostile_in_a_hundred() {
    let lasting = ["loop", "recursion", "memory", "fill", "huge-note", "log-flood"];
    let honest = |i: usize| i % 100 != 57;
    let right = |i: usize| i % 7 < 3;
    // Fuel ends a loop: the deadline of one is longer than the whole batch takes.
    let limits = Limits { fuel: 5_000_000, ..limits() };
    let grants = Grants::new(["host-log"]).expect("a known name");
    for isolation in [Isolation::Sample, Isolation::Batch, Isolation::Worker] {
        // What poison does where instances are shared stands in tests/isolation.rs; every other sin is one sample's.
        let alone = isolation == Isolation::Sample;
        let sins: Vec<_> = QUICK_SINS.into_iter().chain(lasting).filter(|sin| alone || *sin != "poison").collect();
        let of = |i: usize| sample(right(i), if honest(i) { "{}" } else { sins[i / 100 % sins.len()] });
        let spec =
            PluginSpec { isolation, limits: limits.clone(), grants: grants.clone(), ..PluginSpec::path(&**HOSTILE) };
        let reward = wait(runtime().load(&spec)).expect("loads").reward().expect("a reward");
        let judgements = wait(reward.judge_batch((0..10_000).map(of).collect::<Vec<_>>()));
        let mut spent = 0;
        for (i, Judgement { result, receipt }) in judgements.iter().enumerate() {
            spent += receipt.fuel;
            if honest(i) {
                let score = result.as_ref().expect("an honest sample's score");
                assert_eq!(score.value, Some(f64::from(u8::from(right(i)))), "{isolation:?} sample {i}");
                assert!(!alone || receipt.fuel < 100_000, "sample {i}: {receipt:?}");
            } else if let Err(fault) = result {
                assert!(!matches!(fault, Fault::Deadline { .. }), "{isolation:?} sample {i}: {fault}");
            }
        }
        // What the batch may cost is known beforehand: the sinners' fuel, and little for everyone else.
        assert!(spent < 100 * limits.fuel + 9_900 * 100_000, "{isolation:?} {spent}");
    }
}

#[test]
fn loops_end_in_their_own_time_and_nobody_elses() {
    // Six loops under two threads take three deadlines: each of them has its own, and no sibling waits in one.
    let limits = Limits { fuel: u64::MAX, timeout_ms: 200, ..limits() };
    let samples: Vec<_> = (0..60).map(|i| sample(true, if i % 10 == 0 { "loop" } else { "{}" })).collect();
    for (i, judgement) in wait(reward(limits).judge_batch(samples)).into_iter().enumerate() {
        match judgement.result {
            Ok(score) => assert!(i % 10 != 0 && score.value == Some(1.0), "sample {i}"),
            Err(fault) => {
                assert!(i % 10 == 0 && matches!(fault, Fault::Deadline { timeout_ms: 200, .. }), "sample {i}: {fault}")
            }
        }
    }
}

/// Resident memory of a process in KiB.
#[cfg(target_os = "linux")]
fn resident_kib(process: &std::process::Child) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", process.id())).expect("a process of ours");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("Linux says how much");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

#[cfg(target_os = "linux")]
#[test]
fn memory_stays_flat_however_many_samples_are_judged() {
    use std::io::{BufRead, BufReader, Write};
    let mut command = rewarden();
    command.args(["score", "--line-buffered", "--jobs", "2", "--grant", "host-log"]).arg(&*HOSTILE);
    let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("runs");
    let mut input = process.stdin.take().expect("piped");
    let mut answers = BufReader::new(process.stdout.take().expect("piped")).lines();
    let mut judge = |samples: usize| {
        let lines = (0..samples).map(|i| {
            let sin = if i % 100 == 57 { QUICK_SINS[i / 100 % QUICK_SINS.len()] } else { "{}" };
            let sample =
                json!({ "completion": [{ "role": "assistant", "content": "42" }], "ground_truth": "42", "extra": sin });
            format!("{}\n", json!({ "id": i, "sample": sample }))
        });
        // As many lines at a time as fit into a pipe with their answers.
        for chunk in lines.collect::<Vec<_>>().chunks(250) {
            input.write_all(chunk.concat().as_bytes()).and_then(|()| input.flush()).expect("the process reads");
            for _ in chunk {
                answers.next().expect("an answer").expect("UTF-8");
            }
        }
        resident_kib(&process)
    };
    let warm = judge(SAMPLES / 5);
    let after = judge(SAMPLES / 5 * 4);
    assert!(after < warm + 8 * 1024, "{warm} KiB after {} samples, {after} KiB after {SAMPLES}", SAMPLES / 5);
    drop(input);
    assert!(process.wait().expect("ends").success());
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

/// A plugin as it is shared, damaged anywhere: it is refused with a sentence, or it only ever scores or faults.
#[test]
fn a_real_component_with_flipped_bits() {
    let whole = std::fs::read(&*GSM8K).expect("readable");
    let dir = tempfile::tempdir().expect("a temporary folder");
    let path = dir.path().join("gsm8k.wasm");
    let mut refused = 0;
    for place in (8..whole.len()).step_by(whole.len() / 40) {
        let mut bytes = whole.clone();
        bytes[place] ^= 0x10;
        std::fs::write(&path, &bytes).expect("writable");
        match load(&path, json!({}), limits()) {
            Ok(plugin) => drop(wait(plugin.reward().expect("a reward").score_batch(vec![sample(true, "{}")]))),
            Err(error) => {
                refused += 1;
                assert!(error.to_string().contains("gsm8k"), "{error}");
            }
        }
    }
    assert!(refused > 0, "no flipped bit was noticed");
}
