// SPDX-License-Identifier: MIT
// Tokenizers as tokenizer.json declares them: normalizer, pre-tokenizer, model, post-processor,
// decoder, added tokens. The file is followed as it stands; what is not understood is refused with
// the name of the key.
#ifndef TEXT_TOKENIZER_H
#define TEXT_TOKENIZER_H

#include "base/error.h"
#include "base/memory.h"
#include <stddef.h>
#include <stdint.h>

struct tokenizer;

// Ids with the bytes of the input text that each came from. start == end for tokens that the
// post-processor added.
struct token_list {
    uint32_t *id;
    uint32_t *start, *end; // byte offsets into the text
    size_t n, capacity;
};
void token_list_init(struct token_list *t);
void token_list_release(struct token_list *t);

// Reads DIR/tokenizer.json (and tokenizer_config.json, special_tokens_map.json where they matter).
struct tokenizer *tokenizer_open(const char *directory, struct err *e);
void tokenizer_close(struct tokenizer *t);
const char *tokenizer_fingerprint(
    const struct tokenizer *t); // "xxh3:..." of tokenizer.json's bytes
// The fingerprint alone, cheaply; *found = 0 and out empty when DIR has no tokenizer.json.
int tokenizer_fingerprint_of(const char *directory, char out[24], int *found, struct err *e);
size_t tokenizer_size(const struct tokenizer *t); // largest id + 1

enum tokenizer_flags { TOKENIZER_SPECIAL = 1 }; // add what the post-processor adds
// Appends to `out`. The text is UTF-8 (invalid bytes: see the .c file) and may hold NULs.
int tokenizer_encode(const struct tokenizer *t, const char *text, size_t size, unsigned flags,
                     struct token_list *out, struct err *e);
// Appends the text of ids; skip_special leaves special tokens out.
int tokenizer_decode(const struct tokenizer *t, const uint32_t *id, size_t n, int skip_special,
                     struct buffer *out, struct err *e);
// Appends the bytes that this one token stands for inside a text (may be a part of a character);
// `first`: the token begins the text (decoders that strip a leading space do it there).
int tokenizer_piece(const struct tokenizer *t, uint32_t id, int first, struct buffer *out,
                    struct err *e);
int tokenizer_is_special(const struct tokenizer *t, uint32_t id);
int64_t tokenizer_token_id(const struct tokenizer *t, const char *content); // -1: none
int64_t tokenizer_eos(const struct tokenizer *t);                           // -1: unknown
int64_t tokenizer_bos(const struct tokenizer *t);

#endif
