// SPDX-License-Identifier: MIT
#include "toks/pair.h"
#include "base/intern.h"
#include "stream/parts.h"
#include "stream/reread.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

// Where a demonstration is kept.
struct demo_place {
    const struct frame *frame;
    size_t i;
    int used;
};

// Where a column of the output comes from; -1: that side has it not.
struct origin {
    int demo, sample;
    int shared; // both records of a pair have the sample's value
};

struct pairer {
    struct reread demos;
    struct intern ids; // of the demonstrations: the n-th is at place[n]
    struct demo_place *place;
    size_t n_places, capacity;
    int demo_mask;                // column of the demonstrations
    struct stream_filter samples; // its header is the input's; the output has another
    int prompt;                   // column of the samples
    struct stream_header header;
    struct frame frame; // of the output
    struct stream_writer *writer;
    struct origin *origin; // [header.n_columns]
    int pair, role;        // columns of the output
    struct buffer id;
    uint64_t n_pairs;
};

// ---- demonstrations

static int keep_frame(struct pairer *p, const struct frame *f, struct err *e)
{
    if (MEM_GROW(p->place, p->capacity, p->n_places + f->n_sequences, "demonstrations", e) < 0)
        return -1;
    for (size_t i = 0; i < f->n_sequences; i++) {
        size_t size;
        const char *id = frame_string(f, COLUMN_ID, i, &size);
        int64_t number = intern_number(&p->ids, id, size, e);
        if (number < 0)
            return -1;
        if ((size_t)number < p->n_places)
            return err_set(e, STATUS_STREAM, "%s: %s: a second one with this id",
                           stream_reader_name(p->demos.pass.reader), frame_record(f, i).text);
        p->place[p->n_places++] = (struct demo_place){NULL, i, 0};
    }
    return 0;
}

static int read_demos(struct pairer *p, struct err *e)
{
    struct frame *f;
    int more;
    while ((more = reread_next(&p->demos, &f, e)) > 0)
        if (keep_frame(p, f, e) < 0)
            return -1;
    if (more < 0)
        return -1;
    // The frames stay where they are from here on.
    size_t n = 0;
    for (size_t k = 0; k < p->demos.pass.n_held; k++)
        for (size_t i = 0; i < p->demos.pass.held[k]->n_sequences; i++)
            p->place[n++].frame = p->demos.pass.held[k];
    return 0;
}

// ---- columns

static int clash(const struct pairer *p, const char *name, struct err *e)
{
    const struct stream_header *a = &p->samples.header, *b = &p->demos.pass.header;
    const struct column *x = &a->column[header_find(a, name)];
    const struct column *y = &b->column[header_find(b, name)];
    return err_set(e, STATUS_STREAM, "%s: column `%s` is %s per %s here and %s per %s in %s",
                   stream_reader_name(p->samples.reader), name, column_type_name(x->type),
                   column_per_name(x->per), column_type_name(y->type), column_per_name(y->per),
                   stream_reader_name(p->demos.pass.reader));
}

// The columns that one side gives the output: all f32, and others that the other side has too.
static int add_side(struct pairer *p, const struct stream_header *side,
                    const struct stream_header *other, struct err *e)
{
    for (size_t i = 0; i < side->n_columns; i++) {
        const struct column *c = &side->column[i];
        if (header_find(&p->header, c->name) >= 0)
            continue;
        int k = header_find(other, c->name);
        const struct column *o = k < 0 ? NULL : &other->column[k];
        int same = o && o->type == c->type && o->per == c->per;
        if (o && !same && (c->type == COLUMN_F32 || o->type == COLUMN_F32))
            return clash(p, c->name, e);
        if ((same || c->type == COLUMN_F32) &&
            header_add_column(&p->header, c->name, c->type, c->per, e) < 0)
            return -1;
    }
    return 0;
}

// Columns that both records of a pair have from the sample: `step` cuts frames.
static int add_batch_column(struct pairer *p, const char *name, struct err *e)
{
    const struct stream_header *h = &p->samples.header;
    int i = header_find(h, name);
    if (i < 0 || h->column[i].type != COLUMN_U32 || h->column[i].per != PER_SEQUENCE)
        return 0;
    return header_add_column(&p->header, name, COLUMN_U32, PER_SEQUENCE, e);
}

static int add_columns(struct pairer *p, struct err *e)
{
    struct stream_header *h = &p->header;
    if (header_add_column(h, "mask", COLUMN_U8, PER_TOKEN, e) < 0 ||
        (p->pair = header_add_column(h, "pair", COLUMN_STRING, PER_SEQUENCE, e)) < 0 ||
        (p->role = header_add_column(h, "role", COLUMN_STRING, PER_SEQUENCE, e)) < 0 ||
        header_add_column(h, "prompt", COLUMN_STRING, PER_SEQUENCE, e) < 0 ||
        add_batch_column(p, "generation", e) < 0 || add_batch_column(p, "step", e) < 0 ||
        add_side(p, &p->samples.header, &p->demos.pass.header, e) < 0)
        return -1;
    return add_side(p, &p->demos.pass.header, &p->samples.header, e);
}

