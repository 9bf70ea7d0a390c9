// SPDX-License-Identifier: MIT
#include "gguf/file.h"
#include "base/file_kind.h"
#include "base/io.h"
#include "base/memory.h"

#include <fcntl.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { VALUE_DEPTH = 4, TENSORS_MAX = 1 << 20, KEYS_MAX = 1 << 20 };

// ---- where the file is read ----

struct cursor {
    const unsigned char *data;
    size_t at, size;
};

static int bad(struct err *e, const struct gguf *g, const char *what)
{
    return err_set(e, STATUS_FAILED, "%s: %s", g->path, what);
}

static int bad_of(struct err *e, const struct gguf *g, const char *kind, const char *name,
                  const char *what)
{
    return err_set(e, STATUS_FAILED, "%s: %s '%.100s': %s", g->path, kind, name, what);
}

static int cut(struct err *e, const struct gguf *g)
{
    return bad(e, g, "the file is cut short, or no sound GGUF file");
}

static int has(const struct cursor *c, uint64_t bytes)
{
    return bytes <= c->size - c->at;
}

static uint64_t little(const unsigned char *from, size_t bytes)
{
    uint64_t x = 0;
    for (size_t i = bytes; i-- > 0;)
        x = x << 8 | from[i];
    return x;
}

static int take(struct cursor *c, size_t bytes, uint64_t *x)
{
    if (!has(c, bytes))
        return 0;
    *x = little(c->data + c->at, bytes);
    c->at += bytes;
    return 1;
}

static int take_text(struct cursor *c, struct gguf_text *text)
{
    uint64_t n;
    if (!take(c, 8, &n) || !has(c, n))
        return 0;
    *text = (struct gguf_text){(const char *)c->data + c->at, (size_t)n};
    c->at += (size_t)n;
    return 1;
}

// A name from the heap; NULL: *e.
static char *take_name(const struct gguf *g, struct cursor *c, size_t most, struct err *e)
{
    struct gguf_text text;
    if (!take_text(c, &text)) {
        cut(e, g);
        return NULL;
    }
    char *name = text.n && text.n <= most ? strndup(text.s, text.n) : NULL;
    if (!text.n || text.n > most)
        bad(e, g, "a name is empty or too long");
    else if (!name)
        err_memory(e, text.n, "a name");
    else if (strlen(name) == text.n)
        return name;
    else
        bad(e, g, "a name holds a NUL");
    free(name);
    return NULL;
}

// ---- values ----

static size_t kind_bytes(uint64_t kind)
{
    static const size_t bytes[GGUF_KINDS] = {
        [KIND_U8] = 1,  [KIND_I8] = 1,  [KIND_U16] = 2, [KIND_I16] = 2,
        [KIND_U32] = 4, [KIND_I32] = 4, [KIND_F32] = 4, [KIND_BOOL] = 1,
        [KIND_U64] = 8, [KIND_I64] = 8, [KIND_F64] = 8};
    return kind < GGUF_KINDS ? bytes[kind] : 0;
}

// Past n items of a kind. 0: they are not there, or no kind has that number.
static int skip_items(struct cursor *c, uint64_t kind, uint64_t n, int depth)
{
    struct gguf_text text;
    uint64_t item, m;
    size_t bytes = kind_bytes(kind);
    if (bytes) {
        if (n > (c->size - c->at) / bytes)
            return 0;
        c->at += (size_t)n * bytes;
        return 1;
    }
    if (kind != KIND_STRING && (kind != KIND_ARRAY || depth == VALUE_DEPTH))
        return 0;
    for (uint64_t i = 0; i < n; i++)
        if (kind == KIND_STRING
                ? !take_text(c, &text)
                : !take(c, 4, &item) || !take(c, 8, &m) || !skip_items(c, item, m, depth + 1))
            return 0;
    return 1;
}

static int take_value(struct gguf *g, struct cursor *c, struct err *e)
{
    uint64_t kind, item = 0, n = 1;
    char *key = take_name(g, c, GGUF_KEY_MAX, e);
    if (!key)
        return -1;
    if (MEM_GROW(g->value, g->values_capacity, g->n_values + 1, "keys", e) < 0) {
        free(key);
        return -1;
    }
    struct gguf_value *v = &g->value[g->n_values++];
    *v = (struct gguf_value){.key = key};
    if (!take(c, 4, &kind) || (kind == KIND_ARRAY && (!take(c, 4, &item) || !take(c, 8, &n))))
        return cut(e, g);
    if (kind >= GGUF_KINDS || item >= GGUF_KINDS)
        return bad_of(e, g, "key", key, "its value is of no kind that GGUF has");
    v->kind = (enum gguf_kind)kind;
    v->item = (enum gguf_kind)item;
    v->n = n;
    v->data = c->data + c->at;
    size_t begin = c->at;
    if (!skip_items(c, kind == KIND_ARRAY ? item : kind, n, 0))
        return bad_of(e, g, "key", key, "its value is cut short, or not sound");
    v->bytes = c->at - begin;
    return 0;
}

