// SPDX-License-Identifier: MIT
#include "reward/dense_reward.h"
#include "base/intern.h"
#include "base/named_number.h"
#include "base/number.h"
#include "reward/prefix_credit.h"
#include "stream/reader.h"
#include "stream/writer.h"

#include <math.h>
#include <stdlib.h>
#include <stdio.h>
#include <string.h>

// ---------------------------------------------------------------------------------- options

void dense_reward_init(struct dense_reward *d)
{
    memset(d, 0, sizeof *d);
    reward_options_init(&d->options);
    d->group = "prompt";
    d->prefix_share = 0.2;
}

void dense_reward_release(struct dense_reward *d)
{
    for (int i = 0; i < d->n_references; i++)
        free(d->reference[i]);
    d->n_references = 0;
    for (int i = 0; i < d->n_kl; i++)
        free(d->kl_name[i]);
    d->n_kl = 0;
}

int dense_reward_set_references(struct dense_reward *d, const char *text, struct err *e)
{
    if (!strcmp(text, "none"))
        return 0;
    for (;;) {
        size_t n = strcspn(text, ",");
        if (n == 0)
            return err_set(e, STATUS_USAGE, "a reference has no name");
        if (d->n_references == REWARD_REFERENCES_MAX)
            return err_set(e, STATUS_USAGE, "more than %d references", REWARD_REFERENCES_MAX);
        char *name = strndup(text, n);
        if (!name)
            return err_memory(e, n + 1, "references");
        d->reference[d->n_references++] = name;
        if (!text[n])
            return 0;
        text += n + 1;
    }
}

int dense_reward_set_mix(struct dense_reward *d, const char *text, struct err *e)
{
    static const struct named_form form = {"mix", "ALPHA:COLUMN", 0, 1};
    struct named_number n;
    if (number_named(&n, text, &form, e) < 0)
        return -1;
    d->has_mix = 1;
    d->mix_alpha = n.number;
    d->mix_column = n.name;
    return 0;
}

int dense_reward_add_kl(struct dense_reward *d, const char *text, struct err *e)
{
    static const struct named_form form = {"kl", "NAME:COEF", -INFINITY, INFINITY};
    struct named_number n;
    if (named_number(&n, text, &form, e) < 0)
        return -1;
    if (d->n_kl == DENSE_REWARD_KL_MAX)
        return err_set(e, STATUS_USAGE, "--kl: more than %d times", DENSE_REWARD_KL_MAX);
    char *name = strndup(n.name, n.size);
    if (!name)
        return err_memory(e, n.size, "options");
    d->kl_coefficient[d->n_kl] = n.number;
    d->kl_name[d->n_kl++] = name;
    return 0;
}

int dense_reward_set_clip(struct dense_reward *d, const char *text, struct err *e)
{
    char low[64];
    size_t n = strcspn(text, ",");
    if (!text[n] || n >= sizeof low)
        return err_set(e, STATUS_USAGE, "--clip-reward: '%s' is not LO,HI", text);
    memcpy(low, text, n);
    low[n] = 0;
    if (number_to_f64(low, &d->options.clip_low) < 0 ||
        number_to_f64(text + n + 1, &d->options.clip_high) < 0)
        return err_set(e, STATUS_USAGE, "--clip-reward: '%s' is not LO,HI", text);
    return 0;
}

// ---------------------------------------------------------------------------------- the batch

// Columns of the output header; -1: not used.
struct columns {
    int mask, base, policy, reference[REWARD_REFERENCES_MAX];
    int mix, attention, rollout, kl[DENSE_REWARD_KL_MAX];
    int prompt, step, prefix, entropy;
    int q, value, value_end; // of a soft reward
    int reward, returns, advantage;
};

// Where a sequence of the batch stands among the frames held.
struct place {
    size_t frame, sequence;
};

struct dense_run {
    const struct dense_reward *d;
    const char *where; // name of the input
    struct stream_header header;
    struct columns c;
    int holds; // statistics of a batch are needed
    struct dense_reward_stats *stats;
    struct metrics *metrics;
    struct progress progress;

