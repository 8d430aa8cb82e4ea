//! Causal attention over packed sequences, forward and backward.

use std::cmp::Reverse;

use half::bf16;

use super::THREADS;
use super::rope::{Heads, Rows};
use crate::batch::Segment;
use crate::engine::cuda::launch::{Element, Launch, Ptr, arguments};

/// Rows of the tile that a block owns, and its threads (attention.cuh).
const TILE: usize = 64;
const ATTENTION_THREADS: usize = 128;

/// What a block of the kernels has, as they read it (attention.cuh).
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, bytemuck::Pod, bytemuck::Zeroable)]
pub(crate) struct Tile {
    start: i32,
    length: i32,
    first: i32,
    before: i32,
    before_length: i32,
    seen_until: i32,
}

impl Element for Tile {
    const LETTER: u8 = b's';
}

/// The tiles of segments: what has most work first, so that the last blocks to run are short.
/// Late rows of a long sequence see the most keys; early keys are seen by the most queries.
pub(crate) struct Tiles {
    pub(crate) queries: Vec<Tile>,
    pub(crate) keys: Vec<Tile>,
}

impl Tiles {
    pub(crate) fn new(segments: &[Segment]) -> Self {
        let mut queries: Vec<Tile> = segments.iter().flat_map(Tile::of).collect();
        let mut keys = queries.clone();
        queries.sort_by_key(|tile| Reverse(tile.before_length + tile.first));
        keys.sort_by_key(|tile| Reverse(tile.seen_until - tile.start - tile.first));
        Self { queries, keys }
    }

    pub(crate) fn count(&self) -> usize {
        self.queries.len()
    }
}

impl Tile {
    fn of(Segment { rows, before, seen_until }: &Segment) -> impl Iterator<Item = Self> {
        let [start, length, before, before_length, seen_until] =
            [rows.start, rows.len(), before.start, before.len(), *seen_until].map(|number| number as i32);
        (0..length).step_by(TILE).map(move |first| Self { start, length, first, before, before_length, seen_until })
    }
}

/// Packed sequences on the device, and the heads that attend.
#[derive(Clone, Copy)]
pub(crate) struct Packed {
    pub(crate) query_tiles: Ptr<Tile>,
    pub(crate) key_tiles: Ptr<Tile>,
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
        let segment = |start, end, before, seen_until| Segment { rows: start..end, before, seen_until };
        let tiles = Tiles::new(&[
            segment(0, 70, 0..0, 240),
            segment(70, 72, 0..70, 72),
            segment(72, 240, 0..70, 240),
            segment(240, 241, 0..0, 241),
        ]);
        let tile = |start, length, first, before_length, seen_until| Tile {
            start,
            length,
            first,
            before: 0,
            before_length,
            seen_until,
        };
        let queries = [
            tile(72, 168, 128, 70, 240),
            tile(72, 168, 64, 70, 240),
            tile(70, 2, 0, 70, 72),
            tile(72, 168, 0, 70, 240),
            tile(0, 70, 64, 0, 240),
            tile(0, 70, 0, 0, 240),
            tile(240, 1, 0, 0, 241),
        ];
        assert_eq!(tiles.queries, queries);
        assert_eq!(tiles.keys[..3], [tile(0, 70, 0, 0, 240), tile(0, 70, 64, 0, 240), tile(72, 168, 0, 70, 240)]);
        assert_eq!(tiles.count(), tiles.keys.len());
    }
}
