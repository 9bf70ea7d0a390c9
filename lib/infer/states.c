// SPDX-License-Identifier: MIT
#include "infer/states.h"

#include <math.h>
#include <string.h>

enum { BATCH_TOKENS = 2048 };

void states_init(struct states *s, struct model *m, struct device *device)
{
    memset(s, 0, sizeof *s);
    s->model = m;
    s->batch_tokens = BATCH_TOKENS;
    decoder_init(&s->decoder, m, device);
    arena_init(&s->arena);
}

void states_release(struct states *s)
{
    decoder_release(&s->decoder);
    arena_release(&s->arena);
}

// A packed sequence is asked for the states *before* its wanted tokens. So each gets one token more
// at its end, which is never read, and a mask that is late by one.
static int pack(struct states *s, struct packer *p, const struct sequence *sequence, struct err *e)
{
    size_t n = sequence->n;
    if (batch_check_tokens(sequence->token, n, s->model->config.vocab, e) < 0)
        return -1;
    if (n > model_positions(s->model))
        return err_set(e, STATUS_FAILED, "%zu tokens are more than the model's %zu positions", n,
                       model_positions(s->model));
    uint32_t *token = arena_alloc(&s->arena, n + 1, sizeof *token, e);
    uint8_t *mask = token ? arena_alloc(&s->arena, n + 1, 1, e) : NULL;
    if (!mask)
        return -1;
    if (n) {
        memcpy(token, sequence->token, n * sizeof *token);
        memcpy(mask + 1, sequence->mask, n);
    }
    token[n] = 0;
    mask[0] = 0;
    packer_add(p, &(struct sequence){.token = token, .mask = mask, .n = n + 1, .beyond = 1});
    return 0;
}

static int visit_all(const struct states *s, const struct sequence *sequence, size_t first,
                     size_t end, states_visit *visit, void *arg, size_t *where, struct err *e)
{
    const float *state = s->decoder.hidden;
    size_t width = s->model->config.hidden;
    for (size_t i = first; i < end; i++)
        for (size_t t = 0; t < sequence[i].n; t++) {
            if (!sequence[i].mask[t])
                continue;
            for (size_t k = 0; k < width; k++)
                if (!isfinite(state[k])) {
                    *where = i;
                    return err_set(e, STATUS_FAILED, "a hidden state of the model is not finite");
                }
            visit(arg, i, t, state);
            state += width;
        }
    return 0;
}

int states_run(struct states *s, const struct sequence *sequence, size_t n, states_visit *visit,
               void *arg, size_t *where, struct err *e)
{
    for (size_t first = 0; first < n;) {
        size_t end = first, tokens = 0;
        while (end < n && (end == first || tokens + sequence[end].n + 1 <= s->batch_tokens))
            tokens += sequence[end++].n + 1;
        struct packer p;
        struct batch b;
        arena_clear(&s->arena);
        *where = first;
        if (packer_init(&p, &s->arena, tokens, end - first, e) < 0)
            return -1;
        p.share = rope_same_up_to(&s->model->config);
        for (size_t i = first; i < end; i++) {
            *where = i;
            if (pack(s, &p, &sequence[i], e) < 0)
                return -1;
        }
        packer_batch(&p, &b);
        if (p.n_wanted && (decoder_forward(&s->decoder, &b, NULL, 0, e) < 0 ||
                           visit_all(s, sequence, first, end, visit, arg, where, e) < 0))
            return -1;
        first = end;
    }
    return 0;
}
