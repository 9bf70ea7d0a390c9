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
#include <string.h>

// Columns where results go; -1: not asked for.
struct logprob_columns {
    int mask, logp, entropy, q, value, value_end, kl, reverse;
    int top[LOGPROB_TOP_MAX], top_logp[LOGPROB_TOP_MAX];
};

struct logprob {
    const struct logprob_options *o;
    struct stream_filter pass;
    const char *where; // name of the input
    struct device device;
    struct model *model, *contrast, *reference;
    double weight; // of contrast
    struct scorer scorer;
    struct logprob_columns column;
    struct arena arena; // of one frame
    uint64_t scored;    // tokens so far
    double sum;         // of their log-probabilities
    struct progress progress;
};

// ---------------------------------------------------------------------------------- columns

static int add_column(struct logprob *r, const char *prefix, enum column_type type,
                      enum column_per per, int *index, struct err *e)
{
    char text[300];
    if ((size_t)snprintf(text, sizeof text, "%s:%s", prefix, r->o->name) >= sizeof text)
        return err_set(e, STATUS_USAGE, "--as: a name of more than %zu bytes", sizeof text - 20);
    *index = header_add_column(&r->pass.header, text, type, per, e);
    return *index < 0 ? -1 : 0;
}

static int add_columns(struct logprob *r, struct err *e)
{
    struct logprob_columns *c = &r->column;
    const struct logprob_options *o = r->o;
    const enum column_type f32 = COLUMN_F32;
    char name[32];
    c->mask = header_find(&r->pass.header, "mask");
    if (!o->all &&
        (c->mask = header_require(&r->pass.header, "mask", COLUMN_U8, PER_TOKEN, r->where, e)) < 0)
        return -1;
    if (add_column(r, "logp", f32, PER_TOKEN, &c->logp, e) < 0 ||
        (o->entropy && add_column(r, "entropy", f32, PER_TOKEN, &c->entropy, e) < 0) ||
        (o->values && (add_column(r, "q", f32, PER_TOKEN, &c->q, e) < 0 ||
                       add_column(r, "value", f32, PER_TOKEN, &c->value, e) < 0 ||
                       add_column(r, "value-end", f32, PER_SEQUENCE, &c->value_end, e) < 0)) ||
        (o->kl && (add_column(r, "kl", f32, PER_TOKEN, &c->kl, e) < 0 ||
                   add_column(r, "kl-reverse", f32, PER_TOKEN, &c->reverse, e) < 0)))
        return -1;
    for (int k = 0; k < o->top; k++) {
        snprintf(name, sizeof name, "top%d", k + 1);
        if (add_column(r, name, COLUMN_U32, PER_TOKEN, &c->top[k], e) < 0)
            return -1;
        snprintf(name, sizeof name, "top%d-logp", k + 1);
        if (add_column(r, name, f32, PER_TOKEN, &c->top_logp[k], e) < 0)
            return -1;
    }
    return 0;
}

// ---------------------------------------------------------------------------------- a frame

// The column that tells what is scored, -1: all.
static int asked_mask(const struct logprob *r)
{
    return r->o->all ? -1 : r->column.mask;
}

