//! Matrices that are parts of other matrices: some rows, some columns, or both, of a buffer of f32, and their product.
//!
//! Nothing else of the engine is unsafe. A view may be cut along rows or columns into views that never overlap, which
//! is what lets threads write the heads of one row of queries at once; slices alone can be cut along rows only.

#![allow(unsafe_code, reason = "views of columns overlap as slices, and the product takes pointers")]

use std::marker::PhantomData;
use std::ops::Range;

use gemm::Parallelism;

/// A matrix to read, or its transpose: element (i, j) lies at `i * row_stride + j * column_stride`.
#[derive(Clone, Copy)]
pub(super) struct View<'a> {
    start: *const f32,
    rows: usize,
    columns: usize,
    row_stride: usize,
    column_stride: usize,
    of: PhantomData<&'a [f32]>,
}

/// A matrix to write, row by row.
pub(super) struct ViewMut<'a> {
    start: *mut f32,
    rows: usize,
    columns: usize,
    stride: usize,
    of: PhantomData<&'a mut [f32]>,
}

// SAFETY: views are references to f32, shared or exclusive, and f32 is Send and Sync.
unsafe impl Send for View<'_> {}
// SAFETY: as above.
unsafe impl Sync for View<'_> {}
// SAFETY: as above; an exclusive reference may move to another thread.
unsafe impl Send for ViewMut<'_> {}

impl<'a> View<'a> {
    /// All of `values`, in rows of `columns`.
    pub(super) fn of(values: &'a [f32], columns: usize) -> Self {
        let rows = rows_of(values.len(), columns);
        Self { start: values.as_ptr(), rows, columns, row_stride: columns, column_stride: 1, of: PhantomData }
    }

    /// Rows `rows` of it.
    pub(super) fn rows(self, rows: Range<usize>) -> Self {
        assert!(rows.start <= rows.end && rows.end <= self.rows, "rows {rows:?} of {}", self.rows);
        Self { start: self.start.wrapping_add(rows.start * self.row_stride), rows: rows.len(), ..self }
    }

    /// Columns `columns` of it.
    pub(super) fn columns(self, columns: Range<usize>) -> Self {
        assert!(columns.start <= columns.end && columns.end <= self.columns, "columns {columns:?} of {}", self.columns);
        let start = self.start.wrapping_add(columns.start * self.column_stride);
        Self { start, columns: columns.len(), ..self }
    }

    /// The same numbers with rows and columns exchanged.
    pub(super) fn t(self) -> Self {
        Self {
            rows: self.columns,
            columns: self.rows,
            row_stride: self.column_stride,
            column_stride: self.row_stride,
            ..self
        }
    }

    /// The number of rows.
    pub(super) fn height(self) -> usize {
        self.rows
    }

    /// One row of a matrix that is not transposed.
    pub(super) fn row(self, row: usize) -> &'a [f32] {
        assert!(row < self.rows && self.column_stride == 1, "row {row} of {}", self.rows);
        // SAFETY: the row lies in the matrix, and its elements are neighbours.
        unsafe { std::slice::from_raw_parts(self.start.add(row * self.row_stride), self.columns) }
    }
}

impl<'a> ViewMut<'a> {
    /// All of `values`, in rows of `columns`.
    pub(super) fn of(values: &'a mut [f32], columns: usize) -> Self {
        let rows = rows_of(values.len(), columns);
        Self { start: values.as_mut_ptr(), rows, columns, stride: columns, of: PhantomData }
    }

    /// The number of rows.
    pub(super) fn height(&self) -> usize {
        self.rows
    }

    /// The number of numbers.
    pub(super) fn size(&self) -> usize {
        self.rows * self.columns
    }

    /// The rows before `at`, and the others.
    pub(super) fn split_rows(self, at: usize) -> (ViewMut<'a>, ViewMut<'a>) {
        assert!(at <= self.rows, "row {at} of {}", self.rows);
        let rest = self.start.wrapping_add(at * self.stride);
        (Self { rows: at, ..self }, Self { start: rest, rows: self.rows - at, ..self })
    }

    /// The columns before `at`, and the others.
    pub(super) fn split_columns(self, at: usize) -> (ViewMut<'a>, ViewMut<'a>) {
        assert!(at <= self.columns, "column {at} of {}", self.columns);
        let rest = self.start.wrapping_add(at);
        (Self { columns: at, ..self }, Self { start: rest, columns: self.columns - at, ..self })
    }

