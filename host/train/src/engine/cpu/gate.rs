//! The gated MLP's middle (Shazeer 2020, SwiGLU): y = silu(g) * u with silu(g) = g sigmoid(g); a row holds all g, then all
//! u.

use super::lanes::sigmoid;

/// y (rows, inner) of gate_up (rows, 2 inner).
#[inline(always)]
pub(super) fn gate(y: &mut [f32], gate_up: &[f32], inner: usize) {
    for (y, gate_up) in y.chunks_exact_mut(inner).zip(gate_up.chunks_exact(2 * inner)) {
        let (g, u) = gate_up.split_at(inner);
        for i in 0..inner {
            y[i] = g[i] * sigmoid(g[i]) * u[i];
        }
    }
}

/// The gradient by gate and up from dy, and y itself once more, in place of dy: du = dy silu(g), dg = dy u silu'(g) with
/// silu'(g) = s + g s (1 - s), s = sigmoid(g).
#[inline(always)]
pub(super) fn gate_back(dgate_up: &mut [f32], y: &mut [f32], gate_up: &[f32], inner: usize) {
    let rows = dgate_up.chunks_exact_mut(2 * inner).zip(gate_up.chunks_exact(2 * inner));
    for ((dgate_up, gate_up), y) in rows.zip(y.chunks_exact_mut(inner)) {
        let ((g, u), (dg, du)) = (gate_up.split_at(inner), dgate_up.split_at_mut(inner));
        for i in 0..inner {
            let (dy, s) = (y[i], sigmoid(g[i]));
            let silu = g[i] * s;
            du[i] = dy * silu;
            dg[i] = dy * u[i] * (s + silu * (1.0 - s));
            y[i] = silu * u[i];
        }
    }
}
