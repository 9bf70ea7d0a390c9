// SPDX-License-Identifier: MIT
#include "exchange/export.h"
#include "base/thread.h"
#include "exchange/hyper.h"
#include "exchange/layout.h"
#include "exchange/mix.h"
#include "exchange/tokenizer_out.h"
#include "gguf/pack.h"
#include "gguf/writer.h"

#include <stdlib.h>
#include <string.h>

// A tensor of the file: a parameter, or several that are rows of it, or numbers made here.
struct exported {
    struct gguf_entry entry;
    struct layout layout;
    size_t first, n; // parameters; n = 0: `values` are written
    float values[ROPE_DIMS_MAX / 2];
};

struct exporting {
    const struct model *model;
    const struct architecture *a;
    const struct type_mix *mix;
    struct exported *tensor;
    size_t n, capacity;
};

static struct exported *add_tensor(struct exporting *ex, struct err *e)
{
    if (MEM_GROW(ex->tensor, ex->capacity, ex->n + 1, "tensors", e) < 0)
        return NULL;
    struct exported *t = &ex->tensor[ex->n++];
    memset(t, 0, sizeof *t);
    return t;
}

static int add_factors(struct exporting *ex, const char *name, const double *list, struct err *e)
{
    const struct rope_config *r = &ex->model->config.rope[0];
    struct exported *t = add_tensor(ex, e);
    if (!t)
        return -1;
    snprintf(t->entry.name, sizeof t->entry.name, "%s", name);
    t->entry.n_dims = 1;
    t->entry.dim[0] = r->dims / 2;
    if (!list)
        hyper_factors(&ex->model->config, r, t->values);
    for (size_t i = 0; list && i < r->dims / 2; i++)
        t->values[i] = (float)list[i];
    return 0;
}

static int add_rope(struct exporting *ex, struct err *e)
{
    const struct model_config *c = &ex->model->config;
    const struct rope_config *r = &c->rope[0];
    if (c->n_ropes && r->type == ROPE_LLAMA3)
        return add_factors(ex, "rope_freqs.weight", NULL, e);
    if (c->n_ropes && r->type == ROPE_LONGROPE)
        return add_factors(ex, "rope_factors_long.weight", r->long_factor, e) < 0
                   ? -1
                   : add_factors(ex, "rope_factors_short.weight", r->short_factor, e);
    return 0;
}

static int add_parameter(struct exporting *ex, size_t i, struct err *e)
{
    const struct parameter *p = &ex->model->parameter[i];
    if (p->head > 0) // a row of a tensor that is there
        return 0;
    struct exported *t = add_tensor(ex, e);
    if (!t)
        return -1;
    if (layout_of(&t->layout, &ex->model->config, ex->a, p->role,
                  p->layer < 0 ? 0 : (size_t)p->layer) < 0)
        return err_set(
            e, STATUS_FAILED,
            "llama.cpp does not compute this model: its architecture %s has no place for "
            "%s",
            ex->a->name, p->name);
    snprintf(t->entry.name, sizeof t->entry.name, "%s", t->layout.name);
    t->first = i;
    t->n = p->head < 0 ? 1 : t->layout.rows;
    t->entry.type = mix_type(ex->mix, &t->layout, p->layer < 0 ? 0 : (size_t)p->layer);
    t->entry.n_dims = t->layout.n_dims;
    t->entry.dim[0] = t->layout.n_dims == 1 ? t->layout.rows * t->layout.cols : t->layout.cols;
    t->entry.dim[1] = t->layout.rows;
    return 0;
}

// The same row of a per-head norm: parameters of one role and layer, by head.
static size_t find_head(const struct model *m, size_t first, size_t head)
{
    const struct parameter *p = &m->parameter[first];
    for (size_t i = 0; i < m->n_parameters; i++)
        if (m->parameter[i].role == p->role && m->parameter[i].layer == p->layer &&
            m->parameter[i].head == (int)head)
            return i;
    return first;
}

static int fetch(const struct exporting *ex, const struct exported *t, float *out, struct err *e)
{
    size_t each = t->layout.rows * t->layout.cols / t->n;
    for (size_t h = 0; h < t->n; h++)
        if (model_values(ex->model, t->n == 1 ? t->first : find_head(ex->model, t->first, h),
                         out + h * each, e) < 0)
            return -1;
    return 0;
}

struct packing {
    enum gguf_type type;
    unsigned char *to;
    const float *from;
    size_t cols, row_bytes;
};

static void pack_rows(void *arg, size_t begin, size_t end, int worker)
{
    const struct packing *p = arg;
    for (size_t i = begin; i < end; i++)
        pack_blocks(p->type, p->to + i * p->row_bytes, p->from + i * p->cols, p->cols);
}

