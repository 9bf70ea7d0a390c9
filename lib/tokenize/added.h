// SPDX-License-Identifier: MIT
// Added tokens: strings that are cut out of a text before the model sees it.
#ifndef TOKENIZE_ADDED_H
#define TOKENIZE_ADDED_H

#include "base/error.h"
#include <stddef.h>
#include <stdint.h>

struct added_token {
    char *content;
    size_t size;
    uint32_t id;
    int single_word, lstrip, rstrip, normalized, special;
};

struct added_list {
    struct added_token *token;
    size_t n, capacity;
};

void added_list_init(struct added_list *l);
void added_list_release(struct added_list *l);
// Takes a copy of `content`. The flags come from *like.
MUST_CHECK int added_list_add(struct added_list *l, const char *content, size_t size,
                              const struct added_token *like, struct err *e);
struct added_token *added_list_find(const struct added_list *l, const char *content, size_t size);

// Finds tokens in a text: leftmost, and the longest of those that start there.
struct added_matcher {
    struct added_node {
        unsigned char byte;
        int32_t child, sibling;
        int32_t token; // index into the list, -1: none ends here
    } * node;
    size_t n, capacity;
    int32_t root[256]; // -1: no token starts so
    int only;          // the byte that all start with; -1: there are several
};
void added_matcher_init(struct added_matcher *m);
void added_matcher_release(struct added_matcher *m);
// `text` is what is searched for (the content, normalised or not). Of equal texts the last counts.
MUST_CHECK int added_matcher_add(struct added_matcher *m, const char *text, size_t size,
                                 size_t token, struct err *e);
// Where the next token is in text[at, size): 1 with its index and range, white space that it
// swallows included, or 0. `done`: where the match before ended; blanks before it are taken.
int added_matcher_next(const struct added_matcher *m, const struct added_list *l, const char *text,
                       size_t size, size_t *at, size_t done, size_t *token, size_t *start,
                       size_t *end);

#endif
