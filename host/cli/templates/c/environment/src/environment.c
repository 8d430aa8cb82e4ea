// The policy finds a number by guessing; each answer says higher or lower.
#include "rewarden.h"

// What a run can set; settings.schema.json says the same for people and tools.
static double guesses_max = 7;

static rw_fault *check_settings(void) {
    return guesses_max < 1 ? rw_misconfigured("`guesses_max` must be at least 1") : RW_OK;
}

// The episode. Every one has an instance of its own, so these begin as they are written here.
static double wanted;
static double guesses = 0;

// What the policy sees first. What is random derives from the seed; here nothing is.
static rw_fault *start(const rw_task *task, uint32_t seed, rw_messages *shown) {
    (void)seed;
    if (!rw_number(rw_trim(task->ground_truth), &wanted)) return rw_invalid_input("the ground truth is no number");
    rw_add_message(shown, RW_USER, "I think of a number. Answer with your guess and nothing else.");
    return RW_OK;
}

// Answers one message of the policy. Its mistakes are part of the game, and no faults.
static rw_fault *step(const rw_message *action, rw_transition *next) {
    double guess;
    bool is_number = rw_number(rw_trim(action->content), &guess), right = is_number && guess == wanted;
    guesses++;
    next->reward = right ? 1 : 0;
    next->done = right || guesses >= guesses_max;
    if (!is_number) rw_add_message(&next->observation, RW_USER, "That is no number.");
    else if (right) rw_add_message(&next->observation, RW_USER, "Right!");
    else rw_add_message(&next->observation, RW_USER, guess < wanted ? "Higher." : "Lower.");
    return RW_OK;
}

// Numbers for the logs, when the episode ends for any reason.
static void finish(rw_metrics *metrics) { rw_add_metric(metrics, "guesses", guesses); }

RW_ENVIRONMENT(start, step, finish, RW_NUMBER("guesses_max", &guesses_max), RW_PREPARE(check_settings))
