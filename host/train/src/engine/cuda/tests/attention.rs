//! Causal attention over packed sequences.

use half::bf16;

use super::{Numbers, close, in_every_order, wide};
use crate::engine::cuda::emulator::Buffer;
use crate::engine::cuda::ops::{self, Attended, Heads, Packed, Rows, Tiles};

/// Weights of the softmax are rounded to bf16 before they meet the values: each summand is off by up to 2^-8 of itself, and
/// so is the sum. Backwards the scores' gradients are rounded too, and `delta` is taken from rounded outputs; what is left is
/// measured against the typical element, because those summands cancel.
const FORWARD: f64 = 0.012;
const BACKWARD: f64 = 0.03;

#[test]
fn attention_equals_its_formula() {
    for (lengths, queries, keys, width) in [
        (&[1, 5, 130, 64, 1, 65][..], 2, 1, 64),
        (&[33, 1, 100], 4, 1, 128),
        (&[70], 1, 1, 128),
        (&[200, 63], 2, 2, 64),
        (&[129], 4, 2, 128),
    ] {
        check(lengths, Heads { queries, keys, width });
    }
}

struct Case {
    qkv: Vec<bf16>,
    d_o: Vec<bf16>,
    lengths: Vec<usize>,
    heads: Heads,
}

#[track_caller]
fn check(lengths: &[usize], heads: Heads) {
    let Heads { queries, keys, width } = heads;
    let (tokens, stride) = (lengths.iter().sum::<usize>(), (queries + 2 * keys) * width);
    let mut numbers = Numbers::new(7);
    // Large queries, so that some rows of the softmax are sharp.
    let mut qkv = numbers.bf16(tokens * stride);
    for row in qkv.chunks_mut(stride) {
        row[..queries * width].iter_mut().for_each(|q| *q = bf16::from_f32(q.to_f32() * 4.0));
    }
    let case = Case { qkv, d_o: numbers.bf16(tokens * queries * width), lengths: lengths.to_vec(), heads };

    let outputs = in_every_order(|machine| {
        let (qkv, d_o) = (Buffer::new(&case.qkv), Buffer::new(&case.d_o));
        let mut cu_seqlens = vec![0];
        lengths.iter().for_each(|&length| cu_seqlens.push(cu_seqlens[cu_seqlens.len() - 1] + length as i32));
        let tiles = Tiles::new(lengths);
        let cu_seqlens = Buffer::new(&cu_seqlens);
        let (query_tiles, key_tiles) = (Buffer::new(&tiles.queries), Buffer::new(&tiles.keys));
        let packed = Packed {
            cu_seqlens: cu_seqlens.ptr(),
            query_tiles: query_tiles.ptr(),
            key_tiles: key_tiles.ptr(),
            tiles: tiles.count(),
            tokens,
            heads,
        };
        let parts = |buffer: &Buffer<bf16>| {
            let rows = Rows::new(buffer.ptr(), stride);
            [rows, rows.from(queries * width), rows.from((queries + keys) * width)]
        };
        let (o, lse) = (Buffer::unwritten(tokens * queries * width), Buffer::unwritten(queries * tokens));
        let (d_qkv, delta) = (Buffer::unwritten(tokens * stride), Buffer::unwritten(queries * tokens));
        let [q, k, v] = parts(&qkv);
        machine.run(&ops::attention_forward(o.ptr(), lse.ptr(), [q, k, v], &packed));
        let from = Attended { q, k, v, o: o.ptr(), lse: lse.ptr(), d_o: d_o.ptr(), delta: delta.ptr() };
        for launch in ops::attention_backward(parts(&d_qkv), &from, &packed) {
            machine.run(&launch);
        }
        vec![wide(&o.values()), wide(&lse.values()), wide(&d_qkv.values())]
    });
    let Some(outputs) = outputs else { return };
    let expected = case.expected();
    for (at, (what, relative)) in [("o", FORWARD), ("lse", 1e-5), ("d_qkv", BACKWARD)].into_iter().enumerate() {
        close(&format!("{what} of {lengths:?}, {heads:?}"), &outputs[at], &expected[at], relative);
    }
}

impl Case {
    /// o, lse and d_qkv.
    fn expected(&self) -> [Vec<f64>; 3] {
        let Heads { queries, keys, width } = self.heads;
        let (qkv, d_o, tokens) = (wide(&self.qkv), wide(&self.d_o), self.lengths.iter().sum::<usize>());
        let stride = (queries + 2 * keys) * width;
        let scale = 1.0 / (width as f64).sqrt();
        let (mut o, mut lse) = (vec![0.0; tokens * queries * width], vec![0.0; queries * tokens]);
        let mut d_qkv = vec![0.0; tokens * stride];
        let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
        let mut start = 0;
        for &length in &self.lengths {
            for head in 0..queries {
                let key_head = head / (queries / keys);
                let q_at = |i: usize| (start + i) * stride + head * width;
                let k_at = |j: usize| (start + j) * stride + (queries + key_head) * width;
                let v_at = |j: usize| (start + j) * stride + (queries + keys + key_head) * width;
                for i in 0..length {
                    let score = |j: usize| scale * dot(&qkv[q_at(i)..][..width], &qkv[k_at(j)..][..width]);
                    let scores: Vec<f64> = (0..=i).map(score).collect();
                    let max = scores.iter().fold(f64::NEG_INFINITY, |a, &b| a.max(b));
                    let normaliser = max + scores.iter().map(|s| (s - max).exp()).sum::<f64>().ln();
                    lse[head * tokens + start + i] = normaliser;
                    let p: Vec<f64> = scores.iter().map(|s| (s - normaliser).exp()).collect();
                    let o_at = ((start + i) * queries + head) * width;
                    for (j, p) in p.iter().enumerate() {
                        (0..width).for_each(|c| o[o_at + c] += p * qkv[v_at(j) + c]);
                    }
                    let d_row = &d_o[o_at..][..width];
                    let delta = dot(d_row, &o[o_at..][..width]);
                    for (j, p) in p.iter().enumerate() {
                        let ds = scale * p * (dot(d_row, &qkv[v_at(j)..][..width]) - delta);
                        for c in 0..width {
                            d_qkv[q_at(i) + c] += ds * qkv[k_at(j) + c];
                            d_qkv[k_at(j) + c] += ds * qkv[q_at(i) + c];
                            d_qkv[v_at(j) + c] += p * d_row[c];
                        }
                    }
                }
            }
            start += length;
        }
        [o, lse, d_qkv]
    }
}
