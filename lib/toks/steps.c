// SPDX-License-Identifier: MIT
#include "toks/steps.h"
#include "stream/parts.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// Puts "STREAM: record `ID`: " before the error.
static int fail_at(const struct stream_filter *p, const struct frame *f, size_t i, struct err *e)
{
    return err_prefix(e, "%s: %s", stream_reader_name(p->reader), frame_record(f, i).text);
}

static int same_text(const char *a, size_t n, const char *b, size_t m)
{
    return n == m && memcmp(a, b, n) == 0;
}

// Index of the first trained token, or the number of tokens.
static size_t first_trained(const uint8_t *mask, size_t n)
{
    size_t t = 0;
    while (t < n && !mask[t])
        t++;
    return t;
}

// ---- expand

struct expander {
    const struct steps *s;
    struct stream_filter in;
    int mask, marks, gold;
    struct stream_header header;
    struct frame frame; // one record of the output
    struct {
        int mask, record, steps, taken;
    } out;
    struct stream_writer *writer;
    struct buffer text, lead, answer, id; // lead, answer: uint32_t
    struct steps_stats *stats;
};

static int describe(struct expander *x, struct err *e)
{
    const struct stream_header *in = &x->in.header;
    struct stream_header *h = &x->header;
    const char *where = stream_reader_name(x->in.reader);
    x->marks = -1;
    if ((x->mask = header_require(in, "mask", COLUMN_U8, PER_TOKEN, where, e)) < 0 ||
        (x->gold = header_require(in, x->s->gold, COLUMN_STRING, PER_SEQUENCE, where, e)) < 0 ||
        (x->s->marks &&
         (x->marks = header_require(in, x->s->marks, COLUMN_U8, PER_TOKEN, where, e)) < 0))
        return -1;
    if (header_init(h, e) < 0)
        return -1;
    if (in->tokenizer && !(h->tokenizer = strdup(in->tokenizer)))
        return err_memory(e, 24, "a header");
    h->vocab_size = in->vocab_size;
    h->level = in->level;
    json_decref(h->provenance);
    h->provenance = json_deep_copy(in->provenance);
    if ((x->out.mask = header_add_column(h, "mask", COLUMN_U8, PER_TOKEN, e)) < 0 ||
        (x->out.record = header_add_column(h, "record", COLUMN_STRING, PER_SEQUENCE, e)) < 0 ||
        (x->out.steps = header_add_column(h, "steps", COLUMN_U32, PER_SEQUENCE, e)) < 0 ||
        (x->out.taken = header_add_column(h, "taken", COLUMN_U32, PER_SEQUENCE, e)) < 0)
        return -1;
    return 0;
}

static int write_expanded(struct expander *x, const struct frame *f, size_t i, size_t steps,
                          size_t taken, struct err *e)
{
    size_t lead = x->lead.size / sizeof(uint32_t), answer = x->answer.size / sizeof(uint32_t), n;
    struct frame *o = &x->frame;
    char number[32];
    frame_clear(o);
    if (frame_add(o, taken + lead + answer, e) < 0)
        return -1;
    uint32_t *token = o->column[COLUMN_TOKEN].u32;
    memcpy(token, f->column[COLUMN_TOKEN].u32 + f->start[i], taken * sizeof *token);
    if (lead)
        memcpy(token + taken, x->lead.data, x->lead.size);
    memcpy(token + taken + lead, x->answer.data, x->answer.size);
    memset(o->column[x->out.mask].u8 + taken + lead, 1, answer);
    o->column[x->out.steps].u32[0] = (uint32_t)steps;
    o->column[x->out.taken].u32[0] = (uint32_t)taken;
    const char *id = frame_string(f, COLUMN_ID, i, &n);
    buffer_clear(&x->id);
    int size = snprintf(number, sizeof number, "+%zu", steps);
    if (buffer_append(&x->id, id, n, e) < 0 || buffer_append(&x->id, number, (size_t)size, e) < 0 ||
        frame_set_string(o, COLUMN_ID, x->id.data, x->id.size, e) < 0 ||
        frame_set_string(o, x->out.record, id, n, e) < 0)
        return -1;
    return stream_writer_add(x->writer, o, 0, e);
}

