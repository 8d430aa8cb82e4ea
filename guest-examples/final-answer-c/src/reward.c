// Pays 1 when the text after the last `####` is the reference answer.
#include "rewarden.h"

// What an answer earns that has the marker and is wrong.
static double format_score = 0;

// The text between the last `####` and the end of its line.
static bool marked(rw_text text, rw_text *line) {
    size_t marker = rw_find_last(text, "####");
    if (marker == RW_NOWHERE) return false;
    *line = rw_part(text, marker + 4, text.len);
    *line = rw_part(*line, 0, rw_find(*line, "\n"));
    return true;
}

// `" $1,200. "` is `1200`.
static rw_text clean(rw_text text) {
    text = rw_trim(text);
    if (rw_begins(text, "$")) text = rw_part(text, 1, text.len);
    text = rw_without(text, ",");
    if (rw_ends(text, ".")) text = rw_part(text, 0, text.len - 1);
    return text;
}

static rw_fault *score(const rw_sample *sample, rw_score *score) {
    rw_text said, wanted = sample->ground_truth;
    if (!marked(rw_response(sample), &said)) {
        rw_note(score, "no ####");
        rw_value(score, 0);
        return RW_OK;
    }
    marked(wanted, &wanted);
    said = clean(said);
    rw_note(score, said);
    rw_value(score, rw_same(said, clean(wanted)) ? 1 : format_score);
    return RW_OK;
}

RW_REWARD(score, RW_NUMBER("format_score", &format_score))
