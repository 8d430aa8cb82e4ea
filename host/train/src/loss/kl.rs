//! Estimates of the divergence from a reference, from the log-probabilities p (policy) and f (reference) of one sampled
//! token, with d = p - f (Schulman 2020, "Approximating KL divergence").

use serde::{Deserialize, Serialize};

/// How the divergence is estimated, by its usual names (verl's `kl`, `mse`, `low_var_kl`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KlEstimator {
    /// `d`: unbiased, of high variance, may be negative.
    K1,
    /// `d^2 / 2`: biased, of low variance.
    K2,
    /// `exp(-d) + d - 1`: unbiased and never negative (GRPO).
    K3,
}

impl KlEstimator {
    /// The estimate.
    pub(crate) fn value(self, p: f32, f: f32) -> f64 {
        let d = f64::from(p) - f64::from(f);
        match self {
            Self::K1 => d,
            Self::K2 => 0.5 * d * d,
            Self::K3 => (-d).exp_m1() + d,
        }
    }

    /// Its derivative by p.
    pub(super) fn slope(self, p: f32, f: f32) -> f64 {
        let d = f64::from(p) - f64::from(f);
        match self {
            Self::K1 => 1.0,
            Self::K2 => d,
            Self::K3 => -(-d).exp_m1(),
        }
    }
}
