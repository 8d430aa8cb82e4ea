//! Arbitrary bytes as a plugin: the loader refuses them with a sentence, or they score one sample or fault. A panic, a
//! sentence that a terminal would obey, an endless one and a score that is no number are findings.

#![no_main]

use std::io::{Seek, Write};
use std::sync::{LazyLock, Mutex};

use libfuzzer_sys::fuzz_target;
use rewarden_runtime::{Grants, Limits, Message, PluginSpec, Role, Runtime, RuntimeConfig, Sample, StopReason};
use tempfile::NamedTempFile;
use tokio::runtime::Runtime as Executor;

/// What every input shares: the loader takes a path, so they all pass through one file.
static HOST: LazyLock<(Runtime, Executor, Mutex<NamedTempFile>)> = LazyLock::new(|| {
    let executor = tokio::runtime::Builder::new_current_thread().build().expect("an executor");
    let file = tempfile::Builder::new().suffix(".wasm").tempfile().expect("a temporary file");
    let runtime = Runtime::new(RuntimeConfig { jobs: 1, cache_dir: None }).expect("a runtime");
    (runtime, executor, Mutex::new(file))
});

fuzz_target!(|bytes: &[u8]| {
    let (runtime, executor, file) = &*HOST;
    let mut file = file.lock().expect("one thread");
    let opened = file.as_file_mut();
    opened.set_len(0).and_then(|()| opened.rewind()).and_then(|()| opened.write_all(bytes)).expect("writable");
    executor.block_on(load_and_score(runtime, PluginSpec::path(file.path())));
});

async fn load_and_score(runtime: &Runtime, spec: PluginSpec) {
    let grants = Grants::new(["host-log"]).expect("a known name");
    let spec = PluginSpec { name: "fuzz".into(), limits: limits(), grants, ..spec };
    let plugin = match runtime.load(&spec).await {
        Ok(plugin) => plugin,
        Err(error) => return check_sentence(&error.to_string()),
    };
    let reward = match plugin.reward() {
        Ok(reward) => reward,
        Err(error) => return check_sentence(&error.to_string()),
    };
    let results = reward.score_batch(vec![sample()]).await;
    assert_eq!(results.len(), 1);
    match &results[0] {
        Ok(score) => assert!(score.value.is_none_or(f64::is_finite), "{score:?}"),
        Err(fault) => check_sentence(&fault.to_string()),
    }
}

fn check_sentence(sentence: &str) {
    assert!(sentence.len() < 16_384, "a sentence of {} bytes", sentence.len());
    assert!(!sentence.contains(|c: char| c.is_control()), "{sentence:?}");
}

/// Little of everything, so that an input that runs ends at once.
fn limits() -> Limits {
    Limits {
        fuel: 1_000_000,
        timeout_ms: 1_000,
        memory_bytes_max: 1 << 20,
        output_bytes_max: 64 << 10,
        table_elements_max: 1_000,
        ..Limits::default()
    }
}

fn sample() -> Sample {
    let message =
        Message { role: Role::Assistant, content: "x".into(), name: None, tool_calls: vec![], tool_call_id: None };
    Sample {
        id: "1".into(),
        group: String::new(),
        data_source: String::new(),
        prompt: vec![],
        completion: vec![message],
        ground_truth: "x".into(),
        extra: "{}".into(),
        stop_reason: StopReason::Completed,
        turn_scores: vec![],
        completion_tokens: 0,
        step: 0,
    }
}
