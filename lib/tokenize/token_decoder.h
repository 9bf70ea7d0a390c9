// SPDX-License-Identifier: MIT
// The `decoder` of tokenizer.json: tokens to text.
#ifndef TOKENIZE_TOKEN_DECODER_H
#define TOKENIZE_TOKEN_DECODER_H

#include "base/error.h"
#include "base/memory.h"
#include "tokenize/pattern.h"
#include <jansson.h>

struct token_decoder;

// Strings one after the other: string i is text[end[i - 1], end[i]).
struct string_list {
    struct buffer text;
    size_t *end;
    size_t n, capacity;
};
void string_list_init(struct string_list *l);
void string_list_release(struct string_list *l);
void string_list_clear(struct string_list *l);
// Appends bytes to the string under construction; string_list_close ends it.
MUST_CHECK int string_list_close(struct string_list *l, struct err *e);
const char *string_list_at(const struct string_list *l, size_t i, size_t *size);

MUST_CHECK int decoder_parse(const json_t *value, const char *name, struct token_decoder **out,
                             struct err *e);
void decoder_free(struct token_decoder *d);
// Appends the text of the tokens; `tokens` is used up. NULL decoder: joined by blanks.
MUST_CHECK int decoder_run(const struct token_decoder *d, struct string_list *tokens,
                           struct buffer *out, struct err *e);
// Appends the bytes of one token inside a text. What a decoder strips from the beginning it strips
// where `first` is set; broken characters are left as they are.
MUST_CHECK int decoder_piece(const struct token_decoder *d, const char *token, size_t size,
                             int first, struct buffer *out, struct err *e);

// The same token by token. What is given is certain: whatever comes later, the text of all tokens
// begins with it. At the end the rest follows, and all of it is what decoder_run gives, with one
// exception: where a run of byte tokens (ByteFallback) ends inside a character, decoder_run makes
// U+FFFD of the whole run; here its complete characters stay, and only the bytes behind them become
// U+FFFD.
struct decoder_stream;
struct decoder_stream *decoder_stream_open(const struct token_decoder *d,
                                           struct err *e); // borrows d
void decoder_stream_close(struct decoder_stream *s);
MUST_CHECK int decoder_stream_add(struct decoder_stream *s, const char *token, size_t size,
                                  struct buffer *out, struct err *e);
// Appends what was held back. The next token begins a new text.
MUST_CHECK int decoder_stream_end(struct decoder_stream *s, struct buffer *out, struct err *e);

#endif
