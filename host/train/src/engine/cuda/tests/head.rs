//! Log-probabilities and entropies of logits, and their gradient.

use half::bf16;

use super::{Numbers, ONE_ROUNDING, close, in_every_order, wide};
use crate::engine::cuda::emulator::Buffer;
use crate::engine::cuda::launch::Ptr;
use crate::engine::cuda::ops::{self, Logits, Said};

#[test]
fn log_probs_and_entropies_equal_their_formulas() {
    check(3, 7, 8, true);
    check(2, 600, 600, false);
    check(2, 2049, 2056, true);
}

#[track_caller]
fn check(rows: usize, vocabulary: usize, stride: usize, has_entropy: bool) {
    let mut numbers = Numbers::new(10);
    let mut x: Vec<f32> = numbers.f32(rows * stride).iter().map(|x| x * 12.0).collect();
    x[1] = f32::NEG_INFINITY; // a token that was ruled out
    let mut targets = numbers.below(rows, vocabulary as i32);
    targets[0] = 0;
    let (by_log_prob, by_entropy) = (numbers.f32(rows), numbers.f32(rows));

    let outputs = in_every_order(|machine| {
        let (x, targets) = (Buffer::new(&x), Buffer::new(&targets));
        let [log_probs, entropies, lses] = [(); 3].map(|()| Buffer::unwritten(rows));
        let (by_log_prob, by_entropy) = (Buffer::new(&by_log_prob), Buffer::new(&by_entropy));
        let logits = Logits { start: x.ptr(), rows, vocabulary, stride };
        let said =
            Said { targets: targets.ptr(), log_probs: log_probs.ptr(), entropies: entropies.ptr(), lses: lses.ptr() };
        machine.run(&ops::log_prob_forward(&logits, &said));
        let by_entropy = if has_entropy { by_entropy.ptr() } else { Ptr::NULL };
        machine.run(&ops::log_prob_backward(&logits, &said, by_log_prob.ptr(), by_entropy));
        // bf16, in the first half of each row.
        let half = |bits: u32| f64::from(bf16::from_bits(bits as u16));
        let values = x.values();
        let words = values.chunks(stride).flat_map(|row| &row[..vocabulary.div_ceil(2)]);
        let slopes: Vec<f64> =
            words.flat_map(|word| [half(word.to_bits() & 0xffff), half(word.to_bits() >> 16)]).collect();
        let each = vocabulary.div_ceil(2) * 2;
        let slopes = slopes.chunks(each).flat_map(|row| &row[..vocabulary]).copied().collect();
        vec![wide(&log_probs.values()), wide(&entropies.values()), wide(&lses.values()), slopes]
    });
    let Some(outputs) = outputs else { return };

    let (mut log_probs, mut entropies, mut lses, mut slopes) = (vec![], vec![], vec![], vec![]);
    for row in 0..rows {
        let x = wide(&x[row * stride..][..vocabulary]);
        let max = x.iter().fold(f64::NEG_INFINITY, |a, &b| a.max(b));
        let lse = max + x.iter().map(|x| (x - max).exp()).sum::<f64>().ln();
        let p: Vec<f64> = x.iter().map(|x| (x - lse).exp()).collect();
        let information = |(p, x): (&f64, &f64)| if *p > 0.0 { -p * (x - lse) } else { 0.0 };
        let entropy: f64 = p.iter().zip(&x).map(information).sum();
        lses.push(lse);
        entropies.push(entropy);
        log_probs.push(x[targets[row] as usize] - lse);
        for (j, (p, x)) in p.iter().zip(&x).enumerate() {
            let hit = if j as i32 == targets[row] { 1.0 } else { 0.0 };
            let by_entropy = if has_entropy && *p > 0.0 { f64::from(by_entropy[row]) } else { 0.0 };
            let information = if by_entropy == 0.0 { 0.0 } else { -p * (x - lse + entropy) };
            slopes.push(f64::from(by_log_prob[row]) * (hit - p) + by_entropy * information);
        }
    }
    for (got, (want, relative)) in
        outputs.iter().zip([(log_probs, 1e-5), (entropies, 1e-5), (lses, 1e-5), (slopes, ONE_ROUNDING)])
    {
        close(&format!("{rows} rows of {vocabulary}"), got, &want, relative);
    }
}
