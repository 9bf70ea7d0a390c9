// SPDX-License-Identifier: MIT
#include "model/model_bind.h"
#include "model/misnamed.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

enum { ALIGN_VALUES = 16, ALIGN_COPY = 64, NAME_SIZE = 256, COMPARED = 4096 };

// ---- names ----

// Where a tensor lies: its shard, or NULL.
static const struct safetensors *find_entry(const struct model *m, const char *name,
                                            const struct safetensors_entry **entry)
{
    for (size_t i = 0; i < m->n_shards; i++)
        if ((*entry = safetensors_find(&m->shard[i], name)) && !(*entry)->elsewhere)
            return &m->shard[i];
    return NULL;
}

// In a multimodal folder, the name that the tensor has in transformers' memory.
static void other_wrapped(const struct family *f, const char *name, char *out, size_t size)
{
    const char *bare = name + strlen(family_wrapped);
    size_t base = strlen(f->base);
    if (strncmp(bare, f->base, base) != 0)
        snprintf(out, size, "%s", bare);
    else
        snprintf(out, size, "%s%s", family_wrapped_base, bare + base);
}

// By the family's name, by that without the name of the base model (as a file saved from the base
// model alone has it), and the head by its other name.
static const struct safetensors *find_role(const struct model *m, enum tensor_role role,
                                           size_t layer, size_t head,
                                           const struct safetensors_entry **entry)
{
    const struct family *f = m->family;
    char name[NAME_SIZE], other[NAME_SIZE];
    family_name(&m->config, role, layer, head, name, sizeof name);
    const struct safetensors *s = find_entry(m, name, entry);
    size_t base = strlen(f->base);
    if (family_is_wrapped(&m->config, role)) {
        other_wrapped(f, name, other, sizeof other);
        return s ? s : find_entry(m, other, entry);
    }
    if (!s && !strncmp(name, f->base, base))
        s = find_entry(m, name + base, entry);
    if (!s && role == ROLE_HEAD && f->other_head)
        s = find_entry(m, f->other_head, entry);
    return s;
}

// ---- parameters ----

struct tensor *bind_tensor(struct model *m, const struct parameter *p)
{
    if (p->layer < 0)
        return &m->globals[p->role];
    if (p->head < 0)
        return &m->layer[p->layer][p->role];
    const struct model_config *c = &m->config;
    size_t first = (size_t)p->layer * (c->heads + c->kv_heads);
    return &m->head_norm[first + (p->role == ROLE_KEY_NORM ? c->heads : 0) + (size_t)p->head];
}

static int check_parameter(const struct parameter *p, struct err *e)
{
    const struct safetensors_entry *t = p->entry;
    if (!t->known)
        return err_set(e, STATUS_FAILED, "%s: tensor `%s`: weights of type %s are not read",
                       p->file->path, p->name, t->type);
    int fits = t->n_dims == p->n_dims && t->dim[t->n_dims - 1] == p->cols &&
               (p->n_dims == 1 || t->dim[0] == p->rows);
    if (!fits)
        return err_set(e, STATUS_FAILED,
                       "%s: tensor `%s`: its shape is not the %zu x %zu that config.json asks for",
                       p->file->path, p->name, p->rows, p->cols);
    return safetensors_align(p->file, t, e);
}

static void set_tensor(struct model *m, const struct parameter *p, const void *data,
                       enum dtype type, float *grad)
{
    int turned = family_is_turned(&m->config, p->role);
    *bind_tensor(m, p) = (struct tensor){.data = data,
                                         .type = type,
                                         .rows = turned ? p->cols : p->rows,
                                         .cols = turned ? p->rows : p->cols,
                                         .transposed = turned,
                                         .grad = grad};
}

static int is_bias(enum tensor_role role)
{
    switch (role) {
    case ROLE_EMBEDDING_NORM_BIAS:
    case ROLE_FINAL_NORM_BIAS:
    case ROLE_HEAD_BIAS:
    case ROLE_ATTENTION_NORM_BIAS:
    case ROLE_QUERY_BIAS:
    case ROLE_KEY_BIAS:
    case ROLE_VALUE_BIAS:
    case ROLE_QKV_BIAS:
    case ROLE_QUERY_NORM_BIAS:
    case ROLE_KEY_NORM_BIAS:
    case ROLE_ATTENTION_OUT_BIAS:
    case ROLE_ATTENTION_POST_NORM_BIAS:
    case ROLE_MLP_NORM_BIAS:
    case ROLE_GATE_BIAS:
    case ROLE_UP_BIAS:
    case ROLE_DOWN_BIAS:
    case ROLE_MLP_POST_NORM_BIAS:
        return 1;
    default:
        return 0;
    }
}

