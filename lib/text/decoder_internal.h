// SPDX-License-Identifier: MIT
// The steps of a decoder one by one, for decoder_stream.c.
#ifndef TEXT_DECODER_INTERNAL_H
#define TEXT_DECODER_INTERNAL_H

#include "text/decoder.h"

enum { DECODER_STEPS_MAX = 64 };

// What a step needs to see before it can go on.
enum decoder_needs {
    DECODER_TOKEN,   // a token, whether it is the first, and nothing else
    DECODER_BYTES,   // ByteLevel: the bytes of a character; joins what it gets
    DECODER_RUN,     // ByteFallback: a run of byte tokens
    DECODER_JOINS,   // Fuse: nothing; joins what it gets
    DECODER_STRIPS,  // Strip: a token, or both ends of a joined text
    DECODER_LITERAL, // Replace of a literal: a token, or that much of a joined text
    DECODER_SUFFIX,  // BPEDecoder: whether the token is the last
    DECODER_ALL,     // any other: all tokens
};

struct decoder_view {
    enum decoder_needs needs;
    const char *text; // what is put in, stripped or looked for
    size_t size;
    int64_t start, stop;
    const struct pattern *pattern;
};

int decoder_steps(const struct decoder *d);
int decoder_has_regex(const struct decoder *d);
void decoder_look(const struct decoder *d, int step, struct decoder_view *out);
// A token in the byte alphabet gives its bytes; one with any other character is taken as it is.
int decoder_spell(struct buffer *to, const char *token, size_t size, struct err *e);
// <0x41> is a byte; -1: another token.
int decoder_byte(const char *token, size_t size);
// Appends what a step that needs no more makes of one token.
int decoder_token(const struct decoder *d, int step, const char *token, size_t size, int first,
                  int last, struct pattern_scratch *scratch, struct buffer *to, struct err *e);
// What a step makes of all tokens.
int decoder_step(const struct decoder *d, int step, const struct string_list *from,
                 struct string_list *to, struct pattern_scratch *scratch, struct err *e);

#endif
