// SPDX-License-Identifier: MIT
// What must not outlive the program: files under temporary names, directories that are not
// complete. A signal that ends the program removes them (base/signals.h). Any thread.
#ifndef BASE_LITTER_H
#define BASE_LITTER_H

#include "base/error.h"

// A file, or a directory with nothing in it but files. The path is copied.
MUST_CHECK int litter_add(const char *path, struct err *e);
// It is complete, or removed already. Fine for what was not added.
void litter_drop(const char *path);
// Removes all that is left. Safe in the handler of a signal.
void litter_remove(void);

#endif
