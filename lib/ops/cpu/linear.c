// SPDX-License-Identifier: MIT
// Matrix products. Forward: own tiles, because a library's product chooses its kernel by the shape
// of the batch and so gives a row other bits in other company; and because a few rows (sampling)
// must stream the weights once, in place, without packing them.
#include "base/thread.h"
#include "ops/cpu/cpu.h"
#include "ops/cpu/linear_item.h"

#include <assert.h>
#include <string.h>

enum {
    PANEL_BYTES = 192 * 1024, // of x that stay in the second-level cache while weights pass
    TURNED_ROWS = 480,        // of x in an item of transposed weights
    TURNED_STEP = 48,         // of them at a time: a multiple of every tile
};

struct pack {
    const struct kernels *kernels;
    const float *x;
    float *panels; // [panel][depth][16]
    size_t n, depth;
};

static void pack_panels(void *arg, size_t begin, size_t end, int worker)
{
    const struct pack *p = arg;
    for (size_t panel = begin; panel < end; panel++) {
        float *out = p->panels + panel * p->depth * LANES;
        size_t rows = p->n - panel * LANES;
        if (rows > LANES)
            rows = LANES;
        if (rows < LANES)
            memset(out, 0, p->depth * LANES * sizeof *out);
        const float *in = p->x + panel * LANES * p->depth;
        p->kernels->transpose(out, LANES, in, p->depth, rows, p->depth);
    }
}

// How an output is cut into items.
struct cut {
    size_t rows, columns; // blocks of rows and of columns
    size_t height, width; // rows and columns of a block
    int skinny;           // few rows, with weights that the loops read as they lie
};

struct product {
    const struct kernels *kernels;
    const float *x, *panels;
    const float *turned; // x as [depth][n], where rows are few
    size_t n, depth;
    const struct linear *out;
    struct cut cut[LINEAR_MAX];
    float *wide; // [threads][COLUMNS][depth] for weights that are not used where they lie
};

// c [columns][16] = w [columns, depth] times a panel. Slices of the depth pass one by one where
// that keeps the panel's part in the first-level cache; the sums are the same either way.
static void multiply_panel(const struct product *p, const float *panel, const float *w,
                           size_t pitch, size_t columns, size_t slice, float *c)
{
    const struct kernels *k = p->kernels;
    for (size_t begin = 0; begin == 0 || begin < p->depth; begin += slice) {
        size_t depth = p->depth - begin < slice ? p->depth - begin : slice;
        for (size_t i = 0; i < columns; i += k->tile) {
            size_t rows = columns - i < k->tile ? columns - i : k->tile;
            k->tile_product(rows, depth, panel + begin * LANES, LANES, w + i * pitch + begin, pitch,
                            1, c + i * LANES, LANES, begin > 0);
        }
    }
}

// Weights [out, in]: x lies in panels, and the weights are read as they lie.
static void panel_item(const struct product *p, const struct linear_item *i, float *wide)
{
    const struct tensor *t = &i->out->w;
    size_t pitch = tensor_pitch(t), size = dtype_size(t->type);
    const char *from = (const char *)t->data + i->column * pitch * size;
    const float *w = (const float *)from;
    if (t->type != DTYPE_F32) {
        if (pitch == p->depth)
            p->kernels->widen(wide, from, t->type, i->columns * p->depth);
        else
            for (size_t r = 0; r < i->columns; r++)
                p->kernels->widen(wide + r * p->depth, from + r * pitch * size, t->type, p->depth);
        w = wide;
        pitch = p->depth;
    }
    float c[COLUMNS * LANES];
    for (size_t r = 0; r < i->rows; r += LANES) {
        const float *a = p->panels + (i->row + r) * p->depth;
        // The first panel meets weights that come from memory: row after row, as they lie.
        multiply_panel(p, a, w, pitch, i->columns, r == 0 ? p->depth : SLICE, c);
        linear_store_panel(p->kernels, i, c, LANES, i->row + r,
                           i->rows - r < LANES ? i->rows - r : LANES);
    }
}

