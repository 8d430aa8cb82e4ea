//! Queries and keys on their way to attention: each head normalised (Qwen3), then rotated by its position (Su et al. 2021,
//! in the half-split layout of Llama): with halves (a, b) and the angles of the position,
//! (a, b) -> (a cos - b sin, b cos + a sin).

use super::Numbers;
use super::lanes::dot3;
use super::norm::root;
use crate::engine::{LayerSpec, Spec};

/// The cosines and sines of every position up to some, one for each rotated pair.
#[derive(Debug, Default)]
pub(crate) struct Angles {
    cos: Vec<f32>,
    sin: Vec<f32>,
    half: usize,
}

impl Angles {
    /// Makes sure of positions 0 to `positions` - 1. Those that were there stay.
    pub(crate) fn reach(&mut self, frequencies: &[f32], positions: usize) {
        self.half = frequencies.len();
        for position in self.cos.len() / self.half..positions {
            let angles = frequencies.iter().map(|frequency| position as f32 * frequency);
            self.cos.extend(angles.clone().map(f32::cos));
            self.sin.extend(angles.map(f32::sin));
        }
    }

    #[inline(always)]
    fn at(&self, position: u32) -> (&[f32], &[f32]) {
        let range = position as usize * self.half..(position as usize + 1) * self.half;
        (&self.cos[range.clone()], &self.sin[range])
    }
}

/// The heads of a row, as they lie in it: queries, then keys.
#[derive(Clone, Copy)]
pub(super) struct Heads<'a> {
    pub(super) queries: usize,
    pub(super) keys: usize,
    pub(super) width: usize,
    /// The norms of a query's and a key's head, where there are any.
    pub(super) norms: Option<[&'a [f32]; 2]>,
    pub(super) eps: f32,
}

impl<'a> Heads<'a> {
    /// Those of a layer.
    pub(super) fn of(spec: &Spec, layer: &LayerSpec, weights: Numbers<'a>) -> Self {
        let Spec { heads: queries, key_heads: keys, head_dim: width, eps, .. } = *spec;
        let norms = layer.head_norms.as_ref().map(|[query, key]| [weights.at(query), weights.at(key)]);
        Self { queries, keys, width, norms, eps }
    }

    /// Width of what is rotated of a row.
    pub(super) fn rotated(&self) -> usize {
        (self.queries + self.keys) * self.width
    }

    /// Width of a row with its values.
    fn whole(&self) -> usize {
        (self.queries + 2 * self.keys) * self.width
    }

    #[inline(always)]
    fn norm(&self, head: usize) -> Option<&[f32]> {
        self.norms.map(|norms| norms[usize::from(head >= self.queries)])
    }
}

/// out (rows, (H + K) D) of qkv (rows, (H + 2K) D).
#[inline(always)]
pub(super) fn rotate(out: &mut [f32], qkv: &[f32], positions: &[u32], heads: Heads, angles: &Angles) {
    let rows = out.chunks_exact_mut(heads.rotated()).zip(qkv.chunks_exact(heads.whole()));
    for ((out, qkv), &position) in rows.zip(positions) {
        let (cos, sin) = angles.at(position);
        for head in 0..heads.queries + heads.keys {
            let at = head * heads.width..(head + 1) * heads.width;
            let (x, y) = (&qkv[at.clone()], &mut out[at]);
            match heads.norm(head) {
                Some(w) => turn_normed(y, x, w, root(x, heads.eps), cos, sin),
                None => turn(y, x, cos, sin),
            }
        }
    }
}

#[inline(always)]
fn turn(y: &mut [f32], x: &[f32], cos: &[f32], sin: &[f32]) {
    let half = cos.len();
    let ((a, b), (turned_a, turned_b)) = (x.split_at(half), y.split_at_mut(half));
    for i in 0..half {
        turned_a[i] = a[i] * cos[i] - b[i] * sin[i];
        turned_b[i] = b[i] * cos[i] + a[i] * sin[i];
    }
}

#[inline(always)]
fn turn_normed(y: &mut [f32], x: &[f32], w: &[f32], r: f32, cos: &[f32], sin: &[f32]) {
    let half = cos.len();
    let ((a, b), (w_a, w_b), (turned_a, turned_b)) = (x.split_at(half), w.split_at(half), y.split_at_mut(half));
    for i in 0..half {
        let (a, b) = (a[i] * r * w_a[i], b[i] * r * w_b[i]);
        turned_a[i] = a * cos[i] - b * sin[i];
        turned_b[i] = b * cos[i] + a * sin[i];
    }
}

/// Turns the gradient by rotated queries and keys, which lies in the first columns of `dqkv` (rows, (H + 2K) D), into the
/// gradient by what was projected, in place; adds what the norms get to `dw` (2 D, query's then key's), if trained. The
/// rotation's inverse is its transpose.
#[inline(always)]
pub(super) fn rotate_back(
    dqkv: &mut [f32],
    qkv: &[f32],
    positions: &[u32],
    heads: Heads,
    angles: &Angles,
    mut dw: Option<&mut [f32]>,
) {
    let mut turned = vec![0.0; heads.width];
    let rows = dqkv.chunks_exact_mut(heads.whole()).zip(qkv.chunks_exact(heads.whole()));
    for ((dqkv, qkv), &position) in rows.zip(positions) {
        let (cos, sin) = angles.at(position);
        for head in 0..heads.queries + heads.keys {
            let at = head * heads.width..(head + 1) * heads.width;
            let (x, dy) = (&qkv[at.clone()], &mut dqkv[at]);
            turn_back(&mut turned, dy, cos, sin);
            let Some(w) = heads.norm(head) else {
                dy.copy_from_slice(&turned);
                continue;
            };
            let r = root(x, heads.eps);
            let shared = dot3(x, &turned, w) * r * r * r / heads.width as f32;
            for i in 0..heads.width {
                dy[i] = turned[i] * w[i] * r - x[i] * shared;
            }
            if let Some(dw) = dw.as_deref_mut() {
                let of = usize::from(head >= heads.queries) * heads.width;
                for (dw, (dy, x)) in dw[of..of + heads.width].iter_mut().zip(turned.iter().zip(x)) {
                    *dw += dy * x * r;
                }
            }
        }
    }
}

#[inline(always)]
fn turn_back(dx: &mut [f32], dy: &[f32], cos: &[f32], sin: &[f32]) {
    let half = cos.len();
    let ((a, b), (turned_a, turned_b)) = (dy.split_at(half), dx.split_at_mut(half));
    for i in 0..half {
        turned_a[i] = a[i] * cos[i] + b[i] * sin[i];
        turned_b[i] = b[i] * cos[i] - a[i] * sin[i];
    }
}