    struct frame **frame; // the first n_frames hold sequences; further ones are spare
    size_t n_frames, frames_made, frame_capacity;

    // The open batch: its trained tokens in a row.
    size_t n_sequences, n_tokens;
    struct place *place;              // [n_sequences]
    struct reward_sequence *sequence; // [n_sequences]
    double *reward;                   // [n_tokens]
    double *value;                    // [n_tokens]: returns, then advantages
    uint32_t *prefix;                 // [n_sequences], where there are prefixes
    double *prefix_value;             // [n_sequences]: their advantages
    size_t place_capacity, sequence_capacity, reward_capacity, value_capacity;
    size_t prefix_capacity, prefix_value_capacity;
    struct intern groups;
    double *weight; // of one sequence
    size_t weight_capacity;

    uint32_t step; // of the open batch, or of the one that ended last
    int step_known, step_ended;
    uint64_t in_step, step_size; // sequences; the header tells the size, 0: it does not
    // Sums over the batch, for its metrics.
    uint64_t batch_records, batch_tokens;
    double batch_sum, batch_squares;
};

// Puts "STREAM: record `ID`: " before the error.
static int fail_at(const struct dense_run *r, const struct frame *f, size_t i, struct err *e)
{
    return err_prefix(e, "%s: %s", r->where, frame_record(f, i).text);
}

static int refuse_value(const struct dense_run *r, const struct frame *f, size_t i, size_t token,
                        int column, struct err *e)
{
    const char *name = r->header.column[column].name;
    if (r->header.column[column].per == PER_SEQUENCE)
        err_set(e, STATUS_FAILED, "`%s` is null", name);
    else
        err_set(e, STATUS_FAILED, "token %zu is trained, but its `%s` is null", token, name);
    return fail_at(r, f, i, e);
}

static double number_at(const struct dense_run *r, const struct frame *f, int column, size_t index)
{
    const struct column_data *data = &f->column[column];
    switch (r->header.column[column].type) {
    case COLUMN_U8:
        return data->u8[index];
    case COLUMN_U32:
        return data->u32[index];
    default:
        return (double)data->f32[index];
    }
}

// What a column says of the token at `k` of sequence i: NaN where it is null.
static double external(const struct dense_run *r, const struct frame *f, int column, size_t i,
                       size_t k, int last)
{
    if (r->header.column[column].per == PER_TOKEN)
        return number_at(r, f, column, k);
    double score = number_at(r, f, column, i);
    return last || isnan(score) ? score : 0;
}

// The inverse soft Bellman reward of the token at k: its Q less the discounted value of the state
// that it leads to.
static int soft_reward(const struct dense_run *r, const struct frame *f, size_t i, size_t k,
                       double *reward, struct err *e)
{
    int last = k + 1 == f->start[i + 1], column = last ? r->c.value_end : r->c.value;
    double q = (double)f->column[r->c.q].f32[k];
    double next = (double)f->column[column].f32[last ? i : k + 1];
    if (isnan(q))
        return refuse_value(r, f, i, k - f->start[i], r->c.q, e);
    if (isnan(next)) {
        err_set(e, STATUS_FAILED, "token %zu is trained, but the `%s` behind it is null",
                k - f->start[i], r->header.column[column].name);
        return fail_at(r, f, i, e);
    }
    *reward = q - r->d->options.gamma * next;
    return 0;
}

// What the two models, or the column, give the token at k (an index into the frame's tokens).
static int token_reward(const struct dense_run *r, const struct frame *f, size_t i, size_t k,
                        int last, double *reward, struct err *e)
{
    const struct dense_reward *d = r->d;
    size_t token = k - f->start[i];
    double reference[REWARD_REFERENCES_MAX];
    if (d->column) {
        double x = external(r, f, r->c.base, i, k, last);
        if (isnan(x))
            return refuse_value(r, f, i, token, r->c.base, e);
        *reward = reward_clip(&d->options, x);
        return 0;
    }
    double policy = (double)f->column[r->c.policy].f32[k];
    if (isnan(policy))
        return refuse_value(r, f, i, token, r->c.policy, e);
    if (d->soft && soft_reward(r, f, i, k, &policy, e) < 0)
        return -1;
    for (int j = 0; j < d->n_references; j++) {
        reference[j] = (double)f->column[r->c.reference[j]].f32[k];
        if (isnan(reference[j]))
            return refuse_value(r, f, i, token, r->c.reference[j], e);
    }
    *reward = reward_token(&d->options, policy, reference, d->n_references);
    return 0;
}

