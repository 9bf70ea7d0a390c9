// SPDX-License-Identifier: MIT
// The `pre_tokenizer` of tokenizer.json: splits a normalised text into the pieces that the model
// processes one by one.
#ifndef TOKENIZE_PRETOKENIZER_H
#define TOKENIZE_PRETOKENIZER_H

#include "tokenize/aligned.h"
#include "tokenize/pattern.h"
#include <jansson.h>

struct pretokenizer;

struct piece_list {
    struct piece {
        uint32_t start, end; // bytes of the slice; never empty
    } * piece;
    size_t n, capacity;
};

MUST_CHECK int pretokenizer_parse(const json_t *value, const char *name, struct pretokenizer **out,
                                  struct err *e); // *out stays NULL for null
void pretokenizer_free(struct pretokenizer *p);
// Whether pieces are to be looked up in the byte alphabet (a ByteLevel is among the steps). The
// pieces themselves stay bytes of text.
int pretokenizer_is_byte_level(const struct pretokenizer *p);

struct pretokenizer_scratch {
    struct aligned_pair buffers;
    struct piece_list pieces, next;
    struct pattern_scratch pattern;
};
MUST_CHECK int pretokenizer_scratch_init(struct pretokenizer_scratch *s, struct err *e);
void pretokenizer_scratch_release(struct pretokenizer_scratch *s);
// Fills s->pieces; *text may become a rewritten text in s->buffers, which the pieces refer to.
MUST_CHECK int pretokenizer_run(const struct pretokenizer *p, struct slice *text,
                                struct pretokenizer_scratch *s, struct err *e);

#endif
