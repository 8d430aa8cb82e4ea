//! Tokens per second of the tiny model: one supervised update of 32 conversations, and sampling 128 answers to 16
//! prompts, both in the shapes of the quickstart.
//!
//!     cargo bench --bench train

use criterion::{Criterion, Throughput, criterion_group};
use rewarden_train::{
    AdamConfig, Datum, ModelConfig, Objective, Optimizer, Policy, Request, Sampler, Sampling, gradients, nll,
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
    let mut optimizer = Optimizer::new(&policy, &AdamConfig::default()).unwrap();
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
        bencher.iter(|| Sampler::new(&policy).sample(&requests, &sampling, |_| false, |_| ()).expect("samples"));
    });
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(20);
    targets = update, sample
}

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    benches();
    Criterion::default().configure_from_args().final_summary();
}
