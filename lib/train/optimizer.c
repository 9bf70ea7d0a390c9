// SPDX-License-Identifier: MIT
#include "train/optimizer.h"

#include <assert.h>
#include <math.h>

const char *const optimizer_kinds[] = {"adamw", "rmsprop", "sgd", NULL};

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

int optimizer_step(const struct optimizer *o, struct device *d, size_t n, float *param,
                   const float *grad, float *m, float *v, double lr, int decays, double grad_scale,
                   struct err *e)
{
    assert(o->step >= 1);
    assert((m || !optimizer_has_m(o->kind)) && (v || !optimizer_has_v(o->kind)));
    double keep2 = o->kind == OPTIMIZER_RMSPROP ? o->alpha : o->beta2;
    double t = (double)o->step;
    // All that is the same for its elements is rounded to float once.
    struct update u = {
        .param = param,
        .m = m,
        .v = v,
        .grad = grad,
        .n = n,
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
    switch (o->kind) {
    case OPTIMIZER_ADAMW:
        u.rate = (float)(lr / (1 - pow(o->beta1, t)));
        return d->ops->adamw(d, &u, e);
    case OPTIMIZER_RMSPROP:
        return d->ops->rmsprop(d, &u, e);
    default:
        return d->ops->sgd(d, &u, e);
    }
}

double optimizer_clip(double norm, double max_norm)
{
    if (max_norm <= 0)
        return 1;
    double factor = max_norm / (norm + 1e-6);
    return factor < 1 ? factor : 1;
}
