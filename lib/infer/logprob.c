// SPDX-License-Identifier: MIT
#include "infer/logprob.h"
#include "infer/draw.h"
#include "infer/long_record.h"
#include "base/progress.h"
#include "base/memory_check.h"
#include "infer/record_sequence.h"
#include "infer/scorer.h"
#include "model/describe.h"
#include "stream/filter.h"

#include <assert.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// Columns where results go; -1: not asked for.
struct logprob_columns {
    int logp, entropy, q, value, value_end, kl, reverse;
    int top[LOGPROB_TOP_MAX], top_logp[LOGPROB_TOP_MAX];
};

// One of the models under which the stream is scored.
struct judge {
    const char *name; // of its columns
    struct model *model, *contrast, *reference;
    double weight; // of contrast
    struct scorer scorer;
    struct logprob_columns column;
    uint64_t scored; // tokens so far
    double sum;      // of their log-probabilities
};

struct logprob {
    const struct logprob_options *o;
    struct stream_filter pass;
    const char *where; // name of the input
    struct device device;
    struct judge *judge; // [o->n_models]
    int mask;            // its column; -1: there is none
    struct arena arena;  // of one frame and judge
    struct progress progress;
};

// ---------------------------------------------------------------------------------- columns

static int add_column(struct logprob *r, const struct judge *j, const char *prefix,
                      enum column_type type, enum column_per per, int *index, struct err *e)
{
    char text[300];
    if ((size_t)snprintf(text, sizeof text, "%s:%s", prefix, j->name) >= sizeof text)
        return err_set(e, STATUS_USAGE, "--as: a name of more than %zu bytes", sizeof text - 20);
    *index = header_add_column(&r->pass.header, text, type, per, e);
    return *index < 0 ? -1 : 0;
}

static int add_columns(struct logprob *r, struct judge *j, struct err *e)
{
    struct logprob_columns *c = &j->column;
    const struct logprob_options *o = r->o;
    const enum column_type f32 = COLUMN_F32;
    char name[32];
    if (add_column(r, j, "logp", f32, PER_TOKEN, &c->logp, e) < 0 ||
        (o->entropy && add_column(r, j, "entropy", f32, PER_TOKEN, &c->entropy, e) < 0) ||
        (o->values && (add_column(r, j, "q", f32, PER_TOKEN, &c->q, e) < 0 ||
                       add_column(r, j, "value", f32, PER_TOKEN, &c->value, e) < 0 ||
                       add_column(r, j, "value-end", f32, PER_SEQUENCE, &c->value_end, e) < 0)) ||
        (o->kl && (add_column(r, j, "kl", f32, PER_TOKEN, &c->kl, e) < 0 ||
                   add_column(r, j, "kl-reverse", f32, PER_TOKEN, &c->reverse, e) < 0)))
        return -1;
    for (int k = 0; k < o->top; k++) {
        snprintf(name, sizeof name, "top%d", k + 1);
        if (add_column(r, j, name, COLUMN_U32, PER_TOKEN, &c->top[k], e) < 0)
            return -1;
        snprintf(name, sizeof name, "top%d-logp", k + 1);
        if (add_column(r, j, name, f32, PER_TOKEN, &c->top_logp[k], e) < 0)
            return -1;
    }
    return 0;
}

static int add_all_columns(struct logprob *r, struct err *e)
{
    r->mask = header_find(&r->pass.header, "mask");
    if (!r->o->all &&
        (r->mask = header_require(&r->pass.header, "mask", COLUMN_U8, PER_TOKEN, r->where, e)) < 0)
        return -1;
    for (int i = 0; i < r->o->n_models; i++)
        if (add_columns(r, &r->judge[i], e) < 0)
            return -1;
    return 0;
}

// ---------------------------------------------------------------------------------- a frame

// The column that tells what is scored, -1: all.
static int asked_mask(const struct logprob *r)
{
    return r->o->all ? -1 : r->mask;
}

