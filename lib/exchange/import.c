// SPDX-License-Identifier: MIT
#include "exchange/import.h"
#include "base/io.h"
#include "base/json.h"
#include "base/memory.h"
#include "exchange/hyper.h"
#include "exchange/layout.h"
#include "exchange/tokenizer_in.h"
#include "model/model.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

struct importing {
    struct gguf file;
    const struct architecture *a;
    struct model_config config;
    char *used; // [tensors of the file]
};

// Tensors that hyper_config has read, or that are made from keys.
static const char *const derived[] = {"rope_freqs.weight", "rope_factors_long.weight",
                                      "rope_factors_short.weight"};

static const struct gguf_tensor *take_tensor(struct importing *im, const char *name)
{
    const struct gguf_tensor *t = gguf_find_tensor(&im->file, name);
    if (t)
        im->used[t - im->file.tensor] = 1;
    return t;
}

static int check_shape(const struct importing *im, const struct gguf_tensor *t,
                       const struct layout *l, struct err *e)
{
    int same = l->n_dims == 1 ? t->values == t->dim[0] && t->dim[0] == l->rows * l->cols
                              : t->values == t->dim[0] * t->dim[1] && t->dim[0] == l->cols &&
                                    t->dim[1] == l->rows;
    if (same)
        return 0;
    return err_set(e, STATUS_FAILED, "%s: tensor '%s' has not the shape [%zu, %zu]", im->file.path,
                   t->name, l->rows, l->cols);
}

static int check_reach(const struct importing *im, const struct gguf_tensor *t, const float *x,
                       size_t n, struct err *e)
{
    for (size_t i = 0; im->config.dtype == DTYPE_F16 && i < n; i++)
        if (isfinite(x[i]) && fabsf(x[i]) > 65504)
            return err_set(e, STATUS_FAILED,
                           "%s: tensor '%s' holds %g, which fp16 cannot: take --dtype bf16 or fp32",
                           im->file.path, t->name, (double)x[i]);
    return 0;
}

// The tensor's values in our order.
static int read_ordered(const struct importing *im, const struct gguf_tensor *t,
                        const struct layout *l, float *out, struct err *e)
{
    if (layout_is_plain(l))
        return gguf_unpack(&im->file, t, 0, t->values, out, e);
    float *there = mem_alloc(t->values, sizeof *there, "a tensor", e);
    if (!there)
        return -1;
    int result = gguf_unpack(&im->file, t, 0, t->values, there, e);
    if (result == 0)
        layout_from_file(l, out, there);
    free(there);
    return result;
}

// Of a norm with a tensor per head, which are rows of one in the file.
static int read_row(const struct importing *im, const struct gguf_tensor *t, const struct layout *l,
                    size_t row, float *out, struct err *e)
{
    float *all = mem_alloc(t->values, sizeof *all, "a tensor", e);
    if (!all)
        return -1;
    int result = read_ordered(im, t, l, all, e);
    if (result == 0)
        memcpy(out, all + row * l->cols, l->cols * sizeof *out);
    free(all);
    return result;
}

// Whether the tensor is there, in its shape.
static int check(void *from, const struct model_tensor *t, struct err *e)
{
    struct importing *im = from;
    struct layout l;
    if (layout_of(&l, &im->config, im->a, t->role, t->layer) < 0)
        return err_set(e, STATUS_FAILED, "%s: GGUF's architecture %s has no tensor for %s",
                       im->file.path, im->a->name, t->name);
    const struct gguf_tensor *source = take_tensor(im, l.name);
    if (!source)
        return err_set(e, STATUS_FAILED, "%s: tensor '%s' is missing", im->file.path, l.name);
    return check_shape(im, source, &l, e);
}

static int fill(void *from, const struct model_tensor *t, float *out, struct err *e)
{
    struct importing *im = from;
    struct layout l;
    MAY_FAIL(layout_of(&l, &im->config, im->a, t->role, t->layer) < 0); // `check` has looked
    const struct gguf_tensor *source = gguf_find_tensor(&im->file, l.name);
    int by_heads = family_is_per_head(im->config.family, t->role);
    int result =
        by_heads ? read_row(im, source, &l, t->head, out, e) : read_ordered(im, source, &l, out, e);
    return result < 0 ? -1 : check_reach(im, source, out, t->rows * t->cols, e);
}

