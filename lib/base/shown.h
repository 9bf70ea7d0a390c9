// SPDX-License-Identifier: MIT
// Texts from outside as messages show them: short, and nothing in them reaches a terminal raw.
#ifndef BASE_SHOWN_H
#define BASE_SHOWN_H

#include <stddef.h>
#include <stdint.h>

enum { SHOWN_BYTES = 100, SHOWN_MAX = SHOWN_BYTES + 24 };
struct shown {
    char text[SHOWN_MAX]; // NUL-terminated
};

// At most SHOWN_BYTES bytes of whole characters, then "..." where there was more. In place of a
// control character, one that turns the direction of writing round, or what is not UTF-8 stands a
// question mark. By value, for the arguments of a call: err_set(e, ..., "`%s`", shown(s, n).text).
struct shown shown(const char *text, size_t size);
// What a record is called: "record `ID`" with the id as above, "record NUMBER" where there is none.
struct shown shown_record(const char *id, size_t size, uint64_t number);
// The same marks in a whole text, where it stands: it may become shorter.
void shown_mask(char *text);
// The same of one character of a text for people: that at text[*i], which it moves past, or its
// mark, to `out`; newlines and tabs stay. Returns the bytes.
size_t shown_character(char out[4], const char *text, size_t size, size_t *i);

#endif
