// The gradient of attention_forward.cu, from its inputs and lse (FlashAttention-2, Dao 2023).
//
//   p[i][j] = exp(scale q[i] . k[j] - lse[i])          delta[i] = do[i] . o[i]
//   dv[j] = sum_i p[i][j] do[i]                        ds[i][j] = p[i][j] (do[i] . v[j] - delta[i])
//   dq[i] = scale sum_j ds[i][j] k[j]                  dk[j] = scale sum_i ds[i][j] q[i]
//
// Shapes as in the forward pass; do (T, H D) and o are bf16, delta (H, T) f32; dq, dk and dv have the rows and strides of q,
// k and v (the strides of the gradients are given). dk and dv are summed over the query heads that share a key head.
//
// Dao's kernel adds dq with atomics, in an order that varies. Here one kernel owns tiles of keys and another owns tiles of
// queries: p and ds are computed twice (7 matrix products instead of 5), and the result is the same every time.

// One warp per token and head.
template <int D>
__device__ __forceinline__ void attention_delta(float* delta, const bf16* o, const bf16* d_o, int tokens, int heads) {
    i64 item = (static_cast<i64>(blockIdx.x) * blockDim.x + threadIdx.x) / WARP;
    if (item >= static_cast<i64>(tokens) * heads) return;
    float sum = 0.0f;
    for (int column = threadIdx.x % WARP; column < D; column += WARP)
        sum += to_float(o[item * D + column]) * to_float(d_o[item * D + column]);
    sum = warp_sum(sum);
    if (threadIdx.x % WARP == 0) delta[item % heads * tokens + item / heads] = sum;
}

// Grid (tiles of keys, K). A warp has 16 keys; scores are transposed, keys as rows and STEP queries as columns.
template <int D, int STEP>
__device__ __forceinline__ void attention_backward_keys(
    bf16* dk, bf16* dv, const bf16* q, const bf16* k, const bf16* v, const bf16* d_o, const float* lse,
    const float* delta, const Tile* tiles, int tokens, int heads, int keys, int q_stride,
    int k_stride, int v_stride, int dk_stride, int dv_stride, float scale) {
    DYNAMIC_SHARED(bf16, shared);
    bf16* k_tile = shared;              // (64, D)
    bf16* v_tile = k_tile + TILE * D;   // (64, D)
    bf16* q_tiles = v_tile + TILE * D;  // (2, STEP, D)
    bf16* do_tiles = q_tiles + 2 * STEP * D;
    float* lse_tiles = reinterpret_cast<float*>(do_tiles + 2 * STEP * D); // (2, STEP)
    float* delta_tiles = lse_tiles + 2 * STEP;

    int key_head = blockIdx.y, group = heads / keys;
    Tile tile = tiles[blockIdx.x];
    int start = tile.start, first = tile.first;
    int seen = tile.seen_until - start;          // queries behind the segment, if it begins other sequences, see all of it
    int each = (seen - first + STEP - 1) / STEP; // steps of one query head: queries before `first` see no key here
    int steps = group * each;
    k += static_cast<i64>(start + first) * k_stride + key_head * D;
    v += static_cast<i64>(start + first) * v_stride + key_head * D;

    auto load_step = [&](int step) {
        int head = key_head * group + step / each, from = first + step % each * STEP;
        int buffer = step % 2 * STEP, available = seen - from;
        i64 token = start + from, o_stride = static_cast<i64>(heads) * D;
        load_tile<D, STEP>(q_tiles + buffer * D, q + token * q_stride + head * D, q_stride, available);
        load_tile<D, STEP>(do_tiles + buffer * D, d_o + token * o_stride + head * D, o_stride, available);
        copy_commit();
        if (threadIdx.x < STEP) {
            i64 at = static_cast<i64>(head) * tokens + token + threadIdx.x;
            bool valid = static_cast<int>(threadIdx.x) < available;
            lse_tiles[buffer + threadIdx.x] = valid ? lse[at] * LOG2_E : 0.0f;
            delta_tiles[buffer + threadIdx.x] = valid ? delta[at] : 0.0f;
        }
    };
    load_tile<D, TILE>(k_tile, k, k_stride, tile.length - first);
    load_tile<D, TILE>(v_tile, v, v_stride, tile.length - first);
    load_step(0);

    int lane = threadIdx.x % WARP, row = threadIdx.x / WARP * 16;
    float dk_sums[D / 8][4] = {}, dv_sums[D / 8][4] = {};
    float scale_log2 = scale * LOG2_E;

    for (int step = 0; step < steps; ++step) {
        copy_wait<0>();
        __syncthreads();
        if (step + 1 < steps) load_step(step + 1);

        int from = first + step % each * STEP, buffer = step % 2 * STEP;
        float p[STEP / 8][4], ds[STEP / 8][4];
        multiply_rows<D, STEP>(p, k_tile, row, q_tiles + buffer * D);
#pragma unroll
        for (int n = 0; n < STEP / 8; ++n)
#pragma unroll
            for (int i = 0; i < 4; ++i) {
                int column = n * 8 + lane % 4 * 2 + i % 2, key = first + row + lane / 4 + i / 2 * 8;
                bool visible = key <= from + column;
                p[n][i] = visible ? exp2_fast(p[n][i] * scale_log2 - lse_tiles[buffer + column]) : 0.0f;
            }
        multiply_columns<D, STEP>(dv_sums, p, do_tiles + buffer * D);
        multiply_rows<D, STEP>(ds, v_tile, row, do_tiles + buffer * D);
#pragma unroll
        for (int n = 0; n < STEP / 8; ++n)
#pragma unroll
            for (int i = 0; i < 4; ++i)
                ds[n][i] = p[n][i] * (ds[n][i] - delta_tiles[buffer + n * 8 + lane % 4 * 2 + i % 2]);
        multiply_columns<D, STEP>(dk_sums, ds, q_tiles + buffer * D);
    }

    i64 token = start + first + row;
    int available = tile.length - first - row;
    float scales[2] = {scale, scale}, ones[2] = {1.0f, 1.0f};
    store_rows<D>(dk + token * dk_stride + key_head * D, dk_stride, available, dk_sums, scales);
    store_rows<D>(dv + token * dv_stride + key_head * D, dv_stride, available, dv_sums, ones);
}

