//! From sequences to what goes through a model at once: all their tokens in one row, without padding.

use std::ops::Range;

use crate::model::Head;
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

/// Some data as one row of T tokens, of which N are looked at. Each sequence sees itself only.
#[derive(Debug, Default)]
pub(crate) struct MicroBatch {
    /// Token ids (T).
    pub(crate) ids: Vec<u32>,
    /// Where in its sequence each token stands (T).
    pub(crate) positions: Vec<u32>,
    /// The tokens of each sequence.
    pub(crate) sequences: Vec<Range<usize>>,
    /// Where the model is asked (N, ascending): one place before each trained token, or, of a reward model, at it.
    pub(crate) places: Vec<usize>,
    /// The trained tokens (N).
    pub(crate) targets: Vec<u32>,
}

impl MicroBatch {
    /// Lays these sequences of `data` out for a model with this head.
    pub(crate) fn new(data: &[Datum], members: &[usize], head: Head) -> Self {
        let mut batch = Self::default();
        for datum in members.iter().map(|&index| &data[index]) {
            let first = batch.ids.len();
            batch.ids.extend(&datum.tokens);
            batch.positions.extend(0..datum.tokens.len() as u32);
            batch.sequences.push(first..batch.ids.len());
            for at in datum.targets() {
                batch.places.push(if head == Head::Tokens { first + at - 1 } else { first + at });
                batch.targets.push(datum.tokens[at]);
            }
        }
        batch
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sequences_stand_in_one_row_and_are_asked_where_the_head_wants() {
        let datum = |tokens: &[u32], trained: &[u8]| Datum {
            tokens: tokens.to_vec(),
            trained: trained.iter().map(|&is| is == 1).collect(),
        };
        let data = [datum(&[5, 6, 7], &[1, 0, 1]), datum(&[], &[]), datum(&[8, 9], &[0, 1])];
        let batch = MicroBatch::new(&data, &[2, 1, 0], Head::Tokens);
        assert_eq!(batch.ids, [8, 9, 5, 6, 7]);
        assert_eq!(batch.positions, [0, 1, 0, 1, 2]);
        assert_eq!(batch.sequences, [0..2, 2..2, 2..5]);
        assert_eq!((batch.places, batch.targets), (vec![0, 3], vec![9, 7]));
        assert_eq!(MicroBatch::new(&data, &[2, 1, 0], Head::Score).places, [1, 4]);
    }
}
