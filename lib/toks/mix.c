// SPDX-License-Identifier: MIT
#include "toks/mix.h"
#include "base/rng.h"
#include "stream/reread.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { RNG_MIX = 3 }; // after the uses of select.c and prefix.c, with whom it shares RNG_RECORDS

// What is drawn from one source.
struct mixed_stream {
    struct reread in;
    uint64_t available;
    uint64_t records;      // in the output
    uint64_t left;         // of these, still to be written
    uint64_t pass;         // how often the source was started over
    uint64_t wanted, rest; // in this pass: records to take, records not looked at
    struct frame *frame;   // NULL: none read yet
    size_t next;           // in it
    double error;          // of rounding
};

struct mixer {
    const struct mix *mix;
    struct mixed_stream *draw; // [mix->n]
    struct merge merge;
    struct rng rng;
    uint64_t records;
};

static const char *name_of(const struct mixed_stream *d)
{
    return stream_reader_name(d->in.pass.reader);
}

// ---- how many

static int count(struct mixed_stream *d, struct err *e)
{
    struct frame *f;
    int more;
    while ((more = reread_next(&d->in, &f, e)) > 0)
        ;
    if (more < 0)
        return -1;
    d->available = d->in.n_sequences;
    if (d->available)
        return 0;
    return err_set(e, STATUS_FAILED, "%s: there are no records", name_of(d));
}

static double weights(const struct mix *mix)
{
    double sum = 0;
    for (int i = 0; i < mix->n; i++)
        sum += mix->source[i].weight;
    return sum;
}

// As long as it can be with no record twice, or as short as it can be with each one once.
static uint64_t length(const struct mixer *m)
{
    const struct mix *mix = m->mix;
    double best = 0, sum = weights(mix);
    if (mix->records)
        return mix->records;
    for (int i = 0; i < mix->n; i++) {
        double n = (double)m->draw[i].available * (sum / mix->source[i].weight);
        if (i == 0 || (mix->repeat ? n > best : n < best))
            best = n;
    }
    // A quotient may lie a few last digits beside the whole number that it is.
    double slack = best * 1e-12;
    return (uint64_t)(mix->repeat ? ceil(best - slack) : floor(best + slack));
}

// Whole numbers that add up to m->records, nearest to the shares (largest remainders).
static void share_out(struct mixer *m)
{
    const struct mix *mix = m->mix;
    double sum = weights(mix);
    uint64_t given = 0;
    for (int i = 0; i < mix->n; i++) {
        double exact = (double)m->records * (mix->source[i].weight / sum);
        struct mixed_stream *d = &m->draw[i];
        d->records = (uint64_t)floor(exact * (1 + 1e-12));
        d->error = exact - (double)d->records;
        given += d->records;
    }
    for (; given < m->records; given++) {
        struct mixed_stream *next = m->draw;
        for (int i = 1; i < mix->n; i++)
            if (m->draw[i].error > next->error)
                next = &m->draw[i];
        next->records++;
        next->error -= 1;
    }
}

static int check_shares(const struct mixer *m, struct err *e)
{
    if (m->records == 0)
        return err_set(e, STATUS_FAILED,
                       "the weights allow no record: --repeat starts streams "
                       "over that have too few");
    for (int i = 0; i < m->mix->n; i++) {
        const struct mixed_stream *d = &m->draw[i];
        if (d->records > d->available && !m->mix->repeat)
            return err_set(e, STATUS_FAILED,
                           "%s: %" PRIu64 " records are wanted and there are %" PRIu64
                           ": --repeat starts it over",
                           name_of(d), d->records, d->available);
    }
    return 0;
}

// ---- which

static void begin_pass(struct mixed_stream *d)
{
    d->rest = d->available;
    d->wanted = d->left < d->available ? d->left : d->available;
    d->frame = NULL;
    d->next = 0;
}

static int next_record(struct mixed_stream *d, struct err *e)
{
    while (!d->frame || d->next == d->frame->n_sequences) {
        int more = reread_next(&d->in, &d->frame, e);
        if (more < 0)
            return -1;
        if (more == 0)
            return err_set(e, STATUS_FAILED, "%s: changed while it was read", name_of(d));
        d->next = 0;
    }
    return 0;
}

