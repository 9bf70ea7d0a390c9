// SPDX-License-Identifier: MIT
// One GGUF file, mapped: keys with values, then tensors. Versions 2 and 3, little-endian.
// Source: docs/gguf.md of ggml. Layout: "GGUF", u32 version, u64 number of tensors, u64 number of
// keys; each key: string, u32 kind, value; each tensor: string, u32 number of dimensions, u64 each,
// the fastest first, u32 type, u64 offset; at the next multiple of general.alignment (32) the data,
// from which offsets count. A string: u64 length, bytes. An array: u32 kind, u64 number, items.
#ifndef GGUF_FILE_H
#define GGUF_FILE_H

#include "base/error.h"
#include "base/mapped.h"
#include "gguf/block.h"

enum gguf_kind {
    KIND_U8,
    KIND_I8,
    KIND_U16,
    KIND_I16,
    KIND_U32,
    KIND_I32,
    KIND_F32,
    KIND_BOOL,
    KIND_STRING,
    KIND_ARRAY,
    KIND_U64,
    KIND_I64,
    KIND_F64,
    GGUF_KINDS
};
enum { GGUF_DIMS = 4, GGUF_NAME_MAX = 256, GGUF_KEY_MAX = 65535, GGUF_ALIGNMENT = 32 };

// Bytes within the file, which need not end with a NUL.
struct gguf_text {
    const char *s;
    size_t n;
};

struct gguf_value {
    char *key;
    enum gguf_kind kind, item; // item: of an array
    uint64_t n;                // items of an array, else 1
    const unsigned char *data; // the items
    size_t bytes;              // of data
};

struct gguf_tensor {
    char *name;
    const struct block_type *type;
    int n_dims;
    size_t dim[GGUF_DIMS]; // the fastest first; 1 beyond n_dims
    size_t values;         // the product
    size_t offset, bytes;  // in the file
};

struct gguf {
    char *path; // for messages
    struct mapped *file;
    uint32_t version;
    size_t alignment;
    struct gguf_value *value; // sorted by key
    size_t n_values, values_capacity;
    struct gguf_tensor *tensor; // sorted by name
    size_t n_tensors, tensors_capacity;
};

// Maps the file and checks all that it says of itself: counts, lengths, kinds, names that stand
// twice, dimensions against the types' blocks, and data that overlap or are beyond the file's end.
// Types that this suite does not unpack are fine here.
MUST_CHECK int gguf_open(struct gguf *g, const char *path, struct err *e);
void gguf_close(struct gguf *g);

const struct gguf_value *gguf_find(const struct gguf *g, const char *key); // NULL: not there
const struct gguf_tensor *gguf_find_tensor(const struct gguf *g, const char *name);
// Each looks KEY up. An absent one leaves *value and returns 0, a present one returns 1; one of
// another kind, or of a whole number that does not fit, fills *e. Numbers may be of any width.
MUST_CHECK int gguf_get_int(const struct gguf *g, const char *key, int64_t *value, struct err *e);
MUST_CHECK int gguf_get_real(const struct gguf *g, const char *key, double *value, struct err *e);
MUST_CHECK int gguf_get_bool(const struct gguf *g, const char *key, int *value, struct err *e);
// The text is the file's.
MUST_CHECK int gguf_get_text(const struct gguf *g, const char *key, struct gguf_text *value,
                             struct err *e);
// An array of strings: its items [*n], to be freed, which point into the file. 0: absent.
MUST_CHECK int gguf_get_texts(const struct gguf *g, const char *key, struct gguf_text **texts,
                              size_t *n, struct err *e);
// An array of numbers, or of truths as 0 and 1: doubles [*n] to be freed. 0: absent.
MUST_CHECK int gguf_get_reals(const struct gguf *g, const char *key, double **numbers, size_t *n,
                              struct err *e);
// All values of a tensor, or `n` from value `first` on (whole blocks), as fp32. Refuses a type that
// cannot be unpacked, by its name.
MUST_CHECK int gguf_unpack(const struct gguf *g, const struct gguf_tensor *t, size_t first,
                           size_t n, float *out, struct err *e);

#endif
