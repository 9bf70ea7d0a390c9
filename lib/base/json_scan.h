// SPDX-License-Identifier: MIT
// A JSON scanner that walks over text without building values: what base/json_read.h builds them
// with, and for large tables (whose keys may hold U+0000, which jansson's objects cannot).
#ifndef BASE_JSON_SCAN_H
#define BASE_JSON_SCAN_H

#include "base/error.h"
#include "base/memory.h"
#include <stddef.h>
#include <stdint.h>

struct json_scan {
    const char *p, *begin, *end;
    const char *valid; // up to here it is UTF-8
    const char *name;  // of the file, for messages
    struct err *e;
    int depth;
    struct buffer text; // a string with escapes, spelled out
};

// Functions that can fail say "NAME:LINE: reason" and return -1.
void json_scan_init(struct json_scan *s, const char *text, size_t size, const char *name,
                    struct err *e);
void json_scan_release(struct json_scan *s);
int json_scan_fail(struct json_scan *s, const char *reason); // -1

// The next sign after white space; 0: the end.
static inline char json_scan_peek(struct json_scan *s)
{
    while (s->p < s->end && (*s->p == ' ' || *s->p == '\n' || *s->p == '\r' || *s->p == '\t'))
        s->p++;
    return s->p < s->end ? *s->p : 0;
}

MUST_CHECK int json_scan_expect(struct json_scan *s, char c);
// The string that starts here, in the source or in s->text: good until the next string or real.
MUST_CHECK int json_scan_string(struct json_scan *s, const char **text, size_t *size);
// true, false or null.
MUST_CHECK int json_scan_word(struct json_scan *s, const char *word);

// A number by JSON's grammar, not yet read.
struct json_number {
    const char *text;
    size_t size, digits; // digits: those before the point
    int is_real;         // it has a point or an exponent
};
MUST_CHECK int json_scan_number(struct json_scan *s, struct json_number *n);
int json_number_integer(const struct json_number *n, int64_t *value); // -1: none of 64 bits
int json_number_real(struct json_scan *s, const struct json_number *n,
                     double *value); // -1: out of range
MUST_CHECK int json_scan_integer(struct json_scan *s, int64_t *value);
MUST_CHECK int json_scan_real(struct json_scan *s, double *value);

// Walks an object or array: call after the opening sign was taken. 1: an element follows; 0: the
// closing sign was taken; -1.
MUST_CHECK int json_scan_more(struct json_scan *s, char close, int *first);
// The opening sign of an object or array whose elements may be so again; json_scan_leave behind it.
MUST_CHECK int json_scan_enter(struct json_scan *s);
void json_scan_leave(struct json_scan *s);
MUST_CHECK int json_scan_skip(struct json_scan *s); // any value

#endif
