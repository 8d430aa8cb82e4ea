// Members of a JSON object into the variables that a table names.
#include <string.h>

#include "rewarden_abi.h"

static bool is_end(const rw_field *field) { return field->name == NULL && field->prepare == NULL; }

static const rw_field *field_named(const rw_field *fields, rw_text name) {
    for (; !is_end(fields); fields++)
        if (fields->name != NULL && rw_same(name, fields->name)) return fields;
    return NULL;
}

static rw_fault *unknown(const rw_field *fields, rw_text name) {
    rw_text known = {"", 0};
    for (; !is_end(fields); fields++)
        if (fields->name != NULL) known = rw_format("%s%s`%s`", rw_cstr(known), known.len > 0 ? ", " : "", fields->name);
    const char *others = known.len > 0 ? "known are " : "there are none";
    return rw_misconfigured(rw_format("unknown key `%.*s`: %s%.*s", RW_ARG(name), others, RW_ARG(known)));
}

static const char *store(const rw_field *field, rw_text json) {
    if (field->boolean != NULL) return rw_json_bool(json, field->boolean) ? NULL : "true or false";
    if (field->number != NULL) return rw_json_number(json, field->number) ? NULL : "a number";
    if (field->text != NULL) return rw_json_text(json, field->text) ? NULL : "a string";
    *field->json = json;
    return NULL;
}

// One member into its variable.
static rw_fault *read_member(const rw_field *fields, rw_text name, rw_text json) {
    const rw_field *field = field_named(fields, name);
    if (field == NULL) return unknown(fields, name);
    const char *wanted = store(field, json);
    if (wanted == NULL) return RW_OK;
    return rw_misconfigured(rw_format("`%s` must be %s", field->name, wanted));
}

rw_fault *rw_read_(rw_text json, const rw_field *fields) {
    rw_text name, part;
    size_t position = 0;
    if (!rw_json_valid(json) || *rw_trim(json).at != '{') return rw_misconfigured("this is no JSON object");
    while (rw_json_next_member(json, &position, &name, &part)) {
        rw_fault *fault = read_member(fields, name, part);
        if (fault != RW_OK) return fault;
    }
    for (const rw_field *field = fields; !is_end(field); field++) {
        bool missing = field->required && rw_json_get(json, field->name).len == 0;
        if (missing) return rw_misconfigured(rw_format("`%s` is missing", field->name));
    }
    for (; !is_end(fields); fields++) {
        rw_fault *fault = fields->prepare != NULL ? fields->prepare() : RW_OK;
        if (fault != RW_OK) return fault;
    }
    return RW_OK;
}