// ---- tensors ----

static int take_dims(const struct gguf *g, struct gguf_tensor *t, struct cursor *c, struct err *e)
{
    uint64_t n;
    if (!take(c, 4, &n))
        return cut(e, g);
    if (n < 1 || n > GGUF_DIMS)
        return bad_of(e, g, "tensor", t->name, "it has not between 1 and 4 dimensions");
    t->n_dims = (int)n;
    t->values = 1;
    for (int i = 0; i < GGUF_DIMS; i++) {
        uint64_t dim = 1;
        if (i < t->n_dims && !take(c, 8, &dim))
            return cut(e, g);
        if (!dim || dim > SIZE_MAX / 16 / t->values)
            return bad_of(e, g, "tensor", t->name, "its shape is impossible");
        t->dim[i] = (size_t)dim;
        t->values *= (size_t)dim;
    }
    return 0;
}

static int take_tensor(struct gguf *g, struct cursor *c, struct err *e)
{
    uint64_t type, offset;
    char *name = take_name(g, c, GGUF_NAME_MAX, e);
    if (!name)
        return -1;
    if (MEM_GROW(g->tensor, g->tensors_capacity, g->n_tensors + 1, "tensors", e) < 0) {
        free(name);
        return -1;
    }
    struct gguf_tensor *t = &g->tensor[g->n_tensors++];
    *t = (struct gguf_tensor){.name = name};
    if (take_dims(g, t, c, e) < 0)
        return -1;
    if (!take(c, 4, &type) || !take(c, 8, &offset))
        return cut(e, g);
    t->type = block_type((uint32_t)type);
    if (!t->type)
        return err_set(e, STATUS_FAILED, "%s: tensor '%s': its type %llu is not known", g->path,
                       name, (unsigned long long)type);
    if (t->dim[0] % t->type->values)
        return bad_of(e, g, "tensor", name, "its rows are no whole blocks of its type");
    if (offset > c->size)
        return bad_of(e, g, "tensor", name, "its data are beyond the end of the file");
    t->offset = (size_t)offset;
    t->bytes = t->values / t->type->values * t->type->bytes;
    return 0;
}

static int by_offset(const void *a, const void *b)
{
    const struct gguf_tensor *x = a, *y = b;
    return (x->offset > y->offset) - (x->offset < y->offset);
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct gguf_tensor *)a)->name, ((const struct gguf_tensor *)b)->name);
}

static int by_key(const void *a, const void *b)
{
    return strcmp(((const struct gguf_value *)a)->key, ((const struct gguf_value *)b)->key);
}

// Offsets become those in the file. `end`: where the last tensor's description ends.
static int place_tensors(struct gguf *g, size_t end, struct err *e)
{
    size_t size = g->file->size, at;
    if (__builtin_add_overflow(end, g->alignment - 1, &at))
        return cut(e, g);
    at -= at % g->alignment;
    if (g->n_tensors)
        qsort(g->tensor, g->n_tensors, sizeof *g->tensor, by_offset);
    for (size_t i = 0, free_from = at; i < g->n_tensors; i++) {
        struct gguf_tensor *t = &g->tensor[i];
        if (t->offset % g->alignment)
            return bad_of(e, g, "tensor", t->name, "its data are not aligned");
        if (at > size || t->offset > size - at || t->bytes > size - at - t->offset)
            return bad_of(e, g, "tensor", t->name, "its data are beyond the end of the file");
        t->offset += at;
        if (t->offset < free_from)
            return bad_of(e, g, "tensor", t->name, "its data overlap those of another tensor");
        free_from = t->offset + t->bytes;
    }
    return 0;
}

static int sort_names(struct gguf *g, struct err *e)
{
    if (g->n_tensors)
        qsort(g->tensor, g->n_tensors, sizeof *g->tensor, by_name);
    for (size_t i = 1; i < g->n_tensors; i++)
        if (!strcmp(g->tensor[i - 1].name, g->tensor[i].name))
            return bad_of(e, g, "tensor", g->tensor[i].name, "it stands twice");
    return 0;
}