// With values: the same sequence with the tokens behind scored ones wanted too, and one token more
// at the end, whose state is the last. It is never stored, so any token will do.
static int widen_sequence(struct logprob *r, struct sequence *s, struct err *e)
{
    size_t n = s->n, end = n < r->scorer.pass.positions + 1 ? n + 1 : n;
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

static int make_sequences(struct logprob *r, const struct frame *f, struct sequence **out,
                          size_t *wanted, struct err *e)
{
    struct sequence *s = record_sequences(f, asked_mask(r), &r->arena, wanted, e);
    long_record_look(r->model, f, r->where);
    *out = s;
    if (!s || !r->o->values)
        return s ? 0 : -1;
    *wanted = 0;
    for (size_t i = 0; i < f->n_sequences; i++) {
        if (widen_sequence(r, &s[i], e) < 0)
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
static void store_token(struct logprob *r, const struct head_result *out, struct frame *f,
                        size_t place, size_t at)
{
    const struct logprob_columns *c = &r->column;
    r->scored++;
    r->sum += (double)out->logp[at];
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

static void store_results(struct logprob *r, const struct sequence *s,
                          const struct head_result *out, struct frame *f)
{
    const struct logprob_columns *c = &r->column;
    size_t at = 0;
    for (size_t i = 0; i < f->n_sequences; i++) {
        const uint8_t *mask = record_sequence(f, asked_mask(r), i).mask;
        size_t n = frame_length(f, i);
        for (size_t t = 1; t < s[i].n; t++) {
            if (s[i].mask && !s[i].mask[t])
                continue;
            size_t place = f->start[i] + t;
            if (t < n && (!mask || mask[t]))
                store_token(r, out, f, place, at);
            store(out->value, f, t < n ? c->value : c->value_end, t < n ? place : i, at);
            at++;
        }
    }
}

static int score_frame(struct logprob *r, struct frame *f, struct err *e)
{
    struct sequence *s;
    struct head_result out;
    size_t wanted, at = 0;
    arena_clear(&r->arena);
    if (make_sequences(r, f, &s, &wanted, e) < 0 || make_results(r, &out, wanted, e) < 0)
        return -1;
    if (scorer_run(&r->scorer, s, f->n_sequences, &out, &at, e) < 0)
        return err_prefix(e, "%s: %s", r->where,
                          frame_record(f, at < f->n_sequences ? at : 0).text);
    store_results(r, s, &out, f);
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

static int check_models(const struct logprob *r, struct err *e)
{
    const struct model *m = r->model;
    if ((size_t)r->o->top > m->config.vocab)
        return err_set(e, STATUS_USAGE, "--top-logprobs %lld: model %s has only %zu tokens",
                       (long long)r->o->top, m->path, m->config.vocab);
    if (check_tokenizer(r, m->path, e) < 0 ||
        (r->contrast && check_tokenizer(r, r->contrast->path, e) < 0) ||
        (r->reference && check_tokenizer(r, r->reference->path, e) < 0))
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

static int add_provenance(struct logprob *r, struct err *e)
{
    char contrast[300], reference[300];
    json_t *models = json_object();
    if (!models)
        return err_memory(e, 0, "provenance");
    snprintf(contrast, sizeof contrast, "%s:contrast", r->o->name);
    snprintf(reference, sizeof reference, "%s:kl", r->o->name);
    if (name_model(models, r->o->name, r->model, e) < 0 ||
        name_model(models, contrast, r->contrast, e) < 0 ||
        name_model(models, reference, r->reference, e) < 0) {
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

static int open_models(struct logprob *r, struct err *e)
{
    static const struct named_form form = {"contrast", "DIR:NUMBER", -INFINITY, INFINITY};
    const struct logprob_options *o = r->o;
    if (!(r->model = model_open(o->model, e)))
        return -1;
    describe_unused(r->model, o->verbose);
    scorer_init(&r->scorer, r->model, &r->device);
    if (o->contrast && (!(r->contrast = model_open_weighted(o->contrast, &form, &r->weight, e)) ||
                        scorer_contrast(&r->scorer, r->contrast, r->weight, e) < 0))
        return -1;
    if (o->kl && (!(r->reference = model_open(o->kl, e)) ||
                  scorer_reference(&r->scorer, r->reference, e) < 0))
        return -1;
    return 0;
}

static int start(struct logprob *r, const char *input, struct err *e)
{
    if (open_models(r, e) < 0 || filter_open(&r->pass, input, e) < 0)
        return -1;
    r->where = stream_reader_name(r->pass.reader);
    if (memory_check(work_bytes(&r->scorer), "scoring", r->o->verbose, e) < 0 ||
        check_models(r, e) < 0 || add_columns(r, e) < 0 || add_provenance(r, e) < 0)
        return -1;
    return filter_start(&r->pass, r->o->output, e);
}

static void show_progress(struct logprob *r)
{
    const struct stream_reader *in = r->pass.reader;
    struct progress *p = &r->progress;
    progress_estimate(p, stream_reader_expected(in));
    progress_update(p, (int64_t)stream_reader_sequences(in), "%s  %.0f tokens/s", r->o->name,
                    (double)stream_reader_tokens(in) / progress_seconds(p));
}

static int score_stream(struct logprob *r, struct err *e)
{
    int more;
    while ((more = filter_next(&r->pass, e)) > 0) {
        if (score_frame(r, &r->pass.frame, e) < 0 || filter_write(&r->pass, e) < 0) {
            more = -1;
            break;
        }
        show_progress(r);
    }
    return more < 0 || mapped_unchanged(e) < 0 ? -1 : filter_end(&r->pass, e);
}

static void report(const struct logprob *r)
{
    char closing[64];
    progress_closing(&r->progress, r->scored, closing);
    message_note("%s: %" PRIu64 " records, %" PRIu64
                 " scored tokens, mean log-probability %.5g, %s",
                 r->o->name, stream_reader_sequences(r->pass.reader), r->scored,
                 r->scored ? r->sum / (double)r->scored : 0.0, closing);
}

int logprob_run(const struct logprob_options *o, const char *input, struct err *e)
{
    assert(o->top >= 0 && o->top <= LOGPROB_TOP_MAX);
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
    if (result == 0)
        report(&r);
    filter_release(&r.pass);
    if (r.model)
        scorer_release(&r.scorer);
    model_close(r.model);
    model_close(r.contrast);
    model_close(r.reference);
    arena_release(&r.arena);
    device_release(&r.device);
    return result;
}
