// SPDX-License-Identifier: MIT
#include "train/pair_train.h"
#include "base/io.h"
#include "train/checkpoint.h"
#include "train/online.h"
#include "train/pair_stats.h"
#include "train/pairs.h"

#include <stdlib.h>
#include <string.h>

enum { ONLINE_BATCH = 8 }; // pairs an update, where neither option nor stream tell

struct run {
    const struct pair_train_options *o;
    struct loss loss;
    // Off-line.
    struct course course;
    struct pairs pairs;
    // On-line: records that came, in or before the update that fills up.
    struct living living;
    struct frame batch;
    struct pairing pairing; // of `batch`
    struct {
        int mask, pair, role, generation, loss[LOSS_COLUMNS_MAX];
    } column;
    size_t batch_size;
    struct example *example;
};

static int open_loss(struct run *r, struct err *e)
{
    const struct pair_train_options *o = r->o;
    if (loss_init(&r->loss, o->loss, e) < 0)
        return -1;
    r->loss.parameters.beta = o->beta;
    r->loss.parameters.alpha = o->alpha;
    r->loss.parameters.offset = o->offset;
    if (!o->reference)
        return 0;
    return loss_set_reference(&r->loss, strcmp(o->reference, "self") ? o->reference : NULL, e);
}

// ---- off-line

static void fill(void *arg, size_t i, struct example *out)
{
    const struct run *r = arg;
    for (int k = 0; k < 2; k++)
        out[k] = r->pairs.data.example[r->pairs.pair[i].member[k]];
}

static const char *name_of(void *arg, size_t i, size_t k, size_t *size)
{
    const struct run *r = arg;
    return dataset_id(&r->pairs.data, r->pairs.pair[i].member[k], size);
}

static int note(void *arg, const struct step_report *report, int last, json_t *line, struct err *e)
{
    const struct run *r = arg;
    (void)report;
    (void)last;
    return pair_stats_add(&r->course.trainer.sums, &r->loss, line, e);
}

static int open_data(struct run *r, const char *input, struct err *e)
{
    const struct run_options *o = &r->o->course.run;
    const struct model *m = r->course.model;
    if (pairs_read(&r->pairs, input, &r->loss, m->config.vocab, model_positions(m), e) < 0 ||
        header_check_tokenizer(&r->pairs.data.stream, o->tokenizer, io_name(input), e) < 0)
        return -1;
    message_note("%zu pairs, frozen side: %s", r->pairs.n,
                 r->loss.frozen_self ? "the policy before each update" : r->loss.reference);
    return 0;
}

static int run_course(struct run *r, const char *input, struct err *e)
{
    struct course *c = &r->course;
    if (course_open(c, &r->o->course, e) < 0 || open_data(r, input, e) < 0)
        return -1;
    c->program = "pair-train";
    c->loss = &r->loss;
    c->n = r->pairs.n;
    c->unit = 2;
    c->fingerprint = r->pairs.fingerprint;
    c->stream = &r->pairs.data.stream;
    c->where = io_name(input);
    c->fill = fill;
    c->name = name_of;
    c->note = note;
    c->arg = r;
    return course_run(c, e);
}

// ---- on-line

static int open_stream(void *arg, struct err *e)
{
    struct run *r = arg;
    struct living *l = &r->living;
    const struct stream_header *h = &l->header;
    const char *where = stream_reader_name(l->reader);
    r->column.mask = header_require(h, "mask", COLUMN_U8, PER_TOKEN, where, e);
    if (r->column.mask < 0 || dataset_reference(&r->loss, h, where, e) < 0)
        return -1;
    r->column.pair = header_require(h, "pair", COLUMN_STRING, PER_SEQUENCE, where, e);
    if (r->column.pair < 0)
        return -1;
    r->column.role = header_require(h, "role", COLUMN_STRING, PER_SEQUENCE, where, e);
    if (r->column.role < 0)
        return -1;
    r->column.generation = header_find(h, "generation");
    for (size_t k = 0; k < r->loss.n_columns; k++) {
        const char *name = loss_column(&r->loss, k);
        r->column.loss[k] = header_require(h, name, COLUMN_F32, PER_TOKEN, where, e);
        if (r->column.loss[k] < 0)
            return -1;
    }
    int64_t told = living_batch_size(l);
    r->batch_size = (size_t)(r->o->batch_given ? r->o->course.run.train.batch_size
                             : told            ? told
                                               : ONLINE_BATCH);
    progress_follow(&l->progress, 0.5 / (double)r->batch_size);
    r->example = mem_alloc(r->batch_size, 2 * sizeof *r->example, "a batch", e);
    return r->example ? frame_init(&r->batch, &l->header, e) : -1;
}

