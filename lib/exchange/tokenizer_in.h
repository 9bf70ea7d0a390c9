// SPDX-License-Identifier: MIT
// The tokenizer of a GGUF file as Hugging Face's files.
#ifndef EXCHANGE_TOKENIZER_IN_H
#define EXCHANGE_TOKENIZER_IN_H

#include "gguf/file.h"
#include <jansson.h>

// Writes tokenizer.json, tokenizer_config.json, generation_config.json and, where the file has one,
// chat_template.jinja into the directory `to`; the ids of bos, eos and pad go into `config`.
// A file that says that it has none ("no_vocab") gives none of these.
// Byte-level BPE ("gpt2") and SentencePiece's BPE ("llama") are read; another kind, and a
// pre-tokenizer of an unknown name, is refused.
MUST_CHECK int tokenizer_in(const struct gguf *g, json_t *config, int to, struct err *e);

#endif
