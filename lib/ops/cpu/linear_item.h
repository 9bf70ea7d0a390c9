// SPDX-License-Identifier: MIT
// Items of forward products: some rows times some outputs.
#ifndef OPS_CPU_LINEAR_ITEM_H
#define OPS_CPU_LINEAR_ITEM_H

#include "ops/cpu/kernel.h"

enum {
    COLUMNS = 48,           // outputs of an item: a multiple of every tile and of LANES
    SKINNY_COLUMNS = BLOCK, // of one of few rows
};

struct linear_item {
    const struct linear *out;
    size_t row, rows, column, columns;
    float bias[COLUMNS]; // [columns] where there is one
};

// The item that begins at a row and a column, and has up to `height` of n rows and `width` columns.
struct linear_item linear_item_at(const struct linear *out, size_t row, size_t height, size_t n,
                                  size_t column, size_t width);
// c [rows][pitch], which the bias joins, to the outputs' rows from `row` on, of the item's columns.
void linear_store_rows(const struct kernels *k, const struct linear_item *i, float *c, size_t pitch,
                       size_t row, size_t rows);
// The same from c [columns][lanes], rows <= lanes <= 2 * LANES; columns <= COLUMNS.
void linear_store_panel(const struct kernels *k, const struct linear_item *i, const float *c,
                        size_t lanes, size_t row, size_t rows);

#endif
