// SPDX-License-Identifier: MIT
#include "train/dataset.h"
#include "infer/long_record.h"
#include "base/hash.h"
#include "base/rng.h"
#include "infer/record_sequence.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static int find_reference(struct loss *loss, const struct stream_header *h, const char *where,
                          struct err *e)
{
    static const char prefix[] = LOSS_REFERENCE;
    const char *only = NULL;
    if (!loss_needs_reference(loss) || loss->frozen_self || loss->reference[0])
        return 0;
    for (size_t i = 0; i < h->n_columns; i++) {
        const char *name = h->column[i].name;
        // What the sampler writes is of samples alone.
        if (strncmp(name, prefix, sizeof prefix - 1) || !strcmp(name, "logp:rollout") ||
            !strcmp(name, "logp:sampled"))
            continue;
        if (only)
            return err_set(e, STATUS_USAGE,
                           "%s: `%s` or `%s`? --reference NAME tells which is the frozen model's",
                           where, only, name);
        only = name;
    }
    if (!only)
        return err_set(e, STATUS_STREAM,
                       "%s: no column logp:NAME of a frozen model: logprob --as NAME adds one",
                       where);
    return loss_set_reference(loss, only + sizeof prefix - 1, e);
}

static int add_column(struct token_columns *c, const char *name, const struct stream_header *h,
                      const char *where, struct err *e)
{
    assert(c->n < LOSS_COLUMNS_MAX);
    c->name[c->n] = name;
    c->index[c->n] = header_require(h, name, COLUMN_F32, PER_TOKEN, where, e);
    return c->index[c->n++] < 0 ? -1 : 0;
}

int token_columns_find(struct token_columns *c, struct loss *loss, const struct stream_header *h,
                       const char *where, struct err *e)
{
    c->n = 0;
    c->mask = header_require(h, "mask", COLUMN_U8, PER_TOKEN, where, e);
    if (c->mask < 0 || (loss && find_reference(loss, h, where, e) < 0))
        return -1;
    for (size_t i = 0; loss && i < loss->n_columns; i++)
        if (add_column(c, loss_column(loss, i), h, where, e) < 0)
            return -1;
    return 0;
}

int token_columns_check(const struct token_columns *c, const struct frame *f, size_t i,
                        size_t vocab, size_t positions, const char *where, struct err *e)
{
    size_t n = frame_length(f, i);
    if (n > positions + 1) {
        long_record_refuse(n, positions, e);
        return err_prefix(e, "%s: %s", where, frame_record(f, i).text);
    }
    if (batch_check_tokens(f->column[COLUMN_TOKEN].u32 + f->start[i], n, vocab, e) < 0)
        return err_prefix(e, "%s: %s", where, frame_record(f, i).text);
    const uint8_t *trained = f->column[c->mask].u8 + f->start[i];
    for (size_t k = 0; k < c->n; k++) {
        const float *value = f->column[c->index[k]].f32 + f->start[i];
        for (size_t t = 1; t < n; t++)
            if (trained[t] && !isfinite(value[t]))
                return err_set(e, STATUS_STREAM, "%s: %s: %s is %s at trained token %zu", where,
                               frame_record(f, i).text, c->name[k],
                               isnan(value[t]) ? "null" : "infinite", t);
    }
    return 0;
}

struct trainer_example token_columns_example(const struct token_columns *c, const struct frame *f,
                                             size_t i)
{
    size_t at = f->start[i];
    struct trainer_example x = {.sequence = record_sequence(f, c->mask, i), .record = i};
    for (size_t k = 0; k < c->n; k++)
        x.column[k] = f->column[c->index[k]].f32 + at;
    return x;
}

// What the dataset keeps: where it stands in the stream, and in the dataset's own frame.
struct dataset_source {
    const struct dataset_wish *wish;
    struct token_columns columns, own;
    int text[DATASET_TEXTS_MAX];
};

static int find_columns(struct dataset *d, const struct stream_header *h, const char *where,
                        struct dataset_source *source, struct err *e)
{
    const struct dataset_wish *wish = source->wish;
    struct token_columns *c = &source->columns, *own = &source->own;
    if (token_columns_find(c, wish->loss, h, where, e) < 0 ||
        (wish->column && add_column(c, wish->column, h, where, e) < 0) ||
        header_init(&d->header, e) < 0 ||
        (own->mask = header_add_column(&d->header, "mask", COLUMN_U8, PER_TOKEN, e)) < 0)
        return -1;
    for (; own->n < c->n; own->n++) {
        own->name[own->n] = c->name[own->n];
        own->index[own->n] =
            header_add_column(&d->header, c->name[own->n], COLUMN_F32, PER_TOKEN, e);
        if (own->index[own->n] < 0)
            return -1;
    }
    d->first_text = d->header.n_columns;
    for (size_t i = 0; i < wish->n_text; i++) {
        const char *name = wish->text[i];
        source->text[i] = header_require(h, name, COLUMN_STRING, PER_SEQUENCE, where, e);
        if (source->text[i] < 0 ||
            header_add_column(&d->header, name, COLUMN_STRING, PER_SEQUENCE, e) < 0)
            return -1;
    }
    return frame_init(&d->all, &d->header, e);
}

