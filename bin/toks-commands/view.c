// SPDX-License-Identifier: MIT
#include "commands.h"

#include "toks/copy.h"

int toks_view(struct call *c)
{
    static int binary, header;
    static int64_t level = -1;
    static const struct option_spec options[] = {
        OPT_FLAG('b', "binary", &binary, "write the binary form in place of the JSONL twin"),
        OPT_FLAG('H', "header", &header, "print the header alone"),
        OPT_INT(0, "level", &level, "N", -1, 22,
                "with -b: compress at zstd level N; 0: not at all; -1: as the header says"),
        OPTIONS_COMMON(&toks_common)};
    static const struct program program = {
        .name = "toks view",
        .operands = "[STREAM]",
        .summary =
            "Print a stream as JSONL, a header and then one record per line; or the reverse.",
        .details = "STREAM is binary, compressed or not, or a JSONL twin. The two forms are "
                   "equivalent: `toks view X | toks view -b` reproduces X byte for byte.",
        .examples = "  toks view demos.toks | jq -c '{id, reward}'\n"
                    "  jq -c 'select(.score > 0)' twin.jsonl | toks view -b -o good.toks\n",
        .options = options,
        .operands_max = 1};
    int status = toks_start(c, &program, c->argc);
    if (status >= 0)
        return status;
    if (binary && header)
        return program_usage(&program, "--binary and --header cannot be used together");
    if (level >= 0 && !binary)
        return program_usage(&program, "--level goes with --binary");
    int result = binary ? copy_to_binary(c->first, toks_common.output, (int)level, &c->e)
                        : copy_to_jsonl(c->first, toks_common.output, header, &c->e);
    return toks_done(c, result);
}
