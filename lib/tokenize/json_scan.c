// SPDX-License-Identifier: MIT
#include "tokenize/json_scan.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/number.h"
#include "tokenize/unicode.h"

enum { DEPTH_MAX = 256 };

void json_scan_init(struct json_scan *s, const char *text, size_t size, const char *name,
                    struct err *e)
{
    *s = (struct json_scan){text, text, text + size, name, e, 0};
}

int json_scan_fail(struct json_scan *s, const char *reason)
{
    int line = 1;
    for (const char *p = s->begin; p < s->p && p < s->end; p++)
        line += *p == '\n';
    return err_set(s->e, STATUS_FAILED, "%s:%d: %s", s->name, line, reason);
}

char json_scan_peek(struct json_scan *s)
{
    while (s->p < s->end && (*s->p == ' ' || *s->p == '\n' || *s->p == '\r' || *s->p == '\t'))
        s->p++;
    return s->p < s->end ? *s->p : 0;
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

static int escape(struct json_scan *s, struct buffer *out)
{
    static const char signs[] = "\"\\/bfnrt", values[] = "\"\\/\b\f\n\r\t";
    char c = s->p < s->end ? *s->p++ : 0;
    const char *sign = c ? strchr(signs, c) : NULL;
    if (sign)
        return out ? buffer_append(out, &values[sign - signs], 1, s->e) : 0;
    uint32_t value, low;
    if (c != 'u')
        return json_scan_fail(s, "not valid JSON: a bad escape");
    if (hex4(s, &value) < 0)
        return -1;
    if (value >= 0xD800 && value < 0xDC00) {
        if (s->end - s->p < 2 || s->p[0] != '\\' || s->p[1] != 'u')
            return json_scan_fail(s, "not valid JSON: half a surrogate pair");
        s->p += 2;
        if (hex4(s, &low) < 0)
            return -1;
        if (low < 0xDC00 || low > 0xDFFF)
            return json_scan_fail(s, "not valid JSON: half a surrogate pair");
        value = 0x10000 + ((value - 0xD800) << 10 | (low - 0xDC00));
    } else if (value >= 0xDC00 && value < 0xE000) {
        return json_scan_fail(s, "not valid JSON: half a surrogate pair");
    }
    char bytes[4];
    return out ? buffer_append(out, bytes, utf8_put(value, bytes), s->e) : 0;
}

static int string(struct json_scan *s, struct buffer *out)
{
    if (json_scan_expect(s, '"') < 0)
        return -1;
    for (;;) {
        const char *from = s->p;
        while (s->p < s->end && *s->p != '"' && *s->p != '\\' && (unsigned char)*s->p >= 0x20)
            s->p++;
        size_t size = (size_t)(s->p - from);
        if (utf8_valid_prefix(from, size) != size)
            return json_scan_fail(s, "not valid JSON: not UTF-8");
        if (out && buffer_append(out, from, size, s->e) < 0)
            return -1;
        if (s->p >= s->end || (unsigned char)*s->p < 0x20)
            return json_scan_fail(s, "not valid JSON: a string without its end");
        if (*s->p++ == '"')
            return 0;
        if (escape(s, out) < 0)
            return -1;
    }
}

int json_scan_string(struct json_scan *s, struct buffer *out)
{
    buffer_clear(out);
    return string(s, out);
}

// The characters of a number, copied so that they end in a NUL.
static int number(struct json_scan *s, char *text, size_t room)
{
    json_scan_peek(s);
    size_t n = 0;
    while (s->p < s->end && n + 1 < room && *s->p && strchr("+-.0123456789eE", *s->p))
        text[n++] = *s->p++;
    text[n] = 0;
    return n ? 0 : json_scan_fail(s, "not valid JSON: no number");
}

int json_scan_integer(struct json_scan *s, int64_t *value)
{
    char text[64];
    if (number(s, text, sizeof text) < 0)
        return -1;
    return number_to_i64(text, value) < 0 ? json_scan_fail(s, "not a whole number") : 0;
}

int json_scan_real(struct json_scan *s, double *value)
{
    char text[64];
    if (number(s, text, sizeof text) < 0)
        return -1;
    return number_to_f64(text, value) < 0 ? json_scan_fail(s, "not a number") : 0;
}

int json_scan_more(struct json_scan *s, char close, int *first)
{
    char c = json_scan_peek(s);
    if (c == close) {
        s->p++;
        return 0;
    }
    if (!*first && json_scan_expect(s, ',') < 0)
        return -1;
    *first = 0;
    return 1;
}

static int skip_members(struct json_scan *s, char close)
{
    int more, first = 1;
    s->p++;
    if (++s->depth > DEPTH_MAX)
        return json_scan_fail(s, "nested too deep");
    while ((more = json_scan_more(s, close, &first)) > 0) {
        if (close == '}' && (string(s, NULL) < 0 || json_scan_expect(s, ':') < 0))
            return -1;
        if (json_scan_skip(s) < 0)
            return -1;
    }
    s->depth--;
    return more;
}

int json_scan_skip(struct json_scan *s)
{
    char c = json_scan_peek(s);
    if (c == '{')
        return skip_members(s, '}');
    if (c == '[')
        return skip_members(s, ']');
    if (c == '"')
        return string(s, NULL);
    static const char *const words[] = {"true", "false", "null"};
    for (int i = 0; i < 3; i++) {
        size_t n = strlen(words[i]);
        if ((size_t)(s->end - s->p) >= n && !memcmp(s->p, words[i], n))
            return s->p += n, 0;
    }
    double value;
    return json_scan_real(s, &value);
}
