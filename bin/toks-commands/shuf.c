// SPDX-License-Identifier: MIT
#include "commands.h"

#include "toks/select.h"

int toks_shuf(struct call *c)
{
    static const struct option_spec options[] = {OPTIONS_COMMON(&toks_common)};
    static const struct program program = {
        .name = "toks shuf",
        .operands = "[STREAM]",
        .summary = "Put the records in a random order, which --seed decides.",
        .details = "The stream is held in memory.",
        .examples = "  toks shuf --seed 7 demos.toks > shuffled.toks\n",
        .options = options,
        .operands_max = 1};
    int status = toks_start(c, &program, c->argc);
    if (status >= 0)
        return status;
    return toks_done(
        c, select_shuffle(c->first, toks_common.output, toks_common.seed, &c->line, &c->e));
}
