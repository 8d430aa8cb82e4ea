// Sums over rows in a fixed order, in two steps: gradients of biases and of norm weights.
//
//   column_sums    partial[b][c] = sum of x[r][c] over the rows r of block b      x (rows, width) bf16, rows `stride` apart
//   add_partials   out[c] += sum of partial[b][c] over b          out (width) f32, partial (blocks, width), `stride` apart

// Grid: (column groups, row blocks). Block (., b) has rows b, b + blocks, ...
extern "C" __global__ void column_sums(float* partial, const bf16* x, int rows, int width, int stride) {
    int column = blockIdx.x * blockDim.x + threadIdx.x;
    if (column >= width) return;
    float sum = 0.0f;
    for (int row = blockIdx.y; row < rows; row += gridDim.y) sum += to_float(x[static_cast<i64>(row) * stride + column]);
    partial[static_cast<i64>(blockIdx.y) * width + column] = sum;
}

// One thread per column.
extern "C" __global__ void add_partials(float* out, const float* partial, int blocks, int width, int stride) {
    int column = blockIdx.x * blockDim.x + threadIdx.x;
    if (column >= width) return;
    float sum = 0.0f;
    for (int block = 0; block < blocks; ++block) sum += partial[static_cast<i64>(block) * stride + column];
    out[column] += sum;
}
