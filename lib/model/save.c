// SPDX-License-Identifier: MIT
// Writing model directories: the same layout that was read, byte for byte where values are the
// same.
#include "model/model.h"
#include "base/no_model.h"
#include "base/hash.h"
#include "base/io.h"
#include "base/json.h"
#include "base/place.h"
#include "base/rng.h"
#include "base/room.h"
#include "base/thread.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    CHUNK = 1 << 19, // values converted at a time
    NARROW_GRAIN = 1 << 16,
    PIECE = 1 << 22, // masters fetched at a time
};

static int find_dtype(const char *save_dtype, enum dtype *out, struct err *e)
{
    static const char *const names[] = {"fp32", "fp16", "bf16"};
    static const enum dtype types[] = {DTYPE_F32, DTYPE_F16, DTYPE_BF16};
    for (int i = 0; i < 3; i++)
        if (!strcmp(names[i], save_dtype)) {
            *out = types[i];
            return 0;
        }
    return err_set(e, STATUS_USAGE, "--save-dtype: '%s' is not one of fp32, fp16, bf16",
                   save_dtype);
}

int model_check_dtype(const char *save_dtype, struct err *e)
{
    enum dtype type;
    return save_dtype ? find_dtype(save_dtype, &type, e) : 0;
}

static int is_like(const struct safetensors_entry *a, const struct safetensors_entry *b)
{
    return !strcmp(a->name, b->name) && a->n_dims == b->n_dims &&
           !memcmp(a->dim, b->dim, (size_t)a->n_dims * sizeof *a->dim);
}

// The parameter of each tensor of a shard; NULL for those that the decoder does not use. A tied
// head that the file repeats is the embedding; what the index has in another shard is written here
// too, as it is there.
static const struct parameter **map_parameters(const struct model *m, const struct safetensors *s,
                                               struct err *e)
{
    const struct parameter **of = mem_alloc(s->n + 1, sizeof *of, "tensor entries", e);
    for (size_t i = 0; of && i < m->n_parameters; i++)
        if (m->parameter[i].file == s)
            of[m->parameter[i].entry - s->entry] = &m->parameter[i];
    for (size_t i = 0; of && m->tied_head && i < s->n; i++)
        if (&s->entry[i] == m->tied_head)
            of[i] = &m->parameter[0];
    for (size_t i = 0; of && i < s->n; i++)
        for (size_t k = 0; s->entry[i].elsewhere && s->entry[i].known && k < m->n_parameters; k++)
            if (is_like(&s->entry[i], m->parameter[k].entry))
                of[i] = &m->parameter[k];
    return of;
}

struct narrowing {
    char *to;
    const float *from;
    enum dtype type;
};

static void narrow_chunk(void *arg, size_t begin, size_t end, int worker)
{
    const struct narrowing *n = arg;
    dtype_from_f32(n->to + begin * dtype_size(n->type), n->from + begin, n->type, end - begin);
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
        struct narrowing job = {part, from + at, type};
        threads_for(n, NARROW_GRAIN, narrow_chunk, &job);
        result = io_write(fd, part, n * dtype_size(type), name, e);
    }
    free(part);
    return result;
}

