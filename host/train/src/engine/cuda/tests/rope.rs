//! Norms of heads and rotary positions.

use super::{Numbers, ONE_ROUNDING, close, in_every_order, wide};
use crate::engine::cuda::emulator::Buffer;
use crate::engine::cuda::launch::Ptr;
use crate::engine::cuda::ops::{self, Heads, Rows};

#[test]
fn head_norm_and_rope_equal_their_formulas() {
    for (tokens, queries, keys, width, has_norm) in
        [(1, 1, 1, 64, true), (37, 4, 2, 64, true), (33, 4, 1, 128, true), (5, 2, 2, 128, false)]
    {
        check(tokens, Heads { queries, keys, width }, has_norm);
    }
}

#[track_caller]
fn check(tokens: usize, heads: Heads, has_norm: bool) {
    let Heads { queries, keys, width } = heads;
    let (stride, half, eps) = ((queries + 2 * keys) * width, width / 2, 1e-6f32);
    let mut numbers = Numbers::new(6);
    let (x, dy) = (numbers.bf16(tokens * stride), numbers.bf16(tokens * stride));
    let weights = [numbers.bf16(width), numbers.bf16(width)];
    let starts = numbers.f32(2 * width);
    let positions = numbers.below(tokens, 5000);
    let frequencies: Vec<f32> = (0..half).map(|i| 1e6f32.powf(-(i as f32) / half as f32)).collect();

    let outputs = in_every_order(|machine| {
        let (table, turned) = (Buffer::unwritten(tokens * width), Buffer::unwritten(tokens * (queries + keys) * width));
        let (positions, frequencies) = (Buffer::new(&positions), Buffer::new(&frequencies));
        let (x, slopes) = (Buffer::new(&x), Buffer::new(&dy));
        let buffers = weights.each_ref().map(|weight| Buffer::new(weight));
        let weights = buffers.each_ref().map(|weight| if has_norm { weight.ptr() } else { Ptr::NULL });
        machine.run(&ops::rope_table(table.ptr(), positions.ptr(), frequencies.ptr(), (tokens, half)));
        let (x_rows, y_rows) = (Rows::new(x.ptr(), stride), Rows::new(turned.ptr(), (queries + keys) * width));
        machine.run(&ops::head_norm_rope_forward(y_rows, x_rows, weights, table.ptr(), tokens, heads, eps));

        let partials = ops::head_norm_partials(tokens, heads);
        let (partial, dw) = (Buffer::unwritten(partials * 2 * width), Buffer::new(&starts));
        let dy = Rows::new(slopes.ptr(), stride);
        machine.run(&ops::head_norm_rope_backward(dy, partial.ptr(), x_rows, weights, table.ptr(), tokens, heads, eps));
        if has_norm {
            machine.run(&ops::add_partials(dw.ptr(), partial.ptr(), partials, 2 * width, 2 * width));
        }
        // In place, as the sampler does it.
        machine.run(&ops::head_norm_rope_forward(x_rows, x_rows, weights, table.ptr(), tokens, heads, eps));
        vec![wide(&turned.values()), wide(&x.values()), wide(&slopes.values()), wide(&dw.values())]
    });
    let Some(outputs) = outputs else { return };

    let (x, dy, mut dw) = (wide(&x), wide(&dy), wide(&starts));
    let (mut y, mut in_place, mut dx) = (vec![], x.clone(), dy.clone());
    for (token, &position) in positions.iter().enumerate() {
        for head in 0..queries + keys {
            let at = token * stride + head * width;
            let kind = usize::from(head >= queries);
            let w = wide(&weights[kind]);
            let mean = (0..width).map(|i| x[at + i] * x[at + i]).sum::<f64>() / width as f64;
            let root = 1.0 / (mean + f64::from(eps)).sqrt();
            let z: Vec<f64> = (0..width).map(|i| if has_norm { x[at + i] * root * w[i] } else { x[at + i] }).collect();
            let (mut turned, mut dz) = (vec![0.0; width], vec![0.0; width]);
            for i in 0..half {
                // The angle is rounded to f32, as everywhere.
                let (sin, cos) = f64::from(position as f32 * frequencies[i]).sin_cos();
                turned[i] = z[i] * cos - z[i + half] * sin;
                turned[i + half] = z[i + half] * cos + z[i] * sin;
                dz[i] = dy[at + i] * cos + dy[at + i + half] * sin;
                dz[i + half] = dy[at + i + half] * cos - dy[at + i] * sin;
            }
            in_place[at..at + width].copy_from_slice(&turned);
            y.extend(turned);
            if has_norm {
                let product: f64 = (0..width).map(|i| x[at + i] * dz[i] * w[i]).sum();
                for i in 0..width {
                    dx[at + i] = dz[i] * w[i] * root - x[at + i] * product * root.powi(3) / width as f64;
                    dw[kind * width + i] += dz[i] * x[at + i] * root;
                }
            } else {
                dx[at..at + width].copy_from_slice(&dz);
            }
        }
    }
    close("y", &outputs[0], &y, ONE_ROUNDING);
    close("y in place", &outputs[1], &in_place, ONE_ROUNDING);
    close("dx", &outputs[2], &dx, ONE_ROUNDING);
    close("dw", &outputs[3], &dw, 1e-5);
}
