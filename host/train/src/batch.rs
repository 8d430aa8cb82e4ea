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

    fn targets(&self) -> impl DoubleEndedIterator<Item = usize> {
        (1..self.tokens.len()).filter(|&at| self.trained[at])
    }
}

/// Some data as one row of T tokens, of which N are looked at. Each sequence sees itself only.
///
/// What neighbours begin with alike stands there once, as far as nobody is asked there: the prompt of a group's samples. A
/// sequence ends where the model is asked about it last: what stands behind has no influence.
#[derive(Debug, Default)]
pub(crate) struct MicroBatch {
    /// Token ids (T).
    pub(crate) ids: Vec<u32>,
    /// Where in its sequence each token stands (T).
    pub(crate) positions: Vec<u32>,
    /// The row, cut where what is seen changes.
    pub(crate) segments: Vec<Segment>,
    /// Where the model is asked (N, ascending): one place before each trained token, or, of a reward model, at it.
    pub(crate) places: Vec<usize>,
    /// The trained tokens (N).
    pub(crate) targets: Vec<u32>,
}

/// Tokens of a sequence that stand together, and see what comes before them in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Segment {
    /// Where it stands.
    pub(crate) rows: Range<usize>,
    /// Where the beginning of its sequence stands, if others share that. It sees all of it.
    pub(crate) before: Range<usize>,
    /// Where the last token stands that sees it: its own last, or that of the sequences it begins, which follow it.
    pub(crate) seen_until: usize,
}

impl Segment {
    /// A whole sequence that shares nothing.
    pub(crate) fn alone(rows: Range<usize>) -> Self {
        Self { before: 0..0, seen_until: rows.end, rows }
    }
}

/// Tokens that neighbours must have in common before they share them: attention to what stands elsewhere has a price.
const WORTH_SHARING: usize = 8;

impl MicroBatch {
    /// Lays these sequences of `data` out for a model with this head.
    pub(crate) fn new(data: &[Datum], members: &[usize], head: Head) -> Self {
        let mut batch = Self::default();
        let sequences: Vec<Asked> = members.iter().filter_map(|&index| Asked::new(&data[index], head)).collect();
        let mut rest = &sequences[..];
        while let Some(first) = rest.first() {
            let (alike, shared) = beginning(rest);
            let before = if shared > 0 { batch.lay(&first.tokens[..shared], 0..0) } else { 0..0 };
            for sequence in &rest[..alike] {
                let rows = batch.lay(&sequence.tokens[shared..], before.clone());
                batch.places.extend(sequence.places().map(|at| rows.start + at - shared));
                batch.targets.extend(sequence.datum.targets().map(|at| sequence.datum.tokens[at]));
            }
            if shared > 0 {
                let beginning = batch.segments.len() - alike - 1;
                batch.segments[beginning].seen_until = batch.ids.len();
            }
            rest = &rest[alike..];
        }
        batch
    }

    /// Appends a segment, and says where it stands.
    fn lay(&mut self, tokens: &[u32], before: Range<usize>) -> Range<usize> {
        let rows = self.ids.len()..self.ids.len() + tokens.len();
        self.ids.extend(tokens);
        self.positions.extend(before.len() as u32..(before.len() + tokens.len()) as u32);
        self.segments.push(Segment { before, ..Segment::alone(rows.clone()) });
        rows
    }
}

/// A sequence as far as the model is asked about it.
struct Asked<'a> {
    datum: &'a Datum,
    tokens: &'a [u32],
    /// How far a place lies before its token.
    lag: usize,
    first: usize,
}

impl<'a> Asked<'a> {
    fn new(datum: &'a Datum, head: Head) -> Option<Self> {
        let lag = usize::from(head == Head::Tokens);
        let (first, last) = (datum.targets().next()? - lag, datum.targets().next_back()? - lag);
        Some(Self { datum, tokens: &datum.tokens[..=last], lag, first })
    }

    fn places(&self) -> impl Iterator<Item = usize> {
        self.datum.targets().map(|at| at - self.lag)
    }
}