static int mix_token(const struct dense_run *r, const struct frame *f, size_t i, size_t k, int last,
                     double *reward, struct err *e)
{
    double alpha = r->d->mix_alpha, other = external(r, f, r->c.mix, i, k, last);
    if (isnan(other))
        return refuse_value(r, f, i, k - f->start[i], r->c.mix, e);
    *reward = alpha * *reward + (1 - alpha) * other;
    return 0;
}

static int subtract_kl(const struct dense_run *r, const struct frame *f, size_t i, size_t k,
                       double *reward, struct err *e)
{
    if (!r->d->n_kl)
        return 0;
    double drawn = (double)f->column[r->c.rollout].f32[k];
    if (isnan(drawn))
        return refuse_value(r, f, i, k - f->start[i], r->c.rollout, e);
    for (int j = 0; j < r->d->n_kl; j++) {
        double anchor = (double)f->column[r->c.kl[j]].f32[k];
        if (isnan(anchor))
            return refuse_value(r, f, i, k - f->start[i], r->c.kl[j], e);
        *reward -= r->d->kl_coefficient[j] * (drawn - anchor);
    }
    return 0;
}

static const uint8_t *mask_of(const struct dense_run *r, const struct frame *f, size_t i)
{
    return f->column[r->c.mask].u8 + f->start[i];
}

// Writes x[0 .. ] to the trained tokens of sequence i and null to the others.
static void scatter(const struct dense_run *r, struct frame *f, size_t i, int column,
                    const double *x)
{
    const uint8_t *mask = mask_of(r, f, i);
    float *to = f->column[column].f32 + f->start[i];
    for (size_t k = 0, n = frame_length(f, i); k < n; k++)
        to[k] = mask[k] ? (float)*x++ : NAN;
}

// The frame's index of each trained token of sequence i in turn: `k` is that of the one before, or
// start - 1 at first.
static size_t next_trained(const struct dense_run *r, const struct frame *f, size_t k)
{
    const uint8_t *mask = f->column[r->c.mask].u8;
    do
        k++;
    while (!mask[k]);
    return k;
}

// Rewards of sequence i, as far as other records do not count.
static int add_rewards(struct dense_run *r, const struct frame *f, size_t i,
                       struct reward_sequence *s, struct err *e)
{
    const uint8_t *mask = mask_of(r, f, i);
    size_t length = frame_length(f, i), n = 0, k = f->start[i] - 1;
    for (size_t t = 0; t < length; t++)
        n += mask[t] != 0;
    *s = (struct reward_sequence){.start = r->n_tokens, .n = n};
    if (MEM_GROW(r->reward, r->reward_capacity, r->n_tokens + n, "batch", e) < 0)
        return -1;
    for (size_t t = 0; t < n; t++) {
        k = next_trained(r, f, k);
        if (token_reward(r, f, i, k, t + 1 == n, &r->reward[s->start + t], e) < 0)
            return -1;
    }
    r->n_tokens += n;
    return 0;
}

// Shares the sum of the rewards out by attention.
static int spread(struct dense_run *r, const struct frame *f, size_t i,
                  const struct reward_sequence *s, struct err *e)
{
    size_t culprit, k = f->start[i] - 1;
    if (MEM_GROW(r->weight, r->weight_capacity, s->n, "batch", e) < 0)
        return -1;
    for (size_t t = 0; r->c.attention >= 0 && t < s->n; t++) {
        k = next_trained(r, f, k);
        r->weight[t] = number_at(r, f, r->c.attention, k);
        if (isnan(r->weight[t]))
            return refuse_value(r, f, i, k - f->start[i], r->c.attention, e);
    }
    if (reward_spread(&r->d->options, s->n, r->c.attention >= 0 ? r->weight : NULL,
                      r->reward + s->start, &culprit) == 0)
        return 0;
    if (culprit == s->n)
        err_set(e, STATUS_FAILED, "every trained token's `%s` is 0", r->d->attention);
    else
        err_set(e, STATUS_FAILED, "a trained token's `%s` is %g, and no weight", r->d->attention,
                r->weight[culprit]);
    return fail_at(r, f, i, e);
}

