//! `Reward`: many samples in, one judgement each out, every one from an instance that saw no other sample.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use crate::instance::{Session, Usage};
use crate::plugin::Plugin;
use crate::{Digest, Fault, Sample, Score};

/// A plugin that judges samples one by one.
///
/// A clone is a counter; `Send + Sync`; lives as long as you keep it. Each sample costs a fresh instance (tens of
/// microseconds for a Rust plugin) on one of the runtime's threads, so that no sample can prepare an instance for the
/// next one. Awaiting works on any executor.
#[derive(Clone)]
pub struct Reward {
    pub(crate) plugin: Plugin,
}

/// A score or a fault, and what it took to get there.
///
/// Plain owned data, `Send + Sync`.
#[derive(Debug, Clone, PartialEq)]
pub struct Judgement {
    /// What the plugin thinks, or why there is nothing.
    pub result: Result<Score, Fault>,
    /// What it used.
    pub receipt: Receipt,
}

/// What judging one sample used.
///
/// Plain data, `Copy`. Fuel and memory are the same on every machine; the time is not, and nothing may depend on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Receipt {
    /// Fuel, in wasmtime's units: about one per instruction.
    pub fuel: u64,
    /// Microseconds from making the instance to dropping it.
    pub micros: u64,
    /// The most linear memory it held at a time.
    pub memory_bytes_peak: usize,
}

impl Reward {
    /// The name the plugin was loaded under.
    pub fn name(&self) -> &str {
        self.plugin.name()
    }

    /// The SHA-256 of the plugin's bytes.
    pub fn digest(&self) -> Digest {
        self.plugin.digest()
    }

    /// One score or fault per sample, same length and order; never panics.
    pub async fn score_batch(&self, samples: impl Into<Arc<[Sample]>>) -> Vec<Result<Score, Fault>> {
        self.judge_batch(samples).await.into_iter().map(|judgement| judgement.result).collect()
    }

    /// The same with receipts.
    pub async fn judge_batch(&self, samples: impl Into<Arc<[Sample]>>) -> Vec<Judgement> {
        let samples: Arc<[Sample]> = samples.into();
        let shared = &self.plugin.inner.linked.shared;
        let batch = Arc::new(Batch { reward: self.clone(), samples, next: AtomicUsize::new(0) });
        let _stop = StopOnDrop(batch.clone());
        let workers: Vec<_> = (0..shared.jobs.min(batch.samples.len()))
            .map(|_| {
                let batch = batch.clone();
                shared.run(async move { batch.work().await })
            })
            .collect();
        let mut judgements: Vec<Option<Judgement>> = vec![None; batch.samples.len()];
        let mut stopped = None;
        for worker in workers {
            match worker.await {
                Ok(done) => done.into_iter().for_each(|(index, judgement)| judgements[index] = Some(judgement)),
                Err(reason) => stopped = Some(reason),
            }
        }
        // A worker that panicked is a bug of ours, and takes no more down than the samples it held.
        let lost = || {
            let reason = stopped.clone().unwrap_or_else(|| "the sample was not judged".into());
            Judgement { result: Err(Fault::Internal(format!("host: {reason}"))), receipt: Receipt::default() }
        };
        judgements.into_iter().map(|judgement| judgement.unwrap_or_else(lost)).collect()
    }

    /// Judges one sample in an instance of its own.
    #[allow(clippy::disallowed_methods, reason = "the receipt's time is for people; no score depends on it")]
    async fn judge(&self, sample: &Sample) -> Judgement {
        let linked = &self.plugin.inner.linked;
        // Waiting for a free slot is queueing, and the deadline does not run yet.
        let _slot = linked.shared.slot().await;
        let started = Instant::now();
        let mut session = Session::open(&linked.shared.engine, &linked.name, &linked.limits);
        let result = self.ask(&mut session, sample).await;
        let Usage { fuel, memory_bytes_peak } = session.close();
        let micros = started.elapsed().as_micros() as u64;
        Judgement { result, receipt: Receipt { fuel, micros, memory_bytes_peak } }
    }

    async fn ask(&self, session: &mut Session<'_>, sample: &Sample) -> Result<Score, Fault> {
        let configured = &self.plugin.inner;
        let linked = &configured.linked;
        let instance = session.instantiate(&linked.pre).await?;
        session.configure(&linked.plugin, &instance, &configured.settings, configured.seed).await?;
        session.score(linked.reward(), &instance, sample).await
    }
}

/// The samples of one call and the next one to judge. Workers take them one by one, so that a slow one delays nobody.
struct Batch {
    reward: Reward,
    samples: Arc<[Sample]>,
    next: AtomicUsize,
}

impl Batch {
    async fn work(&self) -> Vec<(usize, Judgement)> {
        let mut done = Vec::new();
        loop {
            let index = self.next.fetch_add(1, Ordering::Relaxed);
            let Some(sample) = self.samples.get(index) else { return done };
            done.push((index, self.reward.judge(sample).await));
        }
    }
}

/// When nobody awaits the batch any more, its workers find nothing left to do.
struct StopOnDrop(Arc<Batch>);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.next.store(self.0.samples.len(), Ordering::Relaxed);
    }
}
