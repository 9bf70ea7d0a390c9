// SPDX-License-Identifier: MIT
#include "infer/states.h"

#include <math.h>
#include <string.h>

void states_init(struct states *s, struct model *m, struct device *device)
{
    pass_init(&s->pass, m, device);
    s->pass.share = rope_same_up_to(&m->config);
    arena_init(&s->arena);
}

void states_release(struct states *s)
{
    pass_release(&s->pass);
    arena_release(&s->arena);
}

// A packed sequence is asked for the states *before* its wanted tokens. So each gets one token more
// at its end, which is never read, and a mask that is late by one.
static int shift(struct states *s, const struct sequence *from, struct sequence *to, struct err *e)
{
    size_t n = from->n;
    uint32_t *token = arena_alloc(&s->arena, n + 1, sizeof *token, e);
    uint8_t *mask = token ? arena_alloc(&s->arena, n + 1, 1, e) : NULL;
    if (!mask)
        return -1;
    if (n) {
        memcpy(token, from->token, n * sizeof *token);
        memcpy(mask + 1, from->mask, n);
    }
    token[n] = 0;
    mask[0] = 0;
    *to = (struct sequence){.token = token, .mask = mask, .n = n + 1, .beyond = 1};
    return 0;
}

static int visit_batch(const struct pass *p, const struct sequence *sequence, states_visit *visit,
                       void *arg, size_t *where, struct err *e)
{
    const float *state = p->decoder.hidden;
    size_t width = p->model->config.end_width;
    if (device_view(p->device, &state, p->batch.n_wanted * width * sizeof *state, e) < 0)
        return -1;
    for (size_t i = p->first; i < p->first + p->n; i++)
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
    struct pass *p = &s->pass;
    int more;
    *where = 0;
    arena_clear(&s->arena);
    struct sequence *shifted = arena_alloc(&s->arena, n, sizeof *shifted, e);
    for (size_t i = 0; shifted && i < n; i++)
        if (shift(s, &sequence[i], &shifted[i], e) < 0)
            return -1;
    if (!shifted)
        return -1;
    pass_begin(p, shifted, n);
    while ((more = pass_next(p, e)) > 0) {
        *where = p->where;
        if (pass_forward(p, 0, e) < 0 || visit_batch(p, sequence, visit, arg, where, e) < 0)
            return -1;
    }
    *where = p->where;
    return more;
}