// Completes the rewards of sequence i, and makes its returns.
static int finish_rewards(struct dense_run *r, struct frame *f, size_t i, struct reward_sequence *s,
                          struct err *e)
{
    double *reward = r->reward + s->start;
    size_t k = f->start[i] - 1;
    for (size_t t = 0; r->d->has_mix && t < s->n; t++) {
        k = next_trained(r, f, k);
        if (mix_token(r, f, i, k, t + 1 == s->n, &reward[t], e) < 0)
            return -1;
    }
    if (r->d->options.credit == CREDIT_ATTENTION && spread(r, f, i, s, e) < 0)
        return -1;
    k = f->start[i] - 1;
    for (size_t t = 0; t < s->n; t++) {
        k = next_trained(r, f, k);
        if (subtract_kl(r, f, i, k, &reward[t], e) < 0)
            return -1;
        if (!isfinite((float)reward[t])) {
            err_set(e, STATUS_FAILED, "token %zu: the reward is not finite", k - f->start[i]);
            return fail_at(r, f, i, e);
        }
        s->total += reward[t];
    }
    reward_return(&r->d->options, s->n, reward, r->value + s->start);
    scatter(r, f, i, r->c.reward, reward);
    scatter(r, f, i, r->c.returns, r->value + s->start);
    return 0;
}

static void count(struct dense_run *r, const struct reward_sequence *s)
{
    r->stats->records++;
    r->stats->empty += s->n == 0;
    r->stats->tokens += s->n;
    r->stats->total += s->total;
    if (s->n) {
        r->batch_records++;
        r->batch_tokens += s->n;
        r->batch_sum += s->total;
        r->batch_squares += s->total * s->total;
    }
}

static int64_t group_of(struct dense_run *r, const struct frame *f, size_t i, struct err *e)
{
    size_t n;
    if (r->header.column[r->c.prompt].type == COLUMN_U32)
        return intern_number(&r->groups, (const char *)&f->column[r->c.prompt].u32[i],
                             sizeof(uint32_t), e);
    const char *prompt = frame_string(f, r->c.prompt, i, &n);
    return intern_number(&r->groups, prompt, n, e);
}

static int add_sequence(struct dense_run *r, size_t frame, size_t i, struct err *e)
{
    struct frame *f = r->frame[frame];
    if (MEM_GROW(r->place, r->place_capacity, r->n_sequences + 1, "batch", e) < 0)
        return -1;
    if (MEM_GROW(r->sequence, r->sequence_capacity, r->n_sequences + 1, "batch", e) < 0)
        return -1;
    struct reward_sequence *s = &r->sequence[r->n_sequences];
    if (add_rewards(r, f, i, s, e) < 0)
        return -1;
    if (r->c.prompt >= 0) {
        int64_t group = group_of(r, f, i, e);
        if (group < 0)
            return -1;
        s->group = (uint32_t)group;
    }
    r->place[r->n_sequences++] = (struct place){frame, i};
    return 0;
}

static int write_metrics(struct dense_run *r, struct err *e)
{
    double n = (double)r->batch_records, mean = n > 0 ? r->batch_sum / n : 0;
    double variance = n > 1 ? (r->batch_squares - n * mean * mean) / (n - 1) : 0;
    json_t *o = NULL;
    if (r->metrics->fd >= 0 && n > 0) {
        o = json_pack("{s:f, s:f, s:f, s:I, s:I}", "reward", mean, "reward_std",
                      sqrt(variance > 0 ? variance : 0), "completion_length",
                      (double)r->batch_tokens / n, "records", (json_int_t)r->batch_records,
                      "num_tokens", (json_int_t)r->stats->tokens);
        if (!o || (r->step_known && json_object_set_new(o, "step", json_integer(r->step)) < 0)) {
            json_decref(o);
            return err_memory(e, 0, "metrics");
        }
    }
    r->batch_records = r->batch_tokens = 0;
    r->batch_sum = r->batch_squares = 0;
    return o ? metrics_write(r->metrics, o, e) : 0;
}

