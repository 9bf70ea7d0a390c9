// SPDX-License-Identifier: MIT
// Loops over all weights: optimizers, the average of weights, the norm of the gradient.
#include "base/thread.h"
#include "ops/cpu/cpu.h"

#include <math.h>

enum {
    GRAIN = 1 << 14,    // elements a chunk: 256 KiB of four arrays, about a second-level cache
    AVERAGED = 1 << 16, // elements of a chunk of the average
    PARTS_MAX = 1024,   // partial sums kept on the stack
    SUM_LANES = 8,
};

// p - (decay p + step): both parts are small beside p, so that p is rounded once.
static void adamw(const struct update *u, size_t n, float *restrict param,
                  const float *restrict grad, float *restrict m, float *restrict v)
{
    const struct update c = *u;
    for (size_t i = 0; i < n; i++) {
        float g = grad[i] * c.scale;
        float m1 = c.keep1 * m[i] + c.new1 * g;
        float v1 = c.keep2 * v[i] + c.new2 * g * g;
        m[i] = m1;
        v[i] = v1;
        param[i] -= c.decay * param[i] + c.rate * m1 / (sqrtf(v1 * c.root) + c.epsilon);
    }
}

static void rmsprop(const struct update *u, size_t n, float *restrict param,
                    const float *restrict grad, float *restrict v)
{
    const struct update c = *u;
    for (size_t i = 0; i < n; i++) {
        float g = grad[i] * c.scale;
        float v1 = c.keep2 * v[i] + c.new2 * g * g;
        v[i] = v1;
        param[i] -= c.decay * param[i] + c.rate * g / (sqrtf(v1) + c.epsilon);
    }
}

static void sgd(const struct update *u, size_t n, float *restrict param, const float *restrict grad)
{
    const struct update c = *u;
    for (size_t i = 0; i < n; i++)
        param[i] -= c.decay * param[i] + c.rate * (grad[i] * c.scale);
}

static void adamw_chunk(void *arg, size_t begin, size_t end, int worker)
{
    const struct update *u = arg;
    adamw(u, end - begin, u->param + begin, u->grad + begin, u->m + begin, u->v + begin);
}

static void rmsprop_chunk(void *arg, size_t begin, size_t end, int worker)
{
    const struct update *u = arg;
    rmsprop(u, end - begin, u->param + begin, u->grad + begin, u->v + begin);
}

static void sgd_chunk(void *arg, size_t begin, size_t end, int worker)
{
    const struct update *u = arg;
    sgd(u, end - begin, u->param + begin, u->grad + begin);
}

int cpu_adamw(struct device *d, const struct update *u, struct err *e)
{
    threads_for(u->n, GRAIN, adamw_chunk, (void *)u);
    return 0;
}

int cpu_rmsprop(struct device *d, const struct update *u, struct err *e)
{
    threads_for(u->n, GRAIN, rmsprop_chunk, (void *)u);
    return 0;
}

int cpu_sgd(struct device *d, const struct update *u, struct err *e)
{
    threads_for(u->n, GRAIN, sgd_chunk, (void *)u);
    return 0;
}

struct average_job {
    float *y;
    const float *x;
    double weight;
};

static void average_chunk(void *arg, size_t begin, size_t end, int worker)
{
    const struct average_job *j = arg;
    for (size_t i = begin; i < end; i++)
        j->y[i] += (float)(j->weight * ((double)j->x[i] - (double)j->y[i]));
}

int cpu_average(struct device *d, float *y, const float *x, double weight, size_t n, struct err *e)
{
    struct average_job job = {y, x, weight};
    threads_for(n, AVERAGED, average_chunk, &job);
    return 0;
}

struct squares {
    const float *x;
    size_t grain;
    double part[PARTS_MAX];
};

// A fixed number of lanes gives the compiler room and fixes the order of the additions.
static double sum_chunk(const float *x, size_t n)
{
    double lane[SUM_LANES] = {0};
    size_t i = 0;
    for (; i + SUM_LANES <= n; i += SUM_LANES)
        for (int k = 0; k < SUM_LANES; k++)
            lane[k] += (double)x[i + k] * (double)x[i + k];
    for (int k = 0; i < n; i++, k++)
        lane[k] += (double)x[i] * (double)x[i];
    return ((lane[0] + lane[1]) + (lane[2] + lane[3])) +
           ((lane[4] + lane[5]) + (lane[6] + lane[7]));
}

static void run_squares(void *arg, size_t begin, size_t end, int worker)
{
    struct squares *s = arg;
    s->part[begin / s->grain] = sum_chunk(s->x + begin, end - begin);
}

int cpu_sum_squares(struct device *d, const float *x, size_t n, double *sum, struct err *e)
{
    struct squares s = {.x = x, .grain = n / PARTS_MAX + 1};
    if (s.grain < GRAIN)
        s.grain = GRAIN;
    threads_for(n, s.grain, run_squares, &s);
    *sum = 0;
    for (size_t i = 0; i * s.grain < n; i++)
        *sum += s.part[i];
    return 0;
}