static json_t *make_settings(void *arg, const char *model)
{
    const struct run *r = arg;
    const struct loss_parameters *p = &r->loss.parameters;
    json_t *s =
        checkpoint_settings(&r->o->course.run.train, r->o->course.run.seed, model, r->o->loss);
    json_t *own =
        json_pack("{s:I, s:s, s:f, s:f, s:f, s:b}", "batch-size", (json_int_t)r->batch_size,
                  "reference", r->loss.frozen_self ? "self" : r->loss.reference, "beta", p->beta,
                  "alpha", p->alpha, "offset", p->offset, "online", 1);
    if (s && own)
        json_object_update(s, own);
    json_decref(own);
    return s;
}

static int write_metrics(struct run *r, const struct step_report *p, struct err *e)
{
    struct living *l = &r->living;
    const struct frame *f = &r->batch;
    int64_t lag = 0;
    for (size_t k = 0; k < r->pairing.names.n && r->column.generation >= 0; k++) {
        const size_t *member = r->pairing.pair[k].member;
        if (!pair_is_complete(&r->pairing.pair[k]))
            continue;
        uint32_t drawn = f->column[r->column.generation].u32[member[PAIR_OTHER]];
        int64_t behind = l->trainer.step - 1 - (int64_t)drawn;
        lag = behind > lag ? behind : lag;
    }
    json_t *line = living_metrics(l, p, e);
    if (!line)
        return -1;
    json_object_set_new(line, "lag", json_integer(lag));
    if (pair_stats_add(&l->trainer.sums, &r->loss, line, e) < 0) {
        json_decref(line);
        return -1;
    }
    return living_write_metrics(l, p, line, e);
}

static void make_examples(struct run *r)
{
    const struct frame *f = &r->batch;
    size_t n = 0;
    for (size_t k = 0; k < r->pairing.names.n; k++) {
        const size_t *member = r->pairing.pair[k].member;
        if (!pair_is_complete(&r->pairing.pair[k]))
            continue;
        for (int side = 0; side < 2; side++) {
            size_t at = f->start[member[side]];
            struct example *x = &r->example[n++];
            x->sequence = (struct sequence){.token = f->column[COLUMN_TOKEN].u32 + at,
                                            .mask = f->column[r->column.mask].u8 + at,
                                            .n = frame_length(f, member[side])};
            for (size_t c = 0; c < r->loss.n_columns; c++)
                x->column[c] = f->column[r->column.loss[c]].f32 + at;
        }
    }
}

// Records whose partners have not come yet begin the next batch.
static int keep_open(struct run *r, struct err *e)
{
    struct frame rest;
    const char *where = stream_reader_name(r->living.reader);
    if (r->pairing.complete == r->pairing.names.n) {
        frame_clear(&r->batch);
        pairing_clear(&r->pairing);
        return 0;
    }
    if (frame_init(&rest, &r->living.header, e) < 0)
        return -1;
    int result = 0;
    for (size_t k = 0; k < r->pairing.names.n && result == 0; k++) {
        const size_t *member = r->pairing.pair[k].member;
        if (!pair_is_complete(&r->pairing.pair[k]))
            result = frame_append(&rest, &r->batch, member[member[0] == SIZE_MAX], e);
    }
    frame_release(&r->batch);
    r->batch = rest;
    pairing_clear(&r->pairing);
    for (size_t i = 0; i < rest.n_sequences && result == 0; i++)
        result = pairing_add(&r->pairing, &r->batch, r->column.pair, r->column.role, i, where, e);
    return result;
}

