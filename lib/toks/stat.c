// SPDX-License-Identifier: MIT
#include "toks/stat.h"
#include "base/json.h"
#include "stream/filter.h"
#include "stream/parts.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static void count(struct counter *c, double x)
{
    if (isnan(x)) {
        c->null++;
        return;
    }
    if (c->n == 0 || x < c->min)
        c->min = x;
    if (c->n == 0 || x > c->max)
        c->max = x;
    c->n++;
    c->sum += x;
}

static void count_column(struct counter *c, const struct frame *f, size_t column)
{
    const struct column *what = &f->header->column[column];
    const struct column_data *d = &f->column[column];
    size_t rows = what->per == PER_TOKEN ? f->n_tokens : f->n_sequences;
    for (size_t i = 0; i < rows; i++) {
        switch (what->type) {
        case COLUMN_U8:
            count(c, d->u8[i]);
            break;
        case COLUMN_U32:
            count(c, d->u32[i]);
            break;
        case COLUMN_F32:
            count(c, d->f32[i]);
            break;
        case COLUMN_STRING:
            count(c, (double)(d->string[i + 1] - d->string[i]));
            c->null += d->string[i + 1] == d->string[i];
            break;
        }
    }
}

static void count_frame(struct stream_stat *s, const struct frame *f)
{
    int mask = header_find(&s->header, "mask");
    s->have_mask = mask >= 0 && s->header.column[mask].type == COLUMN_U8 &&
                   s->header.column[mask].per == PER_TOKEN;
    for (size_t i = 0; i < f->n_sequences; i++)
        count(&s->length, (double)frame_length(f, i));
    for (size_t i = 0; s->have_mask && i < f->n_tokens; i++)
        s->trained += f->column[mask].u8[i] == 1;
    for (size_t i = 0; i < s->header.n_columns; i++)
        count_column(&s->column[i], f, i);
    s->sequences += f->n_sequences;
    s->tokens += f->n_tokens;
}

int stat_read(struct stream_stat *s, const char *input, struct err *e)
{
    struct stream_filter p;
    memset(s, 0, sizeof *s);
    int result = filter_open(&p, input, e);
    if (result == 0)
        result = header_copy(&s->header, &p.header, e);
    if (result == 0) {
        s->column = mem_alloc(s->header.n_columns, sizeof *s->column, "counters", e);
        result = s->column ? 0 : -1;
    }
    if (result == 0)
        while ((result = filter_next(&p, e)) > 0)
            count_frame(s, &p.frame);
    filter_release(&p);
    if (result < 0)
        stat_release(s);
    return result;
}

void stat_release(struct stream_stat *s)
{
    header_release(&s->header);
    free(s->column);
    memset(s, 0, sizeof *s);
}

static void number(char out[32], const struct counter *c, double x)
{
    if (c->n == 0)
        strcpy(out, "-");
    else if (isnan(x)) // the mean of both infinities
        strcpy(out, "nan");
    else
        snprintf(out, 32, "%.9g", x);
}

struct stat_row {
    const char *name, *type, *per;
    const struct counter *counter;
};

static int print_row(const struct stat_row *r, int tsv, struct output *out, struct err *e)
{
    char min[32], mean[32], max[32];
    const struct counter *c = r->counter;
    number(min, c, c->min);
    number(mean, c, c->n ? c->sum / (double)c->n : 0);
    number(max, c, c->max);
    return output_printf(out, e,
                         tsv ? "%s\t%s\t%s\t%" PRIu64 "\t%" PRIu64 "\t%s\t%s\t%s\n"
                             : "%-20s %-7s %-9s %10" PRIu64 " %10" PRIu64 " %14s %14s %14s\n",
                         r->name, r->type, r->per, c->n, c->null, min, mean, max);
}

// Row 0 is the lengths of sequences; the columns follow.
static struct stat_row stat_row(const struct stream_stat *s, size_t i)
{
    if (i == 0)
        return (struct stat_row){"(length)", "tokens", "sequence", &s->length};
    const struct column *c = &s->header.column[i - 1];
    return (struct stat_row){c->name,
                             c->type == COLUMN_STRING ? "bytes" : column_type_name(c->type),
                             column_per_name(c->per), &s->column[i - 1]};
}

static int print_table(const struct stream_stat *s, int tsv, struct output *out, struct err *e)
{
    char trained[32] = "-";
    if (s->have_mask)
        snprintf(trained, sizeof trained, "%" PRIu64, s->trained);
    if (output_printf(out, e,
                      tsv ? "records\t%" PRIu64 "\ntokens\t%" PRIu64 "\ntrained\t%s\n\n"
                          : "records %16" PRIu64 "\ntokens  %16" PRIu64 "\ntrained %16s\n\n",
                      s->sequences, s->tokens, trained) < 0)
        return -1;
    if (output_printf(out, e,
                      tsv ? "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n"
                          : "%-20s %-7s %-9s %10s %10s %14s %14s %14s\n",
                      "column", "type", "per", "values", "null", "min", "mean", "max") < 0)
        return -1;
    for (size_t i = 0; i <= s->header.n_columns; i++) {
        struct stat_row row = stat_row(s, i);
        if (print_row(&row, tsv, out, e) < 0)
            return -1;
    }
    return 0;
}

// JSON knows neither infinity nor NaN.
static json_t *real_json(const struct counter *c, double x)
{
    return c->n && isfinite(x) ? json_real(x) : json_null();
}

static json_t *row_json(const struct stat_row *r)
{
    const struct counter *c = r->counter;
    return json_pack("{s:s,s:s,s:s,s:I,s:I,s:o,s:o,s:o}", "name", r->name, "type", r->type, "per",
                     r->per, "values", (json_int_t)c->n, "null", (json_int_t)c->null, "min",
                     real_json(c, c->min), "mean", real_json(c, c->n ? c->sum / (double)c->n : 0),
                     "max", real_json(c, c->max));
}

static int print_json(const struct stream_stat *s, struct output *out, struct err *e)
{
    json_t *rows = json_array();
    for (size_t i = 0; i <= s->header.n_columns; i++) {
        struct stat_row row = stat_row(s, i);
        json_array_append_new(rows, row_json(&row));
    }
    json_t *root = json_pack("{s:I,s:I,s:o,s:o}", "records", (json_int_t)s->sequences, "tokens",
                             (json_int_t)s->tokens, "trained",
                             s->have_mask ? json_integer((json_int_t)s->trained) : json_null(),
                             "columns", rows);
    if (!root)
        return err_memory(e, 0, "counters");
    struct buffer text;
    buffer_init(&text, 0);
    int result = json_print(root, &text, e);
    if (result == 0)
        result = buffer_append(&text, "\n", 1, e);
    if (result == 0)
        result = output_write(out, text.data, text.size, e);
    buffer_release(&text);
    json_decref(root);
    return result;
}

int stat_print(const struct stream_stat *s, enum stat_format format, struct output *out,
               struct err *e)
{
    if (format == STAT_JSON)
        return print_json(s, out, e);
    return print_table(s, format == STAT_TSV, out, e);
}
