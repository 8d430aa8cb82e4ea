//! Asking graders: which samples each one sees, in which order, and all that may run at once at once.

use std::collections::BTreeSet;
use std::future::{Future, poll_fn};
use std::sync::Arc;
use std::task::Poll;

use super::Rubric;
use super::combine::Term;
use crate::{Judgement, Receipt, Sample, Scorer};

/// The answers to a batch: one column per grader, one place per sample, empty where it was not asked.
pub(super) struct Answers {
    pub(super) parts: Vec<Vec<Option<Judgement>>>,
    pub(super) shadows: Vec<Vec<Option<Judgement>>>,
}

/// Somebody and the samples to judge.
struct Call {
    scorer: Scorer,
    seat: usize,
    is_shadow: bool,
    chosen: Vec<usize>,
}

impl Rubric {
    /// Asks everyone, highest priority first; graders of one priority are asked together.
    pub(super) async fn ask(&self, samples: &Arc<[Sample]>, terms: &[Term]) -> Answers {
        let empty = || vec![vec![None; samples.len()]; self.seats.len()];
        let mut answers = Answers { parts: empty(), shadows: empty() };
        let mut open = vec![true; samples.len()];
        let priorities: BTreeSet<i32> = self.seats.iter().map(|seat| seat.grader.priority).collect();
        for priority in priorities.into_iter().rev() {
            let tier = || (0..self.seats.len()).filter(|&seat| self.seats[seat].grader.priority == priority);
            let calls: Vec<Call> = tier().flat_map(|seat| self.calls(seat, samples, &open, &mut answers)).collect();
            let judging = calls.iter().map(|call| call.scorer.judge_batch(chosen(samples, &call.chosen)));
            for (call, judgements) in calls.iter().zip(all(judging).await) {
                let columns = if call.is_shadow { &mut answers.shadows } else { &mut answers.parts };
                for (&sample, judgement) in call.chosen.iter().zip(judgements) {
                    columns[call.seat][sample] = Some(judgement);
                }
            }
            for seat in tier() {
                for (open, judgement) in open.iter_mut().zip(&answers.parts[seat]) {
                    let part = terms[seat].part(judgement.as_ref());
                    *open &= !terms[seat].closes(part, self.rules.gate_threshold);
                }
            }
        }
        answers
    }

    /// The calls for one grader and its shadow. A quarantined grader is answered for here, and not called.
    fn calls(&self, seat: usize, samples: &[Sample], open: &[bool], answers: &mut Answers) -> Vec<Call> {
        let place = &self.seats[seat];
        let asked = |&sample: &usize| open[sample] && place.grader.judges(&samples[sample]);
        let chosen: Vec<usize> = (0..samples.len()).filter(asked).collect();
        let call = |scorer: Scorer, is_shadow| Call { scorer, seat, is_shadow, chosen: chosen.clone() };
        let mut calls: Vec<Call> = place.shadow.iter().map(|shadow| call(shadow.clone(), true)).collect();
        match place.tally.refusal() {
            None => calls.push(call(place.grader.scorer.clone(), false)),
            Some(fault) => {
                let refused = || Judgement { result: Err(fault.clone()), receipt: Receipt::default() };
                chosen.iter().for_each(|&sample| answers.parts[seat][sample] = Some(refused()));
            }
        }
        calls
    }
}

/// The chosen samples; the batch itself when all are.
fn chosen(samples: &Arc<[Sample]>, chosen: &[usize]) -> Arc<[Sample]> {
    match chosen.len() == samples.len() {
        true => Arc::clone(samples),
        false => chosen.iter().map(|&sample| samples[sample].clone()).collect(),
    }
}

/// Waits for all futures at once; their results in order.
async fn all<F: Future>(futures: impl Iterator<Item = F>) -> Vec<F::Output> {
    let mut waiting: Vec<_> = futures.map(|future| (Box::pin(future), None)).collect();
    poll_fn(|context| {
        for (future, result) in waiting.iter_mut().filter(|(_, result)| result.is_none()) {
            if let Poll::Ready(ready) = future.as_mut().poll(context) {
                *result = Some(ready);
            }
        }
        match waiting.iter().all(|(_, result)| result.is_some()) {
            true => Poll::Ready(()),
            false => Poll::Pending,
        }
    })
    .await;
    waiting.into_iter().filter_map(|(_, result)| result).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each of two waits for the other: one after the other would never end.
    #[test]
    fn futures_are_awaited_together_and_answer_in_order() {
        let both = tokio::sync::Barrier::new(2);
        let meet = async |name| {
            both.wait().await;
            name
        };
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        assert_eq!(runtime.block_on(all(["first", "second"].into_iter().map(meet))), ["first", "second"]);
        assert!(runtime.block_on(all(std::iter::empty::<std::future::Ready<()>>())).is_empty());
    }
}
