// SPDX-License-Identifier: MIT
#include "train/evaluation.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

int evaluation_due(const struct evaluation_options *o, int64_t step, int last)
{
    return o->path && (last || (o->steps && step % o->steps == 0));
}

int evaluation_check(const struct evaluation_options *o, struct err *e)
{
    if (o->on_start && !o->path)
        return err_set(e, STATUS_USAGE, "--eval-on-start needs --eval-stream");
    if (o->steps && !o->path)
        return err_set(e, STATUS_USAGE, "--eval-steps needs --eval-stream");
    return 0;
}

int evaluation_open(struct evaluation *v, const char *path, struct model *m, struct device *device,
                    const char *tokenizer, struct err *e)
{
    // No loss: the negative log-likelihood is measured, whatever is trained.
    struct dataset_wish wish = {
        .vocab = m->config.vocab, .positions = model_positions(m), .model = m};
    v->path = path;
    v->loss = v->accuracy = NAN;
    scorer_init(&v->scorer, m, device);
    if (dataset_read(&v->data, path, &wish, e) < 0)
        return -1;
    return header_check_tokenizer(&v->data.stream, tokenizer, path, e);
}

void evaluation_release(struct evaluation *v)
{
    scorer_release(&v->scorer);
    if (v->data.header.column)
        dataset_release(&v->data);
}

static size_t trained(const struct evaluation *v)
{
    size_t n = 0;
    for (size_t i = 0; i < v->data.n; i++)
        n += sequence_wanted(&v->data.example[i].sequence);
    return n;
}

struct work_bytes evaluation_bytes(const struct evaluation *v, const struct device *d,
                                   const struct model *m)
{
    size_t longest = 0;
    for (size_t i = 0; i < v->data.n; i++)
        if (v->data.example[i].sequence.n > longest)
            longest = v->data.example[i].sequence.n;
    struct work_bytes lists = {.held = trained(v) * (sizeof(float) + sizeof(uint32_t)) +
                                       v->data.n * sizeof(struct sequence)};
    return work_bytes_add(scorer_bytes(d, m, v->data.n, longest), lists);
}

static int score(struct evaluation *v, struct sequence *sequence, const struct head_result *out,
                 struct err *e)
{
    size_t where = v->data.n;
    for (size_t i = 0; i < v->data.n; i++)
        sequence[i] = v->data.example[i].sequence;
    if (scorer_run(&v->scorer, sequence, v->data.n, out, &where, e) == 0)
        return 0;
    if (where < v->data.n)
        err_prefix(e, "%s", frame_record(&v->data.all, v->data.example[where].record).text);
    return err_prefix(e, "%s", v->path);
}

static void sum_up(struct evaluation *v, const struct sequence *sequence,
                   const struct head_result *out)
{
    size_t at = 0, right = 0;
    double loss = 0;
    for (size_t i = 0; i < v->data.n; i++)
        for (size_t t = 1; t < sequence[i].n; t++)
            if (sequence[i].mask[t]) {
                loss -= out->logp[at];
                right += out->best[at++] == sequence[i].token[t];
            }
    v->loss = loss / (double)at;
    v->accuracy = (double)right / (double)at;
}

int evaluation_run(struct evaluation *v, json_t *line, struct err *e)
{
    size_t wanted = trained(v);
    struct sequence *sequence = mem_alloc(v->data.n, sizeof *sequence, "sequences", e);
    float *logp = mem_alloc(wanted, sizeof *logp, "scores", e);
    uint32_t *best = mem_alloc(wanted, sizeof *best, "scores", e);
    struct head_result out = {.logp = logp, .best = best};
    int result = sequence && logp && best ? score(v, sequence, &out, e) : -1;
    if (result == 0) {
        sum_up(v, sequence, &out);
        json_object_set_new(line, "eval_loss", json_real(v->loss));
        json_object_set_new(line, "eval_mean_token_accuracy", json_real(v->accuracy));
    }
    free(logp);
    free(best);
    free(sequence);
    return result;
}
