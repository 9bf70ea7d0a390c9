// SPDX-License-Identifier: MIT
#include "base/json_read.h"

#include <stdlib.h>
#include <string.h>

#include "base/json_scan.h"
#include "base/json_wide.h"

static json_t *read_value(struct json_scan *s, int exact);

static json_t *drop(json_t *value)
{
    json_decref(value);
    return NULL;
}

static json_t *read_number(struct json_scan *s, int exact)
{
    struct json_number n;
    int64_t whole;
    double real;
    if (json_scan_number(s, &n) < 0)
        return NULL;
    if (json_number_integer(&n, &whole) == 0)
        return json_integer(whole);
    if (exact && !n.is_real)
        return n.digits > JSON_WIDE_DIGITS ? NULL : json_wide(n.text, n.size);
    return json_number_real(s, &n, &real) < 0 ? NULL : json_real(real);
}

static json_t *read_array(struct json_scan *s, int exact)
{
    json_t *array = json_array();
    int more = -1, first = 1;
    // (A member that is NULL makes it fail.)
    while (array && (more = json_scan_more(s, ']', &first)) > 0)
        if (json_array_append_new(array, read_value(s, exact)) < 0)
            return drop(array);
    return more == 0 ? array : drop(array);
}

static int read_member(struct json_scan *s, json_t *object, int exact)
{
    const char *key;
    char *spelled = NULL; // the value may have escapes too
    size_t size;
    if (json_scan_string(s, &key, &size) < 0 || memchr(key, 0, size) ||
        json_object_getn(object, key, size) || json_scan_expect(s, ':') < 0)
        return -1;
    if (key == s->text.data && !(key = spelled = strndup(key, size)))
        return -1;
    int result = json_object_setn_new_nocheck(object, key, size, read_value(s, exact));
    free(spelled);
    return result;
}

static json_t *read_object(struct json_scan *s, int exact)
{
    json_t *object = json_object();
    int more = -1, first = 1;
    while (object && (more = json_scan_more(s, '}', &first)) > 0)
        if (read_member(s, object, exact) < 0)
            return drop(object);
    return more == 0 ? object : drop(object);
}

static json_t *read_nested(struct json_scan *s, int exact)
{
    int is_object = *s->p == '{';
    if (json_scan_enter(s) < 0)
        return NULL;
    json_t *value = is_object ? read_object(s, exact) : read_array(s, exact);
    json_scan_leave(s);
    return value;
}

static json_t *read_value(struct json_scan *s, int exact)
{
    const char *text;
    size_t size;
    switch (json_scan_peek(s)) {
    case '{':
    case '[':
        return read_nested(s, exact);
    case '"':
        return json_scan_string(s, &text, &size) < 0 ? NULL : json_stringn_nocheck(text, size);
    case 't':
        return json_scan_word(s, "true") < 0 ? NULL : json_true();
    case 'f':
        return json_scan_word(s, "false") < 0 ? NULL : json_false();
    case 'n':
        return json_scan_word(s, "null") < 0 ? NULL : json_null();
    default:
        return read_number(s, exact);
    }
}

json_t *json_read(const char *text, size_t size, int exact)
{
    struct json_scan s;
    struct err e;
    json_scan_init(&s, text, size, "", &e);
    json_t *value = read_value(&s, exact);
    json_scan_peek(&s);
    if (s.p < s.end)
        value = drop(value);
    json_scan_release(&s);
    return value;
}