// The error is of sequence `culprit` of the batch, or of none.
static int refuse_culprit(const struct dense_run *r, size_t culprit, struct err *e)
{
    if (culprit >= r->n_sequences)
        return err_prefix(e, "%s", r->where);
    return fail_at(r, r->frame[r->place[culprit].frame], r->place[culprit].sequence, e);
}

// Trains some tokens of a sequence's prefix, with `advantage`.
static int train_prefix(const struct dense_run *r, struct frame *f, size_t i, double advantage,
                        struct err *e)
{
    uint8_t *mask = f->column[r->c.mask].u8;
    size_t end = next_trained(r, f, f->start[i] - 1), n = f->column[r->c.prefix].u32[i];
    if (n >= end - f->start[i]) {
        err_set(e, STATUS_FAILED, "`%s` is %zu, but %zu tokens stand before the trained ones",
                r->d->prefix, n, end - f->start[i]);
        return fail_at(r, f, i, e);
    }
    size_t begin = end - n;
    for (size_t k = begin; k < end; k++)
        if (isnan(f->column[r->c.entropy].f32[k])) {
            err_set(e, STATUS_FAILED, "token %zu is of the prefix, but its `%s` is null",
                    k - f->start[i], r->d->prefix_entropy);
            return fail_at(r, f, i, e);
        }
    if (prefix_choose(f->column[r->c.entropy].f32 + begin, n, r->d->prefix_share, mask + begin, e) <
        0)
        return -1;
    for (size_t k = begin; k < end; k++) {
        if (!mask[k])
            continue;
        f->column[r->c.reward].f32[k] = 0;
        f->column[r->c.returns].f32[k] = f->column[r->c.advantage].f32[k] = (float)advantage;
    }
    return 0;
}

static int train_prefixes(struct dense_run *r, const struct reward_batch *b, struct err *e)
{
    size_t culprit;
    if (MEM_GROW(r->prefix, r->prefix_capacity, b->n_sequences, "batch", e) < 0)
        return -1;
    if (MEM_GROW(r->prefix_value, r->prefix_value_capacity, b->n_sequences, "batch", e) < 0)
        return -1;
    for (size_t i = 0; i < b->n_sequences; i++)
        r->prefix[i] = r->frame[r->place[i].frame]->column[r->c.prefix].u32[r->place[i].sequence];
    if (prefix_advantage(b, r->prefix, r->prefix_value, &culprit, e) < 0)
        return refuse_culprit(r, culprit, e);
    for (size_t i = 0; i < b->n_sequences; i++)
        if (b->sequence[i].n && r->prefix[i] &&
            train_prefix(r, r->frame[r->place[i].frame], r->place[i].sequence, r->prefix_value[i],
                         e) < 0)
            return -1;
    return 0;
}

// Gives the sequences seen so far their advantages and forgets them. `whole`: the batch ends here
// (without batch statistics it is let go piece by piece).
static int settle(struct dense_run *r, int whole, struct err *e)
{
    size_t culprit;
    struct reward_batch b = {r->sequence, r->n_sequences, r->groups.n};
    if (MEM_GROW(r->value, r->value_capacity, r->n_tokens, "batch", e) < 0)
        return -1;
    if (reward_rescale(&r->d->options, &b, r->reward, e) < 0)
        return err_prefix(e, "%s", r->where);
    for (size_t i = 0; i < r->n_sequences; i++) {
        struct place p = r->place[i];
        if (finish_rewards(r, r->frame[p.frame], p.sequence, &r->sequence[i], e) < 0)
            return -1;
        count(r, &r->sequence[i]);
    }
    if (reward_advantage(&r->d->options, &b, r->value, &culprit, e) < 0)
        return refuse_culprit(r, culprit, e);
    for (size_t i = 0; i < r->n_sequences; i++)
        scatter(r, r->frame[r->place[i].frame], r->place[i].sequence, r->c.advantage,
                r->value + r->sequence[i].start);
    if (r->c.prefix >= 0 && train_prefixes(r, &b, e) < 0)
        return -1;
    r->n_sequences = r->n_tokens = 0;
    intern_clear(&r->groups);
    return whole ? write_metrics(r, e) : 0;
}

