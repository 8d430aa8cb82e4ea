//! Losses: each takes the policy's log-probabilities of the trained tokens (N) and gives one number per token (N), to be
//! minimised. The sum over all tokens of a batch is divided by their number, once for the whole batch, so that how a
//! batch is cut into passes never changes its gradient.

use candle_core::{Result, Tensor};
use serde::{Deserialize, Serialize};

use crate::batch::MicroBatch;

/// The loss of a reinforcement learning step, under tinker's names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LossFn {
    /// `-(p / q) A`, p the policy's and q the sampler's probability (tinker).
    ImportanceSampling,
    /// `-A log p`: the plain policy gradient (Williams 1992; nanochat).
    Reinforce,
}

impl LossFn {
    /// The loss of each token.
    pub fn per_token(self, log_probs: &Tensor, batch: &MicroBatch) -> Result<Tensor> {
        match self {
            Self::ImportanceSampling => importance_sampling(log_probs, &batch.sampled_log_probs, &batch.advantages),
            Self::Reinforce => reinforce(log_probs, &batch.advantages),
        }
    }
}

/// Token negative log-likelihood: `-log p`.
pub fn nll(log_probs: &Tensor) -> Result<Tensor> {
    log_probs.neg()
}

fn importance_sampling(log_probs: &Tensor, sampled_log_probs: &Tensor, advantages: &Tensor) -> Result<Tensor> {
    let ratio = (log_probs - sampled_log_probs)?.exp()?;
    (ratio * advantages)?.neg()
}

fn reinforce(log_probs: &Tensor, advantages: &Tensor) -> Result<Tensor> {
    (log_probs * advantages)?.neg()
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{Device, Var};

    /// Loss per token and its gradient by log p, for log p = [-1, -2], log q = [-1.5, -2], A = [2, -1].
    #[track_caller]
    fn check(loss: impl Fn(&Tensor, &Tensor, &Tensor) -> Result<Tensor>, losses: [f32; 2], gradient: [f32; 2]) {
        let log_probs = Var::new(&[-1f32, -2.0], &Device::Cpu).unwrap();
        let sampled = Tensor::new(&[-1.5f32, -2.0], &Device::Cpu).unwrap();
        let advantages = Tensor::new(&[2f32, -1.0], &Device::Cpu).unwrap();
        let out = loss(&log_probs, &sampled, &advantages).unwrap();
        let close = |got: Vec<f32>, want: [f32; 2]| {
            assert!(got.iter().zip(want).all(|(g, w)| (g - w).abs() < 1e-5), "{got:?}, expected {want:?}");
        };
        close(out.to_vec1().unwrap(), losses);
        let gradients = out.sum_all().unwrap().backward().unwrap();
        close(gradients.get(&log_probs).unwrap().to_vec1().unwrap(), gradient);
    }

    #[test]
    fn formulas() {
        // e^0.5 = 1.648721; d/dlogp of -r A is -r A again.
        check(importance_sampling, [-3.297_443, 1.0], [-3.297_443, 1.0]);
        check(|p, _, a| reinforce(p, a), [2.0, -2.0], [-2.0, 1.0]);
        check(|p, _, _| nll(p), [1.0, 2.0], [-1.0, -1.0]);
    }
}
