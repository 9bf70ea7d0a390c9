// SPDX-License-Identifier: MIT
#include "toks/vote.h"
#include "base/intern.h"
#include "stream/parts.h"

#include <stdlib.h>
#include <string.h>

struct answer {
    size_t group, next; // next of the group's answers: index + 1, 0 ends
    size_t begin, size; // in the tally's text
    uint64_t count;
};

struct ballot {
    uint64_t n, top, tied; // samples; of the most frequent answers: how often, how many
    size_t first;          // answer: index + 1
};

struct tally {
    struct intern groups, answers; // answers: number of the group, then the text
    struct ballot *ballot;         // [groups.n]
    struct answer *answer;         // [answers.n]
    size_t ballot_capacity, answer_capacity;
    struct buffer key, text;
    struct tally *base; // what it starts from; NULL: nothing
};

static void tally_init(struct tally *t, struct tally *base)
{
    memset(t, 0, sizeof *t);
    intern_init(&t->groups);
    intern_init(&t->answers);
    buffer_init(&t->key, 0);
    buffer_init(&t->text, 0);
    t->base = base;
}

static void tally_release(struct tally *t)
{
    intern_release(&t->groups);
    intern_release(&t->answers);
    buffer_release(&t->key);
    buffer_release(&t->text);
    free(t->ballot);
    free(t->answer);
}

static void tally_clear(struct tally *t)
{
    struct tally *base = t->base;
    tally_release(t);
    tally_init(t, base);
}

static int add_answer(struct tally *t, size_t group, const char *text, size_t size, uint64_t times,
                      size_t *number, struct err *e)
{
    buffer_clear(&t->key);
    if (buffer_append(&t->key, &group, sizeof group, e) < 0 ||
        buffer_append(&t->key, text, size, e) < 0)
        return -1;
    size_t known = t->answers.n;
    int64_t a = intern_number(&t->answers, t->key.data, t->key.size, e);
    if (a < 0)
        return -1;
    if ((size_t)a == known) {
        struct ballot *b = &t->ballot[group];
        if (MEM_GROW(t->answer, t->answer_capacity, known + 1, "answers", e) < 0)
            return -1;
        t->answer[a] = (struct answer){group, b->first, t->text.size, size, 0};
        b->first = known + 1;
        if (buffer_append(&t->text, text, size, e) < 0)
            return -1;
    }
    t->answer[a].count += times;
    *number = (size_t)a;
    return 0;
}

static int64_t find_ballot(struct tally *t, const void *name, size_t size, struct err *e);

// A group that is new here begins with what the base has of it.
static int inherit(struct tally *t, size_t group, const void *name, size_t size, struct err *e)
{
    int64_t before = t->base ? find_ballot(t->base, name, size, e) : 0;
    if (before < 0 || !t->base)
        return (int)before;
    const struct ballot *b = &t->base->ballot[before];
    size_t number;
    t->ballot[group].n = b->n;
    for (size_t i = b->first; i; i = t->base->answer[i - 1].next) {
        const struct answer *a = &t->base->answer[i - 1];
        if (add_answer(t, group, t->base->text.data + a->begin, a->size, a->count, &number, e) < 0)
            return -1;
    }
    return 0;
}

static int64_t find_ballot(struct tally *t, const void *name, size_t size, struct err *e)
{
    size_t known = t->groups.n;
    int64_t g = intern_number(&t->groups, name, size, e);
    if (g < 0 || (size_t)g < known)
        return g;
    if (MEM_GROW(t->ballot, t->ballot_capacity, known + 1, "groups", e) < 0)
        return -1;
    memset(&t->ballot[g], 0, sizeof *t->ballot);
    return inherit(t, (size_t)g, name, size, e) < 0 ? -1 : g;
}

static void find_winners(struct tally *t)
{
    for (size_t i = 0; i < t->answers.n; i++) {
        struct ballot *b = &t->ballot[t->answer[i].group];
        uint64_t count = t->answer[i].count;
        b->tied = count > b->top ? 1 : b->tied + (count == b->top);
        b->top = count > b->top ? count : b->top;
    }
}

