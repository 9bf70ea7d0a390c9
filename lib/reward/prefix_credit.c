// SPDX-License-Identifier: MIT
#include "reward/prefix_credit.h"
#include "base/memory.h"

#include <stdlib.h>

// Of a group: how many samples there are, and those without a prefix.
struct siblings {
    double n, bare, sum; // sum: of R over the bare ones
};

int prefix_advantage(const struct reward_batch *b, const uint32_t *prefix, double *advantage,
                     size_t *culprit, struct err *e)
{
    *culprit = b->n_sequences;
    struct siblings *group = mem_alloc(b->n_groups + 1, sizeof *group, "groups", e);
    if (!group)
        return -1;
    for (size_t i = 0; i < b->n_sequences; i++) {
        const struct reward_sequence *s = &b->sequence[i];
        struct siblings *g = &group[s->group];
        if (!s->n)
            continue;
        g->n++;
        g->bare += !prefix[i];
        g->sum += prefix[i] ? 0 : s->total;
    }
    int result = 0;
    for (size_t i = 0; i < b->n_sequences && result == 0; i++) {
        const struct reward_sequence *s = &b->sequence[i];
        const struct siblings *g = &group[s->group];
        advantage[i] = 0;
        if (!s->n || !prefix[i])
            continue;
        if (g->bare > 0)
            advantage[i] = (s->total - g->sum / g->bare) / g->n;
        else
            result =
                err_set(e, STATUS_FAILED, "has a prefix, but its group has no sample without one");
        if (result < 0)
            *culprit = i;
    }
    free(group);
    return result;
}

struct ranked_token {
    float entropy;
    size_t at;
};

static int compare(const void *a, const void *b)
{
    const struct ranked_token *x = a, *y = b;
    if (x->entropy != y->entropy)
        return x->entropy > y->entropy ? -1 : 1;
    return x->at < y->at ? -1 : 1;
}

int prefix_choose(const float *entropy, size_t n, double share, uint8_t *mask, struct err *e)
{
    size_t k = (size_t)(share * (double)n + 0.5);
    if (!n || share <= 0)
        return 0;
    struct ranked_token *token = mem_alloc(n, sizeof *token, "a prefix", e);
    if (!token)
        return -1;
    for (size_t t = 0; t < n; t++)
        token[t] = (struct ranked_token){entropy[t], t};
    qsort(token, n, sizeof *token, compare);
    for (size_t i = 0; i < (k ? k : 1) && i < n; i++)
        mask[token[i].at] = 1;
    free(token);
    return 0;
}
