// SPDX-License-Identifier: MIT
// A question to one speaker or several, and how the answers are shown: one as it grows, several
// side by side or one after the other, or JSON lines.
#ifndef ASK_ASKING_H
#define ASK_ASKING_H

#include "ask/replies.h"
#include "base/io.h"

struct ask_options {
    struct option_texts models;
    const char *device;
    enum products products;
    struct speaker_options speaker;
    const char *system; // what the system's message says, or NULL
    struct reply_options reply;
    int json;
    const char *output; // NULL: standard output
};

struct asking {
    const struct ask_options *o;
    struct device device;
    struct speaker speaker[OPTION_TEXTS_MAX];
    json_t *messages[OPTION_TEXTS_MAX]; // with each speaker
    size_t n;
    struct output out;
    int out_open;
    int terminal; // the output is one
};

// Opens the models and the output, and begins the messages. -1 with *e filled; release it all the
// same, which leaves an output file that was not committed as it was.
MUST_CHECK int asking_open(struct asking *a, const struct ask_options *o, struct err *e);
MUST_CHECK int asking_commit(struct asking *a, struct err *e);
void asking_release(struct asking *a);

// The messages of a new conversation: the system's, where `system` is not NULL. Refused where a
// model has no template that could write it.
MUST_CHECK int asking_forget(struct asking *a, const char *system, struct err *e);
// Appends to the messages of speaker i, or takes the last one back.
MUST_CHECK int asking_say(struct asking *a, size_t i, const char *role, const char *text,
                          size_t size, struct err *e);
void asking_unsay(struct asking *a, size_t i);

// Whether the speakers can be asked what the messages end with: 0, -1, or -2 where that is longer
// than a model's positions.
MUST_CHECK int asking_check(struct asking *a, struct err *e);
// Asks what the messages end with, and shows the answers as they come. `first`: number of the first
// sample. Where `keep` is not NULL, the only answer of speaker i goes to keep[i] (jansson's), and
// *stopped tells of a Ctrl-C.
MUST_CHECK int asking_show(struct asking *a, uint32_t first, json_t **keep, int *stopped,
                           struct err *e);

#endif
