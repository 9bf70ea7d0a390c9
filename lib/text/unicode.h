// SPDX-License-Identifier: MIT
// UTF-8 and the character classes that tokenizers ask for.
#ifndef TEXT_UNICODE_H
#define TEXT_UNICODE_H

#include <stddef.h>
#include <stdint.h>

enum { UNICODE_REPLACEMENT = 0xFFFD };

// Length of the well-formed sequence at the start of `s` (1 .. 4), or 0 when it is ill-formed; then
// *bad is the number of bytes that stand for one replacement character (the maximal subpart).
size_t unicode_sequence(const char *s, size_t size, size_t *bad);
// Bytes up to the first that is not well-formed UTF-8.
size_t utf8_valid_prefix(const char *s, size_t size);
// For text known to be valid: reads the character at *i and moves *i past it.
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
static inline int utf8_continues(char byte)
{
    return ((unsigned char)byte & 0xC0) == 0x80;
}
size_t utf8_put(uint32_t c, char out[4]); // returns the length

int unicode_is_space(uint32_t c);       // White_Space
int unicode_is_numeric(uint32_t c);     // Nd, Nl, No
int unicode_is_punctuation(uint32_t c); // ASCII punctuation and general category P
int unicode_is_word(uint32_t c);        // Alphabetic, M, Nd, Pc, Join_Control
int unicode_is_mark(uint32_t c);        // Mn, Mc, Me
int unicode_combining_class(uint32_t c);
// Full canonical or compatibility decomposition into out[]; returns how many (1 .. 18).
enum { UNICODE_DECOMPOSED_MAX = 32 };
size_t unicode_decompose(uint32_t c, int compatibility, uint32_t out[UNICODE_DECOMPOSED_MAX]);
// The primary composite of a + b, or 0.
uint32_t unicode_compose(uint32_t a, uint32_t b);
// Whether b can be the second of a composition, or c changes under NFC for itself: what a text must
// be free of to be in NFC without a closer look.
int unicode_nfc_stable(uint32_t c);
size_t unicode_lower(uint32_t c, uint32_t out[3]); // full mapping without context

// The byte alphabet of byte-level tokenizers: every byte has a printable character.
uint32_t byte_alphabet_char(unsigned char byte);
int byte_alphabet_byte(uint32_t c); // -1: not a character of the alphabet

#endif
