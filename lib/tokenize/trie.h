// SPDX-License-Identifier: MIT
// The strings of a vocabulary as a tree of bytes: finds those that begin at a given place in a
// text.
#ifndef TOKENIZE_TRIE_H
#define TOKENIZE_TRIE_H

#include "base/error.h"
#include <stddef.h>
#include <stdint.h>

enum { TRIE_NONE = UINT32_MAX };

// One string to build from; `data` is borrowed until trie_build is done.
struct trie_word {
    const char *data;
    uint32_t size, value;
};

struct trie {
    // The children of a node stand side by side, in order of their bytes.
    struct trie_node {
        uint32_t child; // the first
        uint32_t value; // TRIE_NONE: no string ends here
        uint16_t n;     // children
    } * node;           // node 0 is the root
    unsigned char *byte;
    uint32_t start[256]; // children of the root by byte; 0: none
    size_t n_nodes;
};

// Sorts `word`. Of equal strings the largest value counts; empty ones are left out.
MUST_CHECK int trie_build(struct trie *t, struct trie_word *word, size_t n, struct err *e);
void trie_release(struct trie *t);

// One step down by `byte` from `node` (0 at first); 0: there is no such string.
static inline uint32_t trie_step(const struct trie *t, uint32_t node, unsigned char byte)
{
    if (node == 0)
        return t->start[byte];
    uint32_t low = t->node[node].child, n = t->node[node].n;
    while (n > 8) { // a child with a smaller byte than the middle's, or not
        uint32_t half = n / 2;
        if (t->byte[low + half] <= byte)
            low += half;
        n -= half;
    }
    for (; n; n--, low++)
        if (t->byte[low] == byte)
            return low;
    return 0;
}

#endif
