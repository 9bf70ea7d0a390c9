// SPDX-License-Identifier: MIT
#include "toks/text_form.h"
#include "base/json.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

int text_form_init(struct text_form *t, const struct stream_header *h, const char *where,
                   text_decode *decode, void *arg, struct err *e)
{
    *t = (struct text_form){decode, arg, -1, {0}, {0}};
    buffer_init(&t->whole, 0);
    buffer_init(&t->prompt, 0);
    if (header_find(h, "mask") < 0)
        return 0;
    t->mask = header_require(h, "mask", COLUMN_U8, PER_TOKEN, where, e);
    return t->mask < 0 ? -1 : 0;
}

void text_form_release(struct text_form *t)
{
    buffer_release(&t->whole);
    buffer_release(&t->prompt);
}

static size_t prompt_length(const struct text_form *t, const struct frame *f, size_t i)
{
    size_t n = frame_length(f, i), k = 0;
    const uint8_t *mask = t->mask < 0 ? NULL : f->column[t->mask].u8 + f->start[i];
    while (k < n && !(mask && mask[k]))
        k++;
    return k;
}

// The completion is what the whole text has beyond the prompt's, so that blanks between the two
// stay; where the border lies inside a character each is decoded for itself.
static int add_texts(struct text_form *t, const struct frame *f, size_t i, json_t *object,
                     struct err *e)
{
    const uint32_t *token = f->column[COLUMN_TOKEN].u32 + f->start[i];
    size_t n = frame_length(f, i), prompt = prompt_length(t, f, i);
    buffer_clear(&t->whole);
    buffer_clear(&t->prompt);
    if (buffer_reserve(&t->whole, 1, e) < 0 || buffer_reserve(&t->prompt, 1, e) < 0 ||
        t->decode(t->arg, token, n, &t->whole, e) < 0 ||
        t->decode(t->arg, token, prompt, &t->prompt, e) < 0)
        return -1;
    size_t at = t->prompt.size;
    if (at > t->whole.size || memcmp(t->whole.data, t->prompt.data, at) != 0) {
        buffer_clear(&t->whole);
        at = 0;
        if (t->decode(t->arg, token + prompt, n - prompt, &t->whole, e) < 0)
            return -1;
    }
    if (json_object_set_new(object, "prompt", json_stringn(t->prompt.data, t->prompt.size)) < 0 ||
        json_object_set_new(object, "completion",
                            json_stringn(t->whole.data + at, t->whole.size - at)) < 0)
        return err_memory(e, t->whole.size, "a record");
    return 0;
}

static json_t *column_value(const struct frame *f, size_t c, size_t i)
{
    const struct column_data *d = &f->column[c];
    size_t size;
    const char *text;
    switch (f->header->column[c].type) {
    case COLUMN_STRING:
        text = frame_string(f, (int)c, i, &size);
        return json_stringn(text, size);
    case COLUMN_U32:
        return json_integer(d->u32[i]);
    case COLUMN_U8:
        return json_integer(d->u8[i]);
    default:
        return isfinite(d->f32[i]) ? json_real((double)d->f32[i]) : json_null();
    }
}

static int add_columns(const struct frame *f, size_t i, json_t *object, struct err *e)
{
    for (size_t c = COLUMN_TOKEN + 1; c < f->header->n_columns; c++) {
        const struct column *column = &f->header->column[c];
        if (column->per != PER_SEQUENCE)
            continue;
        // `prompt` is the id of the prompt in a stream; here the name is taken by its text.
        char name[512];
        snprintf(name, sizeof name, "%s%s", column->name,
                 json_object_get(object, column->name) ? "_id" : "");
        if (json_object_set_new(object, name, column_value(f, c, i)) < 0)
            return err_memory(e, 0, "a record");
    }
    return 0;
}

int text_form_print(struct text_form *t, const struct frame *f, size_t i, struct buffer *out,
                    struct err *e)
{
    size_t size;
    const char *id = frame_string(f, COLUMN_ID, i, &size);
    json_t *object = json_object();
    int result = object && json_object_set_new(object, "id", json_stringn(id, size)) == 0
                     ? add_texts(t, f, i, object, e)
                     : err_memory(e, size, "a record");
    if (result == 0 && (add_columns(f, i, object, e) < 0 || json_print(object, out, e) < 0 ||
                        buffer_append(out, "\n", 1, e) < 0))
        result = -1;
    json_decref(object);
    return result;
}
