// SPDX-License-Identifier: MIT
#include "train/sft.h"
#include "base/io.h"
#include "train/token_objective.h"

#include <stdlib.h>
#include <string.h>

struct sft_run {
    const struct sft_options *o;
    struct result result;
    struct dataset data, eval;
    struct scorer scorer; // of the evaluation
    struct loss loss;
    struct token_objective objective;
};

// Mean negative log-likelihood and accuracy on the evaluation stream, as metrics.
static int evaluate(struct sft_run *r, json_t *line, struct err *e)
{
    size_t wanted = 0, where = 0, right = 0, at = 0;
    struct sequence *sequence = mem_alloc(r->eval.n, sizeof *sequence, "sequences", e);
    if (!sequence)
        return -1;
    for (size_t i = 0; i < r->eval.n; i++) {
        sequence[i] = r->eval.example[i].sequence;
        wanted += sequence_wanted(&sequence[i]);
    }
    float *logp = mem_alloc(wanted, sizeof *logp, "scores", e);
    uint32_t *best = mem_alloc(wanted, sizeof *best, "scores", e);
    struct head_result out = {.logp = logp, .best = best};
    int result = logp && best ? scorer_run(&r->scorer, sequence, r->eval.n, &out, &where, e) : -1;
    double loss = 0;
    for (size_t i = 0; i < r->eval.n && result == 0; i++)
        for (size_t t = 1; t < sequence[i].n; t++)
            if (sequence[i].mask[t]) {
                loss -= logp[at];
                right += best[at++] == sequence[i].token[t];
            }
    if (result == 0) {
        json_object_set_new(line, "eval_loss", json_real(loss / (double)wanted));
        json_object_set_new(line, "eval_mean_token_accuracy",
                            json_real((double)right / (double)wanted));
        message_note("update %lld: eval_loss %.5f", (long long)r->result.run.trainer.step,
                     loss / (double)wanted);
    }
    free(logp);
    free(best);
    free(sequence);
    return result;
}

static int note(void *arg, int last, json_t *line, struct err *e)
{
    struct sft_run *r = arg;
    int64_t every = r->o->eval_steps, at = r->result.run.trainer.step;
    return r->o->eval_path && (last || (every && at % every == 0)) ? evaluate(r, line, e) : 0;
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
    if (!r->o->eval_path)
        return 0;
    const char *path = r->o->eval_path;
    scorer_init(&r->scorer, r->result.run.model, &r->result.run.device);
    wish.loss = NULL; // the negative log-likelihood is measured, whatever is trained
    if (dataset_read(&r->eval, path, &wish, e) < 0)
        return -1;
    return header_check_tokenizer(&r->eval.stream, o->tokenizer, path, e);
}

static int begin(struct sft_run *r, const char *input, struct err *e)
{
    struct result_plan plan = {.data = &r->data,
                               .n = r->data.n,
                               .fingerprint = r->data.fingerprint,
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
    return result_train(&r->result, &r->objective.objective,
                        token_objective_bytes(&r->loss, &run->device, run->model, &run->size), e);
}

int sft_run(const struct sft_options *o, const char *input, struct err *e)
{
    struct sft_run r;
    memset(&r, 0, sizeof r);
    r.o = o;
    int result = train(&r, input, e);
    token_objective_release(&r.objective);
    scorer_release(&r.scorer);
    result_close(&r.result, result < 0);
    if (r.data.header.column)
        dataset_release(&r.data);
    if (r.eval.header.column)
        dataset_release(&r.eval);
    return result;
}
