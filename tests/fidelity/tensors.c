// SPDX-License-Identifier: MIT
// How far the tensors of a model directory are from expected ones: a JSON object a tensor.
//   tensors EXPECTED.safetensors PREFIX DIR [BASE]
// compares each tensor PREFIX.NAME of the file with NAME of DIR, or, with BASE (another model
// directory), with BASE's NAME minus DIR's: one step of plain descent at rate 1 is the gradient.
#include "base/io.h"
#include "model/safetensors.h"

#include <dirent.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FILES_MAX = 64 };

struct directory {
    struct safetensors file[FILES_MAX];
    size_t n;
};

static int fail(const struct err *e)
{
    fprintf(stderr, "tensors: %s\n", e->text);
    return 1;
}

static int open_directory(struct directory *d, const char *path, struct err *e)
{
    int at = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *list = at < 0 ? NULL : opendir(path);
    if (!list)
        return err_errno(e, path);
    const struct dirent *entry;
    int result = 0;
    while (result == 0 && (entry = readdir(list))) {
        const char *dot = strrchr(entry->d_name, '.');
        if (!dot || strcmp(dot, ".safetensors") != 0 || d->n == FILES_MAX)
            continue;
        result = safetensors_open(&d->file[d->n], at, entry->d_name, e);
        d->n += result == 0;
    }
    closedir(list);
    return result;
}

// The values of a tensor as doubles; NULL when it is not there.
static double *values(const struct directory *d, const char *name, size_t *n)
{
    for (size_t i = 0; i < d->n; i++) {
        const struct safetensors_entry *t = safetensors_find(&d->file[i], name);
        if (!t || !t->known)
            continue;
        *n = t->bytes / dtype_size(t->dtype);
        double *out = calloc(*n + 1, sizeof *out);
        float *narrow = calloc(*n + 1, sizeof *narrow);
        if (!out || !narrow)
            abort();
        const unsigned char *data = safetensors_data(&d->file[i], t);
        if (t->dtype == DTYPE_F64) {
            memcpy(out, data, t->bytes);
        } else {
            dtype_to_f32(narrow, data, t->dtype, *n);
            for (size_t k = 0; k < *n; k++)
                out[k] = (double)narrow[k];
        }
        free(narrow);
        return out;
    }
    return NULL;
}

static void report(const char *name, const double *want, const double *got, const double *base,
                   size_t n)
{
    double worst = 0, squares = 0, largest = 0, length = 0;
    size_t above = 0;
    for (size_t i = 0; i < n; i++) {
        double value = base ? base[i] - got[i] : got[i], off = fabs(want[i] - value);
        if (!(off <= worst)) // not a number: the worst
            worst = isnan(off) ? INFINITY : off;
        if (base && fabs(base[i]) > largest)
            largest = fabs(base[i]);
        squares += off * off;
        length += want[i] * want[i];
        above += !(off <= 1e-5);
    }
    // base - got is exact but for the rounding of got, half a unit in its last place.
    printf("{\"name\":\"%s\",\"n\":%zu,\"max\":%.6g,\"rms\":%.6g,\"above\":%zu,\"rounding\":%.6g,"
           "\"length\":%.6g}\n",
           name, n, isinf(worst) ? 1e300 : worst, isinf(worst) ? 1e300 : sqrt(squares / (double)n),
           above, largest * 0x1p-23, sqrt(length));
}

static int one_tensor(const char *what, const struct directory *want, const char *name,
                      const char *numbers)
{
    size_t n = 0;
    const struct safetensors_entry *t = safetensors_find(&want->file[0], name);
    double *a = t ? values(want, name, &n) : NULL;
    if (!a) {
        fprintf(stderr, "tensors: there is no tensor %s\n", name);
        return 1;
    }
    if (!strcmp(what, "--shape")) {
        printf("{\"shape\":[");
        for (int i = 0; i < t->n_dims; i++)
            printf("%s%zu", i ? "," : "", t->dim[i]);
        printf("]}\n");
        free(a);
        return 0;
    }
    FILE *file = numbers ? fopen(numbers, "r") : NULL;
    double *b = calloc(n + 1, sizeof *b);
    size_t seen = 0;
    while (file && b && seen <= n && fscanf(file, "%lf", &b[seen]) == 1)
        seen++;
    int right = file && b && seen > 0 && seen <= n && feof(file);
    if (right)
        report(name, a, b, NULL, seen);
    else
        fprintf(stderr, "tensors: %s: %zu numbers, not the %zu of %s\n", numbers, seen, n, name);
    if (file)
        fclose(file);
    free(a);
    free(b);
    return !right;
}

int main(int argc, char **argv)
{
    struct err e;
    static struct safetensors expected;
    static struct directory got, base;
    int one = argc > 3 && argv[1][0] == '-';
    if (argc < 4 || argc > 5) {
        fprintf(stderr, "usage: tensors EXPECTED.safetensors PREFIX DIR [BASE]\n"
                        "       tensors --shape|--numbers EXPECTED.safetensors NAME [FILE]\n");
        return 2;
    }
    if (safetensors_open(&expected, AT_FDCWD, argv[one ? 2 : 1], &e) < 0)
        return fail(&e);
    const struct directory want = {.file = {expected}, .n = 1};
    if (one)
        return one_tensor(argv[1], &want, argv[3], argv[4]);
    if (open_directory(&got, argv[3], &e) < 0 || (argc == 5 && open_directory(&base, argv[4], &e)))
        return fail(&e);
    size_t prefix = strlen(argv[2]), seen = 0;
    for (size_t i = 0; i < expected.n; i++) {
        const char *name = expected.entry[i].name;
        if (strncmp(name, argv[2], prefix) != 0 || name[prefix] != '.')
            continue;
        size_t n, n_got = 0, n_base = 0;
        double *a = values(&want, name, &n), *b = values(&got, name + prefix + 1, &n_got);
        double *c = argc == 5 ? values(&base, name + prefix + 1, &n_base) : NULL;
        if (!a || !b || n != n_got || (argc == 5 && (!c || n != n_base))) {
            fprintf(stderr, "tensors: %s: not the same tensor in %s\n", name, argv[3]);
            return 1;
        }
        report(name + prefix + 1, a, b, c, n);
        seen++;
        free(a);
        free(b);
        free(c);
    }
    if (!seen)
        fprintf(stderr, "tensors: %s has no tensor %s.*\n", argv[1], argv[2]);
    return seen == 0;
}