static int check_used(struct importing *im, struct err *e)
{
    for (size_t i = 0; i < sizeof derived / sizeof *derived; i++)
        take_tensor(im, derived[i]);
    for (size_t i = 0; i < im->file.n_tensors; i++)
        if (!im->used[i])
            return err_set(e, STATUS_FAILED,
                           "%s: tensor '%s' is none that this version knows of architecture %s",
                           im->file.path, im->file.tensor[i].name, im->a->name);
    return 0;
}

// ---- config.json ----

static const char config_name[] = "config.json";

static const char *dtype_of(const struct importing *im, const struct import *options)
{
    static const struct {
        const char *option, *block, *name;
    } names[] = {
        {"fp32", "F32", "float32"}, {"fp16", "F16", "float16"}, {"bf16", "BF16", "bfloat16"}};
    const char *matrices = NULL;
    for (size_t i = 0; i < im->file.n_tensors; i++) {
        const struct gguf_tensor *t = &im->file.tensor[i];
        if (t->n_dims > 1 && matrices && strcmp(matrices, t->type->name) != 0)
            matrices = "several";
        else if (t->n_dims > 1)
            matrices = t->type->name;
    }
    for (int i = 0; i < 3; i++)
        if (options->dtype ? !strcmp(names[i].option, options->dtype)
                           : matrices && !strcmp(names[i].block, matrices))
            return names[i].name;
    return "bfloat16";
}

static int write_config(struct importing *im, const struct import *options, int to, struct err *e)
{
    json_t *config = hyper_config(&im->file, im->a, e);
    if (!config)
        return -1;
    json_object_set_new(config, "torch_dtype", json_string(dtype_of(im, options)));
    int result = tokenizer_in(&im->file, config, to, e);
    char *text =
        result == 0 ? json_text(config, JSON_INDENT(2) | JSON_REAL_PRECISION(15), e) : NULL;
    if (result == 0)
        result = text ? io_write_file(to, config_name, text, strlen(text), e)
                      : err_memory(e, 0, config_name);
    free(text);
    json_decref(config);
    return result;
}

static int find_architecture(struct importing *im, struct err *e)
{
    struct gguf_text name;
    char known[512], text[64];
    int found = gguf_get_text(&im->file, "general.architecture", &name, e);
    if (found < 0)
        return -1;
    if (!found)
        return err_set(e, STATUS_FAILED, "%s: key 'general.architecture' is missing",
                       im->file.path);
    snprintf(text, sizeof text, "%.*s", (int)(name.n < sizeof text ? name.n : sizeof text - 1),
             name.s);
    im->a = architecture_of_file(&im->file, text);
    if (im->a)
        return 0;
    return err_set(e, STATUS_FAILED,
                   "%s: architecture '%s' is not known to this version, which reads %s",
                   im->file.path, text, architecture_list(known, sizeof known));
}

// A model in several files has keys in the first alone.
static int check_split(const struct gguf *g, struct err *e)
{
    int64_t n = 1;
    if (gguf_get_int(g, "split.count", &n, e) < 0)
        return -1;
    if (n <= 1)
        return 0;
    return err_set(e, STATUS_FAILED,
                   "%s: one of %lld files: join them first (llama-gguf-split --merge)", g->path,
                   (long long)n);
}

static int import_opened(struct importing *im, int to, const struct import *options, struct err *e)
{
    im->used = mem_alloc(im->file.n_tensors + 1, 1, "tensors", e);
    if (!im->used || check_split(&im->file, e) < 0 || find_architecture(im, e) < 0 ||
        write_config(im, options, to, e) < 0)
        return -1;
    if (config_read(&im->config, to, e) < 0)
        return err_prefix(e, "%s: what its keys say", im->file.path);
    const struct model_source source = {im, check, fill};
    int result = hyper_compare(&im->file, im->a, &im->config, e);
    if (result == 0)
        result = model_write(&im->config, to, &source, e);
    if (result == 0)
        result = check_used(im, e);
    config_release(&im->config);
    return result < 0 ? -1 : mapped_unchanged(e);
}

int import_gguf(const char *file, int to, const struct import *options, struct err *e)
{
    struct importing im = {0};
    if (gguf_open(&im.file, file, e) < 0)
        return -1;
    int result = import_opened(&im, to, options, e);
    free(im.used);
    gguf_close(&im.file);
    return result;
}
