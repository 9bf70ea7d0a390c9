// SPDX-License-Identifier: MIT
// What the tests of operations share: a device with a chosen kernel set, random arrays, and the
// comparison with the reference.
#ifndef OPS_KIT_H
#define OPS_KIT_H

#include "base/rng.h"
#include "base/thread.h"
#include "ops/cpu/kernel.h"
#include "ops/ops.h"
#include "ops/reference.h"
#include "test.h"

#include <stdlib.h>

#define KIT __attribute__((unused)) static // not every test uses all of it

extern const struct kernels kernels_wide;

static struct device device;
static struct arena memory; // of one test; cleared when the next begins
static struct rng rng;
static struct err error;

// Opens the device with the kernel set, or returns 0 where the processor lacks it. "wide" is the
// test's own (kernel_wide.h).
KIT int kit_open(const char *kernels)
{
    int wide = !strcmp(kernels, "wide");
    setenv("DENSEPATH_KERNELS", wide ? "base" : kernels, 1);
    if (device_open(&device, "cpu", PRODUCTS_FP32, &error) < 0)
        return 0;
    if (wide)
        device.backend = &kernels_wide;
    if (!strcmp(((const struct kernels *)device.backend)->name, kernels))
        return 1;
    device_release(&device);
    return 0;
}

// Calls `tests` with the device open for each kernel set that the processor has.
KIT void each_set(void (*tests)(void))
{
    static const char *const sets[] = {"base", "avx2", "avx512", "avx512bf16", "wide"};
    for (size_t i = 0; i < sizeof sets / sizeof *sets; i++) {
        if (!kit_open(sets[i])) {
            printf("# %s: not for this processor\n", sets[i]);
            continue;
        }
        tests();
        device_release(&device);
    }
}

// A test of the set under test.
KIT void run_named(const char *name, void (*test)(void))
{
    char full[64];
    snprintf(full, sizeof full, "%s: %s", ((const struct kernels *)device.backend)->name, name);
    test_run(full, test);
}

KIT void kit_begin(uint64_t seed)
{
    arena_clear(&memory);
    rng_init(&rng, seed, RNG_TEST, 0, 0);
}

KIT void *kit_alloc(size_t n, size_t size)
{
    void *p = arena_alloc(&memory, n ? n : 1, size, &error);
    if (!p) {
        printf("Bail out! %s\n", error.text);
        exit(1);
    }
    return p;
}

KIT float *zeros(size_t n)
{
    return memset(kit_alloc(n, sizeof(float)), 0, n * sizeof(float));
}

KIT float *normals(size_t n, double deviation)
{
    float *x = kit_alloc(n, sizeof *x);
    for (size_t i = 0; i < n; i++)
        x[i] = (float)(deviation * rng_normal(&rng));
    return x;
}

KIT float *copied(const float *x, size_t n)
{
    return memcpy(kit_alloc(n, sizeof *x), x, n * sizeof *x);
}

KIT double *doubled(const float *x, size_t n)
{
    double *y = kit_alloc(n, sizeof *y);
    for (size_t i = 0; i < n; i++)
        y[i] = x[i];
    return y;
}

KIT uint32_t *tokens(size_t n, size_t below)
{
    uint32_t *t = kit_alloc(n, sizeof *t);
    for (size_t i = 0; i < n; i++)
        t[i] = (uint32_t)rng_below(&rng, below);
    return t;
}

KIT size_t one_of(const size_t *choice, size_t n)
{
    return choice[rng_below(&rng, n)];
}
#define ONE_OF(...)                                                                                \
    one_of((const size_t[]){__VA_ARGS__}, sizeof((const size_t[]){__VA_ARGS__}) / sizeof(size_t))

// A random tensor of the type; *exact gets its values as they are in the file's type.
KIT struct tensor random_tensor(enum dtype type, size_t rows, size_t cols, double deviation,
                                double **exact)
{
    size_t n = rows * cols;
    float *values = normals(n, deviation), *back = kit_alloc(n, sizeof *back);
    void *data = kit_alloc(n, 8);
    dtype_from_f32(data, values, type, n);
    dtype_to_f32(back, data, type, n);
    *exact = doubled(back, n);
    return (struct tensor){.data = data, .type = type, .rows = rows, .cols = cols};
}

// The same as a part of a larger one, perhaps transposed: what lies around it is not a number.
// *exact is [rows, cols] as always.
KIT struct tensor random_part(enum dtype type, size_t rows, size_t cols, int transposed,
                              double deviation, double **exact)
{
    struct tensor t = random_tensor(type, rows, cols, deviation, exact), part = t;
    size_t lines = transposed ? cols : rows, length = transposed ? rows : cols;
    size_t before = rng_below(&rng, 20);
    part.transposed = transposed;
    part.pitch = before + length + rng_below(&rng, 20);
    size_t n = lines * part.pitch, size = dtype_size(type);
    float *values = kit_alloc(n, sizeof *values);
    char *data = kit_alloc(n, size);
    for (size_t i = 0; i < n; i++)
        values[i] = NAN;
    for (size_t r = 0; r < rows; r++)
        for (size_t c = 0; c < cols; c++)
            values[before + (transposed ? c * part.pitch + r : r * part.pitch + c)] =
                (float)(*exact)[r * cols + c];
    dtype_from_f32(data, values, type, n);
    part.data = data + before * size;
    return part;
}

