//! One gradient of a whole batch, computed in passes of bounded size.
//!
//! Every pass divides by the number of trained tokens of the *whole* batch, and the passes are added in order: their
//! size decides memory, never the result (beyond rounding).

use candle_core::Tensor;

use crate::batch::{Datum, MicroBatch};
use crate::error::{Error, Result};
use crate::model::Policy;

/// The gradient of every parameter, in the order of [`crate::Weights::iter`].
pub struct Gradients {
    values: Vec<Vec<f32>>,
    /// Mean loss of the batch's trained tokens.
    pub loss: f64,
    /// The policy's log-probability of every trained token, in the order of the data.
    pub log_probs: Vec<f32>,
}

/// The gradient of the mean of `loss` over the trained tokens of `data`. `micro_batch_size` sequences go through the
/// model at a time; 0 means all. `loss` maps the log-probabilities (N) of a pass to losses (N).
pub fn gradients(
    policy: &Policy,
    data: &[Datum],
    micro_batch_size: usize,
    loss: impl Fn(&Tensor, &MicroBatch) -> candle_core::Result<Tensor>,
) -> Result<Gradients> {
    let tokens: usize = data.iter().map(Datum::trained_tokens).sum();
    let values = policy.weights().iter().map(|(_, var)| vec![0.0; var.elem_count()]).collect();
    let mut total = Gradients { values, loss: 0.0, log_probs: Vec::with_capacity(tokens) };
    for chunk in passes(data, micro_batch_size) {
        let Some(batch) = MicroBatch::new(chunk)? else { continue };
        let log_probs = policy.log_probs(&batch.ids, &batch.places, &batch.targets)?;
        let share = (loss(&log_probs, &batch)?.sum_all()? / tokens as f64)?;
        total.add(policy, &share)?;
        total.loss += f64::from(share.to_scalar::<f32>()?);
        total.log_probs.extend(log_probs.to_vec1::<f32>()?);
    }
    Ok(total)
}

/// Mean loss of the trained tokens of `data` under negative log-likelihood, without a gradient.
pub fn mean_nll(policy: &Policy, data: &[Datum], micro_batch_size: usize) -> Result<f64> {
    let tokens: usize = data.iter().map(Datum::trained_tokens).sum();
    let mut sum = 0.0;
    for chunk in passes(data, micro_batch_size) {
        let Some(batch) = MicroBatch::new(chunk)? else { continue };
        sum -= f64::from(policy.log_probs(&batch.ids, &batch.places, &batch.targets)?.sum_all()?.to_scalar::<f32>()?);
    }
    Ok(sum / tokens as f64)
}

fn passes(data: &[Datum], micro_batch_size: usize) -> std::slice::Chunks<'_, Datum> {
    let size = if micro_batch_size == 0 { data.len() } else { micro_batch_size };
    data.chunks(size.max(1))
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

    fn add(&mut self, policy: &Policy, loss: &Tensor) -> Result<()> {
        let found = loss.backward()?;
        for ((name, var), sum) in policy.weights().iter().zip(&mut self.values) {
            // candle's fused operations drop the graph without a word: a missing gradient is never "zero".
            let gradient =
                found.get(var).ok_or_else(|| Error::Diverged(format!("parameter {name} has no gradient")))?;
            let values: Vec<f32> = gradient.flatten_all()?.to_vec1()?;
            sum.iter_mut().zip(values).for_each(|(sum, value)| *sum += value);
        }
        Ok(())
    }
}
