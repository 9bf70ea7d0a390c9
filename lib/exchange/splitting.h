// SPDX-License-Identifier: MIT
// Pre-tokenizers by the names that GGUF files have for them (tokenizer.ggml.pre), and as
// tokenizer.json has them. Source: the patterns of the published tokenizer.json files, as
// llm_tokenizer_bpe of llama.cpp quotes them.
#ifndef EXCHANGE_SPLITTING_H
#define EXCHANGE_SPLITTING_H

#include "base/error.h"
#include <jansson.h>

enum { SPLITTING_STEPS = 4 };

struct splitting {
    const char *name;
    int nfc;         // the texts are normalized before
    int whole_words; // a word that is a token is one, whatever the merges say
    int begins;      // with the token bos where the file does not say
    struct {
        enum {
            STEP_END,
            STEP_SPLIT,
            STEP_DIGITS,
            STEP_NUMBERS,
            STEP_PUNCTUATION,
            STEP_GPT2,
            STEP_BYTES
        } kind;
        const char *pattern; // of STEP_SPLIT
    } step[SPLITTING_STEPS];
};

// NULL: not known. `name` of n bytes.
const struct splitting *splitting_find(const char *name, size_t n);
// The one that does what a tokenizer.json's pre-tokenizer, normalizer and whole_words do; NULL.
const struct splitting *splitting_match(const json_t *pre_tokenizer, const json_t *normalizer,
                                        int whole_words);
json_t *splitting_pre_tokenizer(const struct splitting *s);
// The object of a byte-level part; use_regex: it splits too.
json_t *splitting_byte_level(int use_regex);

#endif
