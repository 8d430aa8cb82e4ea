//! How one batch is judged: split among threads, each part in an instance that the plugin's isolation allows. What is
//! judged is a sample or a group, whichever the plugin takes.
//!
//! With `sample` a part is one sample in a fresh instance. With `batch` and `worker` a part is up to 32 samples, judged in
//! one call on one sample's budget; when that call fails, for whatever reason, each of its samples is judged alone in a
//! fresh instance, so that a fault is always the fault of one sample and its siblings keep their scores.

use std::future::Future;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use tokio::sync::OwnedSemaphorePermit;

use crate::guest::Guest;
use crate::host_call::DEPTH_MAX;
use crate::instance::{Session, Usage};
use crate::linked::Configured;
use crate::plugin::Plugin;
use crate::{Fault, Isolation, Judgement, Receipt, Sample, Score};

/// Items of one batch that may wait for host services at a time.
const WAITING_MAX: usize = 64;

/// What a plugin judges in one piece.
pub(crate) trait Item: Send + Sync + Sized + 'static {
    /// What it says about one.
    type Answer: Clone + Send + 'static;

    /// How many one call judges, under `batch` and `worker`. The same on every machine, so that fuel is too.
    const PART: usize;

    /// One answer or fault per item. The outer fault is the call's: then none of them is judged.
    fn ask(
        guest: &Guest,
        session: &mut Session,
        items: &[Self],
    ) -> impl Future<Output = Result<Vec<Result<Self::Answer, Fault>>, Fault>> + Send;
}

impl Item for Sample {
    type Answer = Score;

    const PART: usize = 32;

    async fn ask(guest: &Guest, session: &mut Session, samples: &[Sample]) -> Result<Vec<Result<Score, Fault>>, Fault> {
        guest.score(session, samples).await
    }
}

/// A group.
impl Item for Vec<Sample> {
    type Answer = Vec<Score>;

    const PART: usize = 1;

    async fn ask(
        guest: &Guest,
        session: &mut Session,
        groups: &[Vec<Sample>],
    ) -> Result<Vec<Result<Vec<Score>, Fault>>, Fault> {
        let mut answers = Vec::with_capacity(groups.len());
        for group in groups {
            answers.push(Ok(guest.score_group(session, group).await?));
        }
        Ok(answers)
    }
}

/// The items of one call and the next part to judge. Workers take them one by one, so that a slow one delays nobody.
struct Batch<T> {
    plugin: Plugin,
    items: Arc<[T]>,
    next: AtomicUsize,
}

/// When nobody awaits the batch any more, its workers find nothing left to do.
struct StopOnDrop<T>(Arc<Batch<T>>);

impl<T> Drop for StopOnDrop<T> {
    fn drop(&mut self) {
        self.0.next.store(self.0.items.len(), Ordering::Relaxed);
    }
}

