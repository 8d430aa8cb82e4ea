//! `Scorer`: whatever judges samples in a rubric. Three kinds, one call.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::thread;
use std::time::Instant;

use tokio::sync::oneshot;

use crate::{Digest, Fault, GroupReward, Judgement, Receipt, Reward, Sample, Score, output};

/// What judges samples: a plugin, sample by sample or group by group, or code of the program around the runtime.
///
/// A clone is a counter; `Send + Sync`; lives as long as you keep it.
#[derive(Clone)]
pub enum Scorer {
    /// A plugin that judges each sample by itself.
    Reward(Reward),
    /// A plugin that judges the answers to one task together; neighbours with equal `group` and `step` are one. A fault of a group
    /// is the fault of each of its samples.
    Group(GroupReward),
    /// The host's own code: a trained reward model, a judge behind a network, plain Rust.
    Host(HostScorer),
}

/// Code of the program around the runtime that judges samples, trusted and not sandboxed.
///
/// A clone is a counter; `Send + Sync`. Its scores are checked like a plugin's: what is not finite, too long or of another
/// number than the samples is a [`Fault::InvalidOutput`]. How long it takes is its own business.
///
/// ```
/// use rewarden_runtime::{Digest, HostScorer, Sample, Score};
///
/// fn brevity(sample: &Sample) -> Score {
///     let words: usize = sample.completion.iter().map(|said| said.content.split_whitespace().count()).sum();
///     let value = Some(1.0 / (1 + words) as f64);
///     Score { value, steps: vec![], components: vec![], metrics: vec![], note: format!("{words} words") }
/// }
///
/// let brevity = HostScorer::new(Digest::of(b"brevity 1"), |samples| async move {
///     samples.iter().map(|sample| Ok(brevity(sample))).collect()
/// });
/// assert_eq!(brevity.digest(), Digest::of(b"brevity 1"));
/// ```
#[derive(Clone)]
pub struct HostScorer {
    digest: Digest,
    judge: Arc<JudgeFn>,
}

type Answers = Vec<Result<Score, Fault>>;
type JudgeFn = dyn Fn(Arc<[Sample]>) -> Pin<Box<dyn Future<Output = Answers> + Send>> + Send + Sync;

impl HostScorer {
    /// A function from samples to one score or fault each, same length and order. `digest` says what it is: equal digests
    /// promise equal scores, and are what logs and checkpoints remember it by. The future must not block the thread that
    /// awaits it: other graders' answers arrive there meanwhile. A [`Panel`](crate::Panel) that is asked about several parts
    /// of a batch at once calls it for each.
    pub fn new<F>(digest: Digest, judge: impl Fn(Arc<[Sample]>) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Vec<Result<Score, Fault>>> + Send + 'static,
    {
        Self { digest, judge: Arc::new(move |samples| Box::pin(judge(samples))) }
    }

    /// The same for a function that computes or blocks: each call gets a thread of its own.
    pub fn blocking(
        digest: Digest,
        judge: impl Fn(&[Sample]) -> Vec<Result<Score, Fault>> + Send + Sync + 'static,
    ) -> Self {
        let judge = Arc::new(judge);
        Self::new(digest, move |samples| {
            let (judge, count) = (Arc::clone(&judge), samples.len());
            let (answer, answered) = oneshot::channel();
            // Nobody may be waiting any more.
            thread::spawn(move || drop(answer.send(judge(&samples))));
            let panicked = move || vec![Err(Fault::Internal("host: the scorer panicked".into())); count];
            async move { answered.await.unwrap_or_else(|_| panicked()) }
        })
    }

    /// What it is.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    #[allow(clippy::disallowed_methods, reason = "says what it took; no score depends on it")]
    async fn judge(&self, samples: Arc<[Sample]>) -> Vec<Judgement> {
        let (asked, begun) = (samples.len(), Instant::now());
        let answers = (self.judge)(samples).await;
        let micros = u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX) / asked.max(1) as u64;
        let receipt = Receipt { micros, samples: asked as u32, ..Receipt::default() };
        let answers = match answers.len() == asked {
            true => answers,
            false => vec![Err(Fault::InvalidOutput(format!("{} scores for {asked} samples", answers.len()))); asked],
        };
        let checked = |result: Result<Score, Fault>| result.and_then(output::score);
        answers.into_iter().map(|result| Judgement { result: checked(result), receipt }).collect()
    }
}

impl fmt::Debug for HostScorer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("HostScorer").field(&self.digest).finish()
    }
}

impl Scorer {
    /// What it is: of a plugin, the SHA-256 of its bytes.
    pub fn digest(&self) -> Digest {
        match self {
            Self::Reward(reward) => reward.digest(),
            Self::Group(reward) => reward.digest(),
            Self::Host(host) => host.digest(),
        }
    }

    /// One judgement per sample, same length and order; never panics.
    pub async fn judge_batch(&self, samples: impl Into<Arc<[Sample]>>) -> Vec<Judgement> {
        let samples = samples.into();
        match self {
            Self::Reward(reward) => reward.judge_batch(samples).await,
            Self::Group(reward) => by_member(reward, &samples).await,
            Self::Host(host) => host.judge(samples).await,
        }
    }

    /// The plugin that judges sample by sample, if it is one.
    pub fn reward(&self) -> Option<&Reward> {
        match self {
            Self::Reward(reward) => Some(reward),
            Self::Group(_) | Self::Host(_) => None,
        }
    }
}

/// Each sample's own part of what is said of its group; what it took is shared evenly.
async fn by_member(reward: &GroupReward, samples: &[Sample]) -> Vec<Judgement> {
    let is_same = |one: &Sample, next: &Sample| (&one.group, one.step) == (&next.group, next.step);
    let groups: Vec<Vec<Sample>> = samples.chunk_by(is_same).map(<[_]>::to_vec).collect();
    let sizes: Vec<usize> = groups.iter().map(Vec::len).collect();
    let judged = reward.judge_groups(groups).await;
    let members = |(judgement, size): (Judgement<Vec<Score>>, usize)| -> Vec<Judgement> {
        let Receipt { fuel, micros, .. } = judgement.receipt;
        let share = size as u64;
        let receipt = Receipt { fuel: fuel / share, micros: micros / share, samples: size as u32, ..judgement.receipt };
        let results: Vec<Result<Score, Fault>> = match judgement.result {
            Ok(scores) => scores.into_iter().map(Ok).collect(),
            Err(fault) => vec![Err(fault); size],
        };
        results.into_iter().map(|result| Judgement { result, receipt }).collect()
    };
    judged.into_iter().zip(sizes).flat_map(members).collect()
}

impl From<Reward> for Scorer {
    fn from(reward: Reward) -> Self {
        Self::Reward(reward)
    }
}

impl From<GroupReward> for Scorer {
    fn from(reward: GroupReward) -> Self {
        Self::Group(reward)
    }
}

impl From<HostScorer> for Scorer {
    fn from(host: HostScorer) -> Self {
        Self::Host(host)
    }
}
