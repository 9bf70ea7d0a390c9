// SPDX-License-Identifier: MIT
#include "reward/reward.h"
#include "base/memory.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

const char *const reward_credits[] = {"token", "sequence", "uniform", "last", "attention", NULL};
const char *const reward_baselines[] = {"none",     "batch",         "prompt", "loo",
                                        "position", "prompt-tokens", NULL};
const char *const reward_whitens[] = {"none", "batch", "prompt", "position", "grpo", NULL};
const char *const reward_scales[] = {"none", "batch", "position", NULL};
const char *const reward_variances[] = {"population", "sample", NULL};

static const double VARIANCE_EPSILON = 1e-8; // TRL's masked_whiten
static const double GRPO_EPSILON = 1e-4;     // TRL's GRPO, beside the deviation

void reward_options_init(struct reward_options *o)
{
    *o = (struct reward_options){.clip_low = -INFINITY,
                                 .clip_high = INFINITY,
                                 .min_logp = -INFINITY,
                                 .gamma = 1,
                                 .beta = 0.8};
}

int reward_needs_batch(const struct reward_options *o)
{
    return o->baseline != BASELINE_NONE || o->whiten != WHITEN_NONE || o->scale != SCALE_NONE;
}

int reward_needs_prompt(const struct reward_options *o)
{
    return (o->baseline != BASELINE_NONE && o->baseline != BASELINE_BATCH) ||
           o->whiten == WHITEN_PROMPT || o->whiten == WHITEN_GRPO;
}

int reward_options_check(const struct reward_options *o, struct err *e)
{
    if (!(o->floor >= 0 && o->floor <= 1))
        return err_set(e, STATUS_USAGE, "--floor: %g is not in 0 .. 1", o->floor);
    if (!(o->gamma >= 0 && o->gamma <= 1))
        return err_set(e, STATUS_USAGE, "--gamma: %g is not in 0 .. 1", o->gamma);
    if (o->gamma != 1 && o->credit != CREDIT_TOKEN && o->credit != CREDIT_ATTENTION)
        return err_set(e, STATUS_USAGE,
                       "--gamma has a meaning with --credit token and attention only");
    if (!(o->beta >= 0 && o->beta <= 1))
        return err_set(e, STATUS_USAGE, "--beta: %g is not in 0 .. 1", o->beta);
    if (!(o->clip_low <= o->clip_high))
        return err_set(e, STATUS_USAGE, "--clip-reward: %g is above %g", o->clip_low, o->clip_high);
    if (isnan(o->min_logp))
        return err_set(e, STATUS_USAGE, "--min-logp: not a number");
    if (o->whiten == WHITEN_GRPO && o->baseline != BASELINE_NONE)
        return err_set(e, STATUS_USAGE, "--whiten grpo has its own baseline, the prompt's mean");
    return 0;
}

static double combine(const struct reward_options *o, const double *reference, int k)
{
    double value[REWARD_REFERENCES_MAX], top = -INFINITY, sum = 0;
    for (int i = 0; i < k; i++) {
        value[i] = o->floor > 0 ? log(exp(reference[i]) + o->floor) : reference[i];
        if (isnan(value[i]))
            return NAN;
        top = value[i] > top ? value[i] : top;
    }
    if (k == 1 || !isfinite(top))
        return top;
    for (int i = 0; i < k; i++)
        sum += exp(value[i] - top);
    return top + log(sum / k);
}

double reward_clip(const struct reward_options *o, double r)
{
    if (r < o->clip_low)
        return o->clip_low;
    return r > o->clip_high ? o->clip_high : r;
}

double reward_token(const struct reward_options *o, double policy, const double *reference, int k)
{
    int plausible = !(policy < o->min_logp);
    for (int i = 0; i < k; i++)
        plausible |= !(reference[i] < o->min_logp);
    if (!plausible)
        return 0;
    double r = k ? policy - combine(o, reference, k) : policy;
    return reward_clip(o, r);
}

int reward_spread(const struct reward_options *o, size_t n, const double *weight, double *reward,
                  size_t *culprit)
{
    double sum = 0, weights = weight ? 0 : (double)n;
    for (size_t t = 0; t < n; t++) {
        sum += reward[t];
        if (!weight)
            continue;
        *culprit = t;
        if (!(weight[t] >= 0 && isfinite(weight[t])))
            return -1;
        weights += weight[t];
    }
    *culprit = n;
    if (n && weights <= 0)
        return -1;
    for (size_t t = 0; t < n; t++)
        reward[t] = o->beta * (weight ? weight[t] : 1) / weights * sum;
    if (n)
        reward[n - 1] += (1 - o->beta) * sum;
    return 0;
}

