// SPDX-License-Identifier: MIT
// Files mapped for reading, and whether somebody writes to them meanwhile. A file that shrinks
// under its readers raises SIGBUS where its end was: then the program says which file it was and
// exits with STATUS_FAILED, at once and in any thread, so that no result is completed from what
// is left. One that is overwritten is found by mapped_unchanged.
#ifndef BASE_MAPPED_H
#define BASE_MAPPED_H

#include "base/error.h"
#include "base/file_mark.h"
#include <stddef.h>

struct mapped {
    const unsigned char *data; // NULL: the file is empty
    size_t size;
    char *name; // for messages
    int fd;
    int settled; // no result depends on the file any more
    struct file_mark mark;
    char *line[2]; // what a SIGBUS prints: the file changed, the device failed
    size_t length[2];
    struct mapped *next;
};

// Takes the descriptor over, also on failure. For the main thread, as are the others. NULL: *e.
struct mapped *mapped_open(int fd, const char *name, struct err *e);
void mapped_close(struct mapped *m); // NULL is fine
// Gives the pages that were read back to the system; they come again when they are asked for.
void mapped_let_go(const struct mapped *m);
// The same for good: the file stays mapped, but mapped_unchanged no longer asks for it.
void mapped_settle(struct mapped *m);
// Fails if the file was written to since it was opened. That it was renamed or removed is no
// change.
MUST_CHECK int mapped_check(const struct mapped *m, struct err *e);
// The same for every file that is mapped and not settled. Ask before a result is completed.
MUST_CHECK int mapped_unchanged(struct err *e);

#endif
