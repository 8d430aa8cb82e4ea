// The machine that the kernels are written for, as plain C++, so that tests run them without a GPU.
//
// Blocks run one after the other. The threads of a block are fibers on one thread of the CPU: each runs until it has to wait
// for its warp (a shuffle, a vote, mma, load_matrices) or for its block (__syncthreads), and another one goes on. What runs
// first is chosen to be unkind: with `ORDER_FIRST` always the first thread that can, with `ORDER_LAST` always the last, with
// `ORDER_RANDOM` any. A value read before the barrier that should guard it is then stale in one order or the other. Copies to
// shared memory happen as late as they may, as early, or at either end; shared memory starts as 0xff, which is no number.
//
// Reported as errors: threads of a warp that wait for different things, threads that left while others wait for them,
// misaligned wide accesses, and arguments of a launch that are not the kernel's.

#pragma once

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <random>
#include <string>
#include <vector>

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#else
#define ASAN_UNPOISON_MEMORY_REGION(start, bytes)
#endif

#define __global__
#define __device__
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __shared__ static __attribute__((section("emulated_shared")))
#define NEGATIVE_INFINITY (-INFINITY)
#define DYNAMIC_SHARED(type, name) type* name = reinterpret_cast<type*>(emulator::machine.dynamic_shared)

extern "C" char __start_emulated_shared[], __stop_emulated_shared[];

struct alignas(16) uint4 {
    u32 x, y, z, w;
};

struct Index {
    u32 x = 0, y = 0, z = 0;
};

inline Index threadIdx, blockIdx, blockDim, gridDim;

namespace emulator {

enum Order { ORDER_FIRST, ORDER_LAST, ORDER_RANDOM };
enum Wait { WAIT_NOT, WAIT_SHUFFLE, WAIT_BALLOT, WAIT_MMA, WAIT_MATRICES, WAIT_MATRICES_TRANSPOSED };

struct Copy {
    bf16* to;
    const bf16* from;
    bool valid;

