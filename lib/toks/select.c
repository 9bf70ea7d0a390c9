// SPDX-License-Identifier: MIT
#include "toks/select.h"
#include "stream/maker.h"
#include "base/intern.h"
#include "base/number.h"
#include "base/rng.h"
#include "stream/parts.h"
#include "stream/reread.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { RNG_SHUF, RNG_PICK }; // two draws with one seed share nothing

int select_size_parse(const char *text, struct select_size *size)
{
    memset(size, 0, sizeof *size);
    if (text[strspn(text, "0123456789")] == 0)
        return number_to_u64(text, &size->count);
    return number_to_fraction(text, &size->fraction);
}

static uint64_t how_many(const struct select_size *size, uint64_t n)
{
    if (size->fraction <= 0)
        return size->count < n ? size->count : n;
    uint64_t k = (uint64_t)(size->fraction * (double)n + 0.5);
    k = k ? k : 1;
    return k < n ? k : n;
}

// ---- the value of a record

enum how { BY_SUM, BY_MEAN, BY_VALUE };

struct record_value {
    enum how how;
    int column, mask; // mask: column or -1 (all tokens count)
};

static int scorer_init(struct record_value *s, const char *by, const struct stream_header *h,
                       const char *where, struct err *e)
{
    const char *name = by;
    s->how = BY_VALUE;
    if (!strncmp(by, "sum:", 4))
        s->how = BY_SUM, name += 4;
    else if (!strncmp(by, "mean:", 5))
        s->how = BY_MEAN, name += 5;
    s->column = header_find(h, name);
    if (s->column < 0)
        return maker_missing(where, name, e);
    const struct column *c = &h->column[s->column];
    if (c->type == COLUMN_STRING)
        return err_set(e, STATUS_STREAM, "%s: column `%s` holds texts, not numbers", where, name);
    if ((c->per == PER_SEQUENCE) != (s->how == BY_VALUE))
        return err_set(e, STATUS_STREAM,
                       c->per == PER_TOKEN
                           ? "%s: column `%s` has a value a token: ask for sum:%s or mean:%s"
                           : "%s: column `%s` has one value a record: ask for %s alone",
                       where, name, name, name);
    s->mask = header_find(h, "mask");
    if (s->mask >= 0 &&
        (h->column[s->mask].type != COLUMN_U8 || h->column[s->mask].per != PER_TOKEN))
        s->mask = -1;
    return 0;
}

static double value_at(const struct frame *f, int column, size_t i)
{
    const struct column_data *d = &f->column[column];
    switch (f->header->column[column].type) {
    case COLUMN_U8:
        return d->u8[i];
    case COLUMN_U32:
        return d->u32[i];
    default:
        return d->f32[i];
    }
}

// NaN: no value. No model gives the first token a probability, so a null there is no gap.
static double score(const struct record_value *s, const struct frame *f, size_t sequence)
{
    if (s->how == BY_VALUE)
        return value_at(f, s->column, sequence);
    double sum = 0;
    uint64_t n = 0;
    for (size_t t = f->start[sequence]; t < f->start[sequence + 1]; t++) {
        if (s->mask >= 0 && f->column[s->mask].u8[t] != 1)
            continue;
        double x = value_at(f, s->column, t);
        if (isnan(x) && t == f->start[sequence])
            continue;
        sum += x;
        n++;
    }
    if (n == 0)
        return NAN;
    return s->how == BY_SUM ? sum : sum / (double)n;
}

// ---- which ones

struct valued_record {
    double key; // the larger the better
    size_t group, index;
};

struct selector {
    const struct selection *pick;
    struct record_value scorer;
    int per; // column or -1
    struct intern groups;
    struct rng rng;
    struct valued_record *record;
    size_t n, capacity;
    size_t *group_size; // records with and without a value
    size_t n_groups, group_capacity;
    unsigned char *chosen; // [n]
};

static int selector_init(struct selector *k, const struct selection *p,
                         const struct stream_reader *r, struct err *e)
{
    const struct stream_header *h = stream_reader_header(r);
    const char *where = stream_reader_name(r);
    memset(k, 0, sizeof *k);
    k->pick = p;
    k->per = -1;
    intern_init(&k->groups);
    rng_init(&k->rng, p->seed, RNG_RECORDS, RNG_PICK, 0);
    if (p->by && scorer_init(&k->scorer, p->by, h, where, e) < 0)
        return -1;
    if (!p->per)
        return 0;
    k->per = header_find(h, p->per);
    if (k->per < 0)
        return maker_missing(where, p->per, e);
    const struct column *c = &h->column[k->per];
    if (c->per != PER_SEQUENCE || (c->type != COLUMN_STRING && c->type != COLUMN_U32))
        return err_set(e, STATUS_STREAM, "%s: column `%s` makes no groups: it is %s per %s", where,
                       p->per, column_type_name(c->type), column_per_name(c->per));
    return 0;
}

static void selector_release(struct selector *k)
{
    intern_release(&k->groups);
    free(k->record);
    free(k->group_size);
    free(k->chosen);
}

static int64_t group_of(struct selector *k, const struct frame *f, size_t i, struct err *e)
{
    size_t size;
    if (k->per < 0)
        return 0;
    if (f->header->column[k->per].type == COLUMN_U32)
        return intern_number(&k->groups, &f->column[k->per].u32[i], sizeof(uint32_t), e);
    const char *text = frame_string(f, k->per, i, &size);
    return intern_number(&k->groups, text, size, e);
}

