// SPDX-License-Identifier: MIT
#include "gguf/writer.h"

#include <string.h>

static int put(struct buffer *out, uint64_t x, size_t bytes, struct err *e)
{
    unsigned char text[8];
    for (size_t i = 0; i < bytes; i++)
        text[i] = (unsigned char)(x >> 8 * i);
    return buffer_append(out, text, bytes, e);
}

static int put_text(struct buffer *out, const char *s, size_t n, struct err *e)
{
    return put(out, n, 8, e) < 0 ? -1 : buffer_append(out, s, n, e);
}

static enum gguf_kind kind_of(const json_t *value, int in_list)
{
    if (json_is_array(value))
        return KIND_ARRAY;
    if (json_is_string(value))
        return KIND_STRING;
    if (json_is_boolean(value))
        return KIND_BOOL;
    if (json_is_real(value))
        return KIND_F32;
    json_int_t x = json_integer_value(value);
    return in_list ? KIND_I32 : x >= 0 && x <= UINT32_MAX ? KIND_U32 : KIND_I64;
}

static int put_value(struct buffer *out, const json_t *value, enum gguf_kind kind, struct err *e)
{
    float single = (float)json_number_value(value);
    uint32_t bits;
    memcpy(&bits, &single, sizeof bits);
    switch (kind) {
    case KIND_STRING:
        return put_text(out, json_string_value(value), json_string_length(value), e);
    case KIND_BOOL:
        return put(out, json_is_true(value), 1, e);
    case KIND_F32:
        return put(out, bits, 4, e);
    default:
        return put(out, (uint64_t)json_integer_value(value), kind == KIND_I64 ? 8 : 4, e);
    }
}

static int put_list(struct buffer *out, const json_t *list, struct err *e)
{
    enum gguf_kind kind = kind_of(json_array_get(list, 0), 1);
    if (put(out, kind, 4, e) < 0 || put(out, json_array_size(list), 8, e) < 0)
        return -1;
    for (size_t i = 0; i < json_array_size(list); i++)
        if (put_value(out, json_array_get(list, i), kind, e) < 0)
            return -1;
    return 0;
}

static int put_key(struct buffer *out, const char *key, const json_t *value, struct err *e)
{
    enum gguf_kind kind = kind_of(value, 0);
    if (put_text(out, key, strlen(key), e) < 0 || put(out, kind, 4, e) < 0)
        return -1;
    return kind == KIND_ARRAY ? put_list(out, value, e) : put_value(out, value, kind, e);
}

size_t gguf_entry_bytes(const struct gguf_entry *t)
{
    const struct block_type *type = block_type(t->type);
    size_t values = 1;
    for (int i = 0; i < t->n_dims; i++)
        values *= t->dim[i];
    return values / type->values * type->bytes;
}

size_t gguf_padded(size_t bytes)
{
    return (bytes + GGUF_ALIGNMENT - 1) / GGUF_ALIGNMENT * GGUF_ALIGNMENT;
}

static int put_entry(struct buffer *out, const struct gguf_entry *t, size_t offset, struct err *e)
{
    if (put_text(out, t->name, strlen(t->name), e) < 0 || put(out, (uint64_t)t->n_dims, 4, e) < 0)
        return -1;
    for (int i = 0; i < t->n_dims; i++)
        if (put(out, t->dim[i], 8, e) < 0)
            return -1;
    return put(out, t->type, 4, e) < 0 ? -1 : put(out, offset, 8, e);
}

int gguf_head(struct buffer *out, const json_t *keys, const struct gguf_entry *tensor, size_t n,
              struct err *e)
{
    const char *key;
    json_t *value;
    size_t offset = 0;
    if (buffer_append(out, "GGUF", 4, e) < 0 || put(out, 3, 4, e) < 0 || put(out, n, 8, e) < 0 ||
        put(out, json_object_size(keys), 8, e) < 0)
        return -1;
    json_object_foreach((json_t *)keys, key, value)
    {
        if (put_key(out, key, value, e) < 0)
            return -1;
    }
    for (size_t i = 0; i < n; i++) {
        if (put_entry(out, &tensor[i], offset, e) < 0)
            return -1;
        offset += gguf_padded(gguf_entry_bytes(&tensor[i]));
    }
    while (out->size % GGUF_ALIGNMENT)
        if (buffer_append(out, "", 1, e) < 0)
            return -1;
    return 0;
}
