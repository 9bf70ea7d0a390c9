// SPDX-License-Identifier: MIT
#include "toks/split.h"
#include "base/io.h"
#include "base/number.h"
#include "stream/reread.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct splitter {
    const struct split *split;
    const char *prefix;
    struct stream_header *header;
    uint64_t n;    // records in all, where that matters
    uint64_t seen; // records written
    struct stream_writer *writer[SPLIT_PARTS_MAX];
    char *path[SPLIT_PARTS_MAX]; // the writers keep them by reference
    int n_writers;
};

int split_fractions(const char *text, double *fraction, int limit)
{
    char word[64];
    double sum = 0;
    int n = 0;
    for (;;) {
        size_t length = strcspn(text, ",");
        if (n == limit || length >= sizeof word)
            return -1;
        memcpy(word, text, length);
        word[length] = 0;
        if (number_to_fraction(word, &fraction[n]) < 0)
            return -1;
        sum += fraction[n++];
        if (!text[length])
            break;
        text += length + 1;
    }
    return fabs(sum - 1) < 1e-6 ? n : -1;
}

// The first record that is behind part i.
static uint64_t part_end(const struct splitter *s, int i)
{
    const struct split *how = s->split;
    if (how->sequences)
        return ((uint64_t)i + 1) * how->sequences;
    if (how->parts)
        return (uint64_t)((unsigned __int128)s->n * ((uint64_t)i + 1) / how->parts);
    double sum = 0;
    for (int k = 0; k <= i; k++)
        sum += how->fraction[k];
    return i + 1 == how->n_fractions ? s->n : (uint64_t)(sum * (double)s->n + 0.5);
}

static int name_part(struct splitter *s, int i, struct err *e)
{
    if (asprintf(&s->path[i], "%s.%03d.toks", s->prefix, i) >= 0)
        return 0;
    s->path[i] = NULL;
    return err_memory(e, strlen(s->prefix), "a path");
}

static int next_part(struct splitter *s, struct err *e)
{
    int i = s->n_writers;
    if (i && stream_writer_finish(s->writer[i - 1], e) < 0)
        return -1;
    if (i == SPLIT_PARTS_MAX)
        return err_set(e, STATUS_FAILED, "%s: more than %d parts", s->prefix, SPLIT_PARTS_MAX);
    if (i && name_part(s, i, e) < 0)
        return -1;
    s->writer[i] = stream_writer_open(s->path[i], s->header, e);
    s->n_writers++;
    return s->writer[i] ? 0 : -1;
}

static int split_frame(struct splitter *s, const struct frame *f, struct err *e)
{
    for (size_t i = 0; i < f->n_sequences; i++) {
        while (s->n_writers == 0 || s->seen >= part_end(s, s->n_writers - 1))
            if (next_part(s, e) < 0)
                return -1;
        if (stream_writer_add(s->writer[s->n_writers - 1], f, i, e) < 0)
            return -1;
        s->seen++;
    }
    return 0;
}

// Parts that got no record, the last part's END, and the names.
static int split_end(struct splitter *s, struct err *e)
{
    const struct split *how = s->split;
    int parts = how->sequences ? 1 : how->parts ? (int)how->parts : how->n_fractions;
    while (s->n_writers < parts)
        if (next_part(s, e) < 0)
            return -1;
    if (stream_writer_finish(s->writer[s->n_writers - 1], e) < 0)
        return -1;
    for (int i = 0; i < s->n_writers; i++) {
        struct stream_writer *w = s->writer[i];
        s->writer[i] = NULL;
        if (stream_writer_end(w, e) < 0) {
            // Some parts without the others would be taken for the whole.
            while (i-- > 0)
                unlink(s->path[i]);
            return -1;
        }
    }
    return 0;
}

// Cutting after a number of records needs neither memory nor a second look.
static int split_once(struct splitter *s, struct stream_filter *p, struct err *e)
{
    int more;
    while ((more = filter_next(p, e)) > 0)
        if (split_frame(s, &p->frame, e) < 0)
            return -1;
    return more < 0 ? -1 : split_end(s, e);
}

// The size of a part follows from the size of the whole.
static int split_twice(struct splitter *s, struct reread *t, struct err *e)
{
    struct frame *f;
    int more;
    do
        more = reread_next(t, &f, e);
    while (more > 0);
    if (more < 0 || reread_again(t, e) < 0)
        return -1;
    s->n = t->n_sequences;
    while ((more = reread_next(t, &f, e)) > 0)
        if (split_frame(s, f, e) < 0)
            return -1;
    return more < 0 ? -1 : split_end(s, e);
}

static int split_input(struct splitter *s, const char *input, struct err *e)
{
    struct reread t;
    int result;
    if (s->split->sequences) {
        memset(&t, 0, sizeof t);
        result = filter_open(&t.pass, input, e);
    } else {
        result = reread_open(&t, input, 0, e);
    }
    s->header = &t.pass.header;
    if (result == 0)
        result = s->split->sequences ? split_once(s, &t.pass, e) : split_twice(s, &t, e);
    for (int i = 0; i < s->n_writers; i++)
        stream_writer_abort(s->writer[i]);
    reread_release(&t);
    return result;
}

int split_run(const struct split *how, const char *input, const char *prefix, int *n_written,
              struct err *e)
{
    struct splitter *s = mem_alloc(1, sizeof *s, "parts", e);
    if (!s)
        return -1;
    s->split = how;
    s->prefix = prefix;
    // Before the input, which may be long in coming.
    int result = name_part(s, 0, e);
    if (result == 0)
        result = output_try(s->path[0], 0, e);
    if (result == 0)
        result = split_input(s, input, e);
    *n_written = s->n_writers;
    for (int i = 0; i < SPLIT_PARTS_MAX; i++)
        free(s->path[i]);
    free(s);
    return result;
}
