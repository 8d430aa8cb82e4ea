// Pays 1 for the reference answer after the marker, 0 for anything else.
#include "rewarden.h"

// What a run can set; settings.schema.json says the same for people and tools.
static rw_text marker = RW_LITERAL("Answer:");

// Judges one sample. A wrong answer is a score of 0; a fault means that nobody could judge this.
static rw_fault *score(const rw_sample *sample, rw_score *score) {
    rw_text response = rw_response(sample), wanted = rw_trim(sample->ground_truth);
    if (wanted.len == 0) return rw_invalid_input("the sample has no ground truth");
    size_t found = rw_find_last(response, marker);
    if (found == RW_NOWHERE) {
        rw_value(score, 0);
        rw_note(score, "no marker");
        return RW_OK;
    }
    rw_text answer = rw_trim(rw_part(response, found + marker.len, response.len));
    rw_value(score, rw_same(answer, wanted) ? 1 : 0);
    rw_note(score, answer);
    return RW_OK;
}

RW_REWARD(score, RW_STRING("marker", &marker))
