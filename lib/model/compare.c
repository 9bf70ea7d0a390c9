// SPDX-License-Identifier: MIT
#include "model/compare.h"
#include "base/memory.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static int same_place(const struct model *a, const struct model *b, size_t i, struct err *e)
{
    if (a->n_parameters != b->n_parameters || strcmp(a->parameter[i].name, b->parameter[i].name) ||
        a->parameter[i].rows != b->parameter[i].rows ||
        a->parameter[i].cols != b->parameter[i].cols)
        return err_set(e, STATUS_FAILED, "%s and %s are of different shapes (`%s`)", a->path,
                       b->path, a->parameter[i].name);
    return 0;
}

static void compare(struct tensor_difference *out, const float *x, const float *y, size_t n)
{
    for (size_t k = 0; k < n; k++) {
        double gap = fabs((double)x[k] - (double)y[k]), size = fmax(fabs(x[k]), fabs(y[k]));
        if (isnan(gap))
            gap = x[k] == y[k] || (isnan(x[k]) && isnan(y[k])) ? 0 : INFINITY;
        if (gap > out->absolute)
            out->absolute = gap;
        if (gap > 0 && gap / size > out->relative)
            out->relative = gap / size;
    }
}

int model_difference(const struct model *a, const struct model *b, size_t i,
                     struct tensor_difference *out, struct err *e)
{
    if (same_place(a, b, i, e) < 0)
        return -1;
    size_t n = a->parameter[i].rows * a->parameter[i].cols;
    float *x = mem_alloc(n, sizeof *x, "a tensor", e), *y = mem_alloc(n, sizeof *y, "a tensor", e);
    int result = x && y ? 0 : -1;
    if (result == 0)
        result = model_values(a, i, x, e);
    if (result == 0)
        result = model_values(b, i, y, e);
    *out = (struct tensor_difference){.name = a->parameter[i].name};
    if (result == 0)
        compare(out, x, y, n);
    free(x);
    free(y);
    return result;
}

int model_combine(struct model *m, struct model *const *other, const double *weight, size_t n,
                  struct err *e)
{
    size_t most = 0;
    for (size_t i = 0; i < m->n_parameters; i++)
        if (m->parameter[i].rows * m->parameter[i].cols > most)
            most = m->parameter[i].rows * m->parameter[i].cols;
    float *values = mem_alloc(most, sizeof *values, "a tensor", e);
    double *sum = mem_alloc(most, sizeof *sum, "a tensor", e);
    int result = values && sum ? 0 : -1;
    for (size_t i = 0; i < m->n_parameters && result == 0; i++) {
        size_t size = m->parameter[i].rows * m->parameter[i].cols;
        for (size_t k = 0; k < n && result == 0; k++) {
            result = same_place(m, other[k], i, e);
            if (result == 0)
                result = model_values(other[k], i, values, e);
            for (size_t at = 0; at < size && result == 0; at++)
                sum[at] = weight[k] * values[at] + (k ? sum[at] : 0);
        }
        for (size_t at = 0; at < size && result == 0; at++)
            values[at] = (float)sum[at];
        if (result == 0)
            result = m->device->memory->put(m->device, m->master + m->parameter[i].offset, values,
                                            size * sizeof *values, e);
    }
    free(values);
    free(sum);
    return result;
}
