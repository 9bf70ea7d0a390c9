// SPDX-License-Identifier: MIT
// The tokenizer of a Hugging Face directory as keys of a GGUF file.
#ifndef EXCHANGE_TOKENIZER_OUT_H
#define EXCHANGE_TOKENIZER_OUT_H

#include "base/error.h"
#include <jansson.h>
#include <stddef.h>

// Adds tokenizer.ggml.* for the directory `at` and a model of `vocab` tokens; ids without a token
// become unused ones. Byte-level BPE and SentencePiece's BPE with byte fallback can be said;
// another tokenizer.json, or a pre-tokenizer without a name in llama.cpp, is refused. A directory
// without tokenizer.json gives a file without a tokenizer.
MUST_CHECK int tokenizer_out(json_t *keys, int at, size_t vocab, struct err *e);

#endif