// With values: the same sequence with the tokens behind scored ones wanted too, and one token more
// at the end, whose state is the last. It is never stored, so any token will do.
static int widen_sequence(struct logprob *r, const struct judge *j, struct sequence *s,
                          struct err *e)
{
    size_t n = s->n, end = n < j->scorer.pass.positions + 1 ? n + 1 : n;
    if (!sequence_wanted(s))
        return 0;
    uint32_t *token = arena_alloc(&r->arena, end, sizeof *token, e);
    uint8_t *mask = arena_alloc(&r->arena, end, sizeof *mask, e);
    if (!token || !mask)
        return -1;
    memcpy(token, s->token, n * sizeof *token);
    token[end - 1] = end > n ? 0 : token[end - 1];
    mask[0] = 0;
    for (size_t t = 1; t < n; t++)
        mask[t] = !s->mask || s->mask[t] || s->mask[t - 1];
    if (end > n)
        mask[n] = 1;
    *s = (struct sequence){.token = token, .mask = mask, .n = end, .beyond = end - n};
    return 0;
}

static int make_sequences(struct logprob *r, const struct judge *j, const struct frame *f,
                          struct sequence **out, size_t *wanted, struct err *e)
{
    struct sequence *s = record_sequences(f, asked_mask(r), &r->arena, wanted, e);
    long_record_look(j->model, f, r->where);
    *out = s;
    if (!s || !r->o->values)
        return s ? 0 : -1;
    *wanted = 0;
    for (size_t i = 0; i < f->n_sequences; i++) {
        if (widen_sequence(r, j, &s[i], e) < 0)
            return -1;
        *wanted += sequence_wanted(&s[i]);
    }
    return 0;
}

static int make_floats(struct logprob *r, float **out, int asked, size_t n, struct err *e)
{
    *out = asked ? arena_alloc(&r->arena, n, sizeof **out, e) : NULL;
    return asked && !*out ? -1 : 0;
}

static int make_results(struct logprob *r, struct head_result *out, size_t n, struct err *e)
{
    const struct logprob_options *o = r->o;
    memset(out, 0, sizeof *out);
    out->k = (size_t)o->top;
    out->top = arena_alloc(&r->arena, n * out->k, sizeof *out->top, e);
    if (!out->top || make_floats(r, &out->logp, 1, n, e) < 0 ||
        make_floats(r, &out->entropy, o->entropy, n, e) < 0 ||
        make_floats(r, &out->logit, o->values, n, e) < 0 ||
        make_floats(r, &out->value, o->values, n, e) < 0 ||
        make_floats(r, &out->kl, o->kl != NULL, n, e) < 0 ||
        make_floats(r, &out->reverse, o->kl != NULL, n, e) < 0 ||
        make_floats(r, &out->top_logp, 1, n * out->k, e) < 0)
        return -1;
    return 0;
}

static void store(float *from, struct frame *f, int column, size_t place, size_t at)
{
    if (from)
        f->column[column].f32[place] = from[at];
}

// What was computed for the token at `place`.
static void store_token(struct judge *j, const struct head_result *out, struct frame *f,
                        size_t place, size_t at)
{
    const struct logprob_columns *c = &j->column;
    j->scored++;
    j->sum += (double)out->logp[at];
    store(out->logp, f, c->logp, place, at);
    store(out->entropy, f, c->entropy, place, at);
    store(out->logit, f, c->q, place, at);
    store(out->kl, f, c->kl, place, at);
    store(out->reverse, f, c->reverse, place, at);
    for (size_t k = 0; k < out->k; k++) {
        f->column[c->top[k]].u32[place] = out->top[at * out->k + k];
        f->column[c->top_logp[k]].f32[place] = out->top_logp[at * out->k + k];
    }
}

static void store_results(struct logprob *r, struct judge *j, const struct sequence *s,
                          const struct head_result *out, struct frame *f)
{
    const struct logprob_columns *c = &j->column;
    size_t at = 0;
    for (size_t i = 0; i < f->n_sequences; i++) {
        const uint8_t *mask = record_sequence(f, asked_mask(r), i).mask;
        size_t n = frame_length(f, i);
        for (size_t t = 1; t < s[i].n; t++) {
            if (s[i].mask && !s[i].mask[t])
                continue;
            size_t place = f->start[i] + t;
            if (t < n && (!mask || mask[t]))
                store_token(j, out, f, place, at);
            store(out->value, f, t < n ? c->value : c->value_end, t < n ? place : i, at);
            at++;
        }
    }
}

