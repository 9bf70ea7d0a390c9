// SPDX-License-Identifier: MIT
#include "model/model.h"
#include "model/directory.h"
#include "base/hash.h"
#include "base/io.h"
#include "base/json.h"
#include "base/model_folder.h"
#include "base/no_model.h"
#include "base/signals.h"
#include "base/thread.h"
#include "model/model_bind.h"
#include "ops/host.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { INDEX_LIMIT = 16 << 20, SHARDS_MAX = 4096 };
static const char index_name[] = "model.safetensors.index.json";
static const char single_name[] = "model.safetensors";
static const char config_name[] = "config.json";

static int add_shard(struct model *m, const char *name, struct err *e)
{
    for (size_t i = 0; i < m->n_shards; i++)
        if (!strcmp(m->shard_name[i], name))
            return 0;
    if (strchr(name, '/') || m->n_shards == SHARDS_MAX)
        return err_set(e, STATUS_FAILED, "%s: impossible shard name '%.100s'", index_name, name);
    void *shards = realloc(m->shard, (m->n_shards + 1) * sizeof *m->shard);
    if (shards)
        m->shard = shards;
    void *names = realloc(m->shard_name, (m->n_shards + 1) * sizeof *m->shard_name);
    if (names)
        m->shard_name = names;
    char *copy = strdup(name);
    if (!shards || !names || !copy) {
        free(copy);
        return err_memory(e, 0, "shards");
    }
    m->shard_name[m->n_shards] = copy;
    memset(&m->shard[m->n_shards], 0, sizeof *m->shard);
    return safetensors_open_in(&m->shard[m->n_shards++], m->directory, m->path, name, e);
}

static size_t find_shard(const struct model *m, const char *name)
{
    size_t i = 0;
    while (i < m->n_shards && strcmp(m->shard_name[i], name) != 0)
        i++;
    return i;
}

// Opens the files that the index names, and finds each of its tensors where it says.
static int open_indexed(struct model *m, const json_t *map, struct err *e)
{
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)map, key, value)
    {
        if (!json_is_string(value))
            return err_set(e, STATUS_FAILED, "%s: tensor `%.100s`: no file name", index_name, key);
        const char *file = json_string_value(value);
        if (add_shard(m, file, e) < 0)
            return -1;
        if (!safetensors_find(&m->shard[find_shard(m, file)], key))
            return err_set(e, STATUS_FAILED, "%s: tensor `%.100s`: it is not in %s", index_name,
                           key, file);
    }
    return 0;
}

// The index knows every tensor of the files; where two files have one, it decides.
static int check_indexed(struct model *m, const json_t *map, struct err *e)
{
    for (size_t i = 0; i < m->n_shards; i++)
        for (size_t k = 0; k < m->shard[i].n; k++) {
            struct safetensors_entry *t = &m->shard[i].entry[k];
            const char *file = json_string_value(json_object_get(map, t->name));
            if (!file)
                return err_set(e, STATUS_FAILED, "%s: tensor `%.100s` of %s is missing", index_name,
                               t->name, m->shard_name[i]);
            t->elsewhere = strcmp(file, m->shard_name[i]) != 0;
        }
    return 0;
}

static int missing(const struct model *m, const char *name, struct err *e)
{
    err_set(e, STATUS_FAILED, "%s: %s", name, strerror(ENOENT));
    return no_model_explain(m->path, e);
}

static int open_shards(struct model *m, struct err *e)
{
    int single = io_look(m->directory, single_name, e);
    int indexed = single < 0 ? -1 : io_look(m->directory, index_name, e);
    if (indexed < 0)
        return -1;
    if (single)
        return add_shard(m, single_name, e);
    if (!indexed)
        return missing(m, single_name, e);
    json_t *index = json_parse_file(m->directory, index_name, INDEX_LIMIT, e);
    if (!index)
        return -1;
    const json_t *map = json_object_get(index, "weight_map");
    int result = json_is_object(map)
                     ? 0
                     : err_set(e, STATUS_FAILED, "%s: key `weight_map` is missing", index_name);
    if (result == 0)
        result = open_indexed(m, map, e);
    if (result == 0)
        result = check_indexed(m, map, e);
    json_decref(index);
    return result;
}

