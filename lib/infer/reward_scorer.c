// SPDX-License-Identifier: MIT
#include "infer/reward_scorer.h"

#include <math.h>

void reward_scorer_init(struct reward_scorer *s, struct model *m, struct device *device)
{
    pass_init(&s->pass, m, device);
    s->pass.after = 1;
}

void reward_scorer_release(struct reward_scorer *s)
{
    pass_release(&s->pass);
}

static int check_finite(const struct pass *p, const float *reward, size_t *where, struct err *e)
{
    for (size_t i = p->first; i < p->first + p->n; i++)
        for (size_t k = sequence_wanted(&p->sequence[i]); k > 0; k--)
            if (!isfinite(*reward++)) {
                *where = i;
                return err_set(e, STATUS_FAILED, "the model's reward is not a finite number");
            }
    return 0;
}

// Weights of the wanted rows of each sequence, with sum 1. Softmax leaves every weight 0 or above;
// where all wanted ones underflow they are told as equal.
static int find_attention(struct pass *p, float *out, struct err *e)
{
    float *weight = arena_alloc(&p->arena, p->batch.n, sizeof *weight, e);
    if (!weight || decoder_last_attention(&p->decoder, &p->batch, weight, e) < 0)
        return -1;
    const uint32_t *row = p->batch.wanted;
    for (size_t i = p->first; i < p->first + p->n; i++) {
        size_t wanted = sequence_wanted(&p->sequence[i]);
        double sum = 0;
        for (size_t k = 0; k < wanted; k++)
            sum += (double)weight[row[k]];
        for (size_t k = 0; k < wanted; k++)
            out[k] = (float)(sum > 0 ? (double)weight[row[k]] / sum : 1 / (double)wanted);
        row += wanted;
        out += wanted;
    }
    return 0;
}

int reward_scorer_run(struct reward_scorer *s, const struct sequence *sequence, size_t n,
                      float *reward, float *attention, size_t *where, struct err *e)
{
    struct pass *p = &s->pass;
    int more;
    // Attention of a shared prefix stands in another sequence's rows.
    p->share = attention ? 0 : rope_same_up_to(&p->model->config);
    pass_begin(p, sequence, n);
    while ((more = pass_next(p, e)) > 0) {
        size_t wanted = p->batch.n_wanted;
        *where = p->first;
        if (pass_forward(p, 0, e) < 0 ||
            head_reward(p->device, p->model, p->decoder.hidden, wanted, reward, e) < 0 ||
            check_finite(p, reward, where, e) < 0)
            return -1;
        if (attention) {
            if (find_attention(p, attention, e) < 0)
                return -1;
            attention += wanted;
        }
        reward += wanted;
    }
    *where = p->where;
    return more;
}
