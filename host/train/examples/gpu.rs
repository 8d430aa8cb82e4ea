//! What the GPU is worth: random weights in the shape of Qwen3-0.6B, one figure a line as JSON, for `scripts/gpu-check.sh`.
//!
//!     cargo run --release --features cuda --example gpu -- decode 64
//!     cargo run --release --features cuda --example gpu -- train full | lora
//!     cargo run --release --features cuda --example gpu -- rl
//!     cargo run --release --features cuda --example gpu -- tiny        # the same on a small model, to see that it works

use std::time::Instant;

use rewarden_train::{
    AdamConfig, Clip, Datum, Experience, Lora, LossAggMode, LossFn, ModelConfig, Next, Objective, Optimizer, Policy,
    PolicyLoss, Request, Result, Sampled, Sampler, Sampling, gradients, nll,
};

const USAGE: &str = "gpu decode ROWS | train full|lora | rl | tiny";

/// Tokens that a decoded sequence has on average: the prompt, and half of what is drawn.
const CONTEXT: usize = 512;

/// Sequences of an update, and tokens of each.
const SEQUENCES: usize = 16;
const LENGTH: usize = 1024;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        ["decode", rows] => decode(&model(false)?, rows.parse().expect(USAGE)),
        ["train", "full"] => train("train_full", model(false)?, SEQUENCES, LENGTH),
        ["train", "lora"] => train("train_lora", model(true)?, SEQUENCES, LENGTH),
        ["rl"] => rl("rl_step", model(false)?, 16, 64),
        ["tiny"] => tiny(),
        _ => panic!("{USAGE}"),
    }
}

/// Random weights in the shape of Qwen3-0.6B on the first GPU, frozen under adapters if asked.
fn model(is_adapted: bool) -> Result<Policy> {
    let config = ModelConfig {
        hidden_size: 1024,
        intermediate_size: 3072,
        num_hidden_layers: 28,
        num_attention_heads: 16,
        num_key_value_heads: 8,
        head_dim: 128,
        ..ModelConfig::tiny(151_936, 2)
    };
    let policy = Policy::random(config, 1)?;
    let lora = Lora { rank: 32, alpha: 32.0, train_attn: true, train_mlp: true, train_unembed: false };
    match is_adapted {
        true => policy.with_new_adapter(&lora, "random", 1)?.on_gpu(0),
        false => policy.on_gpu(0),
    }
}

/// Every measurement, on a model that takes seconds.
fn tiny() -> Result<()> {
    let model = || {
        let config = ModelConfig { head_dim: 64, ..ModelConfig::tiny(512, 2) };
        Policy::random(config, 1)?.on_gpu(0)
    };
    decode(&model()?, 4)?;
    train("train_full", model()?, 4, 64)?;
    rl("rl_step", model()?, 4, 16)
}

fn tokens(policy: &Policy, count: usize, salt: usize) -> Vec<u32> {
    (0..count).map(|at| ((at * 31 + salt * 17) % policy.config().vocab_size) as u32).collect()
}

/// Milliseconds of a step at this batch: the difference between many steps and few, so that prompts do not count.
fn decode(policy: &Policy, rows: usize) -> Result<()> {
    let (few, many) = (16, 144);
    let prompt = CONTEXT - (few + many) / 2;
    let requests: Vec<Request> =
        (0..rows).map(|row| Request { prompt: tokens(policy, prompt, row), seeds: vec![row as u64] }).collect();
    let seconds = |max_tokens: usize| -> Result<f64> {
        let sampling = Sampling { max_tokens, temperature: 1.0, top_k: 0, top_p: 1.0 };
        let start = now();
        Sampler::new(policy).sample(&requests, &sampling, &|_| Next::Draw, |_| ())?;
        Ok(start.elapsed().as_secs_f64())
    };
    seconds(few)?; // compiles kernels
    let mut steps: Vec<f64> = vec![];
    for _ in 0..3 {
        let short = seconds(few)?;
        steps.push((seconds(many)? - short) / (many - few) as f64);
    }
    let seconds = median(steps);
    report(&format!("decode_{rows}"), &[("ms_per_step", seconds * 1e3), ("tokens_per_second", rows as f64 / seconds)]);
    Ok(())
}

