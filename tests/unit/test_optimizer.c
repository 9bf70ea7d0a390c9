// SPDX-License-Identifier: MIT
#include "test.h"

#include "base/rng.h"
#include "base/thread.h"
#include "train/optimizer.h"

#include <stdlib.h>

static struct device device;
static struct err error;

enum { N = 70001, STEPS = 5 }; // several chunks, the last one odd

static float *filled(uint32_t use, double scale)
{
    struct rng r;
    rng_init(&r, 3, RNG_TEST, use, 0);
    float *x = malloc(N * sizeof *x);
    for (int i = 0; i < N; i++)
        x[i] = (float)(scale * rng_normal(&r));
    return x;
}

// The formulas of the header in double, one element.
static void reference(const struct optimizer *o, double t, double *p, double g, double *m,
                      double *v, double lr, double decay)
{
    *p *= 1 - lr * decay;
    if (o->kind == OPTIMIZER_SGD) {
        *p -= lr * g;
    } else if (o->kind == OPTIMIZER_RMSPROP) {
        *v = o->alpha * *v + (1 - o->alpha) * g * g;
        *p -= lr * g / (sqrt(*v) + o->epsilon);
    } else {
        *m = o->beta1 * *m + (1 - o->beta1) * g;
        *v = o->beta2 * *v + (1 - o->beta2) * g * g;
        *p -= lr * (*m / (1 - pow(o->beta1, t))) / (sqrt(*v / (1 - pow(o->beta2, t))) + o->epsilon);
    }
}

static void run(struct optimizer *o, float *p, float *m, float *v, int decays, double scale)
{
    memset(m, 0, N * sizeof *m);
    memset(v, 0, N * sizeof *v);
    for (int s = 0; s < STEPS; s++) {
        float *g = filled(10 + s, 0.02);
        optimizer_begin(o);
        CHECK(optimizer_step(o, &device, N, p, g, m, v, 0.01, decays, scale, &error) == 0);
        free(g);
    }
}

static void check_kind(enum optimizer_kind kind, double epsilon, int decays, double scale)
{
    struct optimizer o;
    optimizer_init(&o, kind);
    o.weight_decay = 0.1;
    o.beta2 = 0.95;
    o.epsilon = epsilon;
    float *p = filled(1, 1), *start = filled(1, 1), *m = malloc(N * 4), *v = malloc(N * 4);
    run(&o, p, m, v, decays, scale);
    float *g[STEPS];
    for (int s = 0; s < STEPS; s++)
        g[s] = filled(10 + s, 0.02);
    double worst = 0;
    for (int i = 0; i < N; i++) {
        double rp = start[i], rm = 0, rv = 0;
        for (int s = 0; s < STEPS; s++)
            reference(&o, s + 1, &rp, scale * g[s][i], &rm, &rv, 0.01, decays ? 0.1 : 0);
        worst = fmax(worst, fabs(rp - p[i]));
    }
    CHECK_NEAR(worst, 0, 2e-6); // float rounding of numbers near 4, a few times
    for (int s = 0; s < STEPS; s++)
        free(g[s]);
    free(p);
    free(start);
    free(m);
    free(v);
}

static void adamw_follows_its_formula(void)
{
    check_kind(OPTIMIZER_ADAMW, 1e-8, 1, 1);
    check_kind(OPTIMIZER_ADAMW, 1e-3, 0, 0.25);
}

static void rmsprop_follows_its_formula(void)
{
    check_kind(OPTIMIZER_RMSPROP, 1e-8, 0, 1);
    check_kind(OPTIMIZER_RMSPROP, 1e-3, 1, 0.5);
}

static void sgd_follows_its_formula(void)
{
    check_kind(OPTIMIZER_SGD, 0, 1, 3);
}

// The first AdamW step is lr * sign(g); the first of RMSprop 10 lr * sign(g).
static void first_steps(void)
{
    struct optimizer o;
    float p = 1, g = -0.5f, m = 0, v = 0;
    optimizer_init(&o, OPTIMIZER_ADAMW);
    optimizer_begin(&o);
    CHECK(optimizer_step(&o, &device, 1, &p, &g, &m, &v, 0.01, 1, 1, &error) == 0);
    CHECK_NEAR(p, 1.01, 1e-6);
    p = 1, v = 0;
    optimizer_init(&o, OPTIMIZER_RMSPROP);
    optimizer_begin(&o);
    CHECK(optimizer_step(&o, &device, 1, &p, &g, NULL, &v, 0.001, 1, 1, &error) == 0);
    CHECK_NEAR(p, 1.01, 1e-6);
}

