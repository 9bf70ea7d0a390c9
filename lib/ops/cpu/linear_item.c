// SPDX-License-Identifier: MIT
#include "ops/cpu/linear_item.h"

#include <string.h>

struct linear_item linear_item_at(const struct linear *out, size_t row, size_t height, size_t n,
                                  size_t column, size_t width)
{
    struct linear_item i = {.out = out, .row = row, .column = column};
    const struct tensor *bias = &out->bias;
    i.rows = n - row < height ? n - row : height;
    i.columns = out->w.rows - column < width ? out->w.rows - column : width;
    if (bias->data)
        dtype_to_f32(i.bias, (const char *)bias->data + column * dtype_size(bias->type), bias->type,
                     i.columns);
    return i;
}

void linear_store_rows(const struct kernels *k, const struct linear_item *i, float *c, size_t pitch,
                       size_t row, size_t rows)
{
    const struct linear *o = i->out;
    for (size_t r = 0; r < rows; r++) {
        float *y = o->y + (row + r) * o->w.rows + i->column;
        if (o->bias.data)
            k->add(c + r * pitch, i->bias, i->columns);
        if (o->add)
            k->add(y, c + r * pitch, i->columns);
        else
            memcpy(y, c + r * pitch, i->columns * sizeof *y);
    }
}

void linear_store_panel(const struct kernels *k, const struct linear_item *i, const float *c,
                        size_t lanes, size_t row, size_t rows)
{
    const struct linear *o = i->out;
    float turned[2 * LANES * COLUMNS];
    if (!o->bias.data && !o->add) {
        k->transpose(o->y + row * o->w.rows + i->column, o->w.rows, c, lanes, i->columns, rows);
        return;
    }
    k->transpose(turned, COLUMNS, c, lanes, i->columns, rows);
    linear_store_rows(k, i, turned, COLUMNS, row, rows);
}
