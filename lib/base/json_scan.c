// SPDX-License-Identifier: MIT
#include "base/json_scan.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"

enum { DEPTH_MAX = 256, REAL_MAX = 64 };

void json_scan_init(struct json_scan *s, const char *text, size_t size, const char *name,
                    struct err *e)
{
    *s = (struct json_scan){.p = text, .begin = text, .end = text + size, .name = name, .e = e};
    s->valid = text + utf8_valid_prefix(text, size);
    buffer_init(&s->text, 0);
}

void json_scan_release(struct json_scan *s)
{
    buffer_release(&s->text);
}

int json_scan_fail(struct json_scan *s, const char *reason)
{
    int line = 1;
    for (const char *p = s->begin; p < s->p && p < s->end; p++)
        line += *p == '\n';
    return err_set(s->e, STATUS_FAILED, "%s:%d: %s", s->name, line, reason);
}

int json_scan_expect(struct json_scan *s, char c)
{
    if (json_scan_peek(s) != c) {
        char reason[32];
        snprintf(reason, sizeof reason, "not valid JSON: no '%c'", c);
        return json_scan_fail(s, reason);
    }
    s->p++;
    return 0;
}

// ---- Strings ------------------------------------------------------------------------------------

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

static int hex4(struct json_scan *s, uint32_t *value)
{
    *value = 0;
    for (int i = 0; i < 4; i++, s->p++) {
        char c = s->p < s->end ? *s->p : 0;
        int digit = c >= '0' && c <= '9'   ? c - '0'
                    : c >= 'a' && c <= 'f' ? c - 'a' + 10
                    : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                           : -1;
        if (digit < 0)
            return json_scan_fail(s, "not valid JSON: a bad \\u escape");
        *value = *value << 4 | (uint32_t)digit;
    }
    return 0;
}

// \uXXXX from behind the u, with its other half where it is one of two.
static int code_point(struct json_scan *s, uint32_t *value)
{
    static const char half[] = "not valid JSON: half a surrogate pair";
    uint32_t low;
    if (hex4(s, value) < 0)
        return -1;
    if (*value < 0xD800 || *value > 0xDFFF)
        return 0;
    if (*value > 0xDBFF || s->end - s->p < 2 || s->p[0] != '\\' || s->p[1] != 'u')
        return json_scan_fail(s, half);
    s->p += 2;
    if (hex4(s, &low) < 0)
        return -1;
    if (low < 0xDC00 || low > 0xDFFF)
        return json_scan_fail(s, half);
    *value = 0x10000 + ((*value - 0xD800) << 10 | (low - 0xDC00));
    return 0;
}

// From behind the backslash.
static int escape(struct json_scan *s)
{
    static const char signs[] = "\"\\/bfnrt", values[] = "\"\\/\b\f\n\r\t";
    char c = s->p < s->end ? *s->p++ : 0, bytes[4];
    const char *sign = c ? strchr(signs, c) : NULL;
    uint32_t value;
    if (sign)
        return buffer_append(&s->text, &values[sign - signs], 1, s->e);
    if (c != 'u')
        return json_scan_fail(s, "not valid JSON: a bad escape");
    return code_point(s, &value) < 0 ? -1
                                     : buffer_append(&s->text, bytes, utf8_put(value, bytes), s->e);
}

// Up to the next '"' or backslash, which is taken.
static int span(struct json_scan *s, const char **text, size_t *size)
{
    *text = s->p;
    *size = plain_span(s->p, s->end);
    s->p += *size;
    if (s->p > s->valid)
        return json_scan_fail(s, "not valid JSON: not UTF-8");
    if (s->p >= s->end || (unsigned char)*s->p < 0x20)
        return json_scan_fail(s, "not valid JSON: a string without its end");
    return *s->p++;
}

int json_scan_string(struct json_scan *s, const char **text, size_t *size)
{
    if (json_scan_expect(s, '"') < 0)
        return -1;
    int sign = span(s, text, size);
    if (sign < 0 || sign == '"')
        return sign < 0 ? -1 : 0;
    buffer_clear(&s->text);
    while (sign == '\\') {
        if (buffer_append(&s->text, *text, *size, s->e) < 0 || escape(s) < 0)
            return -1;
        sign = span(s, text, size);
    }
    if (sign < 0 || buffer_append(&s->text, *text, *size, s->e) < 0)
        return -1;
    *text = s->text.data;
    *size = s->text.size;
    return 0;
}

int json_scan_word(struct json_scan *s, const char *word)
{
    size_t n = strlen(word);
    if ((size_t)(s->end - s->p) < n || memcmp(s->p, word, n) != 0)
        return json_scan_fail(s, "not valid JSON: no value");
    s->p += n;
    return 0;
}

