// What the parts of the SDK share, and authors do not see.
//
// The records of rewarden.h lie in memory as the canonical ABI of the contract lays them out: fields in the order of
// wit/, alignment as C's own on wasm32. The host writes arguments where they are read and reads answers where they were
// made; the assertions below are what that rests on.
#ifndef REWARDEN_ABI_H
#define REWARDEN_ABI_H

#include "rewarden.h"

_Static_assert(sizeof(void *) == 4, "a plugin is compiled for wasm32");
_Static_assert(sizeof(rw_text) == 8 && sizeof(rw_numbers) == 8, "layout");
_Static_assert(sizeof(rw_tool_call) == 24 && sizeof(rw_optional_text) == 12, "layout");
_Static_assert(sizeof(rw_message) == 44 && offsetof(rw_message, tool_call_id) == 32, "layout");
_Static_assert(sizeof(rw_metric) == 16 && sizeof(rw_fault) == 12, "layout");
_Static_assert(sizeof(rw_sample) == 76 && offsetof(rw_sample, turn_scores) == 60, "layout");
_Static_assert(sizeof(rw_score) == 48 && offsetof(rw_score, steps) == 16, "layout");
_Static_assert(sizeof(rw_transition) == 32 && offsetof(rw_transition, metrics) == 20, "layout");
_Static_assert(sizeof(rw_output) == 24, "layout");

#define RW_EXPORT(name) __attribute__((export_name(name)))
#define RW_IMPORT(module, name) __attribute__((import_module(module), import_name(name)))

// A list of anything, as a function returns it.
typedef struct {
    void *at;
    size_t len;
} rw_any_list;

// `result<list<_>, fault>`, `result<string, fault>` and `result<_, fault>`.
typedef struct {
    bool is_fault;
    union {
        rw_any_list list;
        rw_fault fault;
    };
} rw_list_result;

_Static_assert(sizeof(rw_list_result) == 16, "layout");

// What lies in the arena now stays as long as the instance.
void rw_keep(void);
// Everything since rw_keep goes.
void rw_release(void);
// The list's memory, with room for one more element behind it.
void *rw_grow(void *at, size_t len, size_t element_bytes);
// Ends the call as a fault, with a line in the log where there is one.
_Noreturn void rw_die(const char *why);

// Empty texts of the host have an address that is nowhere: give them one that can be read.
void rw_mend(rw_text *text);
void rw_mend_messages(rw_messages messages);
void rw_mend_tool_call(rw_tool_call *call);

extern const rw_field rw_the_settings[];

#endif
