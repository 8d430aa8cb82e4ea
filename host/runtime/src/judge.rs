//! How one batch is judged: split among threads, each part in an instance that the plugin's isolation allows.
//!
//! With `sample` a part is one sample in a fresh instance. With `batch` and `worker` a part is up to 32 samples, judged in
//! one call on one sample's budget; when that call fails, for whatever reason, each of its samples is judged alone in a
//! fresh instance, so that a fault is always the fault of one sample and its siblings keep their scores.

use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::OwnedSemaphorePermit;

use crate::generated::exports::rewarden::plugin::reward::{Guest, GuestIndices};
use crate::host_call::DEPTH_MAX;
use crate::instance::{Session, Usage};
use crate::plugin::{Configured, Plugin};
use crate::{Fault, Isolation, Judgement, Receipt, Sample, Score};

/// Samples of one call, under `batch` and `worker`. The same on every machine, so that fuel is too.
const PART: usize = 32;

/// Samples of one batch that may wait for host services at a time.
const WAITING_MAX: usize = 64;

/// The samples of one call and the next part to judge. Workers take them one by one, so that a slow one delays nobody.
struct Batch {
    plugin: Plugin,
    samples: Arc<[Sample]>,
    next: AtomicUsize,
}

/// When nobody awaits the batch any more, its workers find nothing left to do.
struct StopOnDrop(Arc<Batch>);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.next.store(self.0.samples.len(), Ordering::Relaxed);
    }
}

