// SPDX-License-Identifier: MIT
#include "commands.h"

#include "convert/annotate_text.h"

#include <inttypes.h>
#include <string.h>

int toks_annotate(struct call *c)
{
    static const char *model;
    static uint64_t in_flight = 1024;
    static struct annotate how = {.timeout = 600, .patience = 2, .form = "twin"};
    static const struct option_spec options[] = {
        OPT_TEXT('m', "model", &model, "DIR",
                 "ask in text, as `tok -m DIR -d` prints it, not by the record's twin"),
        OPT_TEXT('c', "columns", &how.columns, "NAME[:string|:token],...",
                 "the fields that become columns: a number or text per record, or a number per "
                 "token; by default, every new field of the first answer"),
        OPT_REAL("timeout", &how.timeout, "SECONDS", 0, 1e9,
                 "fail when no answer comes for this long; 0: wait for ever"),
        OPT_TEXT(0, "journal", &how.journal, "FILE",
                 "record each answer there as it arrives, and ask only for those it lacks"),
        {OPTION_SIZE, "in-flight", 0, &in_flight, "N", "most records awaiting an answer", NULL, 0,
         0, NULL},
        OPT_REAL(
            "patience", &how.patience, "SECONDS", 0, 1e9,
            "after this long without an answer, close the command's input, so that it flushes the "
            "answers it holds back, and start it again for the records that follow; 0: never"),
        OPTIONS_COMMON(&toks_common)};
    static const struct program program = {
        .name = "toks annotate",
        .operands = "[STREAM] -- COMMAND [ARG...]",
        .summary = "Add columns computed by a command: rewards, verdicts, labels.",
        .details = "COMMAND reads one JSON object per line, one per record, and must answer each, "
                   "in order, with one line: an object with the same `id` and new fields. If it "
                   "fails, dies, hangs or answers wrongly, this program fails with one line that "
                   "names the record, and the output is not a complete stream.",
        .examples = "  toks annotate samples.toks -- jq -c '{id, score: (.token | length)}'\n"
                    "  toks annotate -m sft --journal answers.jsonl samples.toks -- ./grade\n",
        .options = options,
        .operands_max = 1};
    struct annotate_stats stats;
    int own = 0;
    while (own < c->argc && strcmp(c->argv[own], "--") != 0)
        own++;
    int status = toks_start(c, &program, own);
    if (status >= 0)
        return status;
    if (own + 1 >= c->argc)
        return program_usage(&program,
                             "-- COMMAND is missing: which command computes the columns?");
    if (in_flight < 1)
        return program_usage(&program, "--in-flight: at least one record must be asked for");
    if (output_try(how.journal, 1, &c->e) < 0)
        return toks_failed(&c->e);
    how.command = c->argv + own + 1;
    how.in_flight = in_flight;
    int result =
        model ? annotate_text(&how, model, c->first, toks_common.output, &c->line, &stats, &c->e)
              : annotate_run(&how, c->first, toks_common.output, &c->line, &stats, &c->e);
    if (result < 0)
        return toks_failed(&c->e);
    if (stats.journal || toks_common.verbose)
        message_note("%" PRIu64 " records, %" PRIu64 " of them from the journal; the command ran "
                     "%" PRIu64 " times",
                     stats.records, stats.journal, stats.runs);
    return STATUS_DONE;
}
