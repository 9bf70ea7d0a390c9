// SPDX-License-Identifier: MIT
// SentencePiece's compiled table of replacements ("precompiled_charsmap"): the size of a double
// array as 32 bits, the array (Aoe, 1989, in the form of Darts-clone), and the replacement texts,
// each ended by a NUL.
#ifndef TOKENIZE_CHARSMAP_H
#define TOKENIZE_CHARSMAP_H

#include "tokenize/aligned.h"
#include <stddef.h>
#include <stdint.h>

struct charsmap {
    uint32_t *unit;
    size_t n_units;
    char *text;
    size_t text_size;
};

// An empty table (size 0) replaces nothing. `name` says in messages where it stands.
MUST_CHECK int charsmap_init(struct charsmap *m, const void *data, size_t size, const char *name,
                             struct err *e);
void charsmap_release(struct charsmap *m);
// What the shortest or the longest beginning of text[0, size) that the table knows is replaced by:
// its length, 0 when there is none. *out is borrowed.
size_t charsmap_find(const struct charsmap *m, const char *text, size_t size, int longest,
                     const char **out, size_t *out_size);
// The normalizer `Precompiled` of tokenizer.json: a grapheme of less than 6 bytes is replaced as a
// whole by what its shortest beginning is replaced by, all else character by character.
MUST_CHECK int charsmap_run(const struct charsmap *m, struct slice *text,
                            struct aligned_pair *buffers, struct err *e);

#endif
