// SPDX-License-Identifier: MIT
#include "train/reinforce.h"
#include "base/number.h"
#include "infer/exact_terms.h"
#include "train/checkpoint.h"
#include "train/dataset.h"
#include "train/online.h"
#include "train/window.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

// Columns of the stream, -1 where absent.
struct columns {
    int mask, reward, loss[LOSS_COLUMNS_MAX], rollout, reference, generation;
};

struct run {
    const struct reinforce_options *o;
    int64_t batch_size;
    struct living living;
    struct loss loss;
    struct exact_terms exact;
    struct window last_reward, last_kl; // of the batches before, for the stop rules
    enum normalize normalize;
    double constant;
    struct frame batch; // fills up
    struct columns column;
    struct example *example;
};

static int set_normalize(struct run *r, struct err *e)
{
    static const char prefix[] = "constant:";
    if (!strcmp(r->o->normalize_text, "tokens")) {
        r->normalize = NORMALIZE_TOKENS;
    } else if (!strcmp(r->o->normalize_text, "sequences")) {
        r->normalize = NORMALIZE_SEQUENCES;
    } else if (!strncmp(r->o->normalize_text, prefix, sizeof prefix - 1) &&
               number_to_f64(r->o->normalize_text + sizeof prefix - 1, &r->constant) == 0 &&
               r->constant > 0) {
        r->normalize = NORMALIZE_CONSTANT;
    } else {
        return err_set(e, STATUS_USAGE, "--normalize: '%s' is not tokens, sequences or constant:N",
                       r->o->normalize_text);
    }
    return 0;
}

static int need(const struct run *r, const char *name, int *index, struct err *e)
{
    const struct living *l = &r->living;
    *index =
        header_require(&l->header, name, COLUMN_F32, PER_TOKEN, stream_reader_name(l->reader), e);
    return *index < 0 ? -1 : 0;
}

static int find_columns(struct run *r, struct err *e)
{
    struct columns *c = &r->column;
    const struct stream_header *h = &r->living.header;
    c->mask =
        header_require(h, "mask", COLUMN_U8, PER_TOKEN, stream_reader_name(r->living.reader), e);
    if (c->mask < 0)
        return -1;
    for (size_t i = 0; i < r->loss.n_columns; i++)
        if (need(r, loss_column(&r->loss, i), &c->loss[i], e) < 0)
            return -1;
    c->reward = header_find(h, "reward");
    c->generation = header_find(h, "generation");
    if (isfinite(r->o->stop_reward) && need(r, "reward", &c->reward, e) < 0)
        return -1;
    if (isfinite(r->o->stop_kl) && (need(r, "logp:rollout", &c->rollout, e) < 0 ||
                                    need(r, r->loss.kl_column, &c->reference, e) < 0))
        return -1;
    return 0;
}

static int open_stream(void *arg, struct err *e)
{
    struct run *r = arg;
    if (find_columns(r, e) < 0 || frame_init(&r->batch, &r->living.header, e) < 0)
        return -1;
    int64_t told = living_batch_size(&r->living);
    r->batch_size = r->o->batch_given ? r->o->run.train.batch_size : told ? told : REINFORCE_BATCH;
    progress_follow(&r->living.progress, 1 / (double)r->batch_size);
    r->example = mem_alloc((size_t)r->batch_size, sizeof *r->example, "a batch", e);
    return r->example ? 0 : -1;
}

// What the stop rules remember.
static int save_windows(void *arg, json_t *state, struct err *e)
{
    const struct run *r = arg;
    if (json_object_set_new(state, "window:reward", window_to_json(&r->last_reward)) < 0 ||
        json_object_set_new(state, "window:kl", window_to_json(&r->last_kl)) < 0)
        return err_memory(e, 0, "a state");
    return 0;
}

static void load_windows(void *arg, const json_t *state)
{
    struct run *r = arg;
    window_from_json(&r->last_reward, json_object_get(state, "window:reward"));
    window_from_json(&r->last_kl, json_object_get(state, "window:kl"));
}

// What the loss has beside the advantage: the text of --kl where that is all.
static json_t *term_settings(const struct reinforce_options *o)
{
    const char *kl = o->kl ? o->kl : "";
    if (o->kl_estimator == KL_K3 && !o->kl_exact && !o->kl_exact_reverse && o->entropy_bonus == 0)
        return json_string(kl);
    return json_pack("[s, s, s?, s?, f]", kl, kl_estimators[o->kl_estimator], o->kl_exact,
                     o->kl_exact_reverse, o->entropy_bonus);
}