// Biases that no layer of the files has are 0, as transformers makes them (models trained without
// biases are converted so to families that have them).
static void drop_absent_biases(struct model *m)
{
    struct model_config *c = &m->config;
    const struct safetensors_entry *entry;
    for (int role = 0; role < ROLE_COUNT; role++) {
        size_t layers = role < ROLE_LAYER_FIRST ? 1 : c->layers, found = 0;
        if (!c->has[role] || !is_bias(role))
            continue;
        for (size_t l = 0; l < layers && !found; l++)
            found = find_role(m, role, l, 0, &entry) != NULL;
        c->has[role] = found != 0;
    }
}

// layer, head: -1 where the role has none.
static int add_parameter(struct model *m, enum tensor_role role, int layer, int head, struct err *e)
{
    struct parameter p = {.role = role, .layer = layer, .head = head};
    p.n_dims = family_shape(&m->config, role, &p.rows, &p.cols);
    if (!p.n_dims)
        return 0;
    size_t l = layer < 0 ? 0 : (size_t)layer, h = head < 0 ? 0 : (size_t)head;
    p.file = find_role(m, role, l, h, &p.entry);
    if (!p.file) {
        char name[NAME_SIZE];
        return misnamed_missing(m, family_name(&m->config, role, l, h, name, sizeof name), e);
    }
    p.name = p.entry->name;
    if (check_parameter(&p, e) < 0)
        return -1;
    p.offset = m->n_flat;
    m->n_values += p.rows * p.cols;
    m->n_flat += (p.rows * p.cols + ALIGN_VALUES - 1) / ALIGN_VALUES * ALIGN_VALUES;
    m->parameter[m->n_parameters++] = p;
    set_tensor(m, &p, safetensors_data(p.file, p.entry), p.entry->dtype, NULL);
    return 0;
}

// ---- views ----

// Rows first .. first+rows-1 of a matrix, or elements of a vector.
static struct tensor part(const struct tensor *t, size_t first, size_t rows, int vector)
{
    struct tensor out = *t;
    size_t step = vector || t->transposed ? 1 : tensor_pitch(t);
    if (!t->data)
        return out;
    out.pitch = vector ? 0 : tensor_pitch(t);
    if (vector)
        out.cols = rows;
    else
        out.rows = rows;
    out.data = (const char *)t->data + first * step * dtype_size(t->type);
    if (t->grad)
        out.grad = t->grad + first * step;
    return out;
}

static void split_qkv(const struct model_config *c, struct tensor *t)
{
    size_t q = c->heads * c->head_dim, kv = c->kv_heads * c->head_dim;
    if (c->fusion != FUSION_BLOCKS)
        return;
    t[ROLE_QUERY] = part(&t[ROLE_QKV], 0, q, 0);
    t[ROLE_KEY] = part(&t[ROLE_QKV], q, kv, 0);
    t[ROLE_VALUE] = part(&t[ROLE_QKV], q + kv, kv, 0);
    t[ROLE_QUERY_BIAS] = part(&t[ROLE_QKV_BIAS], 0, q, 1);
    t[ROLE_KEY_BIAS] = part(&t[ROLE_QKV_BIAS], q, kv, 1);
    t[ROLE_VALUE_BIAS] = part(&t[ROLE_QKV_BIAS], q + kv, kv, 1);
}

// Norms of heads that lie as the rows of one tensor.
static void split_head_norms(const struct model_config *c, const struct tensor *t,
                             struct tensor *norm)
{
    for (size_t h = 0; h < c->heads && t[ROLE_QUERY_NORM].data; h++)
        norm[h] = part(&t[ROLE_QUERY_NORM], h, 1, 0);
    for (size_t h = 0; h < c->kv_heads && t[ROLE_KEY_NORM].data; h++)
        norm[c->heads + h] = part(&t[ROLE_KEY_NORM], h, 1, 0);
}

