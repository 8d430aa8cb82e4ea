//! One gradient of a whole batch, computed in passes of bounded size.
//!
//! A pass runs some sequences through the model, asks the objective for the slopes of its log-probabilities, and sends
//! those back. Shares of the loss are added in order and every weight in them is the whole batch's: the size of a pass
//! decides memory, never the result (beyond rounding).

use std::borrow::Cow;
use std::collections::BTreeMap;

use crate::batch::{Datum, MicroBatch};
use crate::engine::Said;
use crate::engine::cpu::gradient_norm;
use crate::error::Result;
use crate::layout::Layout;
use crate::model::{Policy, Sum};
use crate::objective::{Judge, Objective, Prediction, Slopes};

/// The gradient of every trained parameter, flat, in the order of [`crate::Weights::iter`].
pub struct Gradients {
    sum: Sum,
    /// The batch's loss.
    pub loss: f64,
    /// The objective's numbers for the logs, each summed over the batch.
    pub metrics: BTreeMap<&'static str, f64>,
    /// The policy's log-probability of every trained token, in the order of the data.
    pub log_probs: Vec<f32>,
}

/// The gradient of `objective` over `data`, which goes through the model as `layout` says: a number is how many sequences
/// at a time, 0 all of them.
pub fn gradients(
    policy: &Policy,
    data: &[Datum],
    layout: impl Into<Layout>,
    objective: Objective,
) -> Result<Gradients> {
    let layout = layout.into();
    let accumulate =
        |together: usize, judge: &NearJudge| accumulate(policy, data, layout, objective.entropies, (together, judge));
    match objective.judge {
        Judge::Each(judge) => accumulate(1, &|seen| vec![judge(seen[0])]),
        Judge::Pairs(judge) => accumulate(2, &|seen| judge(seen[0], seen[1]).into()),
        Judge::Whole(judge) => {
            let seen = predict(policy, data, layout, objective.entropies)?;
            let predictions: Vec<Prediction> = seen.iter().enumerate().map(|(index, seen)| seen.at(index)).collect();
            let slopes = judge(&predictions);
            assert_eq!(slopes.len(), data.len(), "an objective answers with one `Slopes` per sequence");
            accumulate(1, &|seen| vec![slopes[seen[0].index].clone()])
        }
    }
}

/// What judges sequences that are looked at together, always the same number of neighbours.
type NearJudge<'a> = dyn Fn(&[Prediction]) -> Vec<Slopes> + Sync + 'a;

/// The log-probability of every trained token of each of `data`, without a gradient.
pub fn log_probs(policy: &Policy, data: &[Datum], micro_batch_size: usize) -> Result<Vec<Vec<f32>>> {
    Ok(predict(policy, data, micro_batch_size.into(), false)?.into_iter().map(|seen| seen.log_probs).collect())
}

/// The loss of `objective` over `data` and its sums for the logs, without a gradient.
pub(crate) fn measure(
    policy: &Policy,
    data: &[Datum],
    micro_batch_size: usize,
    objective: Objective,
) -> Result<(f64, BTreeMap<&'static str, f64>)> {
    let seen = predict(policy, data, micro_batch_size.into(), objective.entropies)?;
    let seen: Vec<Prediction> = seen.iter().enumerate().map(|(index, seen)| seen.at(index)).collect();
    let slopes = match objective.judge {
        Judge::Each(judge) => seen.iter().map(|&seen| judge(seen)).collect(),
        Judge::Pairs(judge) => seen.chunks(2).flat_map(|pair| judge(pair[0], pair[1])).collect(),
        Judge::Whole(judge) => judge(&seen),
    };
    let Slopes { loss, metrics, .. } = total(slopes);
    Ok((loss, metrics))
}

/// Mean loss of the trained tokens of `data` under negative log-likelihood, without a gradient.
pub fn mean_nll(policy: &Policy, data: &[Datum], micro_batch_size: usize) -> Result<f64> {
    let log_probs: Vec<f32> = log_probs(policy, data, micro_batch_size)?.concat();
    Ok(-log_probs.iter().copied().map(f64::from).sum::<f64>() / log_probs.len() as f64)
}

/// What the policy thinks of one sequence.
#[derive(Clone, Default)]
struct Seen {
    log_probs: Vec<f32>,
    entropies: Vec<f32>,
}

/// The sequences of a pass, each with its place in the data.
type Placed = Vec<(usize, Seen)>;