static uint32_t bits_of(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

// Bytes of the file, which must still be those that were there when it was opened.
static int write_own(int fd, const struct safetensors *s, const struct safetensors_entry *t,
                     struct err *e)
{
    struct err changed;
    int result = io_write(fd, safetensors_data(s, t), t->bytes, s->path, e);
    if (mapped_check(s->file, &changed) == 0)
        return result;
    *e = changed; // why the write may have failed
    return -1;
}

static int has_nan(const float *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (isnan(x[i]))
            return 1;
    return 0;
}

// n masters from value `first` of a tensor on, in the type of the file. Where a master is still
// what the file's value widens to, the file's own bytes are kept: half precision has many NaNs, and
// fp64 more values than fp32. Other values of the file are not asked for: it may have changed
// since.
static int write_masters(int fd, const float *master, size_t first, size_t values,
                         const struct safetensors *s, const struct safetensors_entry *t,
                         struct err *e)
{
    size_t size = dtype_size(t->dtype);
    const unsigned char *from = safetensors_data(s, t) + first * size;
    if (t->dtype == DTYPE_F32 || (t->dtype != DTYPE_F64 && !has_nan(master, values)))
        return write_values(fd, master, values, t->dtype, s->path, e);
    float *wide = mem_alloc(CHUNK, sizeof *wide, "a buffer", e);
    unsigned char *part = wide ? mem_alloc(CHUNK, size, "a buffer", e) : NULL;
    int result = part ? 0 : -1;
    for (size_t at = 0; at < values && result == 0; at += CHUNK) {
        size_t n = values - at < CHUNK ? values - at : CHUNK;
        dtype_to_f32(wide, from + at * size, t->dtype, n);
        dtype_from_f32(part, master + at, t->dtype, n);
        for (size_t i = 0; i < n; i++)
            if (bits_of(wide[i]) == bits_of(master[at + i]))
                memcpy(part + i * size, from + (at + i) * size, size);
        result = io_write(fd, part, n * size, s->path, e);
    }
    free(wide);
    free(part);
    return result == 0 ? mapped_check(s->file, e) : -1;
}

// A trained tensor; where the host cannot read its master, by copies of pieces.
static int write_trained(const struct model *m, int fd, const struct safetensors *s,
                         const struct safetensors_entry *from, const struct parameter *p,
                         enum dtype type, struct err *e)
{
    struct device *d = m->device;
    struct arena_mark mark = arena_mark(&d->host);
    size_t values = p->rows * p->cols;
    int result = 0;
    for (size_t at = 0; at < values && result == 0; at += PIECE) {
        size_t n = values - at < PIECE ? values - at : PIECE;
        const float *master = m->master + p->offset + at;
        result = device_view(d, &master, n * sizeof *master, e);
        if (result == 0)
            result = from->dtype == type ? write_masters(fd, master, at, n, s, from, e)
                                         : write_values(fd, master, n, type, s->path, e);
        arena_rewind(&d->host, mark);
    }
    return result;
}

// p: NULL for a tensor that the decoder does not use.
static int write_tensor(const struct model *m, int fd, const struct safetensors *s,
                        const struct safetensors_entry *from, const struct parameter *p,
                        enum dtype type, struct err *e)
{
    if (p && m->master)
        return write_trained(m, fd, s, from, p, type, e);
    if (!from->known || from->dtype == type)
        return write_own(fd, s, from, e);
    size_t values = from->bytes / dtype_size(from->dtype);
    float *wide = mem_alloc(values, sizeof *wide, "a tensor", e);
    if (!wide)
        return -1;
    dtype_to_f32(wide, safetensors_data(s, from), from->dtype, values);
    int result = write_values(fd, wide, values, type, s->path, e);
    free(wide);
    return result == 0 ? mapped_check(s->file, e) : -1;
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

// The shard as it was read, with new values: header and order are kept.
static int write_shard_same(const struct model *m, int fd, const struct safetensors *s,
                            const struct parameter *const *of, struct err *e)
{
    int result = io_write(fd, s->start, 8 + s->header_size, s->path, e);
    for (size_t i = 0; i < s->n && result == 0; i++)
        result = write_tensor(m, fd, s, &s->entry[i], of[i], s->entry[i].dtype, e);
    return result;
}

static int write_shard_as(const struct model *m, int fd, const struct safetensors *s,
                          const struct parameter *const *of, enum dtype type, struct err *e)
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
        result = write_tensor(m, fd, s, &s->entry[i], of[i], entry[i].dtype, e);
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
    const struct safetensors *s = &m->shard[i];
    const struct parameter **of = map_parameters(m, s, e);
    int result = !of    ? -1
                 : type ? write_shard_as(m, fd, s, of, *type, e)
                        : write_shard_same(m, fd, s, of, e);
    free(of);
    if (close(fd) < 0 && result == 0)
        result = err_errno(e, name);
    return result;
}

static const char config_name[] = "config.json";

static int write_json(int to, const char *name, json_t *value, struct err *e)
{
    char *text = json_text(value, JSON_INDENT(2), e);
    if (!text)
        return err_memory(e, 0, name);
    int result = io_write_file(to, name, text, strlen(text), e);
    free(text);
    return result;
}

// The type that an object of keys declares, where it does.
static void set_dtype(json_t *keys, const char *name, int always)
{
    const char *key = json_object_get(keys, "dtype") ? "dtype" : "torch_dtype";
    if (always || json_object_get(keys, key))
        json_object_set_new(keys, key, json_string(name));
}

// config.json with another dtype; a multimodal one has objects that declare it too.
static int rewrite_config(int to, enum dtype type, struct err *e)
{
    static const char *const torch_names[] = {"float32", "float16", "bfloat16", "float64"};
    json_t *config = json_parse_file(to, config_name, 16 << 20, e);
    if (!config)
        return -1;
    const char *key;
    json_t *value;
    set_dtype(config, torch_names[type], 1);
    json_object_foreach(config, key, value)
    {
        set_dtype(value, torch_names[type], 0);
    }
    int result = write_json(to, config_name, config, e);
    json_decref(config);
    return result;
}

// The files beside the weights: as model_keep read them, or as they are now.
static int write_kept(const struct model *m, int to, struct err *e)
{
    struct kept now;
    if (m->kept.n)
        return kept_write(&m->kept, to, e);
    if (kept_read(&now, m->directory, e) < 0)
        return -1;
    const struct kept_file *config = kept_find(&now, config_name);
    int result = config && file_mark_same(&config->mark, &m->config_mark)
                     ? kept_write(&now, to, e)
                     : file_mark_changed(config_name, e);
    kept_release(&now);
    return result;
}

int model_save(const struct model *m, int to, const char *save_dtype, struct err *e)
{
    enum dtype type;
    if (save_dtype && find_dtype(save_dtype, &type, e) < 0)
        return -1;
    if (write_kept(m, to, e) < 0)
        return -1;
    for (size_t i = 0; i < m->n_shards; i++)
        if (write_shard(m, to, i, save_dtype ? &type : NULL, e) < 0)
            return -1;
    if (mapped_unchanged(e) < 0)
        return -1;
    return save_dtype ? rewrite_config(to, type, e) : 0;
}

size_t model_file_bytes(const struct model *m, const char *save_dtype)
{
    size_t bytes = 0;
    for (size_t i = 0; i < m->n_shards; i++)
        bytes += m->shard[i].size;
    if (save_dtype)
        bytes = m->n_flat * (strcmp(save_dtype, "fp32") ? sizeof(uint16_t) : sizeof(float));
    return bytes;
}

// config.json of a reward model.
static int write_reward_config(const struct model *m, int to, int64_t pad, struct err *e)
{
    json_t *config = json_parse_file(to, config_name, 16 << 20, e);
    if (!config)
        return -1;
    json_object_set_new(config, "architectures",
                        json_pack("[s]", family_architecture(&m->config, HEAD_REWARD)));
    json_object_del(config, "num_labels");
    json_object_set_new(config, "id2label", json_pack("{s:s}", "0", "LABEL_0"));
    json_object_set_new(config, "label2id", json_pack("{s:i}", "LABEL_0", 0));
    // In a multimodal folder the text model's key counts.
    json_t *keys = m->config.wrapper ? json_object_get(config, "text_config") : config;
    if (pad >= 0 && !json_is_integer(json_object_get(keys, "pad_token_id")))
        json_object_set_new(keys, "pad_token_id", json_integer(pad));
    int result = write_json(to, config_name, config, e);
    json_decref(config);
    return result;
}

// Whether a reward model has no place for the tensor: the vocabulary's head.
static int is_head(const struct model *m, const struct parameter *p,
                   const struct safetensors_entry *entry)
{
    return entry == m->tied_head ||
           (p && (p->role == ROLE_HEAD || p->role == ROLE_HEAD_BIAS) && p->entry == entry);
}

// The index of several shards, where there is one.
static int write_reward_index(const struct model *m, int to, const char *shard, struct err *e)
{
    static const char name[] = "model.safetensors.index.json";
    int there = io_look(to, name, e);
    if (there <= 0)
        return there;
    json_t *index = json_parse_file(to, name, 64 << 20, e);
    if (!index)
        return -1;
    json_t *map = json_object_get(index, "weight_map");
    for (size_t i = 0; i < m->n_parameters; i++)
        if (is_head(m, &m->parameter[i], m->parameter[i].entry))
            json_object_del(map, m->parameter[i].name);
    if (m->tied_head)
        json_object_del(map, m->tied_head->name);
    json_object_set_new(map, m->family->name[ROLE_REWARD_HEAD], json_string(shard));
    json_object_del(index, "metadata"); // a total size that is no longer right
    int result = write_json(to, name, index, e);
    json_decref(index);
    return result;
}

// Shard i without the vocabulary's head; with `head` also with that tensor of zeros.
static int write_reward_shard(const struct model *m, int fd, size_t i,
                              const struct safetensors_entry *head, struct err *e)
{
    const struct safetensors *s = &m->shard[i];
    const struct parameter **of = map_parameters(m, s, e);
    struct safetensors_entry *entry = mem_alloc(s->n + 1, sizeof *entry, "tensor entries", e);
    size_t n = 0, size;
    for (size_t k = 0; of && entry && k < s->n; k++)
        if (!is_head(m, of[k], &s->entry[k]))
            entry[n++] = s->entry[k];
    if (head && entry)
        entry[n++] = *head;
    char *header = of && entry ? safetensors_header(entry, n, s->metadata, &size, e) : NULL;
    int result = header ? write_header(fd, header, size, s->path, e) : -1;
    for (size_t k = 0; k < s->n && result == 0; k++)
        if (!is_head(m, of[k], &s->entry[k]))
            result = write_own(fd, s, &s->entry[k], e);
    void *zeros = head && result == 0 ? mem_alloc(head->bytes, 1, "a head", e) : NULL;
    if (head && result == 0)
        result = zeros ? io_write(fd, zeros, head->bytes, s->path, e) : -1;
    free(zeros);
    free(header);
    free(entry);
    free(of);
    return result;
}

size_t model_reward_weights(const struct model *m)
{
    enum { ALIGN_VALUES = 16 };
    size_t n = m->n_flat;
    if (m->config.head == HEAD_REWARD)
        return n;
    for (size_t i = 0; i < m->n_parameters; i++)
        if (m->parameter[i].role == ROLE_HEAD || m->parameter[i].role == ROLE_HEAD_BIAS)
            n -= (m->parameter[i].rows * m->parameter[i].cols + ALIGN_VALUES - 1) / ALIGN_VALUES *
                 ALIGN_VALUES;
    return n + (m->config.end_width + ALIGN_VALUES - 1) / ALIGN_VALUES * ALIGN_VALUES;
}

int model_check_as_reward(const struct model *m, struct err *e)
{
    if (!family_architecture(&m->config, HEAD_REWARD))
        return err_set(e, STATUS_FAILED, "%s: transformers has no reward models of type %s",
                       m->path, m->config.model_type);
    if (!strcmp(m->parameter[0].entry->name, m->family->name[ROLE_HEAD]))
        return err_set(e, STATUS_FAILED, "%s: its embedding is stored as a head", m->path);
    return 0;
}

int model_save_as_reward(const struct model *m, int to, int64_t pad, struct err *e)
{
    const struct safetensors_entry *like = m->parameter[0].entry; // the embedding
    struct safetensors_entry head = {.name = (char *)m->family->name[ROLE_REWARD_HEAD],
                                     .n_dims = 2,
                                     .dim = {1, m->config.end_width},
                                     .bytes = m->config.end_width * dtype_size(like->dtype)};
    memcpy(head.type, like->type, sizeof head.type);
    int result = model_check_as_reward(m, e);
    if (result == 0)
        result = write_kept(m, to, e);
    for (size_t i = 0; i < m->n_shards && result == 0; i++) {
        const char *name = m->shard_name[i];
        int fd = openat(to, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
        result = fd < 0 ? err_errno(e, name)
                        : write_reward_shard(m, fd, i, i + 1 == m->n_shards ? &head : NULL, e);
        if (fd >= 0 && close(fd) < 0 && result == 0)
            result = err_errno(e, name);
    }
    if (result == 0)
        result = mapped_unchanged(e);
    if (result == 0)
        result = write_reward_index(m, to, m->shard_name[m->n_shards - 1], e);
    return result == 0 ? write_reward_config(m, to, pad, e) : -1;
}

// The tensors of a new model.
struct plan {
    struct planned {
        struct safetensors_entry entry;
        enum tensor_role role;
        size_t layer, head;
    } * tensor;
    size_t n, capacity;
};

static int plan_tensor(struct plan *plan, const struct model_config *c, enum tensor_role role,
                       size_t layer, size_t head, enum dtype type, struct err *e)
{
    size_t rows, cols;
    int n_dims = family_shape(c, role, &rows, &cols);
    if (!n_dims)
        return 0;
    if (MEM_GROW(plan->tensor, plan->capacity, plan->n + 1, "tensor entries", e) < 0)
        return -1;
    char name[256];
    family_name(c, role, layer, head, name, sizeof name);
    struct planned *p = &plan->tensor[plan->n];
    *p = (struct planned){.role = role, .layer = layer, .head = head};
    p->entry.name = strdup(name);
    if (!p->entry.name)
        return err_memory(e, sizeof name, "a name");
    snprintf(p->entry.type, sizeof p->entry.type, "%s", dtype_name(type));
    p->entry.n_dims = n_dims;
    p->entry.dim[0] = n_dims == 1 ? cols : rows;
    p->entry.dim[1] = cols;
    p->entry.bytes = rows * cols * dtype_size(type);
    plan->n++;
    return 0;
}

static int plan_layer(struct plan *plan, const struct model_config *c, size_t layer,
                      enum dtype type, struct err *e)
{
    for (int role = ROLE_LAYER_FIRST; role < ROLE_COUNT; role++) {
        size_t heads = 1;
        if (c->head_norm == HEAD_NORM_EACH && family_is_per_head(c->family, role))
            heads = role == ROLE_KEY_NORM ? c->kv_heads : c->heads;
        for (size_t h = 0; h < heads; h++)
            if (plan_tensor(plan, c, role, layer, h, type, e) < 0)
                return -1;
    }
    return 0;
}

static int by_name(const void *a, const void *b)
{
    const struct planned *x = a, *y = b;
    return strcmp(x->entry.name, y->entry.name);
}

// In the order in which transformers saves them.
static int plan_model(struct plan *plan, const struct model_config *c, enum dtype type,
                      struct err *e)
{
    for (int role = 0; role < ROLE_LAYER_FIRST; role++)
        if (plan_tensor(plan, c, role, 0, 0, type, e) < 0)
            return -1;
    for (size_t layer = 0; layer < c->layers; layer++)
        if (plan_layer(plan, c, layer, type, e) < 0)
            return -1;
    qsort(plan->tensor, plan->n, sizeof *plan->tensor, by_name);
    return 0;
}

static void plan_release(struct plan *plan)
{
    for (size_t i = 0; i < plan->n; i++)
        free(plan->tensor[i].entry.name);
    free(plan->tensor);
}

// Where the random values of a new model come from.
struct fresh {
    const struct model_config *config;
    uint64_t seed;
};

// As transformers' _init_weights: norms are the identity, vectors 0, matrices normal.
static int fill_fresh(void *from, const struct model_tensor *t, float *data, struct err *e)
{
    const struct fresh *f = from;
    const struct model_config *c = f->config;
    double deviation = c->initializer_range;
    if (c->family->scaled_init && (t->role == ROLE_ATTENTION_OUT || t->role == ROLE_DOWN))
        deviation /= sqrt(2 * (double)c->layers);
    struct rng rng;
    rng_init(&rng, f->seed, RNG_INIT, hash_string(t->name), 0);
    for (size_t i = 0; i < t->rows * t->cols; i++)
        data[i] = family_is_norm(t->role) ? 1 - c->norm_offset
                  : t->n_dims > 1         ? (float)(deviation * rng_normal(&rng))
                                          : 0;
    return 0;
}

static struct model_tensor tensor_of(const struct planned *p)
{
    int is_vector = p->entry.n_dims == 1;
    return (struct model_tensor){.name = p->entry.name,
                                 .role = p->role,
                                 .layer = p->layer,
                                 .head = p->head,
                                 .n_dims = p->entry.n_dims,
                                 .rows = is_vector ? 1 : p->entry.dim[0],
                                 .cols = p->entry.dim[!is_vector]};
}

static int check_tensors(const struct plan *plan, const struct model_source *source, struct err *e)
{
    for (size_t i = 0; source->check && i < plan->n; i++) {
        struct model_tensor t = tensor_of(&plan->tensor[i]);
        if (source->check(source->from, &t, e) < 0)
            return -1;
    }
    return 0;
}

static int fill_tensor(int fd, const char *where, const struct planned *planned, enum dtype type,
                       const struct model_source *source, struct err *e)
{
    struct model_tensor t = tensor_of(planned);
    float *data = mem_alloc(t.rows * t.cols, sizeof *data, "a tensor", e);
    if (!data)
        return -1;
    int result = source->fill(source->from, &t, data, e);
    if (result == 0)
        result = write_values(fd, data, t.rows * t.cols, type, where, e);
    free(data);
    return result;
}

static char *plan_header(const struct plan *plan, size_t *size, struct err *e)
{
    struct safetensors_entry *entry = mem_alloc(plan->n, sizeof *entry, "tensor entries", e);
    json_t *metadata = json_pack("{s:s}", "format", "pt");
    for (size_t i = 0; entry && i < plan->n; i++)
        entry[i] = plan->tensor[i].entry;
    char *header = entry ? safetensors_header(entry, plan->n, metadata, size, e) : NULL;
    json_decref(metadata);
    free(entry);
    return header;
}

static int check_room(const struct plan *plan, int to, struct err *e)
{
    double bytes = 0;
    for (size_t i = 0; i < plan->n; i++)
        bytes += (double)plan->tensor[i].entry.bytes;
    if (room_check(to, bytes, e) < 0)
        return err_prefix(e, "%s", placed(to, "model.safetensors").text);
    return 0;
}

static int write_plan(const struct plan *plan, int to, enum dtype type,
                      const struct model_source *source, struct err *e)
{
    static const char name[] = "model.safetensors";
    const struct placed where = placed(to, name);
    size_t size;
    char *header = plan_header(plan, &size, e);
    if (!header)
        return -1;
    int fd = openat(to, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    int result = fd < 0 ? err_errno(e, where.text) : write_header(fd, header, size, where.text, e);
    for (size_t i = 0; i < plan->n && result == 0; i++)
        result = fill_tensor(fd, where.text, &plan->tensor[i], type, source, e);
    if (fd >= 0 && close(fd) < 0 && result == 0)
        result = err_errno(e, where.text);
    free(header);
    return result;
}

int model_write(const struct model_config *c, int to, const struct model_source *source,
                struct err *e)
{
    struct plan plan = {0};
    int result = plan_model(&plan, c, c->dtype, e);
    if (result == 0)
        result = check_tensors(&plan, source, e);
    if (result == 0)
        result = check_room(&plan, to, e);
    if (result == 0)
        result = write_plan(&plan, to, c->dtype, source, e);
    plan_release(&plan);
    return result;
}

// A tensor's values for sketches: a piece of random numbers over and over, which is enough to
// compute with and quickly made.
static int fill_roughly(int fd, const char *where, const struct planned *planned,
                        const struct model_config *c, enum dtype type, struct err *e)
{
    static const uint64_t any_seed = 0;
    size_t values = planned->entry.bytes / dtype_size(type);
    struct rng rng;
    float *data = mem_alloc(CHUNK, sizeof *data, "a tensor", e);
    if (!data)
        return -1;
    rng_init(&rng, any_seed, RNG_INIT, hash_string(planned->entry.name), 0);
    for (size_t i = 0; i < CHUNK && i < values; i++)
        data[i] = family_is_norm(planned->role) ? 1 - c->norm_offset
                  : planned->entry.n_dims > 1   ? (float)(c->initializer_range * rng_normal(&rng))
                                                : 0;
    int result = 0;
    for (size_t at = 0; at < values && result == 0; at += CHUNK)
        result = write_values(fd, data, values - at < CHUNK ? values - at : CHUNK, type, where, e);
    free(data);
    return result;
}

int model_write_sketch(const struct model_config *c, int fd, const char *where, int filled,
                       struct err *e)
{
    struct plan plan = {0};
    size_t size = 0, bytes = 0;
    int result = plan_model(&plan, c, c->dtype, e);
    char *header = result == 0 ? plan_header(&plan, &size, e) : NULL;
    result = header ? write_header(fd, header, size, where, e) : -1;
    for (size_t i = 0; i < plan.n && result == 0; i++) {
        bytes += plan.tensor[i].entry.bytes;
        if (filled)
            result = fill_roughly(fd, where, &plan.tensor[i], c, c->dtype, e);
    }
    // A hole takes no memory until somebody reads it.
    if (result == 0 && ftruncate(fd, (off_t)(8 + size + bytes)) < 0)
        result = err_errno(e, where);
    free(header);
    plan_release(&plan);
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
    if (from < 0) {
        err_errno(e, config_directory);
        return no_model_explain(config_directory, e);
    }
    struct plan plan = {0};
    struct kept kept;
    if (kept_read(&kept, from, e) < 0) {
        close(from);
        return err_prefix(e, "%s", config_directory);
    }
    int result = config_read(&c, from, e);
    if (result < 0 && !io_exists(from, config_name))
        no_model_explain(config_directory, e);
    if (result < 0)
        err_prefix(e, "%s", config_directory);
    else if (!save_dtype)
        type = c.dtype;
    if (result == 0)
        result = plan_model(&plan, &c, type, e);
    if (result == 0)
        result = check_room(&plan, to, e);
    if (result == 0)
        result = kept_write(&kept, to, e);
    struct fresh fresh = {&c, seed};
    const struct model_source source = {.from = &fresh, .fill = fill_fresh};
    if (result == 0)
        result = write_plan(&plan, to, type, &source, e);
    if (result == 0 && save_dtype)
        result = rewrite_config(to, type, e);
    plan_release(&plan);
    kept_release(&kept);
    config_release(&c);
    close(from);
    return result;
}
