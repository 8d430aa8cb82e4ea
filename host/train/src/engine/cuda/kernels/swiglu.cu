// SwiGLU (Shazeer 2020) on fused rows gate_up = [gate (width) | up (width)].
//
//   forward   y = silu(g) u,   silu(g) = g s,   s = 1 / (1 + e^-g)
//   backward  du = dy silu(g)      dg = dy u s (1 + g (1 - s))
//
// y, dy (T, width) bf16; gate_up, d_gate_up (T, 2 width) bf16. One thread per eight elements of y; `count` is T width.

// The row and the column of this thread's elements; false past the end.
__device__ __forceinline__ bool swiglu_place(i64& gate, i64& flat, i64 count, int width) {
    flat = (static_cast<i64>(blockIdx.x) * blockDim.x + threadIdx.x) * 8;
    gate = flat / width * 2 * width + flat % width;
    return flat < count;
}

extern "C" __global__ void swiglu_forward(bf16* y, const bf16* gate_up, i64 count, int width) {
    i64 gate, flat;
    if (!swiglu_place(gate, flat, count, width)) return;
    float gates[8], ups[8];
    load8(gates, gate_up + gate);
    load8(ups, gate_up + gate + width);
    for (int i = 0; i < 8; ++i) ups[i] *= gates[i] / (1.0f + exp2_fast(-LOG2_E * gates[i]));
    store8(y + flat, ups);
}

// d_gate_up may be gate_up. Where `y` is not null it receives the forward's result again, which then need not be kept.
extern "C" __global__ void swiglu_backward(
    bf16* d_gate_up, bf16* y, const bf16* gate_up, const bf16* dy, i64 count, int width) {
    i64 gate, flat;
    if (!swiglu_place(gate, flat, count, width)) return;
    float gates[8], ups[8], slopes[8], outputs[8];
    load8(gates, gate_up + gate);
    load8(ups, gate_up + gate + width);
    load8(slopes, dy + flat);
    for (int i = 0; i < 8; ++i) {
        float sigmoid = 1.0f / (1.0f + exp2_fast(-LOG2_E * gates[i])), silu = gates[i] * sigmoid;
        outputs[i] = silu * ups[i];
        gates[i] = slopes[i] * ups[i] * (sigmoid + silu * (1.0f - sigmoid));
        ups[i] = slopes[i] * silu;
    }
    store8(d_gate_up + gate, gates);
    store8(d_gate_up + gate + width, ups);
    if (y) store8(y + flat, outputs);
}
