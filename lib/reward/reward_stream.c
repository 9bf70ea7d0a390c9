// SPDX-License-Identifier: MIT
#include "reward/reward_stream.h"
#include "reward/open_batch.h"

#include <math.h>
#include <string.h>

// The `step` of the open batch, or of the one that ended last.
struct reward_step {
    uint32_t number;
    int known, ended;
    uint64_t n, size; // sequences so far; in all, as the header tells, 0: it does not
};

// Sums over a batch, for its metrics.
struct sums {
    uint64_t records, tokens; // records: those with trained tokens
    double reward, squares;
};

struct reward_stream {
    struct stream_filter pass;
    struct reward_columns c;
    struct open_batch batch;
    int holds; // statistics of a batch are needed
    struct reward_step step;
    struct sums sums;
    struct reward_stream_stats *stats;
    struct metrics *metrics;
    struct progress progress;
};

static void count(struct reward_stream *r, const struct reward_sequence *s)
{
    r->stats->records++;
    r->stats->empty += s->n == 0;
    r->stats->tokens += s->n;
    r->stats->total += s->total;
    if (!s->n)
        return;
    r->sums.records++;
    r->sums.tokens += s->n;
    r->sums.reward += s->total;
    r->sums.squares += s->total * s->total;
}

static json_t *metrics_of(const struct reward_stream *r, struct err *e)
{
    const struct sums *s = &r->sums;
    double n = (double)s->records, mean = s->reward / n;
    double variance = n > 1 ? (s->squares - n * mean * mean) / (n - 1) : 0;
    json_t *o =
        json_pack("{s:f, s:f, s:f, s:I, s:I}", "reward", mean, "reward_std",
                  sqrt(variance > 0 ? variance : 0), "completion_length", (double)s->tokens / n,
                  "records", (json_int_t)s->records, "num_tokens", (json_int_t)r->stats->tokens);
    if (o && (!r->step.known || json_object_set_new(o, "step", json_integer(r->step.number)) == 0))
        return o;
    json_decref(o);
    err_memory(e, 0, "metrics");
    return NULL;
}

static int write_metrics(struct reward_stream *r, struct err *e)
{
    int result = 0;
    if (r->metrics->fd >= 0 && r->sums.records) {
        json_t *o = metrics_of(r, e);
        result = o ? metrics_write(r->metrics, o, e) : -1;
    }
    r->sums = (struct sums){0};
    return result;
}

// Settles the records so far and forgets them.
static int settle(struct reward_stream *r, struct err *e)
{
    if (open_batch_settle(&r->batch, e) < 0)
        return -1;
    for (size_t i = 0; i < r->batch.n_records; i++)
        count(r, &r->batch.sequence[i]);
    open_batch_clear(&r->batch);
    return 0;
}

static int end_batch(struct reward_stream *r, struct err *e)
{
    return settle(r, e) < 0 ? -1 : write_metrics(r, e);
}

// Takes the sequence's step; a new one ends the batch.
static int enter_step(struct reward_stream *r, struct frame *f, size_t i, struct err *e)
{
    struct reward_step *s = &r->step;
    uint32_t number = f->column[r->c.step].u32[i];
    int same = s->known && number == s->number;
    if (same && s->ended) {
        err_set(e, STATUS_STREAM, "step %u goes on after the frame that ended it", number);
        return reward_record_refuse(&r->c, &(struct reward_record){f, i}, e);
    }
    if (s->known && !same && !s->ended && end_batch(r, e) < 0)
        return -1;
    s->n = same ? s->n + 1 : 1;
    s->number = number;
    s->known = 1;
    s->ended = 0;
    return 0;
}

static int take_frame(struct reward_stream *r, struct frame *f, struct err *e)
{
    struct reward_step *s = &r->step;
    for (size_t i = 0; i < f->n_sequences; i++)
        if ((r->c.step >= 0 && enter_step(r, f, i, e) < 0) ||
            open_batch_add(&r->batch, f, i, e) < 0)
            return -1;
    // A full frame may be followed by more of its step, unless the step has all its sequences.
    if (s->known && !s->ended && (!frame_is_full(f) || s->n == s->size)) {
        s->ended = 1;
        return end_batch(r, e);
    }
    // Without batch statistics the batch is let go piece by piece.
    return r->holds ? 0 : settle(r, e);
}

// Writes the frames whose sequences are all settled.
static int write_settled(struct reward_stream *r, struct err *e)
{
    const struct frame *open = open_batch_frame(&r->batch);
    size_t n = 0;
    while (n < r->pass.n_held && r->pass.held[n] != open)
        n++;
    return filter_write_held(&r->pass, n, e);
}

static int run_frames(struct reward_stream *r, struct err *e)
{
    const struct stream_reader *in = r->pass.reader;
    struct frame *f;
    int more;
    while ((more = filter_hold_next(&r->pass, &f, e)) > 0) {
        if (take_frame(r, f, e) < 0 || write_settled(r, e) < 0)
            return -1;
        progress_estimate(&r->progress, stream_reader_expected(in));
        progress_update(&r->progress, (int64_t)stream_reader_sequences(in), "%s", "");
    }
    if (more < 0)
        return -1;
    if ((r->batch.n_records || r->sums.records) && end_batch(r, e) < 0)
        return -1;
    return write_settled(r, e) < 0 ? -1 : filter_end(&r->pass, e);
}

// Sequences of a step, where the header tells.
static uint64_t step_size(const struct stream_header *h)
{
    json_int_t prompts = json_integer_value(json_object_get(h->sampling, "batch_size"));
    json_int_t samples = json_integer_value(json_object_get(h->sampling, "num_generations"));
    if (prompts > 0 && samples > 0 && prompts < (1 << 24) && samples < (1 << 24))
        return (uint64_t)(prompts * samples);
    return 0;
}

static int open_streams(struct reward_stream *r, const struct dense_reward *d, const char *input,
                        const char *output, const struct provenance *line, struct err *e)
{
    struct stream_filter *p = &r->pass;
    if (filter_open(p, input, e) < 0 ||
        reward_columns_find(&r->c, d, &p->header, stream_reader_name(p->reader), e) < 0 ||
        filter_provenance(p, line, e) < 0)
        return -1;
    r->step.size = step_size(&p->header);
    return filter_start(p, output, e);
}

int reward_stream_run(const struct dense_reward *d, const char *input, const char *output,
                      const struct provenance *line, struct metrics *metrics,
                      struct reward_stream_stats *stats, struct err *e)
{
    memset(stats, 0, sizeof *stats);
    if (reward_options_check(&d->options, e) < 0)
        return -1;
    struct reward_stream r = {
        .holds = reward_needs_batch(&d->options) || d->prefix, .stats = stats, .metrics = metrics};
    open_batch_init(&r.batch, &r.c);
    progress_init(&r.progress, "record", 0);
    progress_follow(&r.progress, 1);
    int result = open_streams(&r, d, input, output, line, e);
    if (result == 0)
        result = run_frames(&r, e);
    progress_end(&r.progress);
    open_batch_release(&r.batch);
    filter_release(&r.pass);
    return result;
}