    void perform() const {
        if (valid) memcpy(to, from, 16);
        else memset(to, 0, 16);
    }
};

struct Fiber {
    void* stack_pointer;
    std::vector<char> stack;
    bool done;
    std::vector<Copy> open;                 // copies since the last commit
    std::deque<std::vector<Copy>> pending;  // groups committed
};

struct Warp {
    u32 runnable, arrived;
    Wait wait;
    void* arguments[WARP];
};

struct Machine {
    std::vector<Fiber> fibers;
    Warp warps[32];
    u32 threads, current, left, at_barrier;
    Order order;
    std::minstd_rand random;
    char* dynamic_shared;
    void* main_stack;
    void (*entry)(void**);
    void** arguments;
    std::string error;
};

inline Machine machine;

// Leaves one stack for another: saves the callee-saved registers on the old one, restores them from the new one.
extern "C" void emulator_switch(void** save, void* resume);
#if defined(__x86_64__)
asm(".text\n.globl emulator_switch\n.hidden emulator_switch\nemulator_switch:\n"
    "pushq %rbp\npushq %rbx\npushq %r12\npushq %r13\npushq %r14\npushq %r15\n"
    "movq %rsp, (%rdi)\nmovq %rsi, %rsp\n"
    "popq %r15\npopq %r14\npopq %r13\npopq %r12\npopq %rbx\npopq %rbp\nret\n");
constexpr int SAVED = 6, RETURN = 6; // words saved, and which of them is the return address
#elif defined(__aarch64__)
asm(".text\n.globl emulator_switch\n.hidden emulator_switch\nemulator_switch:\n"
    "sub sp, sp, #160\n"
    "stp x19, x20, [sp]\nstp x21, x22, [sp, #16]\nstp x23, x24, [sp, #32]\nstp x25, x26, [sp, #48]\n"
    "stp x27, x28, [sp, #64]\nstp x29, x30, [sp, #80]\nstp d8, d9, [sp, #96]\nstp d10, d11, [sp, #112]\n"
    "stp d12, d13, [sp, #128]\nstp d14, d15, [sp, #144]\n"
    "mov x9, sp\nstr x9, [x0]\nmov sp, x1\n"
    "ldp x19, x20, [sp]\nldp x21, x22, [sp, #16]\nldp x23, x24, [sp, #32]\nldp x25, x26, [sp, #48]\n"
    "ldp x27, x28, [sp, #64]\nldp x29, x30, [sp, #80]\nldp d8, d9, [sp, #96]\nldp d10, d11, [sp, #112]\n"
    "ldp d12, d13, [sp, #128]\nldp d14, d15, [sp, #144]\n"
    "add sp, sp, #160\nret\n");
constexpr int SAVED = 20, RETURN = 11;
#else
#error "the emulator knows how to switch stacks on x86_64 and aarch64"
#endif

// Ends the launch from inside a fiber.
[[noreturn]] inline void fail(const std::string& what) {
    machine.error = what + " (block " + std::to_string(blockIdx.x) + ", " + std::to_string(blockIdx.y) + ", " +
                    std::to_string(blockIdx.z) + "; thread " + std::to_string(machine.current) + ")";
    void* unused;
    emulator_switch(&unused, machine.main_stack);
    abort();
}

// The thread that goes on next; none when nobody can.
inline int next_thread() {
    u32 warps = machine.threads / WARP, start = machine.order == ORDER_RANDOM ? machine.random() % warps : 0;
    for (u32 i = 0; i < warps; ++i) {
        u32 warp = machine.order == ORDER_LAST ? warps - 1 - i : (start + i) % warps;
        u32 runnable = machine.warps[warp].runnable;
        if (!runnable) continue;
        u32 lane = machine.order == ORDER_LAST ? 31 - __builtin_clz(runnable) : __builtin_ctz(runnable);
        if (machine.order == ORDER_RANDOM) {
            u32 turn = machine.random() % WARP, turned = runnable >> turn | (turn ? runnable << (WARP - turn) : 0);
            lane = (__builtin_ctz(turned) + turn) % WARP;
        }
        return warp * WARP + lane;
    }
    return -1;
}

inline void resume(u32 thread) {
    machine.current = thread;
    threadIdx.x = thread;
}

// Lets the thread go on that is next, which may be this one.
inline void yield() {
    int next = next_thread();
    if (next < 0) fail("threads wait for each other, or for threads that have left");
    u32 previous = machine.current;
    if (static_cast<u32>(next) == previous) return;
    resume(next);
    emulator_switch(&machine.fibers[previous].stack_pointer, machine.fibers[next].stack_pointer);
}

inline Warp& this_warp() {
    return machine.warps[machine.current / WARP];
}

// Waits for all lanes; the last one to come performs the operation for all of them.
template <typename Arguments>
void collective(Wait wait, Arguments& mine, void (*perform)(Arguments* const*)) {
    Warp& warp = this_warp();
    u32 lane = machine.current % WARP;
    if (warp.arrived && warp.wait != wait) fail("the lanes of a warp wait for different things");
    warp.wait = wait;
    warp.arguments[lane] = &mine;
    warp.arrived |= 1u << lane;
    warp.runnable &= ~(1u << lane);
    if (warp.arrived == ALL_LANES) {
        perform(reinterpret_cast<Arguments* const*>(warp.arguments));
        warp.arrived = 0;
        warp.runnable = ALL_LANES;
    }
    yield();
}

inline void finish() {
    Warp& warp = this_warp();
    warp.runnable &= ~(1u << machine.current % WARP);
    machine.fibers[machine.current].done = true;
    void* unused;
    if (--machine.left == 0) emulator_switch(&unused, machine.main_stack);
    yield();
    abort();
}

inline void start() {
    machine.entry(machine.arguments);
    finish();
}

inline void prepare(Fiber& fiber) {
    constexpr size_t STACK = 256 << 10;
    if (fiber.stack.empty()) fiber.stack.resize(STACK);
    ASAN_UNPOISON_MEMORY_REGION(fiber.stack.data(), STACK); // the thread before left without returning
    auto top = reinterpret_cast<uintptr_t>(fiber.stack.data() + STACK) & ~uintptr_t(63);
    // A function finds its stack 8 bytes off a multiple of 16 on x86_64, where calling pushes the return address.
    auto* words = reinterpret_cast<void**>(top) - SAVED - 2;
    for (int word = 0; word < SAVED + 2; ++word) words[word] = nullptr;
    words[RETURN] = reinterpret_cast<void*>(&start);
    fiber.stack_pointer = words;
    fiber.done = false;
    fiber.open.clear();
    fiber.pending.clear();
}

inline void run_block(size_t shared_bytes) {
    Machine& m = machine;
    memset(__start_emulated_shared, 0xff, __stop_emulated_shared - __start_emulated_shared);
    void* shared = nullptr;
    if (shared_bytes && posix_memalign(&shared, 128, shared_bytes)) abort();
    if (shared_bytes) memset(shared, 0xff, shared_bytes);
    m.dynamic_shared = static_cast<char*>(shared);
    if (m.fibers.empty()) m.fibers.resize(1024); // stacks come with first use; they must not move
    for (u32 thread = 0; thread < m.threads; ++thread) prepare(m.fibers[thread]);
    for (u32 warp = 0; warp < m.threads / WARP; ++warp) m.warps[warp] = {ALL_LANES, 0, WAIT_NOT, {}};
    m.left = m.threads, m.at_barrier = 0;
    resume(next_thread());
    emulator_switch(&m.main_stack, m.fibers[m.current].stack_pointer);
    free(shared);
}

// One letter per argument: a pointer's element in lower case, a number in upper case; of a file's own struct, s.
template <typename T> constexpr char letter() { return std::is_pointer_v<T> ? 's' : '?'; }
template <> constexpr char letter<bf16*>() { return 'b'; }
template <> constexpr char letter<float*>() { return 'f'; }
template <> constexpr char letter<double*>() { return 'd'; }
template <> constexpr char letter<int*>() { return 'i'; }
template <> constexpr char letter<int>() { return 'I'; }
template <> constexpr char letter<i64>() { return 'L'; }
template <> constexpr char letter<float>() { return 'F'; }

template <typename T> struct Plain { using type = T; };
template <typename T> struct Plain<const T*> { using type = T*; };

template <typename T>
T argument(void* at) {
    T value;
    memcpy(&value, at, sizeof value);
    return value;
}

template <auto KERNEL> struct Kernel;
template <typename... A, void (*KERNEL)(A...)>
struct Kernel<KERNEL> {
    static std::string signature() { return {letter<typename Plain<A>::type>()...}; }
    static void call(void** arguments) { call(arguments, std::index_sequence_for<A...>{}); }
    template <size_t... I>
    static void call(void** arguments, std::index_sequence<I...>) {
        KERNEL(argument<A>(arguments[I])...);
    }
};

struct Entry {
    const char* name;
    std::string signature;
    void (*call)(void**);
};

// Runs a kernel over its grid; the order of blocks follows `order` too. Returns what went wrong, or nothing.
inline std::string launch(
    const Entry& entry, const u32* grid, u32 block, size_t shared_bytes, const char* signature, void** arguments,
    Order order, u32 seed) {
    Machine& m = machine;
    if (entry.signature != signature)
        return std::string(entry.name) + " takes " + entry.signature + ", not " + signature;
    if (block % WARP || block == 0 || block > 1024) return "a block of " + std::to_string(block) + " threads";
    m.threads = block, m.order = order, m.entry = entry.call, m.arguments = arguments, m.error.clear();
    m.random.seed(seed);
    gridDim = {grid[0], grid[1], grid[2]}, blockDim = {block, 1, 1};
    u64 blocks = static_cast<u64>(grid[0]) * grid[1] * grid[2];
    for (u64 i = 0; i < blocks && m.error.empty(); ++i) {
        u64 number = order == ORDER_FIRST ? i : blocks - 1 - i;
        blockIdx = {static_cast<u32>(number % grid[0]), static_cast<u32>(number / grid[0] % grid[1]),
                    static_cast<u32>(number / grid[0] / grid[1])};
        run_block(shared_bytes);
    }
    return m.error.empty() ? "" : std::string(entry.name) + ": " + m.error;
}

inline void aligned(const void* address, const char* what) {
    if (reinterpret_cast<uintptr_t>(address) % 16) fail(std::string("misaligned ") + what);
}

inline bool eager() {
    return machine.order == ORDER_LAST || (machine.order == ORDER_RANDOM && machine.random() % 2);
}

} // namespace emulator

