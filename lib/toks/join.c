// SPDX-License-Identifier: MIT
#include "toks/join.h"
#include "stream/maker.h"
#include "stream/parts.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

struct joiner {
    struct stream_filter left, right;
    size_t at; // of the right frame's sequences
    int *from; // [n_from]: columns of the right stream
    size_t n_from;
    size_t first; // where they begin in the output
};

static int is_named(const char *names, const char *name)
{
    size_t n = strlen(name);
    for (;; names += strcspn(names, ",") + 1) {
        size_t length = strcspn(names, ",");
        if (length == n && !strncmp(names, name, n))
            return 1;
        if (!names[length])
            return 0;
    }
}

static int take_column(struct joiner *j, int i, struct err *e)
{
    const struct column *c = &j->right.header.column[i];
    if (header_add_column(&j->left.header, c->name, c->type, c->per, e) < 0)
        return err_prefix(e, "%s", stream_reader_name(j->left.reader));
    j->from[j->n_from++] = i;
    return 0;
}

// Each word of `names` must be a column of the right stream.
static int check_names(const struct joiner *j, const char *names, struct err *e)
{
    char name[COLUMN_NAME_MAX + 1];
    for (;; names += strcspn(names, ",") + 1) {
        size_t n = strcspn(names, ",");
        snprintf(name, sizeof name, "%.*s", (int)(n < sizeof name ? n : sizeof name - 1), names);
        if (header_find(&j->right.header, name) < 0)
            return maker_missing(stream_reader_name(j->right.reader), name, e);
        if (!names[n])
            return 0;
    }
}

static int take_columns(struct joiner *j, const char *names, struct err *e)
{
    const struct stream_header *right = &j->right.header;
    if (names && check_names(j, names, e) < 0)
        return -1;
    j->first = j->left.header.n_columns;
    j->from = mem_alloc(right->n_columns, sizeof *j->from, "columns", e);
    if (!j->from)
        return -1;
    for (size_t i = 0; i < right->n_columns; i++) {
        const char *name = right->column[i].name;
        if (names ? is_named(names, name) : header_find(&j->left.header, name) < 0)
            if (take_column(j, (int)i, e) < 0)
                return -1;
    }
    return 0;
}

static int tokenizers_agree(const struct joiner *j, struct err *e)
{
    const struct stream_header *right = &j->right.header;
    return header_check_tokenizer(&j->left.header, right->tokenizer,
                                  stream_reader_name(j->left.reader), e);
}

// Moves to the right stream's next sequence: 1, 0 at its end, -1.
static int next_right(struct joiner *j, struct err *e)
{
    if (j->right.have_frame && j->at + 1 < j->right.frame.n_sequences) {
        j->at++;
        return 1;
    }
    j->at = 0;
    return filter_next(&j->right, e);
}

static int differ(const struct joiner *j, const char *what, struct err *e)
{
    return err_set(e, STATUS_STREAM, "%s: %s: %s %s", stream_reader_name(j->right.reader),
                   frame_record(&j->right.frame, j->at).text, what,
                   stream_reader_name(j->left.reader));
}

static int check_same(const struct joiner *j, size_t i, struct err *e)
{
    const struct frame *a = &j->left.frame, *b = &j->right.frame;
    size_t n, m;
    const char *x = frame_string(a, COLUMN_ID, i, &n);
    const char *y = frame_string(b, COLUMN_ID, j->at, &m);
    if (n != m || memcmp(x, y, n) != 0)
        return differ(j, "another id stands in this place of", e);
    if (frame_length(a, i) != frame_length(b, j->at) ||
        (frame_length(a, i) &&
         memcmp(a->column[COLUMN_TOKEN].u32 + a->start[i],
                b->column[COLUMN_TOKEN].u32 + b->start[j->at], 4 * frame_length(a, i)) != 0))
        return differ(j, "other tokens than in", e);
    return 0;
}

static int copy_columns(struct joiner *j, size_t i, struct err *e)
{
    for (size_t k = 0; k < j->n_from; k++)
        if (frame_copy_values(&j->left.frame, (int)(j->first + k), i, &j->right.frame, j->from[k],
                              j->at, e) < 0)
            return -1;
    return 0;
}

static int join_frame(struct joiner *j, struct err *e)
{
    for (size_t i = 0; i < j->left.frame.n_sequences; i++) {
        int more = next_right(j, e);
        if (more < 0)
            return -1;
        if (more == 0)
            return err_set(e, STATUS_STREAM, "%s: only %" PRIu64 " records, %s has more",
                           stream_reader_name(j->right.reader),
                           stream_reader_sequences(j->right.reader),
                           stream_reader_name(j->left.reader));
        if (check_same(j, i, e) < 0 || copy_columns(j, i, e) < 0)
            return -1;
    }
    return filter_write(&j->left, e);
}

static int join_all(struct joiner *j, struct err *e)
{
    int more;
    while ((more = filter_next(&j->left, e)) > 0)
        if (join_frame(j, e) < 0)
            return -1;
    if (more < 0)
        return -1;
    more = next_right(j, e);
    if (more > 0)
        return err_set(e, STATUS_STREAM, "%s: only %" PRIu64 " records, %s has more",
                       stream_reader_name(j->left.reader), stream_reader_sequences(j->left.reader),
                       stream_reader_name(j->right.reader));
    return more < 0 ? -1 : filter_end(&j->left, e);
}

int join_run(const char *left, const char *right, const char *names, const char *output,
             const struct provenance *line, struct err *e)
{
    struct joiner j;
    memset(&j, 0, sizeof j);
    int result = filter_open(&j.left, left, e);
    if (result == 0)
        result = filter_open(&j.right, right, e);
    if (result == 0)
        result = tokenizers_agree(&j, e);
    if (result == 0)
        result = take_columns(&j, names, e);
    if (result == 0)
        result = header_add_lines(&j.left.header, &j.right.header, e);
    if (result == 0)
        result = filter_provenance(&j.left, line, e);
    if (result == 0)
        result = filter_start(&j.left, output, e);
    if (result == 0)
        result = join_all(&j, e);
    filter_release(&j.left);
    filter_release(&j.right);
    free(j.from);
    return result;
}
