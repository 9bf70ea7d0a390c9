// SPDX-License-Identifier: MIT
// Prints the texts of a stream, coloured by a column (toks/show.h).
#ifndef CONVERT_SHOW_TEXT_H
#define CONVERT_SHOW_TEXT_H

#include "toks/show.h"

struct show_text {
    const char *model; // directory with the tokenizer that made the stream
    const char *by;    // the token column that colours
    uint64_t n, skip;  // records skip .. skip + n - 1
    struct show show;  // form, low and high; title: NULL for the stream's name. The rest is filled
};

// Reads the stream to its proven end.
MUST_CHECK int show_text(const struct show_text *c, const char *input, const char *output,
                         struct err *e);

#endif
