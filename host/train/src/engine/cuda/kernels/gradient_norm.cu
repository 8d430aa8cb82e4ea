// The global norm of the gradient and the factor that clips it.
//
//   sum_of_squares   partial[b] = sum of x^2 over the elements of block b                     x f32, partial (blocks) f64
//   clip             norm = sqrt(sum of partial)    factor = max_norm / norm where 0 < max_norm < norm, else 1
//                    out (2) f32 = [factor | norm]
//
// Both sums have a fixed order. Buffers of several parameters leave their partial sums one behind the other.

// Block b has the elements b 256 + i + blocks 256 k.
extern "C" __global__ void sum_of_squares(double* partial, const float* x, i64 count) {
    __shared__ double scratch[WARP];
    double sum = 0.0;
    for (i64 i = static_cast<i64>(blockIdx.x) * blockDim.x + threadIdx.x; i < count;
         i += static_cast<i64>(gridDim.x) * blockDim.x)
        sum += static_cast<double>(x[i]) * static_cast<double>(x[i]);
    sum = block_sum(sum, scratch);
    if (threadIdx.x == 0) partial[blockIdx.x] = sum;
}

// One block.
extern "C" __global__ void clip(float* out, const double* partial, int count, float max_norm) {
    __shared__ double scratch[WARP];
    double sum = 0.0;
    for (int i = threadIdx.x; i < count; i += blockDim.x) sum += partial[i];
    sum = block_sum(sum, scratch);
    if (threadIdx.x == 0) {
        float norm = static_cast<float>(sqrt(sum));
        out[0] = max_norm > 0.0f && norm > max_norm ? max_norm / norm : 1.0f;
        out[1] = norm;
    }
}
