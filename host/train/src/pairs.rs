//! Lessons from pairs of answers, for reward models and for DPO: both answers of a pair go through the model side by side,
//! and a loss compares what it says of them.

use crate::batch::Datum;
use crate::data::{Dataset, Pair};
use crate::epochs::{Lessons, Sums};
use crate::error::{Error, Result};
use crate::gradient::{log_probs, measure};
use crate::learner::{Learner, Update};
use crate::loss::{PairLoss, Preference};
use crate::model::{Head, Policy};
use crate::objective::Objective;
use crate::renderer::Renderer;

/// Pairs to learn from and to be measured on.
pub(crate) struct PairLessons {
    train: Vec<Rendered>,
    /// Held-out pairs, with what the reference says of them: it says the same at every measurement.
    test: Batch,
    left_out: usize,
    terms: Terms,
    micro_batch_size: usize,
}

/// How answers are compared.
pub(crate) struct Terms {
    pub(crate) loss: PairLoss,
    /// What the loss measures log-probabilities against.
    pub(crate) reference: Option<Policy>,
    pub(crate) names: Names,
    /// The config's key of the longest conversation.
    pub(crate) key: &'static str,
}

/// Names of metrics: the loss, the share of right guesses, the margin, and what either answer is worth.
#[derive(Clone, Copy)]
pub(crate) struct Names {
    pub(crate) loss: &'static str,
    pub(crate) accuracy: &'static str,
    pub(crate) margin: &'static str,
    pub(crate) worth: Option<[&'static str; 2]>,
}

/// A pair as tokens.
struct Rendered {
    chosen: Datum,
    rejected: Datum,
    margin: f64,
}

impl PairLessons {
    /// Renders pairs for the learner's model. Those longer than `max_length` are left out.
    pub(crate) fn new(
        data: &Dataset<Pair>,
        learner: &Learner,
        terms: Terms,
        max_length: usize,
        micro_batch_size: usize,
    ) -> Result<Self> {
        let (renderer, head) = (&learner.renderer, learner.policy.config().head());
        let render = |pairs: &[Pair]| -> Result<Vec<Rendered>> {
            let rendered = pairs.iter().map(|pair| Rendered::new(pair, renderer, head));
            let fits = |pair: &Rendered| pair.chosen.tokens.len().max(pair.rejected.tokens.len()) <= max_length;
            Ok(rendered.collect::<Result<Vec<_>>>()?.into_iter().filter(fits).collect())
        };
        let (train, test) = (render(&data.train)?, render(&data.test)?);
        let left_out = data.train.len() + data.test.len() - train.len() - test.len();
        if train.is_empty() {
            let message =
                format!("none of the {} pairs to learn from has at most {max_length} tokens", data.train.len());
            return Err(Error::config(terms.key, message));
        }
        let test = terms.batch(test.iter(), micro_batch_size)?;
        Ok(Self { train, test, left_out, terms, micro_batch_size })
    }
}

/// The data of some pairs, and what the loss knows of them.
type Batch = (Vec<Datum>, Vec<Preference>);

impl Terms {
    fn batch<'a>(&self, pairs: impl Iterator<Item = &'a Rendered>, micro_batch_size: usize) -> Result<Batch> {
        let (mut data, mut margins) = (vec![], vec![]);
        for Rendered { chosen, rejected, margin } in pairs {
            data.extend([chosen.clone(), rejected.clone()]);
            margins.push(*margin);
        }
        let said = match &self.reference {
            Some(reference) => log_probs(reference, &data, micro_batch_size)?,
            None => vec![vec![]; data.len()],
        };
        let known = margins
            .into_iter()
            .zip(said.chunks_exact(2))
            .map(|(margin, said)| Preference { reference: [said[0].clone(), said[1].clone()], margin });
        let known = known.collect();
        Ok((data, known))
    }
}

impl Rendered {
    fn new(pair: &Pair, renderer: &Renderer, head: Head) -> Result<Self> {
        let datum = |answer, name: &str| {
            let datum = asked(Datum::from(renderer.answered(&pair.prompt, answer)?), head);
            match datum.trained_tokens() {
                0 => Err(Error::config("data", format!("{}: `{name}` has no message of the assistant", pair.id))),
                _ => Ok(datum),
            }
        };
        let (chosen, rejected) = (datum(&pair.chosen, "chosen")?, datum(&pair.rejected, "rejected")?);
        Ok(Self { chosen, rejected, margin: pair.margin })
    }
}

/// An answer as a model with this head is asked about it: every token of a policy's, the last one of a reward model's.
pub(crate) fn asked(mut datum: Datum, head: Head) -> Datum {
    if head != Head::Tokens {
        let last = datum.trained.iter().rposition(|&trained| trained);
        datum.trained.iter_mut().enumerate().for_each(|(at, trained)| *trained = Some(at) == last);
    }
    datum
}

impl Lessons for PairLessons {
    fn count(&self) -> usize {
        self.train.len()
    }

    fn left_out(&self) -> usize {
        self.left_out
    }

    fn learn(&self, learner: &mut Learner, rows: &[usize], rate: f64) -> Result<Option<Update>> {
        let rows = rows.iter().map(|&row| &self.train[row]);
        let (data, known) = self.terms.batch(rows, self.micro_batch_size)?;
        learner.update(&data, self.micro_batch_size, rate, Objective::pairs(&self.terms.loss.on(&known)))
    }

    fn measure(&self, policy: &Policy) -> Result<Option<(f64, Sums)>> {
        let (data, known) = &self.test;
        if data.is_empty() {
            return Ok(None);
        }
        measure(policy, data, self.micro_batch_size, Objective::pairs(&self.terms.loss.on(known))).map(Some)
    }

    fn figures(&self, loss: f64, sums: &Sums) -> Vec<(&'static str, f64)> {
        let mean = |name: &str| sums.get(name).copied().unwrap_or(f64::NAN) / sums["pairs"];
        let Names { loss: name, accuracy, margin, worth } = self.terms.names;
        let worth =
            worth.into_iter().flat_map(|[chosen, rejected]| [(chosen, mean("chosen")), (rejected, mean("rejected"))]);
        [(name, loss), (accuracy, mean("right")), (margin, mean("margin"))].into_iter().chain(worth).collect()
    }
}
