// SPDX-License-Identifier: MIT
// The files that this process reads and writes, by device and inode, so that no output replaces or
// overwrites an input of the same command, whatever name, link or hard link it goes by. Any thread.
#ifndef BASE_TOUCHED_H
#define BASE_TOUCHED_H

#include "base/error.h"
#include <sys/stat.h>

// `name` is for messages. What is not a regular file passes. -1: refused (STATUS_USAGE) or memory.
MUST_CHECK int touched_input(const struct stat *st, const char *name, struct err *e);
// The same of a file of a model's directory, of which a trainer also writes.
MUST_CHECK int touched_part(const struct stat *st, const char *name, struct err *e);
MUST_CHECK int touched_output(const struct stat *st, const char *name, struct err *e);
// The output is closed, or another file has its name now: its inode may come again.
void touched_output_end(const struct stat *st);

#endif
