// SPDX-License-Identifier: MIT
// Chat templates: the Jinja that hub models use, rendered byte for byte as transformers does
// (jinja2 with trim_blocks, lstrip_blocks, loop controls and the `generation` tag). Templates are
// hostile input: depth, steps and output are bounded; nothing outside the context can be reached.
#ifndef TEXT_TEMPLATE_H
#define TEXT_TEMPLATE_H

#include "base/error.h"
#include "base/memory.h"
#include <jansson.h>
#include <stddef.h>

struct template;

// Byte ranges of the output that stand inside {% generation %} ... {% endgeneration %}.
struct span_list {
    struct span {
        size_t start, end;
    } * span;
    size_t n, capacity;
};
void span_list_init(struct span_list *s);
void span_list_release(struct span_list *s);

// `name` is for messages. NULL with *e filled ("NAME:LINE: reason") for what does not parse.
struct template *template_parse(const char *source, size_t size, const char *name, struct err *e);
void template_free(struct template *t);
// Renders with `context` (an object: messages, tools, documents, add_generation_prompt, bos_token,
// eos_token, ... whatever the caller puts there). Appends to `out`; spans (or NULL) relative to the
// beginning of what was appended. raise_exception's text becomes the error.
int template_render(const struct template *t, const json_t *context, struct buffer *out,
                    struct span_list *spans, struct err *e);
// Whether the template has a {% generation %} block anywhere.
int template_marks_generation(const struct template *t);

#endif
