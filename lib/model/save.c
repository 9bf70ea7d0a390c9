// SPDX-License-Identifier: MIT
// Writing model directories: the same layout that was read, byte for byte where values are the
// same.
#include "model/model.h"
#include "base/hash.h"
#include "base/io.h"
#include "base/json.h"
#include "base/rng.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { CHUNK = 1 << 18 }; // values converted at a time

static int find_dtype(const char *save_dtype, enum dtype *out, struct err *e)
{
    static const char *const names[] = {"fp32", "fp16", "bf16"};
    static const enum dtype types[] = {DTYPE_F32, DTYPE_F16, DTYPE_BF16};
    for (int i = 0; i < 3; i++)
        if (!strcmp(names[i], save_dtype)) {
            *out = types[i];
            return 0;
        }
    return err_set(e, STATUS_USAGE, "'%s' is not one of fp32, fp16, bf16", save_dtype);
}

static const struct parameter *parameter_of(const struct model *m,
                                            const struct safetensors_entry *entry)
{
    for (size_t i = 0; i < m->n_parameters; i++)
        if (m->parameter[i].entry == entry)
            return &m->parameter[i];
    return NULL;
}

// `values` fp32 numbers as `type`.
static int write_values(int fd, const float *from, size_t values, enum dtype type, const char *name,
                        struct err *e)
{
    if (type == DTYPE_F32)
        return io_write(fd, from, values * sizeof *from, name, e);
    void *part = malloc(CHUNK * dtype_size(type));
    if (!part)
        return err_memory(e, CHUNK * dtype_size(type), "a buffer");
    int result = 0;
    for (size_t at = 0; at < values && result == 0; at += CHUNK) {
        size_t n = values - at < CHUNK ? values - at : CHUNK;
        dtype_from_f32(part, from + at, type, n);
        result = io_write(fd, part, n * dtype_size(type), name, e);
    }
    free(part);
    return result;
}

static int write_tensor(const struct model *m, int fd, const struct safetensors *s,
                        const struct safetensors_entry *from, enum dtype type, struct err *e)
{
    const struct parameter *p = parameter_of(m, from);
    if (p && m->master)
        return write_values(fd, m->master + p->offset, p->rows * p->cols, type, s->path, e);
    if (!from->known || from->dtype == type)
        return io_write(fd, safetensors_data(s, from), from->bytes, s->path, e);
    size_t values = from->bytes / dtype_size(from->dtype);
    float *wide = mem_alloc(values, sizeof *wide, "a tensor", e);
    if (!wide)
        return -1;
    dtype_to_f32(wide, safetensors_data(s, from), from->dtype, values);
    int result = write_values(fd, wide, values, type, s->path, e);
    free(wide);
    return result;
}

static int write_header(int fd, const char *header, size_t size, const char *name, struct err *e)
{
    unsigned char prefix[8];
    for (int i = 0; i < 8; i++)
        prefix[i] = (unsigned char)((uint64_t)size >> (8 * i));
    if (io_write(fd, prefix, 8, name, e) < 0)
        return -1;
    return io_write(fd, header, size, name, e);
}

// The shard as it was read, with new values: header, gaps and order are kept.
static int write_shard_same(const struct model *m, int fd, const struct safetensors *s,
                            struct err *e)
{
    size_t data = 8 + s->header_size, at = 0;
    int result = io_write(fd, s->map, data, s->path, e);
    for (size_t i = 0; i < s->n && result == 0; i++) {
        const struct safetensors_entry *t = &s->entry[i];
        if (t->offset > at)
            result = io_write(fd, s->map + data + at, t->offset - at, s->path, e);
        if (result == 0)
            result = write_tensor(m, fd, s, t, t->dtype, e);
        at = t->offset + t->bytes;
    }
    if (result == 0 && s->size - data > at)
        result = io_write(fd, s->map + data + at, s->size - data - at, s->path, e);
    return result;
}

