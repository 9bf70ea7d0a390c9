// SPDX-License-Identifier: MIT
#include "train/checkpoint.h"
#include "base/io.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/number.h"
#include "base/sync.h"

#include <assert.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char key_dtype[] = "dtype";

json_t *checkpoint_settings(const struct trainer_options *o, enum products products, uint64_t seed,
                            const char *model, const char *loss)
{
    json_t *s =
        json_pack("{s:s, s:s, s:I, s:f, s:f, s:f, s:f, s:f, s:f, s:s, s:s}", "model", model, "loss",
                  loss, "seed", (json_int_t)seed, "learning-rate", o->learning_rate, "weight-decay",
                  o->weight_decay, "adam-beta1", o->beta1, "adam-beta2", o->beta2, "adam-epsilon",
                  o->epsilon, "max-grad-norm", o->max_grad_norm, "lr-scheduler-type",
                  schedule_types[o->scheduler], "optim", optimizer_kinds[o->optim]);
    if (products == PRODUCTS_BF16)
        json_object_set_new(s, key_dtype, json_string("bf16"));
    return s;
}

struct state_part {
    const char *name;
    float *data;
};

enum { PARTS_MAX = 4, PIECE = 1 << 22 };
static const int64_t MOST_UPDATES = 1000000000000000; // as --max-steps

static size_t parts_of(const struct trainer *t, struct state_part part[PARTS_MAX])
{
    size_t n = 0;
    part[n++] = (struct state_part){"master", t->model->master};
    if (t->m)
        part[n++] = (struct state_part){"m", t->m};
    if (t->v)
        part[n++] = (struct state_part){"v", t->v};
    if (t->ema)
        part[n++] = (struct state_part){"ema", t->ema};
    return n;
}

static void put_size(unsigned char out[8], size_t size)
{
    for (int i = 0; i < 8; i++)
        out[i] = (unsigned char)((uint64_t)size >> (8 * i));
}

// What is done with each piece of the parts, one behind the other.
typedef int take_piece(void *arg, const float *piece, size_t n, struct err *e);

// Through the host's work space where the device's memory is another.
static int each_piece(const struct state_part *part, size_t parts, const struct model *m,
                      take_piece *take, void *arg, struct err *e)
{
    struct device *d = m->device;
    struct arena_mark mark = arena_mark(&d->host);
    int result = 0;
    for (size_t i = 0; i < parts; i++)
        for (size_t at = 0; at < m->n_flat && result == 0; at += PIECE) {
            size_t n = m->n_flat - at < PIECE ? m->n_flat - at : PIECE;
            const float *piece = part[i].data + at;
            result = device_view(d, &piece, n * sizeof *piece, e);
            if (result == 0)
                result = take(arg, piece, n, e);
            arena_rewind(&d->host, mark);
        }
    return result;
}

static int hash_piece(void *arg, const float *piece, size_t n, struct err *e)
{
    hash_add(arg, piece, n * sizeof *piece);
    return 0;
}

static int hash_start(struct hash *h, const char *header, size_t size, struct err *e)
{
    unsigned char prefix[8];
    if (hash_init(h) < 0)
        return err_memory(e, 0, "a checksum");
    put_size(prefix, size);
    hash_add(h, prefix, sizeof prefix);
    hash_add(h, header, size);
    return 0;
}

static void hash_end(struct hash *h, char out[FINGERPRINT_MAX])
{
    hash_fingerprint(hash_value(h), out);
    hash_release(h);
}

static char *make_header(const struct state_part *part, size_t n, const struct model *m,
                         const json_t *metadata, size_t *size, struct err *e)
{
    struct safetensors_entry entry[PARTS_MAX];
    size_t values = m->n_flat;
    struct hash h;
    memset(entry, 0, sizeof entry);
    for (size_t i = 0; i < n; i++) {
        entry[i].name = (char *)part[i].name;
        strcpy(entry[i].type, "F32");
        entry[i].n_dims = 1;
        entry[i].dim[0] = values;
        entry[i].bytes = values * sizeof(float);
    }
    char sum[FINGERPRINT_MAX], *header = safetensors_header(entry, n, metadata, size, e);
    if (!header || err_whole(e) < 0) {
        free(header);
        return NULL;
    }
    char *place = hash_place(header, *size);
    assert(place);
    int result = hash_start(&h, header, *size, e);
    if (result == 0) {
        result = each_piece(part, n, m, hash_piece, &h, e);
        hash_end(&h, sum);
    }
    if (result < 0) {
        free(header);
        return NULL;
    }
    memcpy(place, sum, FINGERPRINT_SIZE);
    return header;
}

