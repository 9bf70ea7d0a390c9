// SPDX-License-Identifier: MIT
// The answers of a rendered chat, found by marks.
//
// Many templates do not write a chat as its beginnings are written alone: they leave the thoughts
// of earlier turns out, open thoughts in the prompt for an answer, or end the chat with a token of
// its own. There the whole chat is rendered a second time with marks in what the messages say: at
// both ends of each text (inside its white space, which templates trim), around thoughts inside of
// it, and in tool calls. A mark is a few characters of private use that the text has nowhere.
//
// What is found is proved. Without its marks the second text must be the first, byte for byte; so
// the template treats what stands there as it treats the real text, and a mark stands in the text
// where it stands in the message. A mark that is gone was in what the template leaves out. One that
// is there twice, or out of order, proves nothing, and neither does another text: then fewer marks
// are tried (a template may look at how a text begins, or look up a tool by its name).
//
// An answer then begins where the text behind the message before it stops being that of the prompt
// for an answer there, and ends where the text behind its last mark stops being that of a chat
// which ends there. If a chat that ends is written otherwise, it ends where the template's loop
// over the messages comes to the next one. The parts of the chat that this needs are rendered once
// for each kind of place, alike in the bytes around it: a few renderings, however long the chat is.
#ifndef DATA_ANSWERS_H
#define DATA_ANSWERS_H

#include "data/chat.h"

// Which message's bytes could not be told, and why.
struct untold {
    size_t message;
    char why[512];
};
#define UNTOLD_OTHERWISE "the turn is written otherwise when the chat goes on"
#define UNTOLD_NO_PROMPT "the turn does not begin with the prompt for it"
// Fills it and gives 0.
int untold(struct untold *u, size_t message, const char *format, ...) ERR_PRINTF(3, 4);
// Makes an error of why the bounds of turns and the marks do not tell, with the ways out: -1.
int untold_error(const struct untold *turns, const struct untold *marks, struct err *e);

// Adds a span for each message of the assistant, from message `from` on, in `text`, which is the
// whole chat as rendered without {% generation %}. 1, 0 with *why when they cannot be told and none
// is added, -1 with *e.
MUST_CHECK int answers_find(const struct chat *c, const struct chat_request *r, size_t from,
                            const char *text, size_t size, struct span_list *spans,
                            struct untold *why, struct err *e);
// Where two texts stop being alike, but not inside of a tag: back to the beginning of one that
// `end` is in, as two tags that begin alike have nothing in common.
size_t answers_before_tag(const char *text, size_t end);

#endif
