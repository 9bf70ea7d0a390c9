// SPDX-License-Identifier: MIT
// A record as text: one JSON object with `id`, `prompt`, `completion` and the sequence columns, as
// `tok -d` prints it.
#ifndef TOKS_TEXT_FORM_H
#define TOKS_TEXT_FORM_H

#include "stream/frame.h"

// Appends the text of tokens. 0 or -1.
typedef int text_decode(void *arg, const uint32_t *token, size_t n, struct buffer *out,
                        struct err *e);

struct text_form {
    text_decode *decode;
    void *arg; // for `decode`
    int mask;  // column, or -1: all is prompt
    struct buffer whole, prompt;
};

// `where` is the stream's name for messages. 0 or -1.
MUST_CHECK int text_form_init(struct text_form *t, const struct stream_header *h, const char *where,
                              text_decode *decode, void *arg, struct err *e);
void text_form_release(struct text_form *t);
// Appends sequence `i` as one line. The prompt is what stands before the first token with mask 1.
MUST_CHECK int text_form_print(struct text_form *t, const struct frame *f, size_t i,
                               struct buffer *out, struct err *e);

#endif