static int write_packed(const struct exported *t, const float *values, struct output *out,
                        struct err *e)
{
    size_t bytes = gguf_entry_bytes(&t->entry);
    unsigned char *packed = mem_alloc(gguf_padded(bytes), 1, "a packed tensor", e);
    if (!packed)
        return -1;
    size_t rows = t->entry.n_dims == 1 ? 1 : t->entry.dim[1];
    struct packing job = {t->entry.type, packed, values, t->entry.dim[0], bytes / rows};
    threads_for(rows, 1, pack_rows, &job);
    int result = output_write(out, packed, gguf_padded(bytes), e);
    free(packed);
    return result;
}

static int write_tensor(const struct exporting *ex, const struct exported *t, struct output *out,
                        struct err *e)
{
    size_t n = t->n ? t->layout.rows * t->layout.cols : 0;
    if (!n)
        return write_packed(t, t->values, out, e);
    float *ours = mem_alloc(n, sizeof *ours, "a tensor", e);
    float *theirs =
        ours && !layout_is_plain(&t->layout) ? mem_alloc(n, sizeof *theirs, "a tensor", e) : ours;
    int result = theirs ? fetch(ex, t, ours, e) : -1;
    if (result == 0 && theirs != ours)
        layout_to_file(&t->layout, theirs, ours);
    if (result == 0)
        result = write_packed(t, theirs, out, e);
    if (theirs != ours)
        free(theirs);
    free(ours);
    return result;
}

static json_t *make_keys(const struct exporting *ex, const struct export *options, struct err *e)
{
    const struct model_config *c = &ex->model->config;
    json_t *own = hyper_keys(c, ex->a, e), *value;
    const char *key;
    char name[STEM_NAME];
    if (!own)
        return NULL;
    json_t *keys = json_pack("{s:s, s:s, s:i, s:i}", "general.architecture", ex->a->name,
                             "general.type", "model", "general.file_type", ex->mix->file_type,
                             "general.quantization_version", 2);
    if (options->name)
        json_object_set_new(keys, "general.name", json_string(options->name));
    json_object_foreach(own, key, value)
    {
        json_object_set(keys, architecture_key(ex->a, key, name), value);
    }
    json_decref(own);
    if (tokenizer_out(keys, ex->model->directory, c->vocab, e) < 0) {
        json_decref(keys);
        return NULL;
    }
    if (options->chat_template)
        json_object_set(keys, "tokenizer.chat_template", (json_t *)options->chat_template);
    return keys;
}

static int write_head(const struct exporting *ex, const json_t *keys, struct output *out,
                      struct err *e)
{
    struct buffer head;
    struct gguf_entry *entry = mem_alloc(ex->n, sizeof *entry, "tensors", e);
    buffer_init(&head, 0);
    for (size_t i = 0; entry && i < ex->n; i++)
        entry[i] = ex->tensor[i].entry;
    int result = entry ? gguf_head(&head, keys, entry, ex->n, e) : -1;
    if (result == 0)
        result = output_write(out, head.data, head.size, e);
    buffer_release(&head);
    free(entry);
    return result;
}

static int plan(struct exporting *ex, struct err *e)
{
    const struct model *m = ex->model;
    for (size_t i = 0; i < m->n_parameters; i++)
        if (add_parameter(ex, i, e) < 0)
            return -1;
    return add_rope(ex, e);
}

int export_check(const struct export *options, struct err *e)
{
    return mix_find(options->type, e) ? 0 : -1;
}

int export_gguf(const struct model *m, struct output *out, const struct export *options,
                struct err *e)
{
    struct exporting ex = {
        .model = m, .a = architecture_of_family(&m->config), .mix = mix_find(options->type, e)};
    char known[512];
    if (!ex.mix)
        return -1;
    if (!ex.a)
        return err_set(e, STATUS_FAILED, "%s: llama.cpp has no models of type %s; GGUF's are %s",
                       m->path, m->config.model_type, architecture_list(known, sizeof known));
    json_t *keys = make_keys(&ex, options, e);
    int result = keys ? plan(&ex, e) : -1;
    if (result < 0)
        err_prefix(e, "%s", m->path);
    if (result == 0)
        result = write_head(&ex, keys, out, e);
    for (size_t i = 0; i < ex.n && result == 0; i++)
        result = write_tensor(&ex, &ex.tensor[i], out, e);
    json_decref(keys);
    free(ex.tensor);
    return result < 0 ? -1 : mapped_unchanged(e);
}