// A row that no token touched still decays, and a small decay is not lost in rounding.
static void decay_acts_without_gradient(void)
{
    struct optimizer o;
    optimizer_init(&o, OPTIMIZER_ADAMW);
    o.weight_decay = 0.01;
    float p = 1, g = 0, m = 0, v = 0;
    double expected = 1;
    for (int s = 0; s < 1000; s++) {
        optimizer_begin(&o);
        CHECK(optimizer_step(&o, &device, 1, &p, &g, &m, &v, 1e-3, 1, 1, &error) == 0);
        expected *= 1 - 1e-5;
    }
    CHECK_NEAR(p, expected, 3e-5);
    CHECK(p < 0.991);
}

static void threads_do_not_matter(void)
{
    for (int kind = 0; optimizer_kinds[kind]; kind++) {
        float *p[3], *m = malloc(N * 4), *v = malloc(N * 4);
        for (int k = 0; k < 3; k++) {
            CHECK(threads_set(k + 1, &error) == 0);
            struct optimizer o;
            optimizer_init(&o, kind);
            o.weight_decay = 0.1;
            p[k] = filled(1, 1);
            run(&o, p[k], m, v, 1, 0.7);
            CHECK(memcmp(p[k], p[0], N * sizeof(float)) == 0);
        }
        for (int k = 0; k < 3; k++)
            free(p[k]);
        free(m);
        free(v);
    }
    CHECK(threads_set(1, &error) == 0);
}

static double sum_squares(const float *x, size_t n)
{
    double sum = 0;
    CHECK(device.ops->sum_squares(&device, x, n, &sum, &error) == 0);
    return sum;
}

static void sums_of_squares(void)
{
    float *x = filled(5, 1);
    double exact = 0, first = 0;
    for (int i = 0; i < N; i++)
        exact += (double)x[i] * x[i];
    for (int k = 1; k <= 3; k++) {
        CHECK(threads_set(k, &error) == 0);
        double sum = sum_squares(x, N);
        CHECK_NEAR(sum, exact, 1e-9 * exact);
        if (k == 1)
            first = sum;
        CHECK(memcmp(&sum, &first, sizeof sum) == 0);
    }
    CHECK(threads_set(1, &error) == 0);
    CHECK(sum_squares(x, 0) == 0);
    CHECK(sum_squares(x, 1) == (double)x[0] * x[0]);
    x[N / 2] = NAN;
    CHECK(isnan(sum_squares(x, N)));
    free(x);
    // More than PARTS_MAX chunks of the smallest size: the grain grows.
    size_t large = (size_t)20 << 20;
    float *ones = malloc(large * sizeof *ones);
    for (size_t i = 0; i < large; i++)
        ones[i] = 2;
    CHECK(sum_squares(ones, large) == 4.0 * (double)large);
    free(ones);
}

// y + weight (x - y), what is added in double; the same bits for any number of threads.
static void averages(void)
{
    float *x = filled(6, 1), *first = NULL;
    for (int k = 1; k <= 3; k++) {
        CHECK(threads_set(k, &error) == 0);
        float *y = filled(7, 1), *start = filled(7, 1);
        size_t wrong = 0;
        CHECK(device.ops->average(&device, y, x, 0.3, N, &error) == 0);
        for (int i = 0; i < N; i++)
            wrong += y[i] != start[i] + (float)(0.3 * ((double)x[i] - (double)start[i]));
        CHECK(wrong == 0);
        CHECK(!first || !memcmp(first, y, N * sizeof *y));
        free(first);
        first = y;
        free(start);
    }
    CHECK(threads_set(1, &error) == 0);
    free(first);
    free(x);
}

static void clip_factor(void)
{
    CHECK_NEAR(optimizer_clip(2, 1), 1 / (2 + 1e-6), 0);
    CHECK(optimizer_clip(0.5, 1) == 1);
    CHECK(optimizer_clip(5, 0) == 1);
}

int main(void)
{
    if (device_open(&device, "cpu", PRODUCTS_FP32, &error) < 0)
        return 1;
    RUN(adamw_follows_its_formula);
    RUN(rmsprop_follows_its_formula);
    RUN(sgd_follows_its_formula);
    RUN(first_steps);
    RUN(decay_acts_without_gradient);
    RUN(threads_do_not_matter);
    RUN(sums_of_squares);
    RUN(averages);
    RUN(clip_factor);
    device_release(&device);
    return test_end();
}
