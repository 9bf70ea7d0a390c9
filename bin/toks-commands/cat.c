// SPDX-License-Identifier: MIT
#include "commands.h"

#include "toks/copy.h"

int toks_cat(struct call *c)
{
    static const struct option_spec options[] = {OPTIONS_COMMON(&toks_common)};
    static const struct program program = {
        .name = "toks cat",
        .operands = "[STREAM...]",
        .summary = "Concatenate streams.",
        .details = "Their columns must be the same, and so must their tokenizers where known. "
                   "`toks cat` restores what `toks split` cut, byte for byte.",
        .examples = "  toks cat part.*.toks > all.toks\n",
        .options = options,
        .operands_max = -1};
    int status = toks_start(c, &program, c->argc);
    if (status >= 0)
        return status;
    return toks_done(c, copy_cat(c->operands.text, c->operands.n, toks_common.output, &c->e));
}
