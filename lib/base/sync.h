// SPDX-License-Identifier: MIT
// To the disk, before a rename replaces something: first the files, then the folder that names
// them. After a power cut there is the old or the new.
#ifndef BASE_SYNC_H
#define BASE_SYNC_H

#include "base/error.h"

MUST_CHECK int sync_fd(int fd, const char *name, struct err *e);   // a file or a directory
MUST_CHECK int sync_file(int at, const char *name, struct err *e); // fine if it does not exist
// All files of the directory `at` and below, and the directories.
MUST_CHECK int sync_tree(int at, const char *name, struct err *e);
MUST_CHECK int sync_folder(const char *path, struct err *e); // the directory alone

#endif
