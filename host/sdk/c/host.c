// Host services: imported when plugin.toml asks for them, else absent, so that a plugin imports what it uses.
#include <string.h>

#include "rewarden_abi.h"

#ifdef RW_HOST_LOG
RW_IMPORT("rewarden:plugin/host-log@0.1.0", "log") void rw_import_log(uint32_t level, const char *at, size_t len);

void rw_log_(int level, rw_text message) { rw_import_log((uint32_t)level, message.at, message.len); }
#else
void rw_log_(int level, rw_text message) { (void)level, (void)message; }
#endif

#if defined(RW_HOST_MODEL) || defined(RW_HOST_TOOLS)
// What the host answered: its list or text, or the fault.
static rw_fault *given(rw_list_result *result, void *list) {
    if (!result->is_fault) {
        memcpy(list, &result->list, sizeof(result->list));
        return RW_OK;
    }
    rw_mend(&result->fault.reason);
    return rw_fault_(result->fault.kind, result->fault.reason);
}
#endif

#ifdef RW_HOST_MODEL
RW_IMPORT("rewarden:plugin/host-model@0.1.0", "score")
void rw_import_score(const char *binding, size_t binding_len, const rw_messages *at, size_t len, rw_list_result *result);
RW_IMPORT("rewarden:plugin/host-model@0.1.0", "generate")
void rw_import_generate(const char *binding, size_t binding_len, const rw_messages *at, size_t len, uint32_t max_tokens,
                        rw_list_result *result);

rw_fault *rw_ask_scores(const char *model, const rw_messages *conversations, size_t count, rw_numbers *scores) {
    rw_list_result result;
    rw_import_score(model, strlen(model), conversations, count, &result);
    return given(&result, scores);
}

rw_fault *rw_ask_texts(
    const char *model, const rw_messages *conversations, size_t count, uint32_t max_tokens, rw_texts *texts) {
    rw_list_result result;
    rw_import_generate(model, strlen(model), conversations, count, max_tokens, &result);
    rw_fault *fault = given(&result, texts);
    for (size_t i = 0; fault == RW_OK && i < texts->len; i++) rw_mend(&texts->at[i]);
    return fault;
}
#else
static rw_fault *no_model(void) { return rw_unavailable("add \"host-model\" to `capabilities` in plugin.toml"); }

rw_fault *rw_ask_scores(const char *model, const rw_messages *conversations, size_t count, rw_numbers *scores) {
    (void)model, (void)conversations, (void)count, (void)scores;
    return no_model();
}

rw_fault *rw_ask_texts(
    const char *model, const rw_messages *conversations, size_t count, uint32_t max_tokens, rw_texts *texts) {
    (void)model, (void)conversations, (void)count, (void)max_tokens, (void)texts;
    return no_model();
}
#endif

#ifdef RW_HOST_TOOLS
RW_IMPORT("rewarden:plugin/host-tools@0.1.0", "call")
void rw_import_call(const char *id, size_t id_len, const char *name, size_t name_len, const char *arguments,
                    size_t arguments_len, rw_list_result *result);

rw_fault *rw_call_tool(const rw_tool_call *call, rw_text *content) {
    rw_list_result result;
    rw_import_call(call->id.at, call->id.len, call->name.at, call->name.len, call->arguments.at, call->arguments.len,
                   &result);
    rw_fault *fault = given(&result, content);
    if (fault == RW_OK) rw_mend(content);
    return fault;
}
#else
rw_fault *rw_call_tool(const rw_tool_call *call, rw_text *content) {
    (void)call, (void)content;
    return rw_unavailable("add \"host-tools\" to `capabilities` in plugin.toml");
}
#endif