// The tensors that are parts of others.
static void set_views(struct model *m)
{
    const struct model_config *c = &m->config;
    for (size_t l = 0; l < c->layers; l++) {
        struct tensor *t = m->layer[l];
        split_qkv(c, t);
        if (c->has[ROLE_GATE_UP]) {
            t[ROLE_GATE] = part(&t[ROLE_GATE_UP], 0, c->intermediate, 0);
            t[ROLE_UP] = part(&t[ROLE_GATE_UP], c->intermediate, c->intermediate, 0);
        }
        if (m->head_norm)
            split_head_norms(c, t, m->head_norm + l * (c->heads + c->kv_heads));
    }
    m->positions = part(&m->globals[ROLE_POSITIONS], c->position_offset, c->max_position, 0);
    if (c->tied && c->head == HEAD_VOCABULARY)
        m->globals[ROLE_HEAD] = m->globals[ROLE_EMBEDDING];
}

void bind_masters(struct model *m)
{
    for (size_t i = 0; i < m->n_parameters; i++) {
        const struct parameter *p = &m->parameter[i];
        set_tensor(m, p, m->master + p->offset, DTYPE_F32, m->gradient + p->offset);
    }
    set_views(m);
}

size_t bind_copy(struct model *m, char *copy)
{
    size_t at = 0;
    for (size_t i = 0; i < m->n_parameters; i++) {
        const struct parameter *p = &m->parameter[i];
        if (copy)
            set_tensor(m, p, copy + at, p->entry->dtype, NULL);
        at += (p->entry->bytes + ALIGN_COPY - 1) / ALIGN_COPY * ALIGN_COPY;
    }
    if (copy)
        set_views(m);
    return at;
}

// ---- tied heads ----

static int same_values(const struct safetensors *a, const struct safetensors_entry *x,
                       const struct safetensors *b, const struct safetensors_entry *y)
{
    if (!x->known || !y->known || x->n_dims != 2 || y->n_dims != 2 || x->dim[0] != y->dim[0] ||
        x->dim[1] != y->dim[1])
        return 0;
    const unsigned char *p = safetensors_data(a, x), *q = safetensors_data(b, y);
    if (x->dtype == y->dtype)
        return !memcmp(p, q, x->bytes);
    size_t values = x->bytes / dtype_size(x->dtype);
    float left[COMPARED], right[COMPARED];
    for (size_t at = 0; at < values; at += COMPARED) {
        size_t n = values - at < COMPARED ? values - at : COMPARED;
        dtype_to_f32(left, p + at * dtype_size(x->dtype), x->dtype, n);
        dtype_to_f32(right, q + at * dtype_size(y->dtype), y->dtype, n);
        if (memcmp(left, right, n * sizeof *left) != 0)
            return 0;
    }
    return 1;
}

// A file may have a head although config.json calls it tied. As in transformers, it counts where
// its values differ from the embedding's; and it stands for an embedding that is not there.
static void resolve_tie(struct model *m)
{
    struct model_config *c = &m->config;
    const struct safetensors_entry *head, *embedding;
    if (!c->tied || c->head != HEAD_VOCABULARY)
        return;
    const struct safetensors *a = find_role(m, ROLE_HEAD, 0, 0, &head);
    const struct safetensors *b = find_role(m, ROLE_EMBEDDING, 0, 0, &embedding);
    if (!a)
        return;
    if (b && !same_values(a, head, b, embedding)) {
        c->tied = 0;
        c->has[ROLE_HEAD] = 1;
        return;
    }
    m->tied_head = head;
}

// The embedding, or the tied head in its place.
static int add_embedding(struct model *m, struct err *e)
{
    const struct safetensors_entry *entry;
    if (!m->tied_head || find_role(m, ROLE_EMBEDDING, 0, 0, &entry))
        return add_parameter(m, ROLE_EMBEDDING, -1, -1, e);
    struct parameter p = {.role = ROLE_EMBEDDING, .layer = -1, .head = -1};
    p.n_dims = family_shape(&m->config, ROLE_EMBEDDING, &p.rows, &p.cols);
    p.file = find_role(m, ROLE_HEAD, 0, 0, &p.entry);
    p.name = p.entry->name;
    m->tied_head = NULL;
    if (check_parameter(&p, e) < 0)
        return -1;
    m->n_values = p.rows * p.cols;
    m->n_flat = (m->n_values + ALIGN_VALUES - 1) / ALIGN_VALUES * ALIGN_VALUES;
    m->parameter[m->n_parameters++] = p;
    set_tensor(m, &p, safetensors_data(p.file, p.entry), p.entry->dtype, NULL);
    return 0;
}

