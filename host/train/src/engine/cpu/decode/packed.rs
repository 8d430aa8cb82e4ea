//! Matrices laid out for a few rows at a time, as a sampler has them: columns of W^T in panels of [`PANEL`], each read
//! from front to back and kept in the nearest cache while every row goes through it.
//!
//! Each number of a result is one sum over the inputs in their order, whatever rows stand beside it: a sample's numbers
//! are the same bits alone and in any batch. (A general product may add up differently by shape.)

use std::borrow::Cow;

use pulp::{Arch, Simd, WithSimd};

use crate::engine::Projection;
use crate::engine::cpu::Numbers;
use crate::engine::cpu::linear::add_low_rank;
use crate::engine::cpu::matrix::Into;

/// Columns side by side: two of the widest vectors.
const PANEL: usize = 32;

/// Rows of a tile at most.
const ROWS: usize = 8;

/// A projection with its adapters added.
pub(super) struct Packed {
    /// (out / PANEL, width, PANEL), zeros beyond `out`.
    panels: Vec<f32>,
    bias: Option<Vec<f32>>,
    out: usize,
    width: usize,
}

impl Packed {
    pub(super) fn of(p: &Projection, weights: Numbers) -> Self {
        let weight = merged(p, weights);
        let mut panels = vec![0.0; p.out.next_multiple_of(PANEL) * p.width];
        for (column, row) in weight.chunks_exact(p.width).enumerate() {
            let panel = &mut panels[column / PANEL * PANEL * p.width..][..PANEL * p.width];
            panel.iter_mut().skip(column % PANEL).step_by(PANEL).zip(row).for_each(|(to, from)| *to = *from);
        }
        let bias = p.bias.as_ref().map(|bias| weights.at(bias).to_vec());
        Self { panels, bias, out: p.out, width: p.width }
    }

    /// y (rows, out) = x (rows, width) W^T + b, or y += that. `turned` is scratch.
    pub(super) fn apply(&self, y: &mut [f32], x: &[f32], into: Into, turned: &mut Vec<f32>) {
        let rows = x.len() / self.width;
        assert!(x.len() == rows * self.width && y.len() == rows * self.out, "shapes of a packed product");
        turn(turned, x, self.width);
        for (number, panel) in self.panels.chunks_exact(PANEL * self.width).enumerate() {
            let at = number * PANEL;
            let columns = PANEL.min(self.out - at);
            let place = Place { at, columns, stride: self.out, into };
            Arch::new().dispatch(PanelProduct { y, turned, panel, width: self.width, rows, place });
        }
        if let Some(bias) = &self.bias {
            for y in y.chunks_exact_mut(self.out) {
                y.iter_mut().zip(bias).for_each(|(y, b)| *y += b);
            }
        }
    }
}

/// W, with s B A added where it has adapters.
fn merged<'a>(p: &Projection, weights: Numbers<'a>) -> Cow<'a, [f32]> {
    let mut weight = Cow::Borrowed(weights.at(&p.weight));
    for low in &p.adapters {
        let rows = low.columns.start * p.width..low.columns.end * p.width;
        let (a, b) = (&weights.adapter[low.a.clone()], &weights.adapter[low.b.clone()]);
        add_low_rank(&mut weight.to_mut()[rows], a, b, low.rank, low.scale);
    }
    weight
}

/// How `rows` rows are cut into tiles: as many of [`ROWS`] as there are, then smaller ones.
fn tiles(rows: usize) -> impl Iterator<Item = usize> {
    let mut left = rows;
    std::iter::from_fn(move || {
        let tile = [ROWS, 4, 2, 1].into_iter().find(|&size| size <= left)?;
        left -= tile;
        Some(tile)
    })
}

/// The rows of each tile, input by input: what a tile's products read lies in order.
fn turn(turned: &mut Vec<f32>, x: &[f32], width: usize) {
    turned.resize(x.len(), 0.0);
    let mut start = 0;
    for tile in tiles(x.len() / width) {
        let part = start * width..(start + tile) * width;
        for (row, x) in x[part.clone()].chunks_exact(width).enumerate() {
            turned[part.clone()].iter_mut().skip(row).step_by(tile).zip(x).for_each(|(to, from)| *to = *from);
        }
        start += tile;
    }
}

/// Where in a result a panel's numbers go.
#[derive(Clone, Copy)]
struct Place {
    at: usize,
    columns: usize,
    stride: usize,
    into: Into,
}

