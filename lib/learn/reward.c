// SPDX-License-Identifier: MIT
#include "learn/reward.h"
#include "base/memory.h"

#include <math.h>
#include <stdlib.h>

const char *const reward_credits[] = {"token", "sequence", "uniform", "last", NULL};
const char *const reward_baselines[] = {"none",     "batch",         "prompt", "loo",
                                        "position", "prompt-tokens", NULL};
const char *const reward_whitens[] = {"none", "batch", "prompt", "position", "grpo", NULL};
const char *const reward_variances[] = {"population", "sample", NULL};

static const double VARIANCE_EPSILON = 1e-8; // TRL's masked_whiten
static const double GRPO_EPSILON = 1e-4;     // TRL's GRPO, beside the deviation

void reward_options_init(struct reward_options *o)
{
    *o = (struct reward_options){
        .clip_low = -INFINITY, .clip_high = INFINITY, .min_logp = -INFINITY, .gamma = 1};
}

int reward_needs_batch(const struct reward_options *o)
{
    return o->baseline != BASELINE_NONE || o->whiten != WHITEN_NONE;
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
    if (o->gamma != 1 && o->credit != CREDIT_TOKEN)
        return err_set(e, STATUS_USAGE, "--gamma has a meaning with --credit token only");
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

double reward_token(const struct reward_options *o, double policy, const double *reference, int k)
{
    int plausible = !(policy < o->min_logp);
    for (int i = 0; i < k; i++)
        plausible |= !(reference[i] < o->min_logp);
    if (!plausible)
        return 0;
    double r = k ? policy - combine(o, reference, k) : policy;
    if (r < o->clip_low)
        return o->clip_low;
    return r > o->clip_high ? o->clip_high : r;
}

void reward_return(const struct reward_options *o, size_t n, const double *reward, double *returns)
{
    double sum = 0;
    if (o->credit == CREDIT_TOKEN) {
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

static size_t length(const struct reward_batch *b, size_t i)
{
    return b->start[i + 1] - b->start[i];
}

static size_t longest(const struct reward_batch *b)
{
    size_t n = 0;
    for (size_t i = 0; i < b->n_sequences; i++)
        n = length(b, i) > n ? length(b, i) : n;
    return n;
}

static int refuse_single(size_t i, const char *option, size_t *culprit, struct err *e)
{
    *culprit = i;
    return err_set(e, STATUS_FAILED, "is the only sample of its prompt; %s needs two or more",
                   option);
}

// R over the samples of each prompt.
static void totals_by_group(const struct reward_batch *b, struct moment *cell)
{
    for (size_t i = 0; i < b->n_sequences; i++)
        if (length(b, i))
            moment_add(&cell[b->group[i]], b->total[i]);
}

static void values_by_group(const struct reward_batch *b, const double *value, struct moment *cell)
{
    for (size_t i = 0; i < b->n_sequences; i++)
        for (size_t k = b->start[i]; k < b->start[i + 1]; k++)
            moment_add(&cell[b->group ? b->group[i] : 0], value[k]);
}

static void subtract(const struct reward_batch *b, size_t i, double from, double *value)
{
    for (size_t k = b->start[i]; k < b->start[i + 1]; k++)
        value[k] -= from;
}

static int leave_one_out(const struct reward_batch *b, const struct moment *cell, double *value,
                         size_t *culprit, struct err *e)
{
    for (size_t i = 0; i < b->n_sequences; i++) {
        const struct moment *m = &cell[b->group[i]];
        if (length(b, i) && m->n < 2)
            return refuse_single(i, "--baseline loo", culprit, e);
        if (length(b, i))
            subtract(b, i, (m->mean * m->n - b->total[i]) / (m->n - 1), value);
    }
    return 0;
}

// Cells (group, position) group by group: the members of each group in a chain, so that memory is
// that of the longest sequence.
static int subtract_positions(const struct reward_batch *b, double *value, struct err *e)
{
    size_t n = longest(b), *next = mem_alloc(b->n_sequences, sizeof *next, "groups", e);
    size_t *first = next ? mem_alloc(b->n_groups, sizeof *first, "groups", e) : NULL;
    struct moment *cell = first ? mem_alloc(n + 1, sizeof *cell, "positions", e) : NULL;
    if (!cell)
        goto done;
    for (size_t i = b->n_sequences; i-- > 0;) { // 0 ends a chain: links are index + 1
        next[i] = first[b->group[i]];
        first[b->group[i]] = i + 1;
    }
    for (size_t g = 0; g < b->n_groups; g++) {
        size_t used = 0;
        for (size_t i = first[g]; i; i = next[i - 1]) {
            for (size_t t = 0; t < length(b, i - 1); t++)
                moment_add(&cell[t], value[b->start[i - 1] + t]);
            used = length(b, i - 1) > used ? length(b, i - 1) : used;
        }
        for (size_t i = first[g]; i; i = next[i - 1])
            for (size_t t = 0; t < length(b, i - 1); t++)
                value[b->start[i - 1] + t] -= cell[t].mean;
        for (size_t t = 0; t < used; t++)
            cell[t] = (struct moment){0};
    }
done:
    free(next);
    free(first);
    if (!cell)
        return -1;
    free(cell);
    return 0;
}

static int apply_baseline(const struct reward_options *o, const struct reward_batch *b,
                          double *value, size_t *culprit, struct err *e)
{
    if (o->baseline == BASELINE_NONE)
        return 0;
    if (o->baseline == BASELINE_POSITION)
        return subtract_positions(b, value, e);
    struct reward_batch whole = *b;
    if (o->baseline == BASELINE_BATCH) {
        whole.group = NULL;
        whole.n_groups = 1;
    }
    struct moment *cell = mem_alloc(whole.n_groups + 1, sizeof *cell, "groups", e);
    if (!cell)
        return -1;
    int status = 0;
    if (o->baseline == BASELINE_PROMPT || o->baseline == BASELINE_LOO)
        totals_by_group(b, cell);
    else
        values_by_group(&whole, value, cell);
    if (o->baseline == BASELINE_LOO)
        status = leave_one_out(b, cell, value, culprit, e);
    else
        for (size_t i = 0; i < b->n_sequences; i++)
            subtract(b, i, cell[whole.group ? whole.group[i] : 0].mean, value);
    free(cell);
    return status;
}

static double whitened(double x, const struct moment *m, int sample)
{
    return (x - m->mean) / sqrt(moment_variance(m, sample) + VARIANCE_EPSILON);
}

static int whiten_positions(const struct reward_options *o, const struct reward_batch *b,
                            double *value, struct err *e)
{
    struct moment *cell = mem_alloc(longest(b) + 1, sizeof *cell, "positions", e);
    if (!cell)
        return -1;
    for (size_t i = 0; i < b->n_sequences; i++)
        for (size_t t = 0; t < length(b, i); t++)
            moment_add(&cell[t], value[b->start[i] + t]);
    for (size_t i = 0; i < b->n_sequences; i++)
        for (size_t t = 0; t < length(b, i); t++)
            value[b->start[i] + t] = whitened(value[b->start[i] + t], &cell[t], o->sample_variance);
    free(cell);
    return 0;
}

// A prompt with one sample is refused: whitened by itself alone, it would lose what tells good
// samples from bad ones, and nobody would notice.
static int refuse_single_samples(const struct reward_batch *b, const char *option, size_t *culprit,
                                 struct err *e)
{
    struct moment *cell = mem_alloc(b->n_groups + 1, sizeof *cell, "groups", e);
    if (!cell)
        return -1;
    totals_by_group(b, cell);
    int status = 0;
    for (size_t i = 0; i < b->n_sequences && status == 0; i++)
        if (length(b, i) && cell[b->group[i]].n < 2)
            status = refuse_single(i, option, culprit, e);
    free(cell);
    return status;
}

static int apply_whiten(const struct reward_options *o, const struct reward_batch *b, double *value,
                        size_t *culprit, struct err *e)
{
    if (o->whiten == WHITEN_NONE)
        return 0;
    if (o->whiten == WHITEN_POSITION)
        return whiten_positions(o, b, value, e);
    int grouped = o->whiten != WHITEN_BATCH;
    if (grouped &&
        refuse_single_samples(b, o->whiten == WHITEN_GRPO ? "--whiten grpo" : "--whiten prompt",
                              culprit, e) < 0)
        return -1;
    struct reward_batch by = *b;
    if (!grouped) {
        by.group = NULL;
        by.n_groups = 1;
    }
    struct moment *cell = mem_alloc(by.n_groups + 1, sizeof *cell, "groups", e);
    if (!cell)
        return -1;
    if (o->whiten == WHITEN_GRPO)
        totals_by_group(b, cell);
    else
        values_by_group(&by, value, cell);
    for (size_t i = 0; i < b->n_sequences; i++) {
        const struct moment *m = &cell[by.group ? by.group[i] : 0];
        double deviation = sqrt(moment_variance(m, 1)) + GRPO_EPSILON;
        for (size_t k = b->start[i]; k < b->start[i + 1]; k++)
            value[k] = o->whiten == WHITEN_GRPO ? (value[k] - m->mean) / deviation
                                                : whitened(value[k], m, o->sample_variance);
    }
    free(cell);
    return 0;
}

int reward_advantage(const struct reward_options *o, const struct reward_batch *b, double *value,
                     size_t *culprit, struct err *e)
{
    *culprit = b->n_sequences; // none: the error is not a record's
    if (apply_baseline(o, b, value, culprit, e) < 0)
        return -1;
    return apply_whiten(o, b, value, culprit, e);
}
