//! Remembered scores: judged once, the same from memory and disk, never believed when they were tampered with.

use std::fs;
use std::path::Path;

use rewarden_runtime::{CacheScores, Judgement, Limits, PluginSpec, Runtime, RuntimeConfig, Sample};
use serde_json::json;

use crate::component::{file, reward, sample, wait};

/// Judges in a process of its own, as far as a runtime is one.
fn judge(
    folder: &Path,
    cache: CacheScores,
    change: impl FnOnce(&mut PluginSpec),
    samples: Vec<Sample>,
) -> Vec<Judgement> {
    let runtime = Runtime::new(RuntimeConfig { jobs: 1, cache_dir: Some(folder.join("cache")) }).expect("a runtime");
    let mut spec = PluginSpec { cache, ..PluginSpec::path(folder.join("plugin.wasm")) };
    change(&mut spec);
    wait(wait(runtime.load(&spec)).expect("loads").reward().expect("a reward").judge_batch(samples))
}

fn folder() -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("a temporary folder");
    file(&dir, &reward(""));
    dir
}

/// Which of these samples were remembered.
fn cached(judgements: &[Judgement]) -> Vec<bool> {
    judgements.iter().map(|judgement| judgement.receipt.cached).collect()
}

fn samples() -> Vec<Sample> {
    let named = |id: &str, ground_truth: &str| Sample { id: id.into(), ground_truth: ground_truth.into(), ..sample() };
    vec![named("1", "a"), named("2", "a"), named("3", "b")]
}

#[test]
fn what_looks_alike_is_judged_once() {
    let folder = folder();
    let off = judge(folder.path(), CacheScores::Off, |_| {}, samples());
    assert_eq!(cached(&off), [false; 3]);
    let first = judge(folder.path(), CacheScores::Disk, |_| {}, samples());
    assert_eq!(cached(&first), [false, true, false], "an id is no difference");
    let second = judge(folder.path(), CacheScores::Disk, |_| {}, samples());
    assert_eq!(cached(&second), [true; 3]);
    let in_memory = judge(folder.path(), CacheScores::Memory, |_| {}, samples());
    assert_eq!(cached(&in_memory), [false, true, false], "memory is the process's own");
    let facts = |judgements: &[Judgement]| -> Vec<_> {
        judgements.iter().map(|one| (one.result.clone(), one.receipt.fuel, one.receipt.memory_bytes_peak)).collect()
    };
    assert_eq!(facts(&first), facts(&second), "a remembered score has the receipt of the one that was judged");
}

#[test]
fn whatever_a_score_depends_on_is_in_its_key() {
    let folder = folder();
    let one = || vec![sample()];
    let remembers = |change: fn(&mut PluginSpec)| cached(&judge(folder.path(), CacheScores::Disk, change, one()))[0];
    assert!(!remembers(|_| {}));
    assert!(remembers(|_| {}));
    assert!(!remembers(|spec| spec.seed = 1));
    assert!(!remembers(|spec| spec.settings = json!({"a": 1})));
    assert!(!remembers(|spec| spec.limits = Limits { fuel: 1_000_000, ..Limits::default() }));
    assert!(!remembers(|spec| spec.deterministic = false));
    file(&folder, &reward("(global i32 (i32.const 7))"));
    assert!(!remembers(|_| {}), "another component");
}

/// A forged reward would be as good as a broken sandbox: an entry that we did not write is not read.
#[test]
fn a_database_that_was_tampered_with_is_judged_anew() {
    let folder = folder();
    judge(folder.path(), CacheScores::Disk, |_| {}, samples());
    let database = folder.path().join("cache/scores.redb");
    let mut bytes = fs::read(&database).expect("a database");
    let value = bytes.windows(8).position(|window| window == b"\"value\":").expect("a score as JSON");
    bytes[value + 8] = b'9';
    fs::write(&database, &bytes).expect("writable");
    let after = judge(folder.path(), CacheScores::Disk, |_| {}, samples());
    assert!(after.iter().all(|judgement| judgement.result.as_ref().expect("a score").value == Some(1.0)));
    fs::write(&database, b"no database").expect("writable");
    let after = judge(folder.path(), CacheScores::Disk, |_| {}, samples());
    assert_eq!(cached(&after), [false, true, false]);
    assert_eq!(cached(&judge(folder.path(), CacheScores::Disk, |_| {}, samples())), [true; 3], "a new one was begun");
}