// Takes the sequence's step; a new one ends the batch.
static int enter_step(struct dense_run *r, const struct frame *f, size_t i, struct err *e)
{
    uint32_t step = f->column[r->c.step].u32[i];
    if (r->step_known && step == r->step && r->step_ended) {
        err_set(e, STATUS_STREAM, "step %u goes on after the frame that ended it", step);
        return fail_at(r, f, i, e);
    }
    if (r->step_known && step != r->step && !r->step_ended && settle(r, 1, e) < 0)
        return -1;
    r->in_step = r->step_known && step == r->step ? r->in_step + 1 : 1;
    r->step = step;
    r->step_known = 1;
    r->step_ended = 0;
    return 0;
}

static int take_frame(struct dense_run *r, struct err *e)
{
    struct frame *f = r->frame[r->n_frames - 1];
    for (size_t i = 0; i < f->n_sequences; i++)
        if ((r->c.step >= 0 && enter_step(r, f, i, e) < 0) ||
            add_sequence(r, r->n_frames - 1, i, e) < 0)
            return -1;
    // A full frame may be followed by more of its step, unless the step has all its sequences.
    if (r->step_known && !r->step_ended && (!frame_is_full(f) || r->in_step == r->step_size)) {
        r->step_ended = 1;
        return settle(r, 1, e);
    }
    return r->holds ? 0 : settle(r, 0, e);
}

// Writes the frames whose sequences are all settled: all of them, or all but the last.
static int write_frames(struct dense_run *r, struct stream_writer *w, struct err *e)
{
    size_t n = r->n_frames;
    if (r->n_sequences && r->place[0].frame + 1 < n)
        return 0; // the batch began in an earlier frame, and that one was kept last time
    if (r->n_sequences)
        n--;
    for (size_t i = 0; i < n; i++)
        if (stream_writer_frame(w, r->frame[i], e) < 0)
            return -1;
    if (n < r->n_frames) {
        struct frame *kept = r->frame[n];
        r->frame[n] = r->frame[0];
        r->frame[0] = kept;
        for (size_t i = 0; i < r->n_sequences; i++)
            r->place[i].frame = 0;
    }
    r->n_frames -= n;
    return 0;
}

// ---------------------------------------------------------------------------------- the stream

static int require_logp(struct dense_run *r, const char *name, struct err *e)
{
    char column[256];
    if ((size_t)snprintf(column, sizeof column, "logp:%s", name) >= sizeof column)
        return err_set(e, STATUS_USAGE, "a name of more than %zu bytes", sizeof column - 6);
    return header_require(&r->header, column, COLUMN_F32, PER_TOKEN, r->where, e);
}

static int require_soft(struct dense_run *r, const char *prefix, enum column_per per, struct err *e)
{
    char column[256];
    if ((size_t)snprintf(column, sizeof column, "%s:%s", prefix, r->d->policy) >= sizeof column)
        return err_set(e, STATUS_USAGE, "a name of more than %zu bytes", sizeof column - 12);
    return header_require(&r->header, column, COLUMN_F32, per, r->where, e);
}

static int find_soft(struct dense_run *r, struct err *e)
{
    if ((r->c.q = require_soft(r, "q", PER_TOKEN, e)) < 0 ||
        (r->c.value = require_soft(r, "value", PER_TOKEN, e)) < 0 ||
        (r->c.value_end = require_soft(r, "value-end", PER_SEQUENCE, e)) < 0)
        return -1;
    return 0;
}

