// SPDX-License-Identifier: MIT
#include "commands.h"

#include "convert/steps_text.h"

#include <inttypes.h>

int toks_steps(struct call *c)
{
    static struct steps steps = {.gold = "gold", .end = "\n"};
    static const char *model, *end;
    static const struct option_spec options[] = {
        OPT_TEXT('m', "model", &model, "DIR", "the model whose tokenizer made the stream"),
        OPT_TEXT(0, "gold", &steps.gold, "COLUMN", "text column with the right answer"),
        OPT_TEXT(0, "end", &end, "TEXT",
                 "a step ends with each trained token whose text holds TEXT; without it, a line "
                 "break"),
        OPT_TEXT(0, "marks", &steps.marks, "COLUMN",
                 "a step ends where this u8 token column is 1, in place of --end"),
        OPT_TEXT(0, "lead", &steps.lead, "TEXT", "put TEXT between the steps and the answer"),
        OPTIONS_COMMON(&toks_common)};
    static const struct program program = {
        .name = "toks steps",
        .operands = "[STREAM]",
        .summary = "Put the right answer after each step of a record, to be scored there.",
        .details = "A record with K steps becomes K + 1 records: the prompt, its first k steps, "
                   "the text of --lead, and the answer, which alone has mask 1. The columns "
                   "record, steps and taken say where each came from; `toks gain` brings the "
                   "log-probabilities of the answers back together.",
        .examples = "  toks steps -m sft --gold gold samples.toks | logprob -m sft --as self |\n"
                    "      toks gain --logp self samples.toks - | dense-reward --reward reward\n",
        .options = options,
        .operands_max = 1};
    struct steps_stats stats;
    int status = toks_start(c, &program, c->argc);
    if (status >= 0)
        return status;
    if (!model)
        return program_usage(&program, "-m DIR is missing: whose tokenizer?");
    if (end && steps.marks)
        return program_usage(&program, "--end and --marks cannot be used together");
    if (end && !*end)
        return program_usage(&program, "--end: the text must not be empty");
    steps.end = end ? end : steps.end;
    if (steps_text(&steps, model, c->first, toks_common.output, &c->line, &stats, &c->e) < 0)
        return toks_failed(&c->e);
    message_note("%" PRIu64 " records, %" PRIu64 " steps; %" PRIu64 " records have none",
                 stats.records, stats.steps, stats.without);
    return STATUS_DONE;
}
