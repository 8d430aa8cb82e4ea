//! From sequences to tensors: the one place where tokens are padded and gathered.

use candle_core::{Device, Tensor};

use crate::error::Result;
use crate::layout::Row;
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

/// Some data as tensors. B rows, each one sequence or several, padded on the right to L; N trained tokens in all.
pub(crate) struct MicroBatch {
    /// Token ids (B, L).
    pub(crate) ids: Tensor,
    /// What the decoder must know where rows hold several sequences.
    pub(crate) packing: Option<Packing>,
    /// Where, flat over `ids`, each trained token is predicted: one place before it (N).
    pub(crate) places: Tensor,
    /// Where each trained token itself is: what a reward model has seen when it is asked (N).
    pub(crate) ends: Tensor,
    /// The trained tokens (N).
    pub(crate) targets: Tensor,
}

/// Of each token (B x L, row by row), where it stands in its own sequence, and which of its row that is. Padding is of
/// another.
pub(crate) struct Packing {
    pub(crate) positions: Vec<u32>,
    pub(crate) sequences: Vec<u32>,
}

impl MicroBatch {
    /// Lays the sequences of `data` out in these rows and gathers them; `None` when there is nothing to learn from.
    pub(crate) fn new(data: &[Datum], rows: &[Row]) -> Result<Option<Self>> {
        let length = |row: &Row| row.iter().map(|&index| data[index].tokens.len()).sum();
        let longest: usize = rows.iter().map(length).max().unwrap_or(0);
        let mut ids = vec![0u32; rows.len() * longest];
        let mut packing = Packing { positions: vec![0; ids.len()], sequences: vec![u32::MAX; ids.len()] };
        let (mut places, mut ends, mut targets) = (vec![], vec![], vec![]);
        for (row, members) in rows.iter().enumerate() {
            let mut first = row * longest;
            for (sequence, datum) in members.iter().map(|&index| &data[index]).enumerate() {
                let range = first..first + datum.tokens.len();
                ids[range.clone()].copy_from_slice(&datum.tokens);
                packing.sequences[range.clone()].fill(sequence as u32);
                packing.positions[range.clone()].iter_mut().zip(0..).for_each(|(position, at)| *position = at);
                for at in datum.targets() {
                    places.push((first + at - 1) as u32);
                    ends.push((first + at) as u32);
                    targets.push(datum.tokens[at]);
                }
                first = range.end;
            }
        }
        if targets.is_empty() {
            return Ok(None);
        }
        let count = targets.len();
        Ok(Some(Self {
            ids: Tensor::from_vec(ids, (rows.len(), longest), &Device::Cpu)?,
            packing: rows.iter().any(|row| row.len() > 1).then_some(packing),
            places: Tensor::from_vec(places, count, &Device::Cpu)?,
            ends: Tensor::from_vec(ends, count, &Device::Cpu)?,
            targets: Tensor::from_vec(targets, count, &Device::Cpu)?,
        }))
    }
}
