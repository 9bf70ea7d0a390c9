// SPDX-License-Identifier: MIT
#include "commands.h"

#include "toks/copy.h"

int toks_cat(struct call *c)
{
    static int ids = MERGE_UNIQUE;
    static const struct option_spec options[] = {
        OPT_CHOICE("ids", &ids, merge_ids_names,
                   "an id that occurs twice is an error (unique); the number of its stream and a "
                   "colon stand before each id (prefix); ids stay as they are (keep)"),
        OPTIONS_COMMON(&toks_common)};
    static const struct program program = {
        .name = "toks cat",
        .operands = "[STREAM...]",
        .summary = "Concatenate streams.",
        .details = "Their columns must be the same, and so must their tokenizers where known. "
                   "`toks cat` restores what `toks split` cut, byte for byte.",
        .examples = "  toks cat part.*.toks > all.toks\n"
                    "  toks cat --ids prefix sums.toks stories.toks > both.toks\n",
        .options = options,
        .operands_max = -1};
    int status = toks_start(c, &program, c->argc);
    if (status >= 0)
        return status;
    return toks_done(c, copy_cat(c->operands.text, c->operands.n, (enum merge_ids)ids,
                                 toks_common.output, &c->e));
}
