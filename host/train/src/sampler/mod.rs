//! Continues many prompts at once. Each prompt is prefilled once and its keys and values copied to its samples; rows
//! that have stopped leave the batch; the log-probability of every sampled token is kept.
//!
//! Shapes: P prompts, B rows (samples still running), T tokens in the cache. Prompts are padded on the left, so that
//! the newest token of every row has the same place in the cache.

mod choose;

use candle_core::{Device, Tensor};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use std::sync::mpsc;

use crate::error::Result;
use crate::model::Policy;
use crate::model::decoder::{self, Decoder, KvCache};
use crate::parallel::for_each_in_order;

/// Samples that go through the model together. Several such batches run at once, one on each core.
const ROWS_AT_ONCE: usize = 64;

/// How tokens are drawn.
#[derive(Clone, Debug, PartialEq)]
pub struct Sampling {
    /// Tokens of one sample at most.
    pub max_tokens: usize,
    /// Divides the logits; 0 takes the likeliest token.
    pub temperature: f64,
    /// Draws among this many likeliest tokens; 0 means all.
    pub top_k: usize,
    /// Draws among the likeliest tokens whose probabilities reach this sum.
    pub top_p: f64,
}

/// A prompt and one seed for each sample wanted of it.
#[derive(Clone, Debug)]
pub struct Request {
    /// Token ids.
    pub prompt: Vec<u32>,
    /// A sample's randomness depends on its own seed only.
    pub seeds: Vec<u64>,
}

/// One continuation.
#[derive(Clone, Debug, PartialEq)]
pub struct Sampled {
    /// Sampled tokens; the stop token, if one was reached, is the last.
    pub tokens: Vec<u32>,
    /// The model's log-probability of each.
    pub log_probs: Vec<f32>,
    /// Whether it stopped by itself rather than at `max_tokens`.
    pub stopped: bool,
}

/// Draws tokens from a policy. It borrows the policy, so no sampler outlives an update. One that is gone is fine:
///
/// ```
/// # use rewarden_train::{Gradients, Optimizer, Policy, Result, Sampler};
/// # fn example(policy: &mut Policy, optimizer: &mut Optimizer, gradients: &Gradients) -> Result<()> {
/// let sampler = Sampler::new(policy);
/// drop(sampler);
/// optimizer.step(policy, gradients, 1e-3)?;
/// # Ok(()) }
/// ```
///
/// The same in the other order does not compile:
///
/// ```compile_fail,E0502
/// # use rewarden_train::{Gradients, Optimizer, Policy, Result, Sampler};
/// # fn example(policy: &mut Policy, optimizer: &mut Optimizer, gradients: &Gradients) -> Result<()> {
/// let sampler = Sampler::new(policy);
/// optimizer.step(policy, gradients, 1e-3)?; // `*policy` is also borrowed as immutable
/// drop(sampler);
/// # Ok(()) }
/// ```
pub struct Sampler<'a> {
    policy: &'a Policy,
    decoder: Decoder,
}

/// The samples of a batch that have not stopped.
struct Running {
    rows: Vec<Row>,
    cache: KvCache,
    /// What each row's next token is drawn from.
    logits: Vec<Vec<f32>>,
    /// Tokens in the cache.
    seen: usize,
}

/// A sample in the making.
struct Row {
    slot: usize,
    position: u32,
    pad: usize,
    rng: ChaCha8Rng,
    newest: u32,
}

impl<'a> Sampler<'a> {
    /// A sampler over the policy's weights as they are now.
    pub fn new(policy: &'a Policy) -> Self {
        Self { decoder: policy.frozen(), policy }
    }

