// SPDX-License-Identifier: MIT
// SentencePiece models (Kudo & Richardson, 2018), "tokenizer.model": a Protocol Buffers message
// with the pieces and the normalization of texts. Ids are those of SentencePiece itself.
#ifndef TOKENIZE_SENTENCEPIECE_H
#define TOKENIZE_SENTENCEPIECE_H

#include "base/memory.h"
#include "tokenize/aligned.h"
#include "tokenize/charsmap.h"
#include "tokenize/trie.h"
#include "tokenize/unigram.h"
#include "tokenize/vocabulary.h"

enum sentencepiece_type {
    SENTENCEPIECE_NORMAL = 1,
    SENTENCEPIECE_UNKNOWN = 2,
    SENTENCEPIECE_CONTROL = 3,
    SENTENCEPIECE_USER_DEFINED = 4,
    SENTENCEPIECE_UNUSED = 5,
    SENTENCEPIECE_BYTE = 6,
};

struct sentencepiece {
    size_t n; // pieces; their ids are 0 .. n-1
    unsigned char *type;
    float *score;
    unsigned char *user; // [n] type is USER_DEFINED
    int is_unigram;      // otherwise BPE
    int64_t unk, bos, eos;
    int byte_fallback;
    uint32_t byte_id[256];
    int has_unused;
    // Normalization. denormalize: for text that was decoded.
    struct charsmap normalize, denormalize;
    int dummy_prefix, extra_spaces_go, escapes, prefix_is_suffix;
    struct trie symbols; // the user-defined pieces: taken as they stand, from the text too
    struct unigram unigram;
    struct buffer bos_piece, eos_piece;
    struct buffer unk_surface; // what the unknown piece decodes to
};

// Reads a model from memory; its pieces go to `tokens`, which is empty. Release in any case.
MUST_CHECK int sentencepiece_init(struct sentencepiece *m, const void *data, size_t size,
                                  const char *name, struct vocabulary *tokens, struct err *e);
void sentencepiece_release(struct sentencepiece *m);
int sentencepiece_is_control(const struct sentencepiece *m, uint32_t id);

// *text becomes the normalized text in one of the buffers. `prefix`: the mark of a word is put in
// front where the model does that.
MUST_CHECK int sentencepiece_normalize(const struct sentencepiece *m, int prefix,
                                       struct slice *text, struct aligned_pair *buffers,
                                       struct err *e);

// Working memory; one a thread.
struct sentencepiece_scratch {
    struct unigram_scratch unigram;
    struct sentencepiece_symbol {
        uint32_t start, size;
        int32_t previous, next;
        int frozen; // a user-defined piece
    } * symbol;
    size_t n_symbols, symbol_capacity;
    struct sentencepiece_pair {
        uint64_t key; // smaller is merged first: the score upside down, then the place
        uint32_t right, size;
    } * heap;
    size_t n_pairs, heap_capacity;
    uint32_t *left; // [n] bytes of the left part that an unused piece was made of
    struct sentencepiece_range {
        uint32_t start, size;
    } * stack;
    size_t stack_capacity;
    struct unigram_token *token;
    size_t n, token_capacity;
};
void sentencepiece_scratch_init(struct sentencepiece_scratch *s);
void sentencepiece_scratch_release(struct sentencepiece_scratch *s);

// Encodes normalized text into s->token[0 .. s->n). `tokens` as above; more may have been added.
MUST_CHECK int sentencepiece_encode(const struct sentencepiece *m, const struct vocabulary *tokens,
                                    struct sentencepiece_scratch *s, const char *text, size_t size,
                                    struct err *e);

#endif
