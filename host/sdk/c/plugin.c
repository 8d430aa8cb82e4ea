// What every plugin exports: its description, and its settings read once.
#include "rewarden_abi.h"

typedef struct {
    rw_text name;
    rw_text version;
    rw_text summary;
    rw_text settings_schema;
} manifest;

static uint32_t seed;

uint32_t rw_seed(void) { return seed; }

RW_EXPORT("rewarden:plugin/plugin@0.1.0#describe") const void *rw_describe(void) {
    static const manifest answer = {
        RW_LITERAL(RW_NAME), RW_LITERAL(RW_VERSION), RW_LITERAL(RW_SUMMARY), RW_LITERAL(RW_SETTINGS_SCHEMA)};
    return &answer;
}

// Neither the text of the settings nor what is made of them is ever released.
RW_EXPORT("rewarden:plugin/plugin@0.1.0#configure")
const void *rw_configure(const char *settings, size_t len, uint32_t given) {
    static rw_list_result answer;
    seed = given;
    rw_fault *fault = rw_read_((rw_text){len > 0 ? settings : "", len}, rw_the_settings);
    answer.is_fault = fault != RW_OK;
    if (fault != RW_OK) answer.fault = *fault;
    rw_keep();
    return &answer;
}