// config.json as it is now. 1, or 0 when there is none any more.
static int mark_config(const struct model *m, struct file_mark *mark, struct err *e)
{
    if (!io_exists(m->directory, config_name))
        return 0;
    int fd = io_open_regular(m->directory, config_name, e);
    int result = fd < 0 ? -1 : file_mark_take(mark, fd, config_name, e);
    if (fd >= 0)
        close(fd);
    return result < 0 ? -1 : 1;
}

// Its bytes, which are part of the fingerprint.
static int read_config_text(struct model *m, struct err *e)
{
    buffer_init(&m->config_text, 16 << 20);
    int fd = io_open_regular(m->directory, config_name, e);
    int result = fd < 0 ? -1 : file_mark_take(&m->config_mark, fd, config_name, e);
    if (result == 0)
        result = io_read_fd(fd, config_name, &m->config_text, e);
    if (fd >= 0)
        close(fd);
    return result;
}

static int check_head(const struct model *m, enum head_kind wanted, struct err *e)
{
    if (wanted == HEAD_KINDS || m->config.head == wanted)
        return 0;
    return err_set(
        e, STATUS_FAILED,
        wanted == HEAD_VOCABULARY
            ? "this is a reward model (%s), but a language model is needed"
            : "this is a language model (%s), but a reward model is needed: reward-train "
              "makes one",
        family_architecture(&m->config, m->config.head));
}

// Reads config.json, and opens the weights that belong to it: those of a directory that somebody is
// copying a model into are not both of one model.
static int read_files(struct model *m, enum head_kind wanted, struct err *e)
{
    struct file_mark now;
    if (model_folder_note(m->directory, e) < 0)
        return -1;
    int there = io_look(m->directory, config_name, e);
    if (there <= 0)
        return there < 0 ? -1 : missing(m, config_name, e);
    if (read_config_text(m, e) < 0 || config_read(&m->config, m->directory, e) < 0)
        return -1;
    m->family = m->config.family;
    if (check_head(m, wanted, e) < 0 || open_shards(m, e) < 0)
        return -1;
    there = mark_config(m, &now, e);
    if (there > 0 && !file_mark_same(&now, &m->config_mark))
        return file_mark_changed(config_name, e);
    return there < 0 ? -1 : 0;
}

// wanted: HEAD_KINDS takes any.
static struct model *open_with_head(int directory, const char *path, enum head_kind wanted,
                                    struct err *e)
{
    struct model *m = mem_alloc(1, sizeof *m, "a model", e);
    if (!m) {
        close(directory);
        return NULL;
    }
    m->directory = directory;
    m->device = &device_host;
    m->path = strdup(path);
    int result = m->path ? 0 : err_memory(e, strlen(path), "a path");
    if (result == 0)
        result = read_files(m, wanted, e);
    if (result == 0)
        result = bind_parameters(m, e);
    if (result == 0)
        return m;
    err_prefix(e, "%s", path);
    model_close(m);
    return NULL;
}

// PATH is not there: what is, a run that makes it and was stopped or is at work, or something else.
static void explain_absent(const char *path, struct err *e)
{
    struct err ignored;
    char *partial = directory_beside(path, directory_partial, &ignored);
    char *marker = partial ? io_path(partial, directory_marker, &ignored) : NULL;
    size_t n = strlen(e->text);
    if (marker && io_exists(AT_FDCWD, marker))
        snprintf(e->text + n, sizeof e->text - n,
                 ": the run that makes it has not ended: it is in %s (--resume goes on with it)",
                 partial);
    else
        no_model_explain(path, e);
    free(marker);
    free(partial);
}

static struct model *open_path(const char *path, enum head_kind wanted, struct err *e)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) {
        err_errno(e, path);
        explain_absent(path, e);
        return NULL;
    }
    return open_with_head(fd, path, wanted, e);
}

struct model *model_open_at(int directory, const char *path, struct err *e)
{
    return open_with_head(directory, path, HEAD_VOCABULARY, e);
}

struct model *model_open(const char *path, struct err *e)
{
    return open_path(path, HEAD_VOCABULARY, e);
}

struct model *model_open_reward(const char *path, struct err *e)
{
    return open_path(path, HEAD_REWARD, e);
}

struct model *model_open_any(const char *path, struct err *e)
{
    return open_path(path, HEAD_KINDS, e);
}

