// Causal attention over packed sequences on tensor cores, one pass with a running softmax (FlashAttention-2, Dao 2023).
//
//   s[i][j] = scale q[i] . k[j]  for j <= i      p = softmax(s)      o = p v      lse[i] = log sum_j exp s[i][j]
//
// where j runs over what stands before the segment, and then over the segment itself.
//
// q: rows of H heads of D, k and v: rows of K heads of D (H / K query heads share one), each with a stride of its own, bf16;
// o (T, H D) bf16; lse (H, T) f32. D is 64 or 128.
//
// Grid (tiles, H). A block has 64 queries of a head, 16 a warp, and walks over the keys 64 at a time while the next ones
// are copied. Rows and columns past an end are zeros: no query may look at such a key, and such queries are not written.

template <int D>
__device__ __forceinline__ void attention_forward(
    bf16* o, float* lse, const bf16* q, const bf16* k, const bf16* v, const Tile* tiles, int tokens,
    int heads, int keys, int q_stride, int k_stride, int v_stride, float scale) {
    DYNAMIC_SHARED(bf16, shared);
    bf16* q_tile = shared;              // (64, D)
    bf16* k_tiles = q_tile + TILE * D;  // (2, 64, D)
    bf16* v_tiles = k_tiles + 2 * TILE * D;

    int head = blockIdx.y, key_head = head / (heads / keys);
    Tile tile = tiles[blockIdx.x];
    int start = tile.start, length = tile.length, first = tile.first;
    Walk<TILE> walk(tile);
    q += static_cast<i64>(start + first) * q_stride + head * D;
    k += key_head * D;
    v += key_head * D;

    auto load_step = [&](int step) {
        int buffer = step % 2 * TILE * D;
        i64 token = walk.token(step);
        load_tile<D, TILE>(k_tiles + buffer, k + token * k_stride, k_stride, walk.available(step));
        load_tile<D, TILE>(v_tiles + buffer, v + token * v_stride, v_stride, walk.available(step));
        copy_commit();
    };
    load_tile<D, TILE>(q_tile, q, q_stride, length - first);
    load_step(0);

    int lane = threadIdx.x % WARP, row = threadIdx.x / WARP * 16; // the warp's first row in the tile
    float sums[D / 8][4] = {};
    float maxima[2] = {NEGATIVE_INFINITY, NEGATIVE_INFINITY}; // of rows g and g + 8, in units of log 2
    float totals[2] = {};                                      // of this lane's columns only, until the end
    float scale_log2 = scale * LOG2_E;

    for (int step = 0; step < walk.steps; ++step) {
        copy_wait<0>();
        __syncthreads(); // the step's tiles are there, and nobody reads those of the step before
        if (step + 1 < walk.steps) load_step(step + 1);

        int buffer = step % 2 * TILE * D;
        float scores[TILE / 8][4];
        multiply_rows<D, TILE>(scores, q_tile, row, k_tiles + buffer);
#pragma unroll
        for (int half = 0; half < 2; ++half) {
            int query = first + row + lane / 4 + 8 * half;
            float largest = maxima[half];
#pragma unroll
            for (int n = 0; n < TILE / 8; ++n)
#pragma unroll
                for (int i = 2 * half; i < 2 * half + 2; ++i) {
                    bool visible = walk.visible(step, n * 8 + lane % 4 * 2 + i % 2, query);
                    scores[n][i] = visible ? scores[n][i] * scale_log2 : NEGATIVE_INFINITY;
                    largest = fmaxf(largest, scores[n][i]);
                }
            // A row lies in four lanes. It sees the first key, so that its maximum is finite from the first step on.
            largest = fmaxf(largest, __shfl_xor_sync(ALL_LANES, largest, 1));
            largest = fmaxf(largest, __shfl_xor_sync(ALL_LANES, largest, 2));
            float shrink = exp2_fast(maxima[half] - largest);
            maxima[half] = largest;
            totals[half] *= shrink;
#pragma unroll
            for (int n = 0; n < TILE / 8; ++n)
#pragma unroll
                for (int i = 2 * half; i < 2 * half + 2; ++i) {
                    scores[n][i] = exp2_fast(scores[n][i] - largest);
                    totals[half] += scores[n][i];
                }
#pragma unroll
            for (int n = 0; n < D / 8; ++n) sums[n][2 * half] *= shrink, sums[n][2 * half + 1] *= shrink;
        }
        multiply_columns<D, TILE>(sums, scores, v_tiles + buffer);
    }

    int available = length - first - row;
    float factors[2];
#pragma unroll
    for (int half = 0; half < 2; ++half) {
        float total = totals[half];
        total += __shfl_xor_sync(ALL_LANES, total, 1);
        total += __shfl_xor_sync(ALL_LANES, total, 2);
        factors[half] = 1.0f / total;
        int mine = lane / 4 + 8 * half;
        if (lane % 4 == 0 && mine < available)
            lse[static_cast<i64>(head) * tokens + start + first + row + mine] = maxima[half] * LN_2 + logf(total);
    }
    i64 o_stride = static_cast<i64>(heads) * D;
    store_rows<D>(o + (start + first + row) * o_stride + head * D, o_stride, available, sums, factors);
}

#define ATTENTION_FORWARD(WIDTH)                                                                                        \
    extern "C" __global__ void __launch_bounds__(ATTENTION_THREADS) attention_forward_##WIDTH(                         \
        bf16* o, float* lse, const bf16* q, const bf16* k, const bf16* v, const Tile* tiles,     \
        int tokens, int heads, int keys, int q_stride, int k_stride, int v_stride, float scale) {                      \
        attention_forward<WIDTH>(                                                                                      \
            o, lse, q, k, v, tiles, tokens, heads, keys, q_stride, k_stride, v_stride, scale);             \
    }

ATTENTION_FORWARD(64)
ATTENTION_FORWARD(128)
