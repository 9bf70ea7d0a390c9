// SPDX-License-Identifier: MIT
// The `normalizer` of tokenizer.json. Offsets are kept as in the reference library: a character
// that joins the one before it (NFC) leaves no trace, and an inserted one shares the offset of its
// neighbour.
#ifndef TOKENIZE_NORMALIZER_H
#define TOKENIZE_NORMALIZER_H

#include "tokenize/aligned.h"
#include "tokenize/pattern.h"
#include <jansson.h>

struct normalizer;

// *out stays NULL for null. `name`: the file, for messages.
MUST_CHECK int normalizer_parse(const json_t *value, const char *name, struct normalizer **out,
                                struct err *e);
void normalizer_free(struct normalizer *n);
// *text becomes the normalised text, in one of the pair's buffers or where it was. NULL: as it is.
MUST_CHECK int normalizer_run(const struct normalizer *n, struct slice *text,
                              struct aligned_pair *buffers, struct pattern_scratch *scratch,
                              struct err *e);

#endif
