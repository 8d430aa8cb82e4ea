//! Continues many prompts at once. Each prompt is prefilled once and its keys and values copied to its samples; rows
//! that have stopped leave the batch; the log-probability of every sampled token is kept.
//!
//! Shapes: P prompts, B rows (samples still running), T tokens in the cache. Prompts are padded on the left, so that
//! the newest token of every row has the same place in the cache.

mod choose;

use candle_core::{Device, Tensor};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use crate::error::Result;
use crate::model::Policy;
use crate::model::decoder::{self, Decoder, KvCache};

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

/// Draws tokens from a policy. It borrows the policy, so no sampler outlives an update:
///
/// ```compile_fail
/// # fn example(policy: &mut rewarden_train::Policy, optimizer: &mut rewarden_train::Optimizer,
/// #     gradients: &rewarden_train::Gradients) -> rewarden_train::Result<()> {
/// let sampler = rewarden_train::Sampler::new(policy);
/// optimizer.step(policy, gradients, 1e-3)?; // error[E0502]: `*policy` is also borrowed as immutable
/// drop(sampler);
/// # Ok(()) }
/// ```
pub struct Sampler<'a> {
    policy: &'a Policy,
    decoder: Decoder,
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
    /// tokens end a sample; `progress` hears the number of tokens after every step.
    pub fn sample(
        &self,
        requests: &[Request],
        sampling: &Sampling,
        stops: impl Fn(u32) -> bool,
        mut progress: impl FnMut(usize),
    ) -> Result<Vec<Sampled>> {
        let count = requests.iter().map(|request| request.seeds.len()).sum();
        let mut done = vec![Sampled { tokens: vec![], log_probs: vec![], stopped: false }; count];
        if count == 0 || sampling.max_tokens == 0 {
            return Ok(done);
        }
        let (mut rows, mut cache, mut logits, mut seen) = self.prefill(requests)?;
        let mut sampled = 0;
        loop {
            for (row, logits) in rows.iter_mut().zip(&logits) {
                let choice = choose::choose(logits, sampling, &mut row.rng);
                let sample = &mut done[row.slot];
                sample.tokens.push(choice.token);
                sample.log_probs.push(choice.log_prob);
                sample.stopped = stops(choice.token);
                row.newest = choice.token;
            }
            sampled += rows.len();
            progress(sampled);
            let running = |row: &Row| !done[row.slot].stopped && done[row.slot].tokens.len() < sampling.max_tokens;
            let kept: Vec<u32> = (0..rows.len()).filter(|&i| running(&rows[i])).map(|i| i as u32).collect();
            if kept.is_empty() {
                return Ok(done);
            }
            if kept.len() < rows.len() {
                rows.retain(running);
                cache = cache.select(&indices(kept)?)?;
            }
            logits = self.extend(&mut rows, &mut cache, seen)?;
            seen += 1;
        }
    }

    /// Runs every prompt once and fans its cache and last logits out to its samples.
    fn prefill(&self, requests: &[Request]) -> Result<(Vec<Row>, KvCache, Vec<Vec<f32>>, usize)> {
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
        Ok((rows, cache, logits, longest))
    }

    /// Feeds each row its newest token; `seen` tokens are in the cache already.
    fn extend(&self, rows: &mut [Row], cache: &mut KvCache, seen: usize) -> Result<Vec<Vec<f32>>> {
        let positions: Vec<u32> = rows.iter().map(|row| row.position).collect();
        let visible = rows.iter().flat_map(|row| (0..=seen).map(|key| key >= row.pad));
        let mask = decoder::mask((rows.len(), 1, seen + 1), visible, &Device::Cpu)?;
        let positions = self.decoder.positions(&positions, (rows.len(), 1), mask)?;
        let ids: Vec<u32> = rows.iter().map(|row| row.newest).collect();
        let ids = Tensor::from_vec(ids, (rows.len(), 1), &Device::Cpu)?;
        let hidden = self.decoder.extend(&ids, &positions, cache)?;
        rows.iter_mut().for_each(|row| row.position += 1);
        Ok(self.decoder.logits(&hidden.squeeze(1)?)?.to_vec2()?)
    }
}

fn indices(rows: Vec<u32>) -> Result<Tensor> {
    let count = rows.len();
    Ok(Tensor::from_vec(rows, count, &Device::Cpu)?)
}

#[cfg(test)]
mod tests;