/// Tokens per second of whole updates.
fn train(name: &str, mut policy: Policy, sequences: usize, length: usize) -> Result<()> {
    let datum = |salt| Datum { tokens: tokens(&policy, length, salt), trained: vec![true; length] };
    let data: Vec<Datum> = (0..sequences).map(datum).collect();
    let loss = nll(&data);
    let mut optimizer = Optimizer::new(&policy, &AdamConfig::default())?;
    let mut seconds = vec![];
    let mut losses = vec![];
    for step in 0..6 {
        let start = now();
        let found = gradients(&policy, &data, 0, Objective::each(&loss))?;
        optimizer.step(&mut policy, &found, 1e-4)?;
        losses.push(found.loss);
        if step > 0 {
            seconds.push(start.elapsed().as_secs_f64());
        }
    }
    let rate = (sequences * length) as f64 / median(seconds);
    report(name, &[("tokens_per_second", rate), ("first_loss", losses[0]), ("last_loss", losses[losses.len() - 1])]);
    Ok(())
}

/// Seconds of a whole step of reinforcement learning: groups of 16 answers, a reward on the host, one update.
fn rl(name: &str, mut policy: Policy, groups: usize, max_tokens: usize) -> Result<()> {
    let mut optimizer = Optimizer::new(&policy, &AdamConfig::default())?;
    let requests: Vec<Request> = (0..groups)
        .map(|group| Request {
            prompt: tokens(&policy, 128, group),
            seeds: (0..16).map(|sample| (group * 16 + sample) as u64).collect(),
        })
        .collect();
    let sampling = Sampling { max_tokens, temperature: 1.0, top_k: 0, top_p: 1.0 };
    let (mut seconds, mut off) = (vec![], 0.0_f64);
    for step in 0..4 {
        let start = now();
        let samples = Sampler::new(&policy).sample(&requests, &sampling, &|_| Next::Draw, |_| ())?;
        let (data, known): (Vec<Datum>, Vec<Experience>) =
            samples.iter().enumerate().map(|(at, sampled)| learnt(&requests[at / 16].prompt, at / 16, sampled)).unzip();
        let loss = PolicyLoss {
            loss_fn: LossFn::ImportanceSampling,
            clip: Clip { low: 0.0, high: f32::INFINITY, dual: None }, // the loss has no bounds
            loss_agg_mode: LossAggMode::TokenMean,
            max_tokens,
            kl: None,
            entropy_coef: 0.0,
        };
        let judge = loss.on(&known);
        let found = gradients(&policy, &data, 0, Objective::each(&judge))?;
        let sampled = known.iter().flat_map(|known| &known.sampled_log_probs);
        let apart = sampled.zip(&found.log_probs).map(|(ours, theirs)| f64::from((ours - theirs).abs()));
        off = off.max(apart.fold(0.0, f64::max));
        optimizer.step(&mut policy, &found, 1e-5)?;
        if step > 0 {
            seconds.push(start.elapsed().as_secs_f64());
        }
    }
    report(name, &[("seconds", median(seconds)), ("sampler_trainer_log_prob_max_difference", off)]);
    Ok(())
}

/// An answer as something to learn from; the reward is how many of its tokens are even.
fn learnt(prompt: &[u32], group: usize, sampled: &Sampled) -> (Datum, Experience) {
    let answer = sampled.tokens.len();
    let even = sampled.tokens.iter().filter(|token| *token % 2 == 0).count() as f32 / answer as f32;
    let datum = Datum {
        tokens: [prompt, &sampled.tokens].concat(),
        trained: (0..prompt.len() + answer).map(|at| at >= prompt.len()).collect(),
    };
    let known = Experience {
        group,
        sampled_log_probs: sampled.log_probs.clone(),
        advantages: vec![even - 0.5; answer],
        reference_log_probs: vec![],
    };
    (datum, known)
}

#[allow(clippy::disallowed_methods, reason = "it measures")]
fn now() -> Instant {
    Instant::now()
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn report(name: &str, figures: &[(&str, f64)]) {
    let figures: Vec<String> = figures.iter().map(|(key, value)| format!("\"{key}\": {value:.6}")).collect();
    println!("{{\"name\": \"{name}\", {}}}", figures.join(", "));
}
