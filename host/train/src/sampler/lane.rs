//! One core's part of sampling: it fills its slots from the queue, draws a token for each, lets those go that are done,
//! and fills up again (continuous batching).

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use std::sync::mpsc::Sender;

use super::choose::{Choice, choose};
use super::{End, Job, Message, Next, Sampled, Unit};
use crate::engine::cpu::decode::{Decoder, Lane, Row};

/// The slot that prompts are prefilled in; samples have the others.
const PROMPT: usize = 0;

/// A core's samples in the making.
pub(super) struct Worker<'j, 'a> {
    job: &'j Job<'a>,
    decoder: &'j Decoder<'a>,
    tell: Sender<Message>,
    lane: Lane,
    running: Vec<Running>,
    free: Vec<usize>,
    /// What is left of a request whose prompt is in [`PROMPT`], with the logits after it.
    begun: Option<(Unit<'a>, Vec<f32>)>,
    weights: Vec<f32>,
}

/// A sample in the making.
pub(super) struct Running {
    pub(super) request: usize,
    pub(super) sample: usize,
    pub(super) slot: usize,
    /// Tokens of its prompt, where whoever feeds it has to know.
    pub(super) prompt: usize,
    pub(super) rng: ChaCha8Rng,
    pub(super) sampled: Sampled,
    /// Tokens of it that the model has not been fed yet.
    pub(super) fresh: usize,
}

impl<'j, 'a> Worker<'j, 'a> {
    /// A worker with room for `rows` samples: no more than its share, or whoever is first takes work from the others.
    pub(super) fn new(job: &'j Job<'a>, decoder: &'j Decoder<'a>, tell: Sender<Message>, rows: usize) -> Self {
        let free = (PROMPT + 1..=PROMPT + rows).rev().collect();
        Self { job, decoder, tell, lane: Lane::default(), running: vec![], free, begun: None, weights: vec![] }
    }

    /// Samples until the queue is empty.
    pub(super) fn run(mut self) {
        loop {
            self.fill();
            if self.running.is_empty() {
                return;
            }
            let rows: Vec<Row> = self.running.iter().map(Running::row).collect();
            let logits: Vec<&mut [f32]> = self.decoder.step(&mut self.lane, &rows).collect();
            for (running, logits) in self.running.iter_mut().zip(logits) {
                running.draw(self.job, logits, &mut self.weights);
            }
            self.report(self.running.len());
            self.let_go();
        }
    }

    /// Begins samples as long as there are slots and samples to begin.
    fn fill(&mut self) {
        while !self.free.is_empty() {
            let Some((unit, logits)) = self.begun.take().or_else(|| self.prefill()) else { return };
            let now = unit.seeds.len().min(self.free.len());
            for (index, &seed) in unit.seeds[..now].iter().enumerate() {
                self.begin(&unit, unit.first + index, seed, &logits);
            }
            self.report(now);
            let rest = Unit { first: unit.first + now, seeds: &unit.seeds[now..], ..unit };
            self.begun = (!rest.seeds.is_empty()).then_some((rest, logits));
            self.let_go();
        }
    }

    /// Takes a request and runs its prompt through the model.
    fn prefill(&mut self) -> Option<(Unit<'a>, Vec<f32>)> {
        let unit = self.job.take()?;
        if self.job.sampling.max_tokens == 0 || self.job.is_cancelled() {
            return Some((unit, vec![])); // nothing is drawn
        }
        self.lane.reset(self.decoder, PROMPT, unit.prompt.len());
        let rows = [Row { slot: PROMPT, tokens: unit.prompt }];
        let logits = self.decoder.step(&mut self.lane, &rows).next().map(|logits| logits.to_vec());
        Some((unit, logits.unwrap_or_default()))
    }

    /// Begins a sample with the first token after its prompt.
    fn begin(&mut self, unit: &Unit, sample: usize, seed: u64, logits: &[f32]) {
        let Some(slot) = self.free.pop() else { return };
        let mut running = Running::new(unit.request, sample, seed, slot);
        if !logits.is_empty() && !self.job.is_cancelled() {
            self.lane.reset(self.decoder, slot, unit.prompt.len() + self.job.sampling.max_tokens);
            self.lane.copy(self.decoder, PROMPT, slot);
            running.draw(self.job, logits, &mut self.weights);
        }
        self.running.push(running);
    }

    /// Hands over what is done.
    fn let_go(&mut self) {
        self.free.extend(let_go(&mut self.running, self.job, &self.tell));
    }

    fn report(&self, tokens: usize) {
        let _ = self.tell.send(Message::Tokens(tokens));
    }
}

/// Hands over what is done, or cancelled; gives the slots that are free then.
pub(super) fn let_go(running: &mut Vec<Running>, job: &Job, tell: &Sender<Message>) -> Vec<usize> {
    let (cancelled, mut free, mut at) = (job.is_cancelled(), vec![], 0);
    while at < running.len() {
        let one = &mut running[at];
        // Without a token it was never begun; only who has heard of the cancellation leaves samples like that.
        let is_done = one.fresh == 0 && (!one.sampled.tokens.is_empty() || job.sampling.max_tokens == 0);
        if !is_done && !cancelled {
            at += 1;
            continue;
        }
        if !is_done {
            one.sampled.end = End::Cancelled;
        }
        let Running { request, sample, slot, sampled, .. } = running.swap_remove(at);
        free.push(slot);
        // Nobody listening is no reason to stop.
        let _ = tell.send(Message::Done { request, sample, sampled });
    }
    free
}

impl Running {
    /// A sample that has no token yet.
    pub(super) fn new(request: usize, sample: usize, seed: u64, slot: usize) -> Self {
        let sampled = Sampled { tokens: vec![], log_probs: vec![], mask: vec![], end: End::MaxTokens };
        Self { request, sample, slot, prompt: 0, rng: ChaCha8Rng::seed_from_u64(seed), sampled, fresh: 0 }
    }

    /// What the model has to be fed.
    fn row(&self) -> Row<'_> {
        let tokens = &self.sampled.tokens;
        Row { slot: self.slot, tokens: &tokens[tokens.len() - self.fresh..] }
    }

    /// Draws a token, and asks the guide how to go on.
    fn draw(&mut self, job: &Job, logits: &[f32], weights: &mut Vec<f32>) {
        let choice = choose(logits, job.sampling, &mut self.rng, weights);
        self.take(job, choice);
    }

    /// Takes a token that was drawn, and asks the guide how to go on. A sample without fresh tokens is done.
    pub(super) fn take(&mut self, job: &Job, choice: Choice) {
        self.push(choice.token, choice.log_prob, true);
        self.fresh = 1;
        match (job.guide)(&self.sampled.tokens) {
            Next::Draw => {}
            Next::Stop => {
                self.sampled.end = End::Stopped;
                self.fresh = 0;
                return;
            }
            Next::Force(tokens) => {
                let room = job.sampling.max_tokens - self.sampled.tokens.len();
                for token in tokens.into_iter().take(room) {
                    self.push(token, 0.0, false);
                    self.fresh += 1;
                }
            }
            Next::Cancel => job.cancelled.store(true, std::sync::atomic::Ordering::Relaxed),
        }
        if self.sampled.tokens.len() >= job.sampling.max_tokens {
            self.fresh = 0;
        }
    }

    fn push(&mut self, token: u32, log_prob: f32, said: bool) {
        self.sampled.tokens.push(token);
        self.sampled.log_probs.push(log_prob);
        self.sampled.mask.push(said);
    }
}