void reward_return(const struct reward_options *o, size_t n, const double *reward, double *returns)
{
    double sum = 0;
    if (o->credit == CREDIT_TOKEN || o->credit == CREDIT_ATTENTION) {
        for (size_t t = n; t-- > 0;)
            returns[t] = sum = reward[t] + o->gamma * sum;
        return;
    }
    for (size_t t = n; t-- > 0;)
        sum += reward[t];
    double each = o->credit == CREDIT_LAST      ? 0
                  : o->credit == CREDIT_UNIFORM ? sum / (double)n
                                                : sum;
    for (size_t t = 0; t < n; t++)
        returns[t] = each;
    if (o->credit == CREDIT_LAST && n)
        returns[n - 1] = sum;
}

// Mean and spread of the values of one cell (the batch, a prompt, a position).
struct moment {
    double n, mean, squares; // squares: sum of (x - mean)^2
};

// Welford's update; the order of the additions is that of the records.
static void moment_add(struct moment *m, double x)
{
    double away = x - m->mean;
    m->n++;
    m->mean += away / m->n;
    m->squares += away * (x - m->mean);
}

static double moment_variance(const struct moment *m, int sample)
{
    double n = sample ? m->n - 1 : m->n;
    return n > 0 ? m->squares / n : 0;
}

static size_t longest(const struct reward_batch *b)
{
    size_t n = 0;
    for (size_t i = 0; i < b->n_sequences; i++)
        n = b->sequence[i].n > n ? b->sequence[i].n : n;
    return n;
}

static int refuse_single(size_t i, const char *option, const char *instead, size_t *culprit,
                         struct err *e)
{
    *culprit = i;
    return err_set(e, STATUS_FAILED, "is the only sample of its prompt; %s needs two or more%s",
                   option, instead);
}

// R over the samples of each prompt.
static void add_totals(const struct reward_batch *b, struct moment *cell)
{
    for (size_t i = 0; i < b->n_sequences; i++)
        if (b->sequence[i].n)
            moment_add(&cell[b->sequence[i].group], b->sequence[i].total);
}

// The tokens of each prompt, or (whole) all of them in cell 0.
static void add_values(const struct reward_batch *b, int whole, const double *value,
                       struct moment *cell)
{
    for (size_t i = 0; i < b->n_sequences; i++) {
        const struct reward_sequence *s = &b->sequence[i];
        for (size_t t = 0; t < s->n; t++)
            moment_add(&cell[whole ? 0 : s->group], value[s->start + t]);
    }
}

static void subtract(const struct reward_sequence *s, double from, double *value)
{
    for (size_t t = 0; t < s->n; t++)
        value[s->start + t] -= from;
}

static int leave_one_out(const struct reward_batch *b, const struct moment *cell, double *value,
                         size_t *culprit, struct err *e)
{
    for (size_t i = 0; i < b->n_sequences; i++) {
        const struct reward_sequence *s = &b->sequence[i];
        const struct moment *m = &cell[s->group];
        if (s->n && m->n < 2)
            return refuse_single(i, "--baseline loo", " (--baseline none needs no other)", culprit,
                                 e);
        if (s->n)
            subtract(s, (m->mean * m->n - s->total) / (m->n - 1), value);
    }
    return 0;
}

// One group: `first` and `next` chain its members, as index + 1; 0 ends. `cell` is all zeros
// before and after.
static void subtract_positions_of(const struct reward_batch *b, size_t first, const size_t *next,
                                  struct moment *cell, double *value)
{
    size_t used = 0;
    for (size_t i = first; i; i = next[i - 1]) {
        const struct reward_sequence *s = &b->sequence[i - 1];
        for (size_t t = 0; t < s->n; t++)
            moment_add(&cell[t], value[s->start + t]);
        used = s->n > used ? s->n : used;
    }
    for (size_t i = first; i; i = next[i - 1]) {
        const struct reward_sequence *s = &b->sequence[i - 1];
        for (size_t t = 0; t < s->n; t++)
            value[s->start + t] -= cell[t].mean;
    }
    memset(cell, 0, used * sizeof *cell);
}

// Group by group, so that memory is that of the longest sequence.
static int subtract_positions(const struct reward_batch *b, double *value, struct err *e)
{
    size_t *next = mem_alloc(b->n_sequences + 1, sizeof *next, "groups", e);
    size_t *first = next ? mem_alloc(b->n_groups + 1, sizeof *first, "groups", e) : NULL;
    struct moment *cell = first ? mem_alloc(longest(b) + 1, sizeof *cell, "positions", e) : NULL;
    if (cell) {
        for (size_t i = b->n_sequences; i-- > 0;) {
            next[i] = first[b->sequence[i].group];
            first[b->sequence[i].group] = i + 1;
        }
        for (size_t g = 0; g < b->n_groups; g++)
            subtract_positions_of(b, first[g], next, cell, value);
    }
    int status = cell ? 0 : -1;
    free(cell);
    free(first);
    free(next);
    return status;
}