/// One judgement per sample, same order.
pub(crate) async fn judge(plugin: &Plugin, samples: Arc<[Sample]>) -> Vec<Judgement> {
    let linked = &plugin.inner.linked;
    let batch = Arc::new(Batch { plugin: plugin.clone(), samples, next: AtomicUsize::new(0) });
    let _stop = StopOnDrop(batch.clone());
    let parts = batch.samples.len().div_ceil(batch.part());
    let at_once = if linked.waits() { linked.shared.jobs.max(WAITING_MAX) } else { linked.shared.jobs };
    let workers: Vec<_> = (0..at_once.min(parts))
        .map(|_| {
            let batch = batch.clone();
            linked.shared.run(async move { batch.work().await })
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

impl Batch {
    /// Samples of one part.
    fn part(&self) -> usize {
        match self.plugin.inner.linked.isolation {
            Isolation::Sample => 1,
            Isolation::Batch | Isolation::Worker => PART,
        }
    }

    async fn work(&self) -> Vec<(usize, Judgement)> {
        let configured = &self.plugin.inner;
        let mut done = Vec::new();
        // Held from the first part to the last: waiting for it is queueing, and no deadline runs yet.
        let slots = configured.linked.pool.slots(configured.slots_needed()).await;
        while let Some(part) = self.take() {
            let samples = &self.samples[part.clone()];
            let judged = match configured.linked.isolation {
                Isolation::Sample => vec![configured.judge_alone(&samples[0]).await],
                Isolation::Batch => configured.judge_together(samples).await,
                Isolation::Worker => configured.judge_warm(samples).await,
            };
            done.extend(part.zip(judged));
        }
        drop(slots);
        done
    }

    fn take(&self) -> Option<Range<usize>> {
        let start = self.next.fetch_add(self.part(), Ordering::Relaxed);
        (start < self.samples.len()).then(|| start..self.samples.len().min(start + self.part()))
    }
}

impl Configured {
    /// Room for one instance, and for those that it may wait for.
    fn slots_needed(&self) -> u32 {
        1 + if self.linked.services.tools.is_empty() { 0 } else { DEPTH_MAX }
    }

    /// Judges one sample in an instance of its own.
    async fn judge_alone(&self, sample: &Sample) -> Judgement {
        let clock = Clock::start();
        let mut session = Session::open(&self.linked, self.seed);
        let samples = std::slice::from_ref(sample);
        let result = self.in_time(self.ask(&mut session, samples)).await;
        let usage = session.usage();
        drop(session);
        let receipt = receipt(usage, 1, &clock);
        Judgement { result: result.and_then(|mut scores| scores.remove(0)), receipt }
    }

    /// Judges samples in one fresh instance.
    async fn judge_together(&self, samples: &[Sample]) -> Vec<Judgement> {
        let clock = Clock::start();
        let mut session = Session::open(&self.linked, self.seed);
        let judged = self.in_time(self.ask(&mut session, samples)).await;
        let usage = session.usage();
        drop(session);
        match judged {
            Ok(scores) => shared(scores, receipt(usage, samples.len(), &clock)),
            Err(_) => self.judge_each(samples).await,
        }
    }

    /// Judges samples in an instance that earlier ones have used, or in a new one that later ones may use.
    async fn judge_warm(&self, samples: &[Sample]) -> Vec<Judgement> {
        let clock = Clock::start();
        let Some(mut worker) = self.worker().await else { return self.judge_together(samples).await };
        match self.in_time(worker.session.score(&worker.guest, samples)).await {
            Ok(scores) => {
                worker.calls += 1;
                let judgements = shared(scores, receipt(worker.session.usage(), samples.len(), &clock));
                if judgements.iter().all(|judgement| judgement.result.is_ok()) {
                    self.keep(worker);
                }
                judgements
            }
            Err(_) => {
                drop(worker);
                self.judge_each(samples).await
            }
        }
    }

    async fn judge_each(&self, samples: &[Sample]) -> Vec<Judgement> {
        let mut judgements = Vec::with_capacity(samples.len());
        for sample in samples {
            judgements.push(self.judge_alone(sample).await);
        }
        judgements
    }

    async fn ask(&self, session: &mut Session, samples: &[Sample]) -> Result<Vec<Result<Score, Fault>>, Fault> {
        let guest = self.enter(session).await?;
        session.score(&guest, samples).await
    }

    async fn enter(&self, session: &mut Session) -> Result<Guest, Fault> {
        let instance = self.start(session).await?;
        self.indices().load(&mut session.store, &instance).map_err(|error| session.fault(error))
    }

    fn indices(&self) -> &GuestIndices {
        self.code.reward.as_ref().expect("a `Reward` is only made of a plugin that has one")
    }

    /// A guest that sleeps in virtual WASI burns no fuel and meets no epoch: the clock ends it from outside.
    async fn in_time<T>(&self, call: impl Future<Output = Result<T, Fault>>) -> Result<T, Fault> {
        if !self.linked.wasi {
            return call.await;
        }
        let timeout_ms = self.linked.limits.timeout_ms;
        let ended = tokio::time::timeout(Duration::from_millis(timeout_ms), call).await;
        ended.unwrap_or(Err(Fault::Deadline { timeout_ms }))
    }

    /// A warm instance, or a new one to become warm; none when it cannot start, or the pool is too full to keep it.
    async fn worker(&self) -> Option<Worker> {
        if let Some(mut worker) = self.warm.take() {
            worker.session.arm(&self.linked);
            return Some(worker);
        }
        let others = 2 * self.linked.shared.jobs;
        let slots = self.linked.pool.slots_to_keep(self.slots_needed(), others)?;
        let mut session = Session::open(&self.linked, self.seed);
        let guest = self.enter(&mut session).await.ok()?;
        Some(Worker { session, guest, calls: 0, _slots: slots })
    }

    /// Puts a worker back, unless it is time to retire it.
    fn keep(&self, worker: Worker) {
        let retire = self.linked.worker;
        let full = worker.session.memory_bytes() > retire.memory_bytes_max;
        if worker.calls < retire.calls_max && !full {
            self.warm.put(worker, self.linked.shared.jobs);
        }
    }
}

/// An instance between calls.
struct Worker {
    session: Session,
    guest: Guest,
    calls: u32,
    _slots: OwnedSemaphorePermit,
}

/// The idle workers of a plugin.
#[derive(Default)]
pub(crate) struct Warm(Mutex<Vec<Worker>>);

impl Warm {
    fn take(&self) -> Option<Worker> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }

    fn put(&self, worker: Worker, workers_max: usize) {
        let mut idle = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < workers_max {
            idle.push(worker);
        }
    }
}

fn shared(scores: Vec<Result<Score, Fault>>, receipt: Receipt) -> Vec<Judgement> {
    scores.into_iter().map(|result| Judgement { result, receipt }).collect()
}

/// Each sample's part of what the call used. Asked for once the instance is gone, whose end is part of its time.
fn receipt(usage: Usage, samples: usize, clock: &Clock) -> Receipt {
    Receipt {
        fuel: usage.fuel / samples as u64,
        micros: clock.micros() / samples as u64,
        memory_bytes_peak: usage.memory_bytes_peak,
        samples: samples as u32,
        cached: false,
    }
}

/// The receipt's time is for people; no score depends on it.
struct Clock(Instant);

impl Clock {
    #[allow(clippy::disallowed_methods, reason = "see the type")]
    fn start() -> Clock {
        Clock(Instant::now())
    }

    fn micros(&self) -> u64 {
        self.0.elapsed().as_micros() as u64
    }
}
