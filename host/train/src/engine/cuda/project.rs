//! Projections: y = x W^T (+ b) (+ s x A^T B^T on some columns), their gradient by x, and what their weights get.
//!
//! dx = dy W (+ s dy B A); dW += dy^T x; db += sum dy; dA += (s dy B)^T x; dB += dy^T (s x A^T). Products are bf16 with sums
//! in f32; weights' gradients stay in f32 and are added to where they lie.

use std::sync::Arc;

use half::bf16;

use super::launch::{Launch, Ptr};
use super::machine::{Machine, Matrix, Memory, Product, Target};
use super::numbers::Numbers;
use super::ops;
use crate::engine::{LowRank, Projection, Spec};
use crate::error::Result;

/// Multiplies rows by a policy's matrices.
pub(crate) struct Projector<'a> {
    pub(crate) machine: &'a Arc<dyn Machine>,
    pub(crate) spec: &'a Spec,
    pub(crate) weights: &'a Numbers,
}

/// Whether a result is written, or added to what is there.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Into {
    Fresh,
    Sum,
}

/// Room for what is narrow: what an adapter makes of rows, and partial sums.
#[derive(Default)]
pub(crate) struct Narrow {
    pub(crate) rows: Memory,
    pub(crate) partial: Memory,
}

impl Projector<'_> {
    /// y = x W^T ..., of `rows` rows. A bias is added to bf16 only; what is f32 gets none.
    pub(crate) fn forward(
        &self,
        y: Target,
        into: Into,
        x: Matrix,
        rows: usize,
        p: &Projection,
        narrow: &mut Narrow,
    ) -> Result<()> {
        let weight = Matrix::new(self.weights.at(&p.weight), p.width);
        let whole = Product {
            target: y,
            left: x,
            left_turned: false,
            right: weight,
            right_turned: true,
            rows,
            columns: p.out,
            inner: p.width,
            scale: 1.0,
            adds: into == Into::Sum,
        };
        self.machine.multiply(&whole)?;
        if let (Some(bias), Target::Bf16(y)) = (&p.bias, y) {
            self.launch(&ops::bias_add(y.start, self.weights.at(bias), (rows, p.out)))?;
        }
        for low in &p.adapters {
            let [a, b] = self.parts(p, low);
            let thin = self.thin(narrow, rows, low)?;
            let down = Product { target: Target::Bf16(thin), right: a, columns: low.rank, adds: false, ..whole };
            self.machine.multiply(&down)?;
            self.machine.multiply(&Product {
                target: y.from(low.columns.start),
                left: thin,
                right: b,
                columns: low.columns.len(),
                inner: low.rank,
                scale: low.scale,
                adds: true,
                ..whole
            })?;
        }
        Ok(())
    }

    /// dx = dy W ..., overwriting.
    pub(crate) fn backward(
        &self,
        dx: Matrix,
        dy: Matrix,
        rows: usize,
        p: &Projection,
        narrow: &mut Narrow,
    ) -> Result<()> {
        let whole = Product {
            target: Target::Bf16(dx),
            left: dy,
            left_turned: false,
            right: Matrix::new(self.weights.at(&p.weight), p.width),
            right_turned: false,
            rows,
            columns: p.width,
            inner: p.out,
            scale: 1.0,
            adds: false,
        };
        self.machine.multiply(&whole)?;
        for low in &p.adapters {
            let [a, _] = self.parts(p, low);
            let thin = self.slopes_by_b(dy, rows, p, low, narrow)?;
            self.machine.multiply(&Product { left: thin, right: a, inner: low.rank, adds: true, ..whole })?;
        }
        Ok(())
    }

    /// Adds what the trained weights of `p` get from dy (rows, out) and x (rows, width).
    pub(crate) fn learn(
        &self,
        gradient: Ptr<f32>,
        dy: Matrix,
        x: Matrix,
        rows: usize,
        p: &Projection,
        narrow: &mut Narrow,
    ) -> Result<()> {
        if let Some(range) = self.spec.trained(&p.weight) {
            self.outer(gradient.at(range.start), (dy, p.out), (x, p.width), rows)?;
        }
        if let Some(range) = p.bias.as_ref().and_then(|bias| self.spec.trained(bias)) {
            let count = ops::partials(rows);
            let partial = narrow.partial.sized(self.machine, count * p.out)?;
            self.launch(&ops::column_sums(partial, dy.start, (rows, p.out), dy.stride))?;
            self.launch(&ops::add_partials(gradient.at(range.start), partial, count, p.out, p.out))?;
        }
        for low in &p.adapters {
            let thin = self.slopes_by_b(dy, rows, p, low, narrow)?;
            self.outer(gradient.at(low.a.start), (thin, low.rank), (x, p.width), rows)?;
            let [a, _] = self.parts(p, low);
            let thin = self.thin(narrow, rows, low)?;
            self.machine.multiply(&Product {
                target: Target::Bf16(thin),
                left: x,
                left_turned: false,
                right: a,
                right_turned: true,
                rows,
                columns: low.rank,
                inner: p.width,
                scale: low.scale,
                adds: false,
            })?;
            let dy = dy.from(low.columns.start);
            self.outer(gradient.at(low.b.start), (dy, low.columns.len()), (thin, low.rank), rows)?;
        }
        Ok(())
    }

    /// gradient (height, width) += left (rows, height)^T right (rows, width).
    fn outer(
        &self,
        gradient: Ptr<f32>,
        (left, height): (Matrix, usize),
        (right, width): (Matrix, usize),
        rows: usize,
    ) -> Result<()> {
        self.machine.multiply(&Product {
            target: Target::F32 { start: gradient, stride: width },
            left,
            left_turned: true,
            right,
            right_turned: false,
            rows: height,
            columns: width,
            inner: rows,
            scale: 1.0,
            adds: true,
        })
    }

    /// s dy B, on the adapter's columns: (rows, rank).
    fn slopes_by_b(
        &self,
        dy: Matrix,
        rows: usize,
        p: &Projection,
        low: &LowRank,
        narrow: &mut Narrow,
    ) -> Result<Matrix> {
        let [_, b] = self.parts(p, low);
        let thin = self.thin(narrow, rows, low)?;
        self.machine.multiply(&Product {
            target: Target::Bf16(thin),
            left: dy.from(low.columns.start),
            left_turned: false,
            right: b,
            right_turned: false,
            rows,
            columns: low.rank,
            inner: low.columns.len(),
            scale: low.scale,
            adds: false,
        })?;
        Ok(thin)
    }

    fn thin(&self, narrow: &mut Narrow, rows: usize, low: &LowRank) -> Result<Matrix> {
        Ok(Matrix::new(narrow.rows.sized::<bf16>(self.machine, rows * low.rank)?, low.rank))
    }

    /// A (rank, width) and B (columns, rank).
    fn parts(&self, p: &Projection, low: &LowRank) -> [Matrix; 2] {
        [Matrix::new(self.weights.beside(&low.a), p.width), Matrix::new(self.weights.beside(&low.b), low.rank)]
    }

    pub(crate) fn launch(&self, launch: &Launch) -> Result<()> {
        self.machine.launch(launch)
    }
}
