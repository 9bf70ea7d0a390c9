// SPDX-License-Identifier: MIT
// Products of operands rounded to bf16 (--dtype bf16): bit for bit what their definition says, for
// each kernel set, any layout, any number of rows and threads.
#include "kernel_wide.h"
#include "ops/cpu/flush.h"
#include "ops_kit.h"

static const enum dtype types[] = {DTYPE_F32, DTYPE_BF16, DTYPE_F16};

static float *narrowed(const double *x, size_t n)
{
    float *y = kit_alloc(n, sizeof *y);
    for (size_t i = 0; i < n; i++)
        y[i] = (float)x[i];
    return y;
}

static size_t differences(const float *a, const float *b, size_t n)
{
    size_t wrong = 0;
    for (size_t i = 0; i < n; i++)
        wrong += memcmp(&a[i], &b[i], sizeof *a) != 0;
    return wrong;
}

static void forward(void)
{
    for (int round = 0; round < 36; round++) {
        kit_begin(round);
        size_t n = ONE_OF(1, 2, 3, 5, 6, 7, 12, 13, 16, 17, 32, 33, 70),
               in = ONE_OF(1, 3, 8, 16, 17, 50, 96, 255, 256, 257, 300, 576, 1100);
        float *x = normals(n * in, 1), *expected[3];
        struct linear product[3] = {{0}};
        for (size_t i = 0; i < 3; i++) {
            size_t out = ONE_OF(1, 5, 12, 47, 48, 64, 65, 100, 200, 400);
            double *w, *bias = NULL;
            struct linear *p = &product[i];
            enum dtype type = types[(round + i) % 3];
            int form = (int)rng_below(&rng, 3);
            p->w = form < 2 ? random_part(type, out, in, form, 1, &w)
                            : random_tensor(type, out, in, 1, &w);
            if (rng_below(&rng, 2))
                p->bias = random_tensor(types[rng_below(&rng, 3)], 1, out, 1, &bias);
            p->add = (int)rng_below(&rng, 2);
            p->y = normals(n * out, 1);
            expected[i] = copied(p->y, n * out);
            float *weight = narrowed(w, out * in);
            for (size_t r = 0; r < n; r++)
                for (size_t o = 0; o < out; o++) {
                    float sum = reference_bf16_sum(x + r * in, 1, weight + o * in, 1, in);
                    sum = bias ? sum + (float)bias[o] : sum;
                    expected[i][r * out + o] = p->add ? expected[i][r * out + o] + sum : sum;
                }
        }
        CHECK(threads_set(1 + round % 3, &error) == 0);
        CHECK(device.ops->linear(&device, x, n, product, 3, &error) == 0);
        for (size_t i = 0; i < 3; i++)
            CHECK(differences(product[i].y, expected[i], n * product[i].w.rows) == 0);
    }
}

