//! Causal attention over packed sequences, forward and backward.

use half::bf16;

use super::THREADS;
use super::rope::{Heads, Rows};
use crate::engine::cuda::launch::{Launch, Ptr, arguments};

/// Rows of the tile that a block owns, and its threads (attention.cuh).
const TILE: usize = 64;
const ATTENTION_THREADS: usize = 128;

/// The tiles of sequences of these lengths, as pairs of (sequence, first row): what has most work first, so that the last
/// blocks to run are short. Late rows of a long sequence see the most keys; early keys are seen by the most queries.
pub(crate) struct Tiles {
    pub(crate) queries: Vec<i32>,
    pub(crate) keys: Vec<i32>,
}

impl Tiles {
    pub(crate) fn new(lengths: &[usize]) -> Self {
        let mut tiles: Vec<(i32, usize, usize)> = vec![]; // sequence, first row, rows after it
        for (sequence, &length) in lengths.iter().enumerate() {
            tiles.extend((0..length).step_by(TILE).map(|first| (sequence as i32, first, length - first)));
        }
        let pairs = |tiles: &[(i32, usize, usize)]| {
            tiles.iter().flat_map(|&(sequence, first, _)| [sequence, first as i32]).collect()
        };
        tiles.sort_by_key(|&(_, first, _)| std::cmp::Reverse(first));
        let queries = pairs(&tiles);
        tiles.sort_by_key(|&(_, _, after)| std::cmp::Reverse(after));
        Self { queries, keys: pairs(&tiles) }
    }

    pub(crate) fn count(&self) -> usize {
        self.queries.len() / 2
    }
}

/// Packed sequences on the device, and the heads that attend.
#[derive(Clone, Copy)]
pub(crate) struct Packed {
    pub(crate) cu_seqlens: Ptr<i32>,
    pub(crate) query_tiles: Ptr<i32>,
    pub(crate) key_tiles: Ptr<i32>,
    pub(crate) tiles: usize,
    pub(crate) tokens: usize,
    pub(crate) heads: Heads,
}

impl Packed {
    fn scale(&self) -> f32 {
        1.0 / (self.heads.width as f32).sqrt()
    }
}

/// o (T, H D) and lse (H, T) from queries, keys and values.
pub(crate) fn attention_forward(o: Ptr<bf16>, lse: Ptr<f32>, [q, k, v]: [Rows; 3], packed: &Packed) -> Launch {
    let Heads { queries, keys, width } = packed.heads;
    let arguments = arguments![
        o,
        lse,
        q.start,
        k.start,
        v.start,
        packed.cu_seqlens,
        packed.query_tiles,
        packed.tokens,
        queries,
        keys,
        q.stride,
        k.stride,
        v.stride,
        packed.scale()
    ];
    let shared_bytes = (TILE + 4 * TILE) * width * size_of::<bf16>();
    let kernel = format!("attention_forward_{width}");
    Launch::new(kernel, (packed.tiles, queries), ATTENTION_THREADS, arguments).shared(shared_bytes)
}

/// What the backward pass of attention reads.
#[derive(Clone, Copy)]
pub(crate) struct Attended {
    pub(crate) q: Rows,
    pub(crate) k: Rows,
    pub(crate) v: Rows,
    pub(crate) o: Ptr<bf16>,
    pub(crate) lse: Ptr<f32>,
    pub(crate) d_o: Ptr<bf16>,
    /// (H, T), written first.
    pub(crate) delta: Ptr<f32>,
}

/// The three launches that give dq, dk and dv, in order.
pub(crate) fn attention_backward([dq, dk, dv]: [Rows; 3], from: &Attended, packed: &Packed) -> [Launch; 3] {
    let Heads { queries, keys, width } = packed.heads;
    let Attended { q, k, v, o, lse, d_o, delta } = *from;
    let (tokens, scale) = (packed.tokens, packed.scale());
    // Columns of scores at a time (attention_backward.cu).
    let step = if width == 64 { 64 } else { 32 };
    let tiles_bytes = (2 * TILE + 4 * step) * width * size_of::<bf16>();

    let delta_blocks = (tokens * queries).div_ceil(THREADS / 32);
    let delta_launch = Launch::new(
        format!("attention_delta_{width}"),
        delta_blocks,
        THREADS,
        arguments![delta, o, d_o, tokens, queries],
    );
    let key_arguments = arguments![
        dk.start,
        dv.start,
        q.start,
        k.start,
        v.start,
        d_o,
        lse,
        delta,
        packed.cu_seqlens,
        packed.key_tiles,
        tokens,
        queries,
        keys,
        q.stride,
        k.stride,
        v.stride,
        dk.stride,
        dv.stride,
        scale
    ];
    let kernel = format!("attention_backward_keys_{width}");
    let of_keys = Launch::new(kernel, (packed.tiles, keys), ATTENTION_THREADS, key_arguments)
        .shared(tiles_bytes + 4 * step * size_of::<f32>());
    let query_arguments = arguments![
        dq.start,
        q.start,
        k.start,
        v.start,
        d_o,
        lse,
        delta,
        packed.cu_seqlens,
        packed.query_tiles,
        tokens,
        queries,
        keys,
        q.stride,
        k.stride,
        v.stride,
        dq.stride,
        scale
    ];
    let kernel = format!("attention_backward_queries_{width}");
    let of_queries =
        Launch::new(kernel, (packed.tiles, queries), ATTENTION_THREADS, query_arguments).shared(tiles_bytes);
    [delta_launch, of_keys, of_queries]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tiles_come_longest_work_first() {
        let tiles = Tiles::new(&[130, 1, 0, 64]);
        assert_eq!(tiles.queries, [0, 128, 0, 64, 0, 0, 1, 0, 3, 0]);
        assert_eq!(tiles.keys, [0, 0, 0, 64, 3, 0, 0, 128, 1, 0]);
        assert_eq!(tiles.count(), 5);
    }
}
