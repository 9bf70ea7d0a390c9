// SPDX-License-Identifier: MIT
// Where a named file stands: behind its links, in its folder.
#ifndef BASE_PLACE_H
#define BASE_PLACE_H

#include "base/error.h"
#include <stddef.h>

// Where PATH leads through symbolic links, existing or not, from the heap; NULL with *e filled.
// What leads to an open descriptor (/dev/stdout, /dev/fd/N, /proc/self/fd/N) ends there:
// *descriptor is its number, else -1.
char *place_of(const char *path, int *descriptor, struct err *e);
// A descriptor that writes where PATH, found to be descriptor NUMBER, writes: ours again, with its
// position; of another process, at the end. Or -1.
MUST_CHECK int place_open_descriptor(const char *path, int number, struct err *e);
// The folder of PATH, from the heap.
char *place_folder(const char *path, struct err *e);
// A new name beside PATH that nobody can foresee, from the heap.
char *place_beside(const char *path, struct err *e);
enum { PLACED_MAX = 2048 };
// PATH, relative to the descriptor `at` (or AT_FDCWD), with its folder: for messages, by value.
struct placed {
    char text[PLACED_MAX];
};
struct placed placed(int at, const char *path);
int place_errno(struct err *e, int at, const char *path); // err_errno with that
// err_errno of PATH, which could not be opened or made, and that its folder is not there, if so.
int place_missing(struct err *e, const char *path);

#endif
