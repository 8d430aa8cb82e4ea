//! A rubric: named graders with weights and priorities, and what becomes of a sample that one of them could not judge.
//!
//! One batch, in order: `ask` sends each sample to the graders it concerns, in as many parts as the batch comes in;
//! `sitting` concludes when all are there: `tally` counts faults and quarantines, `combine` turns the answers into rewards
//! (`normalise` for GDPO). `weight` and `rules` are what a config says.

mod ask;
mod combine;
mod normalise;
mod rules;
mod sitting;
mod tally;
mod weight;

use std::collections::{BTreeMap, BTreeSet};

pub use ask::{Asked, Panel};
pub use rules::{Combine, OnFault, RubricRules};
pub use sitting::Sitting;
pub use tally::RubricState;
pub use weight::Weight;

use crate::{Digest, Error, Judgement, Sample, Scorer};
use combine::Term;
use tally::Tally;

/// Somebody who judges, with a name and a place in the rubric.
///
/// Plain data around a [`Scorer`]; cheap to make and clone, `Send + Sync`.
#[derive(Clone)]
pub struct Grader {
    /// Name in metrics and rollouts; unlike any other in the rubric.
    pub name: String,
    /// Factor in the reward; 0 makes it a metric only.
    pub weight: Weight,
    /// Higher ones are asked first; with [`Combine::Gate`], all above the lowest are gates.
    pub priority: i32,
    /// The `data_source`s whose samples it judges; empty means every sample.
    pub data_source: Vec<String>,
    /// What its faults do, when not what [`RubricRules::on_fault`] says.
    pub on_fault: Option<OnFault>,
    /// A plugin, or code of the host's.
    pub scorer: Scorer,
}

/// All graders of a run: samples in, one reward each out.
///
/// Owns its graders and the counts of their faults, nothing else: dropping it is free, and it may move between threads.
/// Grading needs it mutably, so no grader can be swapped while samples are being judged.
///
/// ```no_run
/// use rewarden_runtime::{Error, Grader, Plugin, Rubric, RubricRules, Sample, Weight};
///
/// async fn step(accuracy: &Plugin, length: &Plugin, samples: Vec<Sample>) -> Result<(), Error> {
///     let grader = |name: &str, weight: Weight, plugin: &Plugin| {
///         let scorer = plugin.reward()?.into();
///         Ok(Grader { name: name.into(), weight, priority: 0, data_source: vec![], on_fault: None, scorer })
///     };
///     let fading = Weight::Schedule(vec![(0, 0.2), (100, 0.0)]);
///     let graders = vec![grader("accuracy", 1.0.into(), accuracy)?, grader("length", fading, length)?];
///     let mut rubric = Rubric::new(graders, RubricRules::default())?;
///     for graded in rubric.grade(samples, 50).await? {
///         println!("{:?} from {:?}", graded.reward, graded.parts);           // no reward: somebody faulted
///     }
///     Ok(())
/// }
/// ```
pub struct Rubric {
    seats: Vec<Seat>,
    rules: RubricRules,
}

/// A grader, what it has been up to, and who may replace it.
struct Seat {
    grader: Grader,
    shadow: Option<Scorer>,
    tally: Tally,
}

/// What the rubric says of one sample. Plain data.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Graded {
    /// What the update learns from; none where a grader's fault or the absence of any answer leaves nothing to say. A
    /// number relative to its batch with [`Combine::NormalizeThenSum`].
    pub reward: Option<f64>,
    /// What people and evaluations read: the reward before any normalisation.
    pub total: Option<f64>,
    /// Each grader's own answer, in the rubric's order; none where it was not asked, because of `data_source` or a gate.
    pub parts: Vec<Option<Judgement>>,
    /// What shadows think, by the grader they shadow.
    pub shadows: BTreeMap<String, Judgement>,
}

impl Grader {
    /// Whether it judges this sample.
    fn judges(&self, sample: &Sample) -> bool {
        self.data_source.is_empty() || self.data_source.contains(&sample.data_source)
    }
}

impl Rubric {
    /// Puts graders under rules. Refuses what cannot work, naming the key: no grader, two of one name, a weight or rule
    /// that is no number, gates without anything behind them.
    pub fn new(graders: Vec<Grader>, rules: RubricRules) -> Result<Rubric, Error> {
        let refuse = |key: &str, reason: String| Err(Error::Rubric { key: key.to_owned(), reason });
        rules.check()?;
        if graders.is_empty() {
            return refuse("reward", "this stage needs at least one [[reward]] with a `plugin`".into());
        }
        let mut names = BTreeSet::new();
        for grader in &graders {
            if !names.insert(grader.name.as_str()) {
                let reason = format!("two rewards are called `{}`; metrics need one name each", grader.name);
                return refuse("reward", reason);
            }
            grader.weight.check(&format!("reward.{}.weight", grader.name))?;
            grader.on_fault.unwrap_or_default().check(&format!("reward.{}.on_fault", grader.name))?;
        }
        let counting = graders.iter().filter(|grader| !grader.weight.is_never_counted());
        let priorities: BTreeSet<i32> = counting.map(|grader| grader.priority).collect();
        if rules.combine == Combine::Gate && priorities.len() < 2 {
            let reason = "`gate` needs weighted rewards of at least two priorities: all above the lowest are gates";
            return refuse("rubric.combine", reason.into());
        }
        let seat = |grader| Seat { grader, shadow: None, tally: Tally::default() };
        Ok(Rubric { seats: graders.into_iter().map(seat).collect(), rules })
    }

