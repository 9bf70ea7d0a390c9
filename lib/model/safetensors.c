// SPDX-License-Identifier: MIT
#include "model/safetensors.h"
#include "base/file_kind.h"
#include "base/io.h"
#include "base/json.h"
#include "base/memory.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
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

static int parse_entry(const struct safetensors *s, struct safetensors_entry *t,
                       const json_t *value, struct err *e)
{
    const char *name = t->name;
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
    for (size_t i = 1; i < s->n; i++)
        if (!strcmp(s->by_name[i - 1]->name, s->by_name[i]->name))
            return bad(e, s, s->by_name[i]->name, "a duplicate name in the header");
    return 0;
}

// Each tensor's data begin where those before end, and the file ends with the last.
static int check_layout(const struct safetensors *s, struct err *e)
{
    size_t at = 0;
    for (size_t i = 0; i < s->n; i++) {
        const struct safetensors_entry *t = &s->entry[i];
        if (t->offset < at)
            return bad(e, s, t->name, "its data overlap those of another tensor");
        if (t->offset > at)
            return bad(e, s, t->name, "bytes that belong to no tensor stand before its data");
        at += t->bytes;
    }
    if (at != s->size - 8 - s->header_size)
        return bad(e, s, NULL, "bytes that belong to no tensor stand behind the last one");
    return 0;
}

// ---- the header's text ----

// The header is taken apart member by member: as one JSON value it would take twenty times its
// size, and a file may declare any number of empty tensors.
struct header_text {
    const char *p, *end;
};

static char peek(struct header_text *h)
{
    while (h->p < h->end && strchr(" \t\r\n", *h->p) && *h->p)
        h->p++;
    return h->p < h->end ? *h->p : 0;
}

// Past the string that begins at p.
static const char *skip_string(const char *p, const char *end)
{
    for (p++; p < end && *p != '"'; p++)
        if (*p == '\\')
            p++;
    return p < end ? p + 1 : NULL;
}

// Past the object that begins at p; what is in it is for json_parse.
static const char *skip_object(const char *p, const char *end)
{
    for (size_t depth = 0; p < end;) {
        if (*p == '"') {
            if (!(p = skip_string(p, end)))
                return NULL;
            continue;
        }
        depth += *p == '{' || *p == '[';
        depth -= *p == '}' || *p == ']';
        p++;
        if (!depth)
            return p;
    }
    return NULL;
}

static int bad_json(struct err *e, const struct safetensors *s, const struct header_text *h)
{
    return err_set(e, STATUS_FAILED, "%s: the header is not valid JSON (at byte %zu)", s->path,
                   (size_t)(h->p - (const char *)s->start - 8));
}

// The name that begins at h->p: a string from the heap, or NULL.
static char *take_name(const struct safetensors *s, struct header_text *h, struct err *e)
{
    const char *from = h->p, *to = skip_string(from, h->end);
    struct buffer text;
    char *name = NULL;
    buffer_init(&text, SAFETENSORS_HEADER_MAX);
    // A string alone is no JSON text to jansson.
    if (!to)
        bad_json(e, s, h);
    else if (buffer_append(&text, "[", 1, e) == 0 &&
             buffer_append(&text, from, (size_t)(to - from), e) == 0 &&
             buffer_append(&text, "]", 1, e) == 0) {
        json_t *list = json_parse(text.data, text.size, s->path, e);
        const json_t *string = list ? json_array_get(list, 0) : NULL;
        if (string && strlen(json_string_value(string)) != json_string_length(string))
            bad(e, s, NULL, "a tensor's name holds a NUL");
        else if (string && !(name = strdup(json_string_value(string))))
            err_memory(e, text.size, "a tensor's name");
        json_decref(list);
        h->p = to;
    }
    buffer_release(&text);
    return name;
}

static int set_metadata(struct safetensors *s, json_t *value, struct err *e)
{
    const char *key;
    json_t *text;
    if (s->metadata)
        return bad(e, s, NULL, "a duplicate __metadata__ in the header");
    json_object_foreach(value, key, text)
    {
        if (!json_is_string(text))
            return bad(e, s, NULL, "__metadata__ holds more than texts");
    }
    s->metadata = json_incref(value);
    return 0;
}

// One member of the header; takes the name over.
static int take_member(struct safetensors *s, struct header_text *h, char *name, struct err *e)
{
    int is_metadata = !strcmp(name, "__metadata__");
    const char *to = peek(h) == '{' ? skip_object(h->p, h->end) : NULL;
    int result = to                                 ? 0
                 : peek(h) == '{' || h->p == h->end ? bad_json(e, s, h)
                 : is_metadata ? bad(e, s, NULL, "__metadata__ is no JSON object")
                               : bad(e, s, name, "dtype, shape or data_offsets missing");
    size_t size = result == 0 ? (size_t)(to - h->p) : 0;
    json_t *value = size ? json_parse(h->p, size, s->path, e) : NULL;
    if (size && !value)
        result = -1;
    if (result == 0 && !is_metadata)
        result = MEM_GROW(s->entry, s->capacity, s->n + 1, "tensor entries", e);
    if (result < 0 || is_metadata) {
        if (result == 0)
            result = set_metadata(s, value, e);
        free(name);
    } else {
        struct safetensors_entry *t = &s->entry[s->n++];
        memset(t, 0, sizeof *t);
        t->name = name;
        result = parse_entry(s, t, value, e);
    }
    json_decref(value);
    h->p = to;
    return result;
}

