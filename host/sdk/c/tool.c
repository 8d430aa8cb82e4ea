// The exports of a tool.
#include "rewarden_abi.h"

#if RW_KIND == RW_KIND_TOOL

extern const rw_function *const rw_the_functions;
extern const size_t rw_the_functions_count;

typedef struct {
    rw_text name;
    rw_text description;
    rw_text parameters;
} tool_spec;

RW_EXPORT("rewarden:plugin/tool@0.1.0#list-tools") const void *rw_list_tools(void) {
    static rw_any_list answer;
    tool_spec *specs = rw_alloc(rw_the_functions_count * sizeof(tool_spec));
    for (size_t i = 0; i < rw_the_functions_count; i++) {
        const rw_function *function = &rw_the_functions[i];
        specs[i] = (tool_spec){
            RW_TEXT(function->name), RW_TEXT(function->description), RW_TEXT(function->parameters)};
    }
    answer = (rw_any_list){specs, rw_the_functions_count};
    return &answer;
}

RW_EXPORT("cabi_post_rewarden:plugin/tool@0.1.0#list-tools") void rw_list_tools_read(const void *answer) {
    (void)answer;
    rw_release();
}

// `result<output, fault>`.
typedef struct {
    bool is_fault;
    union {
        rw_output output;
        rw_fault fault;
    };
} called;

_Static_assert(sizeof(called) == 32, "layout");

// A function that does not exist is a mistake of the policy, and said to it.
static rw_fault *run(const rw_tool_call *call, rw_output *output) {
    rw_text known = {"", 0};
    for (size_t i = 0; i < rw_the_functions_count; i++) {
        const rw_function *function = &rw_the_functions[i];
        if (rw_same(call->name, function->name)) return function->call(call, output);
        known = rw_format("%.*s%s`%s`", RW_ARG(known), i > 0 ? ", " : "", function->name);
    }
    rw_say(output, rw_format("error: there is no function `%.*s`, only %.*s", RW_ARG(call->name), RW_ARG(known)));
    return RW_OK;
}

RW_EXPORT("rewarden:plugin/tool@0.1.0#call")
const void *rw_call(const char *id, size_t id_len, const char *name, size_t name_len, const char *arguments,
                    size_t arguments_len) {
    static called answer;
    rw_tool_call call = {{id, id_len}, {name, name_len}, {arguments, arguments_len}};
    rw_mend_tool_call(&call);
    answer = (called){0};
    rw_fault *fault = run(&call, &answer.output);
    if (fault != RW_OK) answer = (called){.is_fault = true, .fault = *fault};
    return &answer;
}

RW_EXPORT("cabi_post_rewarden:plugin/tool@0.1.0#call") void rw_call_read(const void *answer) {
    (void)answer;
    rw_release();
}

#endif
