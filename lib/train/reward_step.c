// SPDX-License-Identifier: MIT
#include "train/reward_step.h"
#include "base/progress.h"

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
static int gather(struct arena *arena, const struct example *example, const struct pair *pair,
                  struct completion *preferred, struct completion *other, struct err *e)
{
    const struct sequence *a = &example[pair->member[PAIR_PREFERRED]].sequence;
    const struct sequence *b = &example[pair->member[PAIR_OTHER]].sequence;
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

// Sum of the weights of all pairs.
static int find_divisor(struct arena *arena, const struct example *example, const struct pair *pair,
                        size_t n, const struct bradley_terry *loss, double *divisor, struct err *e)
{
    *divisor = 0;
    for (size_t i = 0; i < n; i++) {
        struct completion a, b;
        arena_clear(arena);
        if (gather(arena, example, &pair[i], &a, &b, e) < 0)
            return -1;
        *divisor += bradley_terry_weight(loss, align(loss, &a, &b));
    }
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

int reward_measure(const struct example *example, const struct pair *pair, size_t n,
                   const struct bradley_terry *loss, const float *reward, const size_t *first,
                   struct reward_stats *stats, struct err *e)
{
    struct arena arena;
    double divisor;
    arena_init(&arena);
    memset(stats, 0, sizeof *stats);
    int result = find_divisor(&arena, example, pair, n, loss, &divisor, e);
    for (size_t i = 0; i < n && result == 0; i++) {
        struct completion a, b;
        arena_clear(&arena);
        if ((result = gather(&arena, example, &pair[i], &a, &b, e)) < 0)
            break;
        a.reward = reward + first[pair[i].member[PAIR_PREFERRED]];
        b.reward = reward + first[pair[i].member[PAIR_OTHER]];
        a.gradient = arena_alloc(&arena, a.n, sizeof *a.gradient, e);
        b.gradient = arena_alloc(&arena, b.n, sizeof *b.gradient, e);
        if (!a.gradient || !b.gradient)
            result = -1;
        else
            add_pair(stats, loss, 1 / divisor, &a, &b);
    }
    arena_release(&arena);
    if (result == 0)
        end_stats(stats);
    return result;
}

static size_t pair_tokens(const struct example *example, const struct pair *pair)
{
    return example[pair->member[PAIR_PREFERRED]].sequence.n +
           example[pair->member[PAIR_OTHER]].sequence.n;
}

// The pairs lie behind one another in the batch: preferred, other, preferred ...
static void compare(struct reward_stats *f, const struct bradley_terry *loss, double scale,
                    const struct example *example, const struct pair *pair, size_t n,
                    const uint32_t *token, const float *reward, float *gradient)
{
    for (size_t i = 0; i < n; i++) {
        struct completion side[2];
        const size_t *which = pair[i].member;
        for (int k = 0; k < 2; k++) {
            size_t wanted = sequence_wanted(&example[which[k]].sequence);
            side[k] = (struct completion){token, reward, gradient, wanted};
            token += wanted;
            reward += wanted;
            gradient += wanted;
        }
        add_pair(f, loss, scale, &side[0], &side[1]);
    }
}

static int micro_batch(struct trainer *t, const struct example *example, const struct pair *pair,
                       size_t n, size_t tokens, const struct bradley_terry *loss, double scale,
                       struct step_report *report, struct reward_stats *stats, struct err *e)
{
    struct packer packer;
    struct batch b;
    arena_clear(&t->arena);
    if (packer_init(&packer, &t->arena, tokens, 2 * n, e) < 0)
        return -1;
    packer.after = 1;
    for (size_t i = 0; i < n; i++) {
        packer_add(&packer, &example[pair[i].member[PAIR_PREFERRED]].sequence);
        packer_add(&packer, &example[pair[i].member[PAIR_OTHER]].sequence);
    }
    packer_batch(&packer, &b);
    float *reward = arena_alloc(&t->arena, b.n_wanted, sizeof *reward, e);
    float *gradient = arena_alloc(&t->arena, b.n_wanted, sizeof *gradient, e);
    float *dhidden =
        arena_alloc(&t->arena, b.n_wanted * t->model->config.hidden, sizeof *dhidden, e);
    if (!reward || !gradient || !dhidden || decoder_forward(&t->decoder, &b, NULL, 1, e) < 0 ||
        head_reward(t->device, t->model, t->decoder.hidden, b.n_wanted, reward, e) < 0)
        return -1;
    compare(stats, loss, scale, example, pair, n, packer.target, reward, gradient);
    if (head_reward_backward(t->device, t->model, t->decoder.hidden, b.n_wanted, gradient, dhidden,
                             e) < 0 ||
        decoder_backward(&t->decoder, &b, dhidden, e) < 0)
        return -1;
    report->trained += b.n_wanted;
    report->tokens += b.n;
    return 0;
}

int reward_step(struct trainer *t, const struct example *example, const struct pair *pair, size_t n,
                const struct bradley_terry *loss, struct step_report *report,
                struct reward_stats *stats, struct err *e)
{
    double start = clock_seconds(), divisor;
    memset(report, 0, sizeof *report);
    memset(stats, 0, sizeof *stats);
    if (find_divisor(&t->arena, example, pair, n, loss, &divisor, e) < 0)
        return -1;
    model_clear_gradient(t->model);
    for (size_t first = 0; first < n;) {
        size_t end = first, tokens = 0;
        while (end < n &&
               (end == first || tokens + pair_tokens(example, &pair[end]) <= t->micro_batch_tokens))
            tokens += pair_tokens(example, &pair[end++]);
        if (micro_batch(t, example, pair + first, end - first, tokens, loss, 1 / divisor, report,
                        stats, e) < 0)
            return -1;
        first = end;
    }
    end_stats(stats);
    report->loss = stats->loss;
    if (trainer_update(t, report, e) < 0)
        return -1;
    report->seconds = clock_seconds() - start;
    return 0;
}