static int sort_keys(struct gguf *g, struct err *e)
{
    if (g->n_values)
        qsort(g->value, g->n_values, sizeof *g->value, by_key);
    for (size_t i = 1; i < g->n_values; i++)
        if (!strcmp(g->value[i - 1].key, g->value[i].key))
            return bad_of(e, g, "key", g->value[i].key, "it stands twice");
    return 0;
}

// ---- the file ----

static int read_alignment(struct gguf *g, struct err *e)
{
    int64_t alignment = GGUF_ALIGNMENT;
    if (gguf_get_int(g, "general.alignment", &alignment, e) < 0)
        return -1;
    if (alignment < 8 || alignment > 1 << 20 || (alignment & (alignment - 1)))
        return bad(e, g, "key 'general.alignment': it is no power of two from 8 to 1048576");
    g->alignment = (size_t)alignment;
    return 0;
}

static int check_version(struct gguf *g, uint64_t version, struct err *e)
{
    if (version && !(version & 0xffff))
        return bad(e, g, "a big-endian GGUF file: only little-endian ones are read");
    if (version != 2 && version != 3)
        return err_set(e, STATUS_FAILED, "%s: GGUF version %llu: only 2 and 3 are read", g->path,
                       (unsigned long long)version);
    g->version = (uint32_t)version;
    return 0;
}

static int read_file(struct gguf *g, struct err *e)
{
    struct cursor c = {g->file->data, 0, g->file->size};
    uint64_t version, tensors, keys;
    if (file_kind_fetched(c.data, c.size, g->path, e) < 0)
        return -1;
    if (!has(&c, 4) || memcmp(c.data, "GGUF", 4) != 0)
        return bad(e, g, "it does not begin as a GGUF file");
    c.at = 4;
    if (!take(&c, 4, &version))
        return cut(e, g);
    if (check_version(g, version, e) < 0)
        return -1;
    if (!take(&c, 8, &tensors) || !take(&c, 8, &keys))
        return cut(e, g);
    if (tensors > TENSORS_MAX || keys > KEYS_MAX)
        return bad(e, g, "impossible numbers of tensors and keys");
    for (uint64_t i = 0; i < keys; i++)
        if (take_value(g, &c, e) < 0)
            return -1;
    if (sort_keys(g, e) < 0 || read_alignment(g, e) < 0)
        return -1;
    for (uint64_t i = 0; i < tensors; i++)
        if (take_tensor(g, &c, e) < 0)
            return -1;
    return place_tensors(g, c.at, e) < 0 ? -1 : sort_names(g, e);
}

int gguf_open(struct gguf *g, const char *path, struct err *e)
{
    memset(g, 0, sizeof *g);
    g->path = strdup(path);
    int fd = g->path ? io_open_regular(AT_FDCWD, path, e) : err_memory(e, strlen(path), "a name");
    g->file = fd < 0 ? NULL : mapped_open(fd, path, e);
    if (g->file && read_file(g, e) == 0)
        return 0;
    gguf_close(g);
    return -1;
}

void gguf_close(struct gguf *g)
{
    for (size_t i = 0; i < g->n_values; i++)
        free(g->value[i].key);
    for (size_t i = 0; i < g->n_tensors; i++)
        free(g->tensor[i].name);
    free(g->value);
    free(g->tensor);
    mapped_close(g->file);
    free(g->path);
    memset(g, 0, sizeof *g);
}

// ---- what it holds ----

const struct gguf_value *gguf_find(const struct gguf *g, const char *key)
{
    const struct gguf_value wanted = {.key = (char *)key};
    return g->n_values ? bsearch(&wanted, g->value, g->n_values, sizeof wanted, by_key) : NULL;
}

const struct gguf_tensor *gguf_find_tensor(const struct gguf *g, const char *name)
{
    const struct gguf_tensor wanted = {.name = (char *)name};
    return g->n_tensors ? bsearch(&wanted, g->tensor, g->n_tensors, sizeof wanted, by_name) : NULL;
}

