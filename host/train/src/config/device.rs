//! Where a run computes.

use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::model::Policy;

/// What models compute on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Device {
    /// The processor, in f32, on all cores.
    #[default]
    Cpu,
    /// The first NVIDIA GPU, in bf16 with f32 masters. The program must be built with `--features cuda`.
    Cuda,
}

impl Device {
    /// The policy where it is to compute.
    pub(crate) fn place(self, policy: Policy) -> Result<Policy> {
        match self {
            Self::Cpu => Ok(policy),
            Self::Cuda => policy.on_gpu(0),
        }
    }
}
