// SPDX-License-Identifier: MIT
#include "tokenize/unicode.h"

#include <string.h>
#include <utf8proc.h>

#include "tokenize/unicode_scripts.h"
#include "tokenize/unicode_tables.h"

int unicode_is_space(uint32_t c)
{
    if (c < 0x80)
        return c == ' ' || (c >= 9 && c <= 13);
    return c == 0x85 || c == 0xA0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200A) || c == 0x2028 ||
           c == 0x2029 || c == 0x202F || c == 0x205F || c == 0x3000;
}

static int in_ranges(const struct unicode_range *range, size_t n, uint32_t c)
{
    size_t low = 0; // the range that c is in begins at or behind it
    while (n > 1) {
        size_t half = n / 2;
        if (range[low + half].first <= c)
            low += half;
        n -= half;
    }
    return c >= range[low].first && c <= range[low].last;
}

#define IN(table, c) in_ranges(unicode_##table, sizeof unicode_##table / sizeof *unicode_##table, c)

int unicode_is_numeric(uint32_t c)
{
    if (c < 0x80)
        return c >= '0' && c <= '9';
    return IN(numeric, c);
}

int unicode_is_punctuation(uint32_t c)
{
    if (c < 0x80)
        return (c >= '!' && c <= '/') || (c >= ':' && c <= '@') || (c >= '[' && c <= '`') ||
               (c >= '{' && c <= '~');
    return IN(punctuation, c);
}

int unicode_is_word(uint32_t c)
{
    if (c < 0x80)
        return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
               c == '_';
    return IN(word, c);
}

int unicode_is_mark(uint32_t c)
{
    return c >= 0x300 && IN(mark, c);
}

int unicode_is_nonspacing_mark(uint32_t c)
{
    return c >= 0x300 && IN(nonspacing, c);
}

int unicode_is_other(uint32_t c)
{
    return c < 0x80 ? c < 0x20 || c == 0x7F : IN(other, c);
}

int unicode_script(uint32_t c)
{
    size_t low = 0, n = sizeof unicode_scripts / sizeof *unicode_scripts;
    while (n > 1) {
        size_t half = n / 2;
        if (unicode_scripts[low + half].first <= c)
            low += half;
        n -= half;
    }
    return c >= unicode_scripts[low].first && c <= unicode_scripts[low].last
               ? unicode_scripts[low].script
               : 0;
}

int unicode_grapheme_break(uint32_t a, uint32_t b, int32_t *state)
{
    return utf8proc_grapheme_break_stateful((utf8proc_int32_t)a, (utf8proc_int32_t)b, state);
}

// Normal forms are those of Unicode 9.0, as the reference has them: what came later neither
// decomposes nor composes, and its marks are not put in order.
int unicode_combining_class(uint32_t c)
{
    return unicode_is_mark(c) ? utf8proc_get_property((utf8proc_int32_t)c)->combining_class : 0;
}

size_t unicode_decompose(uint32_t c, int compatibility, uint32_t out[UNICODE_DECOMPOSED_MAX])
{
    if (c < 0x80 || IN(whole, c)) {
        out[0] = c;
        return 1;
    }
    utf8proc_int32_t list[UNICODE_DECOMPOSED_MAX];
    int boundary = 0;
    utf8proc_ssize_t n = utf8proc_decompose_char(
        (utf8proc_int32_t)c, list, UNICODE_DECOMPOSED_MAX,
        UTF8PROC_DECOMPOSE | (compatibility ? UTF8PROC_COMPAT : 0), &boundary);
    if (n <= 0 || n > UNICODE_DECOMPOSED_MAX) {
        out[0] = c;
        return 1;
    }
    for (utf8proc_ssize_t i = 0; i < n; i++)
        out[i] = (uint32_t)list[i];
    return (size_t)n;
}

uint32_t unicode_compose(uint32_t a, uint32_t b)
{
    if (b < 0x300)
        return 0;
    utf8proc_int32_t pair[2] = {(utf8proc_int32_t)a, (utf8proc_int32_t)b};
    if (utf8proc_normalize_utf32(pair, 2, UTF8PROC_COMPOSE | UTF8PROC_STABLE) != 1)
        return 0;
    return IN(whole, (uint32_t)pair[0]) ? 0 : (uint32_t)pair[0];
}

int unicode_nfc_stable(uint32_t c)
{
    if (c < 0x300)
        return 1;
    if (c >= 0x1161 && c <= 0x11C2)
        return 0; // Hangul vowels and finals
    // Common blocks without marks: punctuation to dingbats apart from singletons, CJK, Hangul.
    if ((c >= 0x4E00 && c <= 0x9FFF) || (c >= 0x3400 && c <= 0x4DBF) ||
        (c >= 0xAC00 && c <= 0xD7A3) || (c >= 0x2010 && c <= 0x205F) ||
        (c >= 0x2500 && c <= 0x27BF) || (c >= 0x0410 && c <= 0x0418) ||
        (c >= 0x041A && c <= 0x0438) || (c >= 0x043A && c <= 0x044F))
        return 1;
    uint32_t list[UNICODE_DECOMPOSED_MAX];
    return !unicode_combining_class(c) && !IN(second, c) && unicode_decompose(c, 0, list) == 1 &&
           list[0] == c;
}

size_t unicode_lower(uint32_t c, uint32_t out[3])
{
    if (c == 0x130) { // the only unconditional mapping to two characters
        out[0] = 'i';
        out[1] = 0x307;
        return 2;
    }
    out[0] = (uint32_t)utf8proc_tolower((utf8proc_int32_t)c);
    for (size_t i = 0; c >= 0x1C89 && i < sizeof unicode_new_lower / sizeof *unicode_new_lower; i++)
        if (c >= unicode_new_lower[i].first && c <= unicode_new_lower[i].last)
            out[0] = unicode_new_lower[i].lower + (c - unicode_new_lower[i].first);
    return 1;
}

static int printable_byte(unsigned b)
{
    return (b >= 0x21 && b <= 0x7E) || (b >= 0xA1 && b <= 0xAC) || b >= 0xAE;
}

uint32_t byte_alphabet_char(unsigned char byte)
{
    if (printable_byte(byte))
        return byte;
    // The others are numbered from 256 in order of value: 0-32, 127-160, 173.
    if (byte <= 0x20)
        return 256u + byte;
    return byte == 0xAD ? 256u + 67 : 256u + 33 + (byte - 0x7Fu);
}

int byte_alphabet_byte(uint32_t c)
{
    if (c < 256)
        return printable_byte(c) ? (int)c : -1;
    if (c <= 256 + 32)
        return (int)(c - 256);
    if (c < 256 + 67)
        return (int)(c - 256 - 33 + 0x7F);
    return c == 256 + 67 ? 0xAD : -1;
}
