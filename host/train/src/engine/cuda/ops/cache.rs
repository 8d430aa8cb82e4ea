//! The slot cache of keys and values, and attention of new tokens over it.

use half::bf16;

use super::rope::{Heads, Rows};
use super::row_threads;
use crate::engine::cuda::launch::{Launch, Ptr, arguments};

/// Splits of a row's keys at most: partial results of more would cost more than they save.
const SPLITS_MAX: usize = 32;

/// Warps of a decoding block (attention_decode.cu).
const DECODE_WARPS: usize = 4;

/// Keys and values of all slots: (layers, slots, K, max, D) each.
#[derive(Clone, Copy)]
pub(crate) struct Cache {
    pub(crate) keys: Ptr<bf16>,
    pub(crate) values: Ptr<bf16>,
    pub(crate) slots: usize,
    pub(crate) max_length: usize,
    pub(crate) heads: Heads,
}

impl Cache {
    /// Elements of one layer.
    pub(crate) fn layer_len(&self) -> usize {
        self.slots * self.heads.keys * self.max_length * self.heads.width
    }

    /// The same, starting at a layer.
    pub(crate) fn layer(self, layer: usize) -> Self {
        let skipped = layer * self.layer_len();
        Self { keys: self.keys.at(skipped), values: self.values.at(skipped), ..self }
    }
}

/// Writes keys and values of new tokens into one layer of the cache.
pub(crate) fn kv_append(
    cache: &Cache,
    [k, v]: [Rows; 2],
    slots: Ptr<i32>,
    positions: Ptr<i32>,
    tokens: usize,
) -> Launch {
    let Heads { keys, width, .. } = cache.heads;
    let arguments = arguments![
        cache.keys,
        cache.values,
        k.start,
        v.start,
        slots,
        positions,
        keys,
        width,
        k.stride,
        v.stride,
        cache.max_length
    ];
    Launch::new("kv_append", tokens, row_threads(keys * width), arguments)
}

/// Copies the first `lengths` keys and values of slots `from` to slots `to`, in all layers.
pub(crate) fn kv_copy(cache: &Cache, [from, to, lengths]: [Ptr<i32>; 3], copies: usize, layers: usize) -> Launch {
    let Heads { keys, width, .. } = cache.heads;
    let arguments = arguments![cache.keys, cache.values, from, to, lengths, cache.slots, keys, width, cache.max_length];
    Launch::new("kv_copy", (copies, layers * keys), 256, arguments)
}

/// Splits of each row's keys so that `rows` rows fill a device of `processors` multiprocessors twice over.
pub(crate) fn decode_splits(rows: usize, heads: Heads, processors: usize) -> usize {
    (2 * processors).div_ceil(rows.max(1) * heads.keys * passes(heads)).clamp(1, SPLITS_MAX)
}

/// f32 elements of the partial results of `rows` rows.
pub(crate) fn decode_partial_len(rows: usize, heads: Heads, splits: usize) -> usize {
    if splits == 1 { 0 } else { rows * heads.queries * splits * (heads.width + 2) }
}

/// Turns of 16 queries that share a key head.
fn passes(heads: Heads) -> usize {
    (heads.queries / heads.keys).div_ceil(16)
}

/// o (rows, H D): each row's queries over the first `lengths` keys of its slot, in one layer of the cache.
pub(crate) fn attention_decode(
    o: Ptr<bf16>,
    partial: Ptr<f32>,
    q: Rows,
    cache: &Cache,
    [slots, lengths]: [Ptr<i32>; 2],
    rows: usize,
    splits: usize,
) -> Vec<Launch> {
    let Heads { queries, keys, width } = cache.heads;
    let scale = 1.0 / (width as f32).sqrt();
    let arguments = arguments![
        o,
        partial,
        q.start,
        cache.keys,
        cache.values,
        slots,
        lengths,
        queries,
        keys,
        q.stride,
        cache.max_length,
        scale
    ];
    let grid = (splits, keys * passes(cache.heads), rows);
    let shared_bytes = DECODE_WARPS * 16 * (width + 2) * size_of::<f32>();
    let decode = Launch::new(format!("attention_decode_{width}"), grid, DECODE_WARPS * 32, arguments);
    let mut launches = vec![decode.shared(shared_bytes)];
    if splits > 1 {
        let kernel = format!("attention_decode_combine_{width}");
        launches.push(Launch::new(kernel, rows * queries, width, arguments![o, partial, splits]));
    }
    launches
}