static void backward(void)
{
    for (int round = 0; round < 24; round++) {
        kit_begin(round);
        size_t n = ONE_OF(1, 2, 17, 40), in = ONE_OF(1, 8, 50, 200), out = ONE_OF(1, 5, 49, 100),
               wrong = 0;
        if (round % 6 == 4) // several blocks and slices each way
            n = 3, in = 450, out = 530;
        else if (round % 6 == 5)
            n = 600, in = 40, out = 9;
        double *exact, *unused;
        int form = round / 3 % 3, clean, add = round & 1;
        struct tensor w = form < 2 ? random_part(types[round % 3], out, in, form, 1, &exact)
                                   : random_tensor(types[round % 3], out, in, 1, &exact);
        struct tensor bias = random_tensor(DTYPE_F32, 1, out, 1, &unused);
        float *x = normals(n * in, 1), *dy = normals(n * out, 1),
              *weight = narrowed(exact, in * out);
        float *dx = normals(n * in, 1), *before = normals(in * out, 1);
        float *dx_before = copied(dx, n * in);
        w.grad = part_gradient(&w, before);
        bias.grad = zeros(out);
        CHECK(threads_set(1 + round % 3, &error) == 0);
        CHECK(device.ops->linear_backward(&device, dx, add, dy, x, n, &w, &bias, &error) == 0);
        for (size_t r = 0; r < n; r++)
            for (size_t i = 0; i < in; i++) {
                float sum = reference_bf16_sum(dy + r * out, 1, weight + i, in, out);
                sum = add ? dx_before[r * in + i] + sum : sum;
                wrong += memcmp(&sum, &dx[r * in + i], sizeof sum) != 0;
            }
        CHECK(wrong == 0);
        float *dw = part_values(&w, &clean);
        CHECK(clean);
        for (size_t o = 0; o < out; o++)
            for (size_t i = 0; i < in; i++) {
                float sum = before[o * in + i] + reference_bf16_sum(dy + o, out, x + i, in, n);
                wrong += memcmp(&sum, &dw[o * in + i], sizeof sum) != 0;
            }
        CHECK(wrong == 0);
        for (size_t o = 0; o < out; o++)
            for (size_t r = 0; r < n; r++)
                bias.grad[o] -= dy[r * out + o];
        CHECK(largest(doubled(bias.grad, out), out) < 1e-3);
        // What is not asked for is left out: the rest is the same.
        float *alone = copied(dx_before, n * in);
        w.grad = NULL;
        CHECK(device.ops->linear_backward(&device, alone, add, dy, x, n, &w, NULL, &error) == 0);
        CHECK(differences(alone, dx, n * in) == 0);
        CHECK(device.ops->linear_backward(&device, NULL, 0, dy, x, n, &w, NULL, &error) == 0);
    }
}

// Numbers of every size, with zeros, infinities and what is not a number: as the processor's
// instruction has them. Without fused multiply-add, products too small for fp32 are lost.
static void odd_numbers(void)
{
    enum { IN = 40, OUT = 96 };
    const char *set = ((const struct kernels *)device.backend)->name;
    int fused = !strncmp(set, "avx", 3), kinds = fused ? 3 : 1;
    for (int round = 0; round < 40; round++) {
        kit_begin(round);
        size_t n = ONE_OF(1, 4, 20), wrong = 0;
        float *x = zeros(n * IN), *w = zeros(OUT * IN), *y = zeros(n * OUT);
        uint16_t *stored = kit_alloc(OUT * IN, sizeof *stored);
        for (size_t i = 0; i < n * IN + OUT * IN; i++) {
            float *to = i < n * IN ? x + i : w + (i - n * IN);
            uint32_t bits = rng_u32(&rng), exponent = 0;
            if (round % kinds == 0)
                exponent = 100 + bits % 50;
            else if (round % kinds == 1)
                exponent = bits % 70; // subnormal operands and sums
            else
                exponent = bits % 97 ? 60 + bits % 130 : 255;
            bits = (bits & 0x807fffff) | exponent << 23;
            memcpy(to, &bits, sizeof bits);
        }
        dtype_from_f32(stored, w, DTYPE_BF16, OUT * IN);
        int narrow = round & 1;
        if (narrow)
            dtype_to_f32(w, stored, DTYPE_BF16, OUT * IN);
        struct linear product = {.y = y, .w = {.data = w, .rows = OUT, .cols = IN}};
        if (narrow) {
            product.w.data = stored;
            product.w.type = DTYPE_BF16;
        }
        CHECK(device.ops->linear(&device, x, n, &product, 1, &error) == 0);
        for (size_t r = 0; r < n; r++)
            for (size_t o = 0; o < OUT; o++) {
                unsigned before = flush_begin();
                float sum = reference_bf16_sum(x + r * IN, 1, w + o * IN, 1, IN);
                flush_end(before);
                float made = y[r * OUT + o];
                wrong += memcmp(&sum, &made, sizeof sum) != 0 && !(isnan(sum) && isnan(made));
            }
        CHECK(wrong == 0);
    }
    volatile float tiny = 0x1p-130f; // what is subnormal outside of products is left alone
    CHECK(tiny * 0.5f > 0);
}

static void tests_of_set(void)
{
    device.products = PRODUCTS_BF16;
    run_named("products as defined", forward);
    run_named("gradients as defined", backward);
    run_named("numbers of every size", odd_numbers);
}

int main(void)
{
    arena_init(&memory);
    each_set(tests_of_set);
    arena_release(&memory);
    return test_end();
}