static int score_frame(struct logprob *r, struct judge *j, struct frame *f, struct err *e)
{
    struct sequence *s;
    struct head_result out;
    size_t wanted, at = 0;
    arena_clear(&r->arena);
    if (make_sequences(r, j, f, &s, &wanted, e) < 0 || make_results(r, &out, wanted, e) < 0)
        return -1;
    if (scorer_run(&j->scorer, s, f->n_sequences, &out, &at, e) < 0) {
        if (r->o->n_models > 1)
            err_prefix(e, "%s", j->model->path);
        return err_prefix(e, "%s: %s", r->where,
                          frame_record(f, at < f->n_sequences ? at : 0).text);
    }
    store_results(r, j, s, &out, f);
    return 0;
}

// ---------------------------------------------------------------------------------- the stream

static int check_tokenizer(const struct logprob *r, const char *directory, struct err *e)
{
    char fingerprint[24];
    int found;
    if (r->o->fingerprint(directory, fingerprint, &found, e) < 0)
        return -1;
    return header_check_tokenizer(&r->pass.header, found ? fingerprint : NULL, r->where, e);
}

static int check_models(const struct logprob *r, const struct judge *j, struct err *e)
{
    const struct model *m = j->model;
    if ((size_t)r->o->top > m->config.vocab)
        return err_set(e, STATUS_USAGE, "--top-logprobs %lld: model %s has only %zu tokens",
                       (long long)r->o->top, m->path, m->config.vocab);
    if (check_tokenizer(r, m->path, e) < 0 ||
        (j->contrast && check_tokenizer(r, j->contrast->path, e) < 0) ||
        (j->reference && check_tokenizer(r, j->reference->path, e) < 0))
        return -1;
    return 0; // a tokenizer may have more ids than the embedding: one that is used is an error
}

static int name_model(json_t *models, const char *name, const struct model *m, struct err *e)
{
    char fingerprint[24];
    if (!m)
        return 0;
    if (model_fingerprint(m, fingerprint, e) < 0)
        return -1;
    return json_object_set_new(models, name, json_string(fingerprint)) < 0
               ? err_memory(e, 0, "provenance")
               : 0;
}

static int name_models(json_t *models, const struct judge *j, struct err *e)
{
    char contrast[300], reference[300];
    snprintf(contrast, sizeof contrast, "%s:contrast", j->name);
    snprintf(reference, sizeof reference, "%s:kl", j->name);
    return name_model(models, j->name, j->model, e) < 0 ||
                   name_model(models, contrast, j->contrast, e) < 0 ||
                   name_model(models, reference, j->reference, e) < 0
               ? -1
               : 0;
}

static int add_provenance(struct logprob *r, struct err *e)
{
    json_t *models = json_object();
    if (!models)
        return err_memory(e, 0, "provenance");
    for (int i = 0; i < r->o->n_models; i++)
        if (name_models(models, &r->judge[i], e) < 0) {
            json_decref(models);
            return -1;
        }
    if (header_add_provenance(&r->pass.header, "logprob", r->o->argc, r->o->argv, r->o->seed,
                              models, e) < 0)
        return -1;
    return header_set_kernels(&r->pass.header, r->device.ops->kernels(&r->device), e);
}

static size_t work_bytes(const struct scorer *s)
{
    size_t tokens = s->pass.batch_tokens;
    size_t bytes = work_bytes_sum(scorer_bytes(s->pass.device, s->pass.model, SIZE_MAX, 0));
    if (s->contrast.model)
        bytes += decoder_work_bytes(s->contrast.model, tokens, tokens, 0);
    if (s->reference.model)
        bytes += decoder_work_bytes(s->reference.model, tokens, tokens, 0);
    return bytes;
}

