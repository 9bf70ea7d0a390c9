// SPDX-License-Identifier: MIT
// Texts side by side on a terminal, row by row while they grow: wrapped at blanks, in cells, of
// which a wide character takes two and a combining one none.
#ifndef ASK_COLUMNS_H
#define ASK_COLUMNS_H

#include "base/memory.h"

enum { COLUMN_LEAST = 24 }; // cells, below which texts stand one after the other

// One column; text and size may grow between calls. No tabs or controls: shown.h.
struct text_column {
    const char *text;
    size_t size;
    int ended;
    size_t at; // what has become rows
};

// The cells of each of n columns in a terminal of so many; 0: too few.
size_t columns_width(size_t terminal, size_t n);
// Appends the rows, each a line, that no growth of a text can change any more.
MUST_CHECK int columns_rows(struct text_column *c, size_t n, size_t width, struct buffer *out,
                            struct err *e);
// Cells that a text without newlines takes.
size_t columns_cells(const char *text, size_t size);

#endif
