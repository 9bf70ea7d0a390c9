// SPDX-License-Identifier: MIT
#include "base/json_read.h"

#include <errno.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/json_wide.h"
#include "base/memory.h"
#include "base/utf8.h"

enum { DEPTH_MAX = 64, NUMBER_MAX = 64, INTEGER_DIGITS = 18 };

struct reading {
    const char *p, *end;
    struct buffer text; // a string with escapes, spelled out
    int depth;
    int exact; // whole numbers of any size
};

static json_t *read_value(struct reading *r);

static void skip_blanks(struct reading *r)
{
    while (r->p < r->end && (*r->p == ' ' || *r->p == '\n' || *r->p == '\t' || *r->p == '\r'))
        r->p++;
}

// The next sign, past blanks; 0: the end.
static char peek(struct reading *r)
{
    skip_blanks(r);
    return r->p < r->end ? *r->p : 0;
}

static int take(struct reading *r, char c)
{
    if (peek(r) != c)
        return 0;
    r->p++;
    return 1;
}

// Bytes of a string that stand for themselves.
static size_t plain_span(const char *p, const char *end)
{
    const uint64_t ones = 0x0101010101010101u, highs = ones << 7;
    const char *from = p;
    for (; end - p >= 8; p += 8) {
        uint64_t v, quote, slash;
        memcpy(&v, p, 8);
        quote = v ^ ones * '"';
        slash = v ^ ones * '\\';
        // A high bit where a byte is '"', '\\' or below 0x20 (or, rarely, follows one that is).
        if ((((quote - ones) & ~quote) | ((slash - ones) & ~slash) | ((v - ones * 0x20) & ~v)) &
            highs)
            break;
    }
    while (p < end && *p != '"' && *p != '\\' && (unsigned char)*p >= 0x20)
        p++;
    return (size_t)(p - from);
}

static int read_hex(const char *p, uint32_t *out)
{
    uint32_t v = 0;
    for (int i = 0; i < 4; i++) {
        char c = p[i];
        int d = c >= '0' && c <= '9'   ? c - '0'
                : c >= 'a' && c <= 'f' ? c - 'a' + 10
                : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                       : -1;
        if (d < 0)
            return -1;
        v = v << 4 | (uint32_t)d;
    }
    *out = v;
    return 0;
}

// \uXXXX from behind the u, with its other half where there is one.
static int read_code(struct reading *r, uint32_t *c)
{
    uint32_t low;
    if (r->end - r->p < 4 || read_hex(r->p, c) < 0)
        return -1;
    r->p += 4;
    if (*c < 0xD800 || *c > 0xDFFF)
        return 0;
    if (*c > 0xDBFF || r->end - r->p < 6 || r->p[0] != '\\' || r->p[1] != 'u' ||
        read_hex(r->p + 2, &low) < 0 || low < 0xDC00 || low > 0xDFFF)
        return -1;
    r->p += 6;
    *c = 0x10000 + ((*c - 0xD800) << 10) + (low - 0xDC00);
    return 0;
}

static int read_escape(struct reading *r, struct err *e)
{
    static const char signs[] = "\"\\/bfnrt", bytes[] = "\"\\/\b\f\n\r\t";
    char code[4];
    uint32_t c;
    if (r->end - r->p < 2)
        return -1;
    char sign = r->p[1];
    const char *known = sign ? strchr(signs, sign) : NULL;
    r->p += 2;
    if (known)
        return buffer_append(&r->text, bytes + (known - signs), 1, e);
    if (sign != 'u' || read_code(r, &c) < 0)
        return -1;
    return buffer_append(&r->text, code, utf8_put(c, code), e);
}

// A string, in the source or in r->text; it is good until the next one is read.
static int read_string(struct reading *r, const char **text, size_t *size)
{
    struct err e;
    if (!take(r, '"'))
        return -1;
    const char *from = r->p;
    size_t n = plain_span(from, r->end);
    r->p += n;
    *text = from;
    *size = n;
    if (r->p < r->end && *r->p == '"')
        return r->p++, 0;
    buffer_clear(&r->text);
    while (r->p < r->end && *r->p != '"') {
        if (buffer_append(&r->text, from, n, &e) < 0 || *r->p != '\\' || read_escape(r, &e) < 0)
            return -1;
        from = r->p;
        n = plain_span(from, r->end);
        r->p += n;
    }
    if (r->p == r->end || buffer_append(&r->text, from, n, &e) < 0)
        return -1;
    r->p++;
    *text = r->text.data;
    *size = r->text.size;
    return 0;
}

static int is_digit(const struct reading *r)
{
    return r->p < r->end && *r->p >= '0' && *r->p <= '9';
}

static int skip_digits(struct reading *r)
{
    const char *from = r->p;
    while (is_digit(r))
        r->p++;
    return (int)(r->p > from);
}

