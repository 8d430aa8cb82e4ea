// JSON, read where it lies: a value is the part of the text that holds it.
#include <string.h>

#include "rewarden_abi.h"

// Values nested deeper than this are broken: reading them takes stack.
#define DEPTH_MAX 128

typedef struct {
    const char *at;
    const char *end;
    bool broken;
} cursor;

static cursor begin(rw_text json) { return (cursor){json.at, json.at + json.len, false}; }

static void blanks(cursor *c) {
    while (c->at < c->end && (*c->at == ' ' || *c->at == '\t' || *c->at == '\n' || *c->at == '\r')) c->at++;
}

// Takes this character, if it is the next.
static bool takes(cursor *c, char expected) {
    blanks(c);
    if (c->at == c->end || *c->at != expected) return false;
    c->at++;
    return true;
}

static void needs(cursor *c, bool condition) {
    if (!condition) c->broken = true;
}

static int hex_digit(char d) {
    if (d >= '0' && d <= '9') return d - '0';
    if (d >= 'a' && d <= 'f') return d - 'a' + 10;
    if (d >= 'A' && d <= 'F') return d - 'A' + 10;
    return -1;
}

// The four digits of \uXXXX; -1 when they are none.
static int32_t hex4(cursor *c) {
    int32_t unit = 0;
    for (int i = 0; i < 4; i++) {
        int digit = c->at < c->end ? hex_digit(*c->at++) : -1;
        if (digit < 0) return -1;
        unit = unit << 4 | digit;
    }
    return unit;
}

static char *put_utf8(char *to, uint32_t code) {
    if (code < 0x80) {
        *to++ = (char)code;
    } else if (code < 0x800) {
        *to++ = (char)(0xc0 | code >> 6);
        *to++ = (char)(0x80 | (code & 0x3f));
    } else if (code < 0x10000) {
        *to++ = (char)(0xe0 | code >> 12);
        *to++ = (char)(0x80 | (code >> 6 & 0x3f));
        *to++ = (char)(0x80 | (code & 0x3f));
    } else {
        *to++ = (char)(0xf0 | code >> 18);
        *to++ = (char)(0x80 | (code >> 12 & 0x3f));
        *to++ = (char)(0x80 | (code >> 6 & 0x3f));
        *to++ = (char)(0x80 | (code & 0x3f));
    }
    return to;
}

// The code point of \u, which may be two units; half a pair is broken, because it is no text.
static uint32_t unicode(cursor *c) {
    int32_t high = hex4(c);
    needs(c, high >= 0);
    if (high < 0xd800 || high > 0xdfff) return (uint32_t)high;
    bool pair = high <= 0xdbff && c->end - c->at >= 2 && c->at[0] == '\\' && c->at[1] == 'u';
    c->at += pair ? 2 : 0;
    int32_t low = pair ? hex4(c) : -1;
    needs(c, low >= 0xdc00 && low <= 0xdfff);
    return 0x10000 + (((uint32_t)high - 0xd800) << 10) + ((uint32_t)low - 0xdc00);
}

// A string, decoded to `to` when that is given: it is never longer than what it is written with.
static char *string(cursor *c, char *to) {
    static const char names[] = "\"\\/bfnrt", meanings[] = "\"\\/\b\f\n\r\t";
    needs(c, takes(c, '"'));
    while (!c->broken && c->at < c->end && *c->at != '"') {
        char next = *c->at++;
        needs(c, (unsigned char)next >= ' ');
        uint32_t code = 0;
        if (next == '\\') {
            char escape = c->at < c->end ? *c->at++ : '\0';
            const char *named = escape != '\0' ? strchr(names, escape) : NULL;
            needs(c, named != NULL || escape == 'u');
            if (named != NULL) next = meanings[named - names];
            else if (escape == 'u') code = unicode(c);
            if (escape == 'u' && to != NULL && !c->broken) to = put_utf8(to, code);
            if (escape == 'u') continue;
        }
        if (to != NULL) *to++ = next;
    }
    needs(c, takes(c, '"'));
    return to;
}

static void digits(cursor *c) {
    const char *from = c->at;
    while (c->at < c->end && *c->at >= '0' && *c->at <= '9') c->at++;
    needs(c, c->at > from);
}

static void number(cursor *c) {
    if (c->at < c->end && *c->at == '-') c->at++;
    if (c->at < c->end && *c->at == '0') c->at++;
    else digits(c);
    if (c->at < c->end && *c->at == '.') c->at++, digits(c);
    if (c->at < c->end && (*c->at == 'e' || *c->at == 'E')) {
        c->at++;
        if (c->at < c->end && (*c->at == '+' || *c->at == '-')) c->at++;
        digits(c);
    }
}

