// SPDX-License-Identifier: MIT
// The character classes that tokenizers use, as defined by the reference library.
#ifndef TOKENIZE_UNICODE_H
#define TOKENIZE_UNICODE_H

#include "base/utf8.h"
#include <stddef.h>
#include <stdint.h>

enum { UNICODE_REPLACEMENT = 0xFFFD };

int unicode_is_space(uint32_t c);           // White_Space
int unicode_is_numeric(uint32_t c);         // Nd, Nl, No
int unicode_is_punctuation(uint32_t c);     // ASCII punctuation and general category P
int unicode_is_word(uint32_t c);            // Alphabetic, M, Nd, Pc, Join_Control
int unicode_is_mark(uint32_t c);            // Mn, Mc, Me
int unicode_is_nonspacing_mark(uint32_t c); // Mn
int unicode_is_other(uint32_t c);           // C: control, format, private use, unassigned
int unicode_script(uint32_t c);             // 0: none
// Whether a grapheme ends between neighbours a and b (UAX 29, extended); *state is 0 at the start
// of each grapheme.
int unicode_grapheme_break(uint32_t a, uint32_t b, int32_t *state);
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
