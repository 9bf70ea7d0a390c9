// SPDX-License-Identifier: MIT
#include "commands.h"

#include <inttypes.h>

int toks_check(struct call *c)
{
    static const struct option_spec options[] = {OPTIONS_COMMON(&toks_common)};
    static const struct program program = {
        .name = "toks check",
        .operands = "[STREAM...]",
        .summary = "Prove streams whole: nothing is printed, and the status is 0, when they are.",
        .details = "Every stream is read to its end; each that is not whole gets a line on "
                   "standard error, and the status is 3. With -v whole ones get a line too.",
        .examples = "  toks check *.toks\n",
        .options = options,
        .operands_max = -1};
    int status = toks_start(c, &program, c->argc);
    if (status >= 0)
        return status;
    status = STATUS_DONE;
    for (int i = 0; i < (c->operands.n ? c->operands.n : 1); i++) {
        uint64_t sequences, tokens;
        const char *path = c->operands.n ? c->operands.text[i] : NULL;
        if (filter_check(path, &sequences, &tokens, &c->e) < 0) {
            int code = message_fail(&c->e);
            status = status == STATUS_STREAM ? status : code; // says most about the streams
        } else if (toks_common.verbose) {
            message_note("%s: whole: %" PRIu64 " records, %" PRIu64 " tokens", io_name(path),
                         sequences, tokens);
        }
    }
    return io_exit_status(status);
}