// Grid (tiles of queries, H). A warp has 16 queries and walks over the keys, STEP at a time.
template <int D, int STEP>
__device__ __forceinline__ void attention_backward_queries(
    bf16* dq, const bf16* q, const bf16* k, const bf16* v, const bf16* d_o, const float* lse, const float* delta,
    const Tile* tiles, int tokens, int heads, int keys, int q_stride, int k_stride, int v_stride,
    int dq_stride, float scale) {
    DYNAMIC_SHARED(bf16, shared);
    bf16* q_tile = shared;              // (64, D)
    bf16* do_tile = q_tile + TILE * D;  // (64, D)
    bf16* k_tiles = do_tile + TILE * D; // (2, STEP, D)
    bf16* v_tiles = k_tiles + 2 * STEP * D;

    int head = blockIdx.y, key_head = head / (heads / keys);
    Tile tile = tiles[blockIdx.x];
    int start = tile.start, length = tile.length, first = tile.first;
    Walk<STEP> walk(tile);
    i64 token = start + first, o_stride = static_cast<i64>(heads) * D;
    k += key_head * D;
    v += key_head * D;

    auto load_step = [&](int step) {
        int buffer = step % 2 * STEP * D;
        i64 key = walk.token(step);
        load_tile<D, STEP>(k_tiles + buffer, k + key * k_stride, k_stride, walk.available(step));
        load_tile<D, STEP>(v_tiles + buffer, v + key * v_stride, v_stride, walk.available(step));
        copy_commit();
    };
    load_tile<D, TILE>(q_tile, q + token * q_stride + head * D, q_stride, length - first);
    load_tile<D, TILE>(do_tile, d_o + token * o_stride + head * D, o_stride, length - first);
    load_step(0);

    int lane = threadIdx.x % WARP, row = threadIdx.x / WARP * 16;
    int available = length - first - row;
    float lses[2], deltas[2];
#pragma unroll
    for (int half = 0; half < 2; ++half) {
        int mine = lane / 4 + 8 * half;
        i64 at = static_cast<i64>(head) * tokens + token + row + mine;
        lses[half] = mine < available ? lse[at] * LOG2_E : 0.0f;
        deltas[half] = mine < available ? delta[at] : 0.0f;
    }
    float dq_sums[D / 8][4] = {};
    float scale_log2 = scale * LOG2_E;

    for (int step = 0; step < walk.steps; ++step) {
        copy_wait<0>();
        __syncthreads();
        if (step + 1 < walk.steps) load_step(step + 1);

        int buffer = step % 2 * STEP * D;
        float p[STEP / 8][4], ds[STEP / 8][4];
        multiply_rows<D, STEP>(p, q_tile, row, k_tiles + buffer);
        multiply_rows<D, STEP>(ds, do_tile, row, v_tiles + buffer);
#pragma unroll
        for (int n = 0; n < STEP / 8; ++n)
#pragma unroll
            for (int i = 0; i < 4; ++i) {
                int column = n * 8 + lane % 4 * 2 + i % 2, query = first + row + lane / 4 + i / 2 * 8;
                bool visible = walk.visible(step, column, query);
                float probability = visible ? exp2_fast(p[n][i] * scale_log2 - lses[i / 2]) : 0.0f;
                ds[n][i] = probability * (ds[n][i] - deltas[i / 2]);
            }
        multiply_columns<D, STEP>(dq_sums, ds, k_tiles + buffer);
    }
    float scales[2] = {scale, scale};
    store_rows<D>(dq + (token + row) * dq_stride + head * D, dq_stride, available, dq_sums, scales);
}

