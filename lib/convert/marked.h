// SPDX-License-Identifier: MIT
// Prints a record's text for people with its trained part marked, so that a wrong mask is visible.
#ifndef CONVERT_MARKED_H
#define CONVERT_MARKED_H

#include "base/io.h"
#include "tokenize/tokenizer.h"

struct marked {
    const char *id;
    size_t id_size;
    const uint32_t *token;
    const uint8_t *mask;   // [n] not 0 where trained
    const uint8_t *across; // [n] 1: the token crosses the boundary; NULL: not known
    size_t n, cut;         // tokens; those that were cut off
    int no_stop;           // the model will not learn to end its turn
    int empty_answer;
};

// A line with the id, the counts and what is odd, then the text. On a terminal (unless NO_COLOR is
// set) the trained part has a green ground, a token across the boundary a red one, special tokens
// are underlined. Elsewhere: in brackets the trained part, within them the token across the
// boundary in double angles. A newline that is trained shows as a sign of its own in both.
MUST_CHECK int marked_print(const struct tokenizer *t, struct output *o, const struct marked *m,
                            struct err *e);

#endif
