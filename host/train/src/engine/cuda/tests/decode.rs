//! The slot cache and attention over it.

use half::bf16;

use super::{Numbers, close, in_every_order, wide};
use crate::engine::cuda::emulator::Buffer;
use crate::engine::cuda::ops::{self, Cache, Heads, Rows};

#[test]
fn decoding_equals_its_formula() {
    for (queries, keys, width, splits) in [
        (2, 2, 64, 1),
        (4, 2, 64, 3),
        (4, 1, 128, 1),
        (8, 2, 128, 2),
        // More queries than an mma tile has rows.
        (20, 1, 64, 2),
        (9, 1, 128, 5),
    ] {
        check(Heads { queries, keys, width }, splits);
    }
}

/// Five rows: places of a cache of four slots, one row without a slot, two in the same.
#[track_caller]
fn check(heads: Heads, splits: usize) {
    let Heads { queries, keys, width } = heads;
    let (slots, layers, max_length, layer) = (4, 2, 300, 1);
    let row_slots = [2, -1, 0, 3, 3];
    let lengths = [1, 17, 300, 130, 64];
    let rows = row_slots.len();
    let stride = (queries + 2 * keys) * width;
    let mut numbers = Numbers::new(8);
    let qkv = numbers.bf16(rows * stride);
    // What was never written is no number, and must not matter.
    let layer_len = slots * keys * max_length * width;
    let [mut k_cache, mut v_cache] = [(); 2].map(|()| {
        let mut cache = numbers.bf16(layers * layer_len);
        let filled = |slot: usize| [300, 0, 0, 129][slot];
        for (place, value) in cache.iter_mut().enumerate() {
            let (key, slot) = (place / width % max_length, place / (width * max_length * keys) % slots);
            if key >= filled(slot) && place >= layer * layer_len {
                *value = bf16::NAN;
            }
        }
        cache
    });

    let outputs = in_every_order(|machine| {
        let (key_buffer, value_buffer) = (Buffer::new(&k_cache), Buffer::new(&v_cache));
        let qkv = Buffer::new(&qkv);
        let (row_slots, row_lengths) = (Buffer::new(&row_slots), Buffer::new(&lengths));
        let positions = Buffer::new(&lengths.map(|length| length - 1));
        let cache = Cache { keys: key_buffer.ptr(), values: value_buffer.ptr(), slots, max_length, heads }.layer(layer);
        let all = Rows::new(qkv.ptr(), stride);
        let new = [all.from(queries * width), all.from((queries + keys) * width)];
        machine.run(&ops::kv_append(&cache, new, row_slots.ptr(), positions.ptr(), rows));
        let o = Buffer::unwritten(rows * queries * width);
        let partial = Buffer::unwritten(ops::decode_partial_len(rows, heads, splits));
        let per_row = [row_slots.ptr(), row_lengths.ptr()];
        for launch in ops::attention_decode(o.ptr(), partial.ptr(), all, &cache, per_row, rows, splits) {
            machine.run(&launch);
        }
        vec![wide(&o.values()), wide(&key_buffer.values()[..layer_len])]
    });
    let Some(outputs) = outputs else { return };
    close("the other layer", &outputs[1], &wide(&k_cache[..layer_len]), 0.0);

    // The same on plain arrays: append, then attend.
    let place = |slot: i32, head: usize, key: usize| {
        layer * layer_len + ((slot as usize * keys + head) * max_length + key) * width
    };
    for (row, (&slot, &length)) in row_slots.iter().zip(&lengths).enumerate().filter(|(_, (slot, _))| **slot >= 0) {
        for head in 0..keys {
            let at = place(slot, head, length as usize - 1);
            let from = row * stride + (queries + head) * width;
            k_cache[at..at + width].copy_from_slice(&qkv[from..from + width]);
            v_cache[at..at + width].copy_from_slice(&qkv[from + keys * width..][..width]);
        }
    }
    let (qkv, k_cache, v_cache) = (wide(&qkv), wide(&k_cache), wide(&v_cache));
    let mut expected = vec![0.0; rows * queries * width];
    for (row, (&slot, &length)) in row_slots.iter().zip(&lengths).enumerate().filter(|(_, (slot, _))| **slot >= 0) {
        for head in 0..queries {
            let key_head = head / (queries / keys);
            let q = &qkv[row * stride + head * width..][..width];
            let weight = |key: usize| {
                let k = &k_cache[place(slot, key_head, key)..][..width];
                (q.iter().zip(k).map(|(q, k)| q * k).sum::<f64>() / (width as f64).sqrt()).exp()
            };
            let weights: Vec<f64> = (0..length as usize).map(weight).collect();
            let total: f64 = weights.iter().sum();
            for (key, weight) in weights.iter().enumerate() {
                let v = &v_cache[place(slot, key_head, key)..][..width];
                let o = &mut expected[(row * queries + head) * width..][..width];
                o.iter_mut().zip(v).for_each(|(o, v)| *o += weight / total * v);
            }
        }
    }
    close(&format!("o of {heads:?} in {splits} splits"), &outputs[0], &expected, 0.012);
}

#[test]
fn copied_slots_are_equal_as_far_as_asked() {
    let (heads, slots, layers, max_length) = (Heads { queries: 2, keys: 2, width: 64 }, 3, 2, 20);
    let mut numbers = Numbers::new(9);
    let each = heads.keys * max_length * heads.width;
    let (k_cache, v_cache) = (numbers.bf16(layers * slots * each), numbers.bf16(layers * slots * each));
    let lengths = [7, 20];
    let outputs = in_every_order(|machine| {
        let (keys, values) = (Buffer::new(&k_cache), Buffer::new(&v_cache));
        let cache = Cache { keys: keys.ptr(), values: values.ptr(), slots, max_length, heads };
        let lists = [[1, 1], [0, 2], lengths].map(|list| Buffer::new(&list));
        machine.run(&ops::kv_copy(&cache, lists.each_ref().map(|list| list.ptr()), 2, layers));
        vec![wide(&keys.values()), wide(&values.values())]
    });
    let Some(outputs) = outputs else { return };
    for (got, start) in outputs.iter().zip([wide(&k_cache), wide(&v_cache)]) {
        let mut want = start;
        for layer in 0..layers {
            for (to, length) in [(0, lengths[0]), (2, lengths[1])] {
                for head in 0..heads.keys {
                    let at = |slot: usize| ((layer * slots + slot) * heads.keys + head) * max_length * heads.width;
                    want.copy_within(at(1)..at(1) + length as usize * heads.width, at(to));
                }
            }
        }
        close("cache", got, &want, 0.0);
    }
}
