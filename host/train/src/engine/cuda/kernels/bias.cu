// A bias on rows: x[t] += bias. x (T, width) bf16 in place, bias (width) bf16; its gradient is in column_sums.cu. One
// thread per eight elements; `count` is T width.

extern "C" __global__ void bias_add(bf16* x, const bf16* bias, i64 count, int width) {
    i64 flat = (static_cast<i64>(blockIdx.x) * blockDim.x + threadIdx.x) * 8;
    if (flat >= count) return;
    float values[8], biases[8];
    load8(values, x + flat);
    load8(biases, bias + flat % width);
    for (int i = 0; i < 8; ++i) values[i] += biases[i];
    store8(x + flat, values);
}
