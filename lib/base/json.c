// SPDX-License-Identifier: MIT
#include "base/json.h"
#include "base/io.h"
#include "base/json_read.h"
#include "base/json_wide.h"

#include <stdalign.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

// Most of what jansson's callers do with a value that could not be made is nothing, and jansson
// itself reads beyond a text for which it got no room. So it gets some that was put aside, and who
// asks err_whole learns of it.
static alignas(16) char aside[1 << 16];
static atomic_size_t aside_used;

static void *piece(size_t size)
{
    void *p = malloc(size);
    if (p)
        return p;
    err_lost(size, "JSON");
    if (size > sizeof aside)
        return NULL;
    size_t at = atomic_fetch_add(&aside_used, (size + 15) / 16 * 16);
    return at <= sizeof aside - size ? aside + at : NULL;
}

static void give_back(void *p)
{
    if ((uintptr_t)p - (uintptr_t)aside >= sizeof aside)
        free(p);
}

__attribute__((constructor)) static void begin(void)
{
    json_set_alloc_funcs(piece, give_back);
}

enum { FLAGS = JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL };

// What jansson says of a text that is bad; or its value, where the text was beyond json_read. With
// `wide`, a number beyond 64 bits is not what is bad about it.
static json_t *decode(const char *text, size_t size, int wide, const char *name, struct err *e)
{
    json_error_t error, other;
    json_t *value = json_loadb(text, size, FLAGS, &error), *reals = NULL;
    if (!value && wide && json_error_code(&error) == json_error_numeric_overflow &&
        !(reals = json_loadb(text, size, FLAGS | JSON_DECODE_INT_AS_REAL, &other)))
        error = other;
    json_decref(reals);
    if (!value)
        err_set(e, STATUS_FAILED, "%s:%d: not valid JSON: %s", name, error.line, error.text);
    return value;
}

json_t *json_parse(const char *text, size_t size, const char *name, struct err *e)
{
    json_t *value = json_read(text, size, 0);
    if (!json_is_object(value) && !json_is_array(value)) {
        json_decref(value);
        value = decode(text, size, 1, name, e);
    }
    if (value && err_whole(e) < 0) {
        json_decref(value);
        err_prefix(e, "%s", name);
        return NULL;
    }
    return value;
}

json_t *json_parse_exact(const char *text, size_t size, const char *name, struct err *e)
{
    json_t *value = json_read(text, size, 1);
    return value ? value : decode(text, size, 0, name, e);
}

json_t *json_parse_file(int at, const char *path, size_t limit, struct err *e)
{
    struct buffer text;
    buffer_init(&text, limit);
    json_t *value = NULL;
    if (io_read_regular(at, path, &text, e) == 0)
        value = json_parse(text.data ? text.data : "", text.size, path, e);
    buffer_release(&text);
    return value;
}

struct sink {
    struct buffer *out;
    struct err *e;
    int failed;
};

static int dump(const char *data, size_t size, void *arg)
{
    struct sink *sink = arg;
    if (buffer_append(sink->out, data, size, sink->e) < 0)
        sink->failed = 1;
    return sink->failed ? -1 : 0;
}

static int print(const json_t *value, size_t flags, struct buffer *out, struct err *e)
{
    struct sink sink = {out, e, 0};
    // It passes over some failures of the callback.
    int result = json_dump_callback(value, dump, &sink, flags);
    if (sink.failed || err_whole(e) < 0)
        return -1;
    return result == 0 ? 0 : err_set(e, STATUS_FAILED, "a JSON value could not be printed");
}

static int print_list(const json_t *list, struct buffer *out, struct err *e)
{
    for (size_t i = 0; i < json_array_size(list); i++)
        if (buffer_append(out, i ? "," : "[", 1, e) < 0 ||
            json_print(json_array_get(list, i), out, e) < 0)
            return -1;
    return buffer_append(out, "]", 1, e);
}

static int print_object(const json_t *object, struct buffer *out, struct err *e)
{
    const char *key, *before = "{";
    json_t *v;
    json_object_foreach((json_t *)object, key, v)
    {
        json_t *name = json_string(key);
        int result = name ? buffer_append(out, before, 1, e) : err_memory(e, 0, "a key");
        if (result == 0)
            result = json_print(name, out, e);
        json_decref(name);
        if (result < 0 || buffer_append(out, ":", 1, e) < 0 || json_print(v, out, e) < 0)
            return -1;
        before = ",";
    }
    return buffer_append(out, "}", 1, e);
}

int json_print(const json_t *value, struct buffer *out, struct err *e)
{
    const char *digits = json_wide_digits(value);
    if (digits)
        return buffer_append(out, digits, strlen(digits), e);
    if (json_has_wide(value)) // which jansson cannot print
        return json_is_array(value) ? print_list(value, out, e) : print_object(value, out, e);
    return print(value, JSON_COMPACT | JSON_ENCODE_ANY, out, e);
}

char *json_text(const json_t *value, size_t flags, struct err *e)
{
    struct buffer text;
    buffer_init(&text, 0);
    if (print(value, flags, &text, e) == 0)
        return text.data;
    if (e->status == STATUS_MEMORY)
        err_lost(text.size, "JSON");
    buffer_release(&text);
    return NULL;
}

static int wrong_type(struct err *e, const char *name, const char *key, const char *wanted)
{
    return err_set(e, STATUS_FAILED, "%s: key `%s`: not %s", name, key, wanted);
}

int json_get_int(const json_t *object, const char *key, int64_t *value, const char *name,
                 struct err *e)
{
    const json_t *v = json_object_get(object, key);
    if (!v || json_is_null(v))
        return 0;
    if (!json_is_integer(v))
        return wrong_type(e, name, key, "a whole number");
    *value = json_integer_value(v);
    return 1;
}

int json_get_real(const json_t *object, const char *key, double *value, const char *name,
                  struct err *e)
{
    const json_t *v = json_object_get(object, key);
    if (!v || json_is_null(v))
        return 0;
    if (!json_is_number(v))
        return wrong_type(e, name, key, "a number");
    *value = json_number_value(v);
    return 1;
}

int json_get_bool(const json_t *object, const char *key, int *value, const char *name,
                  struct err *e)
{
    const json_t *v = json_object_get(object, key);
    if (!v || json_is_null(v))
        return 0;
    if (!json_is_boolean(v))
        return wrong_type(e, name, key, "true or false");
    *value = json_is_true(v);
    return 1;
}

int json_get_string(const json_t *object, const char *key, const char **value, const char *name,
                    struct err *e)
{
    const json_t *v = json_object_get(object, key);
    if (!v || json_is_null(v))
        return 0;
    if (!json_is_string(v))
        return wrong_type(e, name, key, "a string");
    *value = json_string_value(v);
    return 1;
}
