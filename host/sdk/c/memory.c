// The arena, and the function by which the host asks for memory.
//
// Blocks in a chain; the first lies in the module and is enough for most samples, because asking the host for memory
// costs more than judging. Emptying it means going back to the mark that rw_keep set.
#include <stdlib.h>
#include <string.h>

#include <assert.h>
#include "rewarden_abi.h"

#define FIRST_BLOCK_BYTES (128 * 1024)
#define BLOCK_BYTES_MIN (64 * 1024)
// The strictest alignment of wasm32.
#define ALIGN 16

typedef struct block {
    struct block *before;
    char *bytes;
    size_t size;
    size_t used;
} block;

static _Alignas(ALIGN) char first_bytes[FIRST_BLOCK_BYTES];
static block first = {.bytes = first_bytes, .size = FIRST_BLOCK_BYTES};

static block *newest = &first;
// Where rw_release goes back to.
static block *kept = &first;
static size_t kept_bytes = 0;

static size_t align_up(size_t bytes, size_t align) { return (bytes + align - 1) & ~(align - 1); }

static void *take(size_t bytes, size_t align) {
    size_t from = align_up(newest->used, align);
    if (from > newest->size || bytes > newest->size - from) {
        size_t size = bytes > BLOCK_BYTES_MIN ? bytes : BLOCK_BYTES_MIN;
        block *fresh = size < SIZE_MAX - sizeof(block) ? malloc(sizeof(block) + size) : NULL;
        if (fresh == NULL) rw_die("out of memory");
        *fresh = (block){.before = newest, .bytes = (char *)(fresh + 1), .size = size};
        newest = fresh;
        from = 0;
    }
    newest->used = from + bytes;
    return newest->bytes + from;
}

void rw_keep(void) {
    kept = newest;
    kept_bytes = newest->used;
}

void rw_release(void) {
    while (newest != kept) {
        block *before = newest->before;
        free(newest);
        newest = before;
    }
    newest->used = kept_bytes;
}

void *rw_alloc(size_t bytes) { return memset(take(bytes, ALIGN), 0, bytes); }

// Lists have no capacity: one grows when its length is a power of two.
void *rw_grow(void *at, size_t len, size_t element_bytes) {
    if ((len & (len - 1)) != 0) return at;
    void *grown = rw_alloc((len == 0 ? 1 : len * 2) * element_bytes);
    if (len > 0) memcpy(grown, at, len * element_bytes);
    return grown;
}

// One byte more than was asked for, and it is zero: the host's texts end as C's do.
RW_EXPORT("cabi_realloc") void *rw_realloc(void *old, size_t old_bytes, size_t align, size_t new_bytes) {
    if (new_bytes == SIZE_MAX) rw_die("out of memory");
    char *fresh = take(new_bytes + 1, align);
    memcpy(fresh, old, old_bytes < new_bytes ? old_bytes : new_bytes);
    fresh[new_bytes] = '\0';
    return fresh;
}

void rw_die(const char *why) {
    rw_text line = {why, strlen(why)};
    rw_log(RW_ERROR, line);
    __builtin_trap();
}

void rw_assert_failed(const char *condition, const char *file, int line, const char *function) {
    rw_log(RW_ERROR, rw_format("assertion failed: %s, in %s (%s:%d)", condition, function, file, line));
    __builtin_trap();
}
