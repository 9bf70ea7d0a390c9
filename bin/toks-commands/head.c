// SPDX-License-Identifier: MIT
#include "commands.h"

#include "toks/copy.h"

int toks_head(struct call *c)
{
    static int stop;
    static uint64_t n = 10, skip;
    static const struct option_spec options[] = {
        {OPTION_SIZE, "records", 'n', &n, "N", "how many records", NULL, 0, 0, NULL},
        OPT_SIZE("skip", &skip, "K", "leave out the first K records"),
        OPT_FLAG(0, "stop", &stop,
                 "stop reading after the last record wanted; the rest is then not checked"),
        OPTIONS_COMMON(&toks_common)};
    static const struct program program = {.name = "toks head",
                                           .operands = "[STREAM]",
                                           .summary =
                                               "Write the first records of a stream, as a stream.",
                                           .examples = "  toks head -n 3 demos.toks | toks view\n",
                                           .options = options,
                                           .operands_max = 1};
    int status = toks_start(c, &program, c->argc);
    if (status >= 0)
        return status;
    return toks_done(c, copy_head(c->first, toks_common.output, n, skip, stop, &c->line, &c->e));
}
