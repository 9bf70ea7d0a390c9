// SPDX-License-Identifier: MIT
#include "convert/kept_fields.h"
#include "base/json.h"
#include "base/json_wide.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

int kept_fields_init(struct kept_fields *k, const char *text, struct err *e)
{
    memset(k, 0, sizeof *k);
    if (!text)
        return 0;
    k->names = strdup(text);
    if (!k->names)
        return err_memory(e, strlen(text), "names of columns");
    k->n = 1;
    for (char *p = k->names; *p; p++)
        if (*p == ',') {
            *p = 0;
            k->n++;
        }
    return 0;
}

void kept_fields_release(struct kept_fields *k)
{
    free(k->names);
    memset(k, 0, sizeof *k);
}

int kept_fields_add(struct kept_fields *k, struct stream_header *h, const json_t *first,
                    struct err *e)
{
    const char *name = k->names;
    k->column = (int)h->n_columns;
    for (size_t i = 0; i < k->n; i++, name += strlen(name) + 1) {
        const json_t *v = json_object_get(first, name);
        int is_number = json_is_number(v) || json_wide_digits(v);
        if (header_add_column(h, name, is_number ? COLUMN_F32 : COLUMN_STRING, PER_SEQUENCE, e) < 0)
            return err_prefix(e, "--keep-columns");
    }
    return 0;
}

static int set_value(struct frame *f, int column, const json_t *v, struct err *e)
{
    const struct column *c = &f->header->column[column];
    if (c->type == COLUMN_F32) {
        if (!v || json_is_null(v))
            return 0; // stays NaN
        double value = json_number_value(v);
        if (json_wide_digits(v))
            return err_set(e, STATUS_FAILED, "key `%s`: %.40s does not fit an f32 column", c->name,
                           json_wide_digits(v));
        if (!json_is_number(v))
            return err_set(e, STATUS_FAILED, "key `%s`: not a number as in the first record",
                           c->name);
        if (json_is_integer(v) && (double)(float)value != value)
            return err_set(e, STATUS_FAILED, "key `%s`: %" PRId64 " does not fit an f32 column",
                           c->name, (int64_t)json_integer_value(v));
        f->column[column].f32[0] = (float)value;
        return 0;
    }
    if (!v || json_is_null(v))
        return 0;
    if (json_is_string(v))
        return frame_set_string(f, column, json_string_value(v), json_string_length(v), e);
    struct buffer text;
    buffer_init(&text, 0);
    int result = json_print(v, &text, e);
    if (result == 0)
        result = frame_set_string(f, column, text.data, text.size, e);
    buffer_release(&text);
    return result;
}

int kept_fields_set(const struct kept_fields *k, struct frame *f, const json_t *record,
                    struct err *e)
{
    const char *name = k->names;
    for (size_t i = 0; i < k->n; i++, name += strlen(name) + 1)
        if (set_value(f, k->column + (int)i, json_object_get(record, name), e) < 0)
            return -1;
    return 0;
}