// A column of numbers, per token or (unless tokens_only) per sequence.
static int require_numbers(struct dense_run *r, const char *name, int tokens_only, struct err *e)
{
    int i = header_find(&r->header, name);
    if (i < 0)
        return err_set(e, STATUS_STREAM, "%s: there is no column `%s`", r->where, name);
    if (r->header.column[i].type == COLUMN_STRING)
        return err_set(e, STATUS_STREAM, "%s: column `%s` holds text, not numbers", r->where, name);
    if (tokens_only && r->header.column[i].per != PER_TOKEN)
        return err_set(e, STATUS_STREAM, "%s: column `%s` has one value a record, not one a token",
                       r->where, name);
    return i;
}

static int require_group(struct dense_run *r, struct err *e)
{
    int i = header_find(&r->header, r->d->group);
    if (i >= 0 && r->header.column[i].per == PER_SEQUENCE && r->header.column[i].type == COLUMN_U32)
        return i;
    i = header_require(&r->header, r->d->group, COLUMN_STRING, PER_SEQUENCE, r->where, e);
    if (i < 0 && r->d->options.baseline == BASELINE_LOO) {
        size_t n = strlen(e->text);
        snprintf(e->text + n, sizeof e->text - n, "; --baseline none needs no prompts");
    }
    return i;
}

static int find_reward(struct dense_run *r, struct err *e)
{
    const struct dense_reward *d = r->d;
    struct columns *c = &r->c;
    if (d->column)
        return c->base = require_numbers(r, d->column, 0, e);
    if ((c->policy = require_logp(r, d->policy, e)) < 0)
        return -1;
    for (int i = 0; i < d->n_references; i++)
        if ((c->reference[i] = require_logp(r, d->reference[i], e)) < 0)
            return -1;
    return 0;
}

static int find_columns(struct dense_run *r, struct err *e)
{
    const struct dense_reward *d = r->d;
    struct columns *c = &r->c;
    c->prompt = c->step = c->attention = c->prefix = -1;
    c->mask = header_require(&r->header, "mask", COLUMN_U8, PER_TOKEN, r->where, e);
    if (c->mask < 0 || find_reward(r, e) < 0)
        return -1;
    if (d->has_mix && (c->mix = require_numbers(r, d->mix_column, 0, e)) < 0)
        return -1;
    if (d->options.credit == CREDIT_ATTENTION && d->attention &&
        (c->attention = require_numbers(r, d->attention, 1, e)) < 0)
        return -1;
    if (d->n_kl && (c->rollout = require_logp(r, "rollout", e)) < 0)
        return -1;
    for (int i = 0; i < d->n_kl; i++)
        if ((c->kl[i] = require_logp(r, d->kl_name[i], e)) < 0)
            return -1;
    if (d->soft && find_soft(r, e) < 0)
        return -1;
    if (d->prefix && ((c->prefix = header_require(&r->header, d->prefix, COLUMN_U32, PER_SEQUENCE,
                                                  r->where, e)) < 0 ||
                      (c->entropy = header_require(&r->header, d->prefix_entropy, COLUMN_F32,
                                                   PER_TOKEN, r->where, e)) < 0))
        return -1;
    if ((reward_needs_prompt(&d->options) || d->prefix) && (c->prompt = require_group(r, e)) < 0)
        return -1;
    const json_t *sampling = r->header.sampling;
    json_int_t prompts = json_integer_value(json_object_get(sampling, "batch_size"));
    json_int_t samples = json_integer_value(json_object_get(sampling, "num_generations"));
    if (prompts > 0 && samples > 0 && prompts < (1 << 24) && samples < (1 << 24))
        r->step_size = (uint64_t)(prompts * samples);
    if (header_find(&r->header, "step") >= 0 &&
        (c->step = header_require(&r->header, "step", COLUMN_U32, PER_SEQUENCE, r->where, e)) < 0)
        return -1;
    return 0;
}

// A column that is there already (rewards computed anew) is written over.
static int output_column(struct dense_run *r, const char *name, struct err *e)
{
    if (header_find(&r->header, name) >= 0)
        return header_require(&r->header, name, COLUMN_F32, PER_TOKEN, r->where, e);
    return header_add_column(&r->header, name, COLUMN_F32, PER_TOKEN, e);
}

