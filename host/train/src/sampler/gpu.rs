//! Sampling on a GPU: one thread feeds all slots a token per step, and hears what the device drew.
//!
//! What becomes of a sample depends on its prompt, its seed and its guide up to rounding: matrix products of another number
//! of rows may add up in another order, and a number on the edge then falls on the other side.

use rand::Rng;
use std::sync::mpsc::Sender;

use super::choose::Choice;
use super::lane::{Running, let_go};
use super::{Job, Message, Unit};
use crate::engine::Spec;
use crate::engine::cuda::{Decoder, Draw, Drawn, Fed, Resident};
use crate::error::Result;

/// The slot that prompts are prefilled in; samples have the others.
const PROMPT: usize = 0;

/// Samples that are continued together at most.
const ROWS_AT_ONCE: usize = 256;

/// The device's samples in the making.
pub(super) struct Worker<'j, 'a> {
    job: &'j Job<'a>,
    tell: Sender<Message>,
    decoder: Decoder<'a>,
    /// Rows of a step at most.
    rows: usize,
    running: Vec<Running>,
    free: Vec<usize>,
    /// What is left of a request whose prompt is in [`PROMPT`].
    begun: Option<Unit<'a>>,
}

impl<'j, 'a> Worker<'j, 'a> {
    /// A worker for so many samples of at most so many tokens, prompts included.
    pub(super) fn new(
        job: &'j Job<'a>,
        resident: &'a Resident,
        spec: &Spec,
        (samples, longest): (usize, usize),
        tell: Sender<Message>,
    ) -> Result<Self> {
        let (decoder, size) = resident.decoder(spec, samples.clamp(1, ROWS_AT_ONCE), longest)?;
        let free = (PROMPT + 1..=size.rows).rev().collect();
        Ok(Self { job, tell, decoder, rows: size.rows, running: vec![], free, begun: None })
    }

    /// Samples until the queue is empty.
    pub(super) fn run(mut self) -> Result<()> {
        loop {
            self.fill()?;
            if self.running.is_empty() {
                return Ok(());
            }
            let (rows, last): (Vec<Fed>, Vec<usize>) = self.feed();
            let mut drawn: Vec<Drawn> = vec![];
            // An answer of a tool may be longer than there are rows.
            for rows in rows.chunks(self.rows) {
                drawn.extend(self.decoder.step(rows)?);
            }
            for (running, &last) in self.running.iter_mut().zip(&last) {
                running.take(self.job, Choice::from(&drawn[last]));
            }
            self.report(self.running.len());
            self.let_go();
        }
    }

    /// What every sample has to be fed, and which row is its last.
    fn feed(&mut self) -> (Vec<Fed>, Vec<usize>) {
        let (mut rows, mut last) = (vec![], vec![]);
        for running in &mut self.running {
            let draw = draw(self.job, running);
            let tokens = &running.sampled.tokens;
            let first = tokens.len() - running.fresh;
            let fed = |(at, &token): (usize, &u32)| Fed {
                token,
                slot: running.slot,
                position: running.prompt + first + at,
                draw,
            };
            rows.extend(tokens[first..].iter().enumerate().map(fed));
            last.push(rows.len() - 1);
        }
        (rows, last)
    }

    /// Begins samples as long as there are slots and samples to begin.
    fn fill(&mut self) -> Result<()> {
        while !self.free.is_empty() {
            let unit = match self.begun.take() {
                Some(unit) => unit,
                None => match self.job.take() {
                    Some(unit) => {
                        if self.draws() {
                            self.decoder.prefill(PROMPT, unit.prompt)?;
                        }
                        unit
                    }
                    None => return Ok(()),
                },
            };
            let now = unit.seeds.len().min(self.free.len());
            self.begin(&unit, now)?;
            self.report(now);
            let rest = Unit { first: unit.first + now, seeds: &unit.seeds[now..], ..unit };
            self.begun = (!rest.seeds.is_empty()).then_some(rest);
            self.let_go();
        }
        Ok(())
    }

    /// Whether anything is drawn at all.
    fn draws(&self) -> bool {
        self.job.sampling.max_tokens > 0 && !self.job.is_cancelled()
    }

    /// Begins the first `now` samples of a request with the first token after its prompt.
    fn begin(&mut self, unit: &Unit, now: usize) -> Result<()> {
        let slots = self.free.split_off(self.free.len() - now);
        let numbered = unit.seeds[..now].iter().zip(&slots).enumerate();
        let begin = |(index, (&seed, &slot)): (usize, (&u64, &usize))| {
            let running = Running::new(unit.request, unit.first + index, seed, slot);
            Running { prompt: unit.prompt.len(), ..running }
        };
        let mut begun: Vec<Running> = numbered.map(begin).collect();
        if self.draws() {
            self.decoder.copy(PROMPT, &slots, unit.prompt.len())?;
            let draws: Vec<Draw> = begun.iter_mut().map(|running| draw(self.job, running)).collect();
            for (running, drawn) in begun.iter_mut().zip(&self.decoder.begin(&draws)?) {
                running.take(self.job, drawn.into());
            }
        }
        self.running.extend(begun);
        Ok(())
    }

    fn let_go(&mut self) {
        self.free.extend(let_go(&mut self.running, self.job, &self.tell));
    }

    fn report(&self, tokens: usize) {
        let _ = self.tell.send(Message::Tokens(tokens));
    }
}

/// How the next token of a sample is drawn.
fn draw(job: &Job, running: &mut Running) -> Draw {
    Draw {
        temperature: job.sampling.temperature as f32,
        top_k: u32::try_from(job.sampling.top_k).unwrap_or(0),
        top_p: job.sampling.top_p as f32,
        uniform: running.rng.random(),
    }
}

impl From<&Drawn> for Choice {
    fn from(drawn: &Drawn) -> Self {
        Self { token: drawn.token, log_prob: drawn.log_prob }
    }
}
