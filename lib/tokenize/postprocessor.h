// SPDX-License-Identifier: MIT
// The `post_processor` of tokenizer.json, for single sequences: ids at the beginning and the end,
// and whether offsets leave out blanks.
#ifndef TOKENIZE_POSTPROCESSOR_H
#define TOKENIZE_POSTPROCESSOR_H

#include "base/error.h"
#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

enum { AFFIX_MAX = 32 };

struct postprocessor {
    uint32_t prefix[AFFIX_MAX], suffix[AFFIX_MAX];
    size_t n_prefix, n_suffix;
    int trims; // offsets of byte-level tokens leave blanks out
    int add_prefix_space;
};

MUST_CHECK int postprocessor_parse(struct postprocessor *p, const json_t *value, const char *name,
                                   struct err *e);

#endif