// Goes on to the next record that is taken (selection sampling, Knuth 3.4.2, algorithm S).
static int take(struct mixer *m, struct mixed_stream *d, struct err *e)
{
    if (d->wanted == 0) {
        if (reread_again(&d->in, e) < 0)
            return -1;
        d->pass++;
        begin_pass(d);
    }
    for (;;) {
        if (next_record(d, e) < 0)
            return -1;
        if (rng_below(&m->rng, d->rest--) < d->wanted)
            break;
        d->next++;
    }
    d->wanted--;
    d->left--;
    return 0;
}

static struct mixed_stream *draw_source(struct mixer *m, uint64_t left)
{
    struct mixed_stream *d = m->draw;
    uint64_t at = rng_below(&m->rng, left);
    while (at >= d->left)
        at -= d++->left;
    return d;
}

static int write_all(struct mixer *m, struct stream_writer *w, struct err *e)
{
    for (uint64_t left = m->records; left; left--) {
        struct mixed_stream *d = draw_source(m, left);
        if (take(m, d, e) < 0)
            return -1;
        frame_clear(&m->merge.frame);
        if (merge_add(&m->merge, d->frame, d->next++, (int)(d - m->draw) + 1, d->pass, name_of(d),
                      e) < 0 ||
            stream_writer_add(w, &m->merge.frame, 0, e) < 0)
            return -1;
    }
    return 0;
}

// What is left of a file is read too: its end tells whether it is the one that was counted.
static int read_rest(struct mixer *m, struct err *e)
{
    for (int i = 0; i < m->mix->n; i++) {
        int more;
        while ((more = reread_next(&m->draw[i].in, &m->draw[i].frame, e)) > 0)
            ;
        if (more < 0)
            return -1;
    }
    return 0;
}

// ---- the run

static int open_all(struct mixer *m, const struct provenance *line, struct err *e)
{
    struct stream_header *h = &m->draw[0].in.pass.header;
    for (int i = 0; i < m->mix->n; i++)
        if (reread_open(&m->draw[i].in, m->mix->source[i].path, 0, e) < 0)
            return -1;
    for (int i = 1; i < m->mix->n; i++)
        if (merge_header(h, m->draw[i].in.pass.reader, e) < 0)
            return -1;
    if (header_find(h, "pair") >= 0)
        return err_set(e, STATUS_STREAM,
                       "%s: records of pairs cannot be drawn singly: mix before "
                       "they are paired",
                       name_of(m->draw));
    return filter_provenance(&m->draw[0].in.pass, line, e);
}

static int prepare(struct mixer *m, mix_counted *counted, struct err *e)
{
    for (int i = 0; i < m->mix->n; i++)
        if (count(&m->draw[i], e) < 0)
            return -1;
    m->records = length(m);
    share_out(m);
    if (check_shares(m, e) < 0)
        return -1;
    for (int i = 0; i < m->mix->n; i++) {
        struct mixed_stream *d = &m->draw[i];
        if (reread_again(&d->in, e) < 0)
            return -1;
        d->left = d->records;
        begin_pass(d);
        counted(name_of(d), d->records, d->available);
    }
    return 0;
}

int mix_run(const struct mix *mix, const char *output, const struct provenance *line,
            mix_counted *counted, struct err *e)
{
    struct mixer m = {.mix = mix, .draw = mem_alloc((size_t)mix->n, sizeof *m.draw, "streams", e)};
    if (!m.draw)
        return -1;
    memset(m.draw, 0, (size_t)mix->n * sizeof *m.draw);
    struct stream_filter *out = &m.draw[0].in.pass;
    merge_init(&m.merge, mix->ids);
    rng_init(&m.rng, mix->seed, RNG_RECORDS, RNG_MIX, 0);
    int result = open_all(&m, line, e);
    if (result == 0)
        result = prepare(&m, counted, e);
    if (result == 0)
        result = merge_start(&m.merge, &out->header, e);
    if (result == 0)
        result = filter_start(out, output, e);
    if (result == 0)
        result = write_all(&m, out->writer, e);
    if (result == 0)
        result = read_rest(&m, e);
    if (result == 0)
        result = filter_end(out, e);
    merge_release(&m.merge);
    for (int i = 0; i < mix->n; i++)
        reread_release(&m.draw[i].in);
    free(m.draw);
    return result;
}
