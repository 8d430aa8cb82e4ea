// Adds numbers, because policies cannot.
#include "rewarden.h"

// Runs one call. A mistake of the policy belongs into what it reads; a fault means that the tool itself is broken.
static rw_fault *add(const rw_tool_call *call, rw_output *output) {
    double a, b;
    rw_fault *mistake = rw_read(call->arguments, RW_NUMBER("a", &a, RW_REQUIRED), RW_NUMBER("b", &b, RW_REQUIRED));
    if (mistake != RW_OK) rw_say(output, rw_format("error: %.*s", RW_ARG(mistake->reason)));
    else rw_say(output, rw_format("%.15g", a + b));
    return RW_OK;
}

// What the policy is told about each function.
static const rw_function functions[] = {
    {
        "add",
        "Adds two numbers.",
        RW_JSON({
            "type": "object",
            "properties": {"a": {"type": "number"}, "b": {"type": "number"}},
            "required": ["a", "b"]
        }),
        add,
    },
};

RW_TOOL(functions)