struct state_file {
    int fd;
    const char *name;
};

static int write_piece(void *arg, const float *piece, size_t n, struct err *e)
{
    const struct state_file *o = arg;
    return io_write(o->fd, piece, n * sizeof *piece, o->name, e);
}

static int write_parts(int fd, const struct trainer *t, const json_t *metadata, const char *name,
                       struct err *e)
{
    struct state_part part[PARTS_MAX];
    struct state_file file = {fd, name};
    size_t n = parts_of(t, part), size;
    unsigned char prefix[8];
    char *header = make_header(part, n, t->model, metadata, &size, e);
    if (!header)
        return -1;
    put_size(prefix, size);
    int result = io_write(fd, prefix, 8, name, e);
    if (result == 0)
        result = io_write(fd, header, size, name, e);
    if (result == 0)
        result = each_piece(part, n, t->model, write_piece, &file, e);
    free(header);
    return result;
}

// Before anything that the file says is believed.
static int check_sum(const struct safetensors *s, struct err *e)
{
    char *header = mem_alloc(s->header_size + 1, 1, "a header", e), sum[FINGERPRINT_MAX];
    if (!header)
        return -1;
    memcpy(header, s->map + 8, s->header_size);
    char *place = hash_place(header, s->header_size);
    if (place)
        memcpy(place, hash_zeros, FINGERPRINT_SIZE);
    struct hash h;
    int result = place ? hash_start(&h, header, s->header_size, e) : 0;
    if (place && result == 0) {
        hash_add(&h, s->map + 8 + s->header_size, s->size - 8 - s->header_size);
        hash_end(&h, sum);
    }
    if (!place)
        result = err_set(e, STATUS_FAILED,
                         "%s: has no checksum: it was saved by an earlier version, or is not the "
                         "state of a training run",
                         s->path);
    else if (result == 0 && memcmp(sum, s->map + 8 + (place - header), FINGERPRINT_SIZE) != 0)
        result = err_set(e, STATUS_FAILED,
                         "%s: is damaged: its checksum is not that of its content", s->path);
    free(header);
    return result;
}

