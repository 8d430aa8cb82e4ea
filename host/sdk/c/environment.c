// The exports of an environment.
#include "rewarden_abi.h"

#if RW_KIND == RW_KIND_ENVIRONMENT

extern rw_fault *(*const rw_the_start)(const rw_task *task, uint32_t seed, rw_messages *shown);
extern rw_fault *(*const rw_the_step)(const rw_message *action, rw_transition *next);
extern void (*const rw_the_finish)(rw_metrics *metrics);

// A text and a list of anything as two arguments each.
#define TEXT(name) const char *name, size_t name##_len
#define GIVEN(name) {name, name##_len}

// The task is kept: an episode may look at it again at every step.
RW_EXPORT("rewarden:plugin/environment@0.1.0#start")
const void *rw_start(
    TEXT(id), TEXT(source), rw_message *prompt, size_t prompt_len, TEXT(truth), TEXT(extra), uint32_t seed) {
    static rw_list_result answer;
    rw_task *task = rw_alloc(sizeof(rw_task));
    *task = (rw_task){GIVEN(id), GIVEN(source), GIVEN(prompt), GIVEN(truth), GIVEN(extra)};
    rw_mend(&task->id);
    rw_mend(&task->data_source);
    rw_mend_messages(task->prompt);
    rw_mend(&task->ground_truth);
    rw_mend(&task->extra);
    rw_messages shown = {0};
    rw_fault *fault = rw_the_start(task, seed, &shown);
    answer = (rw_list_result){.is_fault = fault != RW_OK, .list = {shown.at, shown.len}};
    if (fault != RW_OK) answer.fault = *fault;
    rw_keep();
    return &answer;
}

// `result<transition, fault>`.
typedef struct {
    bool is_fault;
    union {
        rw_transition transition;
        rw_fault fault;
    };
} stepped;

_Static_assert(sizeof(stepped) == 40, "layout");

RW_EXPORT("rewarden:plugin/environment@0.1.0#step")
const void *rw_step(uint32_t role, TEXT(content), uint32_t has_name, TEXT(name), rw_tool_call *calls, size_t calls_len,
                    uint32_t has_call, TEXT(call)) {
    static stepped answer;
    rw_message action = {(rw_role)role, GIVEN(content), {has_name != 0, GIVEN(name)}, GIVEN(calls),
                         {has_call != 0, GIVEN(call)}};
    rw_mend_messages((rw_messages){&action, 1});
    answer = (stepped){0};
    rw_fault *fault = rw_the_step(&action, &answer.transition);
    if (fault != RW_OK) answer = (stepped){.is_fault = true, .fault = *fault};
    return &answer;
}

RW_EXPORT("cabi_post_rewarden:plugin/environment@0.1.0#step") void rw_step_read(const void *answer) {
    (void)answer;
    rw_release();
}

RW_EXPORT("rewarden:plugin/environment@0.1.0#finish") const void *rw_finish(void) {
    static rw_metrics answer;
    answer = (rw_metrics){0};
    rw_the_finish(&answer);
    return &answer;
}

#endif
