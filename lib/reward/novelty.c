// SPDX-License-Identifier: MIT
#include "reward/novelty.h"
#include "base/memory.h"
#include "base/rng.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

// Sets the target's place among the random numbers of one seed apart from weights' (RNG_INIT goes
// by hashes of names).
static const uint64_t TARGET = 0x6e6f76656c7479; // "novelty"

int novelty_init(struct novelty *v, size_t width, size_t features, uint64_t seed, struct err *e)
{
    size_t n = width + 1;
    struct rng random;
    memset(v, 0, sizeof *v);
    v->width = width;
    v->features = features;
    if (!(v->target = mem_alloc(features * n, sizeof *v->target, "a random network", e)) ||
        !(v->gram = mem_alloc(n * n, sizeof *v->gram, "a predictor", e)) ||
        !(v->fit = mem_alloc(n * features, sizeof *v->fit, "a predictor", e)) ||
        !(v->input = mem_alloc(n, sizeof *v->input, "a state", e)) ||
        !(v->feature = mem_alloc(features, sizeof *v->feature, "features", e)))
        return -1;
    rng_init(&random, seed, RNG_INIT, TARGET, 0);
    for (size_t k = 0; k < features; k++)
        for (size_t i = 0; i < n; i++)
            v->target[k * n + i] =
                (float)(rng_normal(&random) * (i < width ? 1 / sqrt((double)width) : 1));
    return 0;
}

void novelty_release(struct novelty *v)
{
    free(v->target);
    free(v->gram);
    free(v->fit);
    free(v->input);
    free(v->feature);
    memset(v, 0, sizeof *v);
}

size_t novelty_bytes(size_t width, size_t features)
{
    size_t n = width + 1;
    return n * n * sizeof(double) + n * features * (sizeof(double) + sizeof(float)) +
           (n + features) * sizeof(double);
}

// The state by its root mean square, and its features.
static void look(const struct novelty *v, const float *state)
{
    size_t n = v->width + 1;
    double squares = 0;
    for (size_t i = 0; i < v->width; i++)
        squares += (double)state[i] * (double)state[i];
    double scale = squares > 0 ? sqrt((double)v->width / squares) : 0;
    for (size_t i = 0; i < v->width; i++)
        v->input[i] = scale * (double)state[i];
    v->input[v->width] = 1;
    for (size_t k = 0; k < v->features; k++) {
        const float *w = v->target + k * n;
        double sum = 0;
        for (size_t i = 0; i < n; i++)
            sum += (double)w[i] * v->input[i];
        v->feature[k] = tanh(sum);
    }
}

void novelty_add(struct novelty *v, const float *state)
{
    size_t n = v->width + 1;
    look(v, state);
    for (size_t i = 0; i < n; i++) {
        for (size_t j = 0; j <= i; j++)
            v->gram[i * n + j] += v->input[i] * v->input[j];
        for (size_t k = 0; k < v->features; k++)
            v->fit[i * v->features + k] += v->input[i] * v->feature[k];
    }
    v->n++;
}

// The lower half of a becomes its Cholesky factor: -1 where it is not positive definite.
static int factor(double *a, size_t n)
{
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j <= i; j++) {
            double sum = a[i * n + j];
            for (size_t k = 0; k < j; k++)
                sum -= a[i * n + k] * a[j * n + k];
            if (i == j && !(sum > 0))
                return -1;
            a[i * n + j] = i == j ? sqrt(sum) : sum / a[j * n + j];
        }
    return 0;
}

// b becomes the solution of L L' x = b, for each of its columns.
static void solve(const double *l, size_t n, double *b, size_t columns)
{
    for (size_t i = 0; i < n; i++)
        for (size_t c = 0; c < columns; c++) {
            for (size_t k = 0; k < i; k++)
                b[i * columns + c] -= l[i * n + k] * b[k * columns + c];
            b[i * columns + c] /= l[i * n + i];
        }
    for (size_t i = n; i-- > 0;)
        for (size_t c = 0; c < columns; c++) {
            for (size_t k = i + 1; k < n; k++)
                b[i * columns + c] -= l[k * n + i] * b[k * columns + c];
            b[i * columns + c] /= l[i * n + i];
        }
}

int novelty_fit(struct novelty *v, double ridge, struct err *e)
{
    size_t n = v->width + 1;
    double trace = 0;
    for (size_t i = 0; i < n; i++)
        trace += v->gram[i * n + i];
    for (size_t i = 0; i < n; i++)
        v->gram[i * n + i] += ridge * trace / (double)n;
    if (factor(v->gram, n) < 0)
        return err_set(e, STATUS_FAILED, "the demonstrations' states do not fit a predictor");
    solve(v->gram, n, v->fit, v->features);
    return 0;
}

double novelty_error(const struct novelty *v, const float *state)
{
    double sum = 0;
    look(v, state);
    for (size_t k = 0; k < v->features; k++) {
        double predicted = 0;
        for (size_t i = 0; i <= v->width; i++)
            predicted += v->input[i] * v->fit[i * v->features + k];
        double off = predicted - v->feature[k];
        sum += off * off;
    }
    return sum / (double)v->features;
}