static json_t *read_integer(const struct reading *r, const char *from, size_t n_digits)
{
    char copy[NUMBER_MAX + 1];
    size_t size = (size_t)(r->p - from);
    if (n_digits > INTEGER_DIGITS && (!r->exact || n_digits > JSON_WIDE_DIGITS))
        return NULL;
    if (size > NUMBER_MAX)
        return json_wide(from, size);
    memcpy(copy, from, size);
    copy[size] = 0;
    errno = 0;
    long long value = strtoll(copy, NULL, 10);
    return errno == ERANGE ? json_wide(from, size) : json_integer(value);
}

static json_t *read_number(struct reading *r)
{
    const char *from = r->p;
    char copy[NUMBER_MAX + 1];
    int is_real = 0;
    r->p += *r->p == '-';
    const char *digits = r->p;
    if (!skip_digits(r) || (*digits == '0' && r->p - digits > 1))
        return NULL;
    size_t n_digits = (size_t)(r->p - digits);
    if (r->p < r->end && *r->p == '.') {
        r->p++;
        is_real = 1;
        if (!skip_digits(r))
            return NULL;
    }
    if (r->p < r->end && (*r->p | 32) == 'e') {
        r->p++;
        is_real = 1;
        r->p += r->p < r->end && (*r->p == '+' || *r->p == '-');
        if (!skip_digits(r))
            return NULL;
    }
    size_t size = (size_t)(r->p - from);
    if (!is_real)
        return read_integer(r, from, n_digits);
    if (size > NUMBER_MAX)
        return NULL;
    memcpy(copy, from, size);
    copy[size] = 0;
    double value = strtod(copy, NULL);
    return isfinite(value) ? json_real(value) : NULL;
}

static json_t *drop(json_t *value)
{
    json_decref(value);
    return NULL;
}

static json_t *read_array(struct reading *r)
{
    json_t *array = json_array();
    r->p++;
    if (!array || take(r, ']'))
        return array;
    for (;;) {
        // (A member that is NULL makes it fail.)
        if (json_array_append_new(array, read_value(r)) < 0)
            return drop(array);
        if (take(r, ']'))
            return array;
        if (!take(r, ','))
            return drop(array);
    }
}

static int read_member(struct reading *r, json_t *object)
{
    char key[256];
    const char *text;
    size_t size;
    if (read_string(r, &text, &size) < 0 || size >= sizeof key || memchr(text, 0, size))
        return -1;
    memcpy(key, text, size);
    key[size] = 0;
    if (json_object_get(object, key) || !take(r, ':'))
        return -1;
    return json_object_set_new_nocheck(object, key, read_value(r));
}

static json_t *read_object(struct reading *r)
{
    json_t *object = json_object();
    r->p++;
    if (!object || take(r, '}'))
        return object;
    for (;;) {
        if (read_member(r, object) < 0)
            return drop(object);
        if (take(r, '}'))
            return object;
        if (!take(r, ','))
            return drop(object);
    }
}

static json_t *read_word(struct reading *r, const char *word, json_t *value)
{
    size_t n = strlen(word);
    if ((size_t)(r->end - r->p) < n || memcmp(r->p, word, n) != 0)
        return drop(value);
    r->p += n;
    return value;
}

static json_t *read_nested(struct reading *r)
{
    if (++r->depth > DEPTH_MAX)
        return NULL;
    json_t *value = *r->p == '{' ? read_object(r) : read_array(r);
    r->depth--;
    return value;
}

static json_t *read_value(struct reading *r)
{
    const char *text;
    size_t size;
    switch (peek(r)) {
    case '{':
    case '[':
        return read_nested(r);
    case '"':
        return read_string(r, &text, &size) < 0 ? NULL : json_stringn_nocheck(text, size);
    case 't':
        return read_word(r, "true", json_true());
    case 'f':
        return read_word(r, "false", json_false());
    case 'n':
        return read_word(r, "null", json_null());
    case 0:
        return NULL;
    default:
        return read_number(r);
    }
}

static json_t *read_text(const char *text, size_t size, int exact)
{
    struct reading r = {.p = text, .end = text + size, .exact = exact};
    struct err e;
    if (utf8_valid_prefix(text, size) != size)
        return NULL;
    buffer_init(&r.text, 0);
    json_t *value = buffer_reserve(&r.text, 1, &e) < 0 ? NULL : read_value(&r);
    if (value && peek(&r))
        value = drop(value);
    if (value && r.p < r.end) // a NUL is no end
        value = drop(value);
    buffer_release(&r.text);
    return value;
}

json_t *json_read(const char *text, size_t size)
{
    return read_text(text, size, 0);
}

json_t *json_read_exact(const char *text, size_t size)
{
    return read_text(text, size, 1);
}
