// SPDX-License-Identifier: MIT
// Matrix products. Forward: own tiles, because a library's product chooses its kernel by the shape
// of the batch and so gives a row other bits in other company; and because a few rows (sampling)
// must stream the weights once, in place, without packing them. Backward: OpenBLAS on fixed tiles.
#include "ops/cpu/cpu.h"
#include "base/thread.h"

#include <cblas.h>
#include <string.h>

enum {
    COLUMNS = 48,             // outputs a work item makes for each panel: a multiple of every tile
    PANEL_BYTES = 192 * 1024, // of x that stay in the second-level cache while weights pass
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

struct product {
    const struct kernels *kernels;
    const float *panels;
    size_t n, depth, panels_a_block;
    const struct linear *out;
    size_t blocks;   // of panels
    size_t items[8]; // column blocks of each output
    size_t count;
    float *wide; // [threads][COLUMNS][depth] for weights that are not fp32
};

// c [columns][16] to the rows of y.
static void store_tile(const struct kernels *kernels, const struct linear *o, const float *c,
                       const float *bias, size_t row, size_t rows, size_t column, size_t columns)
{
    float turned[LANES * COLUMNS];
    if (!o->bias.data && !o->add) {
        kernels->transpose(o->y + row * o->w.rows + column, o->w.rows, c, LANES, columns, rows);
        return;
    }
    kernels->transpose(turned, COLUMNS, c, LANES, columns, rows);
    for (size_t r = 0; r < rows; r++) {
        float *y = o->y + (row + r) * o->w.rows + column;
        if (o->bias.data)
            kernels->add(turned + r * COLUMNS, bias, columns);
        if (o->add)
            kernels->add(y, turned + r * COLUMNS, columns);
        else
            memcpy(y, turned + r * COLUMNS, columns * sizeof *y);
    }
}

// Weights of some outputs: of output n, input k at data[n * n_stride + k * k_stride].
struct weights {
    const float *data;
    size_t n_stride, k_stride;
};

// c [columns][16] = w [columns, depth] times a panel. Slices of the depth pass one by one where
// that keeps the panel's part in the first-level cache; the sums are the same either way.
static void multiply_panel(const struct product *p, const float *panel, struct weights w,
                           size_t columns, size_t slice, float *c)
{
    const struct kernels *k = p->kernels;
    for (size_t begin = 0; begin == 0 || begin < p->depth; begin += slice) {
        size_t depth = p->depth - begin < slice ? p->depth - begin : slice;
        for (size_t i = 0; i < columns; i += k->tile) {
            size_t rows = columns - i < k->tile ? columns - i : k->tile;
            k->tile_product(rows, depth, panel + begin * LANES, LANES,
                            w.data + i * w.n_stride + begin * w.k_stride, w.n_stride, w.k_stride,
                            c + i * LANES, LANES, begin > 0);
        }
    }
}

// Outputs `column` .. `column` + `columns` of w: where they lie, or widened into `wide`.
static struct weights weights_at(const struct product *p, const struct tensor *w, size_t column,
                                 size_t columns, float *wide)
{
    size_t pitch = tensor_pitch(w), size = dtype_size(w->type);
    const char *from = (const char *)w->data + column * (w->transposed ? 1 : pitch) * size;
    struct weights out = {(const float *)from, pitch, 1};
    if (w->transposed)
        out = (struct weights){(const float *)from, 1, pitch};
    if (w->type == DTYPE_F32)
        return out;
    size_t lines = w->transposed ? p->depth : columns, length = w->transposed ? columns : p->depth;
    size_t apart = w->transposed ? COLUMNS : p->depth;
    if (length == pitch && length == apart)
        p->kernels->widen(wide, from, w->type, lines * length);
    else
        for (size_t i = 0; i < lines; i++)
            p->kernels->widen(wide + i * apart, from + i * pitch * size, w->type, length);
    return w->transposed ? (struct weights){wide, 1, COLUMNS} : (struct weights){wide, p->depth, 1};
}

// Item: one block of panels times one block of columns.
static void product_item(const struct product *p, size_t item, int worker)
{
    size_t which = 0;
    while (item >= p->items[which] * p->blocks)
        item -= p->items[which++] * p->blocks;
    const struct linear *o = &p->out[which];
    size_t block = item / p->items[which];
    size_t column = item % p->items[which] * COLUMNS;
    size_t columns = o->w.rows - column < COLUMNS ? o->w.rows - column : COLUMNS;
    float *wide = p->wide ? p->wide + (size_t)worker * COLUMNS * p->depth : NULL;
    struct weights w = weights_at(p, &o->w, column, columns, wide);
    float bias[COLUMNS] = {0};
    if (o->bias.data) {
        size_t offset = column * dtype_size(o->bias.type);
        dtype_to_f32(bias, (const char *)o->bias.data + offset, o->bias.type, columns);
    }
    size_t first = block * p->panels_a_block;
    size_t row = first * LANES;
    float c[COLUMNS * LANES];
    for (size_t panel = first; panel < first + p->panels_a_block && row < p->n; panel++) {
        const float *a = p->panels + panel * p->depth * LANES;
        // The first panel meets weights that come from memory: row after row, as they lie.
        multiply_panel(p, a, w, columns, panel == first ? p->depth : SLICE, c);
        size_t rows = p->n - row < LANES ? p->n - row : LANES;
        store_tile(p->kernels, o, c, bias, row, rows, column, columns);
        row += LANES;
    }
}

static void product_items(void *arg, size_t begin, size_t end, int worker)
{
    for (size_t i = begin; i < end; i++)
        product_item(arg, i, worker);
}

int cpu_linear(struct device *d, const float *x, size_t n, const struct linear *out, size_t count,
               struct err *e)
{
    if (n == 0)
        return 0;
    struct arena_mark mark = arena_mark(&d->scratch);
    size_t depth = out[0].w.cols, panels = (n + LANES - 1) / LANES;
    struct pack pack = {.kernels = cpu_kernels(d), .x = x, .n = n, .depth = depth};
    pack.panels = arena_alloc(&d->scratch, panels * LANES, depth * sizeof(float), e);
    if (!pack.panels)
        return -1;
    threads_for(panels, cpu_grain(depth * LANES), pack_panels, &pack);

