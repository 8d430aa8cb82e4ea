//! The gradient's norm and AdamW.

use half::bf16;

use super::{Numbers, close, in_every_order, wide};
use crate::engine::cpu::AdamStep;
use crate::engine::cuda::emulator::Buffer;
use crate::engine::cuda::ops::{self, Parameter};

const STEP: AdamStep = AdamStep {
    rate: 0.1,
    kept: 0.99,
    beta1: 0.9,
    beta2: 0.95,
    eps: 1e-8,
    corrections: [0.271, 0.142_625],
    clip: 1.0, // of the processor's step
};

#[test]
fn an_update_equals_its_formula() {
    for (counts, max_norm) in [([5, 1], 0.0), ([300, 1000], 1.0), ([263_000, 8], 1e9)] {
        check(counts, max_norm);
    }
}

/// Two parameters under one norm.
#[track_caller]
fn check(counts: [usize; 2], max_norm: f32) {
    let mut numbers = Numbers::new(12);
    let starts = counts.map(|count| [(); 4].map(|()| numbers.f32(count)));
    let positive = |values: &[f32]| values.iter().map(|x| x.abs()).collect::<Vec<f32>>();

    let outputs = in_every_order(|machine| {
        let partials = counts.map(ops::square_partials);
        let (partial, clipped) = (Buffer::unwritten(partials.iter().sum()), Buffer::unwritten(2));
        let buffers = starts.each_ref().map(|[master, gradient, first, second]| {
            let weight = Buffer::<bf16>::unwritten(master.len());
            let floats =
                [Buffer::new(master), Buffer::new(gradient), Buffer::new(first), Buffer::new(&positive(second))];
            (floats, weight)
        });
        let mut at = 0;
        for ((floats, _), count) in buffers.iter().zip(counts) {
            machine.run(&ops::sum_of_squares(partial.ptr().at(at), floats[1].ptr(), count));
            at += ops::square_partials(count);
        }
        machine.run(&ops::clip(clipped.ptr(), partial.ptr(), at, max_norm));
        let mut outputs = vec![wide(&clipped.values())];
        for ((floats, weight), count) in buffers.iter().zip(counts) {
            let [master, gradient, first, second] = floats.each_ref().map(|buffer| buffer.ptr());
            let parameter = Parameter { master, weight: weight.ptr(), first, second, gradient, count };
            machine.run(&ops::adamw(&parameter, clipped.ptr(), &STEP));
            outputs.push(wide(&floats[0].values()));
            outputs.push(wide(&weight.values()));
            outputs.push([wide(&floats[2].values()), wide(&floats[3].values())].concat());
        }
        outputs
    });
    let Some(outputs) = outputs else { return };

    let norm = starts.iter().flat_map(|[_, gradient, ..]| gradient).map(|&g| f64::from(g).powi(2)).sum::<f64>().sqrt();
    let limit = f64::from(max_norm);
    let factor = if limit > 0.0 && norm > limit { limit / norm } else { 1.0 };
    close("clip", &outputs[0], &[factor, norm], 1e-6);
    for (outputs, [master, gradient, first, second]) in outputs[1..].chunks(3).zip(&starts) {
        let (mut w, g, mut m, mut v) = (wide(master), wide(gradient), wide(first), wide(&positive(second)));
        let AdamStep { rate, kept, beta1, beta2, eps, corrections, .. } = STEP;
        let [rate, kept, b1, b2, eps] = [rate, kept, beta1, beta2, eps].map(f64::from);
        for i in 0..w.len() {
            let g = g[i] * factor;
            m[i] = b1 * m[i] + (1.0 - b1) * g;
            v[i] = b2 * v[i] + (1.0 - b2) * g * g;
            let (m, v) = (m[i] / f64::from(corrections[0]), v[i] / f64::from(corrections[1]));
            w[i] = w[i] * kept - rate * m / (v.sqrt() + eps);
        }
        close("master", &outputs[0], &w, 1e-5);
        let rounded: Vec<f64> = outputs[0].iter().map(|&w| f64::from(bf16::from_f32(w as f32))).collect();
        close("weight", &outputs[1], &rounded, 0.0);
        close("moments", &outputs[2], &[m, v].concat(), 1e-6);
    }
}

#[test]
fn a_gradient_that_is_no_number_changes_nothing() {
    for bad in [f32::NAN, f32::INFINITY, 1e30] {
        let outputs = in_every_order(|machine| {
            let (partial, clipped) = (Buffer::unwritten(1), Buffer::unwritten(2));
            let [master, gradient, first, second] =
                [[1.0, 2.0], [bad, 0.5], [0.1, 0.2], [0.3, 0.4]].map(|values| Buffer::new(&values));
            let weight = Buffer::<bf16>::zeros(2);
            machine.run(&ops::sum_of_squares(partial.ptr(), gradient.ptr(), 2));
            machine.run(&ops::clip(clipped.ptr(), partial.ptr(), 1, 1.0));
            let [master_ptr, gradient, first_ptr, second_ptr] = [&master, &gradient, &first, &second].map(Buffer::ptr);
            let parameter = Parameter {
                master: master_ptr,
                weight: weight.ptr(),
                first: first_ptr,
                second: second_ptr,
                gradient,
                count: 2,
            };
            machine.run(&ops::adamw(&parameter, clipped.ptr(), &STEP));
            vec![wide(&master.values()), wide(&first.values()), wide(&second.values())]
        });
        let Some(outputs) = outputs else { return };
        // 1e30 squared is no f32, but its norm is, and clipping makes it harmless.
        let unchanged = outputs == [[1.0, 2.0], [0.1f32, 0.2].map(f64::from), [0.3f32, 0.4].map(f64::from)];
        assert_eq!(unchanged, !bad.is_finite(), "{bad}: {outputs:?}");
    }
}
