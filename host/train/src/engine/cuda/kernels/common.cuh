// What every kernel file starts with: bf16 without CUDA's headers, wide loads, reductions, and the tensor-core and copy
// instructions by name. NVRTC compiles this text in front of each kernel file, so that libnvrtc alone is needed at run
// time; the tests compile the same files as C++ with an emulator of the machine (../emulator), which brings its own
// version of the part between the #ifdef and the #endif.
//
// Words: a row is one token's vector. All row widths are multiples of 8, so that 16 bytes are loaded at once. Statistics,
// softmax and gradients of weights are f32; every sum has one fixed order, so equal input gives equal bits.

typedef unsigned int u32;
typedef unsigned long long u64;
typedef long long i64;

constexpr int WARP = 32;
constexpr u32 ALL_LANES = 0xffffffffu;
[[maybe_unused]] constexpr float LOG2_E = 1.4426950408889634f;
[[maybe_unused]] constexpr float LN_2 = 0.6931471805599453f;

struct bf16 {
    unsigned short bits;
};

#ifdef REWARDEN_EMULATOR

#include "emulator.h"

#else

#define NEGATIVE_INFINITY __int_as_float(0xff800000)
// Dynamic shared memory, whose size the host gives at launch.
#define DYNAMIC_SHARED(type, name)                         \
    extern __shared__ __align__(128) char dynamic_shared[]; \
    type* name = reinterpret_cast<type*>(dynamic_shared)

// The 32 bits of two bf16, the first in the lower half; rounds to nearest even.
__device__ __forceinline__ u32 pack(float low, float high) {
    u32 packed;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(packed) : "f"(high), "f"(low));
    return packed;
}

// 2^x, to 2 units in the last place.
__device__ __forceinline__ float exp2_fast(float x) {
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}

// sums (16 x 8, f32) += a (16 x 16) b (16 x 8), by one warp. With g = lane / 4 and t = lane % 4, a lane holds
//   a[0] = A[g][2t, 2t+1]   a[1] = A[g+8][2t, 2t+1]   a[2] = A[g][2t+8, 2t+9]   a[3] = A[g+8][2t+8, 2t+9]
//   b[0] = B[2t, 2t+1][g]   b[1] = B[2t+8, 2t+9][g]
//   sums[0], sums[1] = C[g][2t, 2t+1]                 sums[2], sums[3] = C[g+8][2t, 2t+1]
// (PTX ISA, "Matrix fragments for mma.m16n8k16").
__device__ __forceinline__ void mma(float (&sums)[4], const u32 (&a)[4], u32 b0, u32 b1) {
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
        : "+f"(sums[0]), "+f"(sums[1]), "+f"(sums[2]), "+f"(sums[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

// Four 8 x 8 matrices of bf16 from shared memory. Lane i gives the address of row i % 8 of matrix i / 8 and receives, of
// each matrix, elements 2t and 2t+1 of row g.
__device__ __forceinline__ void load_matrices(u32 (&fragments)[4], const bf16* row) {
    u32 address = static_cast<u32>(__cvta_generic_to_shared(row));
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(fragments[0]), "=r"(fragments[1]), "=r"(fragments[2]), "=r"(fragments[3])
                 : "r"(address)
                 : "memory");
}

// The same, each matrix transposed: a lane receives elements 2t and 2t+1 of column g.
__device__ __forceinline__ void load_matrices_transposed(u32 (&fragments)[4], const bf16* row) {
    u32 address = static_cast<u32>(__cvta_generic_to_shared(row));
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(fragments[0]), "=r"(fragments[1]), "=r"(fragments[2]), "=r"(fragments[3])
                 : "r"(address)
                 : "memory");
}

// Starts copying 16 bytes to shared memory, or zeros where not `valid`; `from` must be an address inside its buffer even
// then.
__device__ __forceinline__ void copy_async(bf16* to, const bf16* from, bool valid) {
    u32 address = static_cast<u32>(__cvta_generic_to_shared(to));
    int bytes = valid ? 16 : 0;
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(address), "l"(from), "r"(bytes) : "memory");
}

// Ends a group of copies.
__device__ __forceinline__ void copy_commit() {
    asm volatile("cp.async.commit_group;" ::: "memory");
}

// Waits until at most `PENDING` of this thread's latest groups are unfinished. Other threads' copies are seen after a
// __syncthreads() that follows.
template <int PENDING>
__device__ __forceinline__ void copy_wait() {
    asm volatile("cp.async.wait_group %0;" ::"n"(PENDING) : "memory");
}

#endif

__device__ __forceinline__ float bits_to_float(u32 bits) {
    return __int_as_float(static_cast<int>(bits));
}

// The two bf16 of 32 bits.
__device__ __forceinline__ float low(u32 packed) {
    return bits_to_float(packed << 16);
}

__device__ __forceinline__ float high(u32 packed) {
    return bits_to_float(packed & 0xffff0000u);
}

__device__ __forceinline__ float to_float(bf16 x) {
    return bits_to_float(static_cast<u32>(x.bits) << 16);
}

__device__ __forceinline__ bf16 to_bf16(float x) {
    return bf16{static_cast<unsigned short>(pack(x, 0.0f))};
}

// Eight bf16, 16 bytes.
__device__ __forceinline__ void load8(float (&values)[8], const bf16* from) {
    uint4 raw = *reinterpret_cast<const uint4*>(from);
    values[0] = low(raw.x), values[1] = high(raw.x), values[2] = low(raw.y), values[3] = high(raw.y);
    values[4] = low(raw.z), values[5] = high(raw.z), values[6] = low(raw.w), values[7] = high(raw.w);
}

__device__ __forceinline__ void store8(bf16* to, const float (&values)[8]) {
    uint4 raw;
    raw.x = pack(values[0], values[1]), raw.y = pack(values[2], values[3]);
    raw.z = pack(values[4], values[5]), raw.w = pack(values[6], values[7]);
    *reinterpret_cast<uint4*>(to) = raw;
}

// Sums and maxima over a warp; every lane gets the result.
template <typename T>
__device__ __forceinline__ T warp_sum(T x) {
    for (int offset = WARP / 2; offset > 0; offset /= 2) x += __shfl_xor_sync(ALL_LANES, x, offset);
    return x;
}

__device__ __forceinline__ float warp_max(float x) {
    for (int offset = WARP / 2; offset > 0; offset /= 2) x = fmaxf(x, __shfl_xor_sync(ALL_LANES, x, offset));
    return x;
}

// Sum over a block of whole warps; every thread gets the result. `scratch` is shared and holds one value per warp; it may
// be used again at once.
template <typename T>
__device__ __forceinline__ T block_sum(T x, T* scratch) {
    int warp = threadIdx.x / WARP, warps = blockDim.x / WARP;
    x = warp_sum(x);
    if (threadIdx.x % WARP == 0) scratch[warp] = x;
    __syncthreads();
    T sum = 0;
    for (int other = 0; other < warps; ++other) sum += scratch[other];
    __syncthreads();
    return sum;
}