static int take_members(struct safetensors *s, struct header_text *h, struct err *e)
{
    char next = ',';
    h->p++;
    if (peek(h) == '}')
        return h->p++, 0;
    while (next == ',') {
        if (peek(h) != '"')
            return bad_json(e, s, h);
        char *name = take_name(s, h, e);
        if (!name)
            return -1;
        if (peek(h) != ':') {
            free(name);
            return bad_json(e, s, h);
        }
        h->p++;
        if (take_member(s, h, name, e) < 0)
            return -1;
        next = peek(h);
        if (next != ',' && next != '}')
            return bad_json(e, s, h);
        h->p++;
    }
    return 0;
}

static int parse_header(struct safetensors *s, struct err *e)
{
    const char *text = (const char *)s->start + 8;
    struct header_text h = {text, text + s->header_size};
    if (!s->header_size || *text != '{')
        return bad(e, s, NULL, "the header is not valid JSON: it does not begin with {");
    if (take_members(s, &h, e) < 0)
        return -1;
    peek(&h);
    if (h.p != h.end)
        return bad_json(e, s, &h);
    if (s->n) // none: the list is not there either
        qsort(s->entry, s->n, sizeof *s->entry, by_offset);
    return sort_names(s, e) < 0 ? -1 : check_layout(s, e);
}

// The header is copied before it is looked at: whatever happens to the file, it is read once.
static int read_start(struct safetensors *s, struct err *e)
{
    s->map = s->file->data;
    s->size = s->file->size;
    if (file_kind_fetched(s->map, s->size, s->path, e) < 0)
        return -1;
    if (s->size < 8)
        return bad(e, s, NULL, "too short for a safetensors file");
    uint64_t header = 0;
    for (int i = 7; i >= 0; i--)
        header = header << 8 | s->map[i];
    if (header > SAFETENSORS_HEADER_MAX || header > s->size - 8)
        return bad(e, s, NULL, "impossible header size: not a safetensors file, or cut short");
    s->header_size = (size_t)header;
    s->start = mem_alloc(8 + s->header_size, 1, "a header", e);
    if (!s->start)
        return -1;
    memcpy(s->start, s->map, 8 + s->header_size);
    return parse_header(s, e);
}

int safetensors_open_in(struct safetensors *s, int at, const char *folder, const char *name,
                        struct err *e)
{
    memset(s, 0, sizeof *s);
    s->path = strdup(name);
    char *full = folder ? io_path(folder, name, e) : strdup(name);
    int fd =
        s->path && full ? io_open_regular(at, name, e) : err_memory(e, strlen(name), "a file name");
    s->file = fd < 0 ? NULL : mapped_open(fd, full, e);
    free(full);
    if (s->file && read_start(s, e) == 0)
        return 0;
    safetensors_close(s);
    return -1;
}

int safetensors_open_fd(struct safetensors *s, int fd, const char *name, struct err *e)
{
    memset(s, 0, sizeof *s);
    s->path = strdup(name);
    if (!s->path) {
        close(fd);
        return err_memory(e, strlen(name), "a file name");
    }
    s->file = mapped_open(fd, name, e);
    if (s->file && read_start(s, e) == 0)
        return 0;
    safetensors_close(s);
    return -1;
}

int safetensors_open(struct safetensors *s, int at, const char *name, struct err *e)
{
    return safetensors_open_in(s, at, NULL, name, e);
}

static void drop_copies(struct safetensors *s)
{
    for (size_t i = 0; i < s->n; i++) {
        free(s->entry[i].copy);
        s->entry[i].copy = NULL;
    }
}

void safetensors_forget(struct safetensors *s)
{
    drop_copies(s);
    mapped_settle(s->file);
}

void safetensors_close(struct safetensors *s)
{
    drop_copies(s);
    mapped_close(s->file);
    for (size_t i = 0; i < s->n; i++)
        free(s->entry[i].name);
    free(s->entry);
    free(s->by_name);
    free(s->start);
    free(s->path);
    json_decref(s->metadata);
    memset(s, 0, sizeof *s);
}

int safetensors_align(const struct safetensors *s, const struct safetensors_entry *entry,
                      struct err *e)
{
    struct safetensors_entry *t = &s->entry[entry - s->entry];
    const unsigned char *data = safetensors_data(s, t);
    assert(t->known);
    if ((uintptr_t)data % dtype_size(t->dtype) == 0)
        return 0;
    t->copy = mem_alloc(t->bytes + 1, 1, "a tensor that is not aligned in its file", e);
    if (!t->copy)
        return -1;
    memcpy(t->copy, data, t->bytes);
    return 0;
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
