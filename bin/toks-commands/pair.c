// SPDX-License-Identifier: MIT
#include "commands.h"

#include "base/board.h"
#include "base/shown.h"
#include "toks/pair.h"

#include <inttypes.h>
#include <string.h>

static void note_unpaired(const char *id, size_t size)
{
    message_note("no sample has the prompt `%s`", shown(id, size).text);
}

int toks_pair(struct call *c)
{
    static const struct option_spec options[] = {OPTIONS_COMMON(&toks_common)};
    static const struct program program = {
        .name = "toks pair",
        .operands = "DEMOS [SAMPLES]",
        .summary = "Put each sample beside the demonstration whose prompt it answers.",
        .details = "Each record of SAMPLES becomes two: the demonstration whose id is the sample's "
                   "`prompt`, then the sample, with columns `pair` (the sample's id) and `role` "
                   "(demo, sample). DEMOS is held in memory, SAMPLES streams. With -v each "
                   "demonstration without a sample is named.",
        .examples = "  rollout -m sft prompts.toks | toks pair demos.toks > pairs.toks\n",
        .options = options,
        .operands_min = 1,
        .operands_max = 2};
    int status = toks_start(c, &program, c->argc);
    if (status >= 0)
        return status;
    const char *samples = c->operands.n > 1 ? c->operands.text[1] : "-";
    if (!strcmp(c->operands.text[0], "-") && !strcmp(samples, "-"))
        return program_usage(&program, "DEMOS and SAMPLES cannot both be standard input");
    if (!strcmp(samples, "-"))
        board_pass(2);
    struct pair_stats stats;
    if (pair_run(c->operands.text[0], samples, toks_common.output, &c->line,
                 toks_common.verbose ? note_unpaired : NULL, &stats, &c->e) < 0)
        return toks_failed(&c->e);
    if (stats.unpaired || toks_common.verbose)
        message_note("%" PRIu64 " pairs; %" PRIu64 " of %" PRIu64 " demonstrations had no sample",
                     stats.pairs, stats.unpaired, stats.demos);
    return STATUS_DONE;
}
