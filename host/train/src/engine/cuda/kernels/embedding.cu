// Token embedding and its gradient.
//
//   forward   y[t] = weight[id[t]]                                 y (T, width) bf16, weight (V, width) bf16, id (T)
//   backward  gradient[id] += sum of dy[t] over t with id[t] = id   gradient (V, width) f32, dy (T, width) bf16
//
// The host sorts the tokens by id (stably), so that one block adds all rows of one id in the order of the batch: the sum
// does not depend on how blocks are scheduled, as with atomics it would.

// One block per token.
extern "C" __global__ void embedding_forward(bf16* y, const bf16* weight, const int* ids, int width) {
    const uint4* from = reinterpret_cast<const uint4*>(weight + static_cast<i64>(ids[blockIdx.x]) * width);
    uint4* to = reinterpret_cast<uint4*>(y + static_cast<i64>(blockIdx.x) * width);
    for (int i = threadIdx.x; i < width / 8; i += blockDim.x) to[i] = from[i];
}

// One block per distinct id: `distinct[b]` is the id, and its tokens are order[starts[b] .. starts[b + 1]].
extern "C" __global__ void embedding_backward(
    float* gradient, const bf16* dy, const int* distinct, const int* starts, const int* order, int width) {
    float* row = gradient + static_cast<i64>(distinct[blockIdx.x]) * width;
    int first = starts[blockIdx.x], end = starts[blockIdx.x + 1];
    for (int column = threadIdx.x; column < width; column += blockDim.x) {
        float sum = 0.0f;
        for (int at = first; at < end; ++at) sum += to_float(dy[static_cast<i64>(order[at]) * width + column]);
        row[column] += sum;
    }
}