#define ATTENTION_BACKWARD(WIDTH, STEP)                                                                                 \
    extern "C" __global__ void attention_delta_##WIDTH(                                                                \
        float* delta, const bf16* o, const bf16* d_o, int tokens, int heads) {                                         \
        attention_delta<WIDTH>(delta, o, d_o, tokens, heads);                                                          \
    }                                                                                                                  \
    extern "C" __global__ void __launch_bounds__(ATTENTION_THREADS) attention_backward_keys_##WIDTH(                   \
        bf16* dk, bf16* dv, const bf16* q, const bf16* k, const bf16* v, const bf16* d_o, const float* lse,            \
        const float* delta, const Tile* tiles, int tokens, int heads, int keys, int q_stride,    \
        int k_stride, int v_stride, int dk_stride, int dv_stride, float scale) {                                       \
        attention_backward_keys<WIDTH, STEP>(                                                                          \
            dk, dv, q, k, v, d_o, lse, delta, tiles, tokens, heads, keys, q_stride, k_stride, v_stride,    \
            dk_stride, dv_stride, scale);                                                                              \
    }                                                                                                                  \
    extern "C" __global__ void __launch_bounds__(ATTENTION_THREADS) attention_backward_queries_##WIDTH(                \
        bf16* dq, const bf16* q, const bf16* k, const bf16* v, const bf16* d_o, const float* lse, const float* delta,  \
        const Tile* tiles, int tokens, int heads, int keys, int q_stride, int k_stride,          \
        int v_stride, int dq_stride, float scale) {                                                                    \
        attention_backward_queries<WIDTH, STEP>(                                                                       \
            dq, q, k, v, d_o, lse, delta, tiles, tokens, heads, keys, q_stride, k_stride, v_stride,        \
            dq_stride, scale);                                                                                         \
    }

// Two sums of 16 x 128 take half the registers of a thread: fewer columns at a time keep the scores from spilling.
ATTENTION_BACKWARD(64, 64)
ATTENTION_BACKWARD(128, 32)
