// Keys and values into the slot cache, and from slot to slot.
//
// A cache is (layers, slots, K, max, D) bf16, one for keys and one for values.
//
//   kv_append   cache[slots[r]][h][positions[r]] = head h of row r, in one layer; rows with a negative slot are left out
//   kv_copy     cache[l][to[c]][h][j] = cache[l][from[c]][h][j] for j < lengths[c], in all layers: a group's shared prompt

// One block per row.
extern "C" __global__ void kv_append(
    bf16* key_cache, bf16* value_cache, const bf16* k, const bf16* v, const int* slots, const int* positions, int keys,
    int head_width, int k_stride, int v_stride, int max_length) {
    int row = blockIdx.x, slot = slots[row], position = positions[row];
    if (slot < 0 || position < 0 || position >= max_length) return;
    for (int at = threadIdx.x * 8; at < keys * head_width; at += blockDim.x * 8) {
        int head = at / head_width, column = at % head_width;
        i64 to = ((static_cast<i64>(slot) * keys + head) * max_length + position) * head_width + column;
        *reinterpret_cast<uint4*>(key_cache + to) =
            *reinterpret_cast<const uint4*>(k + static_cast<i64>(row) * k_stride + at);
        *reinterpret_cast<uint4*>(value_cache + to) =
            *reinterpret_cast<const uint4*>(v + static_cast<i64>(row) * v_stride + at);
    }
}

// Grid (copies, layers * K).
extern "C" __global__ void kv_copy(
    bf16* key_cache, bf16* value_cache, const int* from, const int* to, const int* lengths, int slots, int keys,
    int head_width, int max_length) {
    int copy = blockIdx.x, layer = blockIdx.y / keys, head = blockIdx.y % keys;
    i64 each = static_cast<i64>(max_length) * head_width;
    i64 source = ((static_cast<i64>(layer) * slots + from[copy]) * keys + head) * each;
    i64 target = ((static_cast<i64>(layer) * slots + to[copy]) * keys + head) * each;
    for (int at = threadIdx.x * 8; at < lengths[copy] * head_width; at += blockDim.x * 8) {
        *reinterpret_cast<uint4*>(key_cache + target + at) = *reinterpret_cast<const uint4*>(key_cache + source + at);
        *reinterpret_cast<uint4*>(value_cache + target + at) = *reinterpret_cast<const uint4*>(value_cache + source + at);
    }
}
