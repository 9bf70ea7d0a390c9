// SPDX-License-Identifier: MIT
#include "tokenize/trie.h"

#include <stdlib.h>
#include <string.h>

#include "base/memory.h"

static int by_bytes(const void *a, const void *b)
{
    const struct trie_word *x = a, *y = b;
    size_t n = x->size < y->size ? x->size : y->size;
    int order = n ? memcmp(x->data, y->data, n) : 0;
    if (order)
        return order;
    if (x->size != y->size)
        return x->size < y->size ? -1 : 1;
    return x->value < y->value ? -1 : x->value > y->value;
}

// The words that share the bytes up to a node: first, end, and how many bytes.
struct word_range {
    uint32_t first, end, depth;
};

static int add_node(struct trie *t, struct word_range **range, size_t room[3], struct word_range r,
                    unsigned char byte, struct err *e)
{
    if (t->n_nodes >= UINT32_MAX - 1)
        return err_set(e, STATUS_FAILED, "a vocabulary is too large");
    if (MEM_GROW(t->node, room[0], t->n_nodes + 1, "a vocabulary", e) < 0 ||
        MEM_GROW(t->byte, room[1], t->n_nodes + 1, "a vocabulary", e) < 0 ||
        MEM_GROW(*range, room[2], t->n_nodes + 1, "a vocabulary", e) < 0)
        return -1;
    t->node[t->n_nodes] = (struct trie_node){0, TRIE_NONE, 0};
    t->byte[t->n_nodes] = byte;
    (*range)[t->n_nodes++] = r;
    return 0;
}

static int grow(struct trie *t, const struct trie_word *word, struct word_range **range,
                size_t room[3], struct err *e)
{
    for (size_t k = 0; k < t->n_nodes; k++) { // level by level: children go to the end
        struct word_range r = (*range)[k];
        uint32_t i = r.first;
        for (; i < r.end && word[i].size == r.depth; i++)
            if (k)
                t->node[k].value = word[i].value;
        t->node[k].child = (uint32_t)t->n_nodes;
        while (i < r.end) {
            unsigned char byte = (unsigned char)word[i].data[r.depth];
            struct word_range child = {i, i, r.depth + 1};
            while (child.end < r.end && (unsigned char)word[child.end].data[r.depth] == byte)
                child.end++;
            if (k == 0)
                t->start[byte] = (uint32_t)t->n_nodes;
            t->node[k].n++;
            if (add_node(t, range, room, child, byte, e) < 0)
                return -1;
            i = child.end;
        }
    }
    return 0;
}

int trie_build(struct trie *t, struct trie_word *word, size_t n, struct err *e)
{
    memset(t, 0, sizeof *t);
    if (n >= UINT32_MAX)
        return err_set(e, STATUS_FAILED, "a vocabulary is too large");
    if (n)
        qsort(word, n, sizeof *word, by_bytes);
    struct word_range *range = NULL;
    size_t room[3] = {0};
    int result = add_node(t, &range, room, (struct word_range){0, (uint32_t)n, 0}, 0, e);
    if (result == 0)
        result = grow(t, word, &range, room, e);
    free(range);
    if (result < 0)
        trie_release(t);
    return result;
}

void trie_release(struct trie *t)
{
    free(t->node);
    free(t->byte);
    memset(t, 0, sizeof *t);
}