// wide [depth][COLUMNS] = `i`'s columns of weights [in, out] as fp32, zeros beside them.
static void gather_columns(const struct product *p, const struct linear_item *i, float *wide,
                           const char *from, size_t pitch)
{
    enum { AHEAD = 8 };
    enum dtype type = i->out->w.type;
    size_t step = pitch * dtype_size(type);
    if (i->columns < COLUMNS)
        memset(wide, 0, p->depth * COLUMNS * sizeof *wide);
    for (size_t r = 0; r < p->depth; r++) {
        for (size_t line = 0; line < COLUMNS * dtype_size(type); line += 64)
            __builtin_prefetch((const char *)((uintptr_t)from + (r + AHEAD) * step + line), 0, 2);
        if (type == DTYPE_F32 && i->columns == COLUMNS)
            memcpy(wide + r * COLUMNS, from + r * step, COLUMNS * sizeof *wide);
        else
            p->kernels->widen(wide + r * COLUMNS, from + r * step, type, i->columns);
    }
}

// Weights [in, out] are panels themselves, and rows of x their other side: the same sums in the
// same order. A few rows read the weights where they lie, more of them a copy.
static void turned_item(const struct product *p, const struct linear_item *i, float *wide)
{
    const struct tensor *t = &i->out->w;
    const struct kernels *k = p->kernels;
    size_t pitch = tensor_pitch(t);
    const char *from = (const char *)t->data + i->column * dtype_size(t->type);
    const float *w = (const float *)from;
    if (t->type != DTYPE_F32 || i->rows > k->tile || i->columns % LANES) {
        gather_columns(p, i, wide, from, pitch);
        w = wide;
        pitch = COLUMNS;
    }
    float c[TURNED_STEP * COLUMNS];
    for (size_t row = 0; row < i->rows; row += TURNED_STEP) {
        size_t rows = i->rows - row < TURNED_STEP ? i->rows - row : TURNED_STEP;
        const float *x = p->x + (i->row + row) * p->depth;
        for (size_t begin = 0; begin == 0 || begin < p->depth; begin += SLICE) {
            size_t depth = p->depth - begin < SLICE ? p->depth - begin : SLICE;
            for (size_t column = 0; column < i->columns; column += LANES)
                for (size_t r = 0; r < rows; r += k->tile)
                    k->tile_product(rows - r < k->tile ? rows - r : k->tile, depth,
                                    w + begin * pitch + column, pitch, x + r * p->depth + begin,
                                    p->depth, 1, c + r * COLUMNS + column, COLUMNS, begin > 0);
        }
        linear_store_rows(k, i, c, COLUMNS, i->row + row, rows);
    }
}

// Few rows: each weight is read once, as it lies. The last item begins before its own columns where
// those are too few.
static void skinny_item(const struct product *p, const struct linear_item *i, float *wide)
{
    const struct tensor *t = &i->out->w;
    size_t pitch = tensor_pitch(t), missing = SKINNY_COLUMNS - i->columns;
    const char *from = (const char *)t->data + (i->column - missing) * pitch * dtype_size(t->type);
    float c[TILE_MAX * SKINNY_COLUMNS];
    for (size_t at = 0; at < SKINNY_COLUMNS; at += BLOCK)
        p->kernels->skinny(i->rows, p->depth, p->turned, from + at * pitch * dtype_size(t->type),
                           t->type, pitch, c + at, SKINNY_COLUMNS);
    linear_store_rows(p->kernels, i, c + missing, SKINNY_COLUMNS, 0, i->rows);
}

static const float *turn_rows(struct device *d, const float *x, size_t n, size_t depth,
                              struct err *e)
{
    if (n == 1)
        return x;
    float *turned = arena_alloc(&d->scratch, n, depth * sizeof(float), e);
    if (turned)
        cpu_kernels(d)->transpose(turned, n, x, depth, n, depth);
    return turned;
}

