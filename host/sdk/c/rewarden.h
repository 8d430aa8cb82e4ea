// rewarden.h: write a plugin in C. A reward is one function and one line that registers it:
//
//     #include "rewarden.h"
//
//     static bool ignore_case;
//
//     static rw_fault *score(const rw_sample *sample, rw_score *score) {
//         rw_text said = rw_trim(rw_response(sample)), wanted = rw_trim(sample->ground_truth);
//         bool same = ignore_case ? rw_same_letters(said, wanted) : rw_same(said, wanted);
//         rw_value(score, same ? 1 : 0);
//         rw_note(score, said);
//         return RW_OK;
//     }
//
//     RW_REWARD(score, RW_BOOL("ignore_case", &ignore_case))
//
// Nothing is ever freed: texts, lists and what `rw_alloc` gives lie in an arena that is emptied when the host has read
// the answer. What was made while settings were read, or in an environment's `start`, stays as long as the instance.
// malloc and free work too, and are yours.
//
// The sandbox has no clock, no files, no network and no environment; printf goes nowhere, use `rw_log`. What traps
// (abort, a failed assert, a stack that overflows) is a fault of this sample and of no other.
#ifndef REWARDEN_H
#define REWARDEN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "rewarden_plugin.h"

// ---- Texts ----------------------------------------------------------------------------------------------------------

// UTF-8 and its length in bytes. A text of the host ends in a NUL behind its length, and may hold others; a part of a
// text (rw_trim, rw_part) does not: rw_cstr makes one that does.
typedef struct {
    const char *at;
    size_t len;
} rw_text;

// A text from a text, or a copy of a string that ends in NUL. The macros below that take a text take both.
#define RW_TEXT(x) _Generic((x), rw_text: rw_text_itself, char *: rw_text_copy, const char *: rw_text_copy)(x)

// A text for the initialiser of a variable.
#define RW_LITERAL(string) {(string), sizeof(string) - 1}

rw_text rw_text_itself(rw_text text);
rw_text rw_text_copy(const char *string);

// Memory for this call, aligned for anything and zeroed. Never NULL: without memory the call ends as a fault.
void *rw_alloc(size_t bytes);

// A copy that ends in NUL.
const char *rw_cstr(rw_text text);
// What printf would print.
rw_text rw_format(const char *format, ...) __attribute__((format(printf, 1, 2)));
// For "%.*s" of printf.
#define RW_ARG(text) (int)(text).len, (text).at

// Without the blanks (ASCII) at both ends.
rw_text rw_trim(rw_text text);
// From a byte up to another, cut to what there is.
rw_text rw_part(rw_text text, size_t from, size_t to);
// A copy without any of these (ASCII) characters: rw_without(text, ", ").
rw_text rw_without(rw_text text, const char *characters);
// The same bytes.
#define rw_same(a, b) rw_same_(RW_TEXT(a), RW_TEXT(b))
bool rw_same_(rw_text a, rw_text b);
// The same but for upper and lower case of A to Z.
#define rw_same_letters(a, b) rw_same_letters_(RW_TEXT(a), RW_TEXT(b))
bool rw_same_letters_(rw_text a, rw_text b);
#define rw_begins(text, with) rw_begins_((text), RW_TEXT(with))
bool rw_begins_(rw_text text, rw_text with);
#define rw_ends(text, with) rw_ends_((text), RW_TEXT(with))
bool rw_ends_(rw_text text, rw_text with);
// Where the first, or the last, occurrence begins; RW_NOWHERE when there is none.
#define RW_NOWHERE SIZE_MAX
#define rw_find(text, what) rw_find_((text), RW_TEXT(what))
size_t rw_find_(rw_text text, rw_text what);
#define rw_find_last(text, what) rw_find_last_((text), RW_TEXT(what))
size_t rw_find_last_(rw_text text, rw_text what);
// The whole text as a finite decimal number.
bool rw_number(rw_text text, double *number);

// ---- Records of the contract ----------------------------------------------------------------------------------------

// Lists: the first element, and how many there are.
typedef struct {
    double *at;
    size_t len;
} rw_numbers;