// Does a step end with the trained token k? 1, 0 or -1.
static int ends_step(struct expander *x, const struct frame *f, size_t k, struct err *e)
{
    if (!f->column[x->mask].u8[k])
        return 0;
    if (x->marks >= 0)
        return f->column[x->marks].u8[k] != 0;
    buffer_clear(&x->text);
    if (x->s->piece(x->s->arg, f->column[COLUMN_TOKEN].u32[k], 0, &x->text, e) < 0)
        return -1;
    return x->text.size && memmem(x->text.data, x->text.size, x->s->end, strlen(x->s->end)) != NULL;
}

static int encode_gold(struct expander *x, const struct frame *f, size_t i, struct err *e)
{
    size_t n;
    const char *gold = frame_string(f, x->gold, i, &n);
    buffer_clear(&x->answer);
    if (x->s->encode(x->s->arg, gold, n, &x->answer, e) < 0)
        return -1;
    if (!x->answer.size)
        return err_set(e, STATUS_FAILED, "no gold answer in `%s`", x->s->gold);
    return 0;
}

static int expand_record(struct expander *x, const struct frame *f, size_t i, struct err *e)
{
    size_t n = frame_length(f, i), steps = 0;
    size_t prompt = first_trained(f->column[x->mask].u8 + f->start[i], n);
    x->stats->records++;
    if (prompt == n)
        return 0;
    if (encode_gold(x, f, i, e) < 0)
        return fail_at(&x->in, f, i, e);
    if (write_expanded(x, f, i, 0, prompt, e) < 0)
        return -1;
    for (size_t t = prompt; t < n; t++) {
        int ends = ends_step(x, f, f->start[i] + t, e);
        if (ends < 0)
            return fail_at(&x->in, f, i, e);
        if (ends && write_expanded(x, f, i, ++steps, t + 1, e) < 0)
            return -1;
    }
    x->stats->steps += steps;
    x->stats->without += steps == 0;
    return 0;
}

static int expand_all(struct expander *x, struct err *e)
{
    int more;
    while ((more = filter_next(&x->in, e)) > 0) {
        for (size_t i = 0; i < x->in.frame.n_sequences; i++)
            if (expand_record(x, &x->in.frame, i, e) < 0)
                return -1;
    }
    struct stream_writer *w = x->writer;
    if (more < 0)
        return -1;
    x->writer = NULL;
    return stream_writer_end(w, e);
}

int steps_expand(const struct steps *s, const char *tokenizer, const char *input,
                 const char *output, const struct provenance *line, struct steps_stats *stats,
                 struct err *e)
{
    struct expander x;
    memset(&x, 0, sizeof x);
    memset(stats, 0, sizeof *stats);
    x.s = s;
    x.stats = stats;
    buffer_init(&x.text, 0);
    buffer_init(&x.lead, 0);
    buffer_init(&x.answer, 0);
    buffer_init(&x.id, 0);
    int result = filter_open(&x.in, input, e);
    if (result == 0)
        result =
            header_check_tokenizer(&x.in.header, tokenizer, stream_reader_name(x.in.reader), e);
    if (result == 0)
        result = describe(&x, e);
    if (result == 0)
        result = header_add_provenance(&x.header, line->program, line->argc, line->argv, line->seed,
                                       NULL, e);
    if (result == 0 && s->lead)
        result = s->encode(s->arg, s->lead, strlen(s->lead), &x.lead, e);
    if (result == 0)
        result = frame_init(&x.frame, &x.header, e);
    if (result == 0)
        result = (x.writer = stream_writer_open(output, &x.header, e)) ? 0 : -1;
    if (result == 0)
        result = expand_all(&x, e);
    stream_writer_abort(x.writer);
    frame_release(&x.frame);
    if (x.header.column)
        header_release(&x.header);
    filter_release(&x.in);
    buffer_release(&x.text);
    buffer_release(&x.lead);
    buffer_release(&x.answer);
    buffer_release(&x.id);
    return result;
}

// ---- gain

