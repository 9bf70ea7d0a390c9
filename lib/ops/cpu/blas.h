// SPDX-License-Identifier: MIT
// OpenBLAS's matrix product, for the backward pass. The library is loaded when it is first wanted,
// and then with one thread: ours do the work. So a program that only scores or samples never loads
// it, and none ever has a thread that it did not start: those of OpenBLAS spin for ever where they
// find no memory for their buffers.
#ifndef OPS_CPU_BLAS_H
#define OPS_CPU_BLAS_H

#include "base/error.h"

#include <cblas.h>
#include <stddef.h>

// Loads the library, and takes the buffers that it needs for threads_count() threads at a time:
// STATUS_MEMORY where there is no room for them. Idempotent; from the main thread, outside
// threads_for.
MUST_CHECK int blas_open(struct err *e);

// The name of the processor for which its loops are, or NULL before blas_open.
const char *blas_core(void);

// cblas_sgemm by rows; after blas_open, from any thread.
void blas_sgemm(enum CBLAS_TRANSPOSE a_turned, enum CBLAS_TRANSPOSE b_turned, size_t m, size_t n,
                size_t k, const float *a, size_t a_pitch, const float *b, size_t b_pitch,
                float beta, float *c, size_t c_pitch);
// What of the library and of each thread's buffer is in memory once it has worked, about.
size_t blas_bytes(void);

#endif
