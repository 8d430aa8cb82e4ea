// Rows of results for a few tokens, put among zeros for all of them; a block per token.
//
//   y[t] = x[place[t]], or 0 where place[t] is negative     y (T, width), x (N, width) bf16

extern "C" __global__ void scatter_rows(bf16* y, const bf16* x, const int* places, int width) {
    int place = places[blockIdx.x];
    for (int column = threadIdx.x * 8; column < width; column += blockDim.x * 8) {
        uint4 zero = {0, 0, 0, 0};
        *reinterpret_cast<uint4*>(y + static_cast<i64>(blockIdx.x) * width + column) =
            place < 0 ? zero : *reinterpret_cast<const uint4*>(x + static_cast<i64>(place) * width + column);
    }
}