static int prepare_header(struct dense_run *r, const struct stream_header *input,
                          const struct dense_reward_origin *origin, struct err *e)
{
    if (header_copy(&r->header, input, e) < 0)
        return -1;
    if (find_columns(r, e) < 0 || (r->c.reward = output_column(r, "reward", e)) < 0 ||
        (r->c.returns = output_column(r, "return", e)) < 0 ||
        (r->c.advantage = output_column(r, "advantage", e)) < 0 ||
        header_add_provenance(&r->header, "dense-reward", origin->argc, origin->argv, origin->seed,
                              NULL, e) < 0) {
        header_release(&r->header);
        return -1;
    }
    return 0;
}

// The next frame to read into: a spare one, or a new one.
static struct frame *next_frame(struct dense_run *r, struct err *e)
{
    if (r->n_frames == r->frames_made) {
        struct frame *f;
        if (MEM_GROW(r->frame, r->frame_capacity, r->frames_made + 1, "batch", e) < 0)
            return NULL;
        if (!(f = mem_alloc(1, sizeof *f, "frame", e)))
            return NULL;
        if (frame_init(f, &r->header, e) < 0) {
            free(f);
            return NULL;
        }
        r->frame[r->frames_made++] = f;
    }
    return r->frame[r->n_frames];
}

static int copy_frames(struct dense_run *r, struct stream_reader *reader,
                       struct stream_writer *writer, struct err *e)
{
    for (;;) {
        struct frame *f = next_frame(r, e);
        int got = f ? stream_reader_next(reader, f, e) : -1;
        if (got < 0)
            return -1;
        if (got == 0)
            break;
        r->n_frames++;
        if (take_frame(r, e) < 0 || write_frames(r, writer, e) < 0)
            return -1;
        progress_estimate(&r->progress, stream_reader_expected(reader));
        progress_update(&r->progress, (int64_t)stream_reader_sequences(reader), "%s", "");
    }
    if (r->n_sequences || r->batch_records)
        if (settle(r, 1, e) < 0)
            return -1;
    return write_frames(r, writer, e);
}

static void release(struct dense_run *r)
{
    for (size_t i = 0; i < r->frames_made; i++) {
        frame_release(r->frame[i]);
        free(r->frame[i]);
    }
    free(r->frame);
    free(r->place);
    free(r->sequence);
    free(r->value);
    free(r->reward);
    free(r->weight);
    free(r->prefix);
    free(r->prefix_value);
    intern_release(&r->groups);
    header_release(&r->header);
}

static int run_stream(struct dense_run *r, struct stream_reader *reader, const char *output,
                      struct err *e)
{
    struct stream_writer *writer = stream_writer_open(output, &r->header, e);
    if (!writer)
        return -1;
    if (copy_frames(r, reader, writer, e) < 0) {
        stream_writer_abort(writer);
        return -1;
    }
    return stream_writer_end(writer, e);
}

int dense_reward_run(const struct dense_reward *d, const char *input, const char *output,
                     const struct dense_reward_origin *origin, struct metrics *metrics,
                     struct dense_reward_stats *stats, struct err *e)
{
    memset(stats, 0, sizeof *stats);
    if (reward_options_check(&d->options, e) < 0)
        return -1;
    struct dense_run r = {.d = d,
                          .holds = reward_needs_batch(&d->options) || d->prefix,
                          .stats = stats,
                          .metrics = metrics};
    intern_init(&r.groups);
    progress_init(&r.progress, "record", 0);
    progress_follow(&r.progress, 1);
    struct stream_reader *reader = stream_reader_open(input, e);
    if (!reader)
        return -1;
    r.where = stream_reader_name(reader);
    int status = prepare_header(&r, stream_reader_header(reader), origin, e);
    if (status == 0) {
        status = run_stream(&r, reader, output, e);
        release(&r);
    }
    progress_end(&r.progress);
    stream_reader_close(reader);
    return status;
}
