// SPDX-License-Identifier: MIT
// The names in a directory.
#ifndef BASE_LISTING_H
#define BASE_LISTING_H

#include <dirent.h>

// The next name besides `.` and `..`: 1, with *name good until the next call; 0 at the end; -1 with
// errno where the directory cannot be read.
int listing_next(DIR *directory, const char **name);
// Whether the name is among those, which NULL ends; NULL: none.
int listing_has(const char *const *names, const char *name);
int listing_ends(const char *name, const char *suffix);

#endif
