//! Tokens per second of the engine, at updates and at sampling: `train` and `sample` in the shapes of the quickstart,
//! `engine` in those that benches/peers/run_engine.sh gives to PyTorch, with the memory that training takes.
//!
//!     cargo bench --bench train
//!     taskset --cpu-list 0 cargo bench --bench train -- engine      # on one core

use criterion::{Criterion, Throughput, criterion_group};
use rewarden_train::{
    AdamConfig, Datum, ModelConfig, Next, Objective, Optimizer, Policy, Request, Sampler, Sampling, gradients, nll,
};

const VOCABULARY: usize = 512;
const PROMPT: usize = 33;
const ANSWER: usize = 22;

fn tokens(count: usize, salt: usize) -> Vec<u32> {
    (0..count).map(|at| ((at * 31 + salt * 17) % VOCABULARY) as u32).collect()
}

fn policy() -> Policy {
    Policy::random(ModelConfig::tiny(VOCABULARY, 2), 1).expect("a model")
}

fn update(criterion: &mut Criterion) {
    let datum = |salt: usize| Datum {
        tokens: tokens(PROMPT + ANSWER, salt),
        trained: (0..PROMPT + ANSWER).map(|at| at >= PROMPT).collect(),
    };
    let data: Vec<Datum> = (0..32).map(datum).collect();
    let mut policy = policy();
    let mut optimizer = Optimizer::new(&policy, &AdamConfig::default()).expect("an optimizer");
    let mut group = criterion.benchmark_group("train");
    group.throughput(Throughput::Elements((data.len() * (PROMPT + ANSWER)) as u64));
    for (name, micro_batch_size) in [("update/one-pass", 0), ("update/two-passes", 16)] {
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                let loss = nll(&data);
                let found = gradients(&policy, &data, micro_batch_size, Objective::each(&loss)).expect("gradients");
                optimizer.step(&mut policy, &found, 1e-4).expect("a step")
            });
        });
    }
    group.finish();
}

/// Hidden 256, 6 layers, 4 heads over 2 key heads: what benches/peers/engine/model.py makes.
fn larger() -> Policy {
    let config = ModelConfig {
        hidden_size: 256,
        intermediate_size: 768,
        num_hidden_layers: 6,
        head_dim: 64,
        ..ModelConfig::tiny(VOCABULARY, 2)
    };
    Policy::random(config, 1).expect("a model")
}

/// An update on 32 sequences of 128 tokens, every one trained; then the most memory the process ever had.
fn engine_update(criterion: &mut Criterion) {
    let datum = |salt: usize| Datum { tokens: tokens(128, salt), trained: vec![true; 128] };
    let data: Vec<Datum> = (0..32).map(datum).collect();
    let mut group = criterion.benchmark_group("engine/train");
    group.throughput(Throughput::Elements(32 * 128));
    for (name, recompute) in [("32x128/gradient-checkpointing", true), ("32x128", false)] {
        let mut policy = larger().with_gradient_checkpointing(recompute);
        let mut optimizer = Optimizer::new(&policy, &AdamConfig::default()).expect("an optimizer");
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                let loss = nll(&data);
                let found = gradients(&policy, &data, 0, Objective::each(&loss)).expect("gradients");
                optimizer.step(&mut policy, &found, 1e-4).expect("a step")
            });
        });
        println!("engine/train/{name}: {} MB at most so far", peak_mb());
    }
    group.finish();
}

/// 128 tokens behind prompts of 16, nothing ends them.
fn engine_sample(criterion: &mut Criterion) {
    let policy = larger();
    let sampling = Sampling { max_tokens: 128, temperature: 1.0, top_k: 0, top_p: 1.0 };
    let mut group = criterion.benchmark_group("engine/sample");
    for batch in [8, 64, 256] {
        let request = |salt: u64| Request { prompt: tokens(16, salt as usize), seeds: vec![salt] };
        let requests: Vec<Request> = (0..batch).map(request).collect();
        group.throughput(Throughput::Elements(128 * batch));
        group.bench_function(batch.to_string(), |bencher| {
            bencher
                .iter(|| Sampler::new(&policy).sample(&requests, &sampling, &|_| Next::Draw, |_| ()).expect("samples"));
        });
    }
    group.finish();
}

/// The process's largest resident memory, where the system says it (Linux).
fn peak_mb() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak =
        status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.split_whitespace().next()?.parse::<u64>().ok());
    peak.unwrap_or(0) / 1024
}

fn sample(criterion: &mut Criterion) {
    let policy = policy();
    let requests: Vec<Request> = (0..16)
        .map(|salt| Request {
            prompt: tokens(PROMPT, salt),
            seeds: (0..8).map(|seed| seed + 8 * salt as u64).collect(),
        })
        .collect();
    let sampling = Sampling { max_tokens: ANSWER, temperature: 1.0, top_k: 0, top_p: 1.0 };
    let mut group = criterion.benchmark_group("sample");
    group.throughput(Throughput::Elements((128 * ANSWER) as u64));
    group.bench_function("16x8", |bencher| {
        bencher.iter(|| Sampler::new(&policy).sample(&requests, &sampling, &|_| Next::Draw, |_| ()).expect("samples"));
    });
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(20);
    targets = engine_update, engine_sample, update, sample
}

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    benches();
    Criterion::default().configure_from_args().final_summary();
}