int checkpoint_save(int at, const char *name, const struct trainer *t, const json_t *settings,
                    struct err *e)
{
    char temporary[256];
    snprintf(temporary, sizeof temporary, "%s.new", name);
    char *text = json_text(settings, JSON_COMPACT, e);
    json_t *metadata =
        text ? json_pack("{s:s, s:s, s:s, s:o, s:o, s:o}", "format", "densepath-state", "checksum",
                         hash_zeros, "settings", text, "step",
                         json_sprintf("%lld", (long long)t->step), "num_tokens",
                         json_sprintf("%llu", (unsigned long long)t->num_tokens), "updates",
                         json_sprintf("%lld", (long long)t->optimizer.step))
             : NULL;
    free(text);
    if (!metadata || err_whole(e) < 0) {
        json_decref(metadata);
        return err_memory(e, 0, "a state");
    }
    int fd = openat(at, temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    int result = fd < 0 ? err_errno(e, name) : write_parts(fd, t, metadata, name, e);
    json_decref(metadata);
    if (result == 0)
        result = sync_fd(fd, name, e);
    if (fd >= 0 && close(fd) < 0 && result == 0)
        result = err_errno(e, name);
    if (result == 0 && renameat(at, temporary, at, name) < 0)
        result = err_errno(e, name);
    else if (result == 0)
        result = sync_fd(at, name, e);
    if (result < 0 && fd >= 0)
        unlinkat(at, temporary, 0);
    return result;
}

// From the file, which may begin anywhere, by pieces.
static int load_part(const struct model *m, float *to, const unsigned char *from, const char *path,
                     const char *name, struct err *e)
{
    enum { AT_A_TIME = 4096 };
    float piece[AT_A_TIME];
    struct device *d = m->device;
    for (size_t at = 0; at < m->n_flat; at += AT_A_TIME) {
        size_t n = m->n_flat - at < AT_A_TIME ? m->n_flat - at : AT_A_TIME;
        memcpy(piece, from + at * sizeof *piece, n * sizeof *piece);
        for (size_t k = 0; k < n; k++)
            if (!isfinite(piece[k]))
                return err_set(e, STATUS_FAILED, "%s: `%s` has a value that is not finite", path,
                               name);
        if (d->memory->put(d, to + at, piece, n * sizeof *piece, e) < 0)
            return -1;
    }
    return 0;
}

static int load_parts(const struct safetensors *s, struct trainer *t, struct err *e)
{
    struct state_part part[PARTS_MAX];
    size_t n = parts_of(t, part);
    for (size_t i = 0; i < n; i++) {
        const struct safetensors_entry *entry = safetensors_find(s, part[i].name);
        if (!entry || entry->dtype != DTYPE_F32 || entry->bytes != t->model->n_flat * sizeof(float))
            return err_set(e, STATUS_FAILED,
                           "%s: the state is that of another model or optimizer (`%s`)", s->path,
                           part[i].name);
        if (load_part(t->model, part[i].data, safetensors_data(s, entry), s->path, part[i].name,
                      e) < 0)
            return -1;
    }
    return 0;
}

static int64_t counter(const json_t *metadata, const char *key)
{
    const char *text = json_string_value(json_object_get(metadata, key));
    int64_t value;
    return text && number_to_i64(text, &value) == 0 ? value : -1;
}

static int read_counts(const struct safetensors *s, const char *name,
                       struct checkpoint_counts *counts, json_t **settings, struct err *e)
{
    const char *text = json_string_value(json_object_get(s->metadata, "settings"));
    int64_t step = counter(s->metadata, "step"), tokens = counter(s->metadata, "num_tokens");
    int64_t updates = counter(s->metadata, "updates");
    if (check_sum(s, e) < 0)
        return -1;
    if (!text || step < 0 || tokens < 0 || updates < 0 || step > MOST_UPDATES)
        return err_set(e, STATUS_FAILED, "%s: not the state of a training run", name);
    *counts = (struct checkpoint_counts){step, updates, (uint64_t)tokens};
    *settings = json_parse(text, strlen(text), name, e);
    return *settings ? 0 : -1;
}

int checkpoint_look(int at, const char *name, struct checkpoint_counts *counts, json_t **settings,
                    struct err *e)
{
    struct safetensors s;
    *settings = NULL;
    if (safetensors_open(&s, at, name, e) < 0)
        return -1;
    int result = read_counts(&s, name, counts, settings, e);
    safetensors_close(&s);
    return result;
}

int checkpoint_load(int at, const char *name, struct trainer *t, json_t **settings, struct err *e)
{
    struct safetensors s;
    struct checkpoint_counts counts;
    *settings = NULL;
    if (safetensors_open(&s, at, name, e) < 0)
        return -1;
    int result = read_counts(&s, name, &counts, settings, e);
    if (result == 0)
        result = load_parts(&s, t, e);
    if (result == 0) {
        t->step = counts.step;
        t->num_tokens = counts.num_tokens;
        t->optimizer.step = counts.updates;
    } else {
        json_decref(*settings);
        *settings = NULL;
    }
    safetensors_close(&s);
    return result;
}

static int is_another(const char *key, struct err *e)
{
    const char *options = strcmp(key, "updates") ? "" : " (--max-steps, --num-train-epochs)";
    return err_set(e, STATUS_USAGE, "--resume: `%s`%s is not what it was when the run was stopped",
                   key, options);
}

int checkpoint_agrees(const json_t *then, const json_t *now, struct err *e)
{
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)now, key, value)
    {
        if (!json_equal(value, json_object_get(then, key)))
            return is_another(key, e);
    }
    // Of fp32 it is not said.
    if (json_object_get(then, key_dtype) && !json_object_get(now, key_dtype))
        return is_another(key_dtype, e);
    return 0;
}
