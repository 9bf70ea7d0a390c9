// SPDX-License-Identifier: MIT
// One safetensors file, mapped. Layout: u64 little-endian header size, JSON header, data.
#ifndef MODEL_SAFETENSORS_H
#define MODEL_SAFETENSORS_H

#include "base/error.h"
#include "base/mapped.h"
#include "ops/tensor.h"
#include <jansson.h>

enum { SAFETENSORS_DIMS = 8, SAFETENSORS_HEADER_MAX = 100000000 }; // the reference library's

struct safetensors_entry {
    char *name;
    char type[8];     // as in the file: "F32", "BF16", "I64", ...
    int known;        // type is one of enum dtype
    enum dtype dtype; // where known
    int n_dims;
    size_t dim[SAFETENSORS_DIMS];
    size_t offset, bytes; // in the data part
    unsigned char *copy;  // of the data, where safetensors_align made one
    int elsewhere;        // the index of the shards has a tensor of this name in another one
};

struct safetensors {
    char *path;           // for messages of safetensors_open
    struct mapped *file;  // what was mapped
    unsigned char *start; // what stands before the data, copied: 8 + header_size bytes
    const unsigned char *map;
    size_t size;                     // of the file
    size_t header_size;              // of the JSON text
    struct safetensors_entry *entry; // in order of offset
    size_t n, capacity;
    const struct safetensors_entry **by_name; // the same, sorted
    json_t *metadata;                         // object of strings, or NULL
};

// Opens `name` in the directory `at` and checks everything the header says, as the reference
// library does: sizes against shapes and types, and data that follow one another, without a hole or
// an overlap, up to the end of the file. Errors name file and tensor.
MUST_CHECK int safetensors_open(struct safetensors *s, int at, const char *name, struct err *e);
// The same; `folder`/`name` is how the file is called if it changes while it is read
// (base/mapped.h).
MUST_CHECK int safetensors_open_in(struct safetensors *s, int at, const char *folder,
                                   const char *name, struct err *e);
// The same from a descriptor, which is taken over, also on failure; `name` is for messages.
MUST_CHECK int safetensors_open_fd(struct safetensors *s, int fd, const char *name, struct err *e);
void safetensors_close(struct safetensors *s);
// Gives the pages and copies that were read back to the system; the file stays mapped, but results
// no longer depend on it.
void safetensors_forget(struct safetensors *s);
const struct safetensors_entry *safetensors_find(const struct safetensors *s, const char *name);
// Data may begin anywhere in a file. Makes those of a tensor of a known type begin at a multiple of
// its element's size, by a copy where they do not.
MUST_CHECK int safetensors_align(const struct safetensors *s, const struct safetensors_entry *entry,
                                 struct err *e);
// Without safetensors_align for dtype_to_f32 and memcpy only.
static inline const unsigned char *safetensors_data(const struct safetensors *s,
                                                    const struct safetensors_entry *entry)
{
    return entry->copy ? entry->copy : s->map + 8 + s->header_size + entry->offset;
}

// Writing: a description of each tensor in file order, then the data in the same order.
// Builds the text of the header (padded with spaces to a multiple of 8) for entries whose name,
// type, dims and bytes are given; offsets are filled in.
char *safetensors_header(struct safetensors_entry *entry, size_t n, const json_t *metadata,
                         size_t *size, struct err *e);

#endif
