//! Asking graders: which samples each one sees, in which order, and all that may run at once at once.

use std::collections::BTreeSet;
use std::future::{Future, poll_fn};
use std::sync::Arc;
use std::task::Poll;

use super::combine::Term;
use super::{Grader, Rubric};
use crate::{Fault, Judgement, Receipt, Sample, Scorer};

/// The graders of a [`Sitting`](crate::Sitting), as they are asked from its beginning to its end.
///
/// A clone is a counter; `Send + Sync`; it may outlive its sitting, but nobody takes its answers then. Any number of
/// [`ask`](Panel::ask)s may be under way at once, on any threads and executors: plugins share their runtime's threads
/// however many are, while each holds its samples and answers.
#[derive(Clone)]
pub struct Panel(Arc<Places>);

struct Places {
    places: Vec<Place>,
    terms: Vec<Term>,
    gate_threshold: f64,
}

/// A grader, its shadow, and what is answered for it when it is not called any more.
struct Place {
    grader: Grader,
    shadow: Option<Scorer>,
    refusal: Option<Fault>,
}

/// What a [`Panel`] says of a part of a batch, for [`Sitting::conclude`](crate::Sitting::conclude).
///
/// Owns the part's samples and answers; `Send + Sync`. Nothing in it can be read yet: what an answer is worth, the whole
/// batch decides.
#[must_use = "no fault is counted and no sample graded before the sitting is concluded"]
pub struct Asked {
    panel: Panel,
    pub(super) part: usize,
    pub(super) samples: Arc<[Sample]>,
    pub(super) answers: Answers,
}

/// The answers to a batch or a part of one: one column per grader, one place per sample, empty where it was not asked.
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

impl Panel {
    /// The graders as they are now.
    pub(super) fn of(rubric: &Rubric, step: u32) -> Panel {
        let seats = rubric.seats.iter();
        let places = seats.map(|seat| Place {
            grader: seat.grader.clone(),
            shadow: seat.shadow.clone(),
            refusal: seat.tally.refusal(),
        });
        let gate_threshold = rubric.rules.gate_threshold;
        Panel(Arc::new(Places { places: places.collect(), terms: rubric.terms(step), gate_threshold }))
    }

    /// What each grader stands for.
    pub(super) fn terms(&self) -> &[Term] {
        &self.0.terms
    }

    /// Asks everyone about a part of the batch, highest priority first; graders of one priority are asked together.
    ///
    /// `part` is its number: parts are graded in the order of their numbers, whatever order they are asked in. A part is
    /// whole groups, because a grader that judges groups sees no more of one than the part has. Awaiting works on any
    /// executor.
    pub async fn ask(&self, part: usize, samples: Vec<Sample>) -> Asked {
        let samples: Arc<[Sample]> = samples.into();
        let Places { places, terms, gate_threshold } = &*self.0;
        let mut answers = Answers::none(places.len(), samples.len());
        let mut open = vec![true; samples.len()];
        let priorities: BTreeSet<i32> = places.iter().map(|place| place.grader.priority).collect();
        for priority in priorities.into_iter().rev() {
            let tier = || (0..places.len()).filter(|&seat| places[seat].grader.priority == priority);
            let calls: Vec<Call> =
                tier().flat_map(|seat| places[seat].calls(seat, &samples, &open, &mut answers)).collect();
            let judging = calls.iter().map(|call| call.scorer.judge_batch(chosen(&samples, &call.chosen)));
            for (call, judgements) in calls.iter().zip(all(judging).await) {
                let columns = if call.is_shadow { &mut answers.shadows } else { &mut answers.parts };
                for (&sample, judgement) in call.chosen.iter().zip(judgements) {
                    columns[call.seat][sample] = Some(judgement);
                }
            }
            for seat in tier() {
                for (open, judgement) in open.iter_mut().zip(&answers.parts[seat]) {
                    let part = terms[seat].part(judgement.as_ref());
                    *open &= !terms[seat].closes(part, *gate_threshold);
                }
            }
        }
        Asked { panel: self.clone(), part, samples, answers }
    }
}

impl Place {
    /// The calls for one grader and its shadow. A quarantined grader is answered for here, and not called.
    fn calls(&self, seat: usize, samples: &[Sample], open: &[bool], answers: &mut Answers) -> Vec<Call> {
        let asked = |&sample: &usize| open[sample] && self.grader.judges(&samples[sample]);
        let chosen: Vec<usize> = (0..samples.len()).filter(asked).collect();
        let call = |scorer: Scorer, is_shadow| Call { scorer, seat, is_shadow, chosen: chosen.clone() };
        let mut calls: Vec<Call> = self.shadow.iter().map(|shadow| call(shadow.clone(), true)).collect();
        match &self.refusal {
            None => calls.push(call(self.grader.scorer.clone(), false)),
            Some(fault) => {
                let refused = || Judgement { result: Err(fault.clone()), receipt: Receipt::default() };
                chosen.iter().for_each(|&sample| answers.parts[seat][sample] = Some(refused()));
            }
        }
        calls
    }
}

impl Asked {
    /// Whether this panel was asked.
    pub(super) fn is_of(&self, panel: &Panel) -> bool {
        Arc::ptr_eq(&self.panel.0, &panel.0)
    }
}

impl Answers {
    /// Those of graders that were not asked.
    pub(super) fn none(seats: usize, samples: usize) -> Answers {
        let empty = || vec![vec![None; samples]; seats];
        Answers { parts: empty(), shadows: empty() }
    }

    /// Puts the answers about later samples behind these.
    pub(super) fn extend(&mut self, later: Answers) {
        let columns = self.parts.iter_mut().chain(&mut self.shadows);
        columns.zip(later.parts.into_iter().chain(later.shadows)).for_each(|(column, later)| column.extend(later));
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