inline void __syncthreads() {
    using namespace emulator;
    Warp& warp = this_warp();
    if (warp.arrived) fail("a barrier while the warp waits for this lane");
    warp.runnable &= ~(1u << machine.current % WARP);
    if (++machine.at_barrier == machine.threads) {
        machine.at_barrier = 0;
        for (u32 i = 0; i < machine.threads / WARP; ++i) machine.warps[i].runnable = ALL_LANES;
    }
    yield();
}

// What each lane gives, and whose value it receives.
template <typename T>
struct Shuffle {
    T value, result;
    u32 from;
};

template <typename T>
T shuffle(T value, u32 from) {
    Shuffle<T> mine = {value, value, from};
    emulator::collective<Shuffle<T>>(emulator::WAIT_SHUFFLE, mine, [](Shuffle<T>* const* lanes) {
        for (int lane = 0; lane < WARP; ++lane) lanes[lane]->result = lanes[lanes[lane]->from]->value;
    });
    return mine.result;
}

template <typename T>
T __shfl_xor_sync(u32, T value, int offset) {
    return shuffle(value, threadIdx.x % WARP ^ offset);
}

template <typename T>
T __shfl_up_sync(u32, T value, int offset) {
    int lane = threadIdx.x % WARP;
    return shuffle(value, lane >= offset ? lane - offset : lane);
}

