//! What the sandbox costs: the GSM8K plugin's function called natively, and the same through a fresh instance per sample;
//! and what it costs to load a plugin whose native code is in the cache.
//!
//! The plugin is built by the real command, as everywhere; the one in Python by `benches/peers/run.sh plugin`. Figures stand
//! in BENCH.md.

use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use rewarden_runtime::{
    CacheScores, Grants, Isolation, Limits, Message, PluginSpec, Reward, Role, Runtime, RuntimeConfig, Sample,
    StopReason,
};
use serde_json::json;

/// Of the length and kind that GSM8K completions have.
const RESPONSE: &str = "Natalia baked 48 rolls in the morning and half as many in the afternoon, so she baked 48/2 = \
    <<48/2=24>>24 rolls in the afternoon.\nAltogether she baked 48+24 = <<48+24=72>>72 rolls.\nShe sells them in bags of \
    6, which makes 72/6 = <<72/6=12>>12 bags.\nEach bag costs $4, so she earns 12*4 = $<<12*4=48>>48.\nFlour and \
    butter cost her $11, so that 48-11 = $<<48-11=37>>37 remain.\n#### 37";

fn native(c: &mut Criterion) {
    let sample = rewarden_sdk::Sample::new(RESPONSE, "37");
    let settings = gsm8k::Settings::default();
    c.bench_function("score/native", |b| b.iter(|| gsm8k::score(black_box(&sample), &settings)));
}

/// Every way to judge, per sample: 256 answers at a time, on one thread unless the name says otherwise.
fn sandboxed(c: &mut Criterion) {
    let plugin = build("rewards/gsm8k");
    let mut group = c.benchmark_group("score");
    let mut bench = |id: &str, jobs, samples: usize, change: fn(&mut PluginSpec)| {
        let reward = reward(jobs, &plugin, change);
        let batch: Arc<[Sample]> = vec![sample(); samples].into();
        group.throughput(Throughput::Elements(samples as u64));
        group.bench_function(id, |b| b.iter(|| wait(reward.score_batch(batch.clone()))));
    };
    bench("sample", 1, 256, |_| {});
    bench("batch256", 2, 256, |_| {});
    bench("batch4096/1-thread", 1, 4096, |_| {});
    bench("batch4096/2-threads", 2, 4096, |_| {});
    bench("batch", 1, 256, |spec| spec.isolation = Isolation::Batch);
    bench("worker", 1, 256, |spec| spec.isolation = Isolation::Worker);
    bench("worker-2-threads", 2, 256, |spec| spec.isolation = Isolation::Worker);
    bench("worker-fast", 1, 256, |spec| {
        spec.isolation = Isolation::Worker;
        spec.deterministic = false;
    });
    bench("remembered", 1, 256, |spec| spec.cache = CacheScores::Memory);
    bench("one-call", 1, 1, |_| {});
    group.finish();
}

/// What is no time of a sample: memory of instances that wait, and how late a deadline strikes.
fn figures(_: &mut Criterion) {
    const WARM: u32 = 50;
    let worker = reward(1, &build("rewards/gsm8k"), |spec| spec.isolation = Isolation::Worker);
    let configured = |seed| {
        let plugin = wait(worker.plugin().configured(json!({}), seed)).expect("configures");
        let reward = plugin.reward().expect("a reward");
        (wait(reward.score_batch(vec![sample(); 32])), reward)
    };
    let first = configured(0);
    let before = resident_bytes();
    let warm: Vec<_> = (1..=WARM).map(configured).collect();
    println!("figures: {} KiB resident for each warm instance", (resident_bytes() - before) / warm.len() / 1024);
    drop((first, warm));

    let hostile = reward(1, &build("tests/guests/hostile"), |spec| {
        spec.limits = Limits { fuel: u64::MAX, timeout_ms: 50, ..Limits::default() };
    });
    let late =
        |_| wait(hostile.judge_batch(vec![Sample { extra: "loop".into(), ..sample() }])).remove(0).receipt.micros;
    let latest = (0..40).map(late).max().expect("some") as f64 / 1000.0 - 50.0;
    println!("figures: an endless loop met its deadline at most {latest:.1} ms late, of 40 (a tick is 5 ms)");
}