static int update(struct run *r, struct err *e)
{
    struct living *l = &r->living;
    struct step_report report;
    size_t n = 2 * r->pairing.complete;
    make_examples(r);
    if (living_before(l, e) < 0)
        return -1;
    if (trainer_step(&l->trainer, r->example, n, &r->loss, NORMALIZE_TOKENS, 0, &report, e) < 0)
        return err_prefix(e, "%s", stream_reader_name(l->reader));
    if (write_metrics(r, &report, e) < 0 || keep_open(r, e) < 0 || living_after(l, e) < 0)
        return -1;
    progress_update(&l->progress, l->trainer.step, "loss %.4f", report.loss);
    if (r->o->course.run.verbose)
        message_note("generation %lld loss %.6f norm %.4g", (long long)l->trainer.step, report.loss,
                     report.grad_norm);
    return 0;
}

static int use_record(struct run *r, size_t i, struct err *e)
{
    const struct living *l = &r->living;
    const struct frame *f = &l->read;
    const char *where = stream_reader_name(l->reader);
    if (dataset_check(f, i, r->column.mask, &r->loss, r->column.loss, l->model->config.vocab,
                      model_positions(l->model), where, e) < 0)
        return -1;
    struct sequence s = {.token = f->column[COLUMN_TOKEN].u32 + f->start[i],
                         .mask = f->column[r->column.mask].u8 + f->start[i],
                         .n = frame_length(f, i)};
    if (!sequence_wanted(&s))
        return pairs_refuse_untrained(f, i, where, e);
    if (frame_append(&r->batch, f, i, e) < 0 ||
        pairing_add(&r->pairing, &r->batch, r->column.pair, r->column.role,
                    r->batch.n_sequences - 1, where, e) < 0)
        return -1;
    return r->pairing.complete == r->batch_size ? update(r, e) : 0;
}

static int use_frame(void *arg, struct err *e)
{
    struct run *r = arg;
    for (size_t i = 0; i < r->living.read.n_sequences && living_goes_on(&r->living); i++)
        if (use_record(r, i, e) < 0)
            return -1;
    return 0;
}

static int use_rest(void *arg, struct err *e)
{
    struct run *r = arg;
    if (pairing_check(&r->pairing, &r->batch, r->column.pair, stream_reader_name(r->living.reader),
                      e) < 0)
        return -1;
    return r->pairing.complete ? update(r, e) : 0;
}

static int check_online(const struct run *r, struct trainer_options *t, struct err *e)
{
    if (r->o->course.keep)
        return err_set(e, STATUS_USAGE, "--keep: on-line, each generation shows itself");
    if (t->ema > 0)
        return err_set(e, STATUS_USAGE, "--ema: not with --online");
    if (t->max_steps || t->scheduler == SCHEDULE_CONSTANT ||
        t->scheduler == SCHEDULE_CONSTANT_WITH_WARMUP || t->scheduler == SCHEDULE_INVERSE_SQRT)
        return 0;
    if (t->scheduler != SCHEDULE_LINEAR)
        return err_set(e, STATUS_USAGE,
                       "--lr-scheduler-type %s needs --max-steps: how long is the stream?",
                       schedule_types[t->scheduler]);
    t->scheduler = t->warmup_steps ? SCHEDULE_CONSTANT_WITH_WARMUP : SCHEDULE_CONSTANT;
    return 0;
}

static int run_living(struct run *r, const struct run_options *o, const char *input, struct err *e)
{
    struct living *l = &r->living;
    pairing_init(&r->pairing);
    int result = living_open(l, o, e);
    if (result == 0)
        result = living_prepare(l, trainer_first_pass_bytes(l->model, &o->train), e);
    l->program = "pair-train";
    l->open = open_stream;
    l->frame = use_frame;
    l->end = use_rest;
    l->settings = make_settings;
    l->arg = r;
    if (result == 0)
        result = living_run(l, input, e);
    frame_release(&r->batch);
    pairing_release(&r->pairing);
    free(r->example);
    return living_close(l, result, e);
}

int pair_train_run(const struct pair_train_options *o, const char *input, struct err *e)
{
    struct pair_train_options own = *o;
    struct run r;
    memset(&r, 0, sizeof r);
    r.o = &own;
    if (open_loss(&r, e) < 0 || (o->online && check_online(&r, &own.course.run.train, e) < 0))
        return -1;
    if (o->online)
        return run_living(&r, &own.course.run, input, e);
    int result = run_course(&r, input, e);
    course_close(&r.course, result < 0, e);
    pairs_release(&r.pairs);
    return result;
}