template <typename T>
T __shfl_sync(u32, T value, int lane) {
    return shuffle(value, lane);
}

inline u32 __ballot_sync(u32, bool vote) {
    struct Ballot {
        bool vote;
        u32 result;
    } mine = {vote, 0};
    emulator::collective<Ballot>(emulator::WAIT_BALLOT, mine, [](Ballot* const* lanes) {
        u32 all = 0;
        for (int lane = 0; lane < WARP; ++lane) all |= static_cast<u32>(lanes[lane]->vote) << lane;
        for (int lane = 0; lane < WARP; ++lane) lanes[lane]->result = all;
    });
    return mine.result;
}

inline float __int_as_float(int bits) {
    float x;
    memcpy(&x, &bits, 4);
    return x;
}

inline int __float_as_int(float x) {
    int bits;
    memcpy(&bits, &x, 4);
    return bits;
}

inline int __popc(u32 x) { return __builtin_popcount(x); }
inline int __ffs(int x) { return __builtin_ffs(x); }
inline int min(int a, int b) { return a < b ? a : b; }
inline int max(int a, int b) { return a > b ? a : b; }

inline u32 __byte_perm(u32 a, u32 b, u32 which) {
    u64 bytes = static_cast<u64>(b) << 32 | a;
    u32 result = 0;
    for (int i = 0; i < 4; ++i) result |= static_cast<u32>(bytes >> (which >> 4 * i & 7) * 8 & 0xff) << 8 * i;
    return result;
}

inline float exp2_fast(float x) { return exp2f(x); }

