//! One batch before a rubric: asked about in parts, concluded as one. Everything that counts or combines happens at the
//! end and in the order of the samples, so nothing depends on how the batch was cut or on who answered first.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use super::ask::{Answers, Asked, Panel};
use super::combine::{self, Outcome, Part, Term};
use super::{Graded, OnFault, Rubric};
use crate::{Error, Sample};

/// One batch of samples before a rubric, whose parts are judged as they come: what [`Rubric::grade`] does in one piece.
///
/// Made by [`Rubric::sitting`]; borrows the rubric, so that no grader is swapped before the batch is graded. It costs a
/// copy of the graders' names. Dropped without a conclusion, it was never held: no fault is counted.
///
/// The [`Panel`] may be asked about several parts at once, from anywhere. Who is in quarantine, and which weights are in
/// force, is settled when the sitting begins. The conclusion is to the last bit that of the whole batch graded in one
/// piece, if graders answer equal samples equally: what differs is time, and where several samples share a call
/// ([`Isolation`](crate::Isolation)), how many and their parts of its fuel.
///
/// ```no_run
/// use rewarden_runtime::{Error, Rubric, Sample};
///
/// async fn step(rubric: &mut Rubric, first: Vec<Sample>, second: Vec<Sample>) -> Result<(), Error> {
///     let sitting = rubric.sitting(50);
///     let panel = sitting.panel().clone();
///     let early = tokio::spawn(async move { panel.ask(0, first).await });    // judged from here on
///     // ... the second part comes later ...
///     let late = sitting.panel().ask(1, second).await;
///     for graded in sitting.conclude(vec![late, early.await.expect("no panic")])? {
///         println!("{:?} from {:?}", graded.reward, graded.parts);           // in the order of the parts
///     }
///     Ok(())
/// }
/// ```
#[must_use = "a sitting without a conclusion grades nothing"]
pub struct Sitting<'a> {
    rubric: &'a mut Rubric,
    panel: Panel,
    step: u32,
}

impl Rubric {
    /// Begins to grade a batch at a training step.
    pub fn sitting(&mut self, step: u32) -> Sitting<'_> {
        Sitting { panel: Panel::of(self, step), rubric: self, step }
    }
}

impl Sitting<'_> {
    /// Who is to be asked.
    pub fn panel(&self) -> &Panel {
        &self.panel
    }

    /// Counts faults and turns answers into rewards: one for each sample, parts in the order of their numbers. Errors are
    /// those of [`Rubric::grade`].
    ///
    /// # Panics
    ///
    /// If the panel of another sitting was asked.
    pub fn conclude(self, mut asked: Vec<Asked>) -> Result<Vec<Graded>, Error> {
        let Sitting { rubric, panel, step } = self;
        assert!(asked.iter().all(|asked| asked.is_of(&panel)), "the answers are those of another sitting");
        asked.sort_by_key(|asked| asked.part);
        let mut answers = Answers::none(rubric.seats.len(), 0);
        let mut parts: Vec<Arc<[Sample]>> = Vec::with_capacity(asked.len());
        for asked in asked {
            answers.extend(asked.answers);
            parts.push(asked.samples);
        }
        let samples: Vec<&Sample> = parts.iter().flat_map(|part| part.iter()).collect();
        rubric.conclude(&samples, panel.terms(), answers, step)
    }
}

impl Rubric {
    fn conclude(
        &mut self,
        samples: &[&Sample],
        terms: &[Term],
        answers: Answers,
        step: u32,
    ) -> Result<Vec<Graded>, Error> {
        self.count(&answers, step);
        self.stop_at_faults(samples, terms, &answers)?;
        let part = |sample: usize| {
            let columns = terms.iter().zip(&answers.parts);
            columns.map(move |(term, column)| term.part(column[sample].as_ref()))
        };
        let rows: Vec<Vec<Part>> = (0..samples.len()).map(|sample| part(sample).collect()).collect();
        let outcomes = combine::combine(&self.rules, terms, &groups(samples), &rows);
        Ok(self.graded(outcomes, answers))
    }

    fn count(&mut self, answers: &Answers, step: u32) {
        for (seat, column) in self.seats.iter_mut().zip(&answers.parts) {
            let was_called = seat.tally.refusal().is_none();
            for judgement in column.iter().flatten() {
                seat.tally.note(judgement.result.as_ref().err(), step, self.rules.quarantine_after);
            }
            if let Some(fault) = seat.tally.refusal().filter(|_| was_called) {
                log::warn!(target: "rewarden::rubric", "reward `{}`: {fault}", seat.grader.name);
            }
        }
    }

    fn stop_at_faults(&self, samples: &[&Sample], terms: &[Term], answers: &Answers) -> Result<(), Error> {
        let mut last = None;
        for (index, sample) in samples.iter().enumerate() {
            for ((seat, term), column) in self.seats.iter().zip(terms).zip(&answers.parts) {
                let Some(Err(fault)) = column[index].as_ref().map(|judgement| &judgement.result) else { continue };
                if term.on_fault == OnFault::FailRun {
                    let (name, sample) = (seat.grader.name.clone(), sample.id.clone());
                    return Err(Error::Faulted { name, sample, fault: fault.clone() });
                }
                last = Some((sample, fault));
            }
        }
        let faults: BTreeMap<String, u64> =
            self.seats.iter().map(|s| (s.grader.name.clone(), s.tally.faults)).collect();
        let spent = faults.values().fold(0, |sum: u64, faults| sum.saturating_add(*faults));
        match (self.rules.fault_budget, last) {
            (Some(budget), Some((sample, fault))) if spent > budget => {
                Err(Error::FaultBudget { budget, faults, sample: sample.id.clone(), fault: fault.clone() })
            }
            _ => Ok(()),
        }
    }

    /// Turns columns by grader into one record per sample.
    fn graded(&self, outcomes: Vec<Outcome>, answers: Answers) -> Vec<Graded> {
        let columns = |columns: Vec<Vec<_>>| columns.into_iter().map(Vec::into_iter).collect::<Vec<_>>();
        let (mut parts, mut shadows) = (columns(answers.parts), columns(answers.shadows));
        let graded = |Outcome { reward, total }| {
            let shadows = self.names().zip(&mut shadows);
            Graded {
                reward,
                total,
                parts: parts.iter_mut().filter_map(Iterator::next).collect(),
                shadows: shadows.filter_map(|(name, column)| Some((name.to_owned(), column.next()??))).collect(),
            }
        };
        outcomes.into_iter().map(graded).collect()
    }
}

/// Runs of neighbours with equal `group`.
fn groups(samples: &[&Sample]) -> Vec<Range<usize>> {
    let mut start = 0;
    let range = |group: &[&Sample]| {
        start += group.len();
        start - group.len()..start
    };
    samples.chunk_by(|one, next| one.group == next.group).map(range).collect()
}
