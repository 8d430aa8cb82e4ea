//! Tokens per second of the engine, at updates and at sampling: `train` and `sample` in the shapes of the quickstart,
//! `engine` in those that benches/peers/run_engine.sh gives to PyTorch, with the memory that training takes; and what it saves
//! that samples of a group share their prompt, and that rewards judge while others are sampled.
//!
//!     cargo bench --bench train
//!     taskset --cpu-list 0 cargo bench --bench train -- engine      # on one core

use std::sync::Mutex;
use std::thread::sleep;
use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group};
use rewarden_runtime::{Digest, Grader, HostScorer, Role, Rubric, RubricRules, Sample, Score};
use rewarden_train::{
    AdamConfig, Datum, IM_END, ModelConfig, Next, Objective, Optimizer, Plan, Policy, Purpose, Renderer, RendererName,
    Request, Sampler, Sampling, Task, Tokenizer, attempt, gradients, message, nll, roll_out,
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
fn larger(vocabulary: usize, end: u32) -> Policy {
    let config = ModelConfig {
        hidden_size: 256,
        intermediate_size: 768,
        num_hidden_layers: 6,
        head_dim: 64,
        ..ModelConfig::tiny(vocabulary, end)
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
        let mut policy = larger(VOCABULARY, 2).with_gradient_checkpointing(recompute);
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

/// An update on 16 groups of 16 samples, 64 tokens each, behind prompts of 16 and of 128 tokens, which the samples of a group
/// share: the tokens that count are those of the samples.
fn engine_groups(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("engine/groups");
    group.throughput(Throughput::Elements(16 * 16 * 64));
    for prompt in [16, 128] {
        let sample = |number: usize| Datum {
            tokens: [tokens(prompt, number / 16), tokens(64, 100 + number)].concat(),
            trained: (0..prompt + 64).map(|at| at >= prompt).collect(),
        };
        let together: Vec<Datum> = (0..256).map(sample).collect();
        // Neighbours of different groups share nothing.
        let apart: Vec<Datum> = (0..256).map(|number| together[number % 16 * 16 + number / 16].clone()).collect();
        let policy = larger(VOCABULARY, 2);
        for (name, data) in [("together", &together), ("apart", &apart)] {
            group.bench_function(format!("prompt-{prompt}/{name}"), |bencher| {
                let loss = nll(data);
                bencher.iter(|| gradients(&policy, data, 32, Objective::each(&loss)).expect("gradients"));
            });
        }
    }
    group.finish();
}

/// What a judge behind a network takes for an answer, one after the other.
const JUDGEMENT: Duration = Duration::from_micros(1500);

fn rubric(takes: Duration) -> Rubric {
    let one_at_a_time = Mutex::new(());
    let judge = move |samples: &[Sample]| {
        let _turn = one_at_a_time.lock();
        sleep(takes * samples.len() as u32);
        let score = Score { value: Some(1.0), steps: vec![], components: vec![], metrics: vec![], note: String::new() };
        vec![Ok(score); samples.len()]
    };
    let scorer = HostScorer::blocking(Digest::of(b"judge"), judge).into();
    let (name, weight) = ("judge".into(), 1.0.into());
    let grader = Grader { name, weight, priority: 0, data_source: vec![], on_fault: None, scorer };
    Rubric::new(vec![grader], RubricRules::default()).expect("a rubric")
}

/// 48 prompts with 8 samples of up to 32 tokens, and a reward made slow on purpose: sampling alone, with the judge beside it as
/// a step of reinforcement learning has it, and with the judge afterwards.
fn overlap(criterion: &mut Criterion) {
    let question = "What is one plus two, and why not more than that?";
    let tokenizer = Tokenizer::learn(&[question.to_owned()]).expect("a tokenizer");
    let policy = larger(tokenizer.vocab_size(), tokenizer.id(IM_END).expect("it has one"));
    let renderer = Renderer::new(RendererName::Qwen3, tokenizer).expect("a renderer");
    let task = |number: usize| Task {
        id: number.to_string(),
        data_source: String::new(),
        prompt: vec![message(Role::User, question)],
        tools: vec![],
        ground_truth: String::new(),
        extra: "{}".into(),
    };
    let tasks: Vec<Task> = (0..48).map(task).collect();
    let tasks: Vec<&Task> = tasks.iter().collect();
    let sampling = Sampling { max_tokens: 32, temperature: 1.0, top_k: 0, top_p: 1.0 };
    let (seed, purpose) = (1, Purpose::Rollouts);
    let plan = Plan { group_size: 8, sampling: &sampling, stop: &[], seed, purpose, step: 0, first_task: 0 };
    let mut group = criterion.benchmark_group("overlap");
    for (name, takes) in [("instant-reward", Duration::ZERO), ("slow-reward", JUDGEMENT)] {
        let mut rubric = rubric(takes);
        group.bench_function(name, |bencher| {
            bencher
                .iter(|| attempt((&policy, &renderer), (&tasks, &plan), (&mut rubric, 0), |_| ()).expect("attempts"));
        });
    }
    let mut rubric = rubric(JUDGEMENT);
    group.bench_function("slow-reward-afterwards", |bencher| {
        bencher.iter(|| {
            let rollouts = roll_out(&policy, &renderer, &tasks, &plan, |_| (), |_, _| ()).expect("roll-outs");
            let samples: Vec<Sample> = rollouts.into_iter().map(|rollout| rollout.sample).collect();
            pollster::block_on(rubric.grade(samples, 0)).expect("grades")
        });
    });
    group.finish();
}

/// 128 tokens behind prompts of 16, nothing ends them.
fn engine_sample(criterion: &mut Criterion) {
    let policy = larger(VOCABULARY, 2);
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
    targets = engine_update, engine_groups, engine_sample, overlap, update, sample
}

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    benches();
    Criterion::default().configure_from_args().final_summary();
}
