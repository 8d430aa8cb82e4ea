//! From sequences to tensors: the one place where tokens are padded and gathered.

use candle_core::{Device, Tensor};

use crate::error::Result;
use crate::renderer::Rendered;

/// One sequence to learn from. What a loss knows of it beyond the policy's own view, the loss brings along.
#[derive(Clone, Debug, PartialEq)]
pub struct Datum {
    /// Token ids.
    pub tokens: Vec<u32>,
    /// True on the tokens whose probability the loss looks at; never the first, which has no past. Of a reward model, the
    /// tokens at which it is asked.
    pub trained: Vec<bool>,
}

impl From<Rendered> for Datum {
    fn from(Rendered { tokens, trained }: Rendered) -> Self {
        Self { tokens, trained }
    }
}

impl Datum {
    /// Number of tokens that the loss looks at.
    pub fn trained_tokens(&self) -> usize {
        self.targets().count()
    }

    fn targets(&self) -> impl Iterator<Item = usize> {
        (1..self.tokens.len()).filter(|&at| self.trained[at])
    }
}

/// Some data as tensors. B sequences, padded on the right to L; N trained tokens in all.
pub(crate) struct MicroBatch {
    /// Token ids (B, L).
    pub(crate) ids: Tensor,
    /// Where, flat over `ids`, each trained token is predicted: one place before it (N).
    pub(crate) places: Tensor,
    /// Where each trained token itself is: what a reward model has seen when it is asked (N).
    pub(crate) ends: Tensor,
    /// The trained tokens (N).
    pub(crate) targets: Tensor,
}

impl MicroBatch {
    /// Pads and gathers `data`; `None` when there is nothing to learn from.
    pub(crate) fn new(data: &[Datum]) -> Result<Option<Self>> {
        let longest = data.iter().map(|datum| datum.tokens.len()).max().unwrap_or(0);
        let mut ids = vec![0u32; data.len() * longest];
        let (mut places, mut ends, mut targets) = (vec![], vec![], vec![]);
        for (row, datum) in data.iter().enumerate() {
            ids[row * longest..][..datum.tokens.len()].copy_from_slice(&datum.tokens);
            for at in datum.targets() {
                places.push((row * longest + at - 1) as u32);
                ends.push((row * longest + at) as u32);
                targets.push(datum.tokens[at]);
            }
        }
        if targets.is_empty() {
            return Ok(None);
        }
        let count = targets.len();
        Ok(Some(Self {
            ids: Tensor::from_vec(ids, (data.len(), longest), &Device::Cpu)?,
            places: Tensor::from_vec(places, count, &Device::Cpu)?,
            ends: Tensor::from_vec(ends, count, &Device::Cpu)?,
            targets: Tensor::from_vec(targets, count, &Device::Cpu)?,
        }))
    }
}