// A gradient laid out as t's data, of the values [rows, cols]; NAN around them.
KIT float *part_gradient(const struct tensor *t, const float *values)
{
    size_t pitch = tensor_pitch(t), n = (t->transposed ? t->cols : t->rows) * pitch;
    float *grad = kit_alloc(n, sizeof *grad);
    for (size_t i = 0; i < n; i++)
        grad[i] = NAN;
    for (size_t r = 0; r < t->rows; r++)
        for (size_t c = 0; c < t->cols; c++)
            grad[t->transposed ? c * pitch + r : r * pitch + c] = values[r * t->cols + c];
    return grad;
}

// The values [rows, cols] of a gradient; *clean is set to 0 where something else was written.
KIT float *part_values(const struct tensor *t, int *clean)
{
    size_t pitch = tensor_pitch(t), n = (t->transposed ? t->cols : t->rows) * pitch, numbers = 0;
    float *values = kit_alloc(t->rows * t->cols, sizeof *values);
    for (size_t i = 0; i < n; i++)
        numbers += !isnan(t->grad[i]);
    for (size_t r = 0; r < t->rows; r++)
        for (size_t c = 0; c < t->cols; c++)
            values[r * t->cols + c] = t->grad[t->transposed ? c * pitch + r : r * pitch + c];
    *clean = numbers == t->rows * t->cols;
    return values;
}

KIT double largest(const double *x, size_t n)
{
    double most = 0;
    for (size_t i = 0; i < n; i++)
        most = fmax(most, fabs(x[i]));
    return most;
}

// Every element within `tolerance` of the reference, in units of the reference's largest.
KIT int near_reference(const char *what, const float *fast, const double *reference, size_t n,
                       double tolerance)
{
    double scale = largest(reference, n) + 1e-30;
    for (size_t i = 0; i < n; i++)
        if (!(fabs(fast[i] - reference[i]) <= tolerance * scale)) {
            printf("# %s[%zu] = %.9g, reference %.9g, scale %.3g\n", what, i, fast[i], reference[i],
                   scale);
            return 0;
        }
    return 1;
}

KIT int same_bits(const char *what, const float *a, const float *b, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (memcmp(a + i, b + i, sizeof *a)) {
            printf("# %s[%zu]: %.9g is not %.9g bit for bit\n", what, i, a[i], b[i]);
            return 0;
        }
    return 1;
}

// A sample of the elements of grad [n] against central differences of the loss in double. `before`
// (NULL: zeros) is what the gradient was added to. `known` (NULL: nothing) has the SAMPLE slopes of
// the same loss at the same place from another set of kernels, or gets them where it has NaN.
enum { SAMPLE = 12 };
typedef double loss_fn(void *arg);
KIT double difference_at(double *x, loss_fn *loss, void *arg)
{
    double value = *x, step = 1e-5 * fmax(1, fabs(value));
    *x = value + step;
    double up = loss(arg);
    *x = value - step;
    double down = loss(arg);
    *x = value;
    return (up - down) / (2 * step);
}

KIT int gradient_has(const char *what, const float *grad, const float *before, double *at, size_t n,
                     loss_fn *loss, void *arg, double tolerance, double *known)
{
    double scale = 0.1;
    for (size_t i = 0; i < n; i++)
        scale = fmax(scale, fabs(grad[i] - (before ? before[i] : 0)));
    for (size_t s = 0; s < SAMPLE && s < n; s++) {
        size_t i = n <= SAMPLE ? s : rng_below(&rng, n);
        double slope = known && !isnan(known[s]) ? known[s] : difference_at(at + i, loss, arg);
        if (known)
            known[s] = slope;
        double fast = grad[i] - (before ? before[i] : 0);
        if (!(fabs(fast - slope) <= tolerance * scale)) {
            printf("# d loss / d %s[%zu] = %.9g, by differences %.9g, scale %.3g\n", what, i, fast,
                   slope, scale);
            return 0;
        }
    }
    return 1;
}

KIT int gradient_is(const char *what, const float *grad, const float *before, double *at, size_t n,
                    loss_fn *loss, void *arg, double tolerance)
{
    return gradient_has(what, grad, before, at, n, loss, arg, tolerance, NULL);
}

KIT double weighted(const double *weight, const double *x, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += weight[i] * x[i];
    return sum;
}

#endif