// ---- what is left over ----

static int ends_with(const char *name, const char *suffix)
{
    size_t n = strlen(name), k = strlen(suffix);
    return n >= k && !strcmp(name + n - k, suffix);
}

// Buffers that hub files carry and that are computed here: inverse frequencies, tables and causal
// masks, which GPT-2 and its relatives call `bias`.
static int is_buffer(const char *name)
{
    static const char *const suffixes[] = {
        "rotary_emb.inv_freq",    "rotary_emb.cos_cached",
        "rotary_emb.sin_cached",  ".attn.bias",
        ".attn.masked_bias",      ".attention.bias",
        ".attention.masked_bias", "transformer.bias",
    };
    for (size_t i = 0; i < sizeof suffixes / sizeof *suffixes; i++)
        if (ends_with(name, suffixes[i]))
            return 1;
    const char *last = strrchr(name, '.');
    return strstr(last ? last : name, "mask") != NULL;
}

// Names that PEFT and its relatives give to what they train beside a model.
static int is_adapter(const char *name)
{
    static const char *const parts[] = {"base_model.model.", "lora_",         ".base_layer.",
                                        ".adapter",          "adapter.",      "adapters.",
                                        "modules_to_save.",  ".ia3_",         "prompt_embeddings",
                                        "trainable_tokens_", ".oft_",         ".boft_",
                                        ".hada_w",           ".vera_lambda_", ".lokr_w"};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        if (strstr(name, parts[i]))
            return 1;
    return 0;
}

// "h." of "transformer.h.%d.attn...": what stands before the layer's number, without the base.
static size_t layer_stem(const struct family *f, const char **stem)
{
    const char *name = f->name[ROLE_ATTENTION_OUT] + strlen(f->base);
    *stem = name;
    return (size_t)(strchr(name, '%') - name);
}

// What follows the base model's name in that of a tensor (a wrapper may have put its own before
// it), or NULL.
static const char *find_base(const struct family *f, const char *name)
{
    for (const char *at = name; (at = strstr(at, f->base)); at++)
        if (at == name || at[-1] == '.')
            return at + strlen(f->base);
    return NULL;
}

// The same in a multimodal folder. NULL: not a tensor of the text model.
static const char *find_wrapped(const struct family *f, const char *name)
{
    size_t outer = strlen(family_wrapped), whole = strlen(family_wrapped_base);
    if (!strncmp(name, family_wrapped_base, whole))
        return name + whole;
    if (strncmp(name, family_wrapped, outer) != 0)
        return NULL;
    const char *inside = find_base(f, name + outer);
    return inside ? inside : name + outer;
}

enum stray { STRAY, STRAY_WEIGHT, STRAY_LAYER, STRAY_ADAPTER };

// What a tensor that has no place in the decoder looks like. A weight, of which the configuration
// does not speak, would change the numbers.
static enum stray judge(const struct model *m, const struct safetensors_entry *t)
{
    const struct family *f = m->family;
    const char *name = t->name, *stem;
    size_t length = layer_stem(f, &stem);
    const char *inside = m->config.wrapper ? find_wrapped(f, name) : find_base(f, name);
    if (is_adapter(name))
        return STRAY_ADAPTER;
    if (is_buffer(name))
        return STRAY;
    int named = ends_with(name, ".weight") || ends_with(name, ".bias");
    const char *layer = inside ? inside : name;
    if (!strncmp(layer, stem, length) && isdigit((unsigned char)layer[length])) {
        if (strtoull(layer + length, NULL, 10) >= m->config.layers)
            return STRAY_LAYER;
        return t->known || named ? STRAY_WEIGHT : STRAY;
    }
    if (m->config.head == HEAD_VOCABULARY && !inside && t->known &&
        (!strcmp(name, "lm_head.bias") || !strcmp(name, "embed_out.bias") ||
         (f->other_head && (!strcmp(name, f->other_head) || !strcmp(name, f->name[ROLE_HEAD])))))
        return STRAY_WEIGHT;
    return inside && named ? STRAY_WEIGHT : STRAY;
}

