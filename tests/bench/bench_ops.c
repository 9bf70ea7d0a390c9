// SPDX-License-Identifier: MIT
// Rates of the operations on the shapes of SmolLM-135M (hidden 576, 9 heads on 3, head_dim 64, ff
// 1536, vocabulary 49152), 4 sequences of 256 tokens, one and two threads. Matrix products stand
// beside one OpenBLAS call for the whole product with as many threads, taken in turns with it;
// attention, of other shapes too, beside the rate of the product 1024x576x1536 there.
// The best of several rounds counts: processor time for one thread (less moved by other users of
// the machine), time on the clock for two. An argument keeps the lines whose name contains it.
#include "base/rng.h"
#include "base/thread.h"
#include "ops/ops.h"

#include <cblas.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

void openblas_set_num_threads(int n);

enum {
    HIDDEN = 576,
    HEADS = 9,
    KV_HEADS = 3,
    DIM = 64,
    FF = 1536,
    VOCAB = 49152,
    SEQUENCES = 4,
    LENGTH = 256,
    TOKENS = SEQUENCES * LENGTH,
    CHUNK = 256, // rows of logits at a time
};

static struct device device;
static struct err error;
static const char *only;

static double now(int threads)
{
    struct timespec t;
    clock_gettime(threads == 1 ? CLOCK_THREAD_CPUTIME_ID : CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void *need(size_t n, size_t size)
{
    void *p = mem_alloc(n, size, "bench", &error);
    if (!p)
        exit(message_fail(&error));
    return p;
}

static float *randoms(size_t n, float size)
{
    static uint64_t seed;
    struct rng r;
    rng_init(&r, seed++, RNG_TEST, 0, 0);
    float *x = need(n, sizeof *x);
    for (size_t i = 0; i < n; i++)
        x[i] = ((float)rng_u32(&r) * 0x1p-31f - 1) * size;
    return x;
}

typedef void work_fn(void *arg);

// Seconds of the best round of each of the two (the second may be NULL), taken in turns.
static void race(work_fn *ours, work_fn *theirs, void *arg, int threads, double best[2])
{
    best[0] = best[1] = INFINITY;
    double begin = now(threads);
    for (int round = 0; round < 200 && (round < 3 || now(threads) - begin < 0.5); round++)
        for (int k = 0; k < (theirs ? 2 : 1); k++) {
            openblas_set_num_threads(k ? threads : 1);
            double start = now(threads);
            (k ? theirs : ours)(arg);
            double seconds = now(threads) - start;
            if (seconds < best[k] && round)
                best[k] = seconds;
        }
}

// amount: floating-point operations or bytes of one call; their_amount: of one of theirs.
static void compare(const char *name, double amount, const char *unit, work_fn *ours,
                    double their_amount, work_fn *theirs, void *arg)
{
    if (only && !strstr(name, only))
        return;
    printf("%-40s", name);
    for (int threads = 1; threads <= 2; threads++) {
        double best[2];
        if (threads_set(threads, &error) < 0)
            exit(message_fail(&error));
        race(ours, theirs, arg, threads, best);
        printf("  %9.3f ms %7.1f %s", best[0] * 1e3, amount / best[0] * 1e-9, unit);
        if (theirs)
            printf(" %7.1f %4.0f %%", their_amount / best[1] * 1e-9,
                   100 * (amount / best[0]) / (their_amount / best[1]));
    }
    printf("\n");
    fflush(stdout);
}

static void line(const char *name, double amount, const char *unit, work_fn *ours, work_fn *theirs,
                 void *arg)
{
    compare(name, amount, unit, ours, amount, theirs, arg);
}

struct product {
    size_t n, in, out;
    int transposed; // w is [in, out]
    float *x, *y, *w, *grad;
    void *half;
    enum dtype type;
};

static void linear(void *arg)
{
    struct product *p = arg;
    struct linear l = {.y = p->y};
    l.w = (struct tensor){.data = p->type == DTYPE_F32 ? p->w : p->half,
                          .type = p->type,
                          .rows = p->out,
                          .cols = p->in,
                          .transposed = p->transposed};
    device.ops->linear(&device, p->x, p->n, &l, 1, &error);
}

static void whole_linear(void *arg)
{
    struct product *p = arg;
    cblas_sgemm(CblasRowMajor, CblasNoTrans, p->transposed ? CblasNoTrans : CblasTrans, (int)p->n,
                (int)p->out, (int)p->in, 1, p->x, (int)p->in, p->w,
                (int)(p->transposed ? p->out : p->in), 0, p->y, (int)p->out);
}

static void backward(void *arg, float *dx, float *grad)
{
    struct product *p = arg;
    struct tensor w = {
        .data = p->w, .rows = p->out, .cols = p->in, .transposed = p->transposed, .grad = grad};
    device.ops->linear_backward(&device, dx, 0, p->y, p->x, p->n, &w, NULL, &error);
}

static void input_gradient(void *arg)
{
    struct product *p = arg;
    backward(arg, p->x, NULL);
}

static void whole_input_gradient(void *arg)
{
    struct product *p = arg;
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, (int)p->n, (int)p->in, (int)p->out, 1,
                p->y, (int)p->out, p->w, (int)p->in, 0, p->x, (int)p->in);
}

static void weight_gradient(void *arg)
{
    struct product *p = arg;
    backward(arg, NULL, p->grad);
}

static void whole_weight_gradient(void *arg)
{
    struct product *p = arg;
    cblas_sgemm(CblasRowMajor, CblasTrans, CblasNoTrans, (int)p->out, (int)p->in, (int)p->n, 1,
                p->y, (int)p->out, p->x, (int)p->in, 1, p->grad, (int)p->in);
}

static void products(const char *name, size_t n, size_t in, size_t out, int train, int transposed)
{
    char text[64];
    struct product p = {.n = n, .in = in, .out = out, .type = DTYPE_F32, .transposed = transposed};
    p.x = randoms(n * in, 1);
    p.y = randoms(n * out, 1);
    p.w = randoms(out * in, 1);
    p.grad = randoms(out * in, 1);
    p.half = need(out * in, 2);
    double flops = 2.0 * (double)n * (double)in * (double)out;
    snprintf(text, sizeof text, "linear %s", name);
    line(text, flops, "GFLOP/s", linear, whole_linear, &p);
    dtype_from_f32(p.half, p.w, p.type = DTYPE_BF16, out * in);
    snprintf(text, sizeof text, "linear %s bf16", name);
    line(text, flops, "GFLOP/s", linear, whole_linear, &p);
    for (int rounded = 0; rounded < 2; rounded++) { // --dtype fp32, bf16
        const char *kind = rounded ? "rounded " : "";
        device.products = rounded ? PRODUCTS_BF16 : PRODUCTS_FP32;
        if (rounded) {
            snprintf(text, sizeof text, "linear %s rounded bf16", name);
            line(text, flops, "GFLOP/s", linear, whole_linear, &p);
            p.type = DTYPE_F32;
            snprintf(text, sizeof text, "linear %s rounded", name);
            line(text, flops, "GFLOP/s", linear, whole_linear, &p);
        }
        snprintf(text, sizeof text, "linear_backward %s %sdx", name, kind);
        if (train)
            line(text, flops, "GFLOP/s", input_gradient, whole_input_gradient, &p);
        snprintf(text, sizeof text, "linear_backward %s %sdw", name, kind);
        if (train)
            line(text, flops, "GFLOP/s", weight_gradient, whole_weight_gradient, &p);
    }
    device.products = PRODUCTS_FP32;
    free(p.x);
    free(p.y);
    free(p.w);
    free(p.grad);
    free(p.half);
}

// `count` segments of `length` tokens after `past` others; `window` and `softcap` may be 0.
struct attend_shape {
    size_t heads, kv_heads, dim, count, length, past, window;
    float softcap;
    int train;
};

struct attend {
    struct attention a;
    struct segment segment[32];
    float *q, *k, *v, *out, *lse, *dq, *dk, *dv;
    struct product limit;
};

static void attention_limit(void *arg)
{
    struct attend *t = arg;
    whole_linear(&t->limit);
}

static void attention_store(void *arg)
{
    struct attend *t = arg;
    device.ops->attention_store(&device, &t->a, t->k, t->v, &error);
}

static void attention(void *arg)
{
    struct attend *t = arg;
    device.ops->attention(&device, &t->a, t->out, t->q, t->lse, &error);
}

static void attention_of_last(void *arg)
{
    struct attend *t = arg;
    device.ops->attention_of_last(&device, &t->a, t->lse, t->q, &error);
}

static void attention_backward(void *arg)
{
    struct attend *t = arg;
    device.ops->attention_backward(&device, &t->a, t->dq, t->dk, t->dv, t->q, t->out, t->q, t->lse,
                                   &error);
}

static void attention_lines(const char *name, const struct attend_shape *p, struct attend *t)
{
    char text[64];
    double n = (double)(p->count * p->length), width = (double)(p->heads * p->dim);
    double limit = 2.0 * TOKENS * HIDDEN * FF;
    // What the causal half needs: two products forward, five backward.
    double keys = (double)p->past + (double)(p->length + 1) / 2;
    if (p->window)
        keys = (double)p->window;
    double flops = 4 * n * keys * width;
    snprintf(text, sizeof text, "attention_store %s", name);
    line(text, n * (double)(p->kv_heads * p->dim) * 16, "GB/s   ", attention_store, NULL, t);
    snprintf(text, sizeof text, "attention %s", name);
    compare(text, flops, "GFLOP/s", attention, limit, attention_limit, t);
    snprintf(text, sizeof text, "attention_backward %s", name);
    if (p->train)
        compare(text, flops * 2.5, "GFLOP/s", attention_backward, limit, attention_limit, t);
    snprintf(text, sizeof text, "attention_of_last %s", name);
    if (p->train)
        compare(text, 2 * (double)(p->count * p->length) * width, "GFLOP/s", attention_of_last,
                limit, attention_limit, t);
}

static void attentions(const char *name, const struct attend_shape *p)
{
    struct attend t = {.a = {.heads = p->heads,
                             .kv_heads = p->kv_heads,
                             .head_dim = p->dim,
                             .scale = 0.125f,
                             .window = p->window,
                             .softcap = p->softcap,
                             .n_segments = p->count}};
    size_t blocks = (p->past + p->length + KV_BLOCK - 1) / KV_BLOCK, n = p->count * p->length;
    size_t pool = p->count * blocks * KV_BLOCK, wide = p->heads * p->dim, kv = p->kv_heads * p->dim;
    uint32_t *block = need(p->count * blocks, sizeof *block);
    for (size_t i = 0; i < p->count * blocks; i++)
        block[i] = (uint32_t)i;
    for (size_t i = 0; i < p->count; i++)
        t.segment[i] = (struct segment){i * p->length, p->length, p->past, block + i * blocks, 0};
    t.a.segment = t.a.plan = t.segment;
    t.a.k = randoms(pool * kv, 1);
    t.a.v = randoms(pool * kv, 1);
    t.q = randoms(n * wide, 1);
    t.k = randoms(n * kv, 1);
    t.v = randoms(n * kv, 1);
    t.out = randoms(n * wide, 1);
    t.lse = randoms(n * p->heads, 1);
    t.dq = randoms(n * wide, 1);
    t.dk = randoms(n * kv, 1);
    t.dv = randoms(n * kv, 1);
    t.limit = (struct product){.n = TOKENS, .in = HIDDEN, .out = FF};
    t.limit.x = randoms((size_t)TOKENS * HIDDEN, 1);
    t.limit.w = randoms((size_t)HIDDEN * FF, 1);
    t.limit.y = randoms((size_t)TOKENS * FF, 1);
    attention_lines(name, p, &t);
    float *all[] = {t.a.k, t.a.v, t.q,  t.k,       t.v,       t.out,    t.lse,
                    t.dq,  t.dk,  t.dv, t.limit.x, t.limit.w, t.limit.y};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        free(all[i]);
    free(block);
}

struct rows {
    float *x, *y, *z, *w, *rstd, *grad;
    uint32_t *token;
};

static struct tensor row_tensor(const struct rows *r, size_t rows, size_t cols)
{
    return (struct tensor){.data = r->w, .rows = rows, .cols = cols, .grad = r->grad};
}

static void norm_as(struct rows *r, int centred)
{
    struct norm p = {.centred = centred, .eps = 1e-5f, .weight = row_tensor(r, 1, HIDDEN)};
    if (centred)
        p.bias = p.weight;
    device.ops->norm(&device, r->y, r->rstd, r->x, TOKENS, HIDDEN, &p, &error);
}

static void norm(void *arg)
{
    norm_as(arg, 0);
}

static void norm_centred(void *arg)
{
    norm_as(arg, 1);
}

static void norm_backward_as(struct rows *r, int centred)
{
    struct norm p = {.centred = centred, .eps = 1e-5f, .weight = row_tensor(r, 1, HIDDEN)};
    if (centred) {
        p.bias = p.weight;
        p.bias.grad = r->grad + HIDDEN;
    }
    device.ops->norm_backward(&device, r->z, r->y, r->x, r->rstd, TOKENS, HIDDEN, &p, &error);
}

static void norm_backward(void *arg)
{
    norm_backward_as(arg, 0);
}

static void norm_backward_centred(void *arg)
{
    norm_backward_as(arg, 1);
}

static void norm_heads(void *arg)
{
    struct rows *r = arg;
    struct norm p = {.eps = 1e-5f, .weight = row_tensor(r, 1, DIM)};
    device.ops->norm(&device, r->y, NULL, r->x, TOKENS * HEADS, DIM, &p, &error);
}

static void rotate(void *arg)
{
    struct rows *r = arg;
    struct rotary t = {r->w, r->token, DIM, 0};
    device.ops->rotate(&device, r->x, TOKENS, HEADS, DIM, &t, 0, &error);
}

static void rotate_neighbours(void *arg)
{
    struct rows *r = arg;
    struct rotary t = {r->w, r->token, DIM, 1};
    device.ops->rotate(&device, r->x, TOKENS, HEADS, DIM, &t, 0, &error);
}

#define ACTIVATE(name, kind)                                                                       \
    static void name(void *arg)                                                                    \
    {                                                                                              \
        struct rows *r = arg;                                                                      \
        device.ops->activate(&device, kind, r->z, r->x, r->y, (size_t)TOKENS *FF, &error);         \
    }                                                                                              \
    static void name##_backward(void *arg)                                                         \
    {                                                                                              \
        struct rows *r = arg;                                                                      \
        device.ops->activate_backward(&device, kind, r->x, r->y, r->z, (size_t)TOKENS *FF,         \
                                      &error);                                                     \
    }
ACTIVATE(silu, ACTIVATION_SILU)
ACTIVATE(gelu, ACTIVATION_GELU)
ACTIVATE(gelu_tanh, ACTIVATION_GELU_TANH)
ACTIVATE(relu, ACTIVATION_RELU)

static void softcap(void *arg)
{
    struct rows *r = arg;
    device.ops->softcap(&device, r->x, 30, (size_t)CHUNK * VOCAB, &error);
}

static void embed(void *arg)
{
    struct rows *r = arg;
    struct tensor table = row_tensor(r, VOCAB, HIDDEN);
    device.ops->embed(&device, r->x, &table, r->token, TOKENS, 1, 0, &error);
}

static void embed_backward(void *arg)
{
    struct rows *r = arg;
    struct tensor table = row_tensor(r, VOCAB, HIDDEN);
    device.ops->embed_backward(&device, &table, r->x, r->token, TOKENS, 1, &error);
}

static void log_softmax(void *arg)
{
    struct rows *r = arg;
    device.ops->log_softmax(&device, r->x, CHUNK, VOCAB, r->token, r->y, r->z, NULL, NULL, &error);
}

static void log_softmax_all(void *arg)
{
    struct rows *r = arg;
    static uint32_t best[CHUNK];
    device.ops->log_softmax(&device, r->x, CHUNK, VOCAB, r->token, r->y, r->z, r->z + CHUNK, best,
                            &error);
}

static void log_softmax_backward(void *arg)
{
    struct rows *r = arg;
    device.ops->log_softmax_backward(&device, r->x, CHUNK, VOCAB, r->token, r->y, r->z, &error);
}

static void row_operations(void)
{
    struct rows r = {.rstd = randoms(2 * TOKENS, 1), .grad = randoms((size_t)VOCAB * HIDDEN, 1)};
    r.token = need(TOKENS, sizeof *r.token);
    r.x = randoms((size_t)CHUNK * VOCAB, 3);
    r.y = randoms((size_t)TOKENS * FF, 1);
    r.z = randoms((size_t)TOKENS * FF, 1);
    r.w = randoms((size_t)VOCAB * HIDDEN, 1);
    double row = (double)TOKENS * HIDDEN * sizeof(float), ff = (double)TOKENS * FF * sizeof(float);
    double logits = (double)CHUNK * VOCAB * sizeof(float);
    line("log_softmax", logits, "GB/s   ", log_softmax, NULL, &r);
    line("log_softmax entropy best", logits, "GB/s   ", log_softmax_all, NULL, &r);
    line("cap", logits * 2, "GB/s   ", softcap, NULL, &r);
    line("log_softmax_backward", logits * 2, "GB/s   ", log_softmax_backward, NULL, &r);
    for (size_t i = 0; i < TOKENS; i++)
        r.token[i] = (uint32_t)(i % LENGTH);
    for (size_t i = 0; i < (size_t)TOKENS * FF; i++)
        r.x[i] = r.y[i];
    line("norm rms", row * 2, "GB/s   ", norm, NULL, &r);
    line("norm centred", row * 2, "GB/s   ", norm_centred, NULL, &r);
    line("norm of heads", row * 2, "GB/s   ", norm_heads, NULL, &r);
    line("norm_backward rms", row * 4, "GB/s   ", norm_backward, NULL, &r);
    line("norm_backward centred", row * 4, "GB/s   ", norm_backward_centred, NULL, &r);
    line("rotate", row * 2, "GB/s   ", rotate, NULL, &r);
    line("rotate neighbours", row * 2, "GB/s   ", rotate_neighbours, NULL, &r);
    line("activate silu", ff * 3, "GB/s   ", silu, NULL, &r);
    line("activate gelu", ff * 3, "GB/s   ", gelu, NULL, &r);
    line("activate gelu_tanh", ff * 3, "GB/s   ", gelu_tanh, NULL, &r);
    line("activate relu", ff * 3, "GB/s   ", relu, NULL, &r);
    line("activate_backward silu", ff * 5, "GB/s   ", silu_backward, NULL, &r);
    line("activate_backward gelu", ff * 5, "GB/s   ", gelu_backward, NULL, &r);
    line("activate_backward gelu_tanh", ff * 5, "GB/s   ", gelu_tanh_backward, NULL, &r);
    line("activate_backward relu", ff * 5, "GB/s   ", relu_backward, NULL, &r);
    for (size_t i = 0; i < TOKENS; i++)
        r.token[i] = (uint32_t)(i * 7919 % VOCAB);
    line("embed", row * 2, "GB/s   ", embed, NULL, &r);
    line("embed_backward", row * 3, "GB/s   ", embed_backward, NULL, &r);
    free(r.rstd);
    free(r.grad);
    free(r.token);
    free(r.x);
    free(r.y);
    free(r.z);
    free(r.w);
}

static void attention_shapes(void)
{
    struct attend_shape p = {HEADS, KV_HEADS, DIM, SEQUENCES, LENGTH, 0, 0, 0, 1};
    attentions("4x256", &p);
    p.softcap = 50;
    attentions("4x256 cap", &p);
    p = (struct attend_shape){HEADS, KV_HEADS, DIM, 1, 1024, 0, 0, 0, 1};
    attentions("1x1024", &p);
    p.window = 128;
    attentions("1x1024 window 128", &p);
    p = (struct attend_shape){3, 1, DIM, 1, 8192, 0, 0, 0, 1};
    attentions("1x8192 3 on 1", &p);
    static const size_t dims[] = {8, 24, 40, 80, 100};
    for (size_t i = 0; i < sizeof dims / sizeof *dims; i++) {
        char name[32];
        p = (struct attend_shape){8, 4, dims[i], SEQUENCES, LENGTH, 0, 0, 0, 1};
        snprintf(name, sizeof name, "4x256 of %zu", dims[i]);
        attentions(name, &p);
    }
    p = (struct attend_shape){HEADS, KV_HEADS, DIM, 32, 1, 255, 0, 0, 0};
    attentions("32x1 after 255", &p);
}

int main(int argc, char **argv)
{
    only = argc > 1 ? argv[1] : NULL;
    if (device_open(&device, "cpu", PRODUCTS_FP32, &error) < 0)
        return message_fail(&error);
    printf("%-40s  %31s  %31s\n", "", "1 thread", "2 threads");
    products("1024x576x576", TOKENS, HIDDEN, HIDDEN, 1, 0);
    products("1024x576x1536", TOKENS, HIDDEN, FF, 1, 0);
    products("1024x1536x576", TOKENS, FF, HIDDEN, 1, 0);
    products("256x576x49152", CHUNK, HIDDEN, VOCAB, 1, 0);
    products("32x576x1536", 32, HIDDEN, FF, 0, 0);
    products("32x576x49152", 32, HIDDEN, VOCAB, 0, 0);
    products("1024x768x2304 in-out", TOKENS, 768, 2304, 0, 1);
    products("1024x768x2304", TOKENS, 768, 2304, 0, 0);
    products("32x768x3072 in-out", 32, 768, 3072, 0, 1);
    products("32x768x3072", 32, 768, 3072, 0, 0);
    products("1x768x3072 in-out", 1, 768, 3072, 0, 1);
    products("1x768x3072", 1, 768, 3072, 0, 0);
    products("1x3072x768 in-out", 1, 3072, 768, 0, 1);
    products("1x3072x768", 1, 3072, 768, 0, 0);
    products("1x768x50257 in-out", 1, 768, 50257, 0, 1);
    products("1x768x50257", 1, 768, 50257, 0, 0);
    products("1x576x49152", 1, HIDDEN, VOCAB, 0, 0);
    products("2x576x49152", 2, HIDDEN, VOCAB, 0, 0);
    products("4x576x49152", 4, HIDDEN, VOCAB, 0, 0);
    products("8x576x49152", 8, HIDDEN, VOCAB, 0, 0);
    products("12x576x49152", 12, HIDDEN, VOCAB, 0, 0);
    attention_shapes();
    row_operations();
    device_release(&device);
    return 0;
}
