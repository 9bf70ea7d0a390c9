// SPDX-License-Identifier: MIT
#include "train/sft.h"
#include "base/io.h"
#include "train/token_objective.h"

#include <stdlib.h>
#include <string.h>

struct sft_run {
    const struct sft_options *o;
    struct result result;
    struct dataset data;
    struct evaluation eval;
    struct loss loss;
    struct token_objective objective;
};

static int note(void *arg, int due, json_t *line, struct err *e)
{
    struct sft_run *r = arg;
    if (!due)
        return 0;
    if (evaluation_run(&r->eval, line, e) < 0)
        return -1;
    message_note("update %lld: eval_loss %.5f", (long long)r->result.run.trainer.step,
                 r->eval.loss);
    return 0;
}

static int open_loss(struct sft_run *r, struct err *e)
{
    const struct sft_options *o = r->o;
    double temperature = o->result.run.train.temperature;
    struct loss *l = &r->loss;
    if (loss_init(l, o->loss, e) < 0)
        return -1;
    l->parameters = o->parameters;
    int frozen = loss_needs_reference(l);
    if (!frozen && o->reference)
        return err_set(e, STATUS_USAGE, "--reference: the loss %s has none", o->loss);
    if (!frozen && o->per_sequence)
        return err_set(e, STATUS_USAGE, "--per sequence: the loss %s is one of tokens", o->loss);
    if (frozen && temperature > 0 && temperature != 1)
        return err_set(
            e, STATUS_USAGE,
            "--temperature: the loss %s compares with log-probabilities at temperature 1", o->loss);
    l->by_sequence = o->per_sequence;
    return o->reference ? loss_set_reference(l, o->reference, e) : 0;
}

static int open_data(struct sft_run *r, const char *input, struct err *e)
{
    const struct run_options *o = &r->o->result.run;
    const struct model *m = r->result.run.model;
    struct dataset_wish wish = {
        .loss = &r->loss, .vocab = m->config.vocab, .positions = model_positions(m), .model = m};
    if (dataset_read(&r->data, input, &wish, e) < 0 ||
        header_check_tokenizer(&r->data.stream, o->tokenizer, io_name(input), e) < 0)
        return -1;
    message_note("%zu records, %zu of them without trained tokens", r->data.n + r->data.untrained,
                 r->data.untrained);
    if (header_find(&r->data.stream, "pair") >= 0 && header_find(&r->data.stream, "role") >= 0)
        message_warn(
            "%s: the stream has pairs, and the rejected side is trained on as the chosen one is "
            "(tok "
            "--fields completion=chosen --format prompt-completion makes demonstrations of "
            "the chosen ones)",
            io_name(input));
    const char *path = r->o->result.eval.path;
    return path ? evaluation_open(&r->eval, path, r->result.run.model, &r->result.run.device,
                                  o->tokenizer, e)
                : 0;
}

static int begin(struct sft_run *r, const char *input, struct err *e)
{
    struct result_plan plan = {.data = &r->data,
                               .n = r->data.n,
                               .fingerprint = r->data.fingerprint,
                               .eval_fingerprint = r->eval.data.fingerprint,
                               .where = io_name(input),
                               .loss = r->loss.kind->name,
                               .settings = token_objective_settings(&r->loss)};
    return result_begin(&r->result, &plan, e);
}

static int train(struct sft_run *r, const char *input, struct err *e)
{
    struct run *run = &r->result.run;
    const struct run_options *o = &r->o->result.run;
    if (result_open(&r->result, &r->o->result, "sft-train", 0, e) < 0 || open_loss(r, e) < 0 ||
        open_data(r, input, e) < 0 || begin(r, input, e) < 0)
        return -1;
    token_objective_init(&r->objective, &r->loss, run->model, &run->device, &o->train);
    r->objective.entropy = 1;
    r->result.note = note;
    r->result.arg = r;
    struct work_bytes beside =
        token_objective_bytes(&r->loss, &run->device, run->model, &run->size);
    if (r->eval.path)
        beside = work_bytes_add(beside, evaluation_bytes(&r->eval, &run->device, run->model));
    return result_train(&r->result, &r->objective.objective, beside, e);
}

int sft_run(const struct sft_options *o, const char *input, struct err *e)
{
    struct sft_run r;
    memset(&r, 0, sizeof r);
    r.o = o;
    int result = train(&r, input, e);
    token_objective_release(&r.objective);
    evaluation_release(&r.eval);
    result_close(&r.result, result < 0);
    if (r.data.header.column)
        dataset_release(&r.data);
    return result;
}
