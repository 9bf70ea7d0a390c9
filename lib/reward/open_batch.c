// SPDX-License-Identifier: MIT
#include "reward/open_batch.h"
#include "reward/prefix_credit.h"

#include <stdlib.h>
#include <string.h>

void open_batch_init(struct open_batch *b, const struct reward_columns *c)
{
    memset(b, 0, sizeof *b);
    b->c = c;
    intern_init(&b->groups);
}

void open_batch_release(struct open_batch *b)
{
    free(b->record);
    free(b->sequence);
    free(b->reward);
    free(b->value);
    free(b->weight);
    free(b->prefix);
    free(b->prefix_value);
    intern_release(&b->groups);
    memset(b, 0, sizeof *b);
}

void open_batch_clear(struct open_batch *b)
{
    b->n_records = b->n_tokens = 0;
    intern_clear(&b->groups);
}

const struct frame *open_batch_frame(const struct open_batch *b)
{
    return b->n_records ? b->record[0].frame : NULL;
}

static int64_t group_of(struct open_batch *b, const struct reward_record *r, struct err *e)
{
    int column = b->c->prompt;
    size_t n;
    if (r->frame->header->column[column].type == COLUMN_U32)
        return intern_number(&b->groups, &r->frame->column[column].u32[r->i], sizeof(uint32_t), e);
    const char *prompt = frame_string(r->frame, column, r->i, &n);
    return intern_number(&b->groups, prompt, n, e);
}

int open_batch_add(struct open_batch *b, struct frame *f, size_t i, struct err *e)
{
    struct reward_record r = {f, i};
    struct reward_sequence s = {.start = b->n_tokens, .n = reward_record_tokens(b->c, &r)};
    if (MEM_GROW(b->record, b->record_capacity, b->n_records + 1, "batch", e) < 0 ||
        MEM_GROW(b->sequence, b->sequence_capacity, b->n_records + 1, "batch", e) < 0 ||
        MEM_GROW(b->reward, b->reward_capacity, b->n_tokens + s.n, "batch", e) < 0 ||
        reward_record_base(b->c, &r, s.n, b->reward + s.start, e) < 0)
        return -1;
    if (b->c->prompt >= 0) {
        int64_t group = group_of(b, &r, e);
        if (group < 0)
            return -1;
        s.group = (uint32_t)group;
    }
    b->n_tokens += s.n;
    b->sequence[b->n_records] = s;
    b->record[b->n_records++] = r;
    return 0;
}

// Completes a record's rewards, and makes its returns.
static int finish_rewards(struct open_batch *b, size_t i, struct err *e)
{
    struct reward_sequence *s = &b->sequence[i];
    const struct reward_record *r = &b->record[i];
    double *reward = b->reward + s->start;
    if (MEM_GROW(b->weight, b->weight_capacity, s->n, "batch", e) < 0 ||
        reward_record_mix(b->c, r, s->n, reward, e) < 0 ||
        reward_record_spread(b->c, r, s->n, b->weight, reward, e) < 0 ||
        reward_record_subtract_kl(b->c, r, s->n, reward, e) < 0)
        return -1;
    for (size_t t = 0; t < s->n; t++)
        s->total += reward[t];
    reward_return(&b->c->d->options, s->n, reward, b->value + s->start);
    reward_record_write(b->c, r, b->c->reward, reward);
    reward_record_write(b->c, r, b->c->returns, b->value + s->start);
    return 0;
}

// The error is of record `culprit`, or of none.
static int refuse_culprit(const struct open_batch *b, size_t culprit, struct err *e)
{
    if (culprit >= b->n_records)
        return err_prefix(e, "%s", b->c->where);
    return reward_record_refuse(b->c, &b->record[culprit], e);
}

static int train_prefixes(struct open_batch *b, const struct reward_batch *view, struct err *e)
{
    size_t culprit;
    if (MEM_GROW(b->prefix, b->prefix_capacity, b->n_records, "batch", e) < 0 ||
        MEM_GROW(b->prefix_value, b->prefix_value_capacity, b->n_records, "batch", e) < 0)
        return -1;
    for (size_t i = 0; i < b->n_records; i++)
        b->prefix[i] = b->record[i].frame->column[b->c->prefix].u32[b->record[i].i];
    if (prefix_advantage(view, b->prefix, b->prefix_value, &culprit, e) < 0)
        return refuse_culprit(b, culprit, e);
    for (size_t i = 0; i < b->n_records; i++)
        if (b->sequence[i].n && b->prefix[i] &&
            reward_record_train_prefix(b->c, &b->record[i], b->prefix_value[i], e) < 0)
            return -1;
    return 0;
}

int open_batch_settle(struct open_batch *b, struct err *e)
{
    const struct reward_options *o = &b->c->d->options;
    struct reward_batch view = {b->sequence, b->n_records, b->groups.n};
    size_t culprit;
    if (MEM_GROW(b->value, b->value_capacity, b->n_tokens, "batch", e) < 0)
        return -1;
    if (reward_rescale(o, &view, b->reward, e) < 0)
        return err_prefix(e, "%s", b->c->where);
    for (size_t i = 0; i < b->n_records; i++)
        if (finish_rewards(b, i, e) < 0)
            return -1;
    if (reward_advantage(o, &view, b->value, &culprit, e) < 0)
        return refuse_culprit(b, culprit, e);
    for (size_t i = 0; i < b->n_records; i++)
        reward_record_write(b->c, &b->record[i], b->c->advantage, b->value + b->sequence[i].start);
    return b->c->prefix >= 0 ? train_prefixes(b, &view, e) : 0;
}
