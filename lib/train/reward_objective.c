// SPDX-License-Identifier: MIT
#include "train/reward_objective.h"
#include "model/head.h"

#include <stdio.h>
#include <string.h>

// The trained tokens of a sequence; returns how many.
static size_t completion_tokens(const struct sequence *s, uint32_t *out)
{
    size_t n = 0;
    for (size_t t = 1; t < s->n; t++)
        if (!s->mask || s->mask[t])
            out[n++] = s->token[t];
    return n;
}

// Both completions of a pair, without rewards.
static int gather(struct arena *arena, const struct sequence *a, const struct sequence *b,
                  struct completion *preferred, struct completion *other, struct err *e)
{
    arena_clear(arena);
    uint32_t *token_a = arena_alloc(arena, a->n, sizeof *token_a, e);
    uint32_t *token_b = arena_alloc(arena, b->n, sizeof *token_b, e);
    if (!token_a || !token_b)
        return -1;
    *preferred = (struct completion){.token = token_a, .n = completion_tokens(a, token_a)};
    *other = (struct completion){.token = token_b, .n = completion_tokens(b, token_b)};
    return 0;
}

static struct alignment align(const struct bradley_terry *loss, const struct completion *a,
                              const struct completion *b)
{
    return bradley_terry_align(loss, a->token, a->n, b->token, b->n);
}

// Adds what a pair counts in the divisor of its batch.
static int weigh(struct arena *arena, const struct sequence *a, const struct sequence *b,
                 const struct bradley_terry *loss, double *divisor, struct err *e)
{
    struct completion preferred, other;
    if (gather(arena, a, b, &preferred, &other, e) < 0)
        return -1;
    *divisor += bradley_terry_weight(loss, align(loss, &preferred, &other));
    return 0;
}

// Adds a pair to the stats and fills its gradients.
static void add_pair(struct reward_stats *f, const struct bradley_terry *loss, double scale,
                     const struct completion *a, const struct completion *b)
{
    struct alignment at = align(loss, a, b);
    double last = (double)a->reward[a->n - 1] - (double)b->reward[b->n - 1];
    double mean = bradley_terry_margin(loss, at, a, b);
    f->loss += bradley_terry_loss(loss, at, scale, a, b);
    f->accuracy += last > 0;
    f->margin += last;
    f->aligned_accuracy += mean > 0;
    f->aligned_margin += mean;
    f->positions += at.end - at.first;
    f->pairs++;
}

static void end_stats(struct reward_stats *f)
{
    double n = (double)f->pairs;
    f->accuracy /= n;
    f->margin /= n;
    f->aligned_accuracy /= n;
    f->aligned_margin /= n;
}

// One pair of given rewards.
static int measure(struct arena *arena, const struct sequence *a, const struct sequence *b,
                   const float *reward_a, const float *reward_b, const struct bradley_terry *loss,
                   double scale, struct reward_stats *stats, struct err *e)
{
    struct completion preferred, other;
    if (gather(arena, a, b, &preferred, &other, e) < 0)
        return -1;
    preferred.reward = reward_a;
    other.reward = reward_b;
    preferred.gradient = arena_alloc(arena, preferred.n, sizeof *preferred.gradient, e);
    other.gradient = arena_alloc(arena, other.n, sizeof *other.gradient, e);
    if (!preferred.gradient || !other.gradient)
        return -1;
    add_pair(stats, loss, scale, &preferred, &other);
    return 0;
}

int reward_measure(const struct trainer_example *example, const struct pair *pair, size_t n,
                   const struct bradley_terry *loss, const float *reward, const size_t *first,
                   struct reward_stats *stats, struct err *e)
{
    struct arena arena;
    double divisor = 0;
    int result = 0;
    arena_init(&arena);
    memset(stats, 0, sizeof *stats);
    for (int round = 0; round < 2; round++)
        for (size_t i = 0; i < n && result == 0; i++) {
            size_t p = pair[i].member[PAIR_PREFERRED], o = pair[i].member[PAIR_OTHER];
            const struct sequence *a = &example[p].sequence, *b = &example[o].sequence;
            result = round == 0 ? weigh(&arena, a, b, loss, &divisor, e)
                                : measure(&arena, a, b, reward + first[p], reward + first[o], loss,
                                          1 / divisor, stats, e);
        }
    arena_release(&arena);
    if (result == 0)
        end_stats(stats);
    return result;
}

static int begin(struct objective *o, const struct step *s, struct err *e)
{
    struct reward_objective *r = (struct reward_objective *)o;
    memset(&r->stats, 0, sizeof r->stats);
    r->divisor = 0;
    for (size_t i = 0; i + 1 < s->n; i += 2)
        if (weigh(&r->arena, &s->sequence[i], &s->sequence[i + 1], r->loss, &r->divisor, e) < 0)
            return -1;
    return 0;
}

// The pairs lie behind one another in the batch: preferred, other, preferred ...
static void compare(struct reward_objective *r, const struct pass *p, const float *reward,
                    float *gradient)
{
    const uint32_t *token = p->packer.target;
    for (size_t i = p->first; i < p->first + p->n; i += 2) {
        struct completion side[2];
        for (size_t k = 0; k < 2; k++) {
            size_t wanted = sequence_wanted(&p->sequence[i + k]);
            side[k] = (struct completion){token, reward, gradient, wanted};
            token += wanted;
            reward += wanted;
            gradient += wanted;
        }
        add_pair(&r->stats, r->loss, 1 / r->divisor, &side[0], &side[1]);
    }
}

static int head(struct objective *o, const struct step *s, struct pass *p, float *dhidden,
                struct err *e)
{
    (void)s;
    struct reward_objective *r = (struct reward_objective *)o;
    size_t n = p->batch.n_wanted;
    const float *hidden = p->decoder.hidden;
    float *reward = arena_alloc(&p->arena, n, sizeof *reward, e);
    float *gradient = arena_alloc(&p->arena, n, sizeof *gradient, e);
    if (!reward || !gradient || head_reward(p->device, p->model, hidden, n, reward, e) < 0)
        return -1;
    compare(r, p, reward, gradient);
    return head_reward_backward(p->device, p->model, hidden, n, gradient, dhidden, e);
}

static void end(struct objective *o, const struct step *s)
{
    struct reward_objective *r = (struct reward_objective *)o;
    end_stats(&r->stats);
    s->report->loss = r->stats.loss;
}

void reward_stats_add(const struct reward_stats *f, json_t *line, const char *prefix, int with_loss)
{
    const struct {
        const char *name;
        double value;
    } figure[] = {{"loss", f->loss},
                  {"accuracy", f->accuracy},
                  {"margin", f->margin},
                  {"aligned_accuracy", f->aligned_accuracy},
                  {"aligned_margin", f->aligned_margin}};
    char name[64];
    for (size_t i = with_loss ? 0 : 1; i < sizeof figure / sizeof *figure; i++) {
        snprintf(name, sizeof name, "%s%s", prefix, figure[i].name);
        json_object_set_new(line, name, json_real(figure[i].value));
    }
}

static void metrics(const struct objective *o, const struct step_report *report, json_t *line)
{
    (void)report;
    reward_stats_add(&((const struct reward_objective *)o)->stats, line, "", 0);
}

void reward_objective_init(struct reward_objective *r, const struct bradley_terry *loss)
{
    memset(r, 0, sizeof *r);
    r->objective = (struct objective){
        .after = 1, .group = 2, .begin = begin, .head = head, .end = end, .metrics = metrics};
    r->loss = loss;
    arena_init(&r->arena);
}

void reward_objective_release(struct reward_objective *r)
{
    arena_release(&r->arena);
}
