// SPDX-License-Identifier: MIT
#include "train/pair_train.h"
#include "base/io.h"
#include "train/pair_online.h"
#include "train/pair_stats.h"
#include "train/pairs.h"

#include <string.h>

struct pair_run {
    const struct pair_train_options *o;
    struct result result;
    struct pairs pairs;
    struct loss loss;
    struct token_objective objective;
};

static int open_loss(struct loss *l, const struct pair_train_options *o, struct err *e)
{
    if (loss_init(l, o->loss, e) < 0)
        return -1;
    l->parameters = o->parameters;
    if (!o->reference)
        return 0;
    return loss_set_reference(l, strcmp(o->reference, "self") ? o->reference : NULL, e);
}

static int note(void *arg, int due, json_t *line, struct err *e)
{
    const struct pair_run *r = arg;
    (void)due;
    return pair_stats_add(&r->objective.sums, &r->loss, line, e);
}

static int open_data(struct pair_run *r, const char *input, struct err *e)
{
    const struct run_options *o = &r->o->result.run;
    const struct model *m = r->result.run.model;
    struct dataset_wish wish = {
        .loss = &r->loss, .vocab = m->config.vocab, .positions = model_positions(m), .model = m};
    if (pairs_read(&r->pairs, input, wish, e) < 0 ||
        header_check_tokenizer(&r->pairs.data.stream, o->tokenizer, io_name(input), e) < 0)
        return -1;
    message_note("%zu pairs, frozen side: %s", r->pairs.n,
                 r->loss.frozen_self ? "the policy before each update" : r->loss.reference);
    return 0;
}

static int begin(struct pair_run *r, const char *input, struct err *e)
{
    struct result_plan plan = {.data = &r->pairs.data,
                               .pair = r->pairs.pair,
                               .n = r->pairs.n,
                               .fingerprint = r->pairs.fingerprint,
                               .where = io_name(input),
                               .loss = r->loss.kind->name,
                               .settings = token_objective_settings(&r->loss)};
    return result_begin(&r->result, &plan, e);
}

static int train(struct pair_run *r, const char *input, struct err *e)
{
    struct run *run = &r->result.run;
    const struct run_options *o = &r->o->result.run;
    if (result_open(&r->result, &r->o->result, "pair-train", 0, e) < 0 ||
        open_data(r, input, e) < 0 || begin(r, input, e) < 0)
        return -1;
    token_objective_init(&r->objective, &r->loss, run->model, &run->device, &o->train);
    r->objective.entropy = 1;
    r->result.note = note;
    r->result.arg = r;
    return result_train(&r->result, &r->objective.objective,
                        token_objective_bytes(&r->loss, &run->device, run->model, &run->size), e);
}

int pair_train_run(const struct pair_train_options *o, const char *input, struct err *e)
{
    struct pair_run r;
    memset(&r, 0, sizeof r);
    r.o = o;
    if (open_loss(&r.loss, o, e) < 0)
        return -1;
    if (o->online)
        return pair_online_run(o, &r.loss, input, e);
    int result = train(&r, input, e);
    token_objective_release(&r.objective);
    result_close(&r.result, result < 0);
    pairs_release(&r.pairs);
    return result;
}
