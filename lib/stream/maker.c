// SPDX-License-Identifier: MIT
#include "stream/maker.h"

#include <stdio.h>
#include <string.h>

// By name, or with a colon at the end by what stands before NAME. %s: NAME.
static const struct column_maker {
    const char *column, *how;
} rows[] = {
    {"mask", "tok writes it, and rollout"},
    {"start", "tok --offsets writes it"},
    {"end", "tok --offsets writes it"},
    {"logp:rollout", "rollout writes it"},
    {"logp:sampled", "rollout writes it, where it does not sample plainly"},
    {"logp:", "logprob --as %s writes it"},
    {"entropy:", "logprob --as %s --entropy writes it"},
    {"q:", "logprob --as %s --values writes it"},
    {"value:", "logprob --as %s --values writes it"},
    {"value-end:", "logprob --as %s --values writes it"},
    {"kl:", "logprob --as %s --kl DIR writes it"},
    {"kl-reverse:", "logprob --as %s --kl DIR writes it"},
    {"reward", "dense-reward writes it, reward-train --score, novelty, toks gain"},
    {"return", "dense-reward writes it"},
    {"advantage", "dense-reward writes it"},
    {"attention", "reward-train --score --attention writes it"},
    {"watermark", "toks gain writes it"},
    {"gain", "toks gain writes it"},
    {"prompt", "rollout writes it, and tok --samples"},
    {"sample", "rollout writes it, and tok --samples"},
    {"generation", "rollout writes it"},
    {"step", "rollout writes it"},
    {"finish", "rollout writes it"},
    {"pair", "toks pair writes it, and tok --format preference"},
    {"role", "toks pair writes it, and tok --format preference"},
    {"group", "toks prefix writes it"},
    {"prefix", "toks prefix writes it"},
    {"score", "reward-train --score writes it, toks vote, toks annotate"},
    {"answer", "toks annotate writes it"},
    {"record", "toks steps writes it"},
    {"steps", "toks steps writes it"},
    {"taken", "toks steps writes it"},
};

static const char elsewhere[] =
    "tok --keep-columns %s takes it from the records, toks annotate from a command";

int maker_missing(const char *where, const char *name, struct err *e)
{
    const char *how = elsewhere, *rest = name;
    // Of topK:NAME the K is any number.
    if (!strncmp(name, "top", 3) && strchr(name, ':')) {
        how = "logprob --as %s --top-logprobs K writes it";
        rest = strchr(name, ':') + 1;
    }
    for (size_t i = 0; i < sizeof rows / sizeof *rows && how == elsewhere; i++) {
        size_t n = strlen(rows[i].column);
        int stem = rows[i].column[n - 1] == ':';
        if (stem ? strncmp(name, rows[i].column, n) != 0 : strcmp(name, rows[i].column) != 0)
            continue;
        how = rows[i].how;
        rest = stem ? name + n : name;
    }
    const char *at = strstr(how, "%s");
    int before = at ? (int)(at - how) : (int)strlen(how);
    return err_set(e, STATUS_STREAM, "%s: the stream has no column `%s` (%.*s%s%s)", where, name,
                   before, how, at ? rest : "", at ? at + 2 : "");
}
