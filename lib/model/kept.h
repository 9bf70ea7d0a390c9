// SPDX-License-Identifier: MIT
// The files beside the weights of a model (configuration, tokenizer, licence), as they were when
// they were read: a model that is saved hours later has these, whatever became of its directory.
#ifndef MODEL_KEPT_H
#define MODEL_KEPT_H

#include "base/file_mark.h"
#include <stddef.h>

struct kept {
    struct kept_file {
        char *name, *data;
        size_t size;
        int fd; // of a file too large for memory, or -1
        struct file_mark mark;
    } * file;
    size_t n, capacity;
};

// Reads all regular files of the directory but those that hold weights or belong to a training run,
// and those of folders in it (names with slashes), but for hidden folders and such as hold weights
// or a model of their own. One of more than 64 MiB stays open and is read by kept_write.
MUST_CHECK int kept_read(struct kept *k, int directory, struct err *e);
void kept_release(struct kept *k);
const struct kept_file *kept_find(const struct kept *k, const char *name); // NULL: there is none
// Puts a file of these bytes in the place of the one of this name, or adds it.
MUST_CHECK int kept_set(struct kept *k, const char *name, const char *data, size_t size,
                        struct err *e);
// Writes them into the directory `to`.
MUST_CHECK int kept_write(const struct kept *k, int to, struct err *e);

#endif