/// One judgement per item, same order.
pub(crate) async fn judge<T: Item>(plugin: &Plugin, items: Arc<[T]>) -> Vec<Judgement<T::Answer>> {
    let linked = &plugin.inner.linked;
    let batch = Arc::new(Batch { plugin: plugin.clone(), items, next: AtomicUsize::new(0) });
    let _stop = StopOnDrop(batch.clone());
    let parts = batch.items.len().div_ceil(batch.part());
    let at_once = if linked.waits() { linked.shared.jobs.max(WAITING_MAX) } else { linked.shared.jobs };
    let workers: Vec<_> = (0..at_once.min(parts))
        .map(|_| {
            let batch = batch.clone();
            linked.shared.run(async move { batch.work().await })
        })
        .collect();
    let mut judgements: Vec<Option<Judgement<T::Answer>>> = vec![None; batch.items.len()];
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

impl<T: Item> Batch<T> {
    /// Items of one part.
    fn part(&self) -> usize {
        match self.plugin.inner.linked.isolation {
            Isolation::Sample => 1,
            Isolation::Batch | Isolation::Worker => T::PART,
        }
    }

    async fn work(&self) -> Vec<(usize, Judgement<T::Answer>)> {
        let configured = &self.plugin.inner;
        let mut done = Vec::new();
        // Held from the first part to the last: waiting for it is queueing, and no deadline runs yet.
        let slots = configured.linked.pool.slots(configured.slots_needed()).await;
        while let Some(part) = self.take() {
            let items = &self.items[part.clone()];
            let judged = match configured.linked.isolation {
                Isolation::Sample => configured.judge_each(items).await,
                // There is nobody to share an instance with.
                Isolation::Batch if T::PART == 1 => configured.judge_each(items).await,
                Isolation::Batch => configured.judge_together(items).await,
                Isolation::Worker => configured.judge_warm(items).await,
            };
            done.extend(part.zip(judged));
        }
        drop(slots);
        done
    }

    fn take(&self) -> Option<Range<usize>> {
        let start = self.next.fetch_add(self.part(), Ordering::Relaxed);
        (start < self.items.len()).then(|| start..self.items.len().min(start + self.part()))
    }
}

impl Configured {
    /// Room for one instance, and for those that it may wait for.
    fn slots_needed(&self) -> u32 {
        1 + if self.linked.services.tools.is_empty() { 0 } else { DEPTH_MAX }
    }

    /// Judges one item in an instance of its own.
    async fn judge_alone<T: Item>(&self, item: &T) -> Judgement<T::Answer> {
        let clock = Clock::start();
        let mut session = Session::open(&self.linked, self.seed);
        let result = self.in_time(self.ask(&mut session, std::slice::from_ref(item))).await;
        let usage = session.usage();
        drop(session);
        let receipt = receipt(usage, 1, &clock);
        Judgement { result: result.and_then(|mut answers| answers.remove(0)), receipt }
    }

    /// Judges items in one fresh instance.
    async fn judge_together<T: Item>(&self, items: &[T]) -> Vec<Judgement<T::Answer>> {
        let clock = Clock::start();
        let mut session = Session::open(&self.linked, self.seed);
        let judged = self.in_time(self.ask(&mut session, items)).await;
        let usage = session.usage();
        drop(session);
        match judged {
            Ok(answers) => shared(answers, receipt(usage, items.len(), &clock)),
            Err(_) => self.judge_each(items).await,
        }
    }

    /// Judges items in an instance that earlier ones have used, or in a new one that later ones may use.
    async fn judge_warm<T: Item>(&self, items: &[T]) -> Vec<Judgement<T::Answer>> {
        let clock = Clock::start();
        let Some(mut worker) = self.worker().await else { return self.judge_together(items).await };
        match self.in_time(T::ask(&worker.guest, &mut worker.session, items)).await {
            Ok(answers) => {
                worker.calls += 1;
                let judgements = shared(answers, receipt(worker.session.usage(), items.len(), &clock));
                if judgements.iter().all(|judgement| judgement.result.is_ok()) {
                    self.keep(worker);
                }
                judgements
            }
            Err(_) => {
                drop(worker);
                self.judge_each(items).await
            }
        }
    }

    async fn judge_each<T: Item>(&self, items: &[T]) -> Vec<Judgement<T::Answer>> {
        let mut judgements = Vec::with_capacity(items.len());
        for item in items {
            judgements.push(self.judge_alone(item).await);
        }
        judgements
    }

    async fn ask<T: Item>(&self, session: &mut Session, items: &[T]) -> Result<Vec<Result<T::Answer, Fault>>, Fault> {
        let guest = self.enter(session).await?;
        T::ask(&guest, session, items).await
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

fn shared<T>(answers: Vec<Result<T, Fault>>, receipt: Receipt) -> Vec<Judgement<T>> {
    answers.into_iter().map(|result| Judgement { result, receipt }).collect()
}

/// Each item's part of what the call used. Asked for once the instance is gone, whose end is part of its time.
pub(crate) fn receipt(usage: Usage, samples: usize, clock: &Clock) -> Receipt {
    Receipt {
        fuel: usage.fuel / samples as u64,
        micros: clock.micros() / samples as u64,
        memory_bytes_peak: usage.memory_bytes_peak,
        samples: samples as u32,
        cached: false,
    }
}

/// The receipt's time is for people; no score depends on it.
pub(crate) struct Clock(Instant);

impl Clock {
    #[allow(clippy::disallowed_methods, reason = "see the type")]
    pub(crate) fn start() -> Clock {
        Clock(Instant::now())
    }

    fn micros(&self) -> u64 {
        self.0.elapsed().as_micros() as u64
    }
}
