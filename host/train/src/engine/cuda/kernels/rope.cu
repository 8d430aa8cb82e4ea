// Norm of each head (Qwen3 only) and rotary position embedding (Su et al. 2021) in the half-split layout of Llama, on the
// query and key heads of a row.
//
//   table     cos[t][i] = cos(position[t] frequency[i]), sin likewise        table (T, D) f32 = [cos (D/2) | sin (D/2)]
//   forward   z = x r w,   r = 1 / sqrt(mean(x^2) + eps)                      z = x where there is no w
//             y[i] = z[i] cos[i] - z[i + D/2] sin[i]      y[i + D/2] = z[i + D/2] cos[i] + z[i] sin[i]
//   backward  dz is dy turned back;   g = dz w     dx = g r - x (sum(x g) r^3 / D)     dw += sum over heads of dz x r
//
// Rows of x start with H query heads and K key heads of D; rows of y, dy and dx do too. One warp per head, D/32 elements a
// lane: elements lane + 32 j, j below D/64, of each half.

extern "C" __global__ void rope_table(float* table, const int* positions, const float* frequencies, int half) {
    for (int i = threadIdx.x; i < half; i += blockDim.x) {
        float sine, cosine;
        sincosf(static_cast<float>(positions[blockIdx.x]) * frequencies[i], &sine, &cosine);
        table[static_cast<i64>(blockIdx.x) * 2 * half + i] = cosine;
        table[static_cast<i64>(blockIdx.x) * 2 * half + half + i] = sine;
    }
}

// This lane's elements of a head, first[j] and second[j] of the two halves.
template <int EACH>
__device__ __forceinline__ void load_halves(float (&first)[EACH], float (&second)[EACH], const bf16* head) {
    int lane = threadIdx.x % WARP;
    for (int j = 0; j < EACH; ++j) {
        first[j] = to_float(head[lane + WARP * j]);
        second[j] = to_float(head[lane + WARP * (j + EACH)]);
    }
}

template <int EACH>
__device__ __forceinline__ void store_halves(bf16* head, const float (&first)[EACH], const float (&second)[EACH]) {
    int lane = threadIdx.x % WARP;
    for (int j = 0; j < EACH; ++j) {
        head[lane + WARP * j] = to_bf16(first[j]);
        head[lane + WARP * (j + EACH)] = to_bf16(second[j]);
    }
}

// Turns by the angles of a row of the table, or back where `direction` is -1.
template <int EACH>
__device__ __forceinline__ void rotate(
    float (&first)[EACH], float (&second)[EACH], const float* table, float direction) {
    int lane = threadIdx.x % WARP;
    for (int j = 0; j < EACH; ++j) {
        float cosine = table[lane + WARP * j], sine = table[lane + WARP * (j + EACH)] * direction;
        float turned = first[j] * cosine - second[j] * sine;
        second[j] = second[j] * cosine + first[j] * sine;
        first[j] = turned;
    }
}

template <int EACH>
__device__ __forceinline__ float head_root(const float (&first)[EACH], const float (&second)[EACH], float eps) {
    float squares = 0.0f;
    for (int j = 0; j < EACH; ++j) squares += first[j] * first[j] + second[j] * second[j];
    return 1.0f / sqrtf(warp_sum(squares) / (2 * WARP * EACH) + eps);
}

template <int EACH>
__device__ __forceinline__ void head_norm_rope_forward(
    bf16* y, const bf16* x, const bf16* query_weight, const bf16* key_weight, const float* table, int tokens, int heads,
    int keys, int y_stride, int x_stride, float eps) {
    constexpr int WIDTH = 2 * WARP * EACH;
    i64 item = (static_cast<i64>(blockIdx.x) * blockDim.x + threadIdx.x) / WARP;
    i64 token = item / (heads + keys);
    int head = static_cast<int>(item % (heads + keys));
    if (token >= tokens) return;
    float first[EACH], second[EACH];
    load_halves(first, second, x + token * x_stride + head * WIDTH);
    const bf16* weight = head < heads ? query_weight : key_weight;
    if (weight) {
        float root = head_root(first, second, eps), first_weight[EACH], second_weight[EACH];
        load_halves(first_weight, second_weight, weight);
        for (int j = 0; j < EACH; ++j) first[j] *= root * first_weight[j], second[j] *= root * second_weight[j];
    }
    rotate(first, second, table + token * WIDTH, 1.0f);
    store_halves(y + token * y_stride + head * WIDTH, first, second);
}

