// Draws one token per row of logits: temperature, then top-k, then top-p, then one uniform number (the order of vLLM and
// transformers; sampler/choose.rs is the same rule on the CPU).
//
//   weight[j] = exp((x[j] - max x) / temperature)       ranks: by falling x, equal ones by rising id
//   top-k keeps the k first ranks (0: all); top-p keeps a token while the weight before it is below p times the weight kept
//   token = the first id at which the running sum of kept weights, in order of ids, exceeds uniform times their sum
//   log_prob = x[token] - log sum_j exp x[j], the model's own: temperature 1, nothing filtered
//
// x: rows of V, `stride` apart, f32; temperature, top_p f32, top_k i32, uniform f64: one per row. Temperature 0 is top-k 1.
//
// Weights are whole multiples of 2^-40: sums of integers have no order, so that the draw depends on the logits and the
// uniform number alone. Instead of sorting, the last rank kept is found by narrowing an interval of logits, ninefold a pass.
// One block of 1024 threads per row. A row of logits that are no numbers gets token 0 and a log_prob that is no number.

constexpr int SAMPLE_WARPS = 32;
constexpr int CUTS = 8;
constexpr float WEIGHT_ONE = 1099511627776.0f; // 2^40

// Orders as floats do, -0 before 0.
__device__ __forceinline__ u32 sortable(float x) {
    u32 bits = static_cast<u32>(__float_as_int(x));
    return bits ^ (bits >> 31 ? 0xffffffffu : 0x80000000u);
}

__device__ __forceinline__ float unsortable(u32 key) {
    return bits_to_float(key ^ (key >> 31 ? 0x80000000u : 0xffffffffu));
}

struct Row {
    const float* logits;
    int vocabulary;
    float max, temperature;

    __device__ __forceinline__ u64 weight(float logit) const {
        return static_cast<u64>(exp2_fast((logit - max) / temperature * LOG2_E) * WEIGHT_ONE);
    }
};

// The tokens kept: those with a larger key, and the `equal` first ids with this one.
struct Kept {
    u32 key;
    u64 equal;
};

// Narrows `kept` to the first ranks whose amount - of weight, or else of tokens - reaches `limit`, which is at least 1 and
// at most the amount of all that is kept.
__device__ __forceinline__ Kept keep_first(const Row& row, Kept kept, bool by_weight, u64 limit, u64* scratch) {
    // The amount from `low` on reaches the limit, the amount from `high` on, `above`, does not.
    u64 low = kept.key, high = static_cast<u64>(sortable(row.max)) + 1, above = 0;
    while (high - low > 1) {
        u64 amounts[CUTS] = {};
        for (int j = threadIdx.x; j < row.vocabulary; j += blockDim.x) {
            u64 key = sortable(row.logits[j]), amount = by_weight ? row.weight(row.logits[j]) : 1;
            for (int cut = 0; cut < CUTS; ++cut)
                if (key >= low + (high - low) * (cut + 1) / (CUTS + 1)) amounts[cut] += amount;
        }
        u64 from = low, width = high - low;
        for (int cut = 0; cut < CUTS; ++cut) {
            u64 amount = block_sum(amounts[cut], scratch), key = from + width * (cut + 1) / (CUTS + 1);
            if (amount >= limit) {
                low = key;
            } else if (key < high) {
                high = key, above = amount;
            }
        }
    }
    u64 each = by_weight ? row.weight(unsortable(static_cast<u32>(low))) : 1;
    u64 equal = (limit - above + each - 1) / each;
    return {static_cast<u32>(low), low == kept.key && kept.equal < equal ? kept.equal : equal};
}

// The weight of all that is kept.
__device__ __forceinline__ u64 kept_weight(const Row& row, Kept kept, u64* scratch) {
    u64 weight = 0, equal = 0;
    for (int j = threadIdx.x; j < row.vocabulary; j += blockDim.x) {
        u32 key = sortable(row.logits[j]);
        if (key > kept.key) weight += row.weight(row.logits[j]);
        equal += key == kept.key;
    }
    weight = block_sum(weight, scratch);
    equal = block_sum(equal, scratch);
    return weight + (equal < kept.equal ? equal : kept.equal) * row.weight(unsortable(kept.key));
}

// Sums `logits` as exp(x - max), with the maximum; every thread gets both.
__device__ __forceinline__ float sum_exp(const float* logits, int vocabulary, float& max, float* scratch) {
    float largest = -3.4e38f, sum = 0.0f;
    for (int j = threadIdx.x; j < vocabulary; j += blockDim.x) largest = fmaxf(largest, logits[j]);
    largest = warp_max(largest);
    if (threadIdx.x % WARP == 0) scratch[threadIdx.x / WARP] = largest;
    __syncthreads();
    for (int warp = 0; warp < SAMPLE_WARPS; ++warp) largest = fmaxf(largest, scratch[warp]);
    __syncthreads();
    for (int j = threadIdx.x; j < vocabulary; j += blockDim.x) sum += exp2_fast((logits[j] - largest) * LOG2_E);
    max = largest;
    return block_sum(sum, scratch);
}

