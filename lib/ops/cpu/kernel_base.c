// SPDX-License-Identifier: MIT
// The Makefile compiles this file with the flags of its instruction set.
#define KERNEL_NAME  "base"
#define KERNEL_TABLE kernels_base
#define WIDTH        4
#define TILE         3
#include "ops/cpu/kernel.inc"
