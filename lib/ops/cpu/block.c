// SPDX-License-Identifier: MIT
#include "ops/cpu/block.h"
#include "base/thread.h"

#include <string.h>

enum {
    ROWS = 264,    // of a block: a multiple of every tile
    COLUMNS = 192, // a multiple of every panel
    WORDS = 256,   // whose operands are made at a time: whole slices
};

static size_t round_up(size_t size, size_t unit)
{
    return (size + unit - 1) / unit * unit;
}

// Cuts `size` into pieces of about `most`, but not more, multiples of `unit`.
static size_t piece(size_t size, size_t most, size_t unit)
{
    size_t pieces = (size + most - 1) / most;
    return round_up((size + pieces - 1) / pieces, unit);
}

size_t block_cut(struct block_product *p)
{
    size_t tile = p->kernels->tile, most = ROWS, blocks;
    p->column_piece = piece(p->columns, COLUMNS, p->arithmetic->lanes);
    p->column_pieces = (p->columns + p->column_piece - 1) / p->column_piece;
    do { // smaller ones where there are too few for all threads
        p->row_piece = piece(p->rows, most, tile);
        blocks = (p->rows + p->row_piece - 1) / p->row_piece * p->column_pieces;
        most /= 2;
    } while (blocks < 3 * (size_t)threads_count() && most >= 4 * tile);
    return blocks;
}

size_t block_floats(void)
{
    return ROWS * COLUMNS + (ROWS + COLUMNS) * WORDS;
}

struct block_item {
    const struct block_product *p;
    size_t row, rows, column, columns;
    float *sum;   // [rows][COLUMNS]
    float *a, *b; // work space for the operands of some of the sums
    // Them, there or where they lie: panel c / lanes of a is at panels + c * apart, its rows every
    // pitch; b(r, k) at rows_of_b + r * n_stride + k * k_stride.
    const float *panels, *rows_of_b;
    size_t apart, pitch, n_stride, k_stride;
};

// A copy of a pays where many rows meet it.
static void take_panels(struct block_item *i, size_t k, size_t depth, size_t words)
{
    const struct block_product *p = i->p;
    const struct arithmetic *o = p->arithmetic;
    size_t lanes = o->lanes, step = p->a_pitch * dtype_size(p->a_type);
    const char *from = (const char *)p->a + k * step + i->column * dtype_size(p->a_type);
    if (i->rows <= p->kernels->tile && i->columns % lanes == 0 && words_as_they_lie(o, p->a_type) &&
        o->step == 1) {
        i->panels = (const float *)from;
        i->apart = 1;
        i->pitch = p->a_pitch;
        return;
    }
    o->across(i->a, lanes, words * lanes, from, p->a_pitch, p->a_type, depth, i->columns);
    i->panels = i->a;
    i->apart = words;
    i->pitch = lanes;
}

static void take_rows(struct block_item *i, size_t k, size_t depth, size_t words)
{
    const struct block_product *p = i->p;
    const struct arithmetic *o = p->arithmetic;
    const float *from = p->b + (p->across ? k * p->b_pitch + i->row : i->row * p->b_pitch + k);
    i->rows_of_b = i->b;
    i->n_stride = p->across ? 1 : words;
    i->k_stride = p->across ? i->rows : 1;
    if (p->across) {
        o->across(i->b, i->rows, 0, from, p->b_pitch, DTYPE_F32, depth, i->rows);
    } else if (words_as_they_lie(o, DTYPE_F32)) {
        i->rows_of_b = from;
        i->n_stride = p->b_pitch;
    } else {
        for (size_t r = 0; r < i->rows; r++)
            o->row(i->b + r * words, from + r * p->b_pitch, DTYPE_F32, depth);
    }
}

// Adds what the operands make to the sums, a slice after the other.
static void add_products(const struct block_item *i, size_t depth, int add)
{
    const struct arithmetic *o = i->p->arithmetic;
    size_t tile = i->p->kernels->tile, lanes = o->lanes;
    size_t words = words_of(o, depth), slice = words_of(o, SLICE);
    for (size_t begin = 0; begin < words; begin += slice, add = 1) {
        size_t count = words - begin < slice ? words - begin : slice;
        for (size_t c = 0; c < i->columns; c += lanes) {
            const float *a = i->panels + c * i->apart + begin * i->pitch;
            size_t wide = i->columns - c <= LANES ? LANES : lanes;
            for (size_t r = 0; r < i->rows; r += tile)
                o->product(i->rows - r < tile ? i->rows - r : tile, wide, count, a, i->pitch,
                           i->rows_of_b + r * i->n_stride + begin * i->k_stride, i->n_stride,
                           i->k_stride, i->sum + r * COLUMNS + c, COLUMNS, add);
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
    i.b = i.a + COLUMNS * WORDS;
    size_t most = WORDS / p->arithmetic->words * p->arithmetic->step;
    for (size_t k = 0; k < p->depth; k += most) {
        size_t depth = p->depth - k < most ? p->depth - k : most;
        take_panels(&i, k, depth, words_of(p->arithmetic, depth));
        take_rows(&i, k, depth, words_of(p->arithmetic, depth));
        add_products(&i, depth, k > 0);
    }
    store_sums(&i);
}
