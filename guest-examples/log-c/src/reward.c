// Pays for a short answer and says in the run's log what it saw.
#include "rewarden.h"

static double bytes_max = 400;

static rw_fault *score(const rw_sample *sample, rw_score *score) {
    size_t bytes = rw_response(sample).len;
    if (bytes > bytes_max) {
        rw_log(RW_WARN, rw_format("sample %s has %zu bytes", rw_cstr(sample->id), bytes));
    }
    rw_value(score, bytes <= bytes_max ? 1 : bytes_max / (double)bytes);
    return RW_OK;
}

RW_REWARD(score, RW_NUMBER("bytes_max", &bytes_max))