// ---- Numbers ------------------------------------------------------------------------------------

static size_t skip_digits(struct json_scan *s)
{
    const char *from = s->p;
    while (s->p < s->end && *s->p >= '0' && *s->p <= '9')
        s->p++;
    return (size_t)(s->p - from);
}

static int take(struct json_scan *s, char c, char or)
{
    int has = s->p < s->end && (*s->p == c || *s->p == or);
    s->p += has;
    return has;
}

int json_scan_number(struct json_scan *s, struct json_number *n)
{
    json_scan_peek(s);
    *n = (struct json_number){.text = s->p};
    take(s, '-', '-');
    const char *digits = s->p;
    n->digits = skip_digits(s);
    int good = n->digits == 1 || (n->digits && *digits != '0');
    if (take(s, '.', '.')) {
        n->is_real = 1;
        good &= skip_digits(s) > 0;
    }
    if (take(s, 'e', 'E')) {
        n->is_real = 1;
        take(s, '+', '-');
        good &= skip_digits(s) > 0;
    }
    n->size = (size_t)(s->p - n->text);
    if (!n->size)
        return json_scan_fail(s, "not valid JSON: no number");
    return good ? 0 : json_scan_fail(s, "not valid JSON: not a number");
}

int json_number_integer(const struct json_number *n, int64_t *value)
{
    uint64_t v = 0, most = INT64_MAX;
    int negative = *n->text == '-';
    if (n->is_real || n->digits > 19) // 19 fit into 64 bits without a sign
        return -1;
    for (size_t i = (size_t)negative; i < n->size; i++)
        v = v * 10 + (uint64_t)(n->text[i] - '0');
    if (v > most + (uint64_t)negative)
        return -1;
    *value = negative && v ? -(int64_t)(v - 1) - 1 : (int64_t)v;
    return 0;
}

int json_number_real(struct json_scan *s, const struct json_number *n, double *value)
{
    char copy[REAL_MAX];
    const char *text = copy;
    if (n->size < sizeof copy) {
        memcpy(copy, n->text, n->size);
        copy[n->size] = 0;
    } else {
        buffer_clear(&s->text);
        if (buffer_append(&s->text, n->text, n->size, s->e) < 0)
            return -1;
        text = s->text.data;
    }
    *value = strtod(text, NULL);
    return isfinite(*value) ? 0 : -1;
}

int json_scan_integer(struct json_scan *s, int64_t *value)
{
    struct json_number n;
    if (json_scan_number(s, &n) < 0)
        return -1;
    return json_number_integer(&n, value) < 0 ? json_scan_fail(s, "not a whole number") : 0;
}

int json_scan_real(struct json_scan *s, double *value)
{
    struct json_number n;
    if (json_scan_number(s, &n) < 0)
        return -1;
    return json_number_real(s, &n, value) < 0 ? json_scan_fail(s, "not a number") : 0;
}

// ---- Objects and arrays -------------------------------------------------------------------------

int json_scan_more(struct json_scan *s, char close, int *first)
{
    if (json_scan_peek(s) == close) {
        s->p++;
        return 0;
    }
    if (!*first && json_scan_expect(s, ',') < 0)
        return -1;
    *first = 0;
    return 1;
}

int json_scan_enter(struct json_scan *s)
{
    s->p++;
    return ++s->depth > DEPTH_MAX ? json_scan_fail(s, "nested too deep") : 0;
}

void json_scan_leave(struct json_scan *s)
{
    s->depth--;
}

static int skip_members(struct json_scan *s, char close)
{
    int more, first = 1;
    const char *text;
    size_t size;
    if (json_scan_enter(s) < 0)
        return -1;
    while ((more = json_scan_more(s, close, &first)) > 0) {
        if (close == '}' && (json_scan_string(s, &text, &size) < 0 || json_scan_expect(s, ':') < 0))
            return -1;
        if (json_scan_skip(s) < 0)
            return -1;
    }
    json_scan_leave(s);
    return more;
}

int json_scan_skip(struct json_scan *s)
{
    const char *text;
    size_t size;
    double value;
    switch (json_scan_peek(s)) {
    case '{':
        return skip_members(s, '}');
    case '[':
        return skip_members(s, ']');
    case '"':
        return json_scan_string(s, &text, &size);
    case 't':
        return json_scan_word(s, "true");
    case 'f':
        return json_scan_word(s, "false");
    case 'n':
        return json_scan_word(s, "null");
    default:
        return json_scan_real(s, &value);
    }
}