    /// Cuts it into pieces of `size` rows; the last may have fewer.
    pub(super) fn chunk_rows(self, size: usize) -> Vec<ViewMut<'a>> {
        let mut chunks = vec![];
        let mut rest = self;
        while rest.rows > 0 {
            let at = size.min(rest.rows);
            let (chunk, others) = rest.split_rows(at);
            chunks.push(chunk);
            rest = others;
        }
        chunks
    }

    /// Cuts it into pieces of `size` columns.
    pub(super) fn chunk_columns(self, size: usize) -> Vec<ViewMut<'a>> {
        let mut chunks = vec![];
        let mut rest = self;
        while rest.columns > 0 {
            let at = size.min(rest.columns);
            let (chunk, others) = rest.split_columns(at);
            chunks.push(chunk);
            rest = others;
        }
        chunks
    }

    /// Rows `rows` of it, for as long as the rest is left alone.
    pub(super) fn rows(&mut self, rows: Range<usize>) -> ViewMut<'_> {
        assert!(rows.start <= rows.end && rows.end <= self.rows, "rows {rows:?} of {}", self.rows);
        let start = self.start.wrapping_add(rows.start * self.stride);
        ViewMut { start, rows: rows.len(), columns: self.columns, stride: self.stride, of: PhantomData }
    }

    /// Columns `columns` of it, likewise.
    pub(super) fn columns(&mut self, columns: Range<usize>) -> ViewMut<'_> {
        assert!(columns.start <= columns.end && columns.end <= self.columns, "columns {columns:?} of {}", self.columns);
        let start = self.start.wrapping_add(columns.start);
        ViewMut { start, rows: self.rows, columns: columns.len(), stride: self.stride, of: PhantomData }
    }

    /// The same to read, for as long as it is not written.
    pub(super) fn view(&self) -> View<'_> {
        let Self { start, rows, columns, stride, .. } = *self;
        View { start, rows, columns, row_stride: stride, column_stride: 1, of: PhantomData }
    }

    /// One row.
    pub(super) fn row(&mut self, row: usize) -> &mut [f32] {
        assert!(row < self.rows, "row {row} of {}", self.rows);
        // SAFETY: the row lies in the matrix, its elements are neighbours, and `self` is borrowed while it lives.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(row * self.stride), self.columns) }
    }
}

/// What becomes of what was in the result before.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Into {
    /// It is overwritten, and may be anything.
    Fresh,
    /// The product is added to it.
    Sum,
}

/// `result = a b`, or `result += a b`, on this thread: parallel work is cut by rows or columns outside, in pieces that do
/// not depend on the number of threads, so that neither does the sum's rounding.
pub(super) fn product(result: &mut ViewMut, into: Into, a: View, b: View) {
    scaled_product(result, into, 1.0, a, b);
}

/// `result = factor a b`, or `result += factor a b`.
pub(super) fn scaled_product(result: &mut ViewMut, into: Into, factor: f32, a: View, b: View) {
    let (rows, columns, depth) = (result.rows, result.columns, a.columns);
    assert!((a.rows, b.rows, b.columns) == (rows, depth, columns), "shapes of a product");
    // SAFETY: the shapes agree, every view lies in a live borrow of its buffer, and the exclusive one shares nothing with
    // the others.
    unsafe {
        gemm::gemm(
            rows,
            columns,
            depth,
            result.start,
            1,
            result.stride as isize,
            into == Into::Sum,
            a.start,
            a.column_stride as isize,
            a.row_stride as isize,
            b.start,
            b.column_stride as isize,
            b.row_stride as isize,
            1.0,
            factor,
            false,
            false,
            false,
            Parallelism::None,
        );
    }
}

fn rows_of(length: usize, columns: usize) -> usize {
    assert!(columns > 0 && length.is_multiple_of(columns), "{length} numbers in rows of {columns}");
    length / columns
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_of_parts_go_where_they_belong() {
        let a: Vec<f32> = (0..12).map(|i| i as f32).collect(); // (3, 4)
        let b: Vec<f32> = (0..8).map(|i| i as f32 - 3.0).collect(); // (2, 4)
        let mut out = vec![100.0; 15]; // (3, 5)
        let (a, b) = (View::of(&a, 4), View::of(&b, 4));
        product(&mut ViewMut::of(&mut out, 5).columns(1..3), Into::Sum, a, b.t());
        let expected = |i: usize, j: usize| -> f32 { a.row(i).iter().zip(b.row(j)).map(|(x, y)| x * y).sum() };
        for i in 0..3 {
            let row = [100.0, 100.0 + expected(i, 0), 100.0 + expected(i, 1), 100.0, 100.0];
            assert_eq!(out[5 * i..5 * i + 5], row);
        }
        let mut part = vec![9.0; 1];
        let middle = a.rows(1..3).columns(1..3);
        scaled_product(
            &mut ViewMut::of(&mut part, 1),
            Into::Fresh,
            2.0,
            middle.rows(1..2),
            b.columns(2..4).rows(1..2).t(),
        );
        assert_eq!(part, [2.0 * (9.0 * 3.0 + 10.0 * 4.0)]);
    }

    #[test]
    fn pieces_cover_a_matrix_once() {
        let mut values = vec![0.0; 5 * 6];
        for (number, rows) in ViewMut::of(&mut values, 6).chunk_rows(2).into_iter().enumerate() {
            for (part, mut piece) in rows.chunk_columns(4).into_iter().enumerate() {
                for row in 0..piece.height() {
                    piece.row(row).iter_mut().for_each(|value| *value += (10 * number + part + 1) as f32);
                }
            }
        }
        assert_eq!(values[..6], [1.0, 1.0, 1.0, 1.0, 2.0, 2.0]);
        assert_eq!(values[24..], [21.0, 21.0, 21.0, 21.0, 22.0, 22.0]);
    }

    #[test]
    #[should_panic(expected = "shapes of a product")]
    fn shapes_must_agree() {
        product(&mut ViewMut::of(&mut [0.0; 4], 2), Into::Fresh, View::of(&[0.0; 6], 3), View::of(&[0.0; 6], 3));
    }

    #[test]
    #[should_panic(expected = "columns 1..4 of 3")]
    fn parts_lie_within() {
        let _ = View::of(&[0.0; 6], 3).columns(1..4);
    }
}