static int add_unused(struct model *m, const struct safetensors *s,
                      const struct safetensors_entry *t, struct err *e)
{
    switch (t->elsewhere ? STRAY : judge(m, t)) {
    case STRAY_WEIGHT:
        return err_set(
            e, STATUS_FAILED,
            "%s: tensor `%.200s` looks like a weight, but config.json has no place for it", s->path,
            t->name);
    case STRAY_LAYER:
        return err_set(e, STATUS_FAILED,
                       "%s: tensor `%.200s` is of a layer beyond the %zu of config.json", s->path,
                       t->name, m->config.layers);
    case STRAY_ADAPTER:
        return err_set(
            e, STATUS_FAILED,
            "%s: tensor `%.200s` is an adapter's: merge the adapter into the model first", s->path,
            t->name);
    case STRAY:
        m->unused[m->n_unused++] = t;
    }
    return 0;
}

static int find_unused(struct model *m, struct err *e)
{
    size_t tensors = 0, most = 0;
    for (size_t i = 0; i < m->n_shards; i++) {
        tensors += m->shard[i].n;
        most = m->shard[i].n > most ? m->shard[i].n : most;
    }
    m->unused = mem_alloc(tensors + 1, sizeof *m->unused, "tensor entries", e);
    unsigned char *used = mem_alloc(most + 1, 1, "tensor entries", e);
    int result = m->unused && used ? 0 : -1;
    for (size_t i = 0; i < m->n_shards && result == 0; i++) {
        const struct safetensors *s = &m->shard[i];
        memset(used, 0, s->n);
        for (size_t k = 0; k < m->n_parameters; k++)
            if (m->parameter[k].file == s)
                used[m->parameter[k].entry - s->entry] = 1;
        for (size_t k = 0; k < s->n && result == 0; k++)
            if (!used[k] && &s->entry[k] != m->tied_head)
                result = add_unused(m, s, &s->entry[k], e);
    }
    free(used);
    return result;
}

// ---- all of it ----

static int add_layer(struct model *m, int layer, struct err *e)
{
    const struct model_config *c = &m->config;
    for (int role = ROLE_LAYER_FIRST; role < ROLE_COUNT; role++) {
        if (c->head_norm != HEAD_NORM_EACH || !family_is_per_head(m->family, role)) {
            if (add_parameter(m, role, layer, -1, e) < 0)
                return -1;
            continue;
        }
        size_t heads = role == ROLE_KEY_NORM ? c->kv_heads : c->heads;
        for (size_t h = 0; h < heads; h++)
            if (add_parameter(m, role, layer, (int)h, e) < 0)
                return -1;
    }
    return 0;
}

static int make_room(struct model *m, struct err *e)
{
    const struct model_config *c = &m->config;
    size_t each = c->head_norm == HEAD_NORM_EACH ? c->heads + c->kv_heads : 0;
    size_t tensors = 0, bytes = 0;
    for (size_t i = 0; i < m->n_shards; i++) {
        tensors += m->shard[i].n;
        bytes += m->shard[i].size;
    }
    // What the files cannot hold takes no memory either.
    if (tensors < c->layers || bytes / c->layers < each)
        return err_set(e, STATUS_FAILED, "%zu tensors cannot be the %zu layers of config.json",
                       tensors, c->layers);
    m->parameter = mem_alloc(tensors, sizeof *m->parameter, "parameters", e);
    m->layer = mem_alloc(c->layers, sizeof *m->layer, "layers", e);
    if (each)
        m->head_norm = mem_alloc(c->layers * each, sizeof *m->head_norm, "norms of heads", e);
    return m->parameter && m->layer && (!each || m->head_norm) ? 0 : -1;
}

int bind_parameters(struct model *m, struct err *e)
{
    if (make_room(m, e) < 0)
        return -1;
    resolve_tie(m);
    drop_absent_biases(m);
    if (add_embedding(m, e) < 0)
        return -1;
    for (int role = ROLE_EMBEDDING + 1; role < ROLE_LAYER_FIRST; role++)
        if (add_parameter(m, role, -1, -1, e) < 0)
            return -1;
    for (size_t layer = 0; layer < m->config.layers; layer++)
        if (add_layer(m, (int)layer, e) < 0)
            return -1;
    set_views(m);
    return find_unused(m, e);
}