static json_t *make_settings(void *arg, const char *model)
{
    const struct run *r = arg;
    json_t *s = checkpoint_settings(&r->o->run.train, r->o->run.seed, model, r->o->loss);
    json_t *own =
        json_pack("{s:I, s:s, s:o, s:f}", "batch-size", (json_int_t)r->batch_size, "normalize",
                  r->o->normalize_text, "kl", term_settings(r->o), "cliprange", r->o->cliprange);
    if (s && own)
        json_object_update(s, own);
    json_decref(own);
    return s;
}

struct batch_stats {
    double reward, reward_std, kl, length;
    int64_t lag; // generations that the samples are behind
};

// Mean over sequences of sums over trained tokens.
static void measure(const struct run *r, struct batch_stats *out)
{
    const struct frame *f = &r->batch;
    const struct columns *c = &r->column;
    double squares = 0, n = (double)f->n_sequences;
    memset(out, 0, sizeof *out);
    for (size_t i = 0; i < f->n_sequences; i++) {
        double reward = 0;
        for (size_t t = f->start[i]; t < f->start[i + 1]; t++) {
            if (!f->column[c->mask].u8[t])
                continue;
            out->length++;
            if (c->reward >= 0)
                reward += f->column[c->reward].f32[t];
            if (isfinite(r->o->stop_kl))
                out->kl += (double)f->column[c->rollout].f32[t] - f->column[c->reference].f32[t];
        }
        out->reward += reward;
        squares += reward * reward;
        if (c->generation >= 0) {
            int64_t lag = r->living.trainer.step - (int64_t)f->column[c->generation].u32[i];
            out->lag = lag > out->lag ? lag : out->lag;
        }
    }
    out->reward /= n;
    out->kl /= n;
    out->length /= n;
    double variance = squares / n - out->reward * out->reward;
    out->reward_std = variance > 0 ? sqrt(variance) : 0;
}

static int write_metrics(struct run *r, const struct step_report *p, const struct batch_stats *f,
                         struct err *e)
{
    json_t *line = living_metrics(&r->living, p, e);
    if (!line)
        return -1;
    json_object_set_new(line, "completion_length", json_real(f->length));
    json_object_set_new(line, "lag", json_integer(f->lag));
    if (r->column.reward >= 0) {
        json_object_set_new(line, "reward", json_real(f->reward));
        json_object_set_new(line, "reward_std", json_real(f->reward_std));
    }
    if (r->loss.has_kl)
        json_object_set_new(line, "kl", json_real(p->kl));
    if (r->exact.has_kl)
        json_object_set_new(line, "kl_exact", json_real(p->kl_exact));
    if (r->exact.has_reverse)
        json_object_set_new(line, "kl_exact_reverse", json_real(p->kl_exact_reverse));
    if (isfinite(r->o->stop_kl))
        json_object_set_new(line, "kl_sequence", json_real(f->kl));
    if (r->loss.kind == &loss_ppo_clip)
        json_object_set_new(line, "clip_fraction", json_real(p->clipped));
    return living_write_metrics(&r->living, p, line, e);
}

static int check_stats(struct run *r, const struct batch_stats *f, struct err *e)
{
    if ((isfinite(r->o->stop_reward) && !isfinite(f->reward)) ||
        (isfinite(r->o->stop_kl) && !isfinite(f->kl)))
        return err_set(e, STATUS_STREAM,
                       "%s: a trained token has no value where the stop rule needs "
                       "one",
                       stream_reader_name(r->living.reader));
    double reward = window_mean(&r->last_reward, f->reward), kl = window_mean(&r->last_kl, f->kl);
    if (reward > r->o->stop_reward)
        living_take_back(&r->living, "the mean sum of reward", reward, r->o->stop_reward);
    else if (kl > r->o->stop_kl)
        living_take_back(&r->living, "the mean KL", kl, r->o->stop_kl);
    if (r->living.stopped)
        return 0;
    window_add(&r->last_reward, f->reward);
    window_add(&r->last_kl, f->kl);
    return 0;
}

static void make_examples(struct run *r)
{
    const struct frame *f = &r->batch;
    for (size_t i = 0; i < f->n_sequences; i++) {
        size_t at = f->start[i];
        r->example[i].sequence = (struct sequence){.token = f->column[COLUMN_TOKEN].u32 + at,
                                                   .mask = f->column[r->column.mask].u8 + at,
                                                   .n = frame_length(f, i)};
        for (size_t k = 0; k < r->loss.n_columns; k++)
            r->example[i].column[k] = f->column[r->column.loss[k]].f32 + at;
    }
}

