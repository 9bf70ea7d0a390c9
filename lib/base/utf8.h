// SPDX-License-Identifier: MIT
// UTF-8 (RFC 3629: no surrogates, no overlong forms): validation, and characters one by one.
#ifndef BASE_UTF8_H
#define BASE_UTF8_H

#include <stddef.h>
#include <stdint.h>

// Length of the well-formed sequence at the start of `s` (size > 0): 1 .. 4, or 0 when it is
// ill-formed; then *bad is the number of bytes that stand for one replacement character (the
// maximal subpart).
size_t utf8_sequence(const char *s, size_t size, size_t *bad);
// Bytes up to the first that is not well-formed; == size when all is well.
size_t utf8_valid_prefix(const char *s, size_t size);
size_t utf8_put(uint32_t c, char out[4]); // returns the length

// Of valid text.
size_t utf8_length(const char *s, size_t size);               // characters
size_t utf8_offset(const char *s, size_t size, size_t index); // byte of the index-th character

static inline int utf8_continues(char byte)
{
    return ((unsigned char)byte & 0xC0) == 0x80;
}

// Reads the character at *i and moves *i past it.
static inline uint32_t utf8_next(const char *s, size_t *i)
{
    const unsigned char *p = (const unsigned char *)s + *i;
    if (p[0] < 0x80) {
        *i += 1;
        return p[0];
    }
    if (p[0] < 0xE0) {
        *i += 2;
        return (p[0] & 0x1Fu) << 6 | (p[1] & 0x3Fu);
    }
    if (p[0] < 0xF0) {
        *i += 3;
        return (p[0] & 0x0Fu) << 12 | (p[1] & 0x3Fu) << 6 | (p[2] & 0x3Fu);
    }
    *i += 4;
    return (p[0] & 0x07u) << 18 | (p[1] & 0x3Fu) << 12 | (p[2] & 0x3Fu) << 6 | (p[3] & 0x3Fu);
}

// The same by pointer, *s < end: never reads at `end` or behind it, whatever the bytes are.
uint32_t utf8_step(const char **s, const char *end);
// Reads the character before *end and moves *end to its start.
uint32_t utf8_step_back(const char *begin, const char **end);

#endif
