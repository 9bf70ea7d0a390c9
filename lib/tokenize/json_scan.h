// SPDX-License-Identifier: MIT
// A JSON scanner that walks over text without building values: for the large tables inside
// tokenizer.json (whose keys may hold U+0000, which jansson's objects cannot).
#ifndef TOKENIZE_JSON_SCAN_H
#define TOKENIZE_JSON_SCAN_H

#include "base/error.h"
#include "base/memory.h"
#include <stddef.h>
#include <stdint.h>

struct json_scan {
    const char *p, *begin, *end;
    const char *name; // of the file, for messages
    struct err *e;
    int depth;
};

void json_scan_init(struct json_scan *s, const char *text, size_t size, const char *name,
                    struct err *e);
int json_scan_fail(struct json_scan *s, const char *reason); // "NAME:LINE: reason"; -1
char json_scan_peek(struct json_scan *s);                    // next sign after white space; 0: end
int json_scan_expect(struct json_scan *s, char c);
// Replaces *out by the string that starts here.
int json_scan_string(struct json_scan *s, struct buffer *out);
int json_scan_integer(struct json_scan *s, int64_t *value);
int json_scan_real(struct json_scan *s, double *value);
int json_scan_skip(struct json_scan *s); // any value
// Walks an object or array: call after the opening sign has been expected. 1: an element follows;
// 0: the closing sign was taken; -1.
int json_scan_more(struct json_scan *s, char close, int *first);

#endif
