// SPDX-License-Identifier: MIT
// What decoder.c (whole sequences) and decoder_stream.c (token by token) share.
#ifndef TOKENIZE_TOKEN_DECODER_INTERNAL_H
#define TOKENIZE_TOKEN_DECODER_INTERNAL_H

#include "tokenize/token_decoder.h"

enum { DECODER_STEPS_MAX = 64 };

enum decoder_kind {
    DECODE_BYTE_LEVEL,
    DECODE_REPLACE,
    DECODE_BYTE_FALLBACK,
    DECODE_FUSE,
    DECODE_STRIP,
    DECODE_METASPACE,
    DECODE_SUFFIX, // BPEDecoder
    DECODE_WORD_PIECE,
    DECODE_CTC,
};

struct decoder_step {
    enum decoder_kind kind;
    struct pattern *pattern;
    char *text; // what is put in, stripped or looked for
    size_t size;
    int64_t start, stop;
    int keeps_first; // Metaspace with prepend_scheme never
    int cleans;      // WordPiece and CTC: blanks before punctuation go
    char *delimiter; // CTC: becomes a blank
};

// Sequences are flattened.
struct token_decoder {
    struct decoder_step step[DECODER_STEPS_MAX];
    int n;
    int has_regex;
};

// A token in the byte alphabet gives its bytes; one with any other character is taken as it is.
MUST_CHECK int decoder_put_alphabet(struct buffer *to, const char *token, size_t size,
                                    struct err *e);
// <0x41> is a byte; -1: another token.
int decoder_fallback_byte(const char *token, size_t size);
// Appends what Replace, Strip, Metaspace and BPEDecoder make of one token.
MUST_CHECK int decoder_token(const struct decoder_step *s, const char *token, size_t size,
                             int first, int last, struct pattern_scratch *scratch,
                             struct buffer *to, struct err *e);
// What a step makes of all tokens.
MUST_CHECK int decoder_step_run(const struct decoder_step *s, const struct string_list *from,
                                struct string_list *to, struct pattern_scratch *scratch,
                                struct err *e);

#endif
