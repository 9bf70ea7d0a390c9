// SPDX-License-Identifier: MIT
// Chat templates: the Jinja that hub models use, rendered byte for byte as transformers does
// (jinja2's immutable sandbox with trim_blocks, lstrip_blocks, loop controls, transformers' tojson,
// raise_exception, strftime_now, namespace and the `generation` tag). Templates are hostile input:
// source, depth, steps, text and memory are bounded; nothing outside the context can be reached.
//
// Refused with a message that says so, never rendered otherwise: include, import, extends,
// autoescape, the filters pprint, random, striptags, urlize and wordwrap, lipsum, \N{...} escapes,
// whole numbers beyond 38 digits, attributes of numbers, printing what Python prints with an
// address (generators, functions).
#ifndef JINJA_TEMPLATE_H
#define JINJA_TEMPLATE_H

#include "base/error.h"
#include "base/memory.h"
#include <jansson.h>
#include <stddef.h>

enum { TEMPLATE_SOURCE_MAX = 4 << 20 }; // bytes of a template

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
MUST_CHECK int span_list_add(struct span_list *s, struct span span, struct err *e);

// `name` is for messages. NULL with *e filled ("NAME:LINE: reason") for what does not parse.
struct template *template_parse(const char *source, size_t size, const char *name, struct err *e);
void template_free(struct template *t);
// Renders with `context` (an object: messages, tools, documents, add_generation_prompt, bos_token,
// eos_token, ... whatever the caller puts there; borrowed, not changed). Its key "strftime_now", a
// string "YYYY-MM-DDTHH:MM:SS", is the moment that the function strftime_now() formats; without it
// a template that asks for the time fails. Appends to `out`; spans (or NULL: not wanted) are
// relative to the beginning of what was appended, ascending, not overlapping, some perhaps empty.
// raise_exception's text becomes the error. Where a template changes text that holds a marked part
// (say, with a filter) the spans cannot be told: an error, if they are wanted.
// On failure nothing is appended. Several threads may render one template at once.
MUST_CHECK int template_render(const struct template *t, const json_t *context, struct buffer *out,
                               struct span_list *spans, struct err *e);
// Renders, and notes where the text stood (bytes from where `out` stood) whenever a loop that
// writes straight to it came to an object of the context (`item`), and when that loop ended (NULL).
// Loops inside such a loop are not noted.
struct item_list {
    struct item_place {
        const json_t *item;
        size_t at;
    } * place;
    size_t n, capacity;
};
void item_list_init(struct item_list *l);
void item_list_release(struct item_list *l);
MUST_CHECK int template_render_items(const struct template *t, const json_t *context,
                                     struct buffer *out, struct item_list *items, struct err *e);
// Renders `context` again and again with its array `list` cut short after `length` items, for those
// lengths (1 ... all) that are wanted. What the template does up to there is done once for all of
// them, so that the work grows with the list and not with its square. A length that is not taken
// could not be had that way (the template looked further, or failed): template_render tells.
struct template_prefixes {
    const json_t *list; // a value of the context
    void *arg;
    int (*wants)(void *arg, size_t length);
    // The text; its first `shared` bytes begin those of all longer lists too.
    void (*take)(void *arg, size_t length, const char *text, size_t shared, size_t size);
};
void template_prefixes(const struct template *t, const json_t *context,
                       const struct template_prefixes *how);
// Whether the template has a {% generation %} block anywhere.
int template_marks_generation(const struct template *t);

// White space as Python's str.strip sees it, taken away at both ends; and at the right one alone:
// the new end.
void string_trim(const char **s, size_t *n);
const char *string_strip_right(const char *s, const char *end);

#endif
