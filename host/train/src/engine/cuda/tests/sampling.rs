//! Drawing tokens: the rule of `sampler/choose.rs`, except that what survives a filter is walked through in the order of ids.

use super::{Numbers, in_every_order, wide};
use crate::engine::cuda::emulator::Buffer;
use crate::engine::cuda::ops::{self, Draws, Logits};

#[derive(Clone, Copy, Debug)]
struct Draw {
    temperature: f32,
    top_k: i32,
    top_p: f32,
}

const PLAIN: Draw = Draw { temperature: 1.0, top_k: 0, top_p: 1.0 };

const DRAWS: [Draw; 12] = [
    PLAIN,
    Draw { temperature: 0.0, ..PLAIN },
    Draw { temperature: 0.3, ..PLAIN },
    Draw { temperature: 3.0, ..PLAIN },
    Draw { top_k: 1, ..PLAIN },
    Draw { top_k: 4, ..PLAIN },
    Draw { top_k: 100_000, ..PLAIN },
    Draw { top_p: 1e-6, ..PLAIN },
    Draw { top_p: 0.5, ..PLAIN },
    Draw { top_p: 0.99, ..PLAIN },
    Draw { temperature: 0.7, top_k: 6, top_p: 0.8 },
    Draw { temperature: 2.0, top_k: 3, top_p: 0.999 },
];

#[test]
fn draws_follow_the_settings() {
    let mut numbers = Numbers::new(11);
    check(&[1.0, 3.0, 3.0, 3.0, -2.0]);
    check(&[f32::NEG_INFINITY, 0.0, -0.0, f32::NEG_INFINITY]);
    check(&[0.5]);
    check(&numbers.f32(1500).iter().map(|x| x * 8.0).collect::<Vec<_>>());
    // Few different values: filters cut through many equal ones.
    check(&numbers.below(1100, 4).iter().map(|&x| x as f32).collect::<Vec<_>>());
}

#[track_caller]
fn check(logits: &[f32]) {
    let uniforms = [0.0, 0.1, 0.37, 0.62, 0.9, 0.999_999_9];
    let cases: Vec<(Draw, f64)> = DRAWS.iter().flat_map(|&draw| uniforms.map(|uniform| (draw, uniform))).collect();
    let (rows, vocabulary) = (cases.len(), logits.len());
    let stride = vocabulary.next_multiple_of(8);
    let padded: Vec<f32> =
        (0..rows).flat_map(|_| (0..stride).map(|i| *logits.get(i).unwrap_or(&f32::INFINITY))).collect();

    let outputs = in_every_order(|machine| {
        let logits = Buffer::new(&padded);
        let temperatures = Buffer::new(&cases.iter().map(|(draw, _)| draw.temperature).collect::<Vec<_>>());
        let top_k = Buffer::new(&cases.iter().map(|(draw, _)| draw.top_k).collect::<Vec<_>>());
        let top_p = Buffer::new(&cases.iter().map(|(draw, _)| draw.top_p).collect::<Vec<_>>());
        let uniforms = Buffer::new(&cases.iter().map(|&(_, uniform)| uniform).collect::<Vec<_>>());
        let (tokens, log_probs) = (Buffer::<i32>::unwritten(rows), Buffer::unwritten(rows));
        let logits = Logits { start: logits.ptr(), rows, vocabulary, stride };
        let draws = Draws {
            temperatures: temperatures.ptr(),
            top_k: top_k.ptr(),
            top_p: top_p.ptr(),
            uniforms: uniforms.ptr(),
        };
        machine.run(&ops::sample(tokens.ptr(), log_probs.ptr(), &logits, &draws));
        vec![wide(&tokens.values()), wide(&log_probs.values())]
    });
    let Some(outputs) = outputs else { return };

    let log_sum = logits.iter().map(|&x| f64::from(x).exp()).sum::<f64>().ln();
    for (row, (draw, uniform)) in cases.iter().enumerate() {
        let token = outputs[0][row] as usize;
        let log_prob = f64::from(logits[token]) - log_sum;
        let what = format!("{draw:?}, {uniform}: token {token} of {vocabulary}");
        assert!((outputs[1][row] - log_prob).abs() < 1e-5, "{what}: {} is not {log_prob}", outputs[1][row]);
        let kept = kept(logits, *draw);
        let total: f64 = kept.iter().map(|(_, weight)| weight).sum();
        let before: f64 = kept.iter().filter(|(id, _)| *id < token).map(|(_, weight)| weight / total).sum();
        let own = kept.iter().find(|(id, _)| *id == token).map(|(_, weight)| weight / total);
        let own = own.unwrap_or_else(|| panic!("{what} was filtered out"));
        // Weights are f32: an edge may lie a few millionths elsewhere.
        assert!(before - 3e-6 <= *uniform && *uniform < before + own + 3e-6, "{what}, {before} to {}", before + own);
    }
}

/// The tokens that may be drawn and their weights, by id.
fn kept(logits: &[f32], draw: Draw) -> Vec<(usize, f64)> {
    let max = logits.iter().fold(f32::NEG_INFINITY, |a, &b| a.max(b));
    let (temperature, top_k) = match draw.temperature {
        0.0 => (1.0, 1),
        temperature => (f64::from(temperature), draw.top_k as usize),
    };
    let weight = |id: usize| (f64::from(logits[id] - max) / temperature).exp();
    let mut ids: Vec<usize> = (0..logits.len()).collect();
    ids.sort_by(|&a, &b| logits[b].total_cmp(&logits[a]).then(a.cmp(&b)));
    ids.truncate(if top_k == 0 { ids.len() } else { top_k });
    let total: f64 = ids.iter().map(|&id| weight(id)).sum();
    let mut sum = 0.0;
    let within = |id: &&usize| {
        let before = sum;
        sum += weight(**id);
        draw.top_p >= 1.0 || before < f64::from(draw.top_p) * total
    };
    let mut kept: Vec<(usize, f64)> = ids.iter().take_while(within).map(|&id| (id, weight(id))).collect();
    kept.sort_by_key(|&(id, _)| id);
    kept
}