/// How many of the first sequences had better share what they begin with, and how many tokens that is.
fn beginning(sequences: &[Asked]) -> (usize, usize) {
    let [first, others @ ..] = sequences else { return (0, 0) };
    let (mut alike, mut shared) = (1, first.first);
    for other in others {
        let tokens = first.tokens[..shared].iter().zip(&other.tokens[..other.first]);
        let common = tokens.take_while(|(mine, theirs)| mine == theirs).count();
        // One more sequence, fewer tokens of each: only as long as that saves more.
        if common < WORTH_SHARING || common * alike <= shared * (alike - 1) {
            break;
        }
        (alike, shared) = (alike + 1, common);
    }
    if alike == 1 { (1, 0) } else { (alike, shared) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn datum(tokens: &[u32], trained: &[u8]) -> Datum {
        Datum { tokens: tokens.to_vec(), trained: trained.iter().map(|&is| is == 1).collect() }
    }

    #[test]
    fn sequences_stand_in_one_row_and_are_asked_where_the_head_wants() {
        let data = [datum(&[5, 6, 7, 4], &[1, 0, 1, 0]), datum(&[], &[]), datum(&[8, 9], &[0, 1]), datum(&[3], &[0])];
        let batch = MicroBatch::new(&data, &[2, 1, 3, 0], Head::Tokens);
        assert_eq!(batch.ids, [8, 5, 6]);
        assert_eq!(batch.positions, [0, 0, 1]);
        assert_eq!(batch.segments, [Segment::alone(0..1), Segment::alone(1..3)]);
        assert_eq!((batch.places, batch.targets), (vec![0, 2], vec![9, 7]));
        let batch = MicroBatch::new(&data, &[2, 1, 3, 0], Head::Score);
        assert_eq!((batch.ids, batch.places), (vec![8, 9, 5, 6, 7], vec![1, 4]));
    }

    /// Two samples of a prompt of ten tokens, of which the last is asked, and another sequence.
    #[test]
    fn a_prompt_of_several_samples_stands_there_once() {
        let prompt: Vec<u32> = (20..30).collect();
        let sample = |said: &[u32]| {
            let trained = [vec![0; 10], vec![1; said.len()]].concat();
            datum(&[&prompt, said].concat(), &trained)
        };
        let data = [sample(&[1, 2, 3]), sample(&[4]), datum(&[20, 21, 5], &[0, 0, 1])];
        let batch = MicroBatch::new(&data, &[0, 1, 2], Head::Tokens);
        assert_eq!(batch.ids, [20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 1, 2, 29, 20, 21]);
        assert_eq!(batch.positions, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 9, 0, 1]);
        let shared = Segment { seen_until: 13, ..Segment::alone(0..9) };
        let after = |rows: Range<usize>| Segment { before: 0..9, ..Segment::alone(rows) };
        assert_eq!(batch.segments, [shared, after(9..12), after(12..13), Segment::alone(13..15)]);
        assert_eq!((batch.places, batch.targets), (vec![9, 10, 11, 12, 14], vec![1, 2, 3, 4, 5]));
    }

    /// Lengths of what each sequence has in common with the first: how many share how much.
    #[test]
    fn as_many_share_as_save_the_most() {
        let check = |common: &[u32], expected| {
            let first: Vec<u32> = (0..40).collect();
            let one = |&common: &u32| {
                let tokens: Vec<u32> = first.iter().map(|&at| if at < common { at } else { 99 + common }).collect();
                datum(&tokens, &[vec![0; 39], vec![1]].concat())
            };
            let data: Vec<Datum> = common.iter().map(one).collect();
            let asked: Vec<Asked> = data.iter().filter_map(|datum| Asked::new(datum, Head::Tokens)).collect();
            assert_eq!(beginning(&asked), expected, "{common:?}");
        };
        check(&[40], (1, 0));
        check(&[40, 7], (1, 0));
        check(&[40, 8], (2, 8));
        check(&[40, 40, 40], (3, 38));
        check(&[40, 30, 10], (2, 30));
        check(&[40, 20, 15, 9], (3, 15));
    }
}
