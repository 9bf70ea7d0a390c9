// SPDX-License-Identifier: MIT
// Refuses a job that cannot fit into memory before it starts.
#ifndef BASE_MEMORY_CHECK_H
#define BASE_MEMORY_CHECK_H

#include "base/error.h"
#include <stddef.h>

// For messages that tell an amount of memory.
double mebibytes(size_t bytes);
// With `verbose` prints the estimate. STATUS_MEMORY when the machine (or the control group, or
// the limit of address space) has not got so much available.
MUST_CHECK int memory_check(size_t bytes, const char *what, int verbose, struct err *e);

#endif
