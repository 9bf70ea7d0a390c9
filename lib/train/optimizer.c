// SPDX-License-Identifier: MIT
#include "train/optimizer.h"
#include "base/thread.h"

#include <assert.h>
#include <math.h>

const char *const optimizer_kinds[] = {"adamw", "rmsprop", "sgd", NULL};

enum {
    GRAIN = 1 << 14,  // elements a chunk: 256 KiB of four arrays, about a second-level cache
    PARTS_MAX = 1024, // partial sums kept on the stack
    LANES = 8,
};

void optimizer_init(struct optimizer *o, enum optimizer_kind kind)
{
    *o = (struct optimizer){
        .kind = kind, .beta1 = 0.9, .beta2 = 0.999, .alpha = 0.99, .epsilon = 1e-8};
}

int optimizer_has_m(enum optimizer_kind kind)
{
    return kind == OPTIMIZER_ADAMW;
}

int optimizer_has_v(enum optimizer_kind kind)
{
    return kind != OPTIMIZER_SGD;
}

void optimizer_begin(struct optimizer *o)
{
    o->step++;
}

// One tensor's update, with all that is the same for its elements rounded to float once.
struct update {
    enum optimizer_kind kind;
    float *param, *m, *v;
    const float *grad;
    float scale;       // of gradients
    float rate;        // lr; AdamW: lr / (1 - b1^t)
    float decay;       // lr * wd
    float keep1, new1; // b1, 1 - b1
    float keep2, new2; // b2 or alpha, and 1 - it
    float root;        // 1 / (1 - b2^t)
    float epsilon;
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

static void run_chunk(void *arg, size_t begin, size_t end, int worker)
{
    (void)worker;
    const struct update *u = arg;
    size_t n = end - begin;
    switch (u->kind) {
    case OPTIMIZER_ADAMW:
        adamw(u, n, u->param + begin, u->grad + begin, u->m + begin, u->v + begin);
        break;
    case OPTIMIZER_RMSPROP:
        rmsprop(u, n, u->param + begin, u->grad + begin, u->v + begin);
        break;
    case OPTIMIZER_SGD:
        sgd(u, n, u->param + begin, u->grad + begin);
        break;
    }
}

void optimizer_step(const struct optimizer *o, size_t n, float *param, const float *grad, float *m,
                    float *v, double lr, int decays, double grad_scale)
{
    assert(o->step >= 1);
    assert((m || !optimizer_has_m(o->kind)) && (v || !optimizer_has_v(o->kind)));
    double keep2 = o->kind == OPTIMIZER_RMSPROP ? o->alpha : o->beta2;
    double t = (double)o->step;
    struct update u = {
        .kind = o->kind,
        .param = param,
        .m = m,
        .v = v,
        .grad = grad,
        .scale = (float)grad_scale,
        .rate = (float)lr,
        .decay = (float)(decays ? lr * o->weight_decay : 0),
        .keep1 = (float)o->beta1,
        .new1 = (float)(1 - o->beta1),
        .keep2 = (float)keep2,
        .new2 = (float)(1 - keep2),
        .root = (float)(1 / (1 - pow(o->beta2, t))),
        .epsilon = (float)o->epsilon,
    };
    if (o->kind == OPTIMIZER_ADAMW)
        u.rate = (float)(lr / (1 - pow(o->beta1, t)));
    threads_for(n, GRAIN, run_chunk, &u);
}

struct squares {
    const float *x;
    size_t grain;
    double part[PARTS_MAX];
};

// A fixed number of lanes gives the compiler room and fixes the order of the additions.
static double sum_chunk(const float *x, size_t n)
{
    double lane[LANES] = {0};
    size_t i = 0;
    for (; i + LANES <= n; i += LANES)
        for (int k = 0; k < LANES; k++)
            lane[k] += (double)x[i + k] * (double)x[i + k];
    for (int k = 0; i < n; i++, k++)
        lane[k] += (double)x[i] * (double)x[i];
    return ((lane[0] + lane[1]) + (lane[2] + lane[3])) +
           ((lane[4] + lane[5]) + (lane[6] + lane[7]));
}

static void run_squares(void *arg, size_t begin, size_t end, int worker)
{
    (void)worker;
    struct squares *s = arg;
    s->part[begin / s->grain] = sum_chunk(s->x + begin, end - begin);
}

double optimizer_sum_squares(const float *x, size_t n)
{
    struct squares s = {.x = x, .grain = n / PARTS_MAX + 1};
    if (s.grain < GRAIN)
        s.grain = GRAIN;
    threads_for(n, s.grain, run_squares, &s);
    double sum = 0;
    for (size_t i = 0; i * s.grain < n; i++)
        sum += s.part[i];
    return sum;
}

double optimizer_clip(double norm, double max_norm)
{
    if (max_norm <= 0)
        return 1;
    double factor = max_norm / (norm + 1e-6);
    return factor < 1 ? factor : 1;
}