static int is_any(const char *name, const char *const *names)
{
    for (; *names; names++)
        if (!strcmp(name, *names))
            return 1;
    return 0;
}

static int find_origins(struct pairer *p, struct err *e)
{
    static const char *const own[] = {"id", "pair", "role", NULL};
    static const char *const batch[] = {"prompt", "generation", "step", NULL};
    p->origin = mem_alloc(p->header.n_columns, sizeof *p->origin, "columns", e);
    if (!p->origin)
        return -1;
    for (size_t i = 0; i < p->header.n_columns; i++) {
        const char *name = p->header.column[i].name;
        struct origin *o = &p->origin[i];
        *o = (struct origin){-1, -1, 0};
        if (is_any(name, own))
            continue;
        o->sample = header_find(&p->samples.header, name);
        o->demo = header_find(&p->demos.pass.header, name);
        o->shared = is_any(name, batch);
    }
    return 0;
}

static int unite_vocabularies(struct pairer *p, struct err *e)
{
    struct stream_header *h = &p->header;
    const struct stream_header *demos = &p->demos.pass.header;
    if (header_check_tokenizer(demos, h->tokenizer, stream_reader_name(p->demos.pass.reader), e) <
        0)
        return -1;
    // A model's embedding often has rows beyond its tokenizer's ids, and sometimes fewer.
    if (h->vocab_size < 0 || (demos->vocab_size >= 0 && h->vocab_size < demos->vocab_size))
        h->vocab_size = demos->vocab_size;
    if (!h->tokenizer && demos->tokenizer && !(h->tokenizer = strdup(demos->tokenizer)))
        return err_memory(e, strlen(demos->tokenizer), "a fingerprint");
    return 0;
}

static int make_header(struct pairer *p, const struct provenance *line, struct err *e)
{
    const char *demos = stream_reader_name(p->demos.pass.reader);
    const char *samples = stream_reader_name(p->samples.reader);
    const struct stream_header *in = &p->samples.header;
    p->demo_mask = header_require(&p->demos.pass.header, "mask", COLUMN_U8, PER_TOKEN, demos, e);
    p->prompt = header_require(in, "prompt", COLUMN_STRING, PER_SEQUENCE, samples, e);
    if (p->demo_mask < 0 || p->prompt < 0 ||
        header_require(in, "mask", COLUMN_U8, PER_TOKEN, samples, e) < 0 ||
        header_copy(&p->header, in, e) < 0)
        return -1;
    while (p->header.n_columns > COLUMN_TOKEN + 1)
        header_remove_column(&p->header, (int)p->header.n_columns - 1);
    if (unite_vocabularies(p, e) < 0 || add_columns(p, e) < 0 || find_origins(p, e) < 0 ||
        header_add_lines(&p->header, &p->demos.pass.header, e) < 0)
        return -1;
    return header_add_provenance(&p->header, line->program, line->argc, line->argv, line->seed,
                                 NULL, e);
}

// ---- pairs

static int sample_fails(const struct pairer *p, size_t i, struct err *e)
{
    return err_prefix(e, "%s: %s", stream_reader_name(p->samples.reader),
                      frame_record(&p->samples.frame, i).text);
}

static struct demo_place *demo_of(struct pairer *p, size_t i, struct err *e)
{
    size_t size;
    const char *id = frame_string(&p->samples.frame, p->prompt, i, &size);
    int64_t number = intern_number(&p->ids, id, size, e);
    if (number >= 0 && (size_t)number < p->n_places)
        return &p->place[number];
    if (number >= 0)
        err_set(e, STATUS_STREAM, "no demonstration in %s has the id of its prompt, `%s`",
                stream_reader_name(p->demos.pass.reader), shown(id, size).text);
    return NULL;
}

// The sample must begin with the tokens that come before the demonstration's trained ones.
static int check_prompt(const struct pairer *p, const struct demo_place *demo, size_t i,
                        struct err *e)
{
    const struct frame *a = demo->frame, *b = &p->samples.frame;
    const uint8_t *mask = a->column[p->demo_mask].u8 + a->start[demo->i];
    const uint32_t *x = a->column[COLUMN_TOKEN].u32 + a->start[demo->i];
    const uint32_t *y = b->column[COLUMN_TOKEN].u32 + b->start[i];
    size_t n = frame_length(a, demo->i), m = frame_length(b, i), k = 0;
    while (k < n && !mask[k] && k < m && x[k] == y[k])
        k++;
    if (k == n || mask[k])
        return 0;
    return err_set(e, STATUS_STREAM,
                   "token %zu is not that of the prompt of demonstration `%s` in %s: is it the "
                   "file whose prompts were answered?",
                   k + 1, frame_shown(a, COLUMN_ID, demo->i).text,
                   stream_reader_name(p->demos.pass.reader));
}

