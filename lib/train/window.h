// SPDX-License-Identifier: MIT
// The last values of a quantity, for its running mean.
#ifndef TRAIN_WINDOW_H
#define TRAIN_WINDOW_H

#include "base/error.h"
#include <jansson.h>
#include <stddef.h>

struct window {
    double *value; // [size - 1], the latest last; n of them are known
    size_t size, n;
};

// A mean is one of `size` values, 1 or more.
int window_init(struct window *w, size_t size, struct err *e);
void window_release(struct window *w);
// The mean of x and the size - 1 values before it; NaN as long as there are fewer.
double window_mean(const struct window *w, double x);
void window_add(struct window *w, double x);    // one that is not finite is left out
json_t *window_to_json(const struct window *w); // NULL when memory is out
// What to_json gave, of a window of any size; NULL: nothing.
void window_from_json(struct window *w, const json_t *values);

#endif
