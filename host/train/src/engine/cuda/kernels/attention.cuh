// Tiles of rows in shared memory and their fragments for `mma`, for the attention kernels over packed sequences.
//
// A tile is rows of D bf16. The 16-byte chunks of row r are stored in the order chunk ^ (r % 8): eight rows of one chunk
// then lie in different banks, and load_matrices has no conflicts.
//
// Every block of these kernels has some rows of one segment: tokens of a sequence that stand together in the batch. Where
// sequences begin alike, that beginning stands in the batch once, as a segment of its own with those that go on behind it.

constexpr int TILE = 64;                // rows of the tile a block owns
constexpr int ATTENTION_THREADS = 128;  // 4 warps of 16 rows

// What a block has, in rows of the batch; the host lists those with most work first (ops/attention.rs).
struct Tile {
    int start, length; // the segment
    int first;         // the block's first row in it
    int before;        // where the beginning of its sequence stands, all of which it sees
    int before_length; // 0 where the segment is the beginning
    int seen_until;    // where the last row stands, exclusive, that sees the segment: its own, or those it begins
};

// The keys that a block of queries sees, STEP at a time: those before the segment, then its own.
template <int STEP>
struct Walk {
    Tile tile;
    int before, steps; // of them those before the segment

    __device__ __forceinline__ explicit Walk(const Tile& tile) : tile(tile) {
        before = (tile.before_length + STEP - 1) / STEP;
        steps = before + (min(tile.length, tile.first + TILE) + STEP - 1) / STEP;
    }

    // The first key's row in the batch, and how many there are from it on.
    __device__ __forceinline__ int token(int step) const {
        return step < before ? tile.before + step * STEP : tile.start + (step - before) * STEP;
    }
    __device__ __forceinline__ int available(int step) const {
        return step < before ? tile.before_length - step * STEP : tile.length - (step - before) * STEP;
    }

    // Whether row `query` of the segment sees the step's key in this column.
    __device__ __forceinline__ bool visible(int step, int column, int query) const {
        int key = (step < before ? step : step - before) * STEP + column;
        return step < before ? key < tile.before_length : key <= query;
    }
};

template <int D>
__device__ __forceinline__ bf16* tile_at(bf16* tile, int row, int column) {
    return tile + row * D + ((column / 8) ^ (row % 8)) * 8;
}

// Starts copying ROWS rows, `stride` elements apart; rows from `available` on are zeros. There is at least one.
template <int D, int ROWS>
__device__ __forceinline__ void load_tile(bf16* tile, const bf16* rows, i64 stride, int available) {
    for (int chunk = threadIdx.x; chunk < ROWS * D / 8; chunk += ATTENTION_THREADS) {
        int row = chunk / (D / 8), column = chunk % (D / 8) * 8;
        bool valid = row < available;
        copy_async(tile_at<D>(tile, row, column), rows + (valid ? row : 0) * stride + column, valid);
    }
}

// a of mma: A[i][k] = tile[row + i][column + k].
template <int D>
__device__ __forceinline__ void load_a(u32 (&a)[4], bf16* tile, int row, int column) {
    int lane = threadIdx.x % WARP;
    load_matrices(a, tile_at<D>(tile, row + lane % 16, column + lane / 16 * 8));
}

// b of two mma, whose columns are rows of the tile: B[k][j] = tile[row + j][column + k], then the same for row + 8.
template <int D>
__device__ __forceinline__ void load_b_rows(u32 (&b)[4], bf16* tile, int row, int column) {
    int lane = threadIdx.x % WARP;
    load_matrices(b, tile_at<D>(tile, row + lane % 8 + lane / 16 * 8, column + lane / 8 % 2 * 8));
}

// b of two mma, whose columns are columns of the tile: B[k][j] = tile[row + k][column + j], then the same for column + 8.
template <int D>
__device__ __forceinline__ void load_b_columns(u32 (&b)[4], bf16* tile, int row, int column) {
    int lane = threadIdx.x % WARP;
    load_matrices_transposed(b, tile_at<D>(tile, row + lane % 16, column + lane / 16 * 8));
}

// sums (16 x N) = a[row .. row + 16] b[0 .. N]^T, both tiles of D columns.
template <int D, int N>
__device__ __forceinline__ void multiply_rows(float (&sums)[N / 8][4], bf16* a, int row, bf16* b) {
#pragma unroll
    for (int n = 0; n < N / 8; ++n)
#pragma unroll
        for (int i = 0; i < 4; ++i) sums[n][i] = 0.0f;
#pragma unroll
    for (int k = 0; k < D; k += 16) {
        u32 left[4];
        load_a<D>(left, a, row, k);
#pragma unroll
        for (int n = 0; n < N; n += 16) {
            u32 right[4];
            load_b_rows<D>(right, b, n, k);
            mma(sums[n / 8], left, right[0], right[1]);
            mma(sums[n / 8 + 1], left, right[2], right[3]);
        }
    }
}

// sums (16 x D) += left (16 x K, the results of a multiplication before) b[0 .. K], a tile of D columns.
template <int D, int K>
__device__ __forceinline__ void multiply_columns(float (&sums)[D / 8][4], const float (&left)[K / 8][4], bf16* b) {
#pragma unroll
    for (int k = 0; k < K; k += 16) {
        // What mma leaves in a lane is what it wants of its left operand: only the pairs are packed.
        const float(&near)[4] = left[k / 8], (&far)[4] = left[k / 8 + 1];
        u32 a[4] = {pack(near[0], near[1]), pack(near[2], near[3]), pack(far[0], far[1]), pack(far[2], far[3])};
#pragma unroll
        for (int n = 0; n < D; n += 16) {
            u32 right[4];
            load_b_columns<D>(right, b, k, n);
            mma(sums[n / 8], a, right[0], right[1]);
            mma(sums[n / 8 + 1], a, right[2], right[3]);
        }
    }
}

// Writes this lane's part of a warp's 16 rows, each times its `factors`; rows from `available` on are left alone.
template <int D>
__device__ __forceinline__ void store_rows(
    bf16* rows, i64 stride, int available, const float (&values)[D / 8][4], const float (&factors)[2]) {
    int lane = threadIdx.x % WARP;
#pragma unroll
    for (int half = 0; half < 2; ++half) {
        int row = lane / 4 + 8 * half;
        if (row >= available) continue;
#pragma unroll
        for (int n = 0; n < D / 8; ++n) {
            u32 pair = pack(values[n][2 * half] * factors[half], values[n][2 * half + 1] * factors[half]);
            *reinterpret_cast<u32*>(rows + row * stride + n * 8 + lane % 4 * 2) = pair;
        }
    }
}