/// Memory of this process, in bytes.
fn resident_bytes() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("a line");
    line.split_whitespace().nth(1).and_then(|kib| kib.parse::<usize>().ok()).expect("KiB") * 1024
}

fn reward(jobs: usize, plugin: &Path, change: impl FnOnce(&mut PluginSpec)) -> Reward {
    let runtime = Runtime::new(RuntimeConfig { jobs, cache_dir: None }).expect("a runtime");
    let mut spec = PluginSpec::path(plugin);
    change(&mut spec);
    wait(runtime.load(&spec)).expect("loads").reward().expect("a reward")
}

fn wait<F: Future>(future: F) -> F::Output {
    thread_local! {
        static EXECUTOR: tokio::runtime::Runtime =
            tokio::runtime::Builder::new_current_thread().build().expect("an executor");
    }
    EXECUTOR.with(|executor| executor.block_on(future))
}

fn loading(c: &mut Criterion) {
    load(c, "load/rust", build("rewards/gsm8k"));
    match python() {
        Ok(plugin) => load(c, "load/python", plugin),
        Err(missing) => {
            println!("load/python: skipped, there is no {} (benches/peers/run.sh plugin)", missing.display())
        }
    }
}

/// Loads a plugin again and again, each time in a runtime that has never seen it, from a cache that has.
fn load(c: &mut Criterion, id: &str, plugin: PathBuf) {
    let cache = tempfile::tempdir().expect("a temporary folder");
    // Components in Python import everything their world offers.
    let grants = Grants::new(["host-log"]).expect("a known name");
    let spec = PluginSpec { grants, ..PluginSpec::path(plugin) };
    let fresh = || {
        let cache_dir = Some(cache.path().join("cache"));
        Runtime::new(RuntimeConfig { cache_dir, ..RuntimeConfig::default() }).expect("a runtime")
    };
    wait(fresh().load(&spec)).expect("compiles");
    c.bench_function(id, |b| {
        let load = |runtime: Runtime| wait(runtime.load(&spec)).expect("loads");
        b.iter_batched(fresh, load, BatchSize::PerIteration);
    });
}

/// The plugin in Python, or where it was looked for.
#[allow(clippy::disallowed_methods, reason = "where a file lies that this workspace cannot build")]
fn python() -> Result<PathBuf, PathBuf> {
    let built = || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target/peers/gsm8k_py.wasm");
    let path = std::env::var_os("REWARDEN_PYTHON_COMPONENT").map_or_else(built, PathBuf::from);
    if path.is_file() { Ok(path) } else { Err(path) }
}

fn build(folder: &str) -> PathBuf {
    let output = Command::new(env!("CARGO_BIN_EXE_rewarden"))
        .args(["plugin", "build", folder])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("the binary runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    PathBuf::from(String::from_utf8(output.stdout).expect("UTF-8").lines().next().expect("a path"))
}

fn sample() -> Sample {
    let message =
        Message { role: Role::Assistant, content: RESPONSE.into(), name: None, tool_calls: vec![], tool_call_id: None };
    Sample {
        id: "bench".into(),
        group: "bench".into(),
        data_source: "gsm8k".into(),
        prompt: vec![],
        completion: vec![message],
        ground_truth: "37".into(),
        extra: "{}".into(),
        stop_reason: StopReason::Completed,
        turn_scores: vec![],
        completion_tokens: 0,
        step: 0,
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default().warm_up_time(Duration::from_secs(1)).measurement_time(Duration::from_secs(3)).without_plots();
    targets = figures, native, sandboxed, loading
}
criterion_main!(benches);
