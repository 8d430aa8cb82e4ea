// Texts, lists, faults and scores.
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "rewarden_abi.h"

rw_text rw_text_itself(rw_text text) { return text; }

rw_text rw_text_copy(const char *string) {
    size_t len = strlen(string);
    return (rw_text){memcpy(rw_alloc(len + 1), string, len), len};
}

const char *rw_cstr(rw_text text) { return memcpy(rw_alloc(text.len + 1), text.at, text.len); }

rw_text rw_format(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    int len = vsnprintf(NULL, 0, format, arguments);
    va_end(arguments);
    if (len < 0) return (rw_text){"", 0};
    char *at = rw_alloc((size_t)len + 1);
    va_start(arguments, format);
    vsnprintf(at, (size_t)len + 1, format, arguments);
    va_end(arguments);
    return (rw_text){at, (size_t)len};
}

static bool is_blank(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

rw_text rw_trim(rw_text text) {
    while (text.len > 0 && is_blank(text.at[text.len - 1])) text.len--;
    while (text.len > 0 && is_blank(text.at[0])) text.at++, text.len--;
    return text;
}

rw_text rw_part(rw_text text, size_t from, size_t to) {
    if (to > text.len) to = text.len;
    if (from > to) from = to;
    return (rw_text){text.at + from, to - from};
}

rw_text rw_without(rw_text text, const char *characters) {
    char *at = rw_alloc(text.len + 1);
    size_t len = 0;
    for (size_t i = 0; i < text.len; i++)
        if (text.at[i] == '\0' || strchr(characters, text.at[i]) == NULL) at[len++] = text.at[i];
    return (rw_text){at, len};
}

bool rw_same_(rw_text a, rw_text b) { return a.len == b.len && memcmp(a.at, b.at, a.len) == 0; }

static char lower(char c) { return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c; }

bool rw_same_letters_(rw_text a, rw_text b) {
    if (a.len != b.len) return false;
    for (size_t i = 0; i < a.len; i++)
        if (lower(a.at[i]) != lower(b.at[i])) return false;
    return true;
}

bool rw_begins_(rw_text text, rw_text with) { return text.len >= with.len && memcmp(text.at, with.at, with.len) == 0; }

bool rw_ends_(rw_text text, rw_text with) {
    return text.len >= with.len && memcmp(text.at + text.len - with.len, with.at, with.len) == 0;
}

size_t rw_find_(rw_text text, rw_text what) {
    for (size_t i = 0; i + what.len <= text.len; i++)
        if (memcmp(text.at + i, what.at, what.len) == 0) return i;
    return RW_NOWHERE;
}

size_t rw_find_last_(rw_text text, rw_text what) {
    for (size_t i = text.len + 1; i-- > 0;)
        if (i + what.len <= text.len && memcmp(text.at + i, what.at, what.len) == 0) return i;
    return RW_NOWHERE;
}

bool rw_number(rw_text text, double *number) {
    // strtod would also take blanks, hexadecimal digits, "inf" and "nan".
    for (size_t i = 0; i < text.len; i++)
        if (text.at[i] == '\0' || strchr("+-.0123456789eE", text.at[i]) == NULL) return false;
    const char *string = rw_cstr(text);
    char *end;
    double value = strtod(string, &end);
    if (text.len == 0 || end != string + text.len || !isfinite(value)) return false;
    *number = value;
    return true;
}

rw_fault *rw_fault_(uint8_t kind, rw_text reason) {
    rw_fault *fault = rw_alloc(sizeof(rw_fault));
    *fault = (rw_fault){kind, reason};
    return fault;
}

void rw_value(rw_score *score, double value) {
    score->has_value = 1;
    score->value = value;
}

void rw_none(rw_score *score) { score->has_value = 0; }

void rw_add_number(rw_numbers *list, double number) {
    list->at = rw_grow(list->at, list->len, sizeof(double));
    list->at[list->len++] = number;
}

void rw_add_metric_(rw_metrics *list, rw_text name, double value) {
    list->at = rw_grow(list->at, list->len, sizeof(rw_metric));
    list->at[list->len++] = (rw_metric){name, value};
}

void rw_add_message_(rw_messages *list, rw_role role, rw_text content) {
    list->at = rw_grow(list->at, list->len, sizeof(rw_message));
    list->at[list->len++] = (rw_message){.role = role, .content = content};
}

rw_text rw_response(const rw_sample *sample) {
    for (size_t i = sample->completion.len; i-- > 0;)
        if (sample->completion.at[i].role == RW_ASSISTANT) return sample->completion.at[i].content;
    return (rw_text){"", 0};
}

void rw_mend(rw_text *text) {
    if (text->len == 0) text->at = "";
}

void rw_mend_tool_call(rw_tool_call *call) {
    rw_mend(&call->id);
    rw_mend(&call->name);
    rw_mend(&call->arguments);
}

void rw_mend_messages(rw_messages messages) {
    for (size_t i = 0; i < messages.len; i++) {
        rw_message *message = &messages.at[i];
        rw_mend(&message->content);
        if (!message->name.given) message->name.text.len = 0;
        rw_mend(&message->name.text);
        if (!message->tool_call_id.given) message->tool_call_id.text.len = 0;
        rw_mend(&message->tool_call_id.text);
        for (size_t j = 0; j < message->tool_calls.len; j++) rw_mend_tool_call(&message->tool_calls.at[j]);
    }
}
