// SPDX-License-Identifier: MIT
#include "reward/reward_columns.h"
#include "stream/maker.h"

#include <stdio.h>
#include <string.h>

static int require(const struct reward_columns *c, const struct stream_header *h, const char *name,
                   enum column_type type, enum column_per per, struct err *e)
{
    return header_require(h, name, type, per, c->where, e);
}

static int require_logp(const struct reward_columns *c, const struct stream_header *h,
                        const char *name, struct err *e)
{
    char column[256];
    if ((size_t)snprintf(column, sizeof column, "logp:%s", name) >= sizeof column)
        return err_set(e, STATUS_USAGE, "a name of more than %zu bytes", sizeof column - 6);
    return require(c, h, column, COLUMN_F32, PER_TOKEN, e);
}

static int require_soft(const struct reward_columns *c, const struct stream_header *h,
                        const char *prefix, enum column_per per, struct err *e)
{
    char column[256];
    if ((size_t)snprintf(column, sizeof column, "%s:%s", prefix, c->d->policy) >= sizeof column)
        return err_set(e, STATUS_USAGE, "a name of more than %zu bytes", sizeof column - 12);
    return require(c, h, column, COLUMN_F32, per, e);
}

// A column of numbers, per token or (unless tokens_only) per sequence.
static int require_numbers(const struct reward_columns *c, const struct stream_header *h,
                           const char *name, int tokens_only, struct err *e)
{
    const char *where = c->where;
    int i = header_find(h, name);
    if (i < 0)
        return maker_missing(where, name, e);
    if (h->column[i].type == COLUMN_STRING)
        return err_set(e, STATUS_STREAM, "%s: column `%s` holds text, not numbers", where, name);
    if (tokens_only && h->column[i].per != PER_TOKEN)
        return err_set(e, STATUS_STREAM, "%s: column `%s` has one value a record, not one a token",
                       where, name);
    return i;
}

static int require_group(const struct reward_columns *c, const struct stream_header *h,
                         struct err *e)
{
    int i = header_find(h, c->d->group);
    if (i >= 0 && h->column[i].per == PER_SEQUENCE && h->column[i].type == COLUMN_U32)
        return i;
    i = require(c, h, c->d->group, COLUMN_STRING, PER_SEQUENCE, e);
    if (i < 0 && c->d->options.baseline == BASELINE_LOO) {
        size_t n = strlen(e->text);
        snprintf(e->text + n, sizeof e->text - n, "; --baseline none needs no prompts");
    }
    return i;
}

static int find_reward(struct reward_columns *c, const struct stream_header *h, struct err *e)
{
    const struct dense_reward *d = c->d;
    if (d->column)
        return c->base = require_numbers(c, h, d->column, 0, e);
    if ((c->policy = require_logp(c, h, d->policy, e)) < 0)
        return -1;
    for (int i = 0; i < d->n_references; i++)
        if ((c->reference[i] = require_logp(c, h, d->reference[i], e)) < 0)
            return -1;
    return 0;
}

// What is mixed in, spread by and subtracted.
static int find_changes(struct reward_columns *c, const struct stream_header *h, struct err *e)
{
    const struct dense_reward *d = c->d;
    if (d->has_mix && (c->mix = require_numbers(c, h, d->mix_column, 0, e)) < 0)
        return -1;
    if (d->options.credit == CREDIT_ATTENTION && d->attention &&
        (c->attention = require_numbers(c, h, d->attention, 1, e)) < 0)
        return -1;
    if (d->n_kl && (c->rollout = require_logp(c, h, "rollout", e)) < 0)
        return -1;
    for (int i = 0; i < d->n_kl; i++)
        if ((c->kl[i] = require_logp(c, h, d->kl_name[i], e)) < 0)
            return -1;
    return 0;
}

static int find_soft(struct reward_columns *c, const struct stream_header *h, struct err *e)
{
    if (!c->d->soft)
        return 0;
    if ((c->q = require_soft(c, h, "q", PER_TOKEN, e)) < 0 ||
        (c->value = require_soft(c, h, "value", PER_TOKEN, e)) < 0 ||
        (c->value_end = require_soft(c, h, "value-end", PER_SEQUENCE, e)) < 0)
        return -1;
    return 0;
}

static int find_prefix(struct reward_columns *c, const struct stream_header *h, struct err *e)
{
    const struct dense_reward *d = c->d;
    if (!d->prefix)
        return 0;
    if ((c->prefix = require(c, h, d->prefix, COLUMN_U32, PER_SEQUENCE, e)) < 0 ||
        (c->entropy = require(c, h, d->prefix_entropy, COLUMN_F32, PER_TOKEN, e)) < 0)
        return -1;
    return 0;
}

// What tells batches and prompts apart.
static int find_groups(struct reward_columns *c, const struct stream_header *h, struct err *e)
{
    const struct dense_reward *d = c->d;
    if ((reward_needs_prompt(&d->options) || d->prefix) && (c->prompt = require_group(c, h, e)) < 0)
        return -1;
    if (header_find(h, "step") >= 0 &&
        (c->step = require(c, h, "step", COLUMN_U32, PER_SEQUENCE, e)) < 0)
        return -1;
    return 0;
}

// A column that is there already (rewards computed anew) is written over.
static int output_column(const struct reward_columns *c, struct stream_header *h, const char *name,
                         struct err *e)
{
    if (header_find(h, name) >= 0)
        return require(c, h, name, COLUMN_F32, PER_TOKEN, e);
    return header_add_column(h, name, COLUMN_F32, PER_TOKEN, e);
}

static int add_outputs(struct reward_columns *c, struct stream_header *h, struct err *e)
{
    if ((c->reward = output_column(c, h, "reward", e)) < 0 ||
        (c->returns = output_column(c, h, "return", e)) < 0 ||
        (c->advantage = output_column(c, h, "advantage", e)) < 0)
        return -1;
    return 0;
}

int reward_columns_find(struct reward_columns *c, const struct dense_reward *d,
                        struct stream_header *h, const char *where, struct err *e)
{
    memset(c, -1, sizeof *c); // nothing is asked for
    c->d = d;
    c->where = where;
    c->mask = require(c, h, "mask", COLUMN_U8, PER_TOKEN, e);
    if (c->mask < 0 || find_reward(c, h, e) < 0 || find_changes(c, h, e) < 0 ||
        find_soft(c, h, e) < 0 || find_prefix(c, h, e) < 0 || find_groups(c, h, e) < 0)
        return -1;
    return add_outputs(c, h, e);
}
