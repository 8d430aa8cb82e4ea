//! RMS norm (Zhang and Sennrich 2019) of each row: y = r x * w with r = 1 / sqrt(mean(x^2) + eps).

use super::lanes::{dot, dot3};

/// y (rows, w) of x (rows, w).
#[inline(always)]
pub(super) fn rms_norm(y: &mut [f32], x: &[f32], w: &[f32], eps: f32) {
    for (y, x) in y.chunks_exact_mut(w.len()).zip(x.chunks_exact(w.len())) {
        let r = root(x, eps);
        for ((y, x), w) in y.iter_mut().zip(x).zip(w) {
            *y = x * r * w;
        }
    }
}

/// dx += r (dy * w) - x r^3 mean(x * dy * w), and, if it is trained, dw += dy * x r.
#[inline(always)]
pub(super) fn rms_norm_back(dx: &mut [f32], x: &[f32], w: &[f32], dy: &[f32], eps: f32, mut dw: Option<&mut [f32]>) {
    let width = w.len();
    for ((dx, x), dy) in dx.chunks_exact_mut(width).zip(x.chunks_exact(width)).zip(dy.chunks_exact(width)) {
        let r = root(x, eps);
        let shared = dot3(x, dy, w) * r * r * r / width as f32;
        for i in 0..width {
            dx[i] += dy[i] * w[i] * r - x[i] * shared;
        }
        if let Some(dw) = dw.as_deref_mut() {
            for i in 0..width {
                dw[i] += dy[i] * x[i] * r;
            }
        }
    }
}

/// 1 / sqrt(mean(x^2) + eps).
#[inline(always)]
pub(super) fn root(x: &[f32], eps: f32) -> f32 {
    1.0 / (dot(x, x) / x.len() as f32 + eps).sqrt()
}
