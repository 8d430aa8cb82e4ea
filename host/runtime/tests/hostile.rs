//! Sins that take WebAssembly text: what no Rust toolchain emits, a hostile author may. Each ends as a fault of its own
//! sample or as a sentence when loading, never later than its limits say, and the process lives.

use rewarden_runtime::{Error, Fault, Grants, Judgement, Limits, Plugin, PluginSpec, Runtime, RuntimeConfig};

use crate::component::{Core, SCORED, component, file, reward_of, sample, score_export, wait};

/// Little fuel keeps the tests fast; time enough that fuel is always what ends a loop.
fn limits() -> Limits {
    Limits { fuel: 20_000_000, memory_bytes_max: 64 << 20, timeout_ms: 60_000, ..Limits::default() }
}

/// Room for a guest that prepares a gigabyte for the host. None of it is touched.
fn roomy() -> Limits {
    Limits { memory_bytes_max: 2 << 30, ..limits() }
}

fn load(bytes: &[u8], limits: Limits) -> Result<Plugin, Error> {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let runtime = Runtime::new(RuntimeConfig { jobs: 2, cache_dir: None }).expect("a runtime");
    let grants = Grants::new(["host-log"]).expect("a known name");
    wait(runtime.load(&PluginSpec { limits, grants, ..PluginSpec::path(file(&dir, bytes)) }))
}

/// The judgements of four samples, which must be equal in everything but the time.
#[track_caller]
fn judge(bytes: &[u8], limits: Limits) -> Judgement {
    let reward = load(bytes, limits).expect("loads").reward().expect("a reward");
    let mut judgements = wait(reward.judge_batch(vec![sample(); 4]));
    let first = judgements.remove(0);
    for other in judgements {
        assert_eq!(other.result, first.result);
        assert_eq!(other.receipt.memory_bytes_peak, first.receipt.memory_bytes_peak);
    }
    first
}

#[track_caller]
fn check(core: &Core<'_>, limits: Limits, kind: &str) -> Fault {
    faults(&reward_of(core), limits, kind)
}

#[track_caller]
fn faults(bytes: &[u8], limits: Limits, kind: &str) -> Fault {
    let (fuel, memory) = (limits.fuel, limits.memory_bytes_max);
    let Judgement { result, receipt } = judge(bytes, limits);
    let fault = result.expect_err("a fault");
    assert_eq!(fault.kind(), kind, "{fault}");
    assert!(receipt.fuel <= fuel && receipt.memory_bytes_peak <= memory, "{receipt:?}");
    let words = fault.to_string();
    assert!(words.len() < 5000 && !words.contains(|c: char| c.is_control()), "{words:?}");
    fault
}

/// A component that does not load, and what the sentence must say.
#[track_caller]
fn refused(bytes: &[u8], said: &str) {
    let error = load(bytes, limits()).err().expect("an error").to_string();
    assert!(error.contains(said), "{said:?} is not in: {error}");
    assert!(error.len() < 5000 && !error.contains(|c: char| c.is_control()), "{error:?}");
}

/// A score function that does this and then answers with the score of 1.
fn then_scores(text: &str) -> String {
    format!("{text} i32.const 1024")
}

/// A score function that grows its memory by so many pages, writes these words at these addresses and answers.
fn writes(pages: u32, words: &[(u32, u32)]) -> String {
    let stores: String =
        words.iter().map(|(at, word)| format!("(i32.store (i32.const {at}) (i32.const {word}))")).collect();
    then_scores(&format!("(drop (memory.grow (i32.const {pages}))) {stores}"))
}

const METRICS: u32 = 552;
const NOTE: u32 = 560;
const STEPS: u32 = 536;
const RESULTS: u32 = 1024;
/// Behind the four pages that every guest begins with.
const GROWN: u32 = 4 << 16;

#[test]
fn table_bomb() {
    let grow = |elements: u32| {
        then_scores(&format!(
            "(loop (br_if 0 (i32.ne (table.grow $t (ref.null func) (i32.const {elements})) (i32.const -1)))) unreachable"
        ))
    };
    let module = format!("(table $t 1 funcref) {SCORED}");
    for elements in [1000, 50_000] {
        check(&Core { module: &module, score: &grow(elements), ..Core::default() }, limits(), "trap");
    }
    // Every element and every growth costs fuel, granted or not; asking for nothing succeeds for ever.
    for elements in [u32::MAX, 1, 0] {
        check(&Core { module: &module, score: &grow(elements), ..Core::default() }, limits(), "out-of-fuel");
    }
}

#[test]
fn memory_grown_by_nothing_for_ever() {
    let score = "(loop (drop (memory.grow (i32.const 0))) (br 0)) unreachable";
    check(&Core { score, ..Core::default() }, Limits { fuel: 2_000_000, ..limits() }, "out-of-fuel");
}

