// SPDX-License-Identifier: MIT
// The inner loops with the widest kernel's constants, compiled for any processor: so the paths of
// kernel_avx512 (16 lanes in one register, tiles of 12 rows) are tested where it cannot run.
#define KERNEL_NAME  "wide"
#define KERNEL_TABLE kernels_wide
#define WIDTH        16
#define TILE         12
#include "ops/cpu/kernel.inc"
