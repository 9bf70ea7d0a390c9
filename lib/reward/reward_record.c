// SPDX-License-Identifier: MIT
#include "reward/reward_record.h"
#include "reward/prefix_credit.h"

#include <math.h>

int reward_record_refuse(const struct reward_columns *c, const struct reward_record *r,
                         struct err *e)
{
    return err_prefix(e, "%s: %s", c->where, frame_record(r->frame, r->i).text);
}

// ---- tokens: `k` is one's place among those of the frame

static size_t place_of(const struct reward_record *r, size_t k)
{
    return k - r->frame->start[r->i];
}

static size_t before_first(const struct reward_record *r)
{
    return r->frame->start[r->i] - 1;
}

// The trained token behind k, or behind before_first. There must be one.
static size_t next_trained(const struct reward_columns *c, const struct reward_record *r, size_t k)
{
    const uint8_t *mask = r->frame->column[c->mask].u8;
    do
        k++;
    while (!mask[k]);
    return k;
}

static int refuse_null(const struct reward_columns *c, const struct reward_record *r, size_t k,
                       int column, struct err *e)
{
    const struct column *what = &r->frame->header->column[column];
    if (what->per == PER_SEQUENCE)
        err_set(e, STATUS_FAILED, "`%s` is null", what->name);
    else
        err_set(e, STATUS_FAILED, "token %zu is trained, but its `%s` is null", place_of(r, k),
                what->name);
    return reward_record_refuse(c, r, e);
}

static double number_at(const struct frame *f, int column, size_t index)
{
    const struct column_data *data = &f->column[column];
    switch (f->header->column[column].type) {
    case COLUMN_U8:
        return data->u8[index];
    case COLUMN_U32:
        return data->u32[index];
    default:
        return (double)data->f32[index];
    }
}

// What a column says of a token: NaN where it is null.
static double external(const struct reward_record *r, int column, size_t k, int last)
{
    if (r->frame->header->column[column].per == PER_TOKEN)
        return number_at(r->frame, column, k);
    double score = number_at(r->frame, column, r->i);
    return last || isnan(score) ? score : 0;
}

size_t reward_record_tokens(const struct reward_columns *c, const struct reward_record *r)
{
    const struct frame *f = r->frame;
    size_t n = 0;
    for (size_t k = f->start[r->i]; k < f->start[r->i + 1]; k++)
        n += f->column[c->mask].u8[k] != 0;
    return n;
}

void reward_record_write(const struct reward_columns *c, const struct reward_record *r, int column,
                         const double *x)
{
    const struct frame *f = r->frame;
    const uint8_t *mask = f->column[c->mask].u8;
    for (size_t k = f->start[r->i]; k < f->start[r->i + 1]; k++)
        f->column[column].f32[k] = mask[k] ? (float)*x++ : NAN;
}

// ---- the reward

// The inverse soft Bellman reward: a token's Q less the discounted value of the state that it
// leads to.
static int soft_reward(const struct reward_columns *c, const struct reward_record *r, size_t k,
                       double *reward, struct err *e)
{
    const struct frame *f = r->frame;
    int last = k + 1 == f->start[r->i + 1], column = last ? c->value_end : c->value;
    double q = (double)f->column[c->q].f32[k];
    double next = (double)f->column[column].f32[last ? r->i : k + 1];
    if (isnan(q))
        return refuse_null(c, r, k, c->q, e);
    if (isnan(next)) {
        err_set(e, STATUS_FAILED, "token %zu is trained, but the `%s` behind it is null",
                place_of(r, k), f->header->column[column].name);
        return reward_record_refuse(c, r, e);
    }
    *reward = q - c->d->options.gamma * next;
    return 0;
}

// What the two models, or the column, give a token.
static int token_reward(const struct reward_columns *c, const struct reward_record *r, size_t k,
                        int last, double *reward, struct err *e)
{
    const struct dense_reward *d = c->d;
    double reference[REWARD_REFERENCES_MAX];
    if (d->column) {
        double x = external(r, c->base, k, last);
        if (isnan(x))
            return refuse_null(c, r, k, c->base, e);
        *reward = reward_clip(&d->options, x);
        return 0;
    }
    double policy = (double)r->frame->column[c->policy].f32[k];
    if (isnan(policy))
        return refuse_null(c, r, k, c->policy, e);
    if (d->soft && soft_reward(c, r, k, &policy, e) < 0)
        return -1;
    for (int j = 0; j < d->n_references; j++) {
        reference[j] = (double)r->frame->column[c->reference[j]].f32[k];
        if (isnan(reference[j]))
            return refuse_null(c, r, k, c->reference[j], e);
    }
    *reward = reward_token(&d->options, policy, reference, d->n_references);
    return 0;
}