// dx may be dy. Where there are weights, block b leaves the sums of its heads in partial[b] = [query (D) | key (D)].
template <int EACH>
__device__ __forceinline__ void head_norm_rope_backward(
    bf16* dx, float* partial, const bf16* dy, const bf16* x, const bf16* query_weight, const bf16* key_weight,
    const float* table, int tokens, int heads, int keys, int dy_stride, int x_stride, float eps) {
    constexpr int WIDTH = 2 * WARP * EACH;
    DYNAMIC_SHARED(float, warp_sums); // (warps, 2, WIDTH)
    int lane = threadIdx.x % WARP, warp = threadIdx.x / WARP, warps = blockDim.x / WARP;
    float sums[2][2][EACH] = {}; // of query and key heads, of their halves
    i64 items = static_cast<i64>(tokens) * (heads + keys), step = static_cast<i64>(gridDim.x) * warps;
    for (i64 item = static_cast<i64>(blockIdx.x) * warps + warp; item < items; item += step) {
        i64 token = item / (heads + keys);
        int head = static_cast<int>(item % (heads + keys)), is_key = head >= heads;
        float first[EACH], second[EACH];
        i64 at = token * dy_stride + head * WIDTH;
        load_halves(first, second, dy + at);
        rotate(first, second, table + token * WIDTH, -1.0f);
        const bf16* weight = is_key ? key_weight : query_weight;
        if (weight) {
            float x_first[EACH], x_second[EACH], first_weight[EACH], second_weight[EACH], product = 0.0f;
            load_halves(x_first, x_second, x + token * x_stride + head * WIDTH);
            load_halves(first_weight, second_weight, weight);
            float root = head_root(x_first, x_second, eps);
            for (int j = 0; j < EACH; ++j) {
                // No sums[is_key]: an index that is no constant would put the array into memory.
                float first_sum = first[j] * x_first[j] * root, second_sum = second[j] * x_second[j] * root;
                sums[0][0][j] += is_key ? 0.0f : first_sum, sums[0][1][j] += is_key ? 0.0f : second_sum;
                sums[1][0][j] += is_key ? first_sum : 0.0f, sums[1][1][j] += is_key ? second_sum : 0.0f;
                first[j] *= first_weight[j], second[j] *= second_weight[j];
                product += x_first[j] * first[j] + x_second[j] * second[j];
            }
            float along = warp_sum(product) * root * root * root / WIDTH;
            for (int j = 0; j < EACH; ++j) {
                first[j] = first[j] * root - x_first[j] * along;
                second[j] = second[j] * root - x_second[j] * along;
            }
        }
        store_halves(dx + at, first, second);
    }

    if (!query_weight) return;
    for (int kind = 0; kind < 2; ++kind)
        for (int half = 0; half < 2; ++half)
            for (int j = 0; j < EACH; ++j)
                warp_sums[(warp * 2 + kind) * WIDTH + half * WIDTH / 2 + WARP * j + lane] = sums[kind][half][j];
    __syncthreads();
    for (int column = threadIdx.x; column < 2 * WIDTH; column += blockDim.x) {
        float sum = 0.0f;
        for (int other = 0; other < warps; ++other) sum += warp_sums[other * 2 * WIDTH + column];
        partial[static_cast<i64>(blockIdx.x) * 2 * WIDTH + column] = sum;
    }
}

#define HEAD_NORM_ROPE(WIDTH)                                                                                           \
    extern "C" __global__ void head_norm_rope_forward_##WIDTH(                                                         \
        bf16* y, const bf16* x, const bf16* query_weight, const bf16* key_weight, const float* table, int tokens,      \
        int heads, int keys, int y_stride, int x_stride, float eps) {                                                  \
        head_norm_rope_forward<WIDTH / 64>(                                                                            \
            y, x, query_weight, key_weight, table, tokens, heads, keys, y_stride, x_stride, eps);                      \
    }                                                                                                                  \
    extern "C" __global__ void head_norm_rope_backward_##WIDTH(                                                        \
        bf16* dx, float* partial, const bf16* dy, const bf16* x, const bf16* query_weight, const bf16* key_weight,     \
        const float* table, int tokens, int heads, int keys, int dy_stride, int x_stride, float eps) {                 \
        head_norm_rope_backward<WIDTH / 64>(                                                                           \
            dx, partial, dy, x, query_weight, key_weight, table, tokens, heads, keys, dy_stride, x_stride, eps);       \
    }

HEAD_NORM_ROPE(64)
HEAD_NORM_ROPE(128)