static int update(struct run *r, struct err *e)
{
    struct living *l = &r->living;
    struct step_report report;
    struct batch_stats stats;
    measure(r, &stats);
    if (check_stats(r, &stats, e) < 0)
        return -1;
    if (l->stopped) {
        frame_clear(&r->batch);
        return 0;
    }
    make_examples(r);
    if (living_before(l, e) < 0)
        return -1;
    if (trainer_step(&l->trainer, r->example, r->batch.n_sequences, &r->loss, r->normalize,
                     r->constant, &report, e) < 0)
        return err_prefix(e, "%s", stream_reader_name(l->reader));
    frame_clear(&r->batch);
    // The metrics come before the state: a run that is killed here and goes on must not lack a
    // line.
    if (write_metrics(r, &report, &stats, e) < 0 || living_after(l, e) < 0)
        return -1;
    progress_update(&l->progress, l->trainer.step, "loss %.4f  reward %.4f  length %.1f",
                    report.loss, stats.reward, stats.length);
    if (r->o->run.verbose)
        message_note("generation %lld loss %.6f reward %.6f norm %.4g", (long long)l->trainer.step,
                     report.loss, stats.reward, report.grad_norm);
    return 0;
}

static int use_frame(void *arg, struct err *e)
{
    struct run *r = arg;
    const struct living *l = &r->living;
    for (size_t i = 0; i < l->read.n_sequences && living_goes_on(l); i++) {
        if (dataset_check(&l->read, i, r->column.mask, &r->loss, r->column.loss,
                          l->model->config.vocab, exact_terms_positions(&r->exact, l->model),
                          stream_reader_name(l->reader), e) < 0 ||
            frame_append(&r->batch, &l->read, i, e) < 0)
            return -1;
        if (r->batch.n_sequences == (size_t)r->batch_size && update(r, e) < 0)
            return -1;
    }
    return 0;
}

static int use_rest(void *arg, struct err *e)
{
    struct run *r = arg;
    return r->batch.n_sequences ? update(r, e) : 0;
}

static int open_loss(struct run *r, struct err *e)
{
    if (loss_init(&r->loss, r->o->loss, e) < 0 ||
        (r->o->kl && loss_set_kl(&r->loss, r->o->kl, e) < 0) || set_normalize(r, e) < 0)
        return -1;
    r->loss.parameters.cliprange = r->o->cliprange;
    r->loss.kl_estimator = r->o->kl_estimator;
    if (isfinite(r->o->stop_kl) && !r->o->kl)
        return err_set(e, STATUS_USAGE, "--stop-kl needs --kl NAME:COEF: the KL to which model?");
    if (r->o->kl_estimator != KL_K3 && !r->o->kl)
        return err_set(e, STATUS_USAGE, "--kl-estimator needs --kl NAME:COEF");
    return 0;
}

static int prepare(struct run *r, struct err *e)
{
    const struct reinforce_options *o = r->o;
    struct living *l = &r->living;
    if (window_init(&r->last_reward, (size_t)o->stop_window, e) < 0 ||
        window_init(&r->last_kl, (size_t)o->stop_window, e) < 0 ||
        exact_terms_open(&r->exact, o->kl_exact, o->kl_exact_reverse, o->entropy_bonus, l->model,
                         &l->device, e) < 0)
        return -1;
    size_t tokens = (size_t)o->run.train.micro_batch_tokens;
    if (living_prepare(l, exact_terms_bytes(&r->exact, l->model, tokens), e) < 0)
        return -1;
    l->trainer.exact = exact_terms_any(&r->exact) ? &r->exact : NULL;
    return 0;
}

int reinforce_run(const struct reinforce_options *o, const char *input, struct err *e)
{
    struct run r;
    memset(&r, 0, sizeof r);
    r.o = o;
    if (open_loss(&r, e) < 0)
        return -1;
    struct living *l = &r.living;
    int result = living_open(l, &o->run, e);
    l->program = "reinforce-step";
    l->takes_back = isfinite(o->stop_reward) || isfinite(o->stop_kl);
    l->open = open_stream;
    l->frame = use_frame;
    l->end = use_rest;
    l->settings = make_settings;
    l->save = save_windows;
    l->load = load_windows;
    l->arg = &r;
    if (result == 0)
        result = prepare(&r, e);
    if (result == 0)
        result = living_run(l, input, e);
    frame_release(&r.batch);
    free(r.example);
    window_release(&r.last_reward);
    window_release(&r.last_kl);
    exact_terms_release(&r.exact);
    return living_close(l, result, e);
}