static double key_of(struct selector *k, const struct frame *f, size_t i)
{
    if (!k->pick->by)
        return rng_uniform(&k->rng);
    double x = score(&k->scorer, f, i);
    return k->pick->lowest ? -x : x;
}

static int add_record(struct selector *k, const struct frame *f, size_t i, struct err *e)
{
    int64_t group = group_of(k, f, i, e);
    if (group < 0 || MEM_GROW(k->record, k->capacity, k->n + 1, "records", e) < 0 ||
        MEM_GROW(k->group_size, k->group_capacity, (size_t)group + 1, "groups", e) < 0)
        return -1;
    while (k->n_groups <= (size_t)group)
        k->group_size[k->n_groups++] = 0;
    k->group_size[group]++;
    k->record[k->n] = (struct valued_record){key_of(k, f, i), (size_t)group, k->n};
    k->n++;
    return 0;
}

static int compare(const void *a, const void *b)
{
    const struct valued_record *x = a, *y = b;
    if (x->group != y->group)
        return x->group < y->group ? -1 : 1;
    if (isnan(x->key) != isnan(y->key))
        return isnan(x->key) ? 1 : -1;
    if (x->key != y->key && !isnan(x->key))
        return x->key > y->key ? -1 : 1;
    return x->index < y->index ? -1 : 1;
}

static int choose(struct selector *k, struct selection_stats *stats, struct err *e)
{
    memset(stats, 0, sizeof *stats);
    k->chosen = mem_alloc(k->n, 1, "records", e);
    if (!k->chosen)
        return -1;
    if (k->n)
        qsort(k->record, k->n, sizeof *k->record, compare);
    uint64_t left = 0;
    for (size_t i = 0; i < k->n; i++) {
        const struct valued_record *r = &k->record[i];
        if (i == 0 || r->group != k->record[i - 1].group)
            left = how_many(&k->pick->size, k->group_size[r->group]);
        stats->null += isnan(r->key) != 0;
        if (left == 0 || isnan(r->key))
            continue;
        left--;
        k->chosen[r->index] = 1;
        stats->out++;
    }
    stats->in = k->n;
    return 0;
}

static int score_all(struct selector *k, struct reread *t, struct err *e)
{
    struct frame *f;
    int more;
    while ((more = reread_next(t, &f, e)) > 0)
        for (size_t i = 0; i < f->n_sequences; i++)
            if (add_record(k, f, i, e) < 0)
                return -1;
    return more;
}

static int write_chosen(struct selector *k, struct reread *t, struct err *e)
{
    struct frame *f;
    size_t index = 0;
    int more;
    while ((more = reread_next(t, &f, e)) > 0)
        for (size_t i = 0; i < f->n_sequences; i++, index++)
            if (k->chosen[index] && stream_writer_add(t->pass.writer, f, i, e) < 0)
                return -1;
    return more < 0 ? -1 : filter_end(&t->pass, e);
}

int select_run(const struct selection *p, const char *input, const char *output,
               const struct provenance *line, struct selection_stats *stats, struct err *e)
{
    struct reread t;
    struct selector k = {0};
    int result = reread_open(&t, input, 0, e);
    if (result == 0)
        result = selector_init(&k, p, t.pass.reader, e);
    if (result == 0)
        result = filter_provenance(&t.pass, line, e);
    if (result == 0)
        result = score_all(&k, &t, e);
    if (result == 0)
        result = choose(&k, stats, e);
    if (result == 0)
        result = reread_again(&t, e);
    if (result == 0)
        result = filter_start(&t.pass, output, e);
    if (result == 0)
        result = write_chosen(&k, &t, e);
    selector_release(&k);
    reread_release(&t);
    return result;
}

// ---- shuffling

struct record_place {
    const struct frame *frame;
    size_t sequence;
};

static int write_shuffled(struct reread *t, uint64_t seed, struct err *e)
{
    struct rng r;
    struct record_place *place = mem_alloc((size_t)t->n_sequences, sizeof *place, "records", e);
    if (!place)
        return -1;
    size_t n = 0;
    for (size_t i = 0; i < t->pass.n_held; i++)
        for (size_t k = 0; k < t->pass.held[i]->n_sequences; k++)
            place[n++] = (struct record_place){t->pass.held[i], k};
    rng_init(&r, seed, RNG_RECORDS, RNG_SHUF, 0);
    for (size_t i = n; i > 1; i--) { // Fisher and Yates
        size_t k = (size_t)rng_below(&r, i);
        struct record_place swap = place[k];
        place[k] = place[i - 1];
        place[i - 1] = swap;
    }
    int result = 0;
    for (size_t i = 0; i < n && result == 0; i++)
        result = stream_writer_add(t->pass.writer, place[i].frame, place[i].sequence, e);
    free(place);
    return result;
}

int select_shuffle(const char *input, const char *output, uint64_t seed,
                   const struct provenance *line, struct err *e)
{
    struct reread t;
    struct frame *f;
    int result = reread_open(&t, input, 1, e);
    if (result == 0)
        result = filter_provenance(&t.pass, line, e);
    if (result == 0)
        while ((result = reread_next(&t, &f, e)) > 0)
            ;
    if (result == 0)
        result = filter_start(&t.pass, output, e);
    if (result == 0)
        result = write_shuffled(&t, seed, e);
    if (result == 0)
        result = filter_end(&t.pass, e);
    reread_release(&t);
    return result;
}
