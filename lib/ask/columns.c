// SPDX-License-Identifier: MIT
#include "ask/columns.h"
#include "base/utf8.h"

#include <assert.h>
#include <string.h>
#include <utf8proc.h>

static const char between[] = " | ";
enum { BETWEEN = sizeof between - 1, COLUMNS_MAX = 64 };

size_t columns_width(size_t terminal, size_t n)
{
    if (n > COLUMNS_MAX || terminal < (n - 1) * BETWEEN)
        return 0;
    size_t width = (terminal - (n - 1) * BETWEEN) / n;
    return width < COLUMN_LEAST ? 0 : width;
}

static int is_blank(char c)
{
    return c == ' ' || c == '\t';
}

// Cells of the character at *i, which it moves past.
static size_t next_cells(const char *text, size_t *i)
{
    uint32_t c = utf8_next(text, i);
    if (c == '\t')
        return 1;
    int width = utf8proc_charwidth((utf8proc_int32_t)c);
    return width > 0 ? (size_t)width : 0;
}

size_t columns_cells(const char *text, size_t size)
{
    size_t cells = 0;
    for (size_t i = 0; i < size;)
        cells += next_cells(text, &i);
    return cells;
}

struct row {
    size_t start, end;
};

static size_t past_blanks(const struct text_column *c, size_t i)
{
    while (i < c->size && is_blank(c->text[i]))
        i++;
    return i;
}

// The next row of the column: 1, or 0 where there is none, or none that is certain.
static int next_row(struct text_column *c, size_t width, struct row *row)
{
    size_t cells = 0, space = SIZE_MAX;
    row->start = c->at;
    for (size_t i = c->at; i < c->size;) {
        size_t start = i;
        if (c->text[i] == '\n') {
            row->end = i;
            c->at = i + 1;
            return 1;
        }
        cells += next_cells(c->text, &i);
        if (is_blank(c->text[start])) {
            // Blanks that the end of a row would cut stand behind it.
            if (start == c->at || !is_blank(c->text[start - 1]))
                space = start;
        } else if (cells > width) {
            int words = space != SIZE_MAX && space > c->at;
            row->end = words ? space : start;
            c->at = words ? past_blanks(c, space) : start;
            return 1;
        }
    }
    row->end = c->size;
    if (!c->ended || c->at == c->size)
        return 0;
    c->at = c->size;
    return 1;
}

static int put_row(const struct text_column *c, const struct row *row, size_t width, int last,
                   struct buffer *out, struct err *e)
{
    size_t end = row->end;
    while (end > row->start && is_blank(c->text[end - 1]))
        end--;
    size_t cells = columns_cells(c->text + row->start, end - row->start), from = out->size;
    if (buffer_append(out, c->text + row->start, end - row->start, e) < 0)
        return -1;
    for (size_t i = from; i < out->size; i++)
        if (out->data[i] == '\t')
            out->data[i] = ' ';
    return last ? 0 : buffer_printf(out, e, "%*s%s", (int)(width - cells), "", between);
}

int columns_rows(struct text_column *c, size_t n, size_t width, struct buffer *out, struct err *e)
{
    assert(n <= COLUMNS_MAX && width >= COLUMN_LEAST);
    for (;;) {
        struct row row[COLUMNS_MAX];
        size_t before[COLUMNS_MAX], some = 0, i = 0;
        for (; i < n; i++) {
            before[i] = c[i].at;
            int found = next_row(&c[i], width, &row[i]);
            if (!found && !c[i].ended)
                break; // the row waits for this one
            if (!found)
                row[i].end = row[i].start;
            some += (size_t)found;
        }
        if (i < n || !some) {
            while (i > 0) {
                i--;
                c[i].at = before[i];
            }
            return 0;
        }
        for (i = 0; i < n; i++)
            if (put_row(&c[i], &row[i], width, i + 1 == n, out, e) < 0)
                return -1;
        while (out->size && out->data[out->size - 1] == ' ')
            out->size--;
        if (buffer_append(out, "\n", 1, e) < 0)
            return -1;
    }
}
