// SPDX-License-Identifier: MIT
// Byte-pair encoding (Gage 1994; Sennrich et al., 2016) as defined by the model "BPE" of
// tokenizer.json: merges are applied by rank, then from the left.
#ifndef TOKENIZE_BPE_H
#define TOKENIZE_BPE_H

#include "base/error.h"
#include "base/json_scan.h"
#include "base/memory.h"
#include "tokenize/vocabulary.h"
#include <jansson.h>
#include <stdint.h>

enum { BPE_RANK_BITS = 24 };

struct bpe {
    // Merges in order of rank; of a pair that comes twice the later counts.
    struct bpe_merge {
        uint32_t left, right, id;
    } * merge;
    size_t n_merges, capacity;
    // An open hash table of them: rank + 1 in the low BPE_RANK_BITS bits (0: free), above them bits
    // of the hash, so that most pairs that do not merge cost one look at one small array.
    uint32_t *slot;
    size_t mask;
    int32_t *byte_pair; // [65536] rank of the merge of two single bytes; NULL: not byte-level, or
                        // some byte has no token
    uint8_t (*joins)[256];   // [256] whether a merge joins a token that ends with this byte and one
                             // that begins with that; NULL: not known
    struct vocabulary words; // what pieces are looked up in; byte-level: tokens as raw bytes
    int byte_level;
    uint32_t byte_id[256];     // of single bytes; UINT32_MAX: none
    uint32_t fallback_id[256]; // of <0xNN>; UINT32_MAX: none
    int byte_fallback, fuse_unk, ignore_merges;
    int cuts; // no merge reaches over the beginning of a word (U+2581): words can be taken one by
              // one
    int64_t unk; // -1: unknown characters vanish
    char *prefix, *suffix;
    size_t prefix_size, suffix_size;
};

// Reads the model: its settings from `value` (vocab and merges left out of it), the merges from the
// scanner (NULL: none). `tokens` holds the vocabulary.
MUST_CHECK int bpe_init(struct bpe *b, const json_t *value, struct json_scan *merges,
                        const struct vocabulary *tokens, int byte_level, struct err *e);
void bpe_release(struct bpe *b);

struct bpe_symbol {
    uint32_t id;
    uint32_t size; // bytes of the piece it stands for; 0: merged away
    int32_t previous, next;
};

// Working memory and the cache of words; one a thread.
struct bpe_scratch {
    struct bpe_symbol *symbol;
    size_t n, capacity; // after bpe_encode: symbols 0 .. n-1 in order
    uint64_t *heap;
    size_t heap_n, heap_capacity;
    struct buffer text;
    uint32_t dropped;       // bytes of the piece that no symbol stands for
    struct bpe_word *cache; // NULL: no word yet
};
void bpe_scratch_init(struct bpe_scratch *s);
void bpe_scratch_release(struct bpe_scratch *s);
void bpe_scratch_trim(struct bpe_scratch *s); // gives back what a long piece took

// Where the part of a piece that begins at `at` ends, such that encoding part by part gives what
// encoding the whole would.
size_t bpe_part_end(const struct bpe *b, const char *piece, size_t size, size_t at);
// Encodes one piece into s->symbol[0 .. s->n).
MUST_CHECK int bpe_encode(const struct bpe *b, struct bpe_scratch *s, const char *piece,
                          size_t size, struct err *e);

// A word that was encoded before: its ids and how many bytes each stands for, until the next call.
struct bpe_known {
    const uint32_t *id;
    const uint8_t *size;
    size_t n;
};
// 0: not in the cache; bpe_encode puts it there when it fits.
int bpe_find(const struct bpe_scratch *s, const char *piece, size_t size, struct bpe_known *out);
// Brings the word's place in the cache near, for a bpe_find to come.
void bpe_prefetch(const struct bpe_scratch *s, const char *piece, size_t size);

#endif