struct model *model_open_weighted(const char *text, const struct named_form *form, double *number,
                                  struct err *e)
{
    struct named_number n;
    if (named_number(&n, text, form, e) < 0)
        return NULL;
    char *path = strndup(text, n.size);
    if (!path) {
        err_memory(e, n.size, "options");
        return NULL;
    }
    *number = n.number;
    struct model *m = model_open(path, e);
    free(path);
    return m;
}

int model_same_vocabulary(const struct model *a, const struct model *b, struct err *e)
{
    if (a->config.vocab == b->config.vocab)
        return 0;
    return err_set(e, STATUS_FAILED, "%s and %s have different vocabularies", a->path, b->path);
}

static size_t key_bias_bytes(const struct model *m)
{
    return m->config.heads * m->key_bias_positions * sizeof(float);
}

static void free_memory(struct model *m)
{
    const struct memory *memory = m->device->memory;
    memory->free(m->device, m->copy, m->copy_bytes);
    model_free(m, m->master);
    model_free(m, m->gradient);
    memory->free(m->device, m->key_bias, key_bias_bytes(m));
    rope_release(&m->rope, &m->config, m->device);
}

void model_close(struct model *m)
{
    if (!m)
        return;
    free_memory(m);
    for (size_t i = 0; i < m->n_shards; i++) {
        safetensors_close(&m->shard[i]);
        free(m->shard_name[i]);
    }
    free(m->shard);
    free(m->shard_name);
    free(m->parameter);
    free(m->layer);
    free(m->head_norm);
    free(m->unused);
    free(m->path);
    config_release(&m->config);
    kept_release(&m->kept);
    buffer_release(&m->config_text);
    if (m->directory >= 0)
        close(m->directory);
    free(m);
}

static const char template_name[] = "chat_template.jinja";

int model_keep(struct model *m, struct err *e)
{
    if (m->kept.n || m->sketched)
        return 0;
    if (kept_read(&m->kept, m->directory, e) < 0)
        return err_prefix(e, "%s", m->path);
    const struct kept_file *config = kept_find(&m->kept, config_name);
    if (config && file_mark_same(&config->mark, &m->config_mark))
        return 0;
    file_mark_changed(config_name, e);
    return err_prefix(e, "%s", m->path);
}

static void free_copy(struct model *m)
{
    m->device->memory->free(m->device, m->copy, m->copy_bytes);
    m->copy = NULL;
}

// Copies the weights as they are in the files.
static int make_copy(struct model *m, struct device *d, struct err *e)
{
    m->copy_bytes = bind_copy(m, NULL);
    m->copy = d->memory->alloc(d, m->copy_bytes);
    if (!m->copy)
        return err_memory(e, m->copy_bytes, "weights");
    bind_copy(m, m->copy);
    for (size_t i = 0; i < m->n_parameters; i++) {
        const struct parameter *p = &m->parameter[i];
        char *to = (char *)bind_tensor(m, p)->data;
        if (signals_check_stop(e) < 0 ||
            d->memory->put(d, to, safetensors_data(p->file, p->entry), p->entry->bytes, e) < 0)
            return -1;
    }
    return 0;
}

int model_place(struct model *m, struct device *d, struct err *e)
{
    if (d->memory->unified || m->device == d)
        return 0;
    assert(m->device == &device_host && !m->master);
    m->device = d;
    if (make_copy(m, d, e) == 0)
        return 0;
    free_copy(m);
    m->device = &device_host;
    return -1;
}

static size_t flat_bytes(const struct model *m)
{
    return m->n_flat * sizeof(float);
}

float *model_zeros(const struct model *m, const char *what, struct err *e)
{
    enum { PIECE = 1 << 28 };
    struct device *d = m->device;
    size_t bytes = flat_bytes(m);
    char *p = d->memory->alloc(d, bytes);
    if (!p)
        err_memory(e, bytes, what);
    for (size_t i = 0; p && i < bytes; i += PIECE)
        if (signals_check_stop(e) < 0 ||
            d->memory->zero(d, p + i, bytes - i < PIECE ? bytes - i : PIECE, e) < 0) {
            d->memory->free(d, p, bytes);
            return NULL;
        }
    return (float *)p;
}

