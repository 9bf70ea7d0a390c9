// SPDX-License-Identifier: MIT
// Matrix products. Forward: own tiles, because a library's product chooses its kernel by the shape
// of the batch and so gives a row other bits in other company. A block of weights is turned and
// widened once, in the first-level cache, and meets tiles of rows there; one or two rows meet it in
// registers. So weights are read once for each ROWS rows, as they lie, in whatever type.
#include "base/thread.h"
#include "ops/cpu/cpu.h"

#include <assert.h>
#include <string.h>

enum {
    COLUMNS = 64, // outputs of an item
    ROWS = 480,   // rows of x in an item: a multiple of every tile
};

// x [n, depth] to tiles of k->tile rows, [depth][rows of the tile] each.
struct pack {
    const struct kernels *kernels;
    const float *x;
    float *tiles;
    size_t n, depth;
};

static void pack_tiles(void *arg, size_t begin, size_t end, int worker)
{
    const struct pack *p = arg;
    size_t tile = p->kernels->tile;
    for (size_t i = begin; i < end; i++) {
        size_t at = i * tile, rows = p->n - at < tile ? p->n - at : tile;
        p->kernels->transpose(p->tiles + at * p->depth, rows, p->x + at * p->depth, p->depth, rows,
                              p->depth);
    }
}

// How an output is cut into items.
struct cut {
    size_t rows, columns; // blocks of rows and of columns
};

struct product {
    const struct kernels *kernels;
    const float *tiles; // see struct pack
    size_t n, depth;
    const struct linear *out;
    struct cut cut[LINEAR_MAX];
};

struct linear_item {
    const struct linear *out;
    size_t row, rows, column, columns;
};

// c [rows][BLOCK] to `columns` columns of y from `column` on.
static void store_block(const struct product *p, const struct linear_item *i, float *c,
                        size_t column, size_t columns)
{
    const struct linear *o = i->out;
    const struct tensor *b = &o->bias;
    float bias[BLOCK];
    if (b->data)
        dtype_to_f32(bias, (const char *)b->data + column * dtype_size(b->type), b->type, columns);
    for (size_t r = 0; r < i->rows; r++) {
        float *y = o->y + (i->row + r) * o->w.rows + column;
        if (b->data)
            p->kernels->add(c + r * BLOCK, bias, columns);
        if (o->add)
            p->kernels->add(y, c + r * BLOCK, columns);
        else
            memcpy(y, c + r * BLOCK, columns * sizeof *y);
    }
}

// wide [count][BLOCK]: weights begin .. begin + count - 1 of outputs column .. column + columns -
// 1, and zeros.
static void widen_block(const struct product *p, const struct tensor *t, float *wide, size_t column,
                        size_t columns, size_t begin, size_t count)
{
    size_t pitch = tensor_pitch(t), size = dtype_size(t->type);
    const char *from = (const char *)t->data +
                       (t->transposed ? begin * pitch + column : column * pitch + begin) * size;
    if (!t->transposed && columns == BLOCK && t->type != DTYPE_F64) {
        p->kernels->turn_block(wide, from, t->type, pitch, count);
        return;
    }
    if (columns < BLOCK)
        memset(wide, 0, count * BLOCK * sizeof *wide);
    if (t->transposed) {
        for (size_t k = 0; k < count; k++)
            p->kernels->widen(wide + k * BLOCK, from + k * pitch * size, t->type, columns);
        return;
    }
    for (size_t o = 0; o < columns; o++) {
        float row[SLICE];
        p->kernels->widen(row, from + o * pitch * size, t->type, count);
        for (size_t k = 0; k < count; k++)
            wide[k * BLOCK + o] = row[k];
    }
}

// The part of the weights after these `count` of a block that comes closer with tile number `tile`
// of `tiles`: the block's next weights, or the next block's first ones.
static struct lines next_lines(const struct product *p, const struct tensor *t, size_t column,
                               size_t begin, size_t count, size_t tile, size_t tiles)
{
    enum { LINE = 64, TILES = 2 }; // so many tiles fetch all of it
    size_t size = dtype_size(t->type), step = tensor_pitch(t) * size;
    struct lines next = {.length = SLICE * size / LINE};
    if (t->transposed || tile >= TILES || tile >= tiles)
        return next;
    size_t share = tiles < TILES ? 1 : TILES; // of the outputs, for each tile
    next.from = (uintptr_t)t->data + (column + tile * (BLOCK / share)) * step;
    next.from += begin + count < p->depth ? (begin + count) * size : BLOCK * step;
    next.skip = step - next.length * LINE;
    next.at_once = next.length * BLOCK / share / SLICE;
    return next;
}

