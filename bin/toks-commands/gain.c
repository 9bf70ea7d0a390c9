// SPDX-License-Identifier: MIT
#include "commands.h"

#include "toks/steps.h"

#include <inttypes.h>

int toks_gain(struct call *c)
{
    static const char *logp;
    static const struct option_spec options[] = {
        OPT_TEXT(0, "logp", &logp, "NAME",
                 "SCORED has the answers' log-probabilities in logp:NAME"),
        OPTIONS_COMMON(&toks_common)};
    static const struct program program = {
        .name = "toks gain",
        .operands = "STREAM SCORED",
        .summary = "Reward each step by how far it raises the right answer's probability above its "
                   "best so far.",
        .details =
            "SCORED is what `toks steps` made of STREAM, after logprob. A step's gain, written to "
            "the column reward at its last token, is how far the mean log-probability of the "
            "answer rises above its highest value so far, or 0. The column watermark holds that "
            "highest value, the column gain the sum over a record.",
        .examples = "  toks gain --logp self samples.toks scored.toks > rewarded.toks\n",
        .options = options,
        .operands_min = 2,
        .operands_max = 2};
    struct steps_stats stats;
    int status = toks_start(c, &program, c->argc);
    if (status >= 0)
        return status;
    if (!logp)
        return program_usage(&program, "--logp NAME is missing: which column of SCORED?");
    if (steps_gain(c->operands.text[0], c->operands.text[1], logp, toks_common.output, &c->line,
                   &stats, &c->e) < 0)
        return toks_failed(&c->e);
    if (toks_common.verbose)
        message_note("%" PRIu64 " records, %" PRIu64 " steps", stats.records, stats.steps);
    return STATUS_DONE;
}