static int open_models(struct logprob *r, struct judge *j, const struct logprob_model *m,
                       struct err *e)
{
    static const struct named_form form = {"contrast", "DIR:NUMBER", -INFINITY, INFINITY};
    const struct logprob_options *o = r->o;
    j->name = m->name;
    if (!(j->model = model_open(m->path, e)))
        return -1;
    describe_unused(j->model, o->verbose);
    scorer_init(&j->scorer, j->model, &r->device);
    if (o->contrast && (!(j->contrast = model_open_weighted(o->contrast, &form, &j->weight, e)) ||
                        scorer_contrast(&j->scorer, j->contrast, j->weight, e) < 0))
        return -1;
    if (o->kl && (!(j->reference = model_open(o->kl, e)) ||
                  scorer_reference(&j->scorer, j->reference, e) < 0))
        return -1;
    return 0;
}

static int start(struct logprob *r, const char *input, struct err *e)
{
    size_t bytes = 0, n = (size_t)r->o->n_models;
    if (!(r->judge = mem_alloc(n, sizeof *r->judge, "models", e)))
        return -1;
    memset(r->judge, 0, n * sizeof *r->judge);
    for (int i = 0; i < r->o->n_models; i++) {
        if (open_models(r, &r->judge[i], &r->o->model[i], e) < 0)
            return -1;
        bytes += work_bytes(&r->judge[i].scorer);
    }
    if (filter_open(&r->pass, input, e) < 0)
        return -1;
    r->where = stream_reader_name(r->pass.reader);
    if (memory_check(bytes, "scoring", r->o->verbose, e) < 0)
        return -1;
    for (int i = 0; i < r->o->n_models; i++)
        if (check_models(r, &r->judge[i], e) < 0)
            return -1;
    if (add_all_columns(r, e) < 0 || add_provenance(r, e) < 0)
        return -1;
    return filter_start(&r->pass, r->o->output, e);
}

static void show_progress(struct logprob *r)
{
    const struct stream_reader *in = r->pass.reader;
    struct progress *p = &r->progress;
    progress_estimate(p, stream_reader_expected(in));
    progress_update(p, (int64_t)stream_reader_sequences(in), "%s  %.0f tokens/s", r->judge[0].name,
                    (double)stream_reader_tokens(in) / progress_seconds(p));
}

static int score_stream(struct logprob *r, struct err *e)
{
    int more;
    while ((more = filter_next(&r->pass, e)) > 0) {
        for (int i = 0; i < r->o->n_models && more > 0; i++)
            more = score_frame(r, &r->judge[i], &r->pass.frame, e) < 0 ? -1 : 1;
        if (more < 0 || filter_write(&r->pass, e) < 0) {
            more = -1;
            break;
        }
        show_progress(r);
    }
    return more < 0 || mapped_unchanged(e) < 0 ? -1 : filter_end(&r->pass, e);
}

static void report(const struct logprob *r, const struct judge *j)
{
    char closing[64];
    progress_closing(&r->progress, j->scored, closing);
    message_note("%s: %" PRIu64 " records, %" PRIu64
                 " scored tokens, mean log-probability %.5g, %s",
                 j->name, stream_reader_sequences(r->pass.reader), j->scored,
                 j->scored ? j->sum / (double)j->scored : 0.0, closing);
}

static void release_models(struct judge *j)
{
    if (j->model)
        scorer_release(&j->scorer);
    model_close(j->model);
    model_close(j->contrast);
    model_close(j->reference);
}

int logprob_run(const struct logprob_options *o, const char *input, struct err *e)
{
    assert(o->top >= 0 && o->top <= LOGPROB_TOP_MAX);
    assert(o->n_models >= 1 && o->n_models <= LOGPROB_MODELS_MAX);
    struct logprob r;
    memset(&r, 0, sizeof r);
    r.o = o;
    if (device_open(&r.device, o->device, o->products, e) < 0)
        return -1;
    r.device.kv = draw_kv_dtype(o->kv_dtype);
    progress_init(&r.progress, "record", 0);
    progress_follow(&r.progress, 1);
    arena_init(&r.arena);
    int result = start(&r, input, e);
    if (result == 0)
        result = score_stream(&r, e);
    progress_end(&r.progress);
    for (int i = 0; i < o->n_models && result == 0; i++)
        report(&r, &r.judge[i]);
    filter_release(&r.pass);
    for (int i = 0; i < o->n_models && r.judge; i++)
        release_models(&r.judge[i]);
    free(r.judge);
    arena_release(&r.arena);
    device_release(&r.device);
    return result;
}
