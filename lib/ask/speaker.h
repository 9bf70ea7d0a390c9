// SPDX-License-Identifier: MIT
// A model directory that answers: the weights, the tokenizer and the chat template, opened once.
#ifndef ASK_SPEAKER_H
#define ASK_SPEAKER_H

#include "data/example.h"
#include "model/model.h"

struct speaker_options {
    const char *template_file; // in place of the model's, or NULL
    const char *now;           // what a chat template reads as the time, or NULL
    int verbose;
};

struct speaker {
    const char *directory;
    char *label; // what it is called beside others: its directory's name
    struct model *model;
    struct tokenizer *tokenizer;
    struct tokenizer_worker *worker;
    struct chat *chat;   // NULL: a base model, which goes on with a text
    uint64_t generation; // of the directory
    size_t most;         // tokens that a text may have; SIZE_MAX: not told
    struct record_settings records;
    struct example_settings examples;
    int told; // that its template leaves something out
};

// `directory` is kept by reference. -1 with *e filled; release it all the same.
MUST_CHECK int speaker_open(struct speaker *s, const char *directory,
                            const struct speaker_options *o, struct err *e);
void speaker_release(struct speaker *s);

// The ids that an answer to `messages` begins behind: those of `tok --prompts` for the record
// {"messages": ...}; of a base model, those for the last message's text alone. -1; -2 for what
// leaves no room in the model's positions.
MUST_CHECK int speaker_prompt(struct speaker *s, const json_t *messages, struct token_list *out,
                              struct err *e);

// Labels that tell the speakers apart: of one name the directories as they were given.
MUST_CHECK int speakers_label(struct speaker *s, size_t n, struct err *e);

#endif
