// SPDX-License-Identifier: MIT
// Sampling distributions beside those of the reference's logits processors: a line a setting that
// is not off, PART TAB NAME TAB QUANTITY TAB TRIED TAB EQUAL TAB NOTE.
//   distributions SAMPLING.json
#include "../unit/sampling_kit.h"
#include "base/json.h"

#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { VOCAB_MAX = 1 << 16, HISTORY_MAX = 1 << 12 };
static const double tolerance = 2e-6;

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static int read_settings(struct sampling *s, const json_t *j, struct err *e)
{
    int64_t k = 0;
    *s = (struct sampling){.temperature = 1, .top_p = 1, .repetition_penalty = 1};
    if (json_get_real(j, "temperature", &s->temperature, "settings", e) < 0 ||
        json_get_int(j, "top_k", &k, "settings", e) < 0 ||
        json_get_real(j, "top_p", &s->top_p, "settings", e) < 0 ||
        json_get_real(j, "min_p", &s->min_p, "settings", e) < 0 ||
        json_get_real(j, "repetition_penalty", &s->repetition_penalty, "settings", e) < 0)
        return -1;
    s->top_k = (size_t)k;
    return 0;
}

// Names of the settings of a row, joined by `+`.
static void name_settings(const json_t *j, char *out, size_t size)
{
    const char *key;
    json_t *value;
    size_t n = 0;
    snprintf(out, size, "plain");
    json_object_foreach((json_t *)j, key, value) if (n < size) n +=
        (size_t)snprintf(out + n, size - n, "%s%s", n ? "+" : "", key);
}

static void run(const json_t *j, struct sampling_work *w, size_t vocab, const uint32_t *history,
                size_t n_history, double *got, double *want, float *logits)
{
    struct err e;
    const json_t *row;
    size_t i;
    json_array_foreach(json_object_get(j, "rows"), i, row)
    {
        char name[256];
        struct sampling s;
        const char *which = json_string_value(json_object_get(row, "logits"));
        const json_t *z = json_object_get(json_object_get(j, "logits"), which ? which : "");
        name_settings(json_object_get(row, "settings"), name, sizeof name);
        double worst = INFINITY;
        for (size_t t = 0; t < vocab; t++) {
            logits[t] = (float)json_number_value(json_array_get(z, t));
            want[t] = json_number_value(json_array_get(json_object_get(row, "probability"), t));
        }
        if (json_array_size(z) == vocab &&
            read_settings(&s, json_object_get(row, "settings"), &e) == 0) {
            sampling_distribution(&s, logits, vocab, history, n_history, w, got);
            worst = 0;
            if (json_is_true(json_object_get(row, "tie_at_cut"))) {
                // which of the equal ones stay is free; the values are not
                qsort(got, vocab, sizeof *got, by_value);
                qsort(want, vocab, sizeof *want, by_value);
            }
            for (size_t t = 0; t < vocab; t++) {
                int same = (got[t] > 0) == (want[t] > 0);
                double off = same ? fabs(got[t] - want[t]) : INFINITY;
                worst = off > worst ? off : worst;
            }
        }
        printf("sampling\t%s\tdistribution\t1\t%d\toff by %.3g\n", name, worst <= tolerance, worst);
    }
}

int main(int argc, char **argv)
{
    struct err e;
    if (argc != 2) {
        fprintf(stderr, "usage: distributions SAMPLING.json\n");
        return 2;
    }
    json_t *j = json_parse_file(AT_FDCWD, argv[1], 1 << 26, &e);
    if (!j) {
        fprintf(stderr, "distributions: %s\n", e.text);
        return 1;
    }
    size_t vocab = (size_t)json_integer_value(json_object_get(j, "vocab"));
    const json_t *past = json_object_get(j, "history");
    size_t n_history = json_array_size(past);
    static uint32_t history[HISTORY_MAX];
    if (vocab == 0 || vocab > VOCAB_MAX || n_history > HISTORY_MAX)
        return 1;
    for (size_t i = 0; i < n_history; i++)
        history[i] = (uint32_t)json_integer_value(json_array_get(past, i));
    struct arena arena;
    struct sampling_work w;
    arena_init(&arena);
    double *got = calloc(2 * vocab, sizeof *got);
    float *logits = calloc(vocab, sizeof *logits);
    int result = !got || !logits || sampling_work_init(&w, vocab, &arena, &e) < 0;
    if (!result)
        run(j, &w, vocab, history, n_history, got, got + vocab, logits);
    free(got);
    free(logits);
    arena_release(&arena);
    json_decref(j);
    return result;
}
