// SPDX-License-Identifier: MIT
#include "stream/frame.h"
#include "base/utf8.h"
#include "stream/parts.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

int column_reserve(struct column_data *d, enum column_type type, size_t need, struct err *e)
{
    size_t size = type == COLUMN_STRING ? sizeof *d->string : column_type_size(type);
    need += type == COLUMN_STRING;
    int fresh = !d->data;
    if (mem_grow(&d->data, &d->capacity, need ? need : 1, size, "a column", e) < 0)
        return -1;
    if (fresh && type == COLUMN_STRING)
        d->string[0] = 0;
    return 0;
}

int column_reserve_bytes(struct column_data *d, size_t need, struct err *e)
{
    return MEM_GROW(d->bytes, d->bytes_capacity, need, "a column of text", e);
}

int frame_reserve_sequences(struct frame *f, size_t need, struct err *e)
{
    return MEM_GROW(f->start, f->start_capacity, need + 1, "a frame", e);
}

void column_default(struct column_data *d, enum column_type type, size_t begin, size_t end)
{
    if (type == COLUMN_F32) {
        for (size_t i = begin; i < end; i++)
            d->f32[i] = NAN;
    } else if (begin < end) {
        size_t size = column_type_size(type);
        memset(d->u8 + begin * size, 0, (end - begin) * size);
    }
}

static enum column_type type_of(const struct frame *f, size_t column)
{
    return f->header->column[column].type;
}

static size_t rows_of(const struct frame *f, size_t column)
{
    return f->header->column[column].per == PER_TOKEN ? f->n_tokens : f->n_sequences;
}

int frame_init(struct frame *f, struct stream_header *header, struct err *e)
{
    memset(f, 0, sizeof *f);
    f->header = header;
    if (frame_reserve_sequences(f, 0, e) < 0)
        return -1;
    f->start[0] = 0;
    if (frame_extend(f, e) == 0)
        return 0;
    frame_release(f);
    return -1;
}

void frame_release(struct frame *f)
{
    for (size_t i = 0; i < f->n_columns; i++) {
        free(f->column[i].data);
        free(f->column[i].bytes);
    }
    free(f->column);
    free(f->start);
    memset(f, 0, sizeof *f);
}

void frame_clear(struct frame *f)
{
    f->n_sequences = 0;
    f->n_tokens = 0;
}

// Gives column `i`, which has none, its default values.
static int fill_column(struct frame *f, size_t i, struct err *e)
{
    struct column_data *d = &f->column[i];
    size_t rows = rows_of(f, i);
    if (column_reserve(d, type_of(f, i), rows, e) < 0)
        return -1;
    if (type_of(f, i) == COLUMN_STRING)
        memset(d->string, 0, (rows + 1) * sizeof *d->string);
    else
        column_default(d, type_of(f, i), 0, rows);
    return 0;
}

int frame_extend(struct frame *f, struct err *e)
{
    size_t n = f->header->n_columns;
    if (n <= f->n_columns)
        return 0;
    struct column_data *column = realloc(f->column, n * sizeof *column);
    if (!column)
        return err_memory(e, n * sizeof *column, "columns");
    f->column = column;
    while (f->n_columns < n) {
        memset(&column[f->n_columns], 0, sizeof *column);
        if (fill_column(f, f->n_columns, e) < 0)
            return -1;
        f->n_columns++;
    }
    return 0;
}

int64_t frame_add(struct frame *f, size_t n_tokens, struct err *e)
{
    size_t sequence = f->n_sequences, tokens;
    if (__builtin_add_overflow(f->n_tokens, n_tokens, &tokens))
        return err_memory(e, n_tokens, "tokens");
    if (frame_reserve_sequences(f, sequence + 1, e) < 0)
        return -1;
    for (size_t i = 0; i < f->n_columns; i++) {
        struct column_data *d = &f->column[i];
        int per_token = f->header->column[i].per == PER_TOKEN;
        size_t begin = per_token ? f->n_tokens : sequence;
        size_t end = per_token ? tokens : sequence + 1;
        if (column_reserve(d, type_of(f, i), end, e) < 0)
            return -1;
        if (type_of(f, i) == COLUMN_STRING)
            d->string[end] = d->string[begin];
        else
            column_default(d, type_of(f, i), begin, end);
    }
    f->n_tokens = tokens;
    f->start[++f->n_sequences] = tokens;
    return (int64_t)sequence;
}

int frame_fill_string(struct frame *f, int column, size_t i, const char *text, size_t size,
                      struct err *e)
{
    struct column_data *d = &f->column[column];
    size_t *offset = &d->string[i], need;
    if (__builtin_add_overflow(offset[0], size, &need))
        return err_memory(e, size, "a column of text");
    if (column_reserve_bytes(d, need, e) < 0)
        return -1;
    if (size)
        memcpy(d->bytes + offset[0], text, size);
    offset[1] = need;
    return 0;
}

int frame_set_string(struct frame *f, int column, const char *text, size_t size, struct err *e)
{
    if (utf8_valid_prefix(text, size) != size)
        return err_set(e, STATUS_FAILED, "column `%s`: the text is not UTF-8",
                       f->header->column[column].name);
    return frame_fill_string(f, column, f->n_sequences - 1, text, size, e);
}

const char *frame_string(const struct frame *f, int column, size_t sequence, size_t *size)
{
    const struct column_data *d = &f->column[column];
    *size = d->string[sequence + 1] - d->string[sequence];
    return *size ? d->bytes + d->string[sequence] : "";
}

struct shown frame_shown(const struct frame *f, int column, size_t sequence)
{
    size_t size;
    const char *text = frame_string(f, column, sequence, &size);
    return shown(text, size);
}

struct shown frame_record(const struct frame *f, size_t sequence)
{
    size_t size;
    const char *id = frame_string(f, COLUMN_ID, sequence, &size);
    return shown_record(id, size, sequence + 1);
}

int frame_copy_values(struct frame *to, int column, size_t i, const struct frame *from,
                      int from_column, size_t j, struct err *e)
{
    const struct column *c = &from->header->column[from_column];
    const struct column_data *data = &from->column[from_column];
    uint8_t *target = to->column[column].u8;
    size_t size = column_type_size(c->type), n = frame_length(from, j);
    if (c->type == COLUMN_STRING) {
        const char *text = frame_string(from, from_column, j, &n);
        return frame_fill_string(to, column, i, text, n, e);
    }
    if (c->per == PER_SEQUENCE)
        memcpy(target + i * size, data->u8 + j * size, size);
    else if (n)
        memcpy(target + to->start[i] * size, data->u8 + from->start[j] * size, n * size);
    return 0;
}

int frame_append(struct frame *to, const struct frame *from, size_t i, struct err *e)
{
    int64_t at = frame_add(to, frame_length(from, i), e);
    if (at < 0)
        return -1;
    for (size_t c = 0; c < from->n_columns && c < to->n_columns; c++) {
        if (frame_copy_values(to, (int)c, (size_t)at, from, (int)c, i, e) < 0) {
            frame_drop_last(to);
            return -1;
        }
    }
    return 0;
}

void frame_drop_last(struct frame *f)
{
    f->n_sequences--;
    f->n_tokens = f->start[f->n_sequences];
}

int frame_is_full(const struct frame *f)
{
    if (f->n_tokens >= FRAME_TOKENS || f->n_sequences >= FRAME_SEQUENCES)
        return 1;
    size_t text = 0;
    for (size_t i = 0; i < f->n_columns; i++)
        if (type_of(f, i) == COLUMN_STRING)
            text += f->column[i].string[f->n_sequences];
    return text >= FRAME_TEXT;
}
