// SPDX-License-Identifier: MIT
// Converts a token stream to text: JSON lines (toks/text_form.h), text for people
// (convert/marked.h), or what a reader sees who receives the tokens one by one.
#ifndef CONVERT_DECODE_H
#define CONVERT_DECODE_H

#include "base/error.h"

struct decode_options {
    const char *model;  // directory with the tokenizer that made the stream
    const char *output; // NULL: standard output
    int skip_special;   // leave special tokens out of JSON lines
    int marked;         // for people
    int pieces;         // what each token completes: {"id","pieces"}
};

// Each frame goes out as it comes. `input` NULL: standard input.
MUST_CHECK int decode_run(const struct decode_options *o, const char *input, struct err *e);

#endif