int reward_record_base(const struct reward_columns *c, const struct reward_record *r, size_t n,
                       double *reward, struct err *e)
{
    size_t k = before_first(r);
    for (size_t t = 0; t < n; t++) {
        k = next_trained(c, r, k);
        if (token_reward(c, r, k, t + 1 == n, &reward[t], e) < 0)
            return -1;
    }
    return 0;
}

int reward_record_mix(const struct reward_columns *c, const struct reward_record *r, size_t n,
                      double *reward, struct err *e)
{
    double alpha = c->d->mix_alpha;
    size_t k = before_first(r);
    for (size_t t = 0; c->d->has_mix && t < n; t++) {
        k = next_trained(c, r, k);
        double other = external(r, c->mix, k, t + 1 == n);
        if (isnan(other))
            return refuse_null(c, r, k, c->mix, e);
        reward[t] = alpha * reward[t] + (1 - alpha) * other;
    }
    return 0;
}

int reward_record_spread(const struct reward_columns *c, const struct reward_record *r, size_t n,
                         double *weight, double *reward, struct err *e)
{
    const struct dense_reward *d = c->d;
    size_t culprit, k = before_first(r);
    if (d->options.credit != CREDIT_ATTENTION)
        return 0;
    for (size_t t = 0; c->attention >= 0 && t < n; t++) {
        k = next_trained(c, r, k);
        weight[t] = number_at(r->frame, c->attention, k);
        if (isnan(weight[t]))
            return refuse_null(c, r, k, c->attention, e);
    }
    if (reward_spread(&d->options, n, c->attention >= 0 ? weight : NULL, reward, &culprit) == 0)
        return 0;
    if (culprit == n)
        err_set(e, STATUS_FAILED, "every trained token's `%s` is 0", d->attention);
    else
        err_set(e, STATUS_FAILED, "a trained token's `%s` is %g, and no weight", d->attention,
                weight[culprit]);
    return reward_record_refuse(c, r, e);
}

static int subtract_kl(const struct reward_columns *c, const struct reward_record *r, size_t k,
                       double *reward, struct err *e)
{
    const struct column_data *column = r->frame->column;
    if (!c->d->n_kl)
        return 0;
    double drawn = (double)column[c->rollout].f32[k];
    if (isnan(drawn))
        return refuse_null(c, r, k, c->rollout, e);
    for (int j = 0; j < c->d->n_kl; j++) {
        double anchor = (double)column[c->kl[j]].f32[k];
        if (isnan(anchor))
            return refuse_null(c, r, k, c->kl[j], e);
        *reward -= c->d->kl_coefficient[j] * (drawn - anchor);
    }
    return 0;
}

int reward_record_subtract_kl(const struct reward_columns *c, const struct reward_record *r,
                              size_t n, double *reward, struct err *e)
{
    size_t k = before_first(r);
    for (size_t t = 0; t < n; t++) {
        k = next_trained(c, r, k);
        if (subtract_kl(c, r, k, &reward[t], e) < 0)
            return -1;
        if (!isfinite((float)reward[t])) {
            err_set(e, STATUS_FAILED, "token %zu: the reward is not finite", place_of(r, k));
            return reward_record_refuse(c, r, e);
        }
    }
    return 0;
}

// ---- the prefix

// Where the prefix is: tokens *begin .. *end - 1 of the frame.
static int find_prefix(const struct reward_columns *c, const struct reward_record *r, size_t *begin,
                       size_t *end, struct err *e)
{
    const struct dense_reward *d = c->d;
    size_t n = r->frame->column[c->prefix].u32[r->i];
    *end = next_trained(c, r, before_first(r));
    if (n >= place_of(r, *end)) {
        err_set(e, STATUS_FAILED, "`%s` is %zu, but %zu tokens stand before the trained ones",
                d->prefix, n, place_of(r, *end));
        return reward_record_refuse(c, r, e);
    }
    *begin = *end - n;
    for (size_t k = *begin; k < *end; k++)
        if (isnan(r->frame->column[c->entropy].f32[k])) {
            err_set(e, STATUS_FAILED, "token %zu is of the prefix, but its `%s` is null",
                    place_of(r, k), d->prefix_entropy);
            return reward_record_refuse(c, r, e);
        }
    return 0;
}

int reward_record_train_prefix(const struct reward_columns *c, const struct reward_record *r,
                               double advantage, struct err *e)
{
    struct column_data *column = r->frame->column;
    uint8_t *mask = column[c->mask].u8;
    size_t begin = 0, end = 0;
    if (find_prefix(c, r, &begin, &end, e) < 0 ||
        prefix_choose(column[c->entropy].f32 + begin, end - begin, c->d->prefix_share, mask + begin,
                      e) < 0)
        return -1;
    for (size_t k = begin; k < end; k++) {
        if (!mask[k])
            continue;
        column[c->reward].f32[k] = 0;
        column[c->returns].f32[k] = column[c->advantage].f32[k] = (float)advantage;
    }
    return 0;
}
