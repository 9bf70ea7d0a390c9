// SPDX-License-Identifier: MIT
#include "ops/cpu/block.h"

#include <string.h>

enum {
    ROWS = 264,    // of a block: a multiple of every tile
    COLUMNS = 192, // a multiple of every panel
    DEPTH = 512,   // whose pairs are made at a time: a multiple of SLICE
};

static size_t round_up(size_t size, size_t unit)
{
    return (size + unit - 1) / unit * unit;
}

// Cuts `size` into pieces of about `most`, but not more, multiples of `unit`; depends on the shape
// alone.
static size_t piece(size_t size, size_t most, size_t unit)
{
    size_t pieces = (size + most - 1) / most;
    return round_up((size + pieces - 1) / pieces, unit);
}

size_t block_cut(struct block_product *p)
{
    p->row_piece = piece(p->rows, ROWS, p->kernels->tile);
    p->column_piece = piece(p->columns, COLUMNS, p->kernels->pair_lanes);
    p->column_pieces = (p->columns + p->column_piece - 1) / p->column_piece;
    return (p->rows + p->row_piece - 1) / p->row_piece * p->column_pieces;
}

size_t block_floats(const struct kernels *k)
{
    return ROWS * COLUMNS + (ROWS + COLUMNS) * DEPTH / 2 * k->pair_words;
}

struct block_item {
    const struct block_product *p;
    size_t row, rows, column, columns;
    float *sum; // [rows][COLUMNS]
    float *a;   // [panel][words][lanes]
    float *b;   // [rows][words], or across [words][rows]
};

// The operands of the sums k .. k+depth-1.
static void round_operands(const struct block_item *i, size_t k, size_t depth)
{
    const struct block_product *p = i->p;
    const struct kernels *kernels = p->kernels;
    size_t lanes = kernels->pair_lanes, words = words_of(kernels, depth);
    const char *a = (const char *)p->a + k * p->a_pitch * dtype_size(p->a_type);
    for (size_t c = 0; c < i->columns; c += lanes)
        kernels->round_across(i->a + c * words, lanes, a + (i->column + c) * dtype_size(p->a_type),
                              p->a_pitch, p->a_type, depth,
                              i->columns - c < lanes ? i->columns - c : lanes);
    if (p->across)
        kernels->round_across(i->b, i->rows, p->b + k * p->b_pitch + i->row, p->b_pitch, DTYPE_F32,
                              depth, i->rows);
    else
        for (size_t r = 0; r < i->rows; r++)
            kernels->round_row(i->b + r * words, p->b + (i->row + r) * p->b_pitch + k, DTYPE_F32,
                               depth);
}

// Adds what the operands make to the sums, a slice after the other.
static void add_products(const struct block_item *i, size_t depth, int add)
{
    const struct kernels *k = i->p->kernels;
    size_t lanes = k->pair_lanes, words = words_of(k, depth), slice = words_of(k, SLICE);
    size_t n_stride = i->p->across ? 1 : words, k_stride = i->p->across ? i->rows : 1;
    for (size_t begin = 0; begin < words; begin += slice, add = 1) {
        size_t count = words - begin < slice ? words - begin : slice;
        for (size_t c = 0; c < i->columns; c += lanes) {
            const float *a = i->a + c * words + begin * lanes;
            size_t wide = i->columns - c <= LANES ? LANES : lanes;
            for (size_t r = 0; r < i->rows; r += k->tile)
                k->pair_product(i->rows - r < k->tile ? i->rows - r : k->tile, wide, count, a,
                                lanes, i->b + r * n_stride + begin * k_stride, n_stride, k_stride,
                                i->sum + r * COLUMNS + c, COLUMNS, add);
        }
    }
}

static void store_sums(const struct block_item *i)
{
    const struct block_product *p = i->p;
    for (size_t r = 0; r < i->rows; r++) {
        float *sum = i->sum + r * COLUMNS;
        float *out = p->out + (i->row + r) * p->out_pitch + i->column;
        if (p->bias)
            p->kernels->add(sum, p->bias + i->column, i->columns);
        if (p->add)
            p->kernels->add(out, sum, i->columns);
        else
            memcpy(out, sum, i->columns * sizeof *out);
    }
}

void block_make(const struct block_product *p, size_t number, float *work)
{
    struct block_item i = {.p = p, .sum = work};
    i.row = number / p->column_pieces * p->row_piece;
    i.rows = p->rows - i.row < p->row_piece ? p->rows - i.row : p->row_piece;
    i.column = number % p->column_pieces * p->column_piece;
    i.columns = p->columns - i.column < p->column_piece ? p->columns - i.column : p->column_piece;
    i.a = i.sum + ROWS * COLUMNS;
    i.b = i.a + COLUMNS * DEPTH / 2 * p->kernels->pair_words;
    for (size_t k = 0; k < p->depth; k += DEPTH) {
        size_t depth = p->depth - k < DEPTH ? p->depth - k : DEPTH;
        round_operands(&i, k, depth);
        add_products(&i, depth, k > 0);
    }
    store_sums(&i);
}