impl Seen {
    fn at(&self, index: usize) -> Prediction<'_> {
        Prediction { index, log_probs: &self.log_probs, entropies: &self.entropies }
    }
}

/// Adds up the passes, in order.
fn accumulate(
    policy: &Policy,
    data: &[Datum],
    layout: Layout,
    entropies: bool,
    (together, judge): (usize, &NearJudge),
) -> Result<Gradients> {
    let mut sum = Gradients { sum: policy.sum()?, loss: 0.0, metrics: BTreeMap::new(), log_probs: vec![] };
    let mut seen: Placed = vec![];
    for members in layout.passes(data, together) {
        let batch = MicroBatch::new(data, &members, policy.config().head());
        if batch.places.is_empty() {
            continue;
        }
        let mut judged = Slopes::default();
        let judge = |said: &Said| {
            let pass = split(data, &members, said);
            let predictions: Vec<Prediction> = pass.iter().map(|(index, seen)| seen.at(*index)).collect();
            judged = total(predictions.chunks(together).flat_map(|seen| answer(judge, seen)).collect());
            seen.extend(pass);
            Said { values: judged.log_probs.clone(), entropies: judged.entropies.clone() }
        };
        policy.learn(&batch, entropies, judge, &mut sum.sum)?;
        sum.loss += judged.loss;
        add(&mut sum.metrics, judged.metrics);
    }
    sum.log_probs = in_order(seen).into_iter().flat_map(|seen| seen.log_probs).collect();
    Ok(sum)
}

/// What the policy thinks of each of `data`.
fn predict(policy: &Policy, data: &[Datum], layout: Layout, entropies: bool) -> Result<Vec<Seen>> {
    let mut seen = vec![];
    for members in layout.passes(data, 1) {
        let batch = MicroBatch::new(data, &members, policy.config().head());
        let said = match batch.places.is_empty() {
            true => Said::default(),
            false => policy.predict(&batch, entropies)?,
        };
        seen.extend(split(data, &members, &said));
    }
    Ok(in_order(seen))
}

/// What was said in a pass by sequence, each with its place in the data.
fn split(data: &[Datum], members: &[usize], said: &Said) -> Placed {
    let mut first = 0;
    let one = |&index: &usize| {
        let range = first..first + data[index].trained_tokens();
        first = range.end;
        let entropies = said.entropies.get(range.clone()).unwrap_or_default().to_vec();
        (index, Seen { log_probs: said.values[range].to_vec(), entropies })
    };
    members.iter().map(one).collect()
}

/// Sequences as they stand in the data, whatever pass they were in.
fn in_order(mut seen: Placed) -> Vec<Seen> {
    seen.sort_by_key(|(index, _)| *index);
    seen.into_iter().map(|(_, seen)| seen).collect()
}

/// The objective's answer about sequences that it looks at together.
fn answer(judge: &NearJudge, seen: &[Prediction]) -> Vec<Slopes> {
    let answers = judge(seen);
    for (slopes, prediction) in answers.iter().zip(seen) {
        let (tokens, entropies) = (prediction.log_probs.len(), slopes.entropies.len());
        assert_eq!(slopes.log_probs.len(), tokens, "an objective answers with one derivative per trained token");
        assert!(entropies == 0 || entropies == prediction.entropies.len(), "derivatives by entropies it was not given");
    }
    answers
}

/// All sequences of a pass as one.
fn total(slopes: Vec<Slopes>) -> Slopes {
    let mut total = Slopes::default();
    for one in slopes {
        total.loss += one.loss;
        total.log_probs.extend(one.log_probs);
        total.entropies.extend(one.entropies);
        add(&mut total.metrics, one.metrics);
    }
    total
}

fn add(sums: &mut BTreeMap<&'static str, f64>, more: BTreeMap<&'static str, f64>) {
    more.into_iter().for_each(|(name, value)| *sums.entry(name).or_default() += value);
}

impl Gradients {
    /// All numbers, in the order of the policy's trained weights. Copies them from the GPU if that is where they are.
    pub fn values(&self) -> Result<Cow<'_, [f32]>> {
        Ok(match &self.sum {
            Sum::Cpu(values) => Cow::Borrowed(values),
            Sum::Gpu(gradient) => Cow::Owned(gradient.read()?),
        })
    }

    /// Where they are.
    pub(crate) fn sum(&self) -> &Sum {
        &self.sum
    }

    /// Euclidean norm over all parameters.
    pub fn norm(&self) -> Result<f64> {
        Ok(gradient_norm(&self.values()?))
    }
}
