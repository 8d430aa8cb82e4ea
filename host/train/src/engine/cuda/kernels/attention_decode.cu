// Attention of one new token per row over the slot cache (flash decoding, Dao et al. 2023).
//
//   o[r] = softmax(scale q[r] . k[j]) v[j]   over the keys j < lengths[r] of slot slots[r]
//
// q: rows of H heads of D, `q_stride` apart, bf16; k and v: one layer of the cache, (slots, K, max, D) bf16; o (rows, H D)
// bf16. Lengths and slots are read from device memory, so that one recorded graph serves every step; a row whose slot is
// negative is a place holder and gets zeros.
//
// The H / K queries that share a key head are the 16 rows of an mma tile, so keys and values are read once for all of them
// and go from memory to registers without a stop: the order of the summed index of a product is free, so each lane loads 16
// bytes at once and calls them the columns that mma expects it to hold. Grid (splits, K * passes, rows), 4 warps, each with
// every fourth run of 16 keys of its split. With one split the result is written at once, with more it is left in `partial`
// (rows, H, splits, D + 2) f32 = [weighted sum of v | maximum, in units of log 2 | sum of weights].

constexpr int DECODE_WARPS = 4;

template <int D>
__device__ __forceinline__ void attention_decode(
    bf16* o, float* partial, const bf16* q, const bf16* k, const bf16* v, const int* slots, const int* lengths, int heads,
    int keys, int q_stride, int max_length, float scale) {
    DYNAMIC_SHARED(float, shared); // (warps, 16, D + 2), laid out as `partial`
    constexpr int ROW = D + 2;

    int warp = threadIdx.x / WARP, lane = threadIdx.x % WARP, g = lane / 4, t = lane % 4;
    int group = heads / keys, passes = (group + 15) / 16;
    int key_head = blockIdx.y / passes, first = blockIdx.y % passes * 16, queries = min(16, group - first);
    int split = blockIdx.x, splits = gridDim.x, row = blockIdx.z, slot = slots[row];
    int length = slot < 0 ? 0 : lengths[row];
    int each = max(DECODE_WARPS * 16, ((length + splits - 1) / splits + 15) / 16 * 16);
    int begin = split * each, end = min(length, begin + each);
    i64 cache = (static_cast<i64>(max(slot, 0)) * keys + key_head) * max_length * D;
    q += static_cast<i64>(row) * q_stride + (key_head * group + first) * D;
    k += cache;
    v += cache;

    // Rows g and g + 8 of q: the 8 columns from 32 b + 8 t on.
    uint4 q_near[D / 32], q_far[D / 32];
#pragma unroll
    for (int b = 0; b < D / 32; ++b) {
        uint4 zero = {0, 0, 0, 0};
        q_near[b] = g < queries ? *reinterpret_cast<const uint4*>(q + g * D + 32 * b + 8 * t) : zero;
        q_far[b] = g + 8 < queries ? *reinterpret_cast<const uint4*>(q + (g + 8) * D + 32 * b + 8 * t) : zero;
    }

    float sums[D / 8][4] = {}; // tile 8 c + j has columns 64 c + 8 n + j for n < 8
    float maxima[2] = {NEGATIVE_INFINITY, NEGATIVE_INFINITY}, totals[2] = {};
    float scale_log2 = scale * LOG2_E;

    for (int from = begin + warp * 16; from < end; from += DECODE_WARPS * 16) {
        // Keys past the end are read at the last one: what lies behind it in the cache may be no number.
        uint4 k_rows[2][D / 32], v_rows[4][D / 64];
#pragma unroll
        for (int n = 0; n < 2; ++n)
#pragma unroll
            for (int b = 0; b < D / 32; ++b) {
                i64 key = min(from + 8 * n + g, end - 1);
                k_rows[n][b] = *reinterpret_cast<const uint4*>(k + key * D + 32 * b + 8 * t);
            }
#pragma unroll
        for (int i = 0; i < 4; ++i)
#pragma unroll
            for (int c = 0; c < D / 64; ++c) {
                i64 key = min(from + 2 * t + i % 2 + i / 2 * 8, end - 1);
                v_rows[i][c] = *reinterpret_cast<const uint4*>(v + key * D + 64 * c + 8 * g);
            }

        float scores[2][4] = {};
#pragma unroll
        for (int n = 0; n < 2; ++n)
#pragma unroll
            for (int b = 0; b < D / 32; ++b) {
                u32 near[4] = {q_near[b].x, q_far[b].x, q_near[b].y, q_far[b].y};
                u32 far[4] = {q_near[b].z, q_far[b].z, q_near[b].w, q_far[b].w};
                mma(scores[n], near, k_rows[n][b].x, k_rows[n][b].y);
                mma(scores[n], far, k_rows[n][b].z, k_rows[n][b].w);
            }
#pragma unroll
        for (int half = 0; half < 2; ++half) {
            float largest = maxima[half];
#pragma unroll
            for (int n = 0; n < 2; ++n)
#pragma unroll
                for (int i = 2 * half; i < 2 * half + 2; ++i) {
                    bool valid = from + 8 * n + 2 * t + i % 2 < end;
                    scores[n][i] = valid ? scores[n][i] * scale_log2 : NEGATIVE_INFINITY;
                    largest = fmaxf(largest, scores[n][i]);
                }
            largest = fmaxf(largest, __shfl_xor_sync(ALL_LANES, largest, 1));
            largest = fmaxf(largest, __shfl_xor_sync(ALL_LANES, largest, 2));
            float shrink = exp2_fast(maxima[half] - largest);
            maxima[half] = largest;
            totals[half] *= shrink;
#pragma unroll
            for (int n = 0; n < 2; ++n)
#pragma unroll
                for (int i = 2 * half; i < 2 * half + 2; ++i) {
                    scores[n][i] = exp2_fast(scores[n][i] - largest);
                    totals[half] += scores[n][i];
                }
#pragma unroll
            for (int n = 0; n < D / 8; ++n) sums[n][2 * half] *= shrink, sums[n][2 * half + 1] *= shrink;
        }

        u32 p[4] = {pack(scores[0][0], scores[0][1]), pack(scores[0][2], scores[0][3]), pack(scores[1][0], scores[1][1]),
                    pack(scores[1][2], scores[1][3])};
#pragma unroll
        for (int c = 0; c < D / 64; ++c) {
            u32 words[4][4];
#pragma unroll
            for (int i = 0; i < 4; ++i) {
                words[i][0] = v_rows[i][c].x, words[i][1] = v_rows[i][c].y;
                words[i][2] = v_rows[i][c].z, words[i][3] = v_rows[i][c].w;
            }
#pragma unroll
            for (int j = 0; j < 8; ++j) {
                u32 which = j % 2 ? 0x7632 : 0x5410; // the upper or the lower halves of two words
                u32 near = __byte_perm(words[0][j / 2], words[1][j / 2], which);
                u32 far = __byte_perm(words[2][j / 2], words[3][j / 2], which);
                mma(sums[8 * c + j], p, near, far);
            }
        }
    }

    float* mine = shared + warp * 16 * ROW;
#pragma unroll
    for (int half = 0; half < 2; ++half) {
        float total = totals[half];
        total += __shfl_xor_sync(ALL_LANES, total, 1);
        total += __shfl_xor_sync(ALL_LANES, total, 2);
        float* to = mine + (g + 8 * half) * ROW;
        if (t == 0) to[D] = maxima[half], to[D + 1] = total;
#pragma unroll
        for (int n = 0; n < D / 8; ++n)
#pragma unroll
            for (int i = 0; i < 2; ++i) to[n / 8 * 64 + (2 * t + i) * 8 + n % 8] = sums[n][2 * half + i];
    }
    __syncthreads();

    for (int at = threadIdx.x; at < queries * D; at += blockDim.x) {
        int query = at / D, column = at % D, head = key_head * group + first + query;
        float largest = NEGATIVE_INFINITY, sum = 0.0f, total = 0.0f;
        for (int other = 0; other < DECODE_WARPS; ++other)
            largest = fmaxf(largest, shared[(other * 16 + query) * ROW + D]);
        for (int other = 0; other < DECODE_WARPS; ++other) {
            const float* from = shared + (other * 16 + query) * ROW;
            float weight = from[D + 1] > 0.0f ? exp2_fast(from[D] - largest) : 0.0f;
            sum += from[column] * weight;
            total += from[D + 1] * weight;
        }
        i64 item = static_cast<i64>(row) * heads + head;
        if (splits == 1) {
            o[item * D + column] = to_bf16(total > 0.0f ? sum / total : 0.0f);
        } else {
            float* to = partial + (item * splits + split) * ROW;
            to[column] = sum;
            if (column == 0) to[D] = largest, to[D + 1] = total;
        }
    }
}

