// SPDX-License-Identifier: MIT
// One safetensors file, mapped. Layout: u64 little-endian header size, JSON header, data.
#ifndef MODEL_SAFETENSORS_H
#define MODEL_SAFETENSORS_H

#include "base/error.h"
#include "ops/tensor.h"
#include <jansson.h>

enum { SAFETENSORS_DIMS = 8, SAFETENSORS_HEADER_MAX = 100 << 20 };

struct safetensors_entry {
    char *name;
    char type[8];     // as in the file: "F32", "BF16", "I64", ...
    int known;        // type is one of enum dtype
    enum dtype dtype; // where known
    int n_dims;
    size_t dim[SAFETENSORS_DIMS];
    size_t offset, bytes; // in the data part
};

struct safetensors {
    char *path; // for messages
    unsigned char *map;
    size_t size;                     // of the file
    size_t header_size;              // of the JSON text
    struct safetensors_entry *entry; // in order of offset
    size_t n;
    const struct safetensors_entry **by_name; // the same, sorted
    json_t *metadata;                         // object or NULL
};

// Opens `name` in the directory `at` and checks everything the header says: sizes against shapes
// and types, ranges inside the file, no overlap. Errors name file and tensor.
MUST_CHECK int safetensors_open(struct safetensors *s, int at, const char *name, struct err *e);
void safetensors_close(struct safetensors *s);
// Gives the pages that were read back to the system; the file stays mapped.
void safetensors_forget(const struct safetensors *s);
const struct safetensors_entry *safetensors_find(const struct safetensors *s, const char *name);
static inline const unsigned char *safetensors_data(const struct safetensors *s,
                                                    const struct safetensors_entry *entry)
{
    return s->map + 8 + s->header_size + entry->offset;
}

// Writing: a description of each tensor in file order, then the data in the same order.
// Builds the text of the header (padded with spaces to a multiple of 8) for entries whose name,
// type, dims and bytes are given; offsets are filled in.
char *safetensors_header(struct safetensors_entry *entry, size_t n, const json_t *metadata,
                         size_t *size, struct err *e);

#endif
