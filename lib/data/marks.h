// SPDX-License-Identifier: MIT
// Marks in the messages of a chat, and where they come to stand in its text.
#ifndef DATA_MARKS_H
#define DATA_MARKS_H

#include "data/rendering.h"

// Where marks are put besides the ends of the assistant's texts.
enum {
    MARK_BEGINNINGS = 1, // of its texts
    MARK_NAMES = 2,      // of its tool calls
    MARK_OTHERS = 4,     // both ends of the other messages
    MARK_EMPTY = 8       // where it has a text without a word
};

struct chat_marks {
    struct chat_mark {
        size_t message;
        int begins; // nothing that its message says stands before it without a mark
    } * mark;       // by number
    size_t n, capacity;
    int where;
    uint32_t lead;    // the character that begins a mark
    json_t *messages; // as the template sees them, with marks
};
// Marks the messages of the request. The marks' characters do not occur in `text`. 1, 0 when the
// text leaves no such characters, or -1.
MUST_CHECK int marks_init(struct chat_marks *m, const struct chat_request *r, int where,
                          const char *text, size_t size, struct err *e);
void marks_release(struct chat_marks *m);

#define MARK_NOWHERE SIZE_MAX
// A text with its marks taken out.
struct marked_text {
    struct buffer text;
    size_t *at;      // by number of a mark: bytes before it, or MARK_NOWHERE
    uint32_t *order; // the marks that are there, in the order of the text
    size_t n;        // how many
    int repeated;    // some mark is there twice
    struct place_list places;
};
// Renders the first n of the marked messages. 1, 0 with *refusal when the template refuses, or -1.
MUST_CHECK int marked_text_render(struct marked_text *t, const struct chat_marks *m,
                                  const struct chat *c, const struct chat_request *r, size_t n,
                                  int prompt, struct err *refusal, struct err *e);
void marked_text_release(struct marked_text *t);

#endif
