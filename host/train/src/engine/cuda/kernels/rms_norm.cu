// RMSNorm (Zhang and Sennrich 2019) over rows of `width`.
//
//   forward   r = 1 / sqrt(mean(x^2) + eps)      y = x r w
//   backward  g = dy w      dx = base + g r - x (sum(x g) r^3 / width)      dw += sum over rows of dy x r
//
// x, y, dy, dx, base (T, width) bf16; w (width) bf16; dw (width) f32. `base`, which may be null, is the gradient that
// reaches x past the norm, through the residual connection; dx may be base. dw is summed in two steps: every block leaves
// its rows' sum in `partial` (blocks, width) f32, and add_partials (column_sums.cu) adds them up in order.

__device__ __forceinline__ float inverse_root(const bf16* x, int width, float eps, float* scratch) {
    float squares = 0.0f;
    for (int column = threadIdx.x * 8; column < width; column += blockDim.x * 8) {
        float values[8];
        load8(values, x + column);
        for (int i = 0; i < 8; ++i) squares += values[i] * values[i];
    }
    return 1.0f / sqrtf(block_sum(squares, scratch) / width + eps);
}

// One block per row.
extern "C" __global__ void rms_norm_forward(bf16* y, const bf16* x, const bf16* weight, int width, float eps) {
    __shared__ float scratch[WARP];
    x += static_cast<i64>(blockIdx.x) * width;
    y += static_cast<i64>(blockIdx.x) * width;
    float root = inverse_root(x, width, eps, scratch);
    for (int column = threadIdx.x * 8; column < width; column += blockDim.x * 8) {
        float values[8], weights[8];
        load8(values, x + column);
        load8(weights, weight + column);
        for (int i = 0; i < 8; ++i) values[i] *= root * weights[i];
        store8(y + column, values);
    }
}

// Block b has rows b, b + blocks, ...; each thread keeps the weight gradient of its own columns in shared memory.
extern "C" __global__ void rms_norm_backward(
    bf16* dx, float* partial, const bf16* base, const bf16* x, const bf16* weight, const bf16* dy, int rows, int width,
    float eps) {
    __shared__ float scratch[WARP];
    DYNAMIC_SHARED(float, weight_sums); // (width)
    for (int column = threadIdx.x * 8; column < width; column += blockDim.x * 8)
        for (int i = 0; i < 8; ++i) weight_sums[column + i] = 0.0f;

    for (int row = blockIdx.x; row < rows; row += gridDim.x) {
        i64 start = static_cast<i64>(row) * width;
        float root = inverse_root(x + start, width, eps, scratch);
        float product = 0.0f;
        for (int column = threadIdx.x * 8; column < width; column += blockDim.x * 8) {
            float values[8], slopes[8], weights[8];
            load8(values, x + start + column);
            load8(slopes, dy + start + column);
            load8(weights, weight + column);
            for (int i = 0; i < 8; ++i) {
                product += values[i] * slopes[i] * weights[i];
                weight_sums[column + i] += slopes[i] * values[i] * root;
            }
        }
        float along = block_sum(product, scratch) * root * root * root / width;
        for (int column = threadIdx.x * 8; column < width; column += blockDim.x * 8) {
            float values[8], slopes[8], weights[8], sums[8] = {};
            load8(values, x + start + column);
            load8(slopes, dy + start + column);
            load8(weights, weight + column);
            if (base) load8(sums, base + start + column);
            for (int i = 0; i < 8; ++i) sums[i] += slopes[i] * weights[i] * root - values[i] * along;
            store8(dx + start + column, sums);
        }
    }

    for (int column = threadIdx.x * 8; column < width; column += blockDim.x * 8)
        for (int i = 0; i < 8; ++i) partial[static_cast<i64>(blockIdx.x) * width + column + i] = weight_sums[column + i];
}
