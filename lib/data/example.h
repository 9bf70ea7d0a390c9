// SPDX-License-Identifier: MIT
// A record as tokens with a loss mask.
#ifndef DATA_EXAMPLE_H
#define DATA_EXAMPLE_H

#include "base/error.h"
#include "data/record.h"
#include "tokenize/tokenizer.h"
#include <stddef.h>
#include <stdint.h>

enum example_boundary { BOUNDARY_JOINT, BOUNDARY_SEPARATE };
enum example_truncation { TRUNCATE_ERROR, TRUNCATE_DROP, TRUNCATE_LEFT, TRUNCATE_RIGHT };
enum example_special { SPECIAL_DEFAULT, SPECIAL_YES, SPECIAL_NO };

struct example_settings {
    const struct tokenizer *tokenizer;
    enum example_boundary boundary;
    enum example_truncation truncation;
    size_t max_length;            // 0: no limit
    enum example_special special; // DEFAULT: yes for texts, no for rendered chats
    int offsets;                  // fill `declared`
    int drops_untrained;    // leave records out that have nothing to train, in place of failing
    int keeps_duplicates;   // a second beginning or end token stays, as TRL has it
    struct buffer end_text; // the text of the end token; empty: there is none
    int64_t end;            // its id
};
// Takes the end token from the tokenizer.
MUST_CHECK int example_settings_init(struct example_settings *s, const struct tokenizer *t,
                                     struct err *e);
void example_settings_release(struct example_settings *s);

enum example_fate { EXAMPLE_KEPT, EXAMPLE_TOO_LONG, EXAMPLE_UNTRAINED };

struct example {
    struct token_list tokens;   // offsets are extents
    struct token_list declared; // the same ids with the tokenizer's offsets, where asked for
    uint8_t *mask;
    uint8_t *across; // 1: a trained token that crosses the boundary of what is trained
    size_t mask_capacity, across_capacity;
    enum example_fate fate;
    size_t trained; // tokens
    size_t cut;     // tokens that truncation took
    int fused;      // some token is `across`
    int doubled;    // a second beginning or end token was there
    int end_by_id;  // the end token's text is none at the end of a text: its id was put there
    // A trained turn of a chat does not teach to stop: -1 when they all do, else the special token
    // that follows it untrained, or EXAMPLE_NO_STOP where there is none at all.
    int64_t no_stop;
    int64_t turn_end; // the special token that ends the first trained turn of a chat, or -1
};
#define EXAMPLE_NO_STOP INT64_MAX
void example_init(struct example *x);
void example_release(struct example *x);

// Tokenizes the record (whose text may be changed: the end token's is added). Byte spans make the
// mask: a token is trained when any byte of it lies past the prompt, or inside a span. Tokens that
// the post-processor puts in front are not trained, those at the end are. Records that are ids
// already keep them and their mask. 0 with x->fate, or -1.
MUST_CHECK int example_make(struct example *x, const struct example_settings *s,
                            struct tokenizer_worker *w, struct record *r, struct err *e);

#endif
