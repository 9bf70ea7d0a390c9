// SPDX-License-Identifier: MIT
#include "commands.h"

#include "toks/join.h"

int toks_join(struct call *c)
{
    static const char *columns;
    static const struct option_spec options[] = {
        OPT_TEXT('c', "columns", &columns, "LIST",
                 "take these columns only; by default all that STREAM does not have"),
        OPTIONS_COMMON(&toks_common)};
    static const struct program program = {
        .name = "toks join",
        .operands = "STREAM OTHER",
        .summary = "Add columns of another stream of the same records.",
        .details = "Both must hold the same records in the same order. A record whose id or "
                   "tokens differ is an error that names it.",
        .examples = "  toks join scored.toks other.toks -c logp:half > both.toks\n",
        .options = options,
        .operands_min = 2,
        .operands_max = 2};
    int status = toks_start(c, &program, c->argc);
    if (status >= 0)
        return status;
    return toks_done(c, join_run(c->operands.text[0], c->operands.text[1], columns,
                                 toks_common.output, &c->line, &c->e));
}