    /// The graders, in the order of [`Graded::parts`].
    pub fn graders(&self) -> impl Iterator<Item = &Grader> {
        self.seats.iter().map(|seat| &seat.grader)
    }

    /// Their names, in the same order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.graders().map(|grader| grader.name.as_str())
    }

    /// The digest of each grader's plugin.
    pub fn digests(&self) -> BTreeMap<String, Digest> {
        self.graders().map(|grader| (grader.name.clone(), grader.scorer.digest())).collect()
    }

    /// The digest of each shadow's plugin, by the grader it shadows.
    pub fn shadows(&self) -> BTreeMap<String, Digest> {
        let shadow = |seat: &Seat| Some((seat.grader.name.clone(), seat.shadow.as_ref()?.digest()));
        self.seats.iter().filter_map(shadow).collect()
    }

    /// What judges as the grader called `name`.
    pub fn scorer(&self, name: &str) -> Option<&Scorer> {
        self.graders().find(|grader| grader.name == name).map(|grader| &grader.scorer)
    }

    /// The rules it was made with.
    pub fn rules(&self) -> &RubricRules {
        &self.rules
    }

    /// Replaces what judges as the grader called `name` and returns the old one. A quarantine is lifted: the new one
    /// starts with a clean record. The error names the graders there are.
    pub fn swap(&mut self, name: &str, scorer: impl Into<Scorer>) -> Result<Scorer, Error> {
        let seat = self.seat(name)?;
        seat.tally.forgive();
        Ok(std::mem::replace(&mut seat.grader.scorer, scorer.into()))
    }

    /// Lets a plugin judge exactly the samples that the grader called `name` is asked about, without any effect but
    /// [`Graded::shadows`]: it is never paid, and its faults are nobody's. `None` ends that.
    pub fn set_shadow(&mut self, name: &str, shadow: Option<Scorer>) -> Result<(), Error> {
        self.seat(name)?.shadow = shadow;
        Ok(())
    }

    /// What is to be remembered beside a checkpoint.
    pub fn state(&self) -> RubricState {
        let tally = |seat: &Seat| Tally { plugin: Some(seat.grader.scorer.digest()), ..seat.tally.clone() };
        RubricState { tallies: self.seats.iter().map(|seat| (seat.grader.name.clone(), tally(seat))).collect() }
    }

    /// Goes back to a remembered state. Graders it does not know start anew; a plugin other than the remembered one has
    /// a clean record, as after a swap.
    pub fn restore(&mut self, state: &RubricState) {
        for seat in &mut self.seats {
            seat.tally = state.tallies.get(&seat.grader.name).cloned().unwrap_or_default();
            if seat.tally.plugin.take() != Some(seat.grader.scorer.digest()) {
                seat.tally.forgive();
            }
        }
    }

    /// Grades samples at a training step; same length, same order. A group is a run of neighbours with equal `group`.
    /// Faults are data; the errors are those a run asked for: a grader with [`OnFault::FailRun`] failed, or the
    /// [`fault_budget`](RubricRules::fault_budget) is spent. Awaiting works on any executor. A batch that comes in parts
    /// is graded in a [`sitting`](Rubric::sitting).
    pub async fn grade(&mut self, samples: Vec<Sample>, step: u32) -> Result<Vec<Graded>, Error> {
        let sitting = self.sitting(step);
        let asked = sitting.panel().ask(0, samples).await;
        sitting.conclude(vec![asked])
    }

    fn seat(&mut self, name: &str) -> Result<&mut Seat, Error> {
        let known: Vec<String> = self.names().map(|name| format!("`{name}`")).collect();
        self.seats.iter_mut().find(|seat| seat.grader.name == name).ok_or_else(|| Error::Rubric {
            key: "reward".into(),
            reason: format!("no reward is called `{name}`; there are {}", known.join(", ")),
        })
    }

    /// What each grader stands for at this step.
    fn terms(&self, step: u32) -> Vec<Term> {
        let weighted = self.graders().filter(|grader| grader.weight.at(step) != 0.0);
        let lowest = weighted.map(|grader| grader.priority).min();
        let term = |grader: &Grader| {
            let weight = grader.weight.at(step);
            let is_above = lowest.is_some_and(|lowest| grader.priority > lowest);
            let is_gate = self.rules.combine == Combine::Gate && weight != 0.0 && is_above;
            Term { weight, on_fault: grader.on_fault.unwrap_or(self.rules.on_fault), is_gate }
        };
        self.graders().map(term).collect()
    }
}
