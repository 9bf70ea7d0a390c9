// SPDX-License-Identifier: MIT
// What of a chat does not reach its text, because the template does not write it.
#ifndef DATA_LEFT_OUT_H
#define DATA_LEFT_OUT_H

#include "base/error.h"
#include <jansson.h>
#include <stddef.h>

enum {
    LEFT_CALLS = 1,     // tools, or calls of them
    LEFT_REASONING = 2, // in a field of its own, or between <think> and </think>
    LEFT_WORDS = 4,     // a message's text
    LEFT_SPACE = 8      // at the ends of answers
};
enum { LEFT_KINDS = 4 };
// What messages call it: by bit.
extern const char *const left_names[LEFT_KINDS];

// The bits of what is not found in the text, message after message; *first is the message of the
// lowest bit, or SIZE_MAX for the list of tools. Text of tools may be written in another form and
// is not looked for, nor is reasoning before message `reasoning`.
unsigned left_out_find(const char *text, size_t size, const json_t *messages, const json_t *tools,
                       size_t reasoning, size_t *first);
// An error that says it.
int left_out_error(unsigned bits, size_t first, struct err *e);

#endif
