// SPDX-License-Identifier: MIT
#include "commands.h"

#include "toks/select.h"

#include <inttypes.h>

static int run_selection(struct call *c, const struct selection *p)
{
    struct selection_stats stats;
    if (select_run(p, c->first, toks_common.output, &c->line, &stats, &c->e) < 0)
        return toks_failed(&c->e);
    if (stats.null)
        message_note("%" PRIu64 " records in, %" PRIu64 " out; %" PRIu64 " had no value", stats.in,
                     stats.out, stats.null);
    else if (toks_common.verbose)
        message_note("%" PRIu64 " records in, %" PRIu64 " out", stats.in, stats.out);
    return STATUS_DONE;
}

int toks_sample(struct call *c)
{
    static const char *size;
    static const struct option_spec options[] = {
        OPT_TEXT('n', "records", &size, "N|FRACTION", "how many: 100, 1/3, 0.1, half"),
        OPTIONS_COMMON(&toks_common)};
    static const struct program program = {
        .name = "toks sample",
        .operands = "[STREAM]",
        .summary = "Draw records at random, without replacement, and keep their order.",
        .details =
            "--seed decides which. A named file is read twice; piped input is held in memory.",
        .examples = "  toks sample -n 0.1 --seed 7 demos.toks > tenth.toks\n",
        .options = options,
        .operands_max = 1};
    int status = toks_start(c, &program, c->argc);
    if (status >= 0)
        return status;
    struct selection p = {.seed = toks_common.seed};
    if (!size)
        return program_usage(&program, "-n is missing: how many records?");
    if (select_size_parse(size, &p.size) < 0)
        return program_usage(&program, "-n: '%s' is neither a number nor a fraction", size);
    return run_selection(c, &p);
}

int toks_select(struct call *c)
{
    static const char *by, *per, *top, *bottom;
    static const struct option_spec options[] = {
        OPT_TEXT(0, "by", &by, "sum:COLUMN|mean:COLUMN|COLUMN",
                 "what to compare: sum or mean of a token column over the trained tokens (all, "
                 "where the stream has no mask), or a record's own value"),
        OPT_TEXT(0, "top", &top, "N|FRACTION", "keep this many of the highest: 100, 1/3, half"),
        OPT_TEXT(0, "bottom", &bottom, "N|FRACTION", "keep this many of the lowest"),
        OPT_TEXT(0, "per", &per, "COLUMN",
                 "choose among the records that share this column's value: --per prompt gives the "
                 "best of each prompt's samples"),
        OPTIONS_COMMON(&toks_common)};
    static const struct program program = {
        .name = "toks select",
        .operands = "[STREAM]",
        .summary = "Keep the best records by a column, in their original order.",
        .details = "Ties go to the earlier record. A fraction is rounded, to at least one record. "
                   "A record without a value is never kept: one whose value is null, that has a "
                   "null among its tokens (other than the first), or that has no token to count. A "
                   "named file is read twice; piped input is held in memory.",
        .examples = "  toks select --by sum:reward --top 1/3 scored.toks > best.toks\n"
                    "  toks select --by sum:reward --top 1 --per prompt samples.toks\n",
        .options = options,
        .operands_max = 1};
    int status = toks_start(c, &program, c->argc);
    if (status >= 0)
        return status;
    struct selection p = {.by = by, .per = per, .lowest = bottom != NULL};
    if (!by)
        return program_usage(&program, "--by is missing: which column?");
    if (!top == !bottom)
        return program_usage(&program, "give one of --top and --bottom, to say how many to keep");
    if (select_size_parse(top ? top : bottom, &p.size) < 0)
        return program_usage(&program, "'%s' is neither a number nor a fraction",
                             top ? top : bottom);
    return run_selection(c, &p);
}
