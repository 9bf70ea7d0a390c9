// SPDX-License-Identifier: MIT
// Gradients of matrix products, by OpenBLAS on fixed tiles; those of operands rounded to bf16 are
// linear_bf16.c's.
#include "base/thread.h"
#include "ops/cpu/blas.h"
#include "ops/cpu/cpu.h"

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
    blas_sgemm(CblasNoTrans, g->transposed ? CblasTrans : CblasNoTrans, rows, columns, g->width,
               g->dy + row * g->width, g->width, g->w + column * (g->transposed ? g->pitch : 1),
               g->pitch, g->beta, g->out + row * g->depth + column, g->depth);
}

// dw[rows, columns] += dy[:, rows]^T x[:, columns]
static void weight_tile(const struct grid *g, size_t i)
{
    size_t row = i / g->columns * g->row_piece, column = i % g->columns * g->column_piece;
    size_t rows = g->width - row < g->row_piece ? g->width - row : g->row_piece;
    size_t columns = g->depth - column < g->column_piece ? g->depth - column : g->column_piece;
    if (g->transposed)
        blas_sgemm(CblasTrans, CblasNoTrans, columns, rows, g->n, g->x + column, g->depth,
                   g->dy + row, g->width, 1, g->out + column * g->pitch + row, g->pitch);
    else
        blas_sgemm(CblasTrans, CblasNoTrans, rows, columns, g->n, g->dy + row, g->width,
                   g->x + column, g->depth, 1, g->out + row * g->pitch + column, g->pitch);
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

int cpu_backward_open(struct device *d, struct err *e)
{
    return d->products == PRODUCTS_BF16 ? 0 : blas_open(e);
}

static void bias_gradient(struct device *d, const struct tensor *bias, const float *dy, size_t n,
                          size_t width)
{
    if (bias && bias->data && bias->grad)
        cpu_kernels(d)->column_sums(bias->grad, dy, n, width, width);
}

int cpu_linear_backward(struct device *d, float *dx, int add, const float *dy, const float *x,
                        size_t n, const struct tensor *w, const struct tensor *bias, struct err *e)
{
    if (n == 0)
        return 0;
    if (d->products == PRODUCTS_BF16) {
        if (cpu_linear_backward_bf16(d, dx, add, dy, x, n, w, e) < 0)
            return -1;
        bias_gradient(d, bias, dy, n, w->rows);
        return 0;
    }
    if (blas_open(e) < 0)
        return -1;
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
    bias_gradient(d, bias, dy, n, w->rows);
    arena_rewind(&d->scratch, mark);
    return 0;
}