static int apply_baseline(const struct reward_options *o, const struct reward_batch *b,
                          double *value, size_t *culprit, struct err *e)
{
    if (o->baseline == BASELINE_NONE)
        return 0;
    if (o->baseline == BASELINE_POSITION)
        return subtract_positions(b, value, e);
    int whole = o->baseline == BASELINE_BATCH, status = 0;
    struct moment *cell = mem_alloc(b->n_groups + 1, sizeof *cell, "groups", e);
    if (!cell)
        return -1;
    if (o->baseline == BASELINE_PROMPT || o->baseline == BASELINE_LOO)
        add_totals(b, cell);
    else
        add_values(b, whole, value, cell);
    if (o->baseline == BASELINE_LOO)
        status = leave_one_out(b, cell, value, culprit, e);
    else
        for (size_t i = 0; i < b->n_sequences; i++)
            subtract(&b->sequence[i], cell[whole ? 0 : b->sequence[i].group].mean, value);
    free(cell);
    return status;
}

static double whitened(double x, const struct moment *m, int sample)
{
    return (x - m->mean) / sqrt(moment_variance(m, sample) + VARIANCE_EPSILON);
}

static int whiten_positions(const struct reward_batch *b, int sample, double *value, struct err *e)
{
    struct moment *cell = mem_alloc(longest(b) + 1, sizeof *cell, "positions", e);
    if (!cell)
        return -1;
    for (size_t i = 0; i < b->n_sequences; i++)
        for (size_t t = 0; t < b->sequence[i].n; t++)
            moment_add(&cell[t], value[b->sequence[i].start + t]);
    for (size_t i = 0; i < b->n_sequences; i++) {
        double *x = value + b->sequence[i].start;
        for (size_t t = 0; t < b->sequence[i].n; t++)
            x[t] = whitened(x[t], &cell[t], sample);
    }
    free(cell);
    return 0;
}

int reward_rescale(const struct reward_options *o, const struct reward_batch *b, double *reward,
                   struct err *e)
{
    struct moment all = {0};
    if (o->scale == SCALE_NONE)
        return 0;
    if (o->scale == SCALE_POSITION)
        return whiten_positions(b, 0, reward, e);
    add_values(b, 1, reward, &all);
    for (size_t i = 0; i < b->n_sequences; i++)
        for (size_t t = 0; t < b->sequence[i].n; t++) {
            double *x = &reward[b->sequence[i].start + t];
            *x = whitened(*x, &all, 0);
        }
    return 0;
}

// A prompt with one sample is refused: whitened by itself alone, it would lose what tells good
// samples from bad ones, and nobody would notice.
static int refuse_singles(const struct reward_batch *b, const char *option, struct moment *cell,
                          size_t *culprit, struct err *e)
{
    add_totals(b, cell);
    for (size_t i = 0; i < b->n_sequences; i++)
        if (b->sequence[i].n && cell[b->sequence[i].group].n < 2)
            return refuse_single(i, option, "", culprit, e);
    return 0;
}

static int whiten_cells(const struct reward_options *o, const struct reward_batch *b,
                        struct moment *cell, double *value, size_t *culprit, struct err *e)
{
    int whole = o->whiten == WHITEN_BATCH, grpo = o->whiten == WHITEN_GRPO;
    if (!whole &&
        refuse_singles(b, grpo ? "--whiten grpo" : "--whiten prompt", cell, culprit, e) < 0)
        return -1;
    if (!grpo) {
        memset(cell, 0, (b->n_groups + 1) * sizeof *cell);
        add_values(b, whole, value, cell);
    }
    for (size_t i = 0; i < b->n_sequences; i++) {
        const struct moment *m = &cell[whole ? 0 : b->sequence[i].group];
        double deviation = sqrt(moment_variance(m, 1)) + GRPO_EPSILON;
        double *x = value + b->sequence[i].start;
        for (size_t t = 0; t < b->sequence[i].n; t++)
            x[t] = grpo ? (x[t] - m->mean) / deviation : whitened(x[t], m, o->sample_variance);
    }
    return 0;
}

static int apply_whiten(const struct reward_options *o, const struct reward_batch *b, double *value,
                        size_t *culprit, struct err *e)
{
    if (o->whiten == WHITEN_NONE)
        return 0;
    if (o->whiten == WHITEN_POSITION)
        return whiten_positions(b, o->sample_variance, value, e);
    struct moment *cell = mem_alloc(b->n_groups + 1, sizeof *cell, "groups", e);
    int status = cell ? whiten_cells(o, b, cell, value, culprit, e) : -1;
    free(cell);
    return status;
}

int reward_advantage(const struct reward_options *o, const struct reward_batch *b, double *value,
                     size_t *culprit, struct err *e)
{
    *culprit = b->n_sequences; // none: the error is not a record's
    if (apply_baseline(o, b, value, culprit, e) < 0)
        return -1;
    return apply_whiten(o, b, value, culprit, e);
}
