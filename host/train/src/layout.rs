//! How a batch goes through the model: which sequences share a pass. Memory and time, never the result (beyond rounding).

use crate::batch::Datum;

/// How sequences are cut into passes. A number of sequences is short for [`Layout::Sequences`]. Nothing is padded either way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// So many sequences in a pass, however long they are; 0 means all in one pass.
    Sequences(usize),
    /// Rows of several sequences, as many as fit without cutting any: passes of about equal size.
    Packed {
        /// Rows in a pass; 0 means all in one pass.
        rows: usize,
        /// Tokens in a row; only a sequence that is longer by itself makes a longer one.
        length: usize,
    },
}

impl From<usize> for Layout {
    fn from(micro_batch_size: usize) -> Self {
        Self::Sequences(micro_batch_size)
    }
}

/// The numbers of the sequences of a pass, or of a row, in their order in it.
pub(crate) type Members = Vec<usize>;

impl Layout {
    /// The passes that cover `data`. Every `together` neighbours are in one pass.
    pub(crate) fn passes(self, data: &[Datum], together: usize) -> Vec<Members> {
        assert!(data.len().is_multiple_of(together), "every sequence has its neighbours");
        let (size, rows): (usize, Vec<Members>) = match self {
            Self::Sequences(size) => (size, (0..data.len()).map(|index| vec![index]).collect()),
            Self::Packed { rows, length } => {
                assert!(together == 1, "neighbours may come into different rows");
                (rows, first_fit_decreasing(data, length))
            }
        };
        let size = if size == 0 { rows.len() } else { size };
        rows.chunks(size.next_multiple_of(together).max(together)).map(<[Members]>::concat).collect()
    }
}

/// Longest first, each into the first row with room for it: at most 11/9 of the rows that are needed (Johnson 1973).
fn first_fit_decreasing(data: &[Datum], length: usize) -> Vec<Members> {
    let mut order: Vec<usize> = (0..data.len()).collect();
    order.sort_by_key(|&index| std::cmp::Reverse(data[index].tokens.len()));
    let mut rows: Vec<(usize, Members)> = vec![];
    for index in order {
        let tokens = data[index].tokens.len();
        match rows.iter_mut().find(|(filled, _)| filled + tokens <= length) {
            Some((filled, row)) => {
                *filled += tokens;
                row.push(index);
            }
            None => rows.push((tokens, vec![index])),
        }
    }
    rows.into_iter().map(|(_, row)| row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lengths of sequences, the layout, how many belong together: and the passes.
    #[track_caller]
    fn check(lengths: &[usize], layout: Layout, together: usize, expected: &[&[usize]]) {
        let datum = |&length: &usize| Datum { tokens: vec![0; length], trained: vec![true; length] };
        let data: Vec<Datum> = lengths.iter().map(datum).collect();
        assert_eq!(layout.passes(&data, together), expected);
    }

    #[test]
    fn sequences_find_their_rows() {
        check(&[1, 9, 5], 2.into(), 1, &[&[0, 1], &[2]]);
        check(&[1, 9, 5], 0.into(), 1, &[&[0, 1, 2]]);
        check(&[1, 2, 3, 4], 1.into(), 2, &[&[0, 1], &[2, 3]]);
        check(&[2, 6, 4, 3, 5], Layout::Packed { rows: 0, length: 10 }, 1, &[&[1, 2, 4, 3, 0]]);
        check(&[2, 6, 4, 3, 5], Layout::Packed { rows: 1, length: 8 }, 1, &[&[1, 0], &[4, 3], &[2]]);
        check(&[12, 1], Layout::Packed { rows: 0, length: 10 }, 1, &[&[0, 1]]);
        check(&[], Layout::Packed { rows: 2, length: 10 }, 1, &[]);
    }
}
