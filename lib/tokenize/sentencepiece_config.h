// SPDX-License-Identifier: MIT
// The files beside a tokenizer.model in a model directory: how tokenizer_config.json wants it used,
// and the decoder that tokenizer.json would declare for it.
#ifndef TOKENIZE_SENTENCEPIECE_CONFIG_H
#define TOKENIZE_SENTENCEPIECE_CONFIG_H

#include "tokenize/sentencepiece.h"
#include <jansson.h>

struct sentencepiece_settings {
    int add_bos, add_eos;
    int prefix;      // the mark of a word goes in front where the model declares it
    int prefix_once; // only at the beginning of a text, not behind each added token
};

// `config` may be NULL. Absent keys: add_bos_token true, add_eos_token false, add_prefix_space
// true, legacy true.
MUST_CHECK int sentencepiece_settings_read(struct sentencepiece_settings *s,
                                           const struct sentencepiece *m, const json_t *config,
                                           struct err *e);
// As the `decoder` of tokenizer.json; a new value, or NULL.
json_t *sentencepiece_decoder(const struct sentencepiece *m, const struct sentencepiece_settings *s,
                              struct err *e);

#endif