// ---- streams

// Columns of a stream.
struct places {
    int by, group, step;
};

static int find_places(const struct vote *v, const struct stream_reader *r, struct places *p,
                       struct err *e)
{
    const struct stream_header *h = stream_reader_header(r);
    const char *where = stream_reader_name(r);
    p->step = header_step(h);
    p->by = header_require(h, v->by, COLUMN_STRING, PER_SEQUENCE, where, e);
    if (p->by < 0)
        return -1;
    p->group = header_find(h, v->group);
    if (p->group >= 0 && h->column[p->group].type == COLUMN_U32 &&
        h->column[p->group].per == PER_SEQUENCE)
        return 0;
    p->group = header_require(h, v->group, COLUMN_STRING, PER_SEQUENCE, where, e);
    return p->group < 0 ? -1 : 0;
}

static const void *group_name(const struct frame *f, const struct places *p, size_t i, size_t *size)
{
    *size = sizeof(uint32_t);
    if (f->header->column[p->group].type == COLUMN_U32)
        return &f->column[p->group].u32[i];
    return frame_string(f, p->group, i, size);
}

// A record's ballot, and its answer: index + 1, 0 without one.
struct voter {
    size_t group, answer;
};

static int count_voter(struct tally *t, const struct frame *f, const struct places *p, size_t i,
                       struct voter *out, struct err *e)
{
    size_t size, answer;
    const void *name = group_name(f, p, i, &size);
    int64_t g = find_ballot(t, name, size, e);
    if (g < 0)
        return -1;
    t->ballot[g].n++;
    *out = (struct voter){(size_t)g, 0};
    const char *text = frame_string(f, p->by, i, &size);
    if (!size)
        return 0;
    if (add_answer(t, (size_t)g, text, size, 1, &answer, e) < 0)
        return -1;
    out->answer = answer + 1;
    return 0;
}

static int count_stream(const struct vote *v, const char *path, struct tally *t, struct err *e)
{
    struct stream_filter pass;
    struct places p;
    struct voter voter;
    int result = filter_open(&pass, path, e);
    if (result == 0)
        result = find_places(v, pass.reader, &p, e);
    int more = 1;
    while (result == 0 && (more = filter_next(&pass, e)) > 0)
        for (size_t i = 0; i < pass.frame.n_sequences && result == 0; i++)
            result = count_voter(t, &pass.frame, &p, i, &voter, e);
    filter_release(&pass);
    return result < 0 ? -1 : more;
}

struct voting {
    const struct vote *v;
    struct stream_filter pass; // holds the frames of the open batch
    struct places places;
    int out;
    struct tally other, batch;
    struct voter *voter; // of the batch's records
    size_t n_voters, voter_capacity;
    struct vote_stats *stats;
};

static int refuse_single(const struct voting *r, const struct frame *f, size_t i, struct err *e)
{
    size_t size;
    const char *where = stream_reader_name(r->pass.reader);
    const char *name = group_name(f, &r->places, i, &size);
    if (f->header->column[r->places.group].type == COLUMN_U32)
        return err_set(e, STATUS_FAILED, "%s: %s %u has one sample; a vote needs two or more",
                       where, r->v->group, f->column[r->places.group].u32[i]);
    return err_set(e, STATUS_FAILED, "%s: %s `%s` has one sample; a vote needs two or more", where,
                   r->v->group, shown(name, size).text);
}

static double score_of(const struct voting *r, const struct voter *v)
{
    const struct ballot *b = &r->batch.ballot[v->group];
    if (!v->answer)
        return 0;
    uint64_t count = r->batch.answer[v->answer - 1].count;
    if (r->v->score == VOTE_SHARE)
        return (double)count / (double)b->n;
    return count == b->top ? 1.0 / (double)b->tied : 0;
}

