// AdamW (Loshchilov and Hutter 2019) over one buffer; optim.rs is the same rule on the CPU.
//
//   g = gradient factor      m = b1 m + (1 - b1) g      v = b2 v + (1 - b2) g^2
//   w = w kept - rate (m / correction1) / (sqrt(v / correction2) + eps)
//
// master (w), first (m), second (v), gradient: f32; weight: the bf16 copy that computes. `clip` is what gradient_norm.cu left:
// [factor | norm]; where the norm is no number or infinite, nothing changes, and the host says so. kept = 1 - rate decay.

extern "C" __global__ void adamw(
    float* master, bf16* weight, float* first, float* second, const float* gradient, const float* clip, i64 count,
    float rate, float kept, float beta1, float beta2, float eps, float correction1, float correction2) {
    i64 i = static_cast<i64>(blockIdx.x) * blockDim.x + threadIdx.x;
    if (i >= count || !(fabsf(clip[1]) <= 3.4e38f)) return;
    float slope = gradient[i] * clip[0];
    float m = beta1 * first[i] + (1.0f - beta1) * slope;
    float v = beta2 * second[i] + (1.0f - beta2) * slope * slope;
    float w = master[i] * kept - rate * (m / correction1) / (sqrtf(v / correction2) + eps);
    first[i] = m;
    second[i] = v;
    master[i] = w;
    weight[i] = to_bf16(w);
}