// Appends one record of a pair.
static int add_record(struct pairer *p, const struct demo_place *demo, size_t i, const char *role,
                      const char *id, size_t id_size, struct err *e)
{
    struct frame *f = &p->frame;
    const struct frame *sample = &p->samples.frame;
    size_t length = demo ? frame_length(demo->frame, demo->i) : frame_length(sample, i), size;
    int64_t at = frame_add(f, length, e);
    if (at < 0)
        return -1;
    for (size_t c = 0; c < p->header.n_columns; c++) {
        const struct origin *o = &p->origin[c];
        int result = 0;
        if (!demo || o->shared)
            result = o->sample < 0
                         ? 0
                         : frame_copy_values(f, (int)c, (size_t)at, sample, o->sample, i, e);
        else if (o->demo >= 0)
            result = frame_copy_values(f, (int)c, (size_t)at, demo->frame, o->demo, demo->i, e);
        if (result < 0)
            return -1;
    }
    const char *pair = frame_string(sample, COLUMN_ID, i, &size);
    if (frame_set_string(f, COLUMN_ID, id, id_size, e) < 0 ||
        frame_set_string(f, p->pair, pair, size, e) < 0)
        return -1;
    return frame_set_string(f, p->role, role, strlen(role), e);
}

static int add_pair(struct pairer *p, size_t i, struct err *e)
{
    static const char suffix[] = "/demo";
    size_t size;
    const char *id = frame_string(&p->samples.frame, COLUMN_ID, i, &size);
    struct demo_place *demo = demo_of(p, i, e);
    if (!demo || check_prompt(p, demo, i, e) < 0)
        return sample_fails(p, i, e);
    demo->used = 1;
    buffer_clear(&p->id);
    if (buffer_append(&p->id, id, size, e) < 0 ||
        buffer_append(&p->id, suffix, sizeof suffix - 1, e) < 0 ||
        add_record(p, demo, i, "demo", p->id.data, p->id.size, e) < 0)
        return -1;
    p->n_pairs++;
    return add_record(p, NULL, i, "sample", id, size, e);
}

// All pairs of a frame of samples. They leave in several frames where they are many.
static int pair_frame(struct pairer *p, struct err *e)
{
    frame_clear(&p->frame);
    for (size_t i = 0; i < p->samples.frame.n_sequences; i++)
        if (add_pair(p, i, e) < 0)
            return -1;
    return stream_writer_frame(p->writer, &p->frame, e);
}

static int pair_all(struct pairer *p, struct err *e)
{
    int more;
    while ((more = filter_next(&p->samples, e)) > 0)
        if (pair_frame(p, e) < 0)
            return -1;
    if (more < 0)
        return -1;
    struct stream_writer *w = p->writer;
    p->writer = NULL;
    return stream_writer_end(w, e);
}

static void count(const struct pairer *p, pair_unpaired *unpaired, struct pair_stats *stats)
{
    *stats = (struct pair_stats){p->n_pairs, p->n_places, 0};
    for (size_t i = 0; i < p->n_places; i++) {
        size_t size;
        const char *id = frame_string(p->place[i].frame, COLUMN_ID, p->place[i].i, &size);
        stats->unpaired += !p->place[i].used;
        if (unpaired && !p->place[i].used)
            unpaired(id, size);
    }
}

static void release(struct pairer *p)
{
    stream_writer_abort(p->writer);
    if (p->frame.header)
        frame_release(&p->frame);
    header_release(&p->header);
    filter_release(&p->samples);
    reread_release(&p->demos);
    intern_release(&p->ids);
    buffer_release(&p->id);
    free(p->place);
    free(p->origin);
}

int pair_run(const char *demos, const char *samples, const char *output,
             const struct provenance *line, pair_unpaired *unpaired, struct pair_stats *stats,
             struct err *e)
{
    struct pairer p;
    memset(&p, 0, sizeof p);
    intern_init(&p.ids);
    buffer_init(&p.id, 0);
    int result = reread_open(&p.demos, demos, 1, e);
    if (result == 0)
        result = read_demos(&p, e);
    if (result == 0)
        result = filter_open(&p.samples, samples, e);
    if (result == 0)
        result = make_header(&p, line, e);
    if (result == 0)
        result = frame_init(&p.frame, &p.header, e);
    if (result == 0) {
        p.writer = stream_writer_open(output, &p.header, e);
        result = p.writer ? pair_all(&p, e) : -1;
    }
    if (result == 0)
        count(&p, unpaired, stats);
    release(&p);
    return result;
}
