//! Embedding, RMSNorm, biases, SwiGLU and the small helpers.

use half::bf16;

use super::{Numbers, ONE_ROUNDING, close, in_every_order, wide};
use crate::engine::cuda::emulator::Buffer;
use crate::engine::cuda::launch::Ptr;
use crate::engine::cuda::ops;

#[test]
fn embeddings_are_gathered_and_their_gradients_added_by_id() {
    let (vocabulary, tokens, width) = (11, 40, 24);
    let mut numbers = Numbers::new(1);
    let (weight, dy, start) = (numbers.bf16(vocabulary * width), numbers.bf16(tokens * width), numbers.f32(11 * width));
    let ids = numbers.below(tokens, vocabulary as i32 - 2); // two ids never come up
    let occurrences = ops::Occurrences::new(&ids.iter().map(|&id| id as u32).collect::<Vec<_>>());

    let outputs = in_every_order(|machine| {
        let (y, gradient) = (Buffer::unwritten(tokens * width), Buffer::new(&start));
        let (weight, dy, ids) = (Buffer::new(&weight), Buffer::new(&dy), Buffer::new(&ids));
        let lists = [&occurrences.distinct, &occurrences.starts, &occurrences.order].map(|list| Buffer::new(list));
        machine.run(&ops::embedding_forward(y.ptr(), weight.ptr(), ids.ptr(), (tokens, width)));
        let pointers = lists.each_ref().map(|list| list.ptr());
        let count = occurrences.distinct.len();
        machine.run(&ops::embedding_backward(gradient.ptr(), dy.ptr(), pointers, count, width));
        vec![wide(&y.values()), wide(&gradient.values())]
    });
    let Some(outputs) = outputs else { return };

    let (weight, dy, mut gradient) = (wide(&weight), wide(&dy), wide(&start));
    let mut y = vec![];
    for (token, &id) in ids.iter().enumerate() {
        y.extend_from_slice(&weight[id as usize * width..][..width]);
        for column in 0..width {
            gradient[id as usize * width + column] += dy[token * width + column];
        }
    }
    close("y", &outputs[0], &y, 0.0);
    close("gradient", &outputs[1], &gradient, 1e-6);
}

#[test]
fn rms_norm_equals_its_formula() {
    for (rows, width, has_base) in [(1, 8, true), (3, 64, false), (300, 72, true), (2, 2056, true)] {
        check_rms_norm(rows, width, has_base);
    }
}

#[track_caller]
fn check_rms_norm(rows: usize, width: usize, has_base: bool) {
    let eps = 1e-6f32;
    let mut numbers = Numbers::new(2);
    let (x, dy, base) = (numbers.bf16(rows * width), numbers.bf16(rows * width), numbers.bf16(rows * width));
    let (weight, start) = (numbers.bf16(width), numbers.f32(width));

    let outputs = in_every_order(|machine| {
        let [x, dy, base] = [&x, &dy, &base].map(|values| Buffer::new(values));
        let (weight, dw) = (Buffer::new(&weight), Buffer::new(&start));
        let (y, dx) = (Buffer::unwritten(rows * width), Buffer::unwritten(rows * width));
        let partials = ops::partials(rows);
        let partial = Buffer::unwritten(partials * width);
        let shape = (rows, width);
        machine.run(&ops::rms_norm_forward(y.ptr(), x.ptr(), weight.ptr(), shape, eps));
        let from = (x.ptr(), weight.ptr(), dy.ptr());
        let residual = if has_base { base.ptr() } else { Ptr::NULL };
        machine.run(&ops::rms_norm_backward(dx.ptr(), partial.ptr(), residual, from, shape, eps));
        machine.run(&ops::add_partials(dw.ptr(), partial.ptr(), partials, width, width));
        vec![wide(&y.values()), wide(&dx.values()), wide(&dw.values())]
    });
    let Some(outputs) = outputs else { return };

    let (x, dy, base, w, mut dw) = (wide(&x), wide(&dy), wide(&base), wide(&weight), wide(&start));
    let (mut y, mut dx) = (vec![0.0; rows * width], vec![0.0; rows * width]);
    for row in 0..rows {
        let at = row * width;
        let mean = (0..width).map(|c| x[at + c] * x[at + c]).sum::<f64>() / width as f64;
        let root = 1.0 / (mean + f64::from(eps)).sqrt();
        let product: f64 = (0..width).map(|c| x[at + c] * dy[at + c] * w[c]).sum();
        for c in 0..width {
            y[at + c] = x[at + c] * root * w[c];
            let residual = if has_base { base[at + c] } else { 0.0 };
            dx[at + c] = residual + dy[at + c] * w[c] * root - x[at + c] * product * root.powi(3) / width as f64;
            dw[c] += dy[at + c] * x[at + c] * root;
        }
    }
    close("y", &outputs[0], &y, ONE_ROUNDING);
    close("dx", &outputs[1], &dx, ONE_ROUNDING);
    close("dw", &outputs[2], &dw, 1e-5);
}

