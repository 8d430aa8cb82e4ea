//! The policy losses, token by token. p is the policy's log-probability of a sampled token, q the sampler's, A the
//! token's advantage; r = exp(p - q). Each gives the loss to be minimised and its derivative by p.
//!
//! All are homogeneous in A, so the weight that a token has in the batch's mean arrives inside A. Arithmetic is in f32,
//! the precision of the log-probabilities.

/// The bounds that a clipping loss keeps r in.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Clip {
    /// Least r.
    pub low: f32,
    /// Largest r.
    pub high: f32,
    /// With A < 0 the loss is at most `-c A`.
    pub dual: Option<f32>,
}

/// One token's loss.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct TokenLoss {
    pub(super) loss: f32,
    /// Derivative of the loss by the policy's log-probability.
    pub(super) slope: f32,
    /// Whether a bound on the ratio was in force.
    pub(super) clipped: bool,
}

/// `-A p` (Williams 1992; nanochat).
pub(super) fn reinforce(p: f32, a: f32) -> TokenLoss {
    TokenLoss { loss: -a * p, slope: -a, clipped: false }
}

/// `-r A` (tinker; the off-policy gradient of Degris et al. 2012, per token).
pub(super) fn importance_sampling(p: f32, q: f32, a: f32) -> TokenLoss {
    let loss = -a * (p - q).exp();
    TokenLoss { loss, slope: loss, clipped: false }
}

/// `max(-r A, -clip(r) A)` (Schulman et al. 2017, arXiv 1707.06347), with bounds of their own below and above 1 (DAPO,
/// arXiv 2503.14476) and, for A < 0, at most `-c A` (dual clip, Ye et al. 2020, arXiv 1912.09729). It is given log r.
pub(super) fn ppo(log_ratio: f32, a: f32, clip: Clip) -> TokenLoss {
    let ratio = log_ratio.exp();
    let (free, bounded) = (-a * ratio, -a * ratio.clamp(clip.low, clip.high));
    let loss = free.max(bounded);
    match clip.dual.map(|c| -a * c).filter(|&most| a < 0.0 && loss > most) {
        Some(most) => TokenLoss { loss: most, slope: 0.0, clipped: true },
        None if bounded > free => TokenLoss { loss, slope: 0.0, clipped: true },
        None => TokenLoss { loss, slope: free, clipped: false },
    }
}

/// `-sg(clip(r)) A p`: the bound weakens a token and never silences it (CISPO, MiniMax-M1, arXiv 2506.13585).
pub(super) fn cispo(p: f32, q: f32, a: f32, clip: Clip) -> TokenLoss {
    let ratio = (p - q).exp();
    let bounded = ratio.clamp(clip.low, clip.high);
    TokenLoss { loss: -a * bounded * p, slope: -a * bounded, clipped: bounded != ratio }
}

/// The logarithm of GSPO's ratio, one for a whole sequence: the mean of `p - q` over its tokens (arXiv 2507.18071). Each
/// token's loss is [`ppo`] of it, in the paper's token form `sg(s) exp(p - sg(p))`.
pub(super) fn gspo_log_ratio(p: &[f32], q: &[f32]) -> f32 {
    let sum: f64 = p.iter().zip(q).map(|(&p, &q)| f64::from(p) - f64::from(q)).sum();
    (sum / p.len() as f64) as f32
}
