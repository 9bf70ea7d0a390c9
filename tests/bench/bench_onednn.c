// SPDX-License-Identifier: MIT
// The best rates of oneDNN (Debian's libdnnl-dev, version 2), where it was there at the build, on
// the products of a layer of SmolLM-135M: fp32, and bf16 operands with fp32 results, weights laid
// out as it likes them.
//   bench_onednn THREADS  ->  "FP32 BF16", in GFLOP/s; "0 0" without the library
#include <stdio.h>
#include <stdlib.h>

#if __has_include(<dnnl.h>)
#include <dnnl.h>
#endif
#if defined(DNNL_VERSION_MAJOR) && DNNL_VERSION_MAJOR == 2
#include "base/progress.h"

#include <string.h>

void omp_set_num_threads(int n); // of the library that it runs on

enum { REPEATS = 7 };

static void must(dnnl_status_t status)
{
    if (status == dnnl_success)
        return;
    fprintf(stderr, "bench_onednn: oneDNN's status %d\n", (int)status);
    exit(1);
}

static dnnl_memory_desc_t matrix(int rows, int cols, dnnl_data_type_t type, dnnl_format_tag_t tag)
{
    dnnl_memory_desc_t d;
    must(dnnl_memory_desc_init_by_tag(&d, 2, (dnnl_dims_t){rows, cols}, type, tag));
    return d;
}

// Memory in the layout that a product wants for one of its operands, filled with a small number.
static dnnl_memory_t operand(const_dnnl_primitive_desc_t product, dnnl_query_t which,
                             dnnl_engine_t engine, void **data)
{
    const dnnl_memory_desc_t *d = dnnl_primitive_desc_query_md(product, which, 0);
    size_t bytes = (dnnl_memory_desc_get_size(d) + 63) / 64 * 64;
    dnnl_memory_t memory;
    *data = aligned_alloc(64, bytes);
    if (!*data)
        exit(4);
    memset(*data, 0x3c, bytes);
    must(dnnl_memory_create(&memory, d, engine, *data));
    return memory;
}

// y [m, n] = x [m, k] w [k, n]
static double rate_of(dnnl_engine_t engine, dnnl_stream_t stream, dnnl_data_type_t type, int m,
                      int n, int k)
{
    dnnl_memory_desc_t x = matrix(m, k, type, dnnl_ab), y = matrix(m, n, dnnl_f32, dnnl_ab);
    dnnl_memory_desc_t w = matrix(k, n, type, dnnl_format_tag_any);
    dnnl_matmul_desc_t what;
    dnnl_primitive_desc_t description;
    dnnl_primitive_t product;
    must(dnnl_matmul_desc_init(&what, &x, &w, NULL, &y));
    must(dnnl_primitive_desc_create(&description, &what, NULL, engine, NULL));
    must(dnnl_primitive_create(&product, description));
    void *data[3];
    dnnl_exec_arg_t argument[3] = {
        {DNNL_ARG_SRC, operand(description, dnnl_query_src_md, engine, &data[0])},
        {DNNL_ARG_WEIGHTS, operand(description, dnnl_query_weights_md, engine, &data[1])},
        {DNNL_ARG_DST, operand(description, dnnl_query_dst_md, engine, &data[2])},
    };
    double best = 0;
    for (int repeat = 0; repeat < REPEATS; repeat++) {
        double start = clock_seconds();
        must(dnnl_primitive_execute(product, stream, 3, argument));
        must(dnnl_stream_wait(stream));
        double rate = 2.0 * m * n * k / (clock_seconds() - start);
        best = rate > best ? rate : best;
    }
    for (int i = 0; i < 3; i++) {
        dnnl_memory_destroy(argument[i].memory);
        free(data[i]);
    }
    dnnl_primitive_destroy(product);
    dnnl_primitive_desc_destroy(description);
    return best;
}

static void print_rates(int threads)
{
    static const int shape[][3] = {
        {1024, 576, 576}, {1024, 1536, 576}, {1024, 576, 1536}, {1024, 8192, 576}};
    static const dnnl_data_type_t type[] = {dnnl_f32, dnnl_bf16};
    dnnl_engine_t engine;
    dnnl_stream_t stream;
    omp_set_num_threads(threads);
    must(dnnl_engine_create(&engine, dnnl_cpu, 0));
    must(dnnl_stream_create(&stream, engine, dnnl_stream_default_flags));
    for (int t = 0; t < 2; t++) {
        double best = 0;
        for (size_t i = 0; i < sizeof shape / sizeof *shape; i++) {
            double rate = rate_of(engine, stream, type[t], shape[i][0], shape[i][1], shape[i][2]);
            best = rate > best ? rate : best;
        }
        printf(t ? " %.1f\n" : "%.1f", best * 1e-9);
    }
    dnnl_stream_destroy(stream);
    dnnl_engine_destroy(engine);
}
#else
static void print_rates(int threads)
{
    puts("0 0");
}
#endif

int main(int argc, char **argv)
{
    int threads = argc == 2 ? atoi(argv[1]) : 0;
    if (threads < 1 || threads > 1024) {
        fprintf(stderr, "usage: bench_onednn THREADS\n");
        return 2;
    }
    print_rates(threads);
    return 0;
}
