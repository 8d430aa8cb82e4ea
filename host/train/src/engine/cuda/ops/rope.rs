//! Norms of heads and rotary positions.

use half::bf16;

use super::{PARTIALS, THREADS};
use crate::engine::cuda::launch::{Launch, Ptr, arguments};

/// The heads of a decoder's attention.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Heads {
    pub(crate) queries: usize,
    pub(crate) keys: usize,
    /// 64 or 128.
    pub(crate) width: usize,
}

/// Rows of heads: where they start, and how far they lie apart.
#[derive(Clone, Copy)]
pub(crate) struct Rows {
    pub(crate) start: Ptr<bf16>,
    pub(crate) stride: usize,
}

impl Rows {
    pub(crate) fn new(start: Ptr<bf16>, stride: usize) -> Self {
        Self { start, stride }
    }

    /// The columns from `column` on.
    pub(crate) fn from(self, column: usize) -> Self {
        Self { start: self.start.at(column), stride: self.stride }
    }
}

/// table (tokens, 2 half) = [cos | sin] of the angles of `positions`.
pub(crate) fn rope_table(
    table: Ptr<f32>,
    positions: Ptr<i32>,
    frequencies: Ptr<f32>,
    (tokens, half): (usize, usize),
) -> Launch {
    let threads = half.next_multiple_of(32);
    Launch::new("rope_table", tokens, threads, arguments![table, positions, frequencies, half])
}

/// y = the query and key heads of x, normalised where there are weights (null: none) and turned. y may be x.
pub(crate) fn head_norm_rope_forward(
    y: Rows,
    x: Rows,
    [query_weight, key_weight]: [Ptr<bf16>; 2],
    table: Ptr<f32>,
    tokens: usize,
    heads: Heads,
    eps: f32,
) -> Launch {
    let Heads { queries, keys, width } = heads;
    let (y_stride, x_stride) = (y.stride, x.stride);
    let arguments =
        arguments![y.start, x.start, query_weight, key_weight, table, tokens, queries, keys, y_stride, x_stride, eps];
    let blocks = (tokens * (queries + keys)).div_ceil(THREADS / 32);
    Launch::new(format!("head_norm_rope_forward_{width}"), blocks, THREADS, arguments)
}

/// dx from dy, in place. Where there are weights, leaves [`head_norm_partials`] rows of 2 D partial sums of their gradients.
#[allow(clippy::too_many_arguments, reason = "as the kernel has them")]
pub(crate) fn head_norm_rope_backward(
    dy: Rows,
    partial: Ptr<f32>,
    x: Rows,
    [query_weight, key_weight]: [Ptr<bf16>; 2],
    table: Ptr<f32>,
    tokens: usize,
    heads: Heads,
    eps: f32,
) -> Launch {
    let Heads { queries, keys, width } = heads;
    let arguments = arguments![
        dy.start,
        partial,
        dy.start,
        x.start,
        query_weight,
        key_weight,
        table,
        tokens,
        queries,
        keys,
        dy.stride,
        x.stride,
        eps
    ];
    let shared_bytes = THREADS / 32 * 2 * width * size_of::<f32>();
    let blocks = head_norm_partials(tokens, heads);
    Launch::new(format!("head_norm_rope_backward_{width}"), blocks, THREADS, arguments).shared(shared_bytes)
}

/// Rows of partial sums that the backward pass leaves.
pub(crate) fn head_norm_partials(tokens: usize, heads: Heads) -> usize {
    (tokens * (heads.queries + heads.keys)).div_ceil(THREADS / 32).min(2 * PARTIALS)
}
