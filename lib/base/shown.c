// SPDX-License-Identifier: MIT
#include "base/shown.h"
#include "base/utf8.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

// Controls (C0, DEL, C1), breaks of lines and paragraphs, overrides and isolates of direction.
static int moves_terminal(uint32_t c)
{
    return c < 0x20 || (c >= 0x7f && c < 0xa0) || (c >= 0x2028 && c <= 0x202e) ||
           (c >= 0x2066 && c <= 0x2069);
}

// The character at s[*i] or its mark to `out`; moves *i past it. Returns the bytes written.
static size_t put_masked(char out[4], const char *s, size_t size, size_t *i)
{
    size_t bad, n = utf8_sequence(s + *i, size - *i, &bad), at = *i;
    *i += n ? n : bad;
    if (!n || moves_terminal(utf8_next(s, &at))) {
        out[0] = '?';
        return 1;
    }
    memcpy(out, s + *i - n, n);
    return n;
}

// Into `out` [SHOWN_BYTES + 4]; returns the length.
static size_t put_short(char *out, const char *text, size_t size)
{
    size_t length = 0, i = 0;
    while (i < size) {
        char c[4];
        size_t n = put_masked(c, text, size, &i);
        if (length + n > SHOWN_BYTES) {
            memcpy(out + length, "...", 3);
            length += 3;
            break;
        }
        memcpy(out + length, c, n);
        length += n;
    }
    out[length] = 0;
    return length;
}

struct shown shown(const char *text, size_t size)
{
    struct shown s;
    put_short(s.text, text, size);
    return s;
}

struct shown shown_record(const char *id, size_t size, uint64_t number)
{
    static const char before[] = "record `";
    struct shown s;
    if (size) {
        memcpy(s.text, before, sizeof before - 1);
        char *end = s.text + sizeof before - 1;
        strcpy(end + put_short(end, id, size), "`");
    } else {
        snprintf(s.text, sizeof s.text, "record %" PRIu64, number);
    }
    return s;
}

void shown_mask(char *text)
{
    size_t size = strlen(text), length = 0, i = 0;
    while (i < size) {
        char c[4];
        size_t n = put_masked(c, text, size, &i);
        memcpy(text + length, c, n);
        length += n;
    }
    text[length] = 0;
}

size_t shown_character(char out[4], const char *text, size_t size, size_t *i)
{
    if (text[*i] != '\n' && text[*i] != '\t')
        return put_masked(out, text, size, i);
    out[0] = text[(*i)++];
    return 1;
}