static void word(cursor *c, const char *expected) {
    size_t len = strlen(expected);
    needs(c, (size_t)(c->end - c->at) >= len && memcmp(c->at, expected, len) == 0);
    if (!c->broken) c->at += len;
}

// Whether an element follows: behind the opening bracket, and behind another element.
static bool enters(cursor *c, char open, char close) {
    needs(c, takes(c, open));
    return !c->broken && !takes(c, close);
}

static bool goes_on(cursor *c, char close) {
    if (c->broken || takes(c, close)) return false;
    needs(c, takes(c, ','));
    return !c->broken;
}

static rw_text value(cursor *c, int depth);

static void container(cursor *c, char open, char close, int depth) {
    needs(c, depth > 0);
    for (bool more = enters(c, open, close); more; more = goes_on(c, close)) {
        if (open == '{') {
            string(c, NULL);
            needs(c, takes(c, ':'));
        }
        value(c, depth - 1);
    }
}

// Goes over one value and returns the part that holds it.
static rw_text value(cursor *c, int depth) {
    blanks(c);
    const char *from = c->at;
    char first = c->broken || c->at == c->end ? '\0' : *c->at;
    switch (first) {
    case '{': container(c, '{', '}', depth); break;
    case '[': container(c, '[', ']', depth); break;
    case '"': string(c, NULL); break;
    case 't': word(c, "true"); break;
    case 'f': word(c, "false"); break;
    case 'n': word(c, "null"); break;
    default: number(c);
    }
    return (rw_text){from, (size_t)(c->at - from)};
}

// A string's text; what it was written with is never shorter.
static rw_text text_of(rw_text json) {
    cursor c = begin(json);
    char *at = rw_alloc(json.len);
    char *end = string(&c, at);
    return (rw_text){at, (size_t)(end - at)};
}

static rw_text member(cursor *c, rw_text *key) {
    blanks(c);
    const char *from = c->at;
    string(c, NULL);
    if (!c->broken) *key = text_of((rw_text){from, (size_t)(c->at - from)});
    needs(c, takes(c, ':'));
    return value(c, DEPTH_MAX);
}

static bool is_all(cursor *c) {
    blanks(c);
    return !c->broken && c->at == c->end;
}

bool rw_json_valid(rw_text json) {
    cursor c = begin(json);
    value(&c, DEPTH_MAX);
    return is_all(&c);
}

// Begins behind what was walked over already; at 0 it must be a whole value of this kind.
static bool walks(cursor *c, rw_text json, size_t position, char open, char close) {
    if (position == 0 && !rw_json_valid(json)) return false;
    *c = begin(rw_part(json, position, json.len));
    return position == 0 ? enters(c, open, close) : goes_on(c, close);
}

bool rw_json_next(rw_text json, size_t *position, rw_text *element) {
    cursor c;
    if (!walks(&c, json, *position, '[', ']')) return false;
    *element = value(&c, DEPTH_MAX);
    *position = (size_t)(c.at - json.at);
    return true;
}

bool rw_json_next_member(rw_text json, size_t *position, rw_text *name, rw_text *part) {
    cursor c;
    if (!walks(&c, json, *position, '{', '}')) return false;
    *part = member(&c, name);
    *position = (size_t)(c.at - json.at);
    return true;
}

// The last one, where there are several of one name.
rw_text rw_json_get_(rw_text json, rw_text key) {
    rw_text found = {"", 0}, name, part;
    size_t position = 0;
    while (rw_json_next_member(json, &position, &name, &part))
        if (rw_same_(name, key)) found = part;
    return found;
}

bool rw_json_text(rw_text json, rw_text *text) {
    if (!rw_json_valid(json)) return false;
    json = rw_trim(json);
    if (json.at[0] != '"') return false;
    *text = text_of(json);
    return true;
}

bool rw_json_number(rw_text json, double *number) {
    return rw_json_valid(json) && rw_number(rw_trim(json), number);
}

bool rw_json_bool(rw_text json, bool *boolean) {
    json = rw_trim(json);
    bool is_true = rw_same(json, "true");
    if (!is_true && !rw_same(json, "false")) return false;
    *boolean = is_true;
    return true;
}

rw_text rw_json_quote(rw_text text) {
    char *at = rw_alloc(text.len * 6 + 2), *to = at;
    *to++ = '"';
    for (size_t i = 0; i < text.len; i++) {
        unsigned char c = (unsigned char)text.at[i];
        if (c == '"' || c == '\\') *to++ = '\\';
        if (c >= ' ') {
            *to++ = (char)c;
        } else {
            memcpy(to, "\\u00", 4);
            to[4] = "01"[c >> 4];
            to[5] = "0123456789abcdef"[c & 15];
            to += 6;
        }
    }
    *to++ = '"';
    return (rw_text){at, (size_t)(to - at)};
}