// Who said a message.
typedef uint8_t rw_role;
enum {
    RW_SYSTEM,    // the instructions that frame the conversation
    RW_USER,      // the person, or the task that stands in for one
    RW_ASSISTANT, // the policy that is trained or judged
    RW_TOOL_ROLE, // the answer of a tool to a call the policy made
};

// A call proposed by the policy. Nothing has checked it: expect unknown names and broken arguments.
typedef struct {
    rw_text id;        // tells calls of one message apart; empty when the policy's format has no ids
    rw_text name;      // the function the policy wants, as it wrote it
    rw_text arguments; // a JSON object, exactly as the policy wrote it; it may not parse
} rw_tool_call;

typedef struct {
    rw_tool_call *at;
    size_t len;
} rw_tool_calls;

// A text that may be missing.
typedef struct {
    bool given;
    rw_text text;
} rw_optional_text;

// One message of a conversation.
typedef struct {
    rw_role role;
    rw_text content;               // the text, without the chat template's markers
    rw_optional_text name;         // the tool's name, on messages of a tool
    rw_tool_calls tool_calls;      // the calls this message proposes, in order; only of the policy
    rw_optional_text tool_call_id; // the call this message answers, on messages of a tool
} rw_message;

typedef struct {
    rw_message *at;
    size_t len;
} rw_messages;

// A named number for the logs: any finite one.
typedef struct {
    rw_text name;
    double value;
} rw_metric;

typedef struct {
    rw_metric *at;
    size_t len;
} rw_metrics;

// Why there is no answer. A wrong answer of the policy is not one: that is a score of 0.
typedef struct {
    uint8_t kind;
    rw_text reason;
} rw_fault;

// What a function returns that has done its work, and what it returns otherwise.
#define RW_OK ((rw_fault *)NULL)
#define rw_invalid_input(reason) rw_fault_(0, RW_TEXT(reason)) // the data given cannot be judged
#define rw_misconfigured(reason) rw_fault_(1, RW_TEXT(reason)) // the settings are wrong
#define rw_unavailable(reason) rw_fault_(2, RW_TEXT(reason))   // a host service is missing
#define rw_internal(reason) rw_fault_(3, RW_TEXT(reason))      // a bug or a limit inside the plugin
rw_fault *rw_fault_(uint8_t kind, rw_text reason);

// How a trajectory ended.
typedef uint8_t rw_stop_reason;
enum {
    RW_COMPLETED,              // the policy ended its last message itself
    RW_MAX_TOKENS,             // it was cut off by the limit on generated tokens
    RW_MAX_TURNS,              // the limit on turns was reached
    RW_MAX_TOOL_CALLS,         // the limit on tool calls was reached
    RW_PARSE_ERROR,            // its last message did not follow the format it was asked for
    RW_TIMED_OUT,              // the episode took longer than it was given
    RW_STOPPED_BY_ENVIRONMENT, // the environment said that the episode is over
};

// One finished trajectory to judge.
typedef struct {
    rw_text id;                 // names this sample within the run; it keeps it when it is scored again
    rw_text group;              // samples of one group answer the same task
    rw_text data_source;        // the data set the task comes from; empty when its row does not name it
    rw_messages prompt;         // the messages the policy was given
    rw_messages completion;     // the messages that followed: its own, and those of tools and environment
    rw_text ground_truth;       // the reference answer as the data set gives it; empty when there is none
    rw_text extra;              // every further column of the data row, a JSON object
    rw_stop_reason stop_reason; // how the trajectory ended
    rw_numbers turn_scores;     // the environment's rewards, one per message of the policy
    uint32_t completion_tokens; // how many tokens the policy generated; 0 when that is not known
    uint32_t step;              // the training step the sample belongs to; 0 outside training
} rw_sample;

// The text of the policy's last message; empty when it said nothing.
rw_text rw_response(const rw_sample *sample);

// What the plugin thinks of one sample. Give it a value with rw_value or rw_none: a score without is a fault.
typedef struct {
    uint8_t has_value;
    double value;
    rw_numbers steps;      // credit per step or message, for process rewards; empty: the value covers the whole
    rw_metrics components; // named parts of the value
    rw_metrics metrics;    // numbers for the logs that never enter the objective
    rw_text note;          // one line for a person who reads the rollout
} rw_score;