#[test]
fn biases_are_added_and_their_gradients_are_column_sums() {
    for (rows, width) in [(1, 8), (5, 264), (300, 24)] {
        let mut numbers = Numbers::new(3);
        let (x, bias, start) = (numbers.bf16(rows * width), numbers.bf16(width), numbers.f32(width));
        let outputs = in_every_order(|machine| {
            let (x, bias, sums) = (Buffer::new(&x), Buffer::new(&bias), Buffer::new(&start));
            let partial = Buffer::unwritten(ops::partials(rows) * width);
            machine.run(&ops::column_sums(partial.ptr(), x.ptr(), (rows, width), width));
            machine.run(&ops::add_partials(sums.ptr(), partial.ptr(), ops::partials(rows), width, width));
            machine.run(&ops::bias_add(x.ptr(), bias.ptr(), (rows, width)));
            vec![wide(&x.values()), wide(&sums.values())]
        });
        let Some(outputs) = outputs else { return };
        let (x, bias, mut sums) = (wide(&x), wide(&bias), wide(&start));
        let added: Vec<f64> = x.iter().enumerate().map(|(i, x)| x + bias[i % width]).collect();
        for (i, x) in x.iter().enumerate() {
            sums[i % width] += x;
        }
        close("x", &outputs[0], &added, ONE_ROUNDING);
        close("sums", &outputs[1], &sums, 1e-5);
    }
}

#[test]
fn swiglu_equals_its_formula() {
    for (rows, width) in [(1, 8), (7, 40), (3, 1032)] {
        let mut numbers = Numbers::new(4);
        let gate_up: Vec<bf16> =
            numbers.bf16(2 * rows * width).iter().map(|x| bf16::from_f32(x.to_f32() * 8.0)).collect();
        let dy = numbers.bf16(rows * width);
        let outputs = in_every_order(|machine| {
            let (gate_up, dy) = (Buffer::new(&gate_up), Buffer::new(&dy));
            let (y, again) = (Buffer::unwritten(rows * width), Buffer::unwritten(rows * width));
            let shape = (rows, width);
            machine.run(&ops::swiglu_forward(y.ptr(), gate_up.ptr(), shape));
            // In place, with the result once more.
            machine.run(&ops::swiglu_backward(gate_up.ptr(), again.ptr(), gate_up.ptr(), dy.ptr(), shape));
            vec![wide(&y.values()), wide(&again.values()), wide(&gate_up.values())]
        });
        let Some(outputs) = outputs else { return };
        let (gate_up, dy) = (wide(&gate_up), wide(&dy));
        let (mut y, mut d_gate_up) = (vec![], vec![0.0; 2 * rows * width]);
        for row in 0..rows {
            for c in 0..width {
                let (g, u) = (gate_up[2 * row * width + c], gate_up[(2 * row + 1) * width + c]);
                let (s, dy) = (1.0 / (1.0 + (-g).exp()), dy[row * width + c]);
                y.push(g * s * u);
                d_gate_up[2 * row * width + c] = dy * u * (s + g * s * (1.0 - s));
                d_gate_up[(2 * row + 1) * width + c] = dy * g * s;
            }
        }
        close("y", &outputs[0], &y, ONE_ROUNDING);
        close("y again", &outputs[1], &y, ONE_ROUNDING);
        close("d_gate_up", &outputs[2], &d_gate_up, ONE_ROUNDING);
    }
}

#[test]
fn rows_are_scattered_among_zeros() {
    let width = 24;
    let mut numbers = Numbers::new(5);
    let (rows, places) = (numbers.bf16(3 * width), [-1, 2, 0, -1, 1]);
    let outputs = in_every_order(|machine| {
        let (rows, places) = (Buffer::new(&rows), Buffer::new(&places));
        let scattered = Buffer::unwritten(5 * width);
        machine.run(&ops::scatter_rows(scattered.ptr(), rows.ptr(), places.ptr(), (5, width)));
        vec![wide(&scattered.values())]
    });
    let Some(outputs) = outputs else { return };
    let zero = vec![bf16::ZERO; width];
    let row = |place: i32| if place < 0 { &zero[..] } else { &rows[place as usize * width..][..width] };
    let scattered: Vec<bf16> = places.iter().flat_map(|&place| row(place)).copied().collect();
    close("rows", &outputs[0], &wide(&scattered), 0.0);
}
