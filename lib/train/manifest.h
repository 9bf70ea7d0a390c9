// SPDX-License-Identifier: MIT
// Checksums of the files that a saved state belongs to, kept in the state: a run that goes on finds
// what has changed since.
#ifndef TRAIN_MANIFEST_H
#define TRAIN_MANIFEST_H

#include "base/error.h"
#include <jansson.h>

// The sums of all files in the directory `at` and below but for `skip` (names directly in it, NULL
// at the end): {"half/config.json": "xxh3:...", ...}, or NULL.
json_t *manifest_make(int at, const char *const *skip, struct err *e);
// Adds that of a file of the directory, if it is there.
int manifest_add(json_t *sums, int at, const char *name, struct err *e);
// Whether those files still are what they were; what has been added does not matter.
int manifest_check(int at, const json_t *sums, struct err *e);

// Of the metrics in the file `path` (NULL, or not a file: json null). exact: {"bytes", "sum"}; not:
// {"lines", "sum"}, without what depends on the clock, so that two runs have the same.
json_t *manifest_of_metrics(const char *path, int exact, struct err *e);
// Whether the file, if it is there, begins with what it was.
int manifest_check_metrics(const char *path, const json_t *sum, struct err *e);

#endif
