// SPDX-License-Identifier: MIT
#include "learn/scorer.h"

#include <math.h>
#include <string.h>

enum { BATCH_TOKENS = 2048 };

void scorer_init(struct scorer *s, struct model *m, struct device *device)
{
    memset(s, 0, sizeof *s);
    s->model = m;
    s->device = device;
    s->batch_tokens = BATCH_TOKENS;
    decoder_init(&s->decoder, m, device);
    arena_init(&s->arena);
}

void scorer_release(struct scorer *s)
{
    decoder_release(&s->decoder);
    arena_release(&s->arena);
}

static struct head_result part(const struct head_result *all, size_t at)
{
    struct head_result r = *all;
    r.logp = all->logp ? all->logp + at : NULL;
    r.entropy = all->entropy ? all->entropy + at : NULL;
    r.best = all->best ? all->best + at : NULL;
    r.top = all->top ? all->top + at * all->k : NULL;
    r.top_logp = all->top_logp ? all->top_logp + at * all->k : NULL;
    return r;
}

static int score_batch(struct scorer *s, const struct packer *p, const struct head_result *out,
                       struct err *e)
{
    struct batch b;
    packer_batch(p, &b);
    if (decoder_forward(&s->decoder, &b, NULL, 0, e) < 0)
        return -1;
    return head_score(s->device, s->model, s->decoder.hidden, p->target, p->n_wanted, out, e);
}

static int check_finite(const struct sequence *sequence, size_t first, size_t end,
                        const float *logp, size_t *where, struct err *e)
{
    for (size_t i = first; i < end; i++) {
        size_t n = sequence_wanted(&sequence[i]);
        for (size_t k = 0; k < n; k++)
            if (isnan(logp[k])) {
                *where = i;
                return err_set(e, STATUS_FAILED, "the model's log-probability is not a number");
            }
        logp += n;
    }
    return 0;
}

int scorer_run(struct scorer *s, const struct sequence *sequence, size_t n,
               const struct head_result *out, size_t *where, struct err *e)
{
    size_t done = 0;
    for (size_t first = 0; first < n;) {
        size_t end = first, tokens = 0;
        while (end < n && (end == first || tokens + sequence[end].n <= s->batch_tokens))
            tokens += sequence[end++].n;
        struct packer p;
        arena_clear(&s->arena);
        *where = first;
        if (packer_init(&p, &s->arena, tokens, end - first, e) < 0)
            return -1;
        p.share = 1;
        for (size_t i = first; i < end; i++) {
            *where = i;
            if (batch_check_tokens(sequence[i].token, sequence[i].n, s->model->config.vocab, e) < 0)
                return -1;
            if (sequence[i].n > s->model->config.max_position + 1)
                return err_set(e, STATUS_FAILED,
                               "%zu tokens are more than the model's %zu positions", sequence[i].n,
                               s->model->config.max_position);
            packer_add(&p, &sequence[i]);
        }
        struct head_result r = part(out, done);
        if (p.n_wanted && score_batch(s, &p, &r, e) < 0)
            return -1;
        if (p.n_wanted && out->logp && check_finite(sequence, first, end, r.logp, where, e) < 0)
            return -1;
        done += p.n_wanted;
        first = end;
    }
    return 0;
}
