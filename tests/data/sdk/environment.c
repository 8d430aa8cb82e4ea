// An environment that says what it is given; an action says how it goes on.
#include "rewarden.h"

static double bonus = 0;
static const rw_task *task;
static int steps = 0;

static rw_fault *start(const rw_task *given, uint32_t seed, rw_messages *shown) {
    if (rw_same(given->id, "refused")) return rw_invalid_input("as asked");
    task = given;
    rw_add_message(shown, RW_SYSTEM,
                   rw_format("%s|%s|%s|%s|%u", given->id.at, given->data_source.at, given->ground_truth.at,
                             given->extra.at, seed));
    for (size_t i = 0; i < given->prompt.len; i++)
        rw_add_message(shown, given->prompt.at[i].role, given->prompt.at[i].content);
    return RW_OK;
}

static rw_fault *step(const rw_message *action, rw_transition *next) {
    if (rw_same(action->content, "fault")) return rw_internal("as asked");
    steps++;
    rw_add_message(&next->observation, RW_USER, rw_format("%s has %d", task->ground_truth.at, steps));
    for (size_t i = 0; i < action->tool_calls.len; i++) {
        const rw_tool_call *call = &action->tool_calls.at[i];
        rw_add_message(&next->observation, RW_TOOL_ROLE, rw_format("%s(%s)", call->name.at, call->arguments.at));
        rw_message *answer = &next->observation.at[next->observation.len - 1];
        answer->name = (rw_optional_text){true, call->name};
        answer->tool_call_id = (rw_optional_text){true, call->id};
    }
    next->reward = 0.5 + bonus;
    next->done = rw_same(action->content, "end");
    rw_add_metric(&next->metrics, "steps", steps);
    return RW_OK;
}

static void finish(rw_metrics *metrics) { rw_add_metric(metrics, "all", steps); }

RW_ENVIRONMENT(start, step, finish, RW_NUMBER("bonus", &bonus))