static int keep_record(struct dataset *d, const struct frame *f, size_t i,
                       const struct dataset_source *source, struct err *e)
{
    const struct token_columns *c = &source->columns, *own = &source->own;
    struct trainer_example x = token_columns_example(c, f, i);
    size_t n = x.sequence.n;
    if (!sequence_wanted(&x.sequence)) {
        d->untrained++;
        if (!source->wish->n_text)
            return 0;
    }
    int64_t at = frame_add(&d->all, n, e);
    if (at < 0)
        return -1;
    size_t to = d->all.start[at], size;
    const char *id = frame_string(f, COLUMN_ID, i, &size);
    memcpy(d->all.column[COLUMN_TOKEN].u32 + to, x.sequence.token, n * sizeof *x.sequence.token);
    memcpy(d->all.column[own->mask].u8 + to, x.sequence.mask, n);
    for (size_t k = 0; k < c->n; k++)
        memcpy(d->all.column[own->index[k]].f32 + to, x.column[k], n * sizeof(float));
    for (size_t k = 0; k < source->wish->n_text; k++) {
        size_t length;
        const char *text = frame_string(f, source->text[k], i, &length);
        if (frame_set_string(&d->all, (int)(d->first_text + k), text, length, e) < 0)
            return -1;
    }
    return frame_set_string(&d->all, COLUMN_ID, id, size, e);
}

static int read_all(struct dataset *d, struct stream_reader *r, const struct dataset_source *source,
                    struct err *e)
{
    const struct dataset_wish *wish = source->wish;
    struct stream_header header;
    struct frame f;
    if (header_copy(&header, stream_reader_header(r), e) < 0)
        return -1;
    if (frame_init(&f, &header, e) < 0) {
        header_release(&header);
        return -1;
    }
    int more = 1;
    while (more > 0 && (more = stream_reader_next(r, &f, e)) > 0)
        for (size_t i = 0; i < f.n_sequences && more > 0; i++)
            if (token_columns_check(&source->columns, &f, i, wish->vocab, wish->positions,
                                    stream_reader_name(r), e) < 0 ||
                keep_record(d, &f, i, source, e) < 0)
                more = -1;
            else if (wish->model)
                long_record_warn(wish->model, frame_length(&f, i), stream_reader_name(r),
                                 frame_record(&f, i).text);
    frame_release(&f);
    header_release(&header);
    return more;
}

static int make_examples(struct dataset *d, const struct token_columns *own, struct err *e)
{
    const struct frame *f = &d->all;
    d->n = f->n_sequences;
    d->example = mem_alloc(d->n, sizeof *d->example, "examples", e);
    if (!d->example)
        return -1;
    for (size_t i = 0; i < d->n; i++)
        d->example[i] = token_columns_example(own, f, i);
    d->fingerprint = hash_bytes(f->column[COLUMN_TOKEN].u32, f->n_tokens * sizeof(uint32_t)) ^
                     hash_bytes(f->column[own->mask].u8, f->n_tokens);
    for (size_t k = 0; k < own->n; k++)
        d->fingerprint = 31 * d->fingerprint +
                         hash_bytes(f->column[own->index[k]].f32, f->n_tokens * sizeof(float));
    return 0;
}

int dataset_read(struct dataset *d, const char *path, const struct dataset_wish *wish,
                 struct err *e)
{
    assert(wish->n_text <= DATASET_TEXTS_MAX);
    memset(d, 0, sizeof *d);
    struct stream_reader *r = stream_reader_open(path, e);
    if (!r)
        return -1;
    struct dataset_source source = {.wish = wish};
    const char *where = stream_reader_name(r);
    int result = find_columns(d, stream_reader_header(r), where, &source, e);
    if (result == 0)
        result = read_all(d, r, &source, e);
    if (result == 0 && d->all.n_sequences == (wish->n_text ? d->untrained : 0))
        result = err_set(e, STATUS_FAILED,
                         "%s: nothing to train: none of %zu records has a trained token", where,
                         d->untrained);
    if (result == 0)
        result = header_copy(&d->stream, stream_reader_header(r), e);
    if (result == 0)
        result = make_examples(d, &source.own, e);
    stream_reader_close(r);
    return result;
}

void dataset_release(struct dataset *d)
{
    free(d->example);
    frame_release(&d->all);
    header_release(&d->header);
    header_release(&d->stream);
    memset(d, 0, sizeof *d);
}

void index_order(size_t *order, size_t n, int shuffle, uint64_t seed, uint64_t epoch)
{
    for (size_t i = 0; i < n; i++)
        order[i] = i;
    if (!shuffle)
        return;
    struct rng rng;
    rng_init(&rng, seed, RNG_SHUFFLE, epoch, 0);
    for (size_t i = n; i > 1; i--) {
        size_t k = rng_below(&rng, i), swap = order[i - 1];
        order[i - 1] = order[k];
        order[k] = swap;
    }
}