// Scores and writes the batch: the first n_frames of those that the filter holds.
static int write_batch(struct voting *r, size_t n_frames, struct err *e)
{
    size_t k = 0;
    find_winners(&r->batch);
    for (size_t j = 0; j < n_frames; j++) {
        struct frame *f = r->pass.held[0];
        for (size_t i = 0; i < f->n_sequences; i++, k++) {
            const struct voter *v = &r->voter[k];
            if (r->batch.ballot[v->group].n < 2)
                return refuse_single(r, f, i, e);
            f->column[r->out].f32[i] = (float)score_of(r, v);
            r->stats->records++;
            r->stats->empty += !v->answer;
        }
        if (filter_write_held(&r->pass, 1, e) < 0)
            return -1;
    }
    r->stats->groups += r->batch.groups.n;
    for (size_t g = 0; g < r->batch.groups.n; g++)
        r->stats->ties += r->batch.ballot[g].tied > 1;
    r->n_voters = 0;
    tally_clear(&r->batch);
    return 0;
}

// Does `f`, the frame behind those of the batch, begin another one?
static int begins_step(const struct voting *r, const struct frame *f)
{
    int step = r->places.step;
    return step >= 0 && f->n_sequences &&
           f->column[step].u32[0] != r->pass.held[0]->column[step].u32[0];
}

static int take_frame(struct voting *r, const struct frame *f, struct err *e)
{
    if (MEM_GROW(r->voter, r->voter_capacity, r->n_voters + f->n_sequences, "a batch", e) < 0)
        return -1;
    for (size_t i = 0; i < f->n_sequences; i++)
        if (count_voter(&r->batch, f, &r->places, i, &r->voter[r->n_voters++], e) < 0)
            return -1;
    // A full frame may be followed by more of its step.
    return r->places.step >= 0 && !frame_is_full(f) ? write_batch(r, r->pass.n_held, e) : 0;
}

static int vote_all(struct voting *r, struct err *e)
{
    struct frame *f;
    int more;
    while ((more = filter_hold_next(&r->pass, &f, e)) > 0) {
        // The step before ended with a full frame.
        if (begins_step(r, f) && write_batch(r, r->pass.n_held - 1, e) < 0)
            return -1;
        if (take_frame(r, f, e) < 0)
            return -1;
    }
    if (more < 0 || write_batch(r, r->pass.n_held, e) < 0)
        return -1;
    return filter_end(&r->pass, e);
}

static void release(struct voting *r)
{
    free(r->voter);
    tally_release(&r->batch);
    tally_release(&r->other);
    filter_release(&r->pass);
}

static int prepare(struct voting *r, const char *input, const char *output,
                   const struct provenance *line, struct err *e)
{
    for (int i = 0; i < r->v->n_with; i++)
        if (count_stream(r->v, r->v->with[i], &r->other, e) < 0)
            return -1;
    if (filter_open(&r->pass, input, e) < 0 || find_places(r->v, r->pass.reader, &r->places, e) < 0)
        return -1;
    struct stream_header *h = &r->pass.header;
    const char *where = stream_reader_name(r->pass.reader);
    r->out = header_find(h, r->v->as) >= 0
                 ? header_require(h, r->v->as, COLUMN_F32, PER_SEQUENCE, where, e)
                 : header_add_column(h, r->v->as, COLUMN_F32, PER_SEQUENCE, e);
    if (r->out < 0 || filter_provenance(&r->pass, line, e) < 0)
        return -1;
    return filter_start(&r->pass, output, e);
}

int vote_run(const struct vote *v, const char *input, const char *output,
             const struct provenance *line, struct vote_stats *stats, struct err *e)
{
    struct voting r;
    memset(&r, 0, sizeof r);
    memset(stats, 0, sizeof *stats);
    r.v = v;
    r.stats = stats;
    tally_init(&r.other, NULL);
    tally_init(&r.batch, &r.other);
    int result = prepare(&r, input, output, line, e);
    if (result == 0)
        result = vote_all(&r, e);
    release(&r);
    return result;
}