void model_free(const struct model *m, float *zeros)
{
    m->device->memory->free(m->device, zeros, flat_bytes(m));
}

int model_copy(const struct model *m, float *to, const float *from, struct err *e)
{
    return m->device->memory->copy(m->device, to, from, flat_bytes(m), e);
}

// The default one of `chat_template` in tokenizer_config.json, or NULL.
static const json_t *default_template(const json_t *config)
{
    const json_t *value = json_object_get(config, "chat_template"), *item;
    size_t i;
    json_array_foreach(value, i, item)
    {
        const char *name = json_string_value(json_object_get(item, "name"));
        if (name && !strcmp(name, "default"))
            return json_object_get(item, "template");
    }
    return json_is_array(value) ? NULL : value;
}

static int has_template(const struct model *m, const json_t *source)
{
    const struct kept_file *f = kept_find(&m->kept, template_name);
    if (f)
        return f->data && f->size == json_string_length(source) &&
               !memcmp(f->data, json_string_value(source), f->size);
    f = kept_find(&m->kept, "tokenizer_config.json");
    if (!f || !f->data)
        return 0;
    json_error_t error;
    json_t *config = json_loadb(f->data, f->size, JSON_ALLOW_NUL | JSON_DECODE_INT_AS_REAL, &error);
    int same = json_equal(default_template(config), source);
    json_decref(config);
    return same;
}

int model_set_template(struct model *m, const json_t *source, struct err *e)
{
    if (has_template(m, source))
        return 0;
    int result =
        kept_set(&m->kept, template_name, json_string_value(source), json_string_length(source), e);
    return result < 0 ? -1 : 1;
}

struct widening {
    float *to;
    const char *from;
    enum dtype type;
};

static void widen_chunk(void *arg, size_t begin, size_t end, int worker)
{
    const struct widening *w = arg;
    dtype_to_f32(w->to + begin, w->from + begin * dtype_size(w->type), w->type, end - begin);
}

// n values of parameter i, from `first` on.
static void values_of_file(const struct model *m, size_t i, size_t first, size_t n, float *out)
{
    enum { GRAIN = 1 << 17 };
    const struct parameter *p = &m->parameter[i];
    enum dtype type = p->entry->dtype;
    const char *data = (const char *)safetensors_data(p->file, p->entry);
    struct widening w = {out, data + first * dtype_size(type), type};
    threads_for(n, GRAIN, widen_chunk, &w);
}

// From the files, through the host's work space where the device's memory is another.
static int fill_master(struct model *m, size_t i, struct err *e)
{
    enum { PIECE = 1 << 22 };
    const struct parameter *p = &m->parameter[i];
    struct device *d = m->device;
    struct arena_mark mark = arena_mark(&d->host);
    for (size_t at = 0; at < p->rows * p->cols; at += PIECE) {
        size_t n = p->rows * p->cols - at < PIECE ? p->rows * p->cols - at : PIECE;
        float *to = m->master + p->offset + at, *values = to;
        if (!d->memory->unified && !(values = arena_alloc(&d->host, n, sizeof *values, e)))
            return -1;
        values_of_file(m, i, at, n, values);
        if (device_send(d, to, values, n * sizeof *values, e) < 0)
            return -1;
        arena_rewind(&d->host, mark);
    }
    return 0;
}

static int fill_masters(struct model *m, struct err *e)
{
    for (size_t i = 0; i < m->n_parameters; i++) {
        if (signals_check_stop(e) < 0 || fill_master(m, i, e) < 0)
            return -1;
        mapped_let_go(m->parameter[i].file->file);
    }
    return 0;
}

int model_train(struct model *m, struct err *e)
{
    if (m->master)
        return 0;
    if (model_keep(m, e) < 0)
        return -1;
    for (size_t i = 0; i < m->n_shards; i++)
        mapped_let_go(m->shard[i].file); // what the fingerprint has read
    if (!(m->master = model_zeros(m, "weights", e)) ||
        !(m->gradient = model_zeros(m, "gradients", e)) || fill_masters(m, e) < 0)
        return -1;
    bind_masters(m);
    free_copy(m);
    for (size_t i = 0; i < m->n_shards; i++) {
        if (mapped_check(m->shard[i].file, e) < 0)
            return -1;
        safetensors_forget(&m->shard[i]);
    }
    return 0;
}