struct gainer {
    struct stream_filter in, scored;
    int mask, reward, watermark, gain;
    struct {
        int mask, logp, record, steps, taken;
    } from;
    size_t at; // the scored record that comes next, if `more`
    int more;  // 0: the scored stream has ended
    struct steps_stats *stats;
};

static int output_column(struct gainer *g, const char *name, enum column_per per, struct err *e)
{
    struct stream_header *h = &g->in.header;
    if (header_find(h, name) >= 0)
        return header_require(h, name, COLUMN_F32, per, stream_reader_name(g->in.reader), e);
    return header_add_column(h, name, COLUMN_F32, per, e);
}

static int find_columns(struct gainer *g, const char *name, struct err *e)
{
    const struct stream_header *h = &g->scored.header;
    const char *where = stream_reader_name(g->scored.reader);
    char logp[300];
    if ((size_t)snprintf(logp, sizeof logp, "logp:%s", name) >= sizeof logp)
        return err_set(e, STATUS_USAGE, "a name of more than %zu bytes", sizeof logp - 6);
    if ((g->from.mask = header_require(h, "mask", COLUMN_U8, PER_TOKEN, where, e)) < 0 ||
        (g->from.logp = header_require(h, logp, COLUMN_F32, PER_TOKEN, where, e)) < 0 ||
        (g->from.record = header_require(h, "record", COLUMN_STRING, PER_SEQUENCE, where, e)) < 0 ||
        (g->from.steps = header_require(h, "steps", COLUMN_U32, PER_SEQUENCE, where, e)) < 0 ||
        (g->from.taken = header_require(h, "taken", COLUMN_U32, PER_SEQUENCE, where, e)) < 0)
        return -1;
    if ((g->mask = header_require(&g->in.header, "mask", COLUMN_U8, PER_TOKEN,
                                  stream_reader_name(g->in.reader), e)) < 0 ||
        (g->reward = output_column(g, "reward", PER_TOKEN, e)) < 0 ||
        (g->watermark = output_column(g, "watermark", PER_TOKEN, e)) < 0 ||
        (g->gain = output_column(g, "gain", PER_SEQUENCE, e)) < 0)
        return -1;
    return 0;
}

static int next_scored(struct gainer *g, struct err *e)
{
    g->at++;
    while (g->more > 0 && (!g->scored.have_frame || g->at >= g->scored.frame.n_sequences)) {
        g->more = filter_next(&g->scored, e);
        g->at = 0;
    }
    return g->more < 0 ? -1 : 0;
}

// Is the next scored record made of sequence i, with so many steps?
static int matches(const struct gainer *g, size_t i, size_t steps)
{
    const struct frame *s = &g->scored.frame;
    size_t n, m;
    if (!g->more || s->column[g->from.steps].u32[g->at] != steps)
        return 0;
    const char *id = frame_string(&g->in.frame, COLUMN_ID, i, &n);
    const char *record = frame_string(s, g->from.record, g->at, &m);
    return same_text(id, n, record, m);
}

// Mean log-probability of the answer in the next scored record.
static int mean_logp(const struct gainer *g, double *mean, struct err *e)
{
    const struct frame *s = &g->scored.frame;
    double sum = 0;
    size_t n = 0;
    for (size_t t = s->start[g->at]; t < s->start[g->at + 1]; t++)
        if (s->column[g->from.mask].u8[t]) {
            sum += (double)s->column[g->from.logp].f32[t];
            n++;
        }
    *mean = n ? sum / (double)n : NAN;
    if (isfinite(*mean))
        return 0;
    err_set(e, STATUS_FAILED, "the answer has no log-probability in `%s`",
            g->scored.header.column[g->from.logp].name);
    return fail_at(&g->scored, s, g->at, e);
}

