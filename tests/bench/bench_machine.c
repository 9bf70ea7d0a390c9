// SPDX-License-Identifier: MIT
// What this machine can do, in the terms the engine is measured in: OpenBLAS's fp32 rate on one
// product with all threads, and the rate of reading memory.
//   bench_machine THREADS ROWS COLUMNS DEPTH   ->  "GEMM_GFLOPS READ_GBS"
#include "base/progress.h"
#include "base/thread.h"

#include <cblas.h>
#include <stdio.h>
#include <stdlib.h>

void openblas_set_num_threads(int n);

static float *numbers(size_t n)
{
    float *p = aligned_alloc(64, (n * sizeof *p + 63) / 64 * 64);
    for (size_t i = 0; p && i < n; i++)
        p[i] = (float)(i % 7) - 3;
    return p;
}

static double gemm_rate(int m, int n, int k)
{
    float *a = numbers((size_t)m * (size_t)k), *b = numbers((size_t)n * (size_t)k);
    float *c = numbers((size_t)m * (size_t)n);
    double best = 0, flops = 2.0 * m * n * k;
    for (int round = 0; a && b && c && round < 5; round++) {
        double start = clock_seconds();
        cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, m, n, k, 1, a, k, b, k, 0, c, n);
        double rate = flops / (clock_seconds() - start);
        best = rate > best ? rate : best;
    }
    free(a);
    free(b);
    free(c);
    return best;
}

enum { READ_FLOATS = 1 << 28, CHUNK = 1 << 16 };
static float *memory;
static double sums[1024];

static void read_chunks(void *arg, size_t begin, size_t end, int worker)
{
    for (size_t chunk = begin; chunk < end; chunk++) {
        const float *p = memory + chunk * CHUNK;
        float lane[16] = {0};
        for (size_t i = 0; i < CHUNK; i += 16)
            for (int k = 0; k < 16; k++)
                lane[k] += p[i + (size_t)k];
        for (int k = 0; k < 16; k++)
            sums[worker] += lane[k];
    }
}

static double read_rate(void)
{
    double best = 0;
    memory = numbers(READ_FLOATS);
    for (int round = 0; memory && round < 5; round++) {
        double start = clock_seconds();
        threads_for(READ_FLOATS / CHUNK, 16, read_chunks, NULL);
        double rate = sizeof(float) * (double)READ_FLOATS / (clock_seconds() - start);
        best = rate > best ? rate : best;
    }
    free(memory);
    return best;
}

int main(int argc, char **argv)
{
    struct err e;
    if (argc != 5) {
        fprintf(stderr, "usage: bench_machine THREADS ROWS COLUMNS DEPTH\n");
        return 2;
    }
    int threads = atoi(argv[1]);
    openblas_set_num_threads(threads);
    if (threads_set(threads, &e) < 0)
        return 1;
    printf("%.2f %.2f\n", gemm_rate(atoi(argv[2]), atoi(argv[3]), atoi(argv[4])) * 1e-9,
           read_rate() * 1e-9);
    return 0;
}
