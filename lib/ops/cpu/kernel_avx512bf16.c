// SPDX-License-Identifier: MIT
// The Makefile compiles this file with the flags of its instruction set.
#if defined(__x86_64__)
#define KERNEL_NAME  "avx512bf16"
#define KERNEL_TABLE kernels_avx512bf16
#define WIDTH        16
#define TILE         12
#include "ops/cpu/kernel.inc"
#endif