static void product_item(const struct product *p, size_t number, int worker)
{
    const struct cut *cut = p->cut;
    while (number >= cut->rows * cut->columns) {
        number -= cut->rows * cut->columns;
        cut++;
    }
    const struct linear *out = &p->out[cut - p->cut];
    struct linear_item i = linear_item_at(out, number / cut->columns * cut->height, cut->height,
                                          p->n, number % cut->columns * cut->width, cut->width);
    float *wide = p->wide ? p->wide + (size_t)worker * COLUMNS * p->depth : NULL;
    (cut->skinny ? skinny_item : out->w.transposed ? turned_item : panel_item)(p, &i, wide);
}

static void product_items(void *arg, size_t begin, size_t end, int worker)
{
    for (size_t i = begin; i < end; i++)
        product_item(arg, i, worker);
}

static const float *make_panels(struct device *d, const float *x, size_t n, size_t depth,
                                struct err *e)
{
    size_t panels = (n + LANES - 1) / LANES;
    struct pack pack = {.kernels = cpu_kernels(d), .x = x, .n = n, .depth = depth};
    pack.panels = arena_alloc(&d->scratch, panels * LANES, depth * sizeof(float), e);
    if (pack.panels)
        threads_for(panels, cpu_grain(depth * LANES), pack_panels, &pack);
    return pack.panels;
}

size_t cpu_linear_scratch(size_t rows, size_t depth, int widens)
{
    size_t panels = (rows + LANES - 1) / LANES * LANES;
    return (panels + (widens ? (size_t)threads_count() * COLUMNS : 0)) * depth * sizeof(float);
}

// How the product with w is cut; `block`: rows of x that stay in the cache.
static struct cut cut_product(const struct kernels *k, const struct tensor *w, size_t n,
                              size_t block)
{
    struct cut cut = {.height = w->transposed ? TURNED_ROWS : block, .width = COLUMNS};
    // More than half a tile of rows is faster as a panel, unless that has to widen the weights.
    size_t most = w->type == DTYPE_F32 ? k->tile / 2 : k->tile;
    cut.skinny = n <= most && !w->transposed && w->type != DTYPE_F64 && w->rows >= SKINNY_COLUMNS;
    if (cut.skinny) {
        cut.height = n;
        cut.width = SKINNY_COLUMNS;
    }
    cut.columns = (w->rows + cut.width - 1) / cut.width;
    cut.rows = (n + cut.height - 1) / cut.height;
    return cut;
}

int cpu_linear(struct device *d, const float *x, size_t n, const struct linear *out, size_t count,
               struct err *e)
{
    const struct kernels *k = cpu_kernels(d);
    assert(count >= 1 && count <= LINEAR_MAX);
    assert(COLUMNS % k->tile == 0 && TURNED_STEP % k->tile == 0);
    if (n == 0)
        return 0;
    if (d->products == PRODUCTS_BF16)
        return cpu_linear_bf16(d, x, n, out, count, e);
    struct arena_mark mark = arena_mark(&d->scratch);
    size_t depth = out[0].w.cols, panels = (n + LANES - 1) / LANES, total = 0;
    struct product p = {.kernels = k, .x = x, .n = n, .depth = depth, .out = out};
    size_t block = PANEL_BYTES / (depth * LANES * sizeof(float));
    block = (block < 1 ? 1 : block > panels ? panels : block) * LANES;
    int widen = 0, plain = 0, skinny = 0;
    for (size_t i = 0; i < count; i++) {
        const struct tensor *w = &out[i].w;
        assert(w->cols == depth);
        p.cut[i] = cut_product(k, w, n, block);
        total += p.cut[i].rows * p.cut[i].columns;
        skinny |= p.cut[i].skinny;
        widen |= !p.cut[i].skinny && (w->type != DTYPE_F32 || w->transposed);
        plain |= !p.cut[i].skinny && !w->transposed;
    }
    if ((skinny && !(p.turned = turn_rows(d, x, n, depth, e))) ||
        (plain && !(p.panels = make_panels(d, x, n, depth, e))) ||
        (widen && !(p.wide = arena_alloc(&d->scratch, (size_t)threads_count() * COLUMNS,
                                         depth * sizeof(float), e))))
        return -1;
    threads_for(total, cpu_grain(COLUMNS * depth * block / 16), product_items, &p);
    arena_rewind(&d->scratch, mark);
    return 0;
}
