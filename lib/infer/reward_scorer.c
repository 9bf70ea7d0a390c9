// SPDX-License-Identifier: MIT
#include "infer/reward_scorer.h"

#include <math.h>
#include <string.h>

enum { BATCH_TOKENS = 2048 };

void reward_scorer_init(struct reward_scorer *s, struct model *m, struct device *device)
{
    memset(s, 0, sizeof *s);
    s->model = m;
    s->device = device;
    s->batch_tokens = BATCH_TOKENS;
    decoder_init(&s->decoder, m, device);
    arena_init(&s->arena);
}

void reward_scorer_release(struct reward_scorer *s)
{
    decoder_release(&s->decoder);
    arena_release(&s->arena);
}

static int pack(struct reward_scorer *s, struct packer *p, const struct sequence *sequence,
                size_t n, size_t tokens, int share, size_t *where, struct err *e)
{
    const struct model_config *c = &s->model->config;
    size_t first = *where;
    arena_clear(&s->arena);
    if (packer_init(p, &s->arena, tokens, n, e) < 0)
        return -1;
    p->after = 1;
    p->share = share ? rope_same_up_to(c) : 0;
    for (size_t i = 0; i < n; i++) {
        *where = first + i;
        if (batch_check_tokens(sequence[i].token, sequence[i].n, c->vocab, e) < 0)
            return -1;
        if (sequence[i].n > model_positions(s->model))
            return err_set(e, STATUS_FAILED, "%zu tokens are more than the model's %zu positions",
                           sequence[i].n, model_positions(s->model));
        packer_add(p, &sequence[i]);
    }
    return 0;
}

static int check_finite(const struct sequence *sequence, size_t n, const float *reward,
                        size_t *where, struct err *e)
{
    size_t first = *where;
    for (size_t i = 0; i < n; i++)
        for (size_t k = sequence_wanted(&sequence[i]); k > 0; k--)
            if (!isfinite(*reward++)) {
                *where = first + i;
                return err_set(e, STATUS_FAILED, "the model's reward is not a finite number");
            }
    return 0;
}

// Weights of the wanted rows of each sequence, with sum 1. Softmax leaves every weight 0 or above;
// where all wanted ones underflow they are told as equal.
static int find_attention(struct reward_scorer *s, const struct packer *p, const struct batch *b,
                          const struct sequence *sequence, size_t n, float *out, struct err *e)
{
    float *weight = arena_alloc(&s->arena, b->n, sizeof *weight, e);
    if (!weight || decoder_last_attention(&s->decoder, b, weight, e) < 0)
        return -1;
    const uint32_t *row = p->wanted;
    for (size_t i = 0; i < n; i++) {
        size_t wanted = sequence_wanted(&sequence[i]);
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
    for (size_t first = 0; first < n;) {
        size_t end = first, tokens = 0;
        while (end < n && (end == first || tokens + sequence[end].n <= s->batch_tokens))
            tokens += sequence[end++].n;
        struct packer p;
        struct batch b;
        *where = first;
        if (pack(s, &p, sequence + first, end - first, tokens, !attention, where, e) < 0)
            return -1;
        packer_batch(&p, &b);
        *where = first;
        if (b.n_wanted &&
            (decoder_forward(&s->decoder, &b, NULL, 0, e) < 0 ||
             head_reward(s->device, s->model, s->decoder.hidden, b.n_wanted, reward, e) < 0 ||
             check_finite(sequence + first, end - first, reward, where, e) < 0))
            return -1;
        if (b.n_wanted && attention) {
            if (find_attention(s, &p, &b, sequence + first, end - first, attention, e) < 0)
                return -1;
            attention += b.n_wanted;
        }
        reward += b.n_wanted;
        first = end;
    }
    return 0;
}
