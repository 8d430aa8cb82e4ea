// Small helpers over buffers, one thread per element.
//
//   to_bf16_all    y[i] = x[i], rounded            y bf16, x f32
//   to_float_all   y[i] = x[i]                     y f32, x bf16
//   scale          x[i] *= factor                  x f32
//   add            x[i] += y[i]                    x, y bf16
//   scatter_rows   y[t] = x[place[t]], or 0 where place[t] is negative     y (T, width), x (N, width) bf16; a block per token

__device__ __forceinline__ i64 element() {
    return static_cast<i64>(blockIdx.x) * blockDim.x + threadIdx.x;
}

extern "C" __global__ void to_bf16_all(bf16* y, const float* x, i64 count) {
    if (element() < count) y[element()] = to_bf16(x[element()]);
}

extern "C" __global__ void to_float_all(float* y, const bf16* x, i64 count) {
    if (element() < count) y[element()] = to_float(x[element()]);
}

extern "C" __global__ void scale(float* x, float factor, i64 count) {
    if (element() < count) x[element()] *= factor;
}

extern "C" __global__ void add(bf16* x, const bf16* y, i64 count) {
    if (element() < count) x[element()] = to_bf16(to_float(x[element()]) + to_float(y[element()]));
}

extern "C" __global__ void scatter_rows(bf16* y, const bf16* x, const int* places, int width) {
    int place = places[blockIdx.x];
    for (int column = threadIdx.x * 8; column < width; column += blockDim.x * 8) {
        uint4 zero = {0, 0, 0, 0};
        *reinterpret_cast<uint4*>(y + static_cast<i64>(blockIdx.x) * width + column) =
            place < 0 ? zero : *reinterpret_cast<const uint4*>(x + static_cast<i64>(place) * width + column);
    }
}
