// SPDX-License-Identifier: MIT
#include "model/safetensors.h"
#include "base/io.h"
#include "base/json.h"
#include "base/memory.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

// Bytes of an element of each type the format knows; the names of enum dtype come first.
static const struct {
    const char *name;
    size_t size;
} types[] = {{"F32", 4}, {"F16", 2}, {"BF16", 2}, {"F64", 8},     {"I64", 8},
             {"I32", 4}, {"I16", 2}, {"I8", 1},   {"U64", 8},     {"U32", 4},
             {"U16", 2}, {"U8", 1},  {"BOOL", 1}, {"F8_E4M3", 1}, {"F8_E5M2", 1}};

static int bad(struct err *e, const struct safetensors *s, const char *tensor, const char *reason)
{
    if (tensor)
        return err_set(e, STATUS_FAILED, "%s: tensor `%.200s`: %s", s->path, tensor, reason);
    return err_set(e, STATUS_FAILED, "%s: %s", s->path, reason);
}

static int read_size(const json_t *value, size_t *out)
{
    if (!json_is_integer(value) || json_integer_value(value) < 0)
        return -1;
    *out = (size_t)json_integer_value(value);
    return 0;
}

static int parse_entry(struct safetensors *s, struct safetensors_entry *t, const char *name,
                       const json_t *value, struct err *e)
{
    t->name = strdup(name);
    if (!t->name)
        return err_memory(e, strlen(name), "a tensor's name");
    const char *type = json_string_value(json_object_get(value, "dtype"));
    const json_t *shape = json_object_get(value, "shape");
    const json_t *range = json_object_get(value, "data_offsets");
    if (!type || !json_is_array(shape) || json_array_size(range) != 2)
        return bad(e, s, name, "dtype, shape or data_offsets missing");
    size_t element = 0;
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (!strcmp(types[i].name, type)) {
            element = types[i].size;
            t->known = i <= DTYPE_F64;
            t->dtype = t->known ? (enum dtype)i : DTYPE_F32;
        }
    if (!element)
        return bad(e, s, name, "unknown dtype");
    snprintf(t->type, sizeof t->type, "%s", type);
    if (json_array_size(shape) > SAFETENSORS_DIMS)
        return bad(e, s, name, "too many dimensions");
    t->n_dims = (int)json_array_size(shape);
    size_t bytes = element, end;
    for (int i = 0; i < t->n_dims; i++)
        if (read_size(json_array_get(shape, (size_t)i), &t->dim[i]) < 0 ||
            __builtin_mul_overflow(bytes, t->dim[i], &bytes))
            return bad(e, s, name, "impossible shape");
    if (read_size(json_array_get(range, 0), &t->offset) < 0 ||
        read_size(json_array_get(range, 1), &end) < 0 || end < t->offset)
        return bad(e, s, name, "impossible data_offsets");
    t->bytes = end - t->offset;
    if (t->bytes != bytes)
        return bad(e, s, name, "data_offsets do not fit shape and dtype");
    if (end > s->size - 8 - s->header_size)
        return bad(e, s, name, "data lie beyond the end of the file");
    return 0;
}

static int by_offset(const void *a, const void *b)
{
    const struct safetensors_entry *x = a, *y = b;
    if (x->offset != y->offset)
        return x->offset < y->offset ? -1 : 1;
    if (x->bytes != y->bytes)
        return x->bytes < y->bytes ? -1 : 1;
    return strcmp(x->name, y->name);
}

static int by_name(const void *a, const void *b)
{
    const struct safetensors_entry *const *x = a, *const *y = b;
    return strcmp((*x)->name, (*y)->name);
}

static int sort_names(struct safetensors *s, struct err *e)
{
    s->by_name = mem_alloc(s->n + 1, sizeof *s->by_name, "tensor entries", e);
    if (!s->by_name)
        return -1;
    for (size_t i = 0; i < s->n; i++)
        s->by_name[i] = &s->entry[i];
    qsort(s->by_name, s->n, sizeof *s->by_name, by_name);
    return 0;
}

