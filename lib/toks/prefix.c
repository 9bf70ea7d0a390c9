// SPDX-License-Identifier: MIT
#include "toks/prefix.h"
#include "base/rng.h"
#include "stream/parts.h"
#include "stream/reread.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { RNG_PREFIX = 2 }; // after the uses of pick.c, with whom it shares RNG_RECORDS

struct prefixer {
    const struct prefix *p;
    struct reread in;
    int mask;
    struct stream_header header;
    struct frame frame; // one record of the output
    struct {
        int from, to; // sequence columns that are kept
    } * kept;
    size_t n_kept;
    int group, prefix;
    struct stream_writer *writer;
    struct buffer name;
    uint64_t steps, number; // number: of the group
    struct prefix_stats *stats;
};

static double lower_bound(const struct prefix *p, uint64_t step, uint64_t steps)
{
    if (steps < 2)
        return p->high;
    double share = (double)step / (double)(steps - 1);
    return p->low + (p->high - p->low) * (1 + cos(M_PI * share)) / 2;
}

static int describe(struct prefixer *r, const struct provenance *line, struct err *e)
{
    const struct stream_header *in = &r->in.pass.header;
    struct stream_header *h = &r->header;
    r->mask =
        header_require(in, "mask", COLUMN_U8, PER_TOKEN, stream_reader_name(r->in.pass.reader), e);
    if (r->mask < 0 || header_init(h, e) < 0)
        return -1;
    if (in->tokenizer && !(h->tokenizer = strdup(in->tokenizer)))
        return err_memory(e, 24, "a header");
    h->vocab_size = in->vocab_size;
    h->level = in->level;
    json_decref(h->provenance);
    h->provenance = json_deep_copy(in->provenance);
    r->kept = mem_alloc(in->n_columns, sizeof *r->kept, "columns", e);
    if (!r->kept ||
        (r->group = header_add_column(h, "group", COLUMN_STRING, PER_SEQUENCE, e)) < 0 ||
        (r->prefix = header_add_column(h, "prefix", COLUMN_U32, PER_SEQUENCE, e)) < 0)
        return -1;
    for (size_t i = COLUMN_TOKEN + 1; i < in->n_columns; i++) {
        const struct column *c = &in->column[i];
        // The steps of these demonstrations are not those of the samples to come.
        if (c->per != PER_SEQUENCE || !strcmp(c->name, "step") || header_find(h, c->name) >= 0)
            continue;
        r->kept[r->n_kept].from = (int)i;
        r->kept[r->n_kept].to = header_add_column(h, c->name, c->type, PER_SEQUENCE, e);
        if (r->kept[r->n_kept++].to < 0)
            return -1;
    }
    return header_add_provenance(h, line->program, line->argc, line->argv, line->seed, NULL, e);
}

static int copy_kept(struct prefixer *r, const struct frame *f, size_t i, struct err *e)
{
    for (size_t k = 0; k < r->n_kept; k++) {
        const struct column_data *from = &f->column[r->kept[k].from];
        struct column_data *to = &r->frame.column[r->kept[k].to];
        enum column_type type = r->header.column[r->kept[k].to].type;
        size_t size = column_type_size(type);
        if (type != COLUMN_STRING) {
            memcpy(to->u8, from->u8 + i * size, size);
            continue;
        }
        const char *text = frame_string(f, r->kept[k].from, i, &size);
        if (frame_set_string(&r->frame, r->kept[k].to, text, size, e) < 0)
            return -1;
    }
    return 0;
}

// The first `n` tokens of sequence i, of which `prefix` follow the prompt, as number `k` of the
// group whose name is in r->name.
static int write_prompt(struct prefixer *r, const struct frame *f, size_t i, size_t n,
                        size_t prefix, uint64_t k, struct err *e)
{
    struct frame *o = &r->frame;
    char text[32];
    frame_clear(o);
    if (frame_add(o, n, e) < 0)
        return -1;
    if (n)
        memcpy(o->column[COLUMN_TOKEN].u32, f->column[COLUMN_TOKEN].u32 + f->start[i],
               n * sizeof(uint32_t));
    o->column[r->prefix].u32[0] = (uint32_t)prefix;
    size_t size = r->name.size;
    int more = snprintf(text, sizeof text, "~%" PRIu64, k);
    int result = frame_set_string(o, r->group, r->name.data, size, e);
    if (result == 0)
        result = buffer_append(&r->name, text, (size_t)more, e);
    if (result == 0)
        result = frame_set_string(o, COLUMN_ID, r->name.data, r->name.size, e);
    r->name.size = size;
    if (result < 0 || copy_kept(r, f, i, e) < 0)
        return -1;
    r->stats->prompts++;
    return stream_writer_add(r->writer, o, 0, e);
}

