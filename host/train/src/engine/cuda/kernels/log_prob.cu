// Log-probability of a target and entropy of each row of logits, and their gradient in the logits' place.
//
//   forward   lse = log sum_j exp x[j]      log_prob = x[target] - lse      entropy = -sum_j p[j] log p[j]
//   backward  dx[j] = a (1[j = target] - p[j]) - b p[j] (log p[j] + entropy)
//             for a = dL/dlog_prob, b = dL/dentropy, log p[j] = x[j] - lse
//
// x: rows of V, `stride` apart, f32; target, log_prob, entropy, lse, a, b: one per row. One block per row.

constexpr int LOG_PROB_WARPS = 16;

// A sum of exp(x - max) beside the sum of exp(x - max) (x - max), over some of the logits.
struct Softmax {
    float max, sum, moment;
};

// The two as if summed around the larger maximum.
__device__ __forceinline__ Softmax merge(Softmax a, Softmax b) {
    if (b.max > a.max) {
        Softmax swapped = a;
        a = b, b = swapped;
    }
    float shift = b.max - a.max, factor = exp2_fast(shift * LOG2_E);
    // A side that has seen nothing yet is infinitely far away, and 0 times that is no number.
    float moved = b.sum > 0.0f ? b.moment + b.sum * shift : 0.0f;
    return {a.max, a.sum + b.sum * factor, a.moment + moved * factor};
}

extern "C" __global__ void log_prob_forward(
    float* log_prob, float* entropy, float* lse, const float* logits, const int* targets, int vocabulary, i64 stride) {
    __shared__ Softmax parts[LOG_PROB_WARPS];
    const float* x = logits + blockIdx.x * stride;
    Softmax mine = {-3.4e38f, 0.0f, 0.0f};
    for (int j = threadIdx.x; j < vocabulary; j += blockDim.x) {
        float logit = x[j];
        if (logit > mine.max) mine = merge(mine, {logit, 0.0f, 0.0f});
        float shift = logit - mine.max, weight = exp2_fast(shift * LOG2_E);
        mine.sum += weight;
        mine.moment += weight > 0.0f ? weight * shift : 0.0f;
    }
    for (int offset = WARP / 2; offset > 0; offset /= 2)
        mine = merge(
            mine, {__shfl_xor_sync(ALL_LANES, mine.max, offset), __shfl_xor_sync(ALL_LANES, mine.sum, offset),
                   __shfl_xor_sync(ALL_LANES, mine.moment, offset)});
    if (threadIdx.x % WARP == 0) parts[threadIdx.x / WARP] = mine;
    __syncthreads();
    if (threadIdx.x == 0) {
        for (int warp = 1; warp < static_cast<int>(blockDim.x / WARP); ++warp) mine = merge(mine, parts[warp]);
        float log_sum = logf(mine.sum);
        lse[blockIdx.x] = mine.max + log_sum;
        log_prob[blockIdx.x] = x[targets[blockIdx.x]] - mine.max - log_sum;
        entropy[blockIdx.x] = log_sum - mine.moment / mine.sum;
    }
}

// The gradient is bf16, as the products that follow want it, in the first half of each row's own memory: rows of bf16,
// 2 stride apart. `by_entropy` may be null.
extern "C" __global__ void log_prob_backward(
    float* logits, const float* by_log_prob, const float* by_entropy, const float* entropy, const float* lse,
    const int* targets, int vocabulary, i64 stride) {
    const float* x = logits + blockIdx.x * stride;
    bf16* dx = reinterpret_cast<bf16*>(logits + blockIdx.x * stride);
    float a = by_log_prob[blockIdx.x], b = by_entropy ? by_entropy[blockIdx.x] : 0.0f;
    float normaliser = lse[blockIdx.x], mean = entropy[blockIdx.x];
    int target = targets[blockIdx.x];
    for (int from = 0; from < vocabulary; from += blockDim.x) {
        int j = from + threadIdx.x;
        float log_p = j < vocabulary ? x[j] - normaliser : NEGATIVE_INFINITY;
        float p = exp2_fast(log_p * LOG2_E), slope = -a * p;
        if (b != 0.0f && p > 0.0f) slope -= b * p * (log_p + mean);
        if (j == target) slope += a;
        __syncthreads(); // what is written here was read in this turn or before
        if (j < vocabulary) dx[j] = to_bf16(slope);
    }
}
