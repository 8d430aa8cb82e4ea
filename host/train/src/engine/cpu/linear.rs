//! Projections: y = x W^T (+ b) (+ s x A^T B^T on some columns), their gradient by x, and the work that their weights'
//! gradients are.
//!
//! dx = dy W (+ s dy B A); dW = dy^T x; db = sum dy; dA = s B^T dy^T x; dB = s dy^T x A^T. A weight's gradient sums over
//! all tokens, so it is cut by its own rows, each part a job of its own: the sum's order is the same on any machine.

use std::ops::Range;

use rayon::prelude::*;

use super::Numbers;
use super::matrix::{Into, View, ViewMut, product, scaled_product};
use super::scratch::scratch;
use crate::engine::{LowRank, Projection, Spec};

/// Numbers of a gradient that one job computes, about; enough to keep the product busy, few enough for many cores.
const JOB: usize = 1 << 16;

/// Tokens at a time: enough to pack a matrix for, few enough to stay in a cache.
const PART: usize = 256;

/// y = x W^T ..., or y += ...
pub(super) fn project(y: &mut ViewMut, into: Into, x: View, p: &Projection, weights: Numbers) {
    product(y, into, x, View::of(weights.at(&p.weight), p.width).t());
    if let Some(bias) = &p.bias {
        let bias = weights.at(bias);
        for row in 0..y.height() {
            y.row(row).iter_mut().zip(bias).for_each(|(y, b)| *y += b);
        }
    }
    for low in &p.adapters {
        let (a, b) = low.parts(p, weights);
        scratch(y.height() * low.rank, |narrow| {
            product(&mut ViewMut::of(narrow, low.rank), Into::Fresh, x, a.t());
            let mut columns = y.columns(low.columns.clone());
            scaled_product(&mut columns, Into::Sum, low.scale, View::of(narrow, low.rank), b.t());
        });
    }
}

/// dx = dy W ..., overwriting.
pub(super) fn project_back(dx: &mut ViewMut, dy: View, p: &Projection, weights: Numbers) {
    product(dx, Into::Fresh, dy, View::of(weights.at(&p.weight), p.width));
    for low in &p.adapters {
        let ((a, b), part) = (low.parts(p, weights), dy.columns(low.columns.clone()));
        scratch(dx.height() * low.rank, |narrow| {
            scaled_product(&mut ViewMut::of(narrow, low.rank), Into::Fresh, low.scale, part, b);
            product(dx, Into::Sum, View::of(narrow, low.rank), a);
        });
    }
}

impl LowRank {
    /// A (rank, width) and B (columns, rank).
    fn parts<'a>(&self, p: &Projection, weights: Numbers<'a>) -> (View<'a>, View<'a>) {
        let (a, b) = (&weights.adapter[self.a.clone()], &weights.adapter[self.b.clone()]);
        (View::of(a, p.width), View::of(b, self.rank))
    }
}

/// Something to add to a part of the gradient.
pub(super) struct Share<'a> {
    range: Range<usize>,
    work: Work<'a>,
}

enum Work<'a> {
    /// left^T right, a matrix of so many columns.
    Product { left: View<'a>, right: View<'a>, columns: usize },
    /// The sum of the rows.
    Rows(View<'a>),
    /// (s dy B)^T x: A's.
    Narrow { dy: View<'a>, b: View<'a>, x: View<'a>, low: &'a LowRank, width: usize },
    /// dy^T (s x A^T): B's.
    Wide { dy: View<'a>, x: View<'a>, a: View<'a>, low: &'a LowRank },
}

/// What the trained weights of a projection get from dy (T, out) and x (T, width).
pub(super) fn shares<'a>(
    spec: &Spec,
    p: &'a Projection,
    weights: Numbers<'a>,
    dy: View<'a>,
    x: View<'a>,
) -> Vec<Share<'a>> {
    let mut shares = vec![];
    if let Some(range) = spec.trained(&p.weight) {
        shares.push(Share { range, work: Work::Product { left: dy, right: x, columns: p.width } });
    }
    if let Some(range) = p.bias.as_ref().and_then(|bias| spec.trained(bias)) {
        shares.push(Share { range, work: Work::Rows(dy) });
    }
    for low in &p.adapters {
        let ((a, b), dy) = (low.parts(p, weights), dy.columns(low.columns.clone()));
        shares.push(Share { range: low.a.clone(), work: Work::Narrow { dy, b, x, low, width: p.width } });
        shares.push(Share { range: low.b.clone(), work: Work::Wide { dy, x, a, low } });
    }
    shares
}

