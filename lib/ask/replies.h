// SPDX-License-Identifier: MIT
// A speaker's answers to one prompt, as they grow: the samples that rollout draws of it, as text.
#ifndef ASK_REPLIES_H
#define ASK_REPLIES_H

#include "ask/speaker.h"
#include "infer/draw.h"

struct reply_options {
    struct draw_options draw;
    uint64_t seed;
    int interruptible; // a Ctrl-C stops the answers and not the program (base/signals.h)
    int verbose;
};

// Text of drawn tokens, whole characters only: what `tok -d` gives of the completion. Special
// tokens and the token that ended the answer are not in it.
struct reply {
    const char *text; // [size], what is certain so far
    size_t size;
    size_t tokens; // drawn, the last one included
    enum finish finish;
    int ended;
    double first, seconds; // from the question to the first token, and to the last
    struct reply_text *decoded;
};

struct replies {
    struct speaker *speaker;
    struct device *device;
    struct generator *generator;
    struct generate_options options;
    struct draw_stops stops;
    struct token_list prompt;
    struct reply *reply; // [n]
    size_t n;
    int ended;   // all have
    int stopped; // by a Ctrl-C; what was drawn before is there
    int at_end;  // an answer may not be longer as the model's positions end
    double began;
};

// The prompt is what speaker_prompt makes of the messages. -1 with *e filled; release it all the
// same.
MUST_CHECK int replies_begin(struct replies *a, struct speaker *s, struct device *d,
                             const struct reply_options *o, const json_t *messages, struct err *e);
// Draws one token of each answer that goes on.
MUST_CHECK int replies_step(struct replies *a, int interruptible, struct err *e);
// As by a Ctrl-C: what was drawn before is the answer.
MUST_CHECK int replies_stop(struct replies *a, struct err *e);
void replies_release(struct replies *a);

#endif
