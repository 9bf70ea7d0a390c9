// SPDX-License-Identifier: MIT
// A GGUF file as a Hugging Face model directory.
#ifndef EXCHANGE_IMPORT_H
#define EXCHANGE_IMPORT_H

#include "base/error.h"

struct import {
    const char *dtype; // fp32, bf16, fp16; NULL: that of the file's matrices, bf16 for quantised
};

// Fills the directory `to`: config.json, the tokenizer's files, model.safetensors. Refuses by name
// an architecture, a key, a tensor or a type that this version does not understand, and numbers
// beyond the reach of fp16 where that was asked for.
MUST_CHECK int import_gguf(const char *file, int to, const struct import *options, struct err *e);

#endif
