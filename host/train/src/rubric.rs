//! A rubric: named rewards with weights, and what becomes of a sample that one of them could not judge.

use rewarden_runtime::{Digest, Fault, Reward, Sample, Score};
use std::collections::BTreeMap;
use std::sync::Arc;

use crate::config::OnFault;
use crate::error::{Error, Result};

/// A loaded reward with its place in the sum.
pub struct WeightedReward {
    /// Name in metrics and rollouts.
    pub name: String,
    /// Factor in the sum; 0 makes it a metric only.
    pub weight: f64,
    /// The plugin.
    pub reward: Reward,
}

/// All rewards of a run.
pub struct Rubric {
    rewards: Vec<WeightedReward>,
    on_fault: OnFault,
}

/// What the rubric says of one sample.
#[derive(Clone, Debug)]
pub struct Graded {
    /// The weighted sum; `None` when a weighted grader failed or none applies.
    pub reward: Option<f64>,
    /// Each reward's own answer, in the rubric's order.
    pub parts: Vec<std::result::Result<Score, Fault>>,
}

impl Rubric {
    /// Refuses an empty rubric: nothing would ever be learnt, or measured.
    pub fn new(rewards: Vec<WeightedReward>, on_fault: OnFault) -> Result<Self> {
        match rewards.is_empty() {
            true => Err(Error::config("reward", "this stage needs at least one [[reward]] with a `plugin`")),
            false => Ok(Self { rewards, on_fault }),
        }
    }

    /// Names of the rewards, in the order of [`Graded::parts`].
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.rewards.iter().map(|reward| reward.name.as_str())
    }

    /// The digest of each reward's component.
    pub fn digests(&self) -> BTreeMap<String, Digest> {
        self.rewards.iter().map(|reward| (reward.name.clone(), reward.reward.digest())).collect()
    }

    /// Grades samples; same length, same order. Faults are data, unless the run was told to stop at them.
    pub fn grade(&self, samples: Vec<Sample>) -> Result<Vec<Graded>> {
        let samples: Arc<[Sample]> = samples.into();
        let columns: Vec<_> =
            self.rewards.iter().map(|r| pollster::block_on(r.reward.score_batch(Arc::clone(&samples)))).collect();
        let mut columns: Vec<_> = columns.into_iter().map(Vec::into_iter).collect();
        let row = |sample: &Sample| {
            let parts: Vec<_> = columns.iter_mut().filter_map(Iterator::next).collect();
            self.stop_at_fault(sample, &parts)?;
            let weights = self.rewards.iter().map(|reward| reward.weight);
            Ok(Graded { reward: weighted_sum(weights.zip(&parts)), parts })
        };
        samples.iter().map(row).collect()
    }

    fn stop_at_fault(&self, sample: &Sample, parts: &[std::result::Result<Score, Fault>]) -> Result<()> {
        let fault = self.names().zip(parts).find_map(|(name, part)| part.as_ref().err().map(|fault| (name, fault)));
        match (self.on_fault, fault) {
            (OnFault::FailRun, Some((name, fault))) => {
                Err(Error::Fault { name: name.to_owned(), sample: sample.id.clone(), fault: fault.clone() })
            }
            _ => Ok(()),
        }
    }
}

type Part<'a> = (f64, &'a std::result::Result<Score, Fault>);

/// The sum of weight times value. A grader that does not apply drops out; one of weight 0 is never waited for; a fault
/// in any other leaves the sample without a reward.
fn weighted_sum<'a>(parts: impl Iterator<Item = Part<'a>>) -> Option<f64> {
    let mut sum = None;
    for (weight, part) in parts.filter(|(weight, _)| *weight != 0.0) {
        if let Some(value) = part.as_ref().ok()?.value {
            sum = Some(sum.unwrap_or(0.0) + weight * value);
        }
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    fn score(value: Option<f64>) -> std::result::Result<Score, Fault> {
        Ok(Score { value, steps: vec![], components: vec![], metrics: vec![], note: String::new() })
    }

    fn fault() -> std::result::Result<Score, Fault> {
        Err(Fault::Internal("broken".into()))
    }

    #[track_caller]
    fn check(parts: &[(f64, std::result::Result<Score, Fault>)], expected: Option<f64>) {
        assert_eq!(weighted_sum(parts.iter().map(|(weight, part)| (*weight, part))), expected);
    }

    #[test]
    fn sums() {
        check(&[(1.0, score(Some(0.5))), (2.0, score(Some(1.0)))], Some(2.5));
        check(&[(1.0, score(Some(0.5))), (2.0, score(None))], Some(0.5));
        check(&[(1.0, score(None))], None);
        check(&[(1.0, score(Some(0.5))), (0.0, score(Some(9.0)))], Some(0.5));
        check(&[(1.0, score(Some(0.5))), (0.0, fault())], Some(0.5));
        check(&[(1.0, score(Some(0.5))), (0.1, fault())], None);
        check(&[], None);
    }
}