#[test]
fn bulk_memory_near_the_cap() {
    let pages = 1020_u32;
    let bytes = pages << 16;
    let fill = format!("(memory.fill (i32.const {GROWN}) (i32.const 7) (i32.const {bytes}))");
    let copy = format!("(memory.copy (i32.const {GROWN}) (i32.const 0) (i32.const {bytes}))");
    for operation in [fill, copy] {
        let once = then_scores(&format!("(drop (memory.grow (i32.const {pages}))) {operation}"));
        let for_ever = format!("(drop (memory.grow (i32.const {pages}))) (loop {operation} (br 0)) unreachable");
        let (once, for_ever) = (Core { score: &once, ..Core::default() }, Core { score: &for_ever, ..Core::default() });
        // One byte is one fuel, so that a sample cannot buy a gigabyte of copying with one instruction.
        check(&once, limits(), "out-of-fuel");
        check(&for_ever, limits(), "out-of-fuel");
        let judged = judge(&reward_of(&once), Limits { fuel: 100_000_000, ..limits() });
        assert_eq!(judged.result.expect("a score").value, Some(1.0));
        assert!(judged.receipt.fuel > u64::from(bytes), "{:?}", judged.receipt);
        check(&for_ever, Limits { fuel: u64::MAX, timeout_ms: 50, ..limits() }, "deadline");
    }
}

#[test]
fn results_of_a_gigabyte() {
    let pages = (1 << 14) + 4;
    for words in [
        [(NOTE, GROWN), (NOTE + 4, 1 << 30)],
        // Ten million empty names, and ten million numbers.
        [(METRICS, GROWN), (METRICS + 4, 10_000_000)],
        [(STEPS, GROWN), (STEPS + 4, 10_000_000)],
        // Ten million scores of nothing for one sample.
        [(RESULTS, GROWN), (RESULTS + 4, 10_000_000)],
    ] {
        check(&Core { score: &writes(pages, &words), ..Core::default() }, roomy(), "invalid-output");
    }
}

#[test]
fn answers_that_are_no_answers() {
    for words in [
        // Past the end of memory, around it, and lists that are not aligned.
        [(NOTE, GROWN - 1), (NOTE + 4, 2)],
        [(NOTE, u32::MAX - 1), (NOTE + 4, 4)],
        [(RESULTS, GROWN), (RESULTS + 4, u32::MAX)],
        [(RESULTS, 513), (RESULTS + 4, 1)],
        [(METRICS, 2049), (METRICS + 4, 1)],
        // No such result, no such fault.
        [(512, 7), (NOTE, 0)],
        [(512, 1), (520, 9)],
        // Bytes that are no text: a lone continuation, a surrogate.
        [(2048, 0x80), (NOTE, 2048)],
        [(2048, 0x0080_a0ed), (NOTE, 2048)],
    ] {
        // Every note has a length, so that the last two are read.
        let words: Vec<_> = [(NOTE + 4, 3)].into_iter().chain(words).collect();
        check(&Core { score: &writes(0, &words), ..Core::default() }, limits(), "invalid-output");
    }
}

