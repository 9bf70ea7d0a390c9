// SPDX-License-Identifier: MIT
// What this machine can do, with all threads at once and in the terms the engine is measured in.
// One line: multiply-adds of fp32 that never leave the registers, and of pairs of bf16 (0: no
// instruction for them), OpenBLAS's fp32 rate on the products of a layer of SmolLM-135M, all in
// GFLOP/s, and the rate of reading memory in GB/s.
//   bench_machine THREADS  ->  "FP32 BF16 SGEMM READ"
#include "base/progress.h"
#include "base/thread.h"

#include <cblas.h>
#include <stdio.h>
#include <stdlib.h>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

void openblas_set_num_threads(int n);

enum { ROUNDS = 1 << 20, ACCUMULATORS = 16, REPEATS = 7 };

static float *numbers(size_t n)
{
    float *p = aligned_alloc(64, (n * sizeof *p + 63) / 64 * 64);
    for (size_t i = 0; p && i < n; i++)
        p[i] = (float)(i % 7) - 3;
    return p;
}

static float kept[1024];
typedef double peak_fn(size_t rounds, float *out); // returns the operations that it has made

#if defined(__x86_64__)
// ACCUMULATORS chains of multiply-adds that do not wait for each other.
#define PEAK(name, isa, vector, zero, step, operations)                                            \
    __attribute__((target(isa))) static double name(size_t rounds, float *out)                     \
    {                                                                                              \
        vector sum[ACCUMULATORS];                                                                  \
        vector x = zero;                                                                           \
        for (int i = 0; i < ACCUMULATORS; i++)                                                     \
            sum[i] = zero;                                                                         \
        for (size_t round = 0; round < rounds; round++) {                                          \
            _Pragma("GCC unroll 16") for (int i = 0; i < ACCUMULATORS; i++) sum[i] = step;         \
            __asm__ volatile("" : "+x"(x));                                                        \
        }                                                                                          \
        for (int i = 0; i < ACCUMULATORS; i++)                                                     \
            *out += ((float *)&sum[i])[0];                                                         \
        return (double)rounds * ACCUMULATORS * (operations);                                       \
    }
PEAK(peak_avx2, "avx2,fma", __m256, _mm256_setzero_ps(), _mm256_fmadd_ps(x, x, sum[i]), 16)
PEAK(peak_avx512, "avx512f", __m512, _mm512_setzero_ps(), _mm512_fmadd_ps(x, x, sum[i]), 32)
PEAK(peak_pairs, "avx512f,avx512bf16", __m512, _mm512_setzero_ps(),
     _mm512_dpbf16_ps(sum[i], (__m512bh)x, (__m512bh)x), 64)

static peak_fn *peak_of(int pairs)
{
    __builtin_cpu_init();
    if (pairs)
        return __builtin_cpu_supports("avx512bf16") ? peak_pairs : NULL;
    if (__builtin_cpu_supports("avx512f"))
        return peak_avx512;
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") ? peak_avx2 : NULL;
}
#else
static peak_fn *peak_of(int pairs)
{
    return NULL;
}
#endif

struct peak {
    peak_fn *fn;
    double operations[1024];
};

static void run_peak(void *arg, size_t begin, size_t end, int worker)
{
    struct peak *p = arg;
    for (size_t i = begin; i < end; i++)
        p->operations[i] = p->fn(ROUNDS, &kept[i]);
}

static double peak_rate(int pairs, int threads)
{
    struct peak p = {.fn = peak_of(pairs)};
    double best = 0;
    for (int repeat = 0; p.fn && repeat < REPEATS; repeat++) {
        double start = clock_seconds(), operations = 0;
        threads_for((size_t)threads, 1, run_peak, &p);
        double seconds = clock_seconds() - start;
        for (int i = 0; i < threads; i++)
            operations += p.operations[i];
        best = operations / seconds > best ? operations / seconds : best;
    }
    return best;
}

static double gemm_rate(int m, int n, int k)
{
    float *a = numbers((size_t)m * (size_t)k), *b = numbers((size_t)n * (size_t)k);
    float *c = numbers((size_t)m * (size_t)n);
    double best = 0, flops = 2.0 * m * n * k;
    for (int repeat = 0; a && b && c && repeat < REPEATS; repeat++) {
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

// The best of its products: a limit should not be that of an unlucky shape.
static double gemm_best(void)
{
    static const int shape[][3] = {
        {1024, 576, 576}, {1024, 1536, 576}, {1024, 576, 1536}, {1024, 8192, 576}};
    double best = 0;
    for (size_t i = 0; i < sizeof shape / sizeof *shape; i++) {
        double rate = gemm_rate(shape[i][0], shape[i][1], shape[i][2]);
        best = rate > best ? rate : best;
    }
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
    for (int repeat = 0; memory && repeat < REPEATS; repeat++) {
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
    int threads = argc == 2 ? atoi(argv[1]) : 0;
    if (threads < 1 || threads > 1024) {
        fprintf(stderr, "usage: bench_machine THREADS\n");
        return 2;
    }
    openblas_set_num_threads(threads);
    if (threads_set(threads, &e) < 0)
        return message_fail(&e);
    printf("%.1f %.1f", peak_rate(0, threads) * 1e-9, peak_rate(1, threads) * 1e-9);
    printf(" %.1f %.1f\n", gemm_best() * 1e-9, read_rate() * 1e-9);
    return 0;
}
