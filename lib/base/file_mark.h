// SPDX-License-Identifier: MIT
// Which file a descriptor shows and when it was written last: whether somebody changed it
// meanwhile. Removing or renaming a file changes neither its contents nor its mark.
#ifndef BASE_FILE_MARK_H
#define BASE_FILE_MARK_H

#include "base/error.h"
#include <sys/stat.h>

struct file_mark {
    dev_t device;
    ino_t inode;
    off_t size;
    struct timespec written;
};

// Of an open file; `name` is for messages.
MUST_CHECK int file_mark_take(struct file_mark *mark, int fd, const char *name, struct err *e);
// Whether the open file is the one that was marked, unchanged; 0 too where it cannot be asked. Safe
// in a signal handler.
int file_mark_holds(const struct file_mark *mark, int fd);
int file_mark_same(const struct file_mark *a, const struct file_mark *b);
// The failure of a file that does not hold its mark. Returns -1.
int file_mark_changed(const char *name, struct err *e);
// file_mark_holds as a failure: "NAME changed while it was read", or why it cannot be asked.
MUST_CHECK int file_mark_check(const struct file_mark *mark, int fd, const char *name,
                               struct err *e);

#endif
