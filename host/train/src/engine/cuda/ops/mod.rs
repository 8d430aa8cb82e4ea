//! The operations of a decoder as launches: which kernel, over which grid, with how much shared memory. Formulas and shapes
//! stand in the kernel files of the same names.

mod attention;
mod cache;
mod head;
mod optimizer;
mod rope;
mod rows;
mod scatter;

pub(crate) use attention::*;
pub(crate) use cache::*;
pub(crate) use head::*;
pub(crate) use optimizer::*;
pub(crate) use rope::*;
pub(crate) use rows::*;
pub(crate) use scatter::*;

/// Threads of a block where each thread has work of its own.
const THREADS: usize = 256;

/// Blocks whose partial sums a second kernel adds up. Fixed, not a property of the device: the order of a sum must not
/// depend on the machine.
pub(crate) const PARTIALS: usize = 256;

/// Threads that share a row of `width` bf16, eight each, in whole warps.
fn row_threads(width: usize) -> usize {
    width.div_ceil(8).next_multiple_of(32).min(THREADS)
}

/// Blocks for `count` pieces of work, one per thread.
fn blocks(count: usize) -> usize {
    count.div_ceil(THREADS)
}