inline u32 round_to_bf16(float x) {
    u32 bits = static_cast<u32>(__float_as_int(x));
    if (x != x) return 0x7fff;
    return (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
}

inline u32 pack(float low, float high) { return round_to_bf16(low) | round_to_bf16(high) << 16; }

// Half `i` of the two bf16 in a word, as the fragments of mma and load_matrices hold them.
inline float half_of(u32 word, int i) {
    return __int_as_float(static_cast<int>(i ? word & 0xffff0000u : word << 16));
}

inline void mma(float (&sums)[4], const u32 (&a)[4], u32 b0, u32 b1) {
    struct Mma {
        float* sums;
        const u32* a;
        u32 b[2];
    } mine = {sums, a, {b0, b1}};
    emulator::collective<Mma>(emulator::WAIT_MMA, mine, [](Mma* const* lanes) {
        static float a[16][16], b[16][8];
        for (int lane = 0; lane < WARP; ++lane) {
            int g = lane / 4, t = lane % 4;
            for (int i = 0; i < 2; ++i) {
                a[g][2 * t + i] = half_of(lanes[lane]->a[0], i);
                a[g + 8][2 * t + i] = half_of(lanes[lane]->a[1], i);
                a[g][2 * t + 8 + i] = half_of(lanes[lane]->a[2], i);
                a[g + 8][2 * t + 8 + i] = half_of(lanes[lane]->a[3], i);
                b[2 * t + i][g] = half_of(lanes[lane]->b[0], i);
                b[2 * t + 8 + i][g] = half_of(lanes[lane]->b[1], i);
            }
        }
        for (int row = 0; row < 16; ++row) {
            float sums[8] = {};
            for (int k = 0; k < 16; ++k)
                for (int column = 0; column < 8; ++column) sums[column] += a[row][k] * b[k][column];
            for (int column = 0; column < 8; ++column)
                lanes[row % 8 * 4 + column / 2]->sums[row / 8 * 2 + column % 2] += sums[column];
        }
    });
}

struct Matrices {
    u32* fragments;
    const bf16* row;
};

inline void load_matrices(u32 (&fragments)[4], const bf16* row) {
    emulator::aligned(row, "row of a matrix");
    Matrices mine = {fragments, row};
    emulator::collective<Matrices>(emulator::WAIT_MATRICES, mine, [](Matrices* const* lanes) {
        for (int lane = 0; lane < WARP; ++lane)
            for (int matrix = 0; matrix < 4; ++matrix)
                memcpy(lanes[lane]->fragments + matrix, lanes[matrix * 8 + lane / 4]->row + lane % 4 * 2, 4);
    });
}

inline void load_matrices_transposed(u32 (&fragments)[4], const bf16* row) {
    emulator::aligned(row, "row of a matrix");
    Matrices mine = {fragments, row};
    emulator::collective<Matrices>(emulator::WAIT_MATRICES_TRANSPOSED, mine, [](Matrices* const* lanes) {
        for (int lane = 0; lane < WARP; ++lane)
            for (int matrix = 0; matrix < 4; ++matrix) {
                int column = lane / 4, first = matrix * 8 + lane % 4 * 2;
                u32 low = lanes[first]->row[column].bits, high = lanes[first + 1]->row[column].bits;
                lanes[lane]->fragments[matrix] = low | high << 16;
            }
    });
}

inline void copy_async(bf16* to, const bf16* from, bool valid) {
    emulator::aligned(to, "target of a copy");
    emulator::aligned(from, "source of a copy");
    volatile unsigned short readable = from->bits; // the address must be good even where nothing is copied
    (void)readable;
    emulator::Copy copy = {to, from, valid};
    if (emulator::eager()) copy.perform();
    else emulator::machine.fibers[emulator::machine.current].open.push_back(copy);
}

inline void copy_commit() {
    emulator::Fiber& fiber = emulator::machine.fibers[emulator::machine.current];
    fiber.pending.push_back(std::move(fiber.open));
    fiber.open.clear();
}

template <int PENDING>
inline void copy_wait() {
    emulator::Fiber& fiber = emulator::machine.fibers[emulator::machine.current];
    while (fiber.pending.size() > PENDING) {
        for (const emulator::Copy& copy : fiber.pending.front()) copy.perform();
        fiber.pending.pop_front();
    }
}
