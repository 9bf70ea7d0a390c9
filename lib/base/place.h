// SPDX-License-Identifier: MIT
// Where a named file stands: behind its links, in its folder, on its disk.
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
// To the disk. What cannot be synced (a pipe, a folder without leave to read it) is left as it is.
MUST_CHECK int place_sync(int fd, const char *name, struct err *e);
MUST_CHECK int place_sync_folder(const char *path, struct err *e); // the folder of PATH
enum { PLACED_MAX = 2048 };
// PATH, relative to the descriptor `at` (or AT_FDCWD), with its folder: for messages, by value.
struct placed {
    char text[PLACED_MAX];
};
struct placed placed(int at, const char *path);
int place_errno(struct err *e, int at, const char *path); // err_errno with that

#endif
