// A group reward: the length of each answer, and ten times its place.
#include "rewarden.h"

static rw_fault *score_group(const rw_sample *samples, rw_score *scores, size_t count) {
    if (rw_same(samples[0].extra, "fault")) return rw_invalid_input("as asked");
    for (size_t i = 0; i < count; i++)
        if (!rw_same(samples[i].extra, "forgotten")) rw_value(&scores[i], rw_response(&samples[i]).len + 10 * (double)i);
    return RW_OK;
}

RW_GROUP_REWARD(score_group)