int model_clear_gradient(struct model *m, struct err *e)
{
    return m->device->memory->zero(m->device, m->gradient, flat_bytes(m), e);
}

int model_values(const struct model *m, size_t i, float *out, struct err *e)
{
    enum { GRAIN = 1 << 17 };
    const struct parameter *p = &m->parameter[i];
    if (m->master)
        return m->device->memory->get(m->device, out, m->master + p->offset,
                                      p->rows * p->cols * sizeof *out, e);
    values_of_file(m, i, 0, p->rows * p->cols, out);
    return 0;
}

int model_fingerprint(const struct model *m, char out[FINGERPRINT_MAX], struct err *e)
{
    enum { STEP = 1 << 16, SAMPLE = 1 << 12 };
    struct hash h;
    if (hash_init(&h) < 0)
        return err_memory(e, 0, "a hash");
    hash_add(&h, m->config_text.data, m->config_text.size);
    for (size_t i = 0; i < m->n_shards; i++) {
        const struct safetensors *s = &m->shard[i];
        size_t data = 8 + s->header_size;
        hash_add(&h, s->start, data);
        for (size_t at = data; at < s->size; at += STEP)
            hash_add(&h, s->map + at, s->size - at < SAMPLE ? s->size - at : SAMPLE);
    }
    // The pages that were read stay nobody's, where the masters have taken the files' place.
    for (size_t i = 0; m->master && i < m->n_shards; i++)
        safetensors_forget(&m->shard[i]);
    hash_fingerprint(hash_value(&h), out);
    hash_release(&h);
    return 0;
}

// The slope of a head's line, as Press et al. (arXiv 2108.12409) have it for powers of two; further
// heads get those in between. transformers keeps slopes and line in bf16, and Falcon was trained
// so.
static float alibi_slope(size_t h, size_t heads)
{
    size_t power = 1;
    while (2 * power <= heads)
        power *= 2;
    double exponent = h < power ? 8.0 * (double)(h + 1) / (double)power
                                : 8.0 * (double)(2 * (h - power) + 1) / (double)(2 * power);
    return (float)exp2(-exponent);
}

static float round_bf16(float x)
{
    uint16_t half;
    dtype_from_f32(&half, &x, DTYPE_BF16, 1);
    dtype_to_f32(&x, &half, DTYPE_BF16, 1);
    return x;
}

static void fill_key_bias(float *table, size_t heads, size_t positions)
{
    for (size_t h = 0; h < heads; h++) {
        float slope = round_bf16(alibi_slope(h, heads));
        for (size_t p = 0; p < positions; p++)
            table[h * positions + p] = round_bf16(slope * round_bf16((float)p));
    }
}

static int alibi_reach(struct model *m, size_t positions, struct err *e)
{
    size_t reach = 2 * m->key_bias_positions > 256 ? 2 * m->key_bias_positions : 256;
    struct device *d = m->device;
    if (positions <= m->key_bias_positions)
        return 0;
    if (reach < positions)
        reach = positions;
    size_t heads = m->config.heads, bytes;
    float *table = mem_alloc(heads * reach, sizeof *table, "the ALiBi table", e);
    if (!table)
        return -1;
    fill_key_bias(table, heads, reach);
    d->memory->free(d, m->key_bias, key_bias_bytes(m));
    m->key_bias_positions = reach;
    bytes = key_bias_bytes(m);
    m->key_bias = d->memory->alloc(d, bytes);
    int result = m->key_bias ? d->memory->put(d, m->key_bias, table, bytes, e)
                             : err_memory(e, bytes, "the ALiBi table");
    if (!m->key_bias)
        m->key_bias_positions = 0;
    free(table);
    return result;
}

size_t model_positions(const struct model *m)
{
    enum { FAR = 1 << 28 }; // beyond any memory
    return m->config.has[ROLE_POSITIONS] ? m->config.max_position : FAR;
}

int model_reach(struct model *m, size_t positions, struct err *e)
{
    if (positions > model_positions(m))
        return err_set(e, STATUS_FAILED,
                       "a sequence of %zu tokens is longer than the model's %zu positions",
                       positions, model_positions(m));
    return m->config.alibi ? alibi_reach(m, positions, e) : 0;
}
