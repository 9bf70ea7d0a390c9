// SPDX-License-Identifier: MIT
#include "commands.h"

#include "base/board.h"
#include "base/io.h"
#include "toks/copy.h"

#include <string.h>

int toks_tee(struct call *c)
{
    static const struct option_spec options[] = {OPTIONS_COMMON(&toks_common)};
    static const struct program program = {
        .name = "toks tee",
        .operands = "FILE [STREAM]",
        .summary = "Pass a stream on and keep a copy.",
        .details = "FILE appears once the whole stream has been passed on. The command ends as "
                   "soon as its reader goes away, even while waiting for input.",
        .examples = "  rollout -m sft prompts.toks | toks tee samples.toks | toks stat\n",
        .options = options,
        .operands_min = 1,
        .operands_max = 2};
    int status = toks_start(c, &program, c->argc);
    if (status >= 0)
        return status;
    if (!strcmp(c->operands.text[0], "-"))
        return program_usage(&program, "FILE cannot be standard output");
    if (output_try(c->operands.text[0], 0, &c->e) < 0)
        return toks_failed(&c->e);
    board_pass(1);
    return toks_done(c, copy_tee(c->operands.n > 1 ? c->operands.text[1] : NULL, toks_common.output,
                                 c->operands.text[0], &c->e));
}
