//! From the parts of samples to their rewards. Pure arithmetic: no plugin, no clock, nothing to wait for.

use std::ops::Range;

use super::normalise::normalise;
use super::rules::{Combine, OnFault, RubricRules};
use crate::Judgement;

/// What one grader stands for at one step.
#[derive(Debug, Clone, Copy)]
pub(super) struct Term {
    pub(super) weight: f64,
    pub(super) on_fault: OnFault,
    /// Whether it must reach the threshold before anything else is paid.
    pub(super) is_gate: bool,
}

/// What one grader contributes to one sample, once its policy for faults is applied.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Part {
    /// Nothing: it was not asked, or does not apply.
    Nothing,
    /// A number.
    Value(f64),
    /// The sample is to have no reward.
    SkipSample,
    /// Nor is its group.
    SkipGroup,
}

/// The reward of one sample, for the update and for people.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Outcome {
    pub(super) reward: Option<f64>,
    pub(super) total: Option<f64>,
}

impl Term {
    /// Whether it has a part in the reward at all.
    pub(super) fn counts(&self) -> bool {
        self.weight != 0.0
    }

    /// What a judgement of this grader contributes.
    pub(super) fn part(&self, judgement: Option<&Judgement>) -> Part {
        match judgement.map(|judgement| &judgement.result) {
            None => Part::Nothing,
            Some(Ok(score)) => score.value.map_or(Part::Nothing, Part::Value),
            Some(Err(_)) => match self.on_fault {
                OnFault::Fixed(value) => Part::Value(value),
                OnFault::SkipGroup => Part::SkipGroup,
                OnFault::SkipSample | OnFault::FailRun => Part::SkipSample,
            },
        }
    }

    /// Whether this gate keeps graders of lower priority from being asked.
    pub(super) fn closes(&self, part: Part, threshold: f64) -> bool {
        self.is_gate
            && match part {
                Part::Nothing => false,
                Part::Value(value) => value < threshold,
                Part::SkipSample | Part::SkipGroup => true,
            }
    }
}

impl Part {
    pub(super) fn value(self) -> Option<f64> {
        match self {
            Part::Value(value) => Some(value),
            _ => None,
        }
    }

    fn is_skipped(self) -> bool {
        matches!(self, Part::SkipSample | Part::SkipGroup)
    }
}

/// The outcome of each sample. `rows` holds one part per term for each sample; `groups` are ranges of samples.
pub(super) fn combine(
    rules: &RubricRules,
    terms: &[Term],
    groups: &[Range<usize>],
    rows: &[Vec<Part>],
) -> Vec<Outcome> {
    let mut totals: Vec<Option<f64>> = rows.iter().map(|row| total(rules, terms, row)).collect();
    for group in groups {
        let skipped = |row: &Vec<Part>| counting(terms, row).any(|(_, part)| part == Part::SkipGroup);
        if rows[group.clone()].iter().any(skipped) {
            totals[group.clone()].fill(None);
        }
    }
    let rewards = match rules.combine {
        Combine::NormalizeThenSum => normalise(terms, groups, rows, &totals),
        _ => totals.clone(),
    };
    rewards.into_iter().zip(totals).map(|(reward, total)| Outcome { reward, total }).collect()
}

fn counting<'a>(terms: &'a [Term], row: &'a [Part]) -> impl Iterator<Item = (&'a Term, Part)> {
    terms.iter().zip(row.iter().copied()).filter(|(term, _)| term.counts())
}

/// The reward before any normalisation. A result too large for a number is none: no update could use it.
fn total(rules: &RubricRules, terms: &[Term], row: &[Part]) -> Option<f64> {
    if counting(terms, row).any(|(_, part)| part.is_skipped()) {
        return None;
    }
    if counting(terms, row).any(|(term, part)| term.closes(part, rules.gate_threshold)) {
        return Some(0.0);
    }
    let weighted = counting(terms, row).filter_map(|(term, part)| Some(term.weight * part.value()?));
    let total = match rules.combine {
        Combine::WeightedSum | Combine::Gate | Combine::NormalizeThenSum => weighted.reduce(|sum, part| sum + part),
        Combine::Product => weighted.reduce(|product, part| product * part),
        Combine::Min => weighted.reduce(f64::min),
    };
    total.filter(|total| total.is_finite())
}

#[cfg(test)]
mod tests;
