// What tests/sdk.rs asks of an SDK; `extra` says what. probe.go is the same in Go.
#include <assert.h>
#include <stdlib.h>

#include "rewarden.h"

static rw_text word = RW_LITERAL("none");
static double limit = 2;
static bool strict = false;

static rw_fault *prepare(void) { return limit < 0 ? rw_misconfigured("`limit` is negative") : RW_OK; }

static rw_text text;

#define ADD(...) (text = rw_format("%.*s%s", RW_ARG(text), rw_cstr(rw_format(__VA_ARGS__))))

static void add_messages(const char *title, rw_messages messages) {
    ADD("|%s", title);
    for (size_t i = 0; i < messages.len; i++) {
        const rw_message *message = &messages.at[i];
        ADD(" %d:%s", message->role, message->content.at);
        if (message->name.given) ADD(" name=%s", message->name.text.at);
        for (size_t j = 0; j < message->tool_calls.len; j++) {
            const rw_tool_call *call = &message->tool_calls.at[j];
            ADD(" call=%s/%s/%s", call->id.at, call->name.at, call->arguments.at);
        }
        if (message->tool_call_id.given) ADD(" answers=%s", message->tool_call_id.text.at);
    }
}

static rw_fault *echo(const rw_sample *sample, rw_score *score) {
    text = rw_format("%s|%s|%s", sample->id.at, sample->group.at, sample->data_source.at);
    add_messages("prompt", sample->prompt);
    add_messages("completion", sample->completion);
    ADD("|%s|%d|", sample->ground_truth.at, sample->stop_reason);
    for (size_t i = 0; i < sample->turn_scores.len; i++) ADD("%g ", sample->turn_scores.at[i]);
    ADD("|%u|%u|%u", sample->completion_tokens, sample->step, rw_seed());
    rw_note(score, text);
    rw_value(score, 0.75);
    for (int i = 0; i < 5; i++) rw_add_number(&score->steps, i / 4.0);
    rw_add_metric(&score->components, "part", 0.25);
    rw_add_metric(&score->metrics, "length", (double)text.len);
    rw_add_metric(&score->metrics, "two", 2);
    return RW_OK;
}

static rw_fault *ask_scores(const rw_sample *sample, rw_score *score) {
    rw_numbers numbers;
    rw_messages asked[] = {sample->completion, sample->prompt};
    rw_fault *fault = rw_ask_scores("judge", asked, 2, &numbers);
    if (fault != RW_OK) return fault;
    rw_value(score, numbers.at[0] + numbers.at[1]);
    return RW_OK;
}

static rw_fault *ask_texts(const rw_sample *sample, rw_score *score) {
    rw_texts texts;
    rw_fault *fault = rw_ask_texts("judge", &sample->completion, 1, 7, &texts);
    if (fault != RW_OK) return fault;
    rw_value(score, 1);
    rw_note(score, texts.at[0]);
    return RW_OK;
}

static rw_fault *call_tool(const rw_sample *sample, rw_score *score) {
    rw_text content;
    rw_tool_call call = {RW_LITERAL("1"), RW_LITERAL("echo"), sample->ground_truth};
    rw_fault *fault = rw_call_tool(&call, &content);
    if (fault != RW_OK) return fault;
    rw_value(score, 1);
    rw_note(score, content);
    return RW_OK;
}

static int deeper(int depth) {
    // What lies on the stack cannot become a loop.
    volatile char here[64];
    here[0] = 1;
    return depth == 0 ? 0 : deeper(depth - 1) + here[0];
}

static rw_fault *score(const rw_sample *sample, rw_score *score) {
    rw_text asked = sample->extra;
    if (rw_same(asked, "echo")) return echo(sample, score);
    if (rw_same(asked, "scores")) return ask_scores(sample, score);
    if (rw_same(asked, "texts")) return ask_texts(sample, score);
    if (rw_same(asked, "tool")) return call_tool(sample, score);
    if (rw_same(asked, "forgotten")) return RW_OK;
    if (rw_same(asked, "invalid-input")) return rw_invalid_input("because \303\251");
    if (rw_same(asked, "misconfigured")) return rw_misconfigured("because \303\251");
    if (rw_same(asked, "unavailable")) return rw_unavailable("because \303\251");
    if (rw_same(asked, "internal")) return rw_internal("because \303\251");
    if (rw_same(asked, "abort")) abort();
    if (rw_same(asked, "exit")) exit(1);
    if (rw_same(asked, "recursion")) rw_value(score, deeper(1000000000));
    if (rw_same(asked, "memory")) for (;;) rw_alloc(1 << 20);
    assert(!rw_same(asked, "crash"));
    if (rw_same(asked, "none")) rw_none(score);
    else rw_value(score, 1);
    if (rw_same(asked, "log")) rw_log(RW_WARN, rw_format("judging %s", sample->id.at));
    rw_note(score, rw_format("%s %g %s", word.at, limit, strict ? "true" : "false"));
    return RW_OK;
}

RW_REWARD(score, RW_STRING("word", &word), RW_NUMBER("limit", &limit), RW_BOOL("strict", &strict), RW_PREPARE(prepare))