    /// Samples every request; the answers of one request are neighbours, in the order of its seeds. `stops` tells which
    /// tokens end a sample; `progress` hears the number of tokens sampled so far, now and then. Prompts must not be
    /// empty.
    pub fn sample(
        &self,
        requests: &[Request],
        sampling: &Sampling,
        stops: impl Fn(u32) -> bool + Sync,
        mut progress: impl FnMut(usize),
    ) -> Result<Vec<Sampled>> {
        let (send, tokens) = mpsc::channel();
        std::thread::scope(|scope| {
            let all = scope.spawn(|| self.sample_batches(requests, sampling, &stops, send));
            let mut sampled = 0;
            for step in tokens {
                sampled += step;
                progress(sampled);
            }
            all.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    fn sample_batches(
        &self,
        requests: &[Request],
        sampling: &Sampling,
        stops: &(impl Fn(u32) -> bool + Sync),
        tokens: mpsc::Sender<usize>,
    ) -> Result<Vec<Sampled>> {
        let mut done = Ok(vec![]);
        // Nobody listening is no reason to stop.
        let one = |batch: &&[Request]| {
            self.sample_batch(batch, sampling, stops, |count| {
                let _ = tokens.send(count);
            })
        };
        for_each_in_order(&batches(requests), one, |batch| match (&mut done, batch) {
            (Ok(done), Ok(samples)) => done.extend(samples),
            (Ok(_), Err(error)) => done = Err(error),
            (Err(_), _) => {}
        });
        done
    }

    fn sample_batch(
        &self,
        requests: &[Request],
        sampling: &Sampling,
        stops: &impl Fn(u32) -> bool,
        step: impl Fn(usize),
    ) -> Result<Vec<Sampled>> {
        let count = requests.iter().map(|request| request.seeds.len()).sum();
        let mut done = vec![Sampled { tokens: vec![], log_probs: vec![], stopped: false }; count];
        if count == 0 || sampling.max_tokens == 0 {
            return Ok(done);
        }
        let mut batch = self.prefill(requests)?;
        loop {
            for (row, logits) in batch.rows.iter_mut().zip(&batch.logits) {
                let choice = choose::choose(logits, sampling, &mut row.rng);
                let sample = &mut done[row.slot];
                sample.tokens.push(choice.token);
                sample.log_probs.push(choice.log_prob);
                sample.stopped = stops(choice.token);
                row.newest = choice.token;
            }
            step(batch.rows.len());
            batch.keep(|row| !done[row.slot].stopped && done[row.slot].tokens.len() < sampling.max_tokens)?;
            if batch.rows.is_empty() {
                return Ok(done);
            }
            self.extend(&mut batch)?;
        }
    }

    /// Runs every prompt once and fans its cache and last logits out to its samples.
    fn prefill(&self, requests: &[Request]) -> Result<Running> {
        let longest = requests.iter().map(|request| request.prompt.len()).max().unwrap_or(0);
        let (prompts, pad) = (requests.len(), |request: &Request| longest - request.prompt.len());
        let mut ids = vec![];
        let mut positions = vec![];
        let mut visible = vec![];
        for request in requests {
            let pad = pad(request);
            ids.extend(std::iter::repeat_n(0, pad).chain(request.prompt.iter().copied()));
            positions.extend((0..longest).map(|at| at.saturating_sub(pad) as u32));
            // Padding sees itself: a row of the softmax with nothing to see would be NaN, and spread.
            visible.extend((0..longest).flat_map(|q| (0..longest).map(move |k| (k <= q && k >= pad) || k == q)));
        }
        let mask = decoder::mask((prompts, longest, longest), visible.into_iter(), &Device::Cpu)?;
        let positions = self.decoder.positions(&positions, (prompts, longest), mask)?;
        let mut cache = KvCache::new(self.policy.config().num_hidden_layers);
        let ids = Tensor::from_vec(ids, (prompts, longest), &Device::Cpu)?;
        let hidden = self.decoder.extend(&ids, &positions, &mut cache)?;
        let last: Vec<Vec<f32>> = self.decoder.logits(&hidden.narrow(1, longest - 1, 1)?.squeeze(1)?)?.to_vec2()?;

        let owners = || requests.iter().enumerate().flat_map(|(p, request)| request.seeds.iter().map(move |&s| (p, s)));
        let row = |(slot, (prompt, seed)): (usize, (usize, u64))| Row {
            slot,
            position: requests[prompt].prompt.len() as u32,
            pad: pad(&requests[prompt]),
            rng: ChaCha8Rng::seed_from_u64(seed),
            newest: 0,
        };
        let rows = owners().enumerate().map(row).collect();
        let logits = owners().map(|(prompt, _)| last[prompt].clone()).collect();
        let cache = cache.select(&indices(owners().map(|(prompt, _)| prompt as u32).collect())?)?;
        Ok(Running { rows, cache, logits, seen: longest })
    }

    /// Feeds each row its newest token.
    fn extend(&self, batch: &mut Running) -> Result<()> {
        let Running { rows, cache, logits, seen } = batch;
        let positions: Vec<u32> = rows.iter().map(|row| row.position).collect();
        let visible = rows.iter().flat_map(|row| (0..=*seen).map(|key| key >= row.pad));
        let mask = decoder::mask((rows.len(), 1, *seen + 1), visible, &Device::Cpu)?;
        let positions = self.decoder.positions(&positions, (rows.len(), 1), mask)?;
        let ids: Vec<u32> = rows.iter().map(|row| row.newest).collect();
        let ids = Tensor::from_vec(ids, (rows.len(), 1), &Device::Cpu)?;
        let hidden = self.decoder.extend(&ids, &positions, cache)?;
        rows.iter_mut().for_each(|row| row.position += 1);
        *logits = self.decoder.logits(&hidden.squeeze(1)?)?.to_vec2()?;
        *seen += 1;
        Ok(())
    }
}

impl Running {
    /// Lets the rows go that are not to be kept, and their part of the cache with them.
    fn keep(&mut self, keep: impl Fn(&Row) -> bool) -> Result<()> {
        let kept: Vec<u32> = (0..self.rows.len()).filter(|&i| keep(&self.rows[i])).map(|i| i as u32).collect();
        if !kept.is_empty() && kept.len() < self.rows.len() {
            self.cache = self.cache.select(&indices(kept)?)?;
        }
        self.rows.retain(keep);
        Ok(())
    }
}

/// Cuts requests into batches of about [`ROWS_AT_ONCE`] samples, the same on every machine.
fn batches(requests: &[Request]) -> Vec<&[Request]> {
    let mut batches = vec![];
    let (mut start, mut rows) = (0, 0);
    for (index, request) in requests.iter().enumerate() {
        rows += request.seeds.len();
        if rows >= ROWS_AT_ONCE || index + 1 == requests.len() {
            batches.push(&requests[start..=index]);
            (start, rows) = (index + 1, 0);
        }
    }
    batches
}

fn indices(rows: Vec<u32>) -> Result<Tensor> {
    let count = rows.len();
    Ok(Tensor::from_vec(rows, count, &Device::Cpu)?)
}

#[cfg(test)]
mod tests;
