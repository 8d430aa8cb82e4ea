//! `Reward`: many samples in, one judgement each out.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::plugin::Plugin;
use crate::score_cache::{Kept, ScoreCache};
use crate::{Digest, Fault, Sample, Score, judge};

/// A plugin that judges samples one by one.
///
/// A clone is a counter; `Send + Sync`; lives as long as you keep it. By default each sample costs a fresh instance (ten
/// microseconds for a Rust plugin) on one of the runtime's threads, so that no sample can prepare an instance for the
/// next one; [`Isolation`](crate::Isolation) says what else there is. Awaiting works on any executor.
#[derive(Clone)]
pub struct Reward {
    pub(crate) plugin: Plugin,
}

/// A score or a fault, and what it took to get there; of a group, `Judgement<Vec<Score>>`.
///
/// Plain owned data, `Send + Sync`.
#[derive(Debug, Clone, PartialEq)]
pub struct Judgement<T = Score> {
    /// What the plugin thinks, or why there is nothing.
    pub result: Result<T, Fault>,
    /// What it used.
    pub receipt: Receipt,
}

/// What judging one sample or one group used, or one call of an episode.
///
/// Plain data, `Copy`. Fuel and memory are the same on every machine; the time is not, and nothing may depend on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Receipt {
    /// Fuel, in wasmtime's units: about one per instruction. 0 where fuel is not counted.
    pub fuel: u64,
    /// Microseconds from making the instance to dropping it; of an episode's call, those of the call.
    pub micros: u64,
    /// The most linear memory its instance held at a time.
    pub memory_bytes_peak: usize,
    /// How many samples shared the call; fuel and time are even parts of it. 1 in an instance of its own, and for groups
    /// and episodes.
    pub samples: u32,
    /// The score was remembered: fuel and memory are those of when it was judged.
    pub cached: bool,
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
        match &self.plugin.inner.scores {
            None => judge::judge(&self.plugin, samples).await,
            Some(cache) => self.judge_remembering(cache, &samples).await,
        }
    }

    /// Whether its scores can be reproduced, see [`Plugin::reproducible`].
    pub fn reproducible(&self) -> bool {
        self.plugin.reproducible()
    }

    /// The plugin this is.
    pub fn plugin(&self) -> &Plugin {
        &self.plugin
    }

    /// Judges what was not judged before. Samples that look alike to the plugin are judged once.
    async fn judge_remembering(&self, cache: &ScoreCache, samples: &[Sample]) -> Vec<Judgement> {
        let keys: Vec<Digest> = samples.iter().map(|sample| cache.key(sample)).collect();
        let known = cache.find(&keys);
        let mut places: BTreeMap<Digest, usize> = BTreeMap::new();
        let mut asked = Vec::new();
        for ((sample, key), known) in samples.iter().zip(&keys).zip(&known) {
            if known.is_none() && !places.contains_key(key) {
                places.insert(*key, asked.len());
                asked.push(ScoreCache::seen(sample));
            }
        }
        let judged = judge::judge(&self.plugin, asked.into()).await;
        let kept = |judgement: &Judgement| {
            let Receipt { fuel, memory_bytes_peak, .. } = judgement.receipt;
            Some(Kept { score: judgement.result.clone().ok()?, fuel, memory_bytes_peak })
        };
        let new = |(key, place): (&Digest, &usize)| Some((*key, kept(&judged[*place])?));
        cache.keep(&places.iter().filter_map(new).collect::<Vec<_>>());
        let mut judged_already = BTreeSet::new();
        let judgement = |(key, known): (Digest, Option<Kept>)| match known {
            Some(kept) => kept.into(),
            None => {
                let mut judgement = judged[places[&key]].clone();
                if !judged_already.insert(key) {
                    judgement.receipt = Receipt { micros: 0, cached: true, ..judgement.receipt };
                }
                judgement
            }
        };
        keys.into_iter().zip(known).map(judgement).collect()
    }
}

impl From<Kept> for Judgement {
    fn from(Kept { score, fuel, memory_bytes_peak }: Kept) -> Judgement {
        Judgement {
            result: Ok(score),
            receipt: Receipt { fuel, micros: 0, memory_bytes_peak, samples: 1, cached: true },
        }
    }
}
