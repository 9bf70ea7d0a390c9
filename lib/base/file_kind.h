// SPDX-License-Identifier: MIT
// What a file seems to be, by its first bytes: said of one that cannot be read as what was wanted.
#ifndef BASE_FILE_KIND_H
#define BASE_FILE_KIND_H

#include "base/error.h"
#include <stddef.h>

enum file_kind_use {
    FILE_KIND_DATA,    // may hold records, in another form
    FILE_KIND_WEIGHTS, // of a model
    FILE_KIND_TEXT,    // can be read as text, though nobody may have meant to
    FILE_KIND_POINTER, // stands for a file that was not fetched
};

struct file_kind {
    const char *name; // with its article: "a Parquet file"
    enum file_kind_use use;
    const char *way; // what makes something readable of it; NULL
};

enum { FILE_KIND_BYTES = 512 }; // more are not looked at

// Of the first `size` bytes, from their signatures; NULL: none is known. Never a token stream's.
const struct file_kind *file_kind(const void *head, size_t size);
// Refuses what only stands for the file NAME: a clone without Git LFS has such pointers.
MUST_CHECK int file_kind_fetched(const void *head, size_t size, const char *name, struct err *e);

#endif
