//! Causal attention over packed sequences.

use half::bf16;

use super::{Numbers, close, in_every_order, wide};
use crate::batch::Segment;
use crate::engine::cuda::emulator::Buffer;
use crate::engine::cuda::ops::{self, Attended, Heads, Packed, Rows, Tiles};

/// Weights of the softmax are rounded to bf16 before they meet the values: each summand is off by up to 2^-8 of itself, and
/// so is the sum; then the result is rounded. Backwards the reference rounds summands as the kernel does; one that lies
/// near the border is rounded to the other side now and then.
const ROUNDING: f64 = 0.012;

#[test]
fn attention_equals_its_formula() {
    for (sequences, queries, keys, width) in [
        (&[&[1][..], &[5], &[130], &[64], &[1], &[65]][..], 2, 1, 64),
        (&[&[33], &[1], &[100]], 4, 1, 128),
        (&[&[70]], 1, 1, 128),
        (&[&[200], &[63]], 2, 2, 64),
        (&[&[129]], 4, 2, 128),
        (&[&[9, 70, 1, 64], &[40], &[130, 3, 100]], 2, 1, 64),
        (&[&[64, 65, 2], &[1, 7, 7]], 4, 2, 128),
    ] {
        check(sequences, Heads { queries, keys, width });
    }
}

struct Case {
    qkv: Vec<bf16>,
    d_o: Vec<bf16>,
    segments: Vec<Segment>,
    heads: Heads,
}

/// Sequences alone, or beginnings with what goes on behind each of them.
fn segments(sequences: &[&[usize]]) -> Vec<Segment> {
    let (mut segments, mut start) = (vec![], 0);
    for lengths in sequences {
        let (beginning, end) = (start..start + lengths[0], start + lengths.iter().sum::<usize>());
        segments.push(Segment { seen_until: end, ..Segment::alone(beginning.clone()) });
        start = beginning.end;
        for length in &lengths[1..] {
            segments.push(Segment { before: beginning.clone(), ..Segment::alone(start..start + length) });
            start += length;
        }
    }
    segments
}

#[track_caller]
fn check(sequences: &[&[usize]], heads: Heads) {
    let Heads { queries, keys, width } = heads;
    let segments = segments(sequences);
    let (tokens, stride) =
        (segments.iter().map(|segment| segment.rows.len()).sum::<usize>(), (queries + 2 * keys) * width);
    let mut numbers = Numbers::new(7);
    // Large queries, so that some rows of the softmax are sharp.
    let mut qkv = numbers.bf16(tokens * stride);
    for row in qkv.chunks_mut(stride) {
        row[..queries * width].iter_mut().for_each(|q| *q = bf16::from_f32(q.to_f32() * 4.0));
    }
    let case = Case { qkv, d_o: numbers.bf16(tokens * queries * width), segments, heads };

    let outputs = in_every_order(|machine| {
        let (qkv, d_o) = (Buffer::new(&case.qkv), Buffer::new(&case.d_o));
        let tiles = Tiles::new(&case.segments);
        let (query_tiles, key_tiles) = (Buffer::new(&tiles.queries), Buffer::new(&tiles.keys));
        let packed =
            Packed { query_tiles: query_tiles.ptr(), key_tiles: key_tiles.ptr(), tiles: tiles.count(), tokens, heads };
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
    let (o, lse) = case.forward();
    let what = |of: &str| format!("{of} of {sequences:?}, {heads:?}");
    close(&what("o"), &outputs[0], &o, ROUNDING);
    close(&what("lse"), &outputs[1], &lse, 1e-5);
    close(&what("d_qkv"), &outputs[2], &case.backward(&outputs[0], &outputs[1]), ROUNDING);
}

fn rounded(value: f64) -> f64 {
    bf16::from_f64(value).to_f64()
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

impl Case {
    /// Visits every row of every head with where its query stands, its key's and its value's, and what it sees.
    fn rows(&self, mut visit: impl FnMut(Row)) {
        let Heads { queries, keys, width } = self.heads;
        let stride = (queries + 2 * keys) * width;
        for Segment { rows, before, .. } in &self.segments {
            for (head, token) in (0..queries).flat_map(|head| rows.clone().map(move |token| (head, token))) {
                let key_head = head / (queries / keys);
                let at = |token: usize, head: usize| token * stride + head * width;
                let seen = before.clone().chain(rows.start..=token);
                let seen = seen.map(|key| [at(key, queries + key_head), at(key, queries + keys + key_head)]).collect();
                visit(Row { head, token, query: at(token, head), out: (token * queries + head) * width, seen });
            }
        }
    }

    /// o and lse.
    fn forward(&self) -> (Vec<f64>, Vec<f64>) {
        let (Heads { queries, width, .. }, qkv) = (self.heads, wide(&self.qkv));
        let tokens = self.d_o.len() / (queries * width);
        let (mut o, mut lse) = (vec![0.0; tokens * queries * width], vec![0.0; queries * tokens]);
        self.rows(|Row { head, token, query, out, seen }| {
            let scores: Vec<f64> = seen.iter().map(|[key, _]| self.score(&qkv, query, *key)).collect();
            let max = scores.iter().fold(f64::NEG_INFINITY, |a, &b| a.max(b));
            let normaliser = max + scores.iter().map(|s| (s - max).exp()).sum::<f64>().ln();
            lse[head * tokens + token] = normaliser;
            for (score, [_, value]) in scores.iter().zip(seen) {
                (0..width).for_each(|c| o[out + c] += (score - normaliser).exp() * qkv[value + c]);
            }
        });
        (o, lse)
    }

    /// d_qkv, from what came out of the forward pass.
    fn backward(&self, o: &[f64], lse: &[f64]) -> Vec<f64> {
        let Heads { queries, width, .. } = self.heads;
        let (qkv, d_o, tokens) = (wide(&self.qkv), wide(&self.d_o), self.d_o.len() / (queries * width));
        let (mut d_qkv, scale) = (vec![0.0; qkv.len()], 1.0 / (width as f64).sqrt());
        self.rows(|Row { head, token, query, out, seen }| {
            let (d_row, lse) = (&d_o[out..][..width], lse[head * tokens + token]);
            let delta = dot(d_row, &o[out..][..width]);
            for [key, value] in seen {
                let p = (self.score(&qkv, query, key) - lse).exp();
                let ds = rounded(p * (dot(d_row, &qkv[value..][..width]) - delta)) * scale;
                for c in 0..width {
                    d_qkv[query + c] += ds * qkv[key + c];
                    d_qkv[key + c] += ds * qkv[query + c];
                    d_qkv[value + c] += rounded(p) * d_row[c];
                }
            }
        });
        d_qkv
    }

    fn score(&self, qkv: &[f64], query: usize, key: usize) -> f64 {
        let width = self.heads.width;
        dot(&qkv[query..][..width], &qkv[key..][..width]) / (width as f64).sqrt()
    }
}

/// One query of one head.
struct Row {
    head: usize,
    token: usize,
    query: usize,
    out: usize,
    /// Where the keys and values stand that it sees.
    seen: Vec<[usize; 2]>,
}