// The score is this number, any finite one.
void rw_value(rw_score *score, double value);
// The plugin does not apply to this sample: its weight drops out for it.
void rw_none(rw_score *score);
#define rw_note(score, text) ((void)((score)->note = RW_TEXT(text)))

// One more element of a list, such as &score->metrics or &score->steps.
void rw_add_number(rw_numbers *list, double number);
#define rw_add_metric(list, name, value) rw_add_metric_((list), RW_TEXT(name), (value))
void rw_add_metric_(rw_metrics *list, rw_text name, double value);
#define rw_add_message(list, role, content) rw_add_message_((list), (role), RW_TEXT(content))
void rw_add_message_(rw_messages *list, rw_role role, rw_text content);

// What an episode of an environment is about.
typedef struct {
    rw_text id;           // names the task within its data set
    rw_text data_source;  // the data set the task comes from; empty when its row does not name it
    rw_messages prompt;   // the messages the data row gives; `start` decides what the policy sees of them
    rw_text ground_truth; // the reference answer; empty when there is none
    rw_text extra;        // every further column of the data row, a JSON object
} rw_task;

// An environment's answer to one message of the policy.
typedef struct {
    rw_messages observation; // what the policy sees next
    double reward;           // of this turn alone
    bool done;               // the episode is over
    rw_metrics metrics;      // numbers for the logs
} rw_transition;

// What a tool's call gives back.
typedef struct {
    rw_text content;    // the text the policy sees
    double reward;      // for this call; 0 for most tools
    rw_metrics metrics; // numbers for the logs
} rw_output;

#define rw_say(output, text) ((void)((output)->content = RW_TEXT(text)))

// ---- JSON and settings ----------------------------------------------------------------------------------------------

// JSON without its quotation marks in the source: RW_JSON({"type": "object"}).
#define RW_JSON(...) #__VA_ARGS__

// Whether the text is one JSON value and nothing else.
bool rw_json_valid(rw_text json);
// A member of an object, as JSON; empty when there is none or this is no object.
#define rw_json_get(json, key) rw_json_get_((json), RW_TEXT(key))
rw_text rw_json_get_(rw_text json, rw_text key);
// Walks the elements of an array: start with a position of 0, go on while it is true.
bool rw_json_next(rw_text json, size_t *position, rw_text *element);
// Walks the members of an object in the same way.
bool rw_json_next_member(rw_text json, size_t *position, rw_text *name, rw_text *value);
// The value, where the JSON is one of this kind.
bool rw_json_text(rw_text json, rw_text *value);
bool rw_json_number(rw_text json, double *value);
bool rw_json_bool(rw_text json, bool *value);
// A text as a JSON string, with its quotation marks.
rw_text rw_json_quote(rw_text text);

// One member of a JSON object and the variable it goes into, for the registering macros and for rw_read. A member that
// is not there leaves its variable alone; a third argument RW_REQUIRED makes that a mistake.
typedef struct {
    const char *name;
    bool *boolean;
    double *number;
    rw_text *text;
    rw_text *json;
    bool required;
    rw_fault *(*prepare)(void);
} rw_field;

#define RW_BOOL(key, variable, ...) {.name = (key), .boolean = (variable), __VA_ARGS__}
#define RW_NUMBER(key, variable, ...) {.name = (key), .number = (variable), __VA_ARGS__}
#define RW_STRING(key, variable, ...) {.name = (key), .text = (variable), __VA_ARGS__}
#define RW_ANY(key, variable, ...) {.name = (key), .json = (variable), __VA_ARGS__}
#define RW_REQUIRED .required = true
// Not a member: a function to call once when all settings are read. It checks them, and builds what every sample needs.
#define RW_PREPARE(function) {.prepare = (function)}

// Reads an object's members into variables. RW_OK, or the fault `misconfigured` with a reason that names the member: an
// unknown one, one of another kind, a missing one.
#define rw_read(json, ...) rw_read_((json), (const rw_field[]){__VA_ARGS__ __VA_OPT__(,) {0}})
rw_fault *rw_read_(rw_text json, const rw_field *fields);

