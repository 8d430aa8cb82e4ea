//! Continues many prompts at once. Each prompt is prefilled once and its keys and values copied to its samples; a sample
//! that has stopped makes room for the next at once; the log-probability of every sampled token is kept.
//!
//! Every core works on samples of its own and takes more from one queue. What becomes of a sample depends on its prompt,
//! its seed and what its guide says, to the last bit: not on its neighbours, nor on the number of cores.

mod choose;
mod gpu;
mod lane;

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError, mpsc};

use crate::engine::cpu::decode::Decoder;
use crate::error::Result;
use crate::model::Policy;
use lane::Worker;

/// Samples that one core continues together at most.
const ROWS_AT_ONCE: usize = 64;

/// How tokens are drawn.
#[derive(Clone, Debug, PartialEq)]
pub struct Sampling {
    /// Tokens of one sample at most, those it was made to say included.
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
    /// Token ids; at least one.
    pub prompt: Vec<u32>,
    /// A sample's randomness depends on its own seed only.
    pub seeds: Vec<u64>,
}

/// One continuation.
#[derive(Clone, Debug, PartialEq)]
pub struct Sampled {
    /// Its tokens; the stop token, if one was reached, is the last.
    pub tokens: Vec<u32>,
    /// The model's log-probability of each; 0 of one it was made to say.
    pub log_probs: Vec<f32>,
    /// Whether the model said it, and not the guide ([`Next::Force`]): what an update may learn from.
    pub mask: Vec<bool>,
    /// Why it ended.
    pub end: End,
}

impl Sampled {
    /// Of one value per token those of tokens that the model said.
    pub(crate) fn drawn<T: Copy>(&self, values: &[T]) -> Vec<T> {
        values.iter().zip(&self.mask).filter(|(_, drawn)| **drawn).map(|(value, _)| *value).collect()
    }
}

/// Why a sample ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Its guide said so: a stop token or string.
    Stopped,
    /// It reached `max_tokens`.
    MaxTokens,
    /// A guide cancelled all that were not done.
    Cancelled,
}

/// What a guide says after a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// Draw the next.
    Draw,
    /// That was the last.
    Stop,
    /// Go on behind these, as if they had been drawn: the answer of a tool. They are not trained on ([`Sampled::mask`]).
    Force(Vec<u32>),
    /// End every sample that is not done.
    Cancel,
}

/// Decides after each drawn token how a sample goes on, from its tokens so far. It is asked from many threads, and must
/// answer the same for the same tokens.
pub type Guide<'a> = dyn Fn(&[u32]) -> Next + Sync + 'a;

/// What happens while samples are drawn.
#[derive(Debug)]
pub enum Progress<'a> {
    /// So many tokens were drawn so far.
    Tokens(usize),
    /// All samples of a request are done, in the order of its seeds.
    Done {
        /// Number of the request.
        request: usize,
        /// Its samples.
        samples: &'a [Sampled],
    },
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
    /// How many share the work where no GPU does it; the samples do not depend on it.
    cores: usize,
}

/// Some samples of one request.
struct Unit<'a> {
    request: usize,
    prompt: &'a [u32],
    /// Number of the first within the request.
    first: usize,
    seeds: &'a [u64],
}

/// What workers tell.
enum Message {
    Tokens(usize),
    Done { request: usize, sample: usize, sampled: Sampled },
}

/// What workers share.
struct Job<'a> {
    sampling: &'a Sampling,
    guide: &'a Guide<'a>,
    queue: Mutex<VecDeque<Unit<'a>>>,
    cancelled: AtomicBool,
}

impl<'a> Job<'a> {
    fn take(&self) -> Option<Unit<'a>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
    }

    fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Relaxed)
    }
}

impl<'a> Sampler<'a> {
    /// A sampler over the policy's weights as they are now.
    pub fn new(policy: &'a Policy) -> Self {
        Self { policy, cores: std::thread::available_parallelism().map_or(1, usize::from) }
    }

    /// Samples every request; the answers of one request are neighbours, in the order of its seeds. `guide` decides after
    /// each token how a sample goes on; `watch` hears what happens, on the thread that called.
    pub fn sample(
        &self,
        requests: &[Request],
        sampling: &Sampling,
        guide: &Guide,
        watch: impl FnMut(Progress),
    ) -> Result<Vec<Sampled>> {
        let longest = requests.iter().map(|request| request.prompt.len()).max().unwrap_or(0) + sampling.max_tokens;
        let cores = match self.policy.resident() {
            Some(_) => 1, // one thread drives the GPU
            None => self.cores,
        };
        let samples: usize = requests.iter().map(|request| request.seeds.len()).sum();
        let share = samples.div_ceil(cores).max(1);
        let queue = Mutex::new(units(requests, share));
        let job = Job { sampling, guide, queue, cancelled: AtomicBool::new(false) };
        let (send, messages) = mpsc::channel();
        let Some(resident) = self.policy.resident() else {
            let decoder = Decoder::new(self.policy.spec(), self.policy.numbers(), longest);
            let workers = (0..cores).map(|_| {
                let (job, decoder, send) = (&job, &decoder, send.clone());
                move || {
                    Worker::new(job, decoder, send, share.min(ROWS_AT_ONCE)).run();
                    Ok(())
                }
            });
            let workers: Vec<_> = workers.collect();
            drop(send);
            return together(workers, || gather(requests, messages, watch));
        };
        let worker = || gpu::Worker::new(&job, resident, self.policy.spec(), (samples, longest), send)?.run();
        together(vec![worker], || gather(requests, messages, watch))
    }
}

/// Runs workers, each on a thread of its own, while `gather` hears them.
fn together(
    workers: Vec<impl FnOnce() -> Result<()> + Send>,
    gather: impl FnOnce() -> Vec<Vec<Sampled>>,
) -> Result<Vec<Sampled>> {
    std::thread::scope(|scope| {
        let workers: Vec<_> = workers.into_iter().map(|worker| scope.spawn(worker)).collect();
        let drawn = gather();
        for worker in workers {
            worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        }
        Ok(drawn.into_iter().flatten().collect())
    })
}

/// The requests in their order, those with more samples than a core's share in parts.
fn units(requests: &[Request], share: usize) -> VecDeque<Unit<'_>> {
    let mut units = VecDeque::new();
    for (number, request) in requests.iter().enumerate() {
        assert!(!request.prompt.is_empty(), "a prompt has at least one token");
        for (part, seeds) in request.seeds.chunks(share).enumerate() {
            units.push_back(Unit { request: number, prompt: &request.prompt, first: part * share, seeds });
        }
    }
    units
}

/// Puts together what workers tell, and passes it on.
fn gather(
    requests: &[Request],
    messages: mpsc::Receiver<Message>,
    mut watch: impl FnMut(Progress),
) -> Vec<Vec<Sampled>> {
    let mut waiting: Vec<Vec<Option<Sampled>>> =
        requests.iter().map(|request| vec![None; request.seeds.len()]).collect();
    let mut done: Vec<Vec<Sampled>> = vec![vec![]; requests.len()];
    let mut tokens = 0;
    for message in messages {
        match message {
            Message::Tokens(count) => {
                tokens += count;
                watch(Progress::Tokens(tokens));
            }
            Message::Done { request, sample, sampled } => {
                waiting[request][sample] = Some(sampled);
                if waiting[request].iter().all(Option::is_some) {
                    done[request] = waiting[request].drain(..).flatten().collect();
                    watch(Progress::Done { request, samples: &done[request] });
                }
            }
        }
    }
    done
}

#[cfg(test)]
mod tests;