static int write_shard_as(const struct model *m, int fd, const struct safetensors *s,
                          enum dtype type, struct err *e)
{
    struct safetensors_entry *entry = mem_alloc(s->n, sizeof *entry, "tensor entries", e);
    if (!entry)
        return -1;
    for (size_t i = 0; i < s->n; i++) {
        entry[i] = s->entry[i];
        if (!entry[i].known)
            continue;
        entry[i].bytes = entry[i].bytes / dtype_size(entry[i].dtype) * dtype_size(type);
        entry[i].dtype = type;
        snprintf(entry[i].type, sizeof entry[i].type, "%s", dtype_name(type));
    }
    size_t size;
    char *header = safetensors_header(entry, s->n, s->metadata, &size, e);
    int result = header ? write_header(fd, header, size, s->path, e) : -1;
    for (size_t i = 0; i < s->n && result == 0; i++)
        result = write_tensor(m, fd, s, &s->entry[i], entry[i].dtype, e);
    free(header);
    free(entry);
    return result;
}

static int write_shard(const struct model *m, int to, size_t i, const enum dtype *type,
                       struct err *e)
{
    const char *name = m->shard_name[i];
    int fd = openat(to, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (fd < 0)
        return err_errno(e, name);
    int result = type ? write_shard_as(m, fd, &m->shard[i], *type, e)
                      : write_shard_same(m, fd, &m->shard[i], e);
    if (close(fd) < 0 && result == 0)
        result = err_errno(e, name);
    return result;
}

static int has_suffix(const char *s, const char *suffix)
{
    size_t n = strlen(s), k = strlen(suffix);
    return n >= k && !strcmp(s + n - k, suffix);
}

// Files that hold weights (which would be the old ones) or belong to a training run are not copied.
static int is_copied(const char *name)
{
    static const char *const left[] = {".safetensors", ".bin",  ".pt",   ".pth",
                                       ".h5",          ".gguf", ".onnx", ".msgpack"};
    for (size_t i = 0; i < sizeof left / sizeof *left; i++)
        if (has_suffix(name, left[i]))
            return 0;
    return strcmp(name, "densepath.json") != 0;
}

static int copy_files(int from, int to, struct err *e)
{
    int fd = openat(from, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *directory = fd < 0 ? NULL : fdopendir(fd);
    if (!directory) {
        err_errno(e, "model directory");
        if (fd >= 0)
            close(fd);
        return -1;
    }
    int result = 0;
    struct dirent *entry;
    while (result == 0 && (entry = readdir(directory))) {
        struct stat st;
        if (fstatat(from, entry->d_name, &st, 0) == 0 && S_ISREG(st.st_mode) &&
            is_copied(entry->d_name))
            result = io_copy_file(from, entry->d_name, to, entry->d_name, e);
    }
    closedir(directory);
    return result;
}

// config.json with another dtype.
static int rewrite_config(int to, enum dtype type, struct err *e)
{
    static const char *const torch_names[] = {"float32", "float16", "bfloat16", "float64"};
    json_t *config = json_parse_file(to, "config.json", 16 << 20, e);
    if (!config)
        return -1;
    const char *key = json_object_get(config, "dtype") ? "dtype" : "torch_dtype";
    json_object_set_new(config, key, json_string(torch_names[type]));
    char *text = json_dumps(config, JSON_INDENT(2));
    json_decref(config);
    if (!text)
        return err_memory(e, 0, "config.json");
    int result = io_write_file(to, "config.json", text, strlen(text), e);
    free(text);
    return result;
}

int model_save(const struct model *m, int to, const char *save_dtype, struct err *e)
{
    enum dtype type;
    if (save_dtype && find_dtype(save_dtype, &type, e) < 0)
        return -1;
    if (copy_files(m->directory, to, e) < 0)
        return -1;
    for (size_t i = 0; i < m->n_shards; i++)
        if (write_shard(m, to, i, save_dtype ? &type : NULL, e) < 0)
            return -1;
    return save_dtype ? rewrite_config(to, type, e) : 0;
}

struct plan {
    struct safetensors_entry *entry;
    enum role *role;
    size_t n;
};

static int plan_tensor(struct plan *plan, const struct model_config *c, const struct family *f,
                       enum role role, int layer, enum dtype type, struct err *e)
{
    struct safetensors_entry *t = &plan->entry[plan->n];
    size_t rows, cols;
    int n_dims = family_shape(c, role, &rows, &cols);
    if (!n_dims)
        return 0;
    char name[256];
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
    snprintf(name, sizeof name, f->name[role], layer);
#pragma GCC diagnostic pop
    t->name = strdup(name);
    if (!t->name)
        return err_memory(e, sizeof name, "a name");
    snprintf(t->type, sizeof t->type, "%s", dtype_name(type));
    t->n_dims = n_dims;
    t->dim[0] = n_dims == 1 ? cols : rows;
    t->dim[1] = cols;
    t->bytes = rows * cols * dtype_size(type);
    plan->role[plan->n++] = role;
    return 0;
}

static int fill_tensor(int fd, const struct safetensors_entry *t, enum role role,
                       const struct model_config *c, uint64_t seed, enum dtype type, struct err *e)
{
    size_t values = t->bytes / dtype_size(type);
    float *data = mem_alloc(values, sizeof *data, "a tensor", e);
    if (!data)
        return -1;
    int norm = role == ROLE_FINAL_NORM || role == ROLE_ATTENTION_NORM || role == ROLE_MLP_NORM;
    struct rng rng;
    rng_init(&rng, seed, RNG_INIT, hash_string(t->name), 0);
    for (size_t i = 0; i < values; i++)
        data[i] = norm ? 1 : t->n_dims > 1 ? (float)(c->initializer_range * rng_normal(&rng)) : 0;
    int result = write_values(fd, data, values, type, "model.safetensors", e);
    free(data);
    return result;
}

static int write_init(const struct plan *plan, const struct model_config *c, int to, uint64_t seed,
                      enum dtype type, struct err *e)
{
    static const char name[] = "model.safetensors";
    json_t *metadata = json_pack("{s:s}", "format", "pt");
    size_t size;
    char *header = safetensors_header(plan->entry, plan->n, metadata, &size, e);
    json_decref(metadata);
    if (!header)
        return -1;
    int fd = openat(to, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    int result = fd < 0 ? err_errno(e, name) : write_header(fd, header, size, name, e);
    for (size_t i = 0; i < plan->n && result == 0; i++)
        result = fill_tensor(fd, &plan->entry[i], plan->role[i], c, seed, type, e);
    if (fd >= 0 && close(fd) < 0 && result == 0)
        result = err_errno(e, name);
    free(header);
    return result;
}

int model_init(const char *config_directory, int to, uint64_t seed, const char *save_dtype,
               struct err *e)
{
    struct model_config c;
    enum dtype type;
    if (save_dtype && find_dtype(save_dtype, &type, e) < 0)
        return -1;
    int from = open(config_directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (from < 0)
        return err_errno(e, config_directory);
    struct plan plan = {0};
    int result = config_read(&c, from, e);
    if (result < 0)
        err_prefix(e, "%s", config_directory);
    if (result == 0) {
        if (!save_dtype)
            type = c.dtype;
        size_t most = ROLE_LAYER_FIRST + c.layers * (ROLE_COUNT - ROLE_LAYER_FIRST);
        plan.entry = mem_alloc(most, sizeof *plan.entry, "tensor entries", e);
        plan.role = mem_alloc(most, sizeof *plan.role, "tensor entries", e);
        result = plan.entry && plan.role ? copy_files(from, to, e) : -1;
    }
    const struct family *f = result == 0 ? family_find(c.model_type) : NULL;
    for (int role = 0; role < ROLE_LAYER_FIRST && result == 0; role++)
        result = plan_tensor(&plan, &c, f, role, -1, type, e);
    for (size_t layer = 0; result == 0 && layer < c.layers; layer++)
        for (int role = ROLE_LAYER_FIRST; role < ROLE_COUNT && result == 0; role++)
            result = plan_tensor(&plan, &c, f, role, (int)layer, type, e);
    if (result == 0)
        result = write_init(&plan, &c, to, seed, type, e);
    if (result == 0 && save_dtype)
        result = rewrite_config(to, type, e);
    for (size_t i = 0; i < plan.n; i++)
        free(plan.entry[i].name);
    free(plan.entry);
    free(plan.role);
    close(from);
    return result;
}