/// Adds all shares to the gradient, on all cores.
pub(super) fn add(shares: Vec<Share>, gradient: &mut [f32]) {
    let ranges: Vec<Range<usize>> = shares.iter().map(|share| share.range.clone()).collect();
    let parts = carve(gradient, &ranges);
    let mut jobs: Vec<(ViewMut, Work)> =
        shares.into_iter().zip(parts).flat_map(|(share, part)| share.jobs(part)).collect();
    // The largest first, whoever is free takes the next: few jobs end at about the same time.
    jobs.sort_by_key(|(into, _)| std::cmp::Reverse(into.size()));
    jobs.into_iter().par_bridge().for_each(|(mut into, work)| work.add(&mut into));
}

impl<'a> Share<'a> {
    /// The share as pieces of about equal size.
    fn jobs<'g>(self, part: &'g mut [f32]) -> Vec<(ViewMut<'g>, Work<'a>)> {
        match self.work {
            Work::Product { left, right, columns } => {
                let rows = part.len() / columns;
                let rows = rows.div_ceil(part.len().div_ceil(JOB));
                let pieces = ViewMut::of(part, columns).chunk_rows(rows).into_iter();
                let piece = |(at, piece): (usize, ViewMut<'g>)| {
                    let left = left.columns(at * rows..at * rows + piece.height());
                    (piece, Work::Product { left, right, columns })
                };
                pieces.enumerate().map(piece).collect()
            }
            Work::Rows(_) => {
                let columns = part.len();
                vec![(ViewMut::of(part, columns), self.work)]
            }
            Work::Narrow { width, .. } => vec![(ViewMut::of(part, width), self.work)],
            Work::Wide { low, .. } => vec![(ViewMut::of(part, low.rank), self.work)],
        }
    }
}

impl Work<'_> {
    fn add(self, into: &mut ViewMut) {
        match self {
            Self::Product { left, right, .. } => product(into, Into::Sum, left.t(), right),
            Self::Rows(rows) => {
                for row in 0..rows.height() {
                    into.row(0).iter_mut().zip(rows.row(row)).for_each(|(sum, value)| *sum += value);
                }
            }
            Self::Narrow { dy, b, x, low, .. } => by_part(dy.height(), low, |at, narrow| {
                scaled_product(narrow, Into::Fresh, low.scale, dy.rows(at.clone()), b);
                let narrow = narrow.view();
                product(into, Into::Sum, narrow.t(), x.rows(at));
            }),
            Self::Wide { dy, x, a, low } => by_part(dy.height(), low, |at, narrow| {
                scaled_product(narrow, Into::Fresh, low.scale, x.rows(at.clone()), a.t());
                let narrow = narrow.view();
                product(into, Into::Sum, dy.rows(at).t(), narrow);
            }),
        }
    }
}

/// Some tokens at a time, with room for what an adapter makes of them.
fn by_part(tokens: usize, low: &LowRank, mut work: impl FnMut(Range<usize>, &mut ViewMut)) {
    scratch(PART.min(tokens) * low.rank, |narrow| {
        for start in (0..tokens).step_by(PART) {
            let at = start..tokens.min(start + PART);
            work(at.clone(), &mut ViewMut::of(&mut narrow[..at.len() * low.rank], low.rank));
        }
    });
}

/// Parts of a slice that do not overlap, in the order they are asked for.
pub(super) fn carve<'a>(whole: &'a mut [f32], ranges: &[Range<usize>]) -> Vec<&'a mut [f32]> {
    let mut order: Vec<usize> = (0..ranges.len()).collect();
    order.sort_by_key(|&index| ranges[index].start);
    let mut parts: Vec<(usize, &mut [f32])> = vec![];
    let (mut rest, mut done) = (whole, 0);
    for index in order {
        let Range { start, end } = ranges[index];
        assert!(start >= done, "parts of a gradient overlap at {start}");
        let (part, others) = rest.split_at_mut(start - done).1.split_at_mut(end - start);
        parts.push((index, part));
        (rest, done) = (others, end);
    }
    parts.sort_by_key(|(index, _)| *index);
    parts.into_iter().map(|(_, part)| part).collect()
}

/// W += s B A, for W (out, width), A (rank, width) and B (out, rank).
pub(crate) fn add_low_rank(weight: &mut [f32], a: &[f32], b: &[f32], rank: usize, scale: f32) {
    let width = a.len() / rank;
    scaled_product(&mut ViewMut::of(weight, width), Into::Sum, scale, View::of(b, rank), View::of(a, width));
}
