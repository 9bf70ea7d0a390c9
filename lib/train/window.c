// SPDX-License-Identifier: MIT
#include "train/window.h"
#include "base/memory.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

int window_init(struct window *w, size_t size, struct err *e)
{
    assert(size >= 1);
    w->size = size;
    w->n = 0;
    w->value = mem_alloc(size, sizeof *w->value, "a running mean", e);
    return w->value ? 0 : -1;
}

void window_release(struct window *w)
{
    free(w->value);
    memset(w, 0, sizeof *w);
}

double window_mean(const struct window *w, double x)
{
    if (w->n + 1 < w->size)
        return NAN;
    double sum = x;
    for (size_t i = 0; i < w->n; i++)
        sum += w->value[i];
    return sum / (double)w->size;
}

void window_add(struct window *w, double x)
{
    if (w->size < 2 || !isfinite(x))
        return;
    if (w->n == w->size - 1)
        memmove(w->value, w->value + 1, --w->n * sizeof *w->value);
    w->value[w->n++] = x;
}

json_t *window_to_json(const struct window *w)
{
    json_t *array = json_array();
    for (size_t i = 0; array && i < w->n; i++)
        if (json_array_append_new(array, json_real(w->value[i])) < 0) {
            json_decref(array);
            array = NULL;
        }
    return array;
}

void window_from_json(struct window *w, const json_t *values)
{
    w->n = 0;
    for (size_t i = 0; i < json_array_size(values); i++)
        window_add(w, json_number_value(json_array_get(values, i)));
}
