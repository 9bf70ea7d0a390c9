// SPDX-License-Identifier: MIT
#include "commands.h"

#include "toks/stat.h"

int toks_stat(struct call *c)
{
    static const char *const formats[] = {"text", "tsv", "json", NULL};
    static int format;
    static const struct option_spec options[] = {
        {OPTION_CHOICE, "format", 'O', &format, NULL, "how to print", formats, 0, 0, NULL},
        OPTIONS_COMMON(&toks_common)};
    static const struct program program = {
        .name = "toks stat",
        .operands = "[STREAM]",
        .summary = "Count records and tokens; range, mean and nulls of each column.",
        .details =
            "For text columns the values are lengths in bytes, and empty texts count as null.",
        .examples = "  toks stat -O json demos.toks | jq .trained\n",
        .options = options,
        .operands_max = 1};
    struct stream_stat s;
    struct output out;
    int status = toks_start(c, &program, c->argc);
    if (status >= 0)
        return status;
    if (stat_read(&s, c->first, &c->e) < 0)
        return toks_failed(&c->e);
    int result = output_open(&out, toks_common.output, &c->e);
    if (result == 0 && (result = stat_print(&s, (enum stat_format)format, &out, &c->e)) < 0)
        output_abort(&out);
    else if (result == 0)
        result = output_commit(&out, &c->e);
    stat_release(&s);
    return toks_done(c, result);
}
