//! Rows that go where they belong.

use half::bf16;

use super::row_threads;
use crate::engine::cuda::launch::{Launch, Ptr, arguments};

/// y (tokens, width) = row places[t] of x, or zeros where that is negative.
pub(crate) fn scatter_rows(y: Ptr<bf16>, x: Ptr<bf16>, places: Ptr<i32>, (tokens, width): (usize, usize)) -> Launch {
    Launch::new("scatter_rows", tokens, row_threads(width), arguments![y, x, places, width])
}
