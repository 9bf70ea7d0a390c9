// SPDX-License-Identifier: MIT
// Unigram language model tokenization (Kudo, 2018): of all ways to write a text with the tokens of
// a vocabulary, the one with the largest sum of log-probabilities (Viterbi).
#ifndef TOKENIZE_UNIGRAM_H
#define TOKENIZE_UNIGRAM_H

#include "base/error.h"
#include "tokenize/trie.h"
#include "tokenize/vocabulary.h"
#include <stddef.h>
#include <stdint.h>

struct unigram_word {
    double score;
    int usable; // 0: the text never gives this token (SentencePiece's unused, control ... pieces)
};

struct unigram {
    struct trie trie;
    struct unigram_word *word; // [n]
    size_t n;
    double unk_score;
    int64_t unk; // -1: unknown characters are an error
    int byte_fallback;
    uint32_t fallback_id[256]; // of <0xNN>; UINT32_MAX: none
    // As SentencePiece has it: sums are kept in single precision, user-defined pieces have a score
    // by their length, unknown characters are left one by one. Otherwise as the readers of
    // tokenizer.json: double precision, unknown neighbours make one token or fall back to bytes.
    int sentencepiece;
    const unsigned char *user; // [n], with `sentencepiece`: the piece is user-defined; borrowed
};

// `tokens` has ids 0 .. n-1. Takes `word` (from the heap) in any case.
MUST_CHECK int unigram_init(struct unigram *u, const struct vocabulary *tokens,
                            struct unigram_word *word, size_t n, int64_t unk, int byte_fallback,
                            struct err *e);
void unigram_release(struct unigram *u);

// Working memory; one a thread.
struct unigram_scratch {
    struct unigram_node {
        double score;
        uint32_t start, id; // start UINT32_MAX: nothing ends here yet
    } * node;
    size_t node_capacity;
    struct unigram_token {
        uint32_t id, start, end; // bytes of the piece; all bytes of an unknown run share its range
    } * token;
    size_t n, token_capacity;
};
void unigram_scratch_init(struct unigram_scratch *s);
void unigram_scratch_release(struct unigram_scratch *s);

// Encodes one piece of valid UTF-8 into s->token[0 .. s->n). `tokens` as above.
MUST_CHECK int unigram_encode(const struct unigram *u, const struct vocabulary *tokens,
                              struct unigram_scratch *s, const char *piece, size_t size,
                              struct err *e);

#endif