    struct product p = {.kernels = cpu_kernels(d), .panels = pack.panels, .n = n, .depth = depth};
    p.out = out;
    p.count = count;
    p.panels_a_block = PANEL_BYTES / (depth * LANES * sizeof(float));
    if (p.panels_a_block < 1)
        p.panels_a_block = 1;
    if (p.panels_a_block > panels)
        p.panels_a_block = panels;
    p.blocks = (panels + p.panels_a_block - 1) / p.panels_a_block;
    size_t total = 0;
    int widen = 0;
    for (size_t i = 0; i < count; i++) {
        p.items[i] = (out[i].w.rows + COLUMNS - 1) / COLUMNS;
        total += p.items[i] * p.blocks;
        widen |= out[i].w.type != DTYPE_F32;
    }
    if (widen) {
        p.wide =
            arena_alloc(&d->scratch, (size_t)threads_count() * COLUMNS, depth * sizeof(float), e);
        if (!p.wide)
            return -1;
    }
    size_t cost = COLUMNS * depth * p.panels_a_block * LANES / 16;
    threads_for(total, cpu_grain(cost), product_items, &p);
    arena_rewind(&d->scratch, mark);
    return 0;
}

// Cuts `size` into pieces of about `target`, multiples of 16; depends on the shape alone.
static size_t piece(size_t size, size_t target)
{
    size_t pieces = (size + target / 2) / target;
    if (pieces < 1)
        pieces = 1;
    size_t length = (size + pieces - 1) / pieces;
    return (length + 15) / 16 * 16;
}

struct grid {
    const float *dy, *x, *w;
    float *out;
    size_t n, width, depth; // dy [n, width], x [n, depth], w [width, depth]
    size_t pitch;           // of w or of its gradient
    int transposed;         // [depth, width]
    size_t row_piece, column_piece, columns;
    float beta;
};

// Cuts out [rows, depth] into tiles; returns their number.
static size_t grid_cut(struct grid *g, size_t rows, size_t row_target, size_t column_target)
{
    g->row_piece = piece(rows, row_target);
    g->column_piece = piece(g->depth, column_target);
    g->columns = (g->depth + g->column_piece - 1) / g->column_piece;
    return (rows + g->row_piece - 1) / g->row_piece * g->columns;
}

// dx[rows, columns] = dy[rows, :] w[:, columns]
static void input_tile(const struct grid *g, size_t i)
{
    size_t row = i / g->columns * g->row_piece, column = i % g->columns * g->column_piece;
    size_t rows = g->n - row < g->row_piece ? g->n - row : g->row_piece;
    size_t columns = g->depth - column < g->column_piece ? g->depth - column : g->column_piece;
    cblas_sgemm(CblasRowMajor, CblasNoTrans, g->transposed ? CblasTrans : CblasNoTrans, (int)rows,
                (int)columns, (int)g->width, 1, g->dy + row * g->width, (int)g->width,
                g->w + column * (g->transposed ? g->pitch : 1), (int)g->pitch, g->beta,
                g->out + row * g->depth + column, (int)g->depth);
}

// dw[rows, columns] += dy[:, rows]^T x[:, columns]
static void weight_tile(const struct grid *g, size_t i)
{
    size_t row = i / g->columns * g->row_piece, column = i % g->columns * g->column_piece;
    size_t rows = g->width - row < g->row_piece ? g->width - row : g->row_piece;
    size_t columns = g->depth - column < g->column_piece ? g->depth - column : g->column_piece;
    if (g->transposed)
        cblas_sgemm(CblasRowMajor, CblasTrans, CblasNoTrans, (int)columns, (int)rows, (int)g->n, 1,
                    g->x + column, (int)g->depth, g->dy + row, (int)g->width, 1,
                    g->out + column * g->pitch + row, (int)g->pitch);
    else
        cblas_sgemm(CblasRowMajor, CblasTrans, CblasNoTrans, (int)rows, (int)columns, (int)g->n, 1,
                    g->dy + row, (int)g->width, g->x + column, (int)g->depth, 1,
                    g->out + row * g->pitch + column, (int)g->pitch);
}

// Both products are one list of tiles, so that threads wait for each other once.
struct gradients {
    struct grid input, weight;
    size_t input_tiles, weight_tiles; // 0: not wanted
};

static void gradient_tiles(void *arg, size_t begin, size_t end, int worker)
{
    const struct gradients *g = arg;
    for (size_t i = begin; i < end; i++)
        if (i < g->input_tiles)
            input_tile(&g->input, i);
        else
            weight_tile(&g->weight, i - g->input_tiles);
}

int cpu_linear_backward(struct device *d, float *dx, int add, const float *dy, const float *x,
                        size_t n, const struct tensor *w, const struct tensor *bias, struct err *e)
{
    if (n == 0)
        return 0;
    struct arena_mark mark = arena_mark(&d->scratch);
    struct grid both = {.dy = dy, .x = x, .n = n, .width = w->rows, .depth = w->cols};
    both.pitch = tensor_pitch(w);
    both.transposed = w->transposed;
    struct gradients g = {.input = both, .weight = both};
    if (dx) {
        g.input.w = cpu_f32(d, w, &g.input.pitch, e);
        if (!g.input.w)
            return -1;
        g.input.out = dx;
        g.input.beta = add ? 1 : 0;
        g.input_tiles = grid_cut(&g.input, n, 256, 288);
    }
    if (w->grad) {
        g.weight.out = w->grad;
        g.weight_tiles = grid_cut(&g.weight, w->rows, 384, 288);
    }
    threads_for(g.input_tiles + g.weight_tiles, 1, gradient_tiles, &g);
    if (bias && bias->data && bias->grad)
        cpu_kernels(d)->column_sums(bias->grad, dy, n, w->rows, w->rows);
    arena_rewind(&d->scratch, mark);
    return 0;
}
