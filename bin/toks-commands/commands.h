// SPDX-License-Identifier: MIT
// What the commands of toks share: a file here is a command, its options, what it says of itself
// and its run.
#ifndef BIN_TOKS_COMMANDS_H
#define BIN_TOKS_COMMANDS_H

#include "base/io.h"
#include "base/option.h"
#include "stream/filter.h"

extern struct common toks_common;

// One call of a command.
struct call {
    int argc;
    char **argv;
    struct operands operands;
    const char *first; // operand, or NULL: standard input
    struct provenance line;
    struct err e;
};

// Parses the first `argc` words and applies the common options: -1 to go on, otherwise the exit
// status.
int toks_start(struct call *c, const struct program *p, int argc);
// Both give the exit status; `result` is 0, or -1 with the call's error filled.
int toks_failed(const struct err *e);
int toks_done(const struct call *c, int result);

int toks_view(struct call *c);
int toks_head(struct call *c);
int toks_stat(struct call *c);
int toks_check(struct call *c);
int toks_cat(struct call *c);
int toks_mix(struct call *c);
int toks_tee(struct call *c);
int toks_split(struct call *c);
int toks_join(struct call *c);
int toks_pair(struct call *c);
int toks_annotate(struct call *c);
int toks_shuf(struct call *c);
int toks_sample(struct call *c);
int toks_select(struct call *c);
int toks_vote(struct call *c);
int toks_steps(struct call *c);
int toks_gain(struct call *c);
int toks_prefix(struct call *c);
int toks_show(struct call *c);

#endif
