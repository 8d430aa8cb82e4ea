// The functions of rewarden.h, called with texts: `data_source` names one, `ground_truth` and `extra` are its arguments.
#include "rewarden.h"

static rw_text told(bool is, rw_text value) { return is ? value : rw_format("no"); }

static rw_text place(size_t place) { return place == RW_NOWHERE ? rw_format("nowhere") : rw_format("%zu", place); }

static rw_text elements(rw_text json) {
    rw_text all = {"", 0}, element;
    size_t position = 0;
    while (rw_json_next(json, &position, &element)) all = rw_format("%.*s<%.*s>", RW_ARG(all), RW_ARG(element));
    return all;
}

static rw_text members(rw_text json) {
    rw_text all = {"", 0}, name, value;
    size_t position = 0;
    while (rw_json_next_member(json, &position, &name, &value))
        all = rw_format("%.*s%.*s=%.*s;", RW_ARG(all), RW_ARG(name), RW_ARG(value));
    return all;
}

static rw_text called(rw_text name, rw_text a, rw_text b) {
    double number = 0;
    bool boolean = false;
    rw_text text = {"", 0};
    if (rw_same(name, "trim")) return rw_trim(a);
    if (rw_same(name, "without")) return rw_without(a, rw_cstr(b));
    if (rw_same(name, "same_letters")) return rw_format(rw_same_letters(a, b) ? "yes" : "no");
    if (rw_same(name, "begins")) return rw_format(rw_begins(a, b) ? "yes" : "no");
    if (rw_same(name, "ends")) return rw_format(rw_ends(a, b) ? "yes" : "no");
    if (rw_same(name, "find")) return place(rw_find(a, b));
    if (rw_same(name, "find_last")) return place(rw_find_last(a, b));
    if (rw_same(name, "part")) return rw_part(a, 1, 3);
    if (rw_same(name, "number")) return told(rw_number(a, &number), rw_format("%.17g", number));
    if (rw_same(name, "json_valid")) return rw_format(rw_json_valid(a) ? "yes" : "no");
    if (rw_same(name, "json_get")) return rw_json_get(a, b);
    if (rw_same(name, "json_next")) return elements(a);
    if (rw_same(name, "json_next_member")) return members(a);
    if (rw_same(name, "json_text")) return rw_json_text(a, &text) ? text : told(false, text);
    if (rw_same(name, "json_number")) return rw_json_number(a, &number) ? rw_format("%g", number) : told(false, a);
    if (rw_same(name, "json_bool")) return told(rw_json_bool(a, &boolean), rw_format(boolean ? "true" : "false"));
    if (rw_same(name, "json_quote")) return rw_json_quote(a);
    return rw_format("there is no %s", name.at);
}

static rw_fault *score(const rw_sample *sample, rw_score *score) {
    rw_note(score, called(sample->data_source, sample->ground_truth, sample->extra));
    rw_none(score);
    return RW_OK;
}

RW_REWARD(score)