// Where the next scored record's step ends in sequence i: one more than its token's index.
static int take_place(const struct gainer *g, size_t i, size_t *taken, struct err *e)
{
    const struct frame *s = &g->scored.frame, *f = &g->in.frame;
    const uint32_t *a = f->column[COLUMN_TOKEN].u32 + f->start[i];
    const uint32_t *b = s->column[COLUMN_TOKEN].u32 + s->start[g->at];
    *taken = s->column[g->from.taken].u32[g->at];
    if (*taken <= frame_length(f, i) && *taken <= frame_length(s, g->at) &&
        (!*taken || memcmp(a, b, *taken * sizeof *a) == 0))
        return 0;
    err_set(e, STATUS_STREAM, "its tokens are not those of the record it was made of");
    return fail_at(&g->scored, s, g->at, e);
}

static int gain_steps(struct gainer *g, size_t i, struct err *e)
{
    struct frame *f = &g->in.frame;
    double highest, sum = 0;
    size_t taken, steps = 0;
    if (mean_logp(g, &highest, e) < 0 || take_place(g, i, &taken, e) < 0 || next_scored(g, e) < 0)
        return -1;
    while (matches(g, i, steps + 1)) {
        double l;
        if (mean_logp(g, &l, e) < 0 || take_place(g, i, &taken, e) < 0)
            return -1;
        size_t k = f->start[i] + taken - 1;
        if (!taken || !f->column[g->mask].u8[k]) {
            err_set(e, STATUS_STREAM, "its last step ends with a token that is not trained");
            return fail_at(&g->scored, &g->scored.frame, g->at, e);
        }
        double gain = l > highest ? l - highest : 0;
        highest = l > highest ? l : highest;
        f->column[g->reward].f32[k] = (float)gain;
        f->column[g->watermark].f32[k] = (float)highest;
        sum += gain;
        steps++;
        if (next_scored(g, e) < 0)
            return -1;
    }
    f->column[g->gain].f32[i] = (float)sum;
    g->stats->steps += steps;
    g->stats->without += steps == 0;
    return 0;
}

static int gain_record(struct gainer *g, size_t i, struct err *e)
{
    struct frame *f = &g->in.frame;
    const uint8_t *mask = f->column[g->mask].u8;
    size_t trained = 0;
    for (size_t k = f->start[i]; k < f->start[i + 1]; k++) {
        f->column[g->reward].f32[k] = mask[k] ? 0 : NAN;
        f->column[g->watermark].f32[k] = NAN;
        trained += mask[k] != 0;
    }
    f->column[g->gain].f32[i] = NAN;
    g->stats->records++;
    if (!trained)
        return 0;
    if (matches(g, i, 0))
        return gain_steps(g, i, e);
    err_set(e, STATUS_STREAM, "it is not what comes next in %s",
            stream_reader_name(g->scored.reader));
    return fail_at(&g->in, f, i, e);
}

static int gain_all(struct gainer *g, struct err *e)
{
    int more;
    g->more = 1;
    if (next_scored(g, e) < 0)
        return -1;
    while ((more = filter_next(&g->in, e)) > 0) {
        for (size_t i = 0; i < g->in.frame.n_sequences; i++)
            if (gain_record(g, i, e) < 0)
                return -1;
        if (filter_write(&g->in, e) < 0)
            return -1;
    }
    if (more < 0)
        return -1;
    if (g->more) {
        err_set(e, STATUS_STREAM, "%s has no record that it was made of",
                stream_reader_name(g->in.reader));
        return fail_at(&g->scored, &g->scored.frame, g->at, e);
    }
    return filter_end(&g->in, e);
}

int steps_gain(const char *input, const char *scored, const char *name, const char *output,
               const struct provenance *line, struct steps_stats *stats, struct err *e)
{
    struct gainer g;
    memset(&g, 0, sizeof g);
    memset(stats, 0, sizeof *stats);
    g.stats = stats;
    int result = filter_open(&g.in, input, e);
    if (result == 0)
        result = filter_open(&g.scored, scored, e);
    if (result == 0)
        result = find_columns(&g, name, e);
    if (result == 0)
        result = header_add_lines(&g.in.header, &g.scored.header, e);
    if (result == 0)
        result = filter_provenance(&g.in, line, e);
    if (result == 0)
        result = filter_start(&g.in, output, e);
    if (result == 0)
        result = gain_all(&g, e);
    filter_release(&g.in);
    filter_release(&g.scored);
    return result;
}