static double number(enum gguf_kind kind, const unsigned char *from)
{
    uint64_t x = little(from, kind_bytes(kind));
    uint32_t low = (uint32_t)x;
    float single;
    double wide;
    memcpy(&single, &low, sizeof single);
    memcpy(&wide, &x, sizeof wide);
    switch (kind) {
    case KIND_I8:
        return (int8_t)x;
    case KIND_I16:
        return (int16_t)x;
    case KIND_I32:
        return (int32_t)x;
    case KIND_I64:
        return (double)(int64_t)x;
    case KIND_F32:
        return single;
    case KIND_F64:
        return wide;
    default:
        return (double)x;
    }
}

static int is_number(enum gguf_kind kind)
{
    return kind_bytes(kind) && kind != KIND_BOOL;
}

static int other_kind(struct err *e, const struct gguf *g, const char *key, const char *wanted)
{
    return err_set(e, STATUS_FAILED, "%s: key '%s' is not %s", g->path, key, wanted);
}

int gguf_get_int(const struct gguf *g, const char *key, int64_t *value, struct err *e)
{
    const struct gguf_value *v = gguf_find(g, key);
    if (!v)
        return 0;
    if (!is_number(v->kind) || v->kind == KIND_F32 || v->kind == KIND_F64)
        return other_kind(e, g, key, "a whole number");
    if (v->kind == KIND_U64 && little(v->data, 8) > INT64_MAX)
        return other_kind(e, g, key, "a number of sensible size");
    *value = v->kind == KIND_U64 || v->kind == KIND_I64 ? (int64_t)little(v->data, 8)
                                                        : (int64_t)number(v->kind, v->data);
    return 1;
}

int gguf_get_real(const struct gguf *g, const char *key, double *value, struct err *e)
{
    const struct gguf_value *v = gguf_find(g, key);
    if (!v)
        return 0;
    double x = is_number(v->kind) ? number(v->kind, v->data) : NAN;
    if (!isfinite(x))
        return other_kind(e, g, key, "a finite number");
    *value = x;
    return 1;
}

int gguf_get_bool(const struct gguf *g, const char *key, int *value, struct err *e)
{
    const struct gguf_value *v = gguf_find(g, key);
    if (!v)
        return 0;
    if (v->kind != KIND_BOOL || *v->data > 1)
        return other_kind(e, g, key, "true or false");
    *value = *v->data;
    return 1;
}

int gguf_get_text(const struct gguf *g, const char *key, struct gguf_text *value, struct err *e)
{
    const struct gguf_value *v = gguf_find(g, key);
    if (!v)
        return 0;
    struct cursor c = {v->data, 0, v->bytes};
    if (v->kind != KIND_STRING)
        return other_kind(e, g, key, "a text");
    return take_text(&c, value) ? 1 : cut(e, g);
}

int gguf_get_texts(const struct gguf *g, const char *key, struct gguf_text **texts, size_t *n,
                   struct err *e)
{
    const struct gguf_value *v = gguf_find(g, key);
    if (!v)
        return 0;
    struct cursor c = {v->data, 0, v->bytes};
    if (v->kind != KIND_ARRAY || v->item != KIND_STRING)
        return other_kind(e, g, key, "a list of texts");
    *n = (size_t)v->n; // each takes 8 bytes of the file
    *texts = mem_alloc(*n + 1, sizeof **texts, key, e);
    if (!*texts)
        return -1;
    for (size_t i = 0; i < *n; i++)
        if (!take_text(&c, &(*texts)[i])) {
            free(*texts);
            *texts = NULL;
            return cut(e, g);
        }
    return 1;
}

int gguf_get_reals(const struct gguf *g, const char *key, double **numbers, size_t *n,
                   struct err *e)
{
    const struct gguf_value *v = gguf_find(g, key);
    if (!v)
        return 0;
    if (v->kind != KIND_ARRAY || !kind_bytes(v->item))
        return other_kind(e, g, key, "a list of numbers");
    *n = (size_t)v->n;
    *numbers = mem_alloc(*n + 1, sizeof **numbers, key, e);
    for (size_t i = 0; *numbers && i < *n; i++)
        (*numbers)[i] = number(v->item, v->data + i * kind_bytes(v->item));
    return *numbers ? 1 : -1;
}

int gguf_unpack(const struct gguf *g, const struct gguf_tensor *t, size_t first, size_t n,
                float *out, struct err *e)
{
    char list[200];
    if (!t->type->unpack)
        return err_set(e, STATUS_FAILED, "%s: tensor '%s' is of type %s, which is not read: %s are",
                       g->path, t->name, t->type->name, block_list(list, sizeof list));
    t->type->unpack(out, g->file->data + t->offset + first / t->type->values * t->type->bytes, n);
    return 0;
}
