// SPDX-License-Identifier: MIT
// Tokenizers as declared by tokenizer.json: normalizer, pre-tokenizer, model, post-processor,
// decoder, added tokens. The file is followed exactly; what is not understood is refused with the
// name of the key. Without a tokenizer.json, a tokenizer.model of SentencePiece is read with the
// settings in tokenizer_config.json.
#ifndef TOKENIZE_TOKENIZER_H
#define TOKENIZE_TOKENIZER_H

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
void token_list_drop_places(struct token_list *t); // the ids stay until n is set to 0
MUST_CHECK int token_list_add(struct token_list *t, uint32_t id, size_t start, size_t end,
                              struct err *e);

// Reads DIR/tokenizer.json, or else DIR/tokenizer.model (and tokenizer_config.json,
// special_tokens_map.json, added_tokens.json where they matter).
struct tokenizer *tokenizer_open(const char *directory, struct err *e);
void tokenizer_close(struct tokenizer *t);
const char *tokenizer_fingerprint(const struct tokenizer *t); // "xxh3:..." of the file's bytes
// The fingerprint alone, cheaply; *found = 0 and out empty when DIR has neither file.
MUST_CHECK int tokenizer_fingerprint_of(const char *directory, char out[24], int *found,
                                        struct err *e);
size_t tokenizer_size(const struct tokenizer *t); // largest id + 1

enum tokenizer_flags {
    TOKENIZER_SPECIAL = 1, // add what the post-processor adds: in front at (0, 0), at the end at
                           // (size, size)
    TOKENIZER_EXTENT = 2,  // offsets are extents: blanks are never left out, and a character that
                           // the normalizer joined to the one before it or dropped belongs to the
                           // token before it. What loss masks go by.
};
// How many ids TOKENIZER_SPECIAL puts in front and at the end.
void tokenizer_affixes(const struct tokenizer *t, size_t *front, size_t *end);
// Appends to `out`. The text is UTF-8 and may hold NULs; bytes that are no UTF-8 are taken as
// U+FFFD, one for each maximal subpart. Uses working memory inside the tokenizer: one thread at a
// time.
MUST_CHECK int tokenizer_encode(const struct tokenizer *t, const char *text, size_t size,
                                unsigned flags, struct token_list *out, struct err *e);
// The same with working memory of one's own, for several threads that share a tokenizer. (It keeps
// a cache of words; used with another tokenizer it starts afresh.)
struct tokenizer_worker;
struct tokenizer_worker *tokenizer_worker_open(struct err *e);
void tokenizer_worker_close(struct tokenizer_worker *w); // NULL is fine
MUST_CHECK int tokenizer_encode_by(const struct tokenizer *t, struct tokenizer_worker *w,
                                   const char *text, size_t size, unsigned flags,
                                   struct token_list *out, struct err *e);
// Appends the text of ids; skip_special leaves special tokens out.
MUST_CHECK int tokenizer_decode(const struct tokenizer *t, const uint32_t *id, size_t n,
                                int skip_special, struct buffer *out, struct err *e);
// Appends the bytes that this one token stands for inside a text (may be a part of a character);
// `first`: the token begins the text (decoders that strip a leading space do it there).
MUST_CHECK int tokenizer_piece(const struct tokenizer *t, uint32_t id, int first,
                               struct buffer *out, struct err *e);

// Decoding of ids as they come, cut anywhere: each call appends the text that has become certain,
// in whole characters, and nothing is taken back. All that is given, with the rest at the end, is
// what tokenizer_decode gives of all ids (decoder.h has the one exception: byte tokens that end
// inside a character). Working memory is what is not certain yet.
struct tokenizer_stream;
struct tokenizer_stream *tokenizer_stream_open(const struct tokenizer *t, int skip_special,
                                               struct err *e);
void tokenizer_stream_close(struct tokenizer_stream *s); // NULL is fine
MUST_CHECK int tokenizer_stream_add(struct tokenizer_stream *s, uint32_t id, struct buffer *out,
                                    struct err *e);
MUST_CHECK int tokenizer_stream_end(struct tokenizer_stream *s, struct buffer *out,
                                    struct err *e); // the next id begins a new text

// The token as the vocabulary spells it; borrowed, NULL when there is no such id.
const char *tokenizer_token(const struct tokenizer *t, uint32_t id, size_t *size);
int64_t tokenizer_token_id(const struct tokenizer *t, const char *content); // -1: none
// The same of the tokenizer in DIR, which is opened for it.
MUST_CHECK int tokenizer_token_id_in(const char *directory, const char *content, int64_t *id,
                                     struct err *e);
int64_t tokenizer_eos(const struct tokenizer *t); // -1: unknown

#endif
