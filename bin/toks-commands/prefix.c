// SPDX-License-Identifier: MIT
#include "commands.h"

#include "toks/prefix.h"

#include <inttypes.h>

int toks_prefix(struct call *c)
{
    static int64_t group = 8, prefixed = 1, batch = 32, steps;
    static struct prefix prefix = {.low = 0.05, .high = 0.95};
    static const struct option_spec options[] = {
        OPT_INT('n', "num-generations", &group, "N", 2, 1 << 16, "prompts per group"),
        OPT_INT(0, "prefixed", &prefixed, "N", 0, 1 << 16, "how many of them have a prefix"),
        OPT_REAL("low", &prefix.low, "X", 0, 1,
                 "the least share of a completion that is a prefix, at the last step"),
        OPT_REAL("high", &prefix.high, "X", 0, 0.999, "the greatest share, at every step"),
        OPT_INT(0, "batch-size", &batch, "N", 1, 1 << 24, "groups per step"),
        OPT_INT(0, "steps", &steps, "N", 0, 1 << 30, "steps; 0: each demonstration once"),
        OPTIONS_COMMON(&toks_common)};
    static const struct program program = {
        .name = "toks prefix",
        .operands = "[STREAM]",
        .summary =
            "Make groups of prompts, some of which contain the start of their demonstration.",
        .details =
            "Each demonstration's prompt is written N times, the last --prefixed times followed by "
            "the first tokens of its completion: a share drawn between --high and a bound that "
            "falls from --high to --low over the steps along half a cosine. The columns group and "
            "prefix say which is which. The demonstrations are held in memory.",
        .examples = "  toks prefix --steps 60 demos.toks |\n"
                    "      rollout -m policy --follow -n 1 --batch-size 256 --steps 60\n",
        .options = options,
        .operands_max = 1};
    struct prefix_stats stats;
    int status = toks_start(c, &program, c->argc);
    if (status >= 0)
        return status;
    if (prefixed >= group)
        return program_usage(&program, "--prefixed: some prompts of a group must have no prefix");
    if (prefix.low > prefix.high)
        return program_usage(&program, "--low: %g is above --high", prefix.low);
    prefix.group = (uint64_t)group;
    prefix.prefixed = (uint64_t)prefixed;
    prefix.batch = (uint64_t)batch;
    prefix.steps = (uint64_t)steps;
    prefix.seed = toks_common.seed;
    if (prefix_run(&prefix, c->first, toks_common.output, &c->line, &stats, &c->e) < 0)
        return toks_failed(&c->e);
    message_note("%" PRIu64 " demonstrations, %" PRIu64 " steps, %" PRIu64 " groups, %" PRIu64
                 " prompts",
                 stats.demonstrations, stats.steps, stats.groups, stats.prompts);
    return STATUS_DONE;
}
