//! Small helpers over buffers.

use half::bf16;

use super::{THREADS, blocks, row_threads};
use crate::engine::cuda::launch::{Launch, Ptr, arguments};

/// y = x, rounded.
pub(crate) fn to_bf16(y: Ptr<bf16>, x: Ptr<f32>, count: usize) -> Launch {
    Launch::new("to_bf16_all", blocks(count), THREADS, arguments![y, x, count as i64])
}

/// y = x.
pub(crate) fn to_float(y: Ptr<f32>, x: Ptr<bf16>, count: usize) -> Launch {
    Launch::new("to_float_all", blocks(count), THREADS, arguments![y, x, count as i64])
}

/// x *= factor.
pub(crate) fn scale(x: Ptr<f32>, factor: f32, count: usize) -> Launch {
    Launch::new("scale", blocks(count), THREADS, arguments![x, factor, count as i64])
}

/// x += y.
pub(crate) fn add(x: Ptr<bf16>, y: Ptr<bf16>, count: usize) -> Launch {
    Launch::new("add", blocks(count), THREADS, arguments![x, y, count as i64])
}

/// y (tokens, width) = row places[t] of x, or zeros where that is negative.
pub(crate) fn scatter_rows(y: Ptr<bf16>, x: Ptr<bf16>, places: Ptr<i32>, (tokens, width): (usize, usize)) -> Launch {
    Launch::new("scatter_rows", tokens, row_threads(width), arguments![y, x, places, width])
}