// o from the splits' partial results. Grid (rows * H), D threads.
template <int D>
__device__ __forceinline__ void attention_decode_combine(bf16* o, const float* partial, int splits) {
    i64 item = blockIdx.x;
    partial += item * splits * (D + 2);
    float largest = NEGATIVE_INFINITY, sum = 0.0f, total = 0.0f;
    for (int split = 0; split < splits; ++split) largest = fmaxf(largest, partial[split * (D + 2) + D]);
    for (int split = 0; split < splits; ++split) {
        const float* from = partial + split * (D + 2);
        float weight = from[D + 1] > 0.0f ? exp2_fast(from[D] - largest) : 0.0f;
        sum += from[threadIdx.x] * weight;
        total += from[D + 1] * weight;
    }
    o[item * D + threadIdx.x] = to_bf16(total > 0.0f ? sum / total : 0.0f);
}

#define ATTENTION_DECODE(WIDTH)                                                                                         \
    extern "C" __global__ void __launch_bounds__(DECODE_WARPS* WARP) attention_decode_##WIDTH(                         \
        bf16* o, float* partial, const bf16* q, const bf16* k, const bf16* v, const int* slots, const int* lengths,    \
        int heads, int keys, int q_stride, int max_length, float scale) {                                              \
        attention_decode<WIDTH>(                                                                                       \
            o, partial, q, k, v, slots, lengths, heads, keys, q_stride, max_length, scale);                            \
    }                                                                                                                  \
    extern "C" __global__ void attention_decode_combine_##WIDTH(bf16* o, const float* partial, int splits) {           \
        attention_decode_combine<WIDTH>(o, partial, splits);                                                           \
    }

ATTENTION_DECODE(64)
ATTENTION_DECODE(128)
