// SPDX-License-Identifier: MIT
#include "train/pair_online.h"
#include "infer/long_record.h"
#include "train/checkpoint.h"
#include "train/pair_stats.h"
#include "train/pairs.h"
#include "train/publisher.h"

#include <stdlib.h>
#include <string.h>

enum { BATCH = 8 }; // pairs per update, where neither option nor stream tell

struct pair_online {
    const struct pair_train_options *o;
    struct publisher publisher;
    struct loss *loss;
    struct token_objective objective;
    struct frame batch;     // records that came, in or before the update that fills up
    struct pairing pairing; // of `batch`
    uint64_t *number;       // of each record of `batch` in the stream, from 1
    size_t number_capacity;
    struct token_columns columns;
    int pair, role, generation; // columns too; generation may be -1
    size_t batch_size;
    struct trainer_example *example;
};

static int open_stream(void *arg, struct err *e)
{
    struct pair_online *r = arg;
    struct online *s = &r->publisher.source;
    struct stream_header *h = &s->header;
    const char *where = s->where;
    if (token_columns_find(&r->columns, r->loss, h, where, e) < 0)
        return -1;
    r->pair = header_require(h, "pair", COLUMN_STRING, PER_SEQUENCE, where, e);
    if (r->pair < 0)
        return -1;
    r->role = header_require(h, "role", COLUMN_STRING, PER_SEQUENCE, where, e);
    if (r->role < 0)
        return -1;
    r->generation = header_find(h, "generation");
    int64_t given = r->o->result.run.batch_size, told = online_batch_size(s);
    r->batch_size = (size_t)(given ? given : told ? told : BATCH);
    progress_follow(&r->publisher.run.progress, 0.5 / (double)r->batch_size);
    r->example = mem_alloc(r->batch_size, 2 * sizeof *r->example, "a batch", e);
    return r->example ? frame_init(&r->batch, h, e) : -1;
}

static json_t *make_settings(void *arg, const char *model)
{
    const struct pair_online *r = arg;
    const double *p = r->loss->parameters.value;
    const struct run_options *o = r->publisher.run.o;
    json_t *s = checkpoint_settings(&o->train, o->products, o->seed, model, r->o->loss);
    json_t *own =
        json_pack("{s:I, s:s, s:f, s:f, s:f, s:b}", "batch-size", (json_int_t)r->batch_size,
                  "reference", r->loss->frozen_self ? "self" : r->loss->reference, "beta",
                  p[LOSS_BETA], "alpha", p[LOSS_ALPHA], "offset", p[LOSS_OFFSET], "online", 1);
    if (s && own)
        json_object_update(s, own);
    json_decref(own);
    return s;
}

// Generations that the samples of the batch are behind, the most of them.
static int64_t find_lag(const struct pair_online *r)
{
    int64_t lag = 0, last = r->publisher.run.trainer.step - 1;
    for (size_t k = 0; k < r->pairing.names.n && r->generation >= 0; k++) {
        const struct pair *pair = &r->pairing.pair[k];
        if (!pair_is_complete(pair))
            continue;
        uint32_t drawn = r->batch.column[r->generation].u32[pair->member[PAIR_OTHER]];
        lag = last - (int64_t)drawn > lag ? last - (int64_t)drawn : lag;
    }
    return lag;
}

static int write_metrics(struct pair_online *r, const struct step_report *report, struct err *e)
{
    struct publisher *p = &r->publisher;
    json_t *line = publisher_metrics(p, &r->objective.objective, report, e);
    if (!line)
        return -1;
    json_object_set_new(line, "lag", json_integer(find_lag(r)));
    if (pair_stats_add(&r->objective.sums, r->loss, line, e) < 0) {
        json_decref(line);
        return -1;
    }
    return metrics_write(&p->run.metrics, line, e);
}

static void make_examples(struct pair_online *r)
{
    const struct frame *f = &r->batch;
    size_t n = 0;
    for (size_t k = 0; k < r->pairing.names.n; k++) {
        const size_t *member = r->pairing.pair[k].member;
        if (!pair_is_complete(&r->pairing.pair[k]))
            continue;
        for (int side = 0; side < 2; side++)
            r->example[n++] = token_columns_example(&r->columns, f, member[side]);
    }
}

// Records whose partners have not come yet begin the next batch.
static int keep_open(struct pair_online *r, struct err *e)
{
    struct frame rest;
    struct online *s = &r->publisher.source;
    if (r->pairing.complete == r->pairing.names.n) {
        frame_clear(&r->batch);
        pairing_clear(&r->pairing);
        return 0;
    }
    if (frame_init(&rest, &s->header, e) < 0)
        return -1;
    int result = 0;
    for (size_t k = 0; k < r->pairing.names.n && result == 0; k++) {
        const size_t *member = r->pairing.pair[k].member;
        size_t at = member[member[0] == SIZE_MAX];
        if (pair_is_complete(&r->pairing.pair[k]))
            continue;
        // In the order of the stream, so that no number is needed any more where one is put.
        r->number[rest.n_sequences] = r->number[at];
        result = frame_append(&rest, &r->batch, at, e);
    }
    frame_release(&r->batch);
    r->batch = rest;
    pairing_clear(&r->pairing);
    for (size_t i = 0; i < rest.n_sequences && result == 0; i++)
        result = pairing_add(&r->pairing, &r->batch, r->pair, r->role, i, s->where, e);
    return result;
}

