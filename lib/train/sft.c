// SPDX-License-Identifier: MIT
#include "train/sft.h"
#include "base/io.h"
#include "train/dataset.h"
#include "train/token_objective.h"

#include <stdlib.h>
#include <string.h>

struct run {
    const struct sft_options *o;
    struct course course;
    struct dataset data, eval;
    struct scorer scorer; // of the evaluation
    struct loss loss;
    struct token_objective objective;
};

static void fill(void *arg, size_t i, struct example *out)
{
    const struct run *r = arg;
    *out = r->data.example[i];
}

static const char *name_of(void *arg, size_t i, size_t k, size_t *size)
{
    (void)k;
    const struct run *r = arg;
    return dataset_id(&r->data, i, size);
}

// Mean negative log-likelihood and accuracy on the evaluation stream, as metrics.
static int evaluate(struct run *r, json_t *line, struct err *e)
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
        message_note("update %lld: eval_loss %.5f", (long long)r->course.trainer.step,
                     loss / (double)wanted);
    }
    free(logp);
    free(best);
    free(sequence);
    return result;
}

static int note(void *arg, const struct step_report *report, int last, json_t *line, struct err *e)
{
    struct run *r = arg;
    if (loss_needs_reference(&r->loss))
        json_object_set_new(line, "clip_fraction", json_real(report->clipped));
    if (r->o->eval_path &&
        (last || (r->o->eval_steps && r->course.trainer.step % r->o->eval_steps == 0)))
        return evaluate(r, line, e);
    return 0;
}

static int open_loss(struct run *r, struct err *e)
{
    const struct sft_options *o = r->o;
    double temperature = o->course.run.train.temperature;
    struct loss *l = &r->loss;
    if (loss_init(l, o->loss, e) < 0)
        return -1;
    l->parameters.beta = o->beta;
    l->parameters.alpha = o->alpha;
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

static int open_data(struct run *r, const char *input, struct err *e)
{
    const struct run_options *o = &r->o->course.run;
    const struct model *m = r->course.model;
    struct dataset_wish wish = {
        .loss = &r->loss, .vocab = m->config.vocab, .positions = model_positions(m)};
    if (dataset_read(&r->data, input, &wish, e) < 0 ||
        header_check_tokenizer(&r->data.stream, o->tokenizer, io_name(input), e) < 0)
        return -1;
    message_note("%zu records, %zu of them without trained tokens", r->data.n + r->data.untrained,
                 r->data.untrained);
    if (!r->o->eval_path)
        return 0;
    const char *path = r->o->eval_path;
    scorer_init(&r->scorer, r->course.model, &r->course.device);
    wish.loss = NULL; // the negative log-likelihood is measured, whatever is trained
    if (dataset_read(&r->eval, path, &wish, e) < 0)
        return -1;
    return header_check_tokenizer(&r->eval.stream, o->tokenizer, path, e);
}

static int run(struct run *r, const char *input, struct err *e)
{
    struct course *c = &r->course;
    if (course_open(c, &r->o->course, e) < 0 || open_loss(r, e) < 0 || open_data(r, input, e) < 0)
        return -1;
    c->program = "sft-train";
    c->loss = &r->loss;
    c->objective = &r->objective.objective;
    token_objective_init(&r->objective, &r->loss, c->model, &c->device, &r->o->course.run.train);
    r->objective.entropy = r->o->course.run.metrics != NULL;
    c->n = r->data.n;
    c->fingerprint = r->data.fingerprint;
    c->stream = &r->data.stream;
    c->where = io_name(input);
    c->fill = fill;
    c->name = name_of;
    c->note = note;
    c->arg = r;
    return course_run(c, e);
}

int sft_run(const struct sft_options *o, const char *input, struct err *e)
{
    struct run r;
    memset(&r, 0, sizeof r);
    r.o = o;
    int result = run(&r, input, e);
    course_close(&r.course, result < 0, e);
    token_objective_release(&r.objective);
    scorer_release(&r.scorer);
    if (r.data.header.column)
        dataset_release(&r.data);
    if (r.eval.header.column)
        dataset_release(&r.eval);
    return result;
}
