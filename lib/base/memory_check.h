// SPDX-License-Identifier: MIT
// Refuses a job that cannot fit into memory before it starts.
#ifndef BASE_MEMORY_CHECK_H
#define BASE_MEMORY_CHECK_H

#include "base/error.h"
#include <stddef.h>

// For messages that tell an amount of memory.
double mebibytes(size_t bytes);
// What the machine, the control group and the limit of address space leave, in bytes.
size_t memory_available(void);
// What this process holds itself, in bytes: mapped files are not counted, but its program and
// libraries are, at 4 MiB.
size_t memory_held(void);
// With `verbose` prints the estimate. STATUS_MEMORY when there is not so much available.
MUST_CHECK int memory_check(size_t bytes, const char *what, int verbose, struct err *e);

#endif
