// A tool that adds, and counts how often.
#include "rewarden.h"

static double offset = 0;
static int calls = 0;

static rw_fault *add(const rw_tool_call *call, rw_output *output) {
    double a, b = 0;
    rw_fault *mistake = rw_read(call->arguments, RW_NUMBER("a", &a, RW_REQUIRED), RW_NUMBER("b", &b));
    if (mistake != RW_OK) {
        rw_say(output, rw_format("error: %s", mistake->reason.at));
        return RW_OK;
    }
    rw_say(output, rw_format("%g", a + b + offset));
    output->reward = 0.25;
    rw_add_metric(&output->metrics, "calls", ++calls);
    return RW_OK;
}

static rw_fault *broken(const rw_tool_call *call, rw_output *output) {
    (void)output;
    return rw_internal(rw_format("%s is broken", call->id.at));
}

static const rw_function functions[] = {
    {"add", "Adds \342\210\221.", RW_JSON({"type": "object", "properties": {"a": {"type": "number"}}}), add},
    {"broken", "Fails.", RW_JSON({}), broken},
};

RW_TOOL(functions, RW_NUMBER("offset", &offset))