// What the kept tokens of one warp's run of ids amount to.
struct Run {
    u64 weight, equal;
};

extern "C" __global__ void __launch_bounds__(SAMPLE_WARPS* WARP) sample(
    int* tokens, float* log_probs, const float* logits, const float* temperatures, const int* top_k, const float* top_p,
    const double* uniforms, int vocabulary, i64 stride) {
    __shared__ float floats[SAMPLE_WARPS];
    __shared__ u64 integers[SAMPLE_WARPS];
    __shared__ Run runs[SAMPLE_WARPS];
    __shared__ int token;
    int warp = threadIdx.x / WARP, lane = threadIdx.x % WARP;
    float temperature = temperatures[blockIdx.x];
    bool greedy = temperature == 0.0f;
    Row row = {logits + blockIdx.x * stride, vocabulary, 0.0f, greedy ? 1.0f : temperature};
    float sum = sum_exp(row.logits, vocabulary, row.max, floats);
    if (threadIdx.x == 0) token = 0;

    Kept kept = {0, ~0ull};
    int limit = greedy ? 1 : top_k[blockIdx.x];
    if (limit > 0 && limit < vocabulary) kept = keep_first(row, kept, false, limit, integers);
    u64 total = kept_weight(row, kept, integers);
    if (top_p[blockIdx.x] < 1.0f && total > 0) {
        double share = static_cast<double>(top_p[blockIdx.x]) * static_cast<double>(total);
        u64 reached = static_cast<u64>(share) + (static_cast<double>(static_cast<u64>(share)) < share);
        reached = reached < 1 ? 1 : reached < total ? reached : total;
        kept = keep_first(row, kept, true, reached, integers);
        total = kept_weight(row, kept, integers);
    }

    // Each warp has a run of ids; first their weights, then the one run in which the draw falls, 32 ids at a time.
    u64 drawn = static_cast<u64>(uniforms[blockIdx.x] * static_cast<double>(total));
    if (drawn >= total && total > 0) drawn = total - 1;
    u64 each = row.weight(unsortable(kept.key));
    int length = (vocabulary + SAMPLE_WARPS * WARP - 1) / (SAMPLE_WARPS * WARP) * WARP;
    int begin = warp * length, end = min(begin + length, vocabulary);
    Run mine = {};
    for (int j = begin + lane; j < end; j += WARP) {
        u32 key = sortable(row.logits[j]);
        if (key > kept.key) mine.weight += row.weight(row.logits[j]);
        mine.equal += key == kept.key;
    }
    mine.weight = warp_sum(mine.weight);
    mine.equal = warp_sum(mine.equal);
    if (lane == 0) runs[warp] = mine;
    __syncthreads();
    u64 before = 0, equal_left = kept.equal; // weight of the runs before, and how many of the equal ones are still kept
    for (int other = 0; other < warp; ++other) {
        u64 equal = runs[other].equal < equal_left ? runs[other].equal : equal_left;
        before += runs[other].weight + equal * each;
        equal_left -= equal;
    }
    u64 equal = mine.equal < equal_left ? mine.equal : equal_left;
    bool falls_here = drawn >= before && drawn - before < mine.weight + equal * each;
    for (int from = begin; falls_here && from < end; from += WARP) {
        int j = from + lane;
        u32 key = j < end ? sortable(row.logits[j]) : 0;
        u32 equals = __ballot_sync(ALL_LANES, j < end && key == kept.key);
        u64 rank = __popc(equals & ((1u << lane) - 1));
        u64 weight = 0;
        if (j < end && key > kept.key) weight = row.weight(row.logits[j]);
        if (j < end && key == kept.key && rank < equal_left) weight = each;
        u64 running = weight;
        for (int offset = 1; offset < WARP; offset *= 2) {
            u64 other = __shfl_up_sync(ALL_LANES, running, offset);
            if (lane >= offset) running += other;
        }
        u32 past = __ballot_sync(ALL_LANES, before + running > drawn);
        if (past) {
            if (lane == 0) token = from + __ffs(static_cast<int>(past)) - 1;
            break;
        }
        before += __shfl_sync(ALL_LANES, running, WARP - 1);
        u64 found = __popc(equals);
        equal_left -= found < equal_left ? found : equal_left;
    }
    __syncthreads();
    if (threadIdx.x == 0) {
        tokens[blockIdx.x] = token;
        log_probs[blockIdx.x] = row.logits[token] - row.max - logf(sum);
    }
}
