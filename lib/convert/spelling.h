// SPDX-License-Identifier: MIT
// A tokenizer behind the callbacks of the filters over streams, which know nothing of tokenizers.
#ifndef CONVERT_SPELLING_H
#define CONVERT_SPELLING_H

#include "tokenize/tokenizer.h"

// `tokenizer`: a struct tokenizer *. What a token adds to a text, of which it is the first.
MUST_CHECK int spell_piece(void *tokenizer, uint32_t token, int first, struct buffer *out,
                           struct err *e);
// Text as tokens, uint32_t each, without what the post-processor adds.
MUST_CHECK int spell_encode(void *tokenizer, const char *text, size_t size, struct buffer *out,
                            struct err *e);
// Tokens as text, without special ones.
MUST_CHECK int spell_decode(void *tokenizer, const uint32_t *token, size_t n, struct buffer *out,
                            struct err *e);

#endif
