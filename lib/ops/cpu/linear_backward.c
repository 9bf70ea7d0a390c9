// SPDX-License-Identifier: MIT
// Gradients of matrix products, in the arithmetic of the products themselves. Both are one list of
// blocks, so that threads wait for each other once.
#include "base/thread.h"
#include "ops/cpu/block.h"
#include "ops/cpu/cpu.h"

struct gradients {
    struct block_product input, weight;
    size_t input_blocks, weight_blocks; // 0: not wanted
    float *work;
};

static void make_blocks(void *arg, size_t begin, size_t end, int worker)
{
    const struct gradients *g = arg;
    float *work = g->work + (size_t)worker * block_floats();
    for (size_t i = begin; i < end; i++)
        if (i < g->input_blocks)
            block_make(&g->input, i, work);
        else
            block_make(&g->weight, i - g->input_blocks, work);
}

// dx (+)= dy w, where the weights lie as [in, out]: a forward product.
static int turned_gradient(struct device *d, float *dx, int add, const float *dy, size_t n,
                           const struct tensor *w, struct err *e)
{
    struct linear l = {.y = dx, .w = *w, .add = add};
    l.w.transposed = 0;
    l.w.rows = w->cols;
    l.w.cols = w->rows;
    l.w.pitch = tensor_pitch(w);
    return cpu_linear(d, dy, n, &l, 1, e);
}

// dx (+)= dy w
static struct block_product input_gradient(const struct device *d, float *dx, int add,
                                           const float *dy, size_t n, const struct tensor *w)
{
    return (struct block_product){.kernels = cpu_kernels(d),
                                  .arithmetic = cpu_arithmetic(d),
                                  .rows = n,
                                  .columns = w->cols,
                                  .depth = w->rows,
                                  .a = w->data,
                                  .a_type = w->type,
                                  .a_pitch = tensor_pitch(w),
                                  .b = dy,
                                  .b_pitch = w->rows,
                                  .out = dx,
                                  .out_pitch = w->cols,
                                  .add = add};
}

// The weights' gradient += dy^T x, or x^T dy where they lie as [in, out].
static struct block_product weight_gradient(const struct device *d, const float *dy, const float *x,
                                            size_t n, const struct tensor *w)
{
    int turned = w->transposed;
    return (struct block_product){.kernels = cpu_kernels(d),
                                  .arithmetic = cpu_arithmetic(d),
                                  .rows = turned ? w->cols : w->rows,
                                  .columns = turned ? w->rows : w->cols,
                                  .depth = n,
                                  .a = turned ? dy : x,
                                  .a_type = DTYPE_F32,
                                  .a_pitch = turned ? w->rows : w->cols,
                                  .b = turned ? x : dy,
                                  .b_pitch = turned ? w->cols : w->rows,
                                  .across = 1,
                                  .out = w->grad,
                                  .out_pitch = tensor_pitch(w),
                                  .add = 1};
}

int cpu_linear_backward(struct device *d, float *dx, int add, const float *dy, const float *x,
                        size_t n, const struct tensor *w, const struct tensor *bias, struct err *e)
{
    if (n == 0)
        return 0;
    struct arena_mark mark = arena_mark(&d->scratch);
    struct gradients g = {0};
    if (dx && w->transposed && turned_gradient(d, dx, add, dy, n, w, e) < 0)
        return -1;
    if (dx && !w->transposed) {
        g.input = input_gradient(d, dx, add, dy, n, w);
        g.input_blocks = block_cut(&g.input);
    }
    if (w->grad) {
        g.weight = weight_gradient(d, dy, x, n, w);
        g.weight_blocks = block_cut(&g.weight);
    }
    g.work = arena_alloc(&d->scratch, (size_t)threads_count() * block_floats(), sizeof(float), e);
    if (!g.work)
        return -1;
    threads_for(g.input_blocks + g.weight_blocks, 1, make_blocks, &g);
    if (bias && bias->data && bias->grad)
        cpu_kernels(d)->column_sums(bias->grad, dy, n, w->rows, w->rows);
    arena_rewind(&d->scratch, mark);
    return 0;
}
