// SPDX-License-Identifier: MIT
// Types of GGUF's tensors: numbers that lie in blocks, each with scales of its own.
// Source: the struct definitions of ggml (ggml/src/ggml-common.h) and enum ggml_type (ggml.h).
#ifndef GGUF_BLOCK_H
#define GGUF_BLOCK_H

#include <stddef.h>
#include <stdint.h>

enum gguf_type {
    GGUF_F32 = 0,
    GGUF_F16 = 1,
    GGUF_Q4_0 = 2,
    GGUF_Q4_1 = 3,
    GGUF_Q5_0 = 6,
    GGUF_Q5_1 = 7,
    GGUF_Q8_0 = 8,
    GGUF_Q2_K = 10,
    GGUF_Q3_K = 11,
    GGUF_Q4_K = 12,
    GGUF_Q5_K = 13,
    GGUF_Q6_K = 14,
    GGUF_IQ4_NL = 20,
    GGUF_BF16 = 30,
    GGUF_TYPES = 42 // numbers end before
};
enum { GGUF_BLOCK = 32, GGUF_SUPER = 256 }; // values per block, of the types with K

struct block_type {
    const char *name;     // as ggml spells it; NULL: no such type
    size_t values, bytes; // of a block
    // n values of whole blocks, in fp32 arithmetic, the same bits as the gguf Python package's;
    // NULL: not read. `from` may begin anywhere.
    void (*unpack)(float *to, const unsigned char *from, size_t n);
};

// NULL: the number means no type.
const struct block_type *block_type(uint32_t type);
// "F32, F16, ...": those that can be read.
const char *block_list(char *out, size_t size);

#endif