// c [rows][BLOCK] = the products of the item's rows with a block of outputs.
static void multiply_block(const struct product *p, const struct linear_item *i, size_t column,
                           size_t columns, float *c)
{
    const struct kernels *k = p->kernels;
    float wide[SLICE * BLOCK] __attribute__((aligned(64)));
    size_t tiles = (i->rows + k->tile - 1) / k->tile;
    for (size_t begin = 0; begin == 0 || begin < p->depth; begin += SLICE) {
        size_t count = p->depth - begin < SLICE ? p->depth - begin : SLICE;
        widen_block(p, &i->out->w, wide, column, columns, begin, count);
        for (size_t r = 0; r < i->rows; r += k->tile) {
            size_t rows = i->rows - r < k->tile ? i->rows - r : k->tile;
            k->tile_block(rows, count, wide, p->tiles + (i->row + r) * p->depth + begin * rows,
                          c + r * BLOCK, begin > 0,
                          next_lines(p, &i->out->w, column, begin, count, r / k->tile, tiles));
        }
    }
}

static void block_item(const struct product *p, const struct linear_item *i)
{
    const struct tensor *w = &i->out->w;
    float c[ROWS * BLOCK] __attribute__((aligned(64)));
    for (size_t at = 0; at < i->columns; at += BLOCK) {
        size_t column = i->column + at, columns = i->columns - at < BLOCK ? i->columns - at : BLOCK;
        // The last block begins before its own columns where they are too few.
        size_t missing = !w->transposed && w->rows >= BLOCK ? BLOCK - columns : 0;
        if (i->rows <= SKINNY_ROWS && !w->transposed && w->type != DTYPE_F64 && w->rows >= BLOCK)
            p->kernels->skinny(i->rows, p->depth, p->tiles,
                               (const char *)w->data +
                                   (column - missing) * tensor_pitch(w) * dtype_size(w->type),
                               w->type, tensor_pitch(w), c);
        else
            multiply_block(p, i, column - missing, columns + missing, c);
        store_block(p, i, c + missing, column, columns);
    }
}

static void product_items(void *arg, size_t begin, size_t end, int worker)
{
    const struct product *p = arg;
    for (size_t number = begin; number < end; number++) {
        const struct cut *cut = p->cut;
        size_t at = number;
        for (; at >= cut->rows * cut->columns; cut++)
            at -= cut->rows * cut->columns;
        struct linear_item i = {.out = &p->out[cut - p->cut]};
        i.row = at / cut->columns * ROWS;
        i.rows = p->n - i.row < ROWS ? p->n - i.row : ROWS;
        i.column = at % cut->columns * COLUMNS;
        i.columns = i.out->w.rows - i.column < COLUMNS ? i.out->w.rows - i.column : COLUMNS;
        block_item(p, &i);
    }
}

static const float *make_tiles(struct device *d, const float *x, size_t n, size_t depth,
                               struct err *e)
{
    const struct kernels *k = cpu_kernels(d);
    if (n == 1)
        return x;
    struct pack pack = {.kernels = k, .x = x, .n = n, .depth = depth};
    pack.tiles = arena_alloc(&d->scratch, n, depth * sizeof(float), e);
    if (pack.tiles)
        threads_for((n + k->tile - 1) / k->tile, cpu_grain(depth * k->tile), pack_tiles, &pack);
    return pack.tiles;
}

size_t cpu_linear_scratch(size_t rows, size_t depth)
{
    return rows * depth * sizeof(float);
}

int cpu_linear(struct device *d, const float *x, size_t n, const struct linear *out, size_t count,
               struct err *e)
{
    assert(count >= 1 && count <= LINEAR_MAX);
    assert(ROWS % cpu_kernels(d)->tile == 0);
    if (n == 0)
        return 0;
    struct arena_mark mark = arena_mark(&d->scratch);
    size_t depth = out[0].w.cols, total = 0;
    struct product p = {.kernels = cpu_kernels(d), .n = n, .depth = depth, .out = out};
    for (size_t i = 0; i < count; i++) {
        assert(out[i].w.cols == depth);
        p.cut[i].columns = (out[i].w.rows + COLUMNS - 1) / COLUMNS;
        p.cut[i].rows = (n + ROWS - 1) / ROWS;
        total += p.cut[i].rows * p.cut[i].columns;
    }
    p.tiles = make_tiles(d, x, n, depth, e);
    if (!p.tiles)
        return -1;
    threads_for(total, cpu_grain(COLUMNS * depth * (n < ROWS ? n : ROWS) / 16), product_items, &p);
    arena_rewind(&d->scratch, mark);
    return 0;
}
