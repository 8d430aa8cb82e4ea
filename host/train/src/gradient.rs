//! One gradient of a whole batch, computed in passes of bounded size.
//!
//! Every pass divides by the number of trained tokens of the *whole* batch, and the passes are added in order: their
//! size decides memory, never the result (beyond rounding).

use candle_core::{Tensor, Var};

use crate::batch::{Datum, MicroBatch};
use crate::error::{Error, Result};
use crate::model::Policy;
use crate::parallel::for_each_in_order;

/// The gradient of every trained parameter, in the order of [`crate::Weights::iter`].
pub struct Gradients {
    values: Vec<Vec<f32>>,
    /// Mean loss of the batch's trained tokens.
    pub loss: f64,
    /// The policy's log-probability of every trained token, in the order of the data.
    pub log_probs: Vec<f32>,
}

/// The gradient of the mean of `loss` over the trained tokens of `data`. `micro_batch_size` sequences go through the
/// model at a time, on each core; 0 means all in one pass. `loss` maps the log-probabilities (N) of a pass to losses (N).
pub fn gradients(
    policy: &Policy,
    data: &[Datum],
    micro_batch_size: usize,
    loss: impl Fn(&Tensor, &MicroBatch) -> candle_core::Result<Tensor> + Sync,
) -> Result<Gradients> {
    let tokens: usize = data.iter().map(Datum::trained_tokens).sum();
    let one_pass = |data: &&[Datum]| -> Result<Option<Gradients>> {
        let Some(batch) = MicroBatch::new(data)? else { return Ok(None) };
        let log_probs = policy.log_probs(&batch.ids, &batch.places, &batch.targets)?;
        let share = (loss(&log_probs, &batch)?.sum_all()? / tokens as f64)?;
        let values = backward(policy, &share)?;
        Ok(Some(Gradients { values, loss: share.to_scalar::<f32>()?.into(), log_probs: log_probs.to_vec1()? }))
    };
    let values = policy.trainable().iter().map(|(_, var)| vec![0.0; var.elem_count()]).collect();
    let mut total = Ok(Gradients { values, loss: 0.0, log_probs: Vec::with_capacity(tokens) });
    for_each_in_order(&passes(data, micro_batch_size), one_pass, |pass| match (&mut total, pass) {
        (Ok(total), Ok(Some(pass))) => total.add(pass),
        (Ok(_), Err(error)) => total = Err(error),
        (Ok(_), Ok(None)) | (Err(_), _) => {}
    });
    total
}

/// Mean loss of the trained tokens of `data` under negative log-likelihood, without a gradient.
pub fn mean_nll(policy: &Policy, data: &[Datum], micro_batch_size: usize) -> Result<f64> {
    let tokens: usize = data.iter().map(Datum::trained_tokens).sum();
    let one_pass = |data: &&[Datum]| -> Result<f64> {
        let Some(batch) = MicroBatch::new(data)? else { return Ok(0.0) };
        let log_probs = policy.log_probs(&batch.ids, &batch.places, &batch.targets)?;
        Ok(-f64::from(log_probs.sum_all()?.to_scalar::<f32>()?))
    };
    let mut sums = vec![];
    for_each_in_order(&passes(data, micro_batch_size), one_pass, |sum| sums.push(sum));
    Ok(sums.into_iter().sum::<Result<f64>>()? / tokens as f64)
}

fn passes(data: &[Datum], micro_batch_size: usize) -> Vec<&[Datum]> {
    let size = if micro_batch_size == 0 { data.len() } else { micro_batch_size };
    data.chunks(size.max(1)).collect()
}

/// The gradient of a scalar by every trained parameter, in the weights' order.
fn backward(policy: &Policy, loss: &Tensor) -> Result<Vec<Vec<f32>>> {
    let found = loss.backward()?;
    let one = |(name, var): (&str, &Var)| {
        // candle's fused operations drop the graph without a word: a missing gradient is never "zero".
        let gradient = found.get(var).ok_or_else(|| Error::Diverged(format!("parameter {name} has no gradient")))?;
        Ok(gradient.flatten_all()?.to_vec1()?)
    };
    policy.trainable().iter().map(one).collect()
}

impl Gradients {
    /// Gradients in the weights' order.
    pub fn iter(&self) -> impl Iterator<Item = &[f32]> {
        self.values.iter().map(Vec::as_slice)
    }

    /// Euclidean norm over all parameters.
    pub fn norm(&self) -> f64 {
        let squares = self.values.iter().flatten().map(|&value| f64::from(value) * f64::from(value));
        squares.sum::<f64>().sqrt()
    }

    fn add(&mut self, pass: Gradients) {
        for (sum, values) in self.values.iter_mut().zip(pass.values) {
            sum.iter_mut().zip(values).for_each(|(sum, value)| *sum += value);
        }
        self.loss += pass.loss;
        self.log_probs.extend(pass.log_probs);
    }
}