static int refuse_empty(const struct prefixer *r, const struct frame *f, size_t i, struct err *e)
{
    return err_set(e, STATUS_FAILED, "%s: %s has no trained tokens to begin with",
                   stream_reader_name(r->in.pass.reader), frame_record(f, i).text);
}

// One group of demonstration i.
static int write_group(struct prefixer *r, const struct frame *f, size_t i, uint64_t round,
                       struct err *e)
{
    const struct prefix *p = r->p;
    const uint8_t *mask = f->column[r->mask].u8 + f->start[i];
    size_t end = frame_length(f, i), begin = 0, size;
    const char *id = frame_string(f, COLUMN_ID, i, &size);
    char text[32] = "";
    struct rng random;
    while (end && !mask[end - 1])
        end--;
    if (!end)
        return refuse_empty(r, f, i, e);
    while (!mask[begin])
        begin++;
    if (round)
        snprintf(text, sizeof text, ".%" PRIu64, round);
    buffer_clear(&r->name);
    if (buffer_append(&r->name, id, size, e) < 0 ||
        buffer_append(&r->name, text, strlen(text), e) < 0)
        return -1;
    rng_init(&random, p->seed, RNG_RECORDS, RNG_PREFIX, (uint32_t)r->number);
    double low = lower_bound(p, r->number / p->batch, r->steps);
    for (uint64_t k = 0; k < p->group; k++) {
        size_t prefix = 0;
        if (k >= p->group - p->prefixed) {
            double l = low + (p->high - low) * rng_uniform(&random);
            prefix = (size_t)(l * (double)(end - begin));
        }
        if (write_prompt(r, f, i, begin + prefix, prefix, k, e) < 0)
            return -1;
    }
    r->number++;
    return 0;
}

static int read_all(struct prefixer *r, struct err *e)
{
    struct frame *f;
    int more;
    while ((more = reread_next(&r->in, &f, e)) > 0)
        r->stats->demonstrations += f->n_sequences;
    return more;
}

static int write_all(struct prefixer *r, struct err *e)
{
    uint64_t n = r->stats->demonstrations;
    r->steps = r->p->steps ? r->p->steps : (n + r->p->batch - 1) / r->p->batch;
    uint64_t groups = r->p->steps ? r->p->steps * r->p->batch : n;
    if (!n && groups)
        return err_set(e, STATUS_FAILED, "%s: no demonstrations",
                       stream_reader_name(r->in.pass.reader));
    for (uint64_t round = 0; r->number < groups; round++)
        for (size_t j = 0; j < r->in.pass.n_held; j++) {
            const struct frame *f = r->in.pass.held[j];
            for (size_t i = 0; i < f->n_sequences && r->number < groups; i++)
                if (write_group(r, f, i, round, e) < 0)
                    return -1;
        }
    r->stats->steps = r->steps;
    r->stats->groups = groups;
    struct stream_writer *w = r->writer;
    r->writer = NULL;
    return stream_writer_end(w, e);
}

int prefix_run(const struct prefix *p, const char *input, const char *output,
               const struct provenance *line, struct prefix_stats *stats, struct err *e)
{
    struct prefixer r;
    memset(&r, 0, sizeof r);
    memset(stats, 0, sizeof *stats);
    r.p = p;
    r.stats = stats;
    buffer_init(&r.name, 0);
    int result = reread_open(&r.in, input, 1, e);
    if (result == 0)
        result = describe(&r, line, e);
    if (result == 0)
        result = frame_init(&r.frame, &r.header, e);
    if (result == 0)
        result = read_all(&r, e);
    if (result == 0)
        result = (r.writer = stream_writer_open(output, &r.header, e)) ? 0 : -1;
    if (result == 0)
        result = write_all(&r, e);
    stream_writer_abort(r.writer);
    frame_release(&r.frame);
    if (r.header.column)
        header_release(&r.header);
    reread_release(&r.in);
    buffer_release(&r.name);
    free(r.kept);
    return result;
}