static int parse_header(struct safetensors *s, struct err *e)
{
    json_t *header = json_parse((const char *)s->map + 8, s->header_size, s->path, e);
    if (!header)
        return -1;
    int result = -1;
    const char *key;
    json_t *value;
    if (!json_is_object(header)) {
        bad(e, s, NULL, "the header is no JSON object");
        goto out;
    }
    s->entry = mem_alloc(json_object_size(header) + 1, sizeof *s->entry, "tensor entries", e);
    if (!s->entry)
        goto out;
    json_object_foreach(header, key, value)
    {
        if (!strcmp(key, "__metadata__")) {
            s->metadata = json_incref(value);
            continue;
        }
        if (parse_entry(s, &s->entry[s->n++], key, value, e) < 0)
            goto out;
    }
    qsort(s->entry, s->n, sizeof *s->entry, by_offset);
    for (size_t i = 1; i < s->n; i++)
        if (s->entry[i].offset < s->entry[i - 1].offset + s->entry[i - 1].bytes) {
            bad(e, s, s->entry[i].name, "its data overlap those of another tensor");
            goto out;
        }
    result = sort_names(s, e);
out:
    json_decref(header);
    return result;
}

static int map_file(struct safetensors *s, int fd, struct err *e)
{
    struct stat st;
    if (fstat(fd, &st) < 0)
        return err_errno(e, s->path);
    s->size = (size_t)st.st_size;
    if (s->size < 8)
        return bad(e, s, NULL, "too short for a safetensors file");
    void *map = mmap(NULL, s->size, PROT_READ, MAP_SHARED, fd, 0);
    if (map == MAP_FAILED)
        return err_errno(e, s->path);
    s->map = map;
    uint64_t header = 0;
    for (int i = 7; i >= 0; i--)
        header = header << 8 | s->map[i];
    if (header > SAFETENSORS_HEADER_MAX || header > s->size - 8)
        return bad(e, s, NULL, "impossible header size: not a safetensors file, or cut short");
    s->header_size = (size_t)header;
    return parse_header(s, e);
}

int safetensors_open(struct safetensors *s, int at, const char *name, struct err *e)
{
    memset(s, 0, sizeof *s);
    s->path = strdup(name);
    if (!s->path)
        return err_memory(e, strlen(name), "a file name");
    int fd = io_open_regular(at, name, e);
    int result = fd < 0 ? -1 : map_file(s, fd, e);
    if (fd >= 0)
        close(fd);
    if (result < 0)
        safetensors_close(s);
    return result;
}

void safetensors_forget(const struct safetensors *s)
{
    madvise(s->map, s->size, MADV_DONTNEED); // advice: nothing is lost if it is not taken
}

void safetensors_close(struct safetensors *s)
{
    if (s->map)
        munmap(s->map, s->size);
    for (size_t i = 0; i < s->n; i++)
        free(s->entry[i].name);
    free(s->entry);
    free(s->by_name);
    free(s->path);
    json_decref(s->metadata);
    memset(s, 0, sizeof *s);
}

static int compare_name(const void *name, const void *entry)
{
    return strcmp(name, (*(const struct safetensors_entry *const *)entry)->name);
}

const struct safetensors_entry *safetensors_find(const struct safetensors *s, const char *name)
{
    const struct safetensors_entry *const *found =
        bsearch(name, s->by_name, s->n, sizeof *s->by_name, compare_name);
    return found ? *found : NULL;
}

char *safetensors_header(struct safetensors_entry *entry, size_t n, const json_t *metadata,
                         size_t *size, struct err *e)
{
    for (size_t i = 0; i < n; i++)
        assert(entry[i].n_dims >= 0 && entry[i].n_dims <= SAFETENSORS_DIMS);
    struct buffer text;
    buffer_init(&text, SAFETENSORS_HEADER_MAX);
    json_t *header = json_object();
    if (metadata)
        json_object_set_new(header, "__metadata__", json_deep_copy(metadata));
    size_t offset = 0;
    for (size_t i = 0; i < n; i++) {
        json_t *shape = json_array();
        for (int k = 0; k < entry[i].n_dims; k++)
            json_array_append_new(shape, json_integer((json_int_t)entry[i].dim[k]));
        entry[i].offset = offset;
        offset += entry[i].bytes;
        json_object_set_new(header, entry[i].name,
                            json_pack("{s:s, s:o, s:[I, I]}", "dtype", entry[i].type, "shape",
                                      shape, "data_offsets", (json_int_t)entry[i].offset,
                                      (json_int_t)offset));
    }
    int result = json_print(header, &text, e);
    json_decref(header);
    while (result == 0 && text.size % 8)
        result = buffer_append(&text, " ", 1, e);
    if (result < 0) {
        buffer_release(&text);
        return NULL;
    }
    *size = text.size;
    return text.data;
}
