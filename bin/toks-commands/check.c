// SPDX-License-Identifier: MIT
#include "base/signals.h"
#include "commands.h"

#include <inttypes.h>

int toks_check(struct call *c)
{
    static const struct option_spec options[] = {OPTIONS_COMMON(&toks_common)};
    static const struct program program = {
        .name = "toks check",
        .operands = "[STREAM...]",
        .summary = "Check that streams are complete: if so, print nothing and exit with status 0.",
        .details =
            "Every stream is read to its end; for each incomplete or corrupt one there is a line "
            "on standard error, and the status is 3. With -v, complete ones get a line too.",
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
    return signals_exit_status(status);
}
