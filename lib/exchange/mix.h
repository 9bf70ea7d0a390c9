// SPDX-License-Identifier: MIT
// Which tensor of a GGUF file gets which type. Source: llama_tensor_get_type of llama.cpp.
#ifndef EXCHANGE_MIX_H
#define EXCHANGE_MIX_H

#include "base/error.h"
#include "exchange/layout.h"

struct type_mix {
    const char *name;    // of --type
    int file_type;       // general.file_type (enum llama_ftype)
    enum gguf_type most; // of the matrices
};

// NULL: *e.
const struct type_mix *mix_find(const char *name, struct err *e);
enum gguf_type mix_type(const struct type_mix *m, const struct layout *l, size_t layer);

#endif