#[test]
fn sins_after_the_answer() {
    // The score was already handed over when the guest is called to clean up.
    let after = |text: &str| {
        let name = "cabi_post_rewarden:plugin/reward@0.1.0#score-batch";
        format!(r#"{SCORED} (func (export "{name}") (param i32) {text})"#)
    };
    check(&Core { module: &after("unreachable"), ..Core::default() }, limits(), "trap");
    check(&Core { module: &after("(loop (br 0))"), ..Core::default() }, limits(), "out-of-fuel");
}

#[test]
fn sins_while_the_host_hands_over_the_sample() {
    // Only after `configure`, whose settings are handed over in the same way.
    let module = format!("(global $ready (mut i32) (i32.const 0)) {SCORED}");
    let sin = |text: &str, kind: &str| {
        let realloc = format!("(if (global.get $ready) (then {text})) i32.const 65536");
        let configure = "(global.set $ready (i32.const 1)) i32.const 256";
        check(&Core { module: &module, configure, realloc: &realloc, ..Core::default() }, limits(), kind);
    };
    sin("unreachable", "trap");
    sin("(loop (br 0))", "out-of-fuel");
    sin("(return (i32.const -1))", "invalid-output");
    sin("(return (i32.const 3))", "invalid-output");
    sin("(return (call $realloc (local.get 0) (local.get 1) (local.get 2) (local.get 3)))", "trap");
}

#[test]
fn sins_while_starting() {
    let starting = |text: &str| format!("{SCORED} (func $start {text}) (start $start)");
    refused(&reward_of(&Core { module: &starting("unreachable"), ..Core::default() }), "trap");
    refused(&reward_of(&Core { module: &starting("(loop (br 0))"), ..Core::default() }), "fuel = 20000000");
    refused(&reward_of(&Core { describe: "unreachable", ..Core::default() }), "trap");
    refused(&reward_of(&Core { configure: "(loop (br 0)) unreachable", ..Core::default() }), "fuel = 20000000");
    refused(&reward_of(&Core { realloc: "(loop (br 0)) unreachable", ..Core::default() }), "fuel = 20000000");
}

#[test]
fn a_manifest_of_a_gigabyte_and_an_endless_excuse() {
    let describe =
        "(drop (memory.grow (i32.const 1000))) (i32.store (i32.const 284) (i32.const 65000000)) i32.const 256";
    refused(&reward_of(&Core { describe, ..Core::default() }), "does not start");
    let configure = "(drop (memory.grow (i32.const 1000))) (i32.store8 (i32.const 256) (i32.const 1))
        (i32.store (i32.const 264) (i32.const 262144)) (i32.store (i32.const 268) (i32.const 65000000)) i32.const 256";
    refused(&reward_of(&Core { configure, ..Core::default() }), "does not start");
    // One that fits is cut, and its zeros are written as escapes.
    let configure = configure.replace("65000000", "65000");
    refused(&reward_of(&Core { configure: &configure, ..Core::default() }), r"\u{0}...");
}

#[test]
fn calling_the_host_where_no_call_is_allowed() {
    let module = format!(
        r#"(import "rewarden:plugin/host-log@0.1.0" "log" (func $log (param i32 i32 i32)))
           (global $ready (mut i32) (i32.const 0)) {SCORED}"#
    );
    let log = "(call $log (i32.const 0) (i32.const 0) (i32.const 1))";
    let realloc = format!("(if (global.get $ready) (then {log})) i32.const 65536");
    let configure = "(global.set $ready (i32.const 1)) i32.const 256";
    check(&Core { module: &module, configure, realloc: &realloc, ..Core::default() }, limits(), "trap");
    // Where it is allowed, not for ever: neither more than the fuel nor more than the log's cap.
    let for_ever = format!("(loop {log} (br 0)) unreachable");
    check(&Core { module: &module, score: &for_ever, ..Core::default() }, limits(), "out-of-fuel");
    // Text that is none, and a level that is none.
    for (level, address) in [(0, 2048), (9, 0)] {
        let score = format!(
            "(i32.store8 (i32.const 2048) (i32.const 255))
             (call $log (i32.const {level}) (i32.const {address}) (i32.const 1)) i32.const 1024"
        );
        check(&Core { module: &module, score: &score, ..Core::default() }, limits(), "invalid-output");
    }
}

/// A reward that exports a resource besides, so that it may make and drop handles of it.
pub(crate) fn with_a_resource(destructor: &str, score: &str) -> Vec<u8> {
    let further = "package test:resources;
        interface things { resource thing; }
        world plugin { include rewarden:plugin/reward-plugin@0.1.0; export things; }";
    let module = format!(
        r#"(import "[export]test:resources/things" "[resource-new]thing" (func $new (param i32) (result i32)))
           (import "[export]test:resources/things" "[resource-drop]thing" (func $drop (param i32)))
           {SCORED}
           (func (export "test:resources/things#[dtor]thing") (param i32) {destructor})"#
    );
    component("plugin", further, &Core { module: &module, ..Core::default() }, &score_export(score))
}

#[test]
fn handle_bomb() {
    let kept = "(loop (drop (call $new (i32.const 1))) (br 0)) unreachable";
    let fault = judge(&with_a_resource("", kept), limits()).result.expect_err("a fault").to_string();
    assert!(fault.contains("handle"), "{fault}");
    let dropped = "(loop (call $drop (call $new (i32.const 1))) (br 0)) unreachable";
    faults(&with_a_resource("", dropped), limits(), "out-of-fuel");
}

#[test]
fn sins_in_a_destructor() {
    let dropped = then_scores("(call $drop (call $new (i32.const 1)))");
    assert_eq!(judge(&with_a_resource("", &dropped), limits()).result.expect("a score").value, Some(1.0));
    faults(&with_a_resource("unreachable", &dropped), limits(), "trap");
    faults(&with_a_resource("(loop (br 0))", &dropped), limits(), "out-of-fuel");
    // Nobody runs the destructor of a handle that was kept: the store ends without asking the guest.
    let kept = then_scores("(drop (call $new (i32.const 1)))");
    assert_eq!(judge(&with_a_resource("unreachable", &kept), limits()).result.expect("a score").value, Some(1.0));
}