// ---- Host services --------------------------------------------------------------------------------------------------

enum { RW_DEBUG, RW_INFO, RW_WARN, RW_ERROR };

// Writes one line to the run's log. Without the capability "host-log" in plugin.toml it goes nowhere.
#define rw_log(level, message) rw_log_((level), RW_TEXT(message))
void rw_log_(int level, rw_text message);

// One number per conversation, from a model that the run has bound. Needs the capability "host-model".
rw_fault *rw_ask_scores(const char *model, const rw_messages *conversations, size_t count, rw_numbers *scores);

typedef struct {
    rw_text *at;
    size_t len;
} rw_texts;

// One continuation per conversation, each of at most so many tokens. Needs the capability "host-model".
rw_fault *rw_ask_texts(
    const char *model, const rw_messages *conversations, size_t count, uint32_t max_tokens, rw_texts *texts);

// Runs one call and gives what the policy would see. Needs the capability "host-tools".
rw_fault *rw_call_tool(const rw_tool_call *call, rw_text *content);

// The number that all randomness of this plugin must derive from.
uint32_t rw_seed(void);

// ---- Registering: one of these, once, in one file ---------------------------------------------------------------------

// A reward: `rw_fault *score(const rw_sample *, rw_score *)`, then the fields of its settings.
#define RW_REWARD(function, ...)                                                                                       \
    _Static_assert(RW_KIND == RW_KIND_REWARD, "RW_REWARD needs `kind = \"reward\"` in plugin.toml");                   \
    rw_fault *(*const rw_the_reward)(const rw_sample *, rw_score *) = (function);                                      \
    RW_SETTINGS_(__VA_ARGS__)

// A group reward: `rw_fault *score_group(const rw_sample *samples, rw_score *scores, size_t count)`, then its settings.
#define RW_GROUP_REWARD(function, ...)                                                                                 \
    _Static_assert(RW_KIND == RW_KIND_GROUP_REWARD, "RW_GROUP_REWARD needs `kind = \"group-reward\"` in plugin.toml"); \
    rw_fault *(*const rw_the_group_reward)(const rw_sample *, rw_score *, size_t) = (function);                        \
    RW_SETTINGS_(__VA_ARGS__)

// An environment: `rw_fault *start(const rw_task *, uint32_t seed, rw_messages *shown)`,
// `rw_fault *step(const rw_message *action, rw_transition *next)`, `void finish(rw_metrics *)`, then its settings.
#define RW_ENVIRONMENT(start, step, finish, ...)                                                                       \
    _Static_assert(RW_KIND == RW_KIND_ENVIRONMENT, "RW_ENVIRONMENT needs `kind = \"environment\"` in plugin.toml");    \
    rw_fault *(*const rw_the_start)(const rw_task *, uint32_t, rw_messages *) = (start);                               \
    rw_fault *(*const rw_the_step)(const rw_message *, rw_transition *) = (step);                                      \
    void (*const rw_the_finish)(rw_metrics *) = (finish);                                                              \
    RW_SETTINGS_(__VA_ARGS__)

// One function on offer: its name, what it does, the JSON Schema of its arguments, and the function.
typedef struct {
    const char *name;
    const char *description;
    const char *parameters;
    rw_fault *(*call)(const rw_tool_call *call, rw_output *output);
} rw_function;

// A tool: an array of rw_function, then its settings.
#define RW_TOOL(functions, ...)                                                                                        \
    _Static_assert(RW_KIND == RW_KIND_TOOL, "RW_TOOL needs `kind = \"tool\"` in plugin.toml");                         \
    const rw_function *const rw_the_functions = (functions);                                                           \
    const size_t rw_the_functions_count = sizeof(functions) / sizeof((functions)[0]);                                  \
    RW_SETTINGS_(__VA_ARGS__)

#define RW_SETTINGS_(...) const rw_field rw_the_settings[] = {__VA_ARGS__ __VA_OPT__(,) {0}};

#endif
