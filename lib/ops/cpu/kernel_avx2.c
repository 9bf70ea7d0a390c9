// SPDX-License-Identifier: MIT
// The Makefile compiles this file with the flags of its instruction set.
#if defined(__x86_64__)
#define KERNEL_NAME  "avx2"
#define KERNEL_TABLE kernels_avx2
#define WIDTH        8
#define TILE         6
#include "ops/cpu/kernel.inc"
#endif
