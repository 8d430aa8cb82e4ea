// The exports of a reward, and of a group reward.
#include "rewarden_abi.h"

#if RW_KIND == RW_KIND_REWARD || RW_KIND == RW_KIND_GROUP_REWARD

// What has_value is until the author gives or denies a value.
#define FORGOTTEN 2

static void mend_sample(rw_sample *sample) {
    rw_mend(&sample->id);
    rw_mend(&sample->group);
    rw_mend(&sample->data_source);
    rw_mend_messages(sample->prompt);
    rw_mend_messages(sample->completion);
    rw_mend(&sample->ground_truth);
    rw_mend(&sample->extra);
}

static rw_fault *no_value(void) {
    return rw_internal("the score has no value: call rw_value(score, x) or rw_none(score), or return a fault");
}

// The longest note that a host takes, in bytes; what is longer is cut off between two letters.
#define NOTE_BYTES_MAX 4096

static void cut_note(rw_score *score) {
    rw_text *note = &score->note;
    if (note->len <= NOTE_BYTES_MAX) return;
    note->len = NOTE_BYTES_MAX;
    while (note->len > 0 && ((unsigned char)note->at[note->len] & 0xC0) == 0x80) note->len--;
}

#endif

#if RW_KIND == RW_KIND_REWARD

// `result<score, fault>`.
typedef struct {
    bool is_fault;
    union {
        rw_score score;
        rw_fault fault;
    };
} judgement;

_Static_assert(sizeof(judgement) == 56, "layout");

extern rw_fault *(*const rw_the_reward)(const rw_sample *sample, rw_score *score);

static judgement judge(rw_sample *sample) {
    judgement answer = {.score = {.has_value = FORGOTTEN}};
    mend_sample(sample);
    rw_fault *fault = rw_the_reward(sample, &answer.score);
    if (fault == RW_OK && answer.score.has_value == FORGOTTEN) fault = no_value();
    if (fault != RW_OK) return (judgement){.is_fault = true, .fault = *fault};
    cut_note(&answer.score);
    return answer;
}

RW_EXPORT("rewarden:plugin/reward@0.1.0#score-batch")
const void *rw_score_batch(rw_sample *samples, size_t count) {
    static rw_any_list answer;
    judgement *judgements = rw_alloc(count * sizeof(judgement));
    for (size_t i = 0; i < count; i++) judgements[i] = judge(&samples[i]);
    answer = (rw_any_list){judgements, count};
    return &answer;
}

RW_EXPORT("cabi_post_rewarden:plugin/reward@0.1.0#score-batch") void rw_score_batch_read(const void *answer) {
    (void)answer;
    rw_release();
}

#elif RW_KIND == RW_KIND_GROUP_REWARD

extern rw_fault *(*const rw_the_group_reward)(const rw_sample *samples, rw_score *scores, size_t count);

static rw_fault *judge_group(rw_sample *samples, rw_score *scores, size_t count) {
    for (size_t i = 0; i < count; i++) {
        mend_sample(&samples[i]);
        scores[i].has_value = FORGOTTEN;
    }
    rw_fault *fault = rw_the_group_reward(samples, scores, count);
    for (size_t i = 0; fault == RW_OK && i < count; i++)
        if (scores[i].has_value == FORGOTTEN) fault = no_value();
    for (size_t i = 0; i < count; i++) cut_note(&scores[i]);
    return fault;
}

RW_EXPORT("rewarden:plugin/group-reward@0.1.0#score-group")
const void *rw_score_group(rw_sample *samples, size_t count) {
    static rw_list_result answer;
    rw_score *scores = rw_alloc(count * sizeof(rw_score));
    rw_fault *fault = judge_group(samples, scores, count);
    answer = (rw_list_result){.is_fault = fault != RW_OK, .list = {scores, count}};
    if (fault != RW_OK) answer.fault = *fault;
    return &answer;
}

RW_EXPORT("cabi_post_rewarden:plugin/group-reward@0.1.0#score-group") void rw_score_group_read(const void *answer) {
    (void)answer;
    rw_release();
}

#endif