struct PanelProduct<'a> {
    y: &'a mut [f32],
    turned: &'a [f32],
    panel: &'a [f32],
    width: usize,
    rows: usize,
    place: Place,
}

impl WithSimd for PanelProduct<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { y, turned, panel, width, rows, place } = self;
        let panel = S::as_simd_f32s(panel).0;
        let mut start = 0;
        for size in tiles(rows) {
            let (x, y) = (&turned[start * width..(start + size) * width], &mut y[start * place.stride..]);
            match size {
                ROWS if S::F32_LANES >= 16 => tile::<S, ROWS, ROWS>(simd, y, x, 0, panel, place),
                // Narrower vectors come with half the registers.
                ROWS => {
                    tile::<S, 4, ROWS>(simd, y, x, 0, panel, place);
                    tile::<S, 4, ROWS>(simd, &mut y[4 * place.stride..], x, 4, panel, place);
                }
                4 => tile::<S, 4, 4>(simd, y, x, 0, panel, place),
                2 => tile::<S, 2, 2>(simd, y, x, 0, panel, place),
                _ => tile::<S, 1, 1>(simd, y, x, 0, panel, place),
            }
            start += size;
        }
    }
}

/// `R` of `TILE` rows through one panel, from row `skip`, two vectors of columns at a time.
#[inline(always)]
fn tile<S: Simd, const R: usize, const TILE: usize>(
    simd: S,
    y: &mut [f32],
    x: &[f32],
    skip: usize,
    panel: &[S::f32s],
    place: Place,
) {
    let vectors = PANEL / S::F32_LANES;
    let mut sums = [[0f32; PANEL]; R];
    for first in (0..vectors).step_by(2) {
        let mut both = [[simd.splat_f32s(0.0); 2]; R];
        for (w, x) in panel.chunks_exact(vectors).zip(x.chunks_exact(TILE)) {
            let (w, x) = ([w[first], w[first + 1]], &x[skip..skip + R]);
            for row in 0..R {
                let x = simd.splat_f32s(x[row]);
                both[row][0] = simd.mul_add_f32s(x, w[0], both[row][0]);
                both[row][1] = simd.mul_add_f32s(x, w[1], both[row][1]);
            }
        }
        for (sums, both) in sums.iter_mut().zip(both) {
            let sums = &mut S::as_mut_simd_f32s(sums).0[first..first + 2];
            sums.copy_from_slice(&both);
        }
    }
    for (row, sums) in sums.iter().enumerate() {
        let y = &mut y[row * place.stride + place.at..][..place.columns];
        match place.into {
            Into::Fresh => y.copy_from_slice(&sums[..place.columns]),
            Into::Sum => y.iter_mut().zip(sums).for_each(|(y, sum)| *y += sum),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{Span, Store};

    fn numbers(count: usize, salt: usize) -> Vec<f32> {
        (0..count).map(|i| ((i * 29 + salt * 13) % 97) as f32 / 40.0 - 1.2).collect()
    }

    /// Every number of rows and any width: what a plain sum says, and the same bits for a row alone.
    #[test]
    fn rows_give_the_same_bits_in_any_company() {
        for (out, width) in [(1, 1), (31, 7), (64, 64), (70, 33)] {
            let (model, adapter) = (numbers(out * width + out, 1), vec![]);
            let weights = Numbers { model: &model, adapter: &adapter };
            let span = |range| Span { store: Store::Model, range };
            let (weight, bias) = (span(0..out * width), span(out * width..out * width + out));
            let p = Projection { weight, bias: Some(bias), out, width, adapters: vec![] };
            let packed = Packed::of(&p, weights);
            let x = numbers(19 * width, 2);
            let mut alone = vec![0.0; 19 * out];
            for (x, y) in x.chunks_exact(width).zip(alone.chunks_exact_mut(out)) {
                packed.apply(y, x, Into::Fresh, &mut vec![]);
                for (column, y) in y.iter().enumerate() {
                    let exact: f32 = (0..width).map(|i| x[i] * model[column * width + i]).sum();
                    assert!((y - exact - model[out * width + column]).abs() < 1e-4);
                }
            }
            for rows in 1..=19 {
                let mut together = vec![1.0; rows * out];
                packed.apply(&mut together, &x[..rows * width], Into::Fresh, &mut vec![7.0]);
                assert_eq!(together, alone[..rows * out], "{rows} rows");
            }
        }
    }
}
