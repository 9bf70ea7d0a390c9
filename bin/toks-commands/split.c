// SPDX-License-Identifier: MIT
#include "commands.h"

#include "toks/split.h"

#include <string.h>

int toks_split(struct call *c)
{
    static int64_t parts, sequences;
    static const char *fractions;
    static const struct option_spec options[] = {
        OPT_INT('n', "parts", &parts, "N", 1, SPLIT_PARTS_MAX, "cut into N parts of equal size"),
        OPT_INT(0, "sequences", &sequences, "K", 1, 1e15, "cut after every K records"),
        OPT_TEXT(0, "fractions", &fractions, "LIST",
                 "cut into parts of these sizes, which add up to 1: 0.9,0.1"),
        OPTIONS_COMMON(&toks_common)};
    static const struct program program = {
        .name = "toks split",
        .operands = "[STREAM]",
        .summary = "Cut a stream into several, in its order: PREFIX.000.toks, PREFIX.001.toks ...",
        .details = "-o gives PREFIX. No part appears unless all are complete. `toks cat "
                   "PREFIX.*.toks` is the stream again.",
        .examples = "  toks split -n 4 -o part demos.toks\n"
                    "  toks shuf demos.toks | toks split --fractions 0.95,0.05 -o demos\n",
        .options = options,
        .operands_max = 1};
    double fraction[SPLIT_PARTS_MAX];
    int written;
    toks_common.is_directory = 1; // a prefix
    int status = toks_start(c, &program, c->argc);
    if (status >= 0)
        return status;
    if ((parts > 0) + (sequences > 0) + (fractions != NULL) != 1)
        return program_usage(&program,
                             "give one of -n, --sequences and --fractions, to say where to cut");
    if (!toks_common.output || !strcmp(toks_common.output, "-"))
        return program_usage(&program, "-o PREFIX is missing: what should the parts be called?");
    struct split split = {(uint64_t)parts, (uint64_t)sequences, fraction, 0};
    if (fractions) {
        split.n_fractions = split_fractions(fractions, fraction, SPLIT_PARTS_MAX);
        if (split.n_fractions < 0)
            return program_usage(&program, "--fractions: '%s' is not a list that adds up to 1",
                                 fractions);
    }
    return toks_done(c, split_run(&split, c->first, toks_common.output, &written, &c->e));
}