static int update(struct pair_online *r, struct err *e)
{
    struct publisher *p = &r->publisher;
    struct step_report report;
    size_t n = 2 * r->pairing.complete;
    make_examples(r);
    if (publisher_step(p, &r->batch, r->example, n, &r->objective.objective, &report, e) < 0)
        return -1;
    if (p->run.o->dry_run)
        return keep_open(r, e);
    if (write_metrics(r, &report, e) < 0 || keep_open(r, e) < 0 || publisher_show(p, e) < 0)
        return -1;
    long long generation = p->run.trainer.step;
    progress_update(&p->run.progress, generation, "loss %.4f", report.loss);
    if (p->run.o->verbose)
        message_note("generation %lld loss %.6f norm %.4g", generation, report.loss,
                     report.grad_norm);
    return 0;
}

static int use_record(void *arg, size_t i, struct err *e)
{
    struct pair_online *r = arg;
    const struct model *m = r->publisher.run.model;
    const struct frame *f = &r->publisher.source.frame;
    const char *where = r->publisher.source.where;
    if (token_columns_check(&r->columns, f, i, m->config.vocab, model_positions(m), where, e) < 0)
        return -1;
    long_record_warn(m, frame_length(f, i), where, frame_record(f, i).text);
    struct trainer_example x = token_columns_example(&r->columns, f, i);
    if (!sequence_wanted(&x.sequence))
        return pairs_refuse_untrained(f, i, where, e);
    if (MEM_GROW(r->number, r->number_capacity, r->batch.n_sequences + 1, "a batch", e) < 0)
        return -1;
    r->number[r->batch.n_sequences] = r->publisher.source.came;
    if (frame_append(&r->batch, f, i, e) < 0 ||
        pairing_add(&r->pairing, &r->batch, r->pair, r->role, r->batch.n_sequences - 1, where, e) <
            0)
        return -1;
    return r->pairing.complete == r->batch_size ? update(r, e) : 0;
}

// Records that came before the last update and wait for their partners: a run that goes on with the
// same stream takes them again.
static int save_open(void *arg, json_t *state, struct err *e)
{
    const struct pair_online *r = arg;
    const struct online *s = &r->publisher.source;
    json_t *open = json_array();
    int failed = json_object_set(state, "open", open) < 0;
    for (size_t i = 0; i < r->batch.n_sequences && !failed; i++)
        if (r->number[i] <= s->used)
            failed = json_array_append_new(open, json_integer((json_int_t)r->number[i])) < 0;
    // Those of an earlier run that have not come again.
    int ahead = s->came < s->skip || !s->identity[0];
    for (size_t i = 0; i < s->n_open && ahead && !failed; i++)
        if (s->open[i] > s->came)
            failed = json_array_append_new(open, json_integer((json_int_t)s->open[i])) < 0;
    json_decref(open);
    return failed ? err_memory(e, 0, "a state") : 0;
}

static int load_open(void *arg, const json_t *state, struct err *e)
{
    struct pair_online *r = arg;
    struct online *s = &r->publisher.source;
    const json_t *open = json_object_get(state, "open");
    size_t n = json_array_size(open);
    free(s->open);
    s->n_open = 0;
    if (!(s->open = mem_alloc(n + 1, sizeof *s->open, "a state", e)))
        return -1;
    for (; s->n_open < n; s->n_open++)
        s->open[s->n_open] = (uint64_t)json_integer_value(json_array_get(open, s->n_open));
    return 0;
}

static int use_rest(void *arg, struct err *e)
{
    struct pair_online *r = arg;
    if (pairing_check(&r->pairing, &r->batch, r->pair, r->publisher.source.where, e) < 0)
        return -1;
    return r->pairing.complete ? update(r, e) : 0;
}

static int check_options(const struct pair_train_options *o, struct trainer_options *t,
                         struct err *e)
{
    if (o->result.keep)
        return err_set(e, STATUS_USAGE, "--keep: online, each generation shows itself");
    if (t->ema > 0)
        return err_set(e, STATUS_USAGE, "--ema: not with --online");
    if (o->result.run.max_steps || t->scheduler == SCHEDULE_CONSTANT ||
        t->scheduler == SCHEDULE_CONSTANT_WITH_WARMUP || t->scheduler == SCHEDULE_INVERSE_SQRT)
        return 0;
    if (t->scheduler != SCHEDULE_LINEAR)
        return err_set(e, STATUS_USAGE,
                       "--lr-scheduler-type %s needs --max-steps: how long is the stream?",
                       schedule_types[t->scheduler]);
    t->scheduler = t->warmup_steps ? SCHEDULE_CONSTANT_WITH_WARMUP : SCHEDULE_CONSTANT;
    return 0;
}

static int train(struct pair_online *r, const struct run_options *o, const char *input,
                 struct err *e)
{
    struct publisher *p = &r->publisher;
    struct run *run = &p->run;
    if (publisher_open(p, o, "pair-train", e) < 0 ||
        run_prepare(run, o->max_steps,
                    token_objective_bytes(r->loss, &run->device, run->model, &run->size), e) < 0)
        return -1;
    token_objective_init(&r->objective, r->loss, run->model, &run->device, &o->train);
    r->objective.entropy = 1;
    p->open = open_stream;
    p->record = use_record;
    p->end = use_rest;
    p->settings = make_settings;
    p->save = save_open;
    p->load = load_open;
    p->arg = r;
    return publisher_train(p, input, e);
}

int pair_online_run(const struct pair_train_options *o, struct loss *loss, const char *input,
                    struct err *e)
{
    struct run_options own = o->result.run;
    struct pair_online r;
    memset(&r, 0, sizeof r);
    r.o = o;
    r.loss = loss;
    if (check_options(o, &own.train, e) < 0)
        return -1;
    pairing_init(&r.pairing);
    // A state that is saved at the end needs what the run holds.
    int result = publisher_close(&r.publisher, train(&r, &own, input, e), e);
    frame_release(&r.batch);
    pairing_release(&r.pairing);
    free(r.example);
    free(r.number);
    token_objective_release(&r.objective);
    publisher_release(&r.publisher);
    return result;
}
