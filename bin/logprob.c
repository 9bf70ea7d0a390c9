// SPDX-License-Identifier: MIT
// logprob: teacher-forced log-probability of every trained token under a model, as a column.
#include "base/io.h"
#include "base/memory.h"
#include "base/option.h"
#include "base/signals.h"
#include "infer/draw.h"
#include "infer/logprob.h"
#include "tokenize/tokenizer.h"

#include <string.h>

static struct common common;
static struct engine_options engine;
static struct logprob_options run;
static const char *name;
static struct option_texts also;

static const struct option_spec options[] = {
    OPTIONS_ENGINE(&engine),
    OPTION_KV_DTYPE(&run.kv_dtype),
    OPT_GROUP("Columns"),
    OPT_TEXT(0, "as", &name, "NAME", "write logp:NAME (and entropy:NAME, ...)"),
    OPT_TEXTS(0, "also", &also, "DIR:NAME",
              "score under the model DIR too, in the same reading: logp:NAME (and entropy:NAME, "
              "...); may be repeated"),
    OPT_FLAG(0, "all", &run.all, "score every token but the first, not only those with mask 1"),
    OPT_FLAG(0, "entropy", &run.entropy,
             "also write the entropy of the distribution that the token was drawn from"),
    OPT_INT(0, "top-logprobs", &run.top, "K", 0, LOGPROB_TOP_MAX,
            "also write the K most likely tokens there: columns top1:NAME and top1-logp:NAME, ..."),
    OPT_FLAG(0, "values", &run.values,
             "also write q:NAME, the token's logit, value:NAME, the logsumexp of the logits before "
             "the token, and for each record value-end:NAME, that after the last token"),
    OPT_TEXT(
        0, "kl", &run.kl, "DIR",
        "also write the KL divergence over the whole vocabulary from the model to that of DIR, "
        "kl:NAME, and the other way, kl-reverse:NAME"),
    OPT_GROUP("Distribution"),
    OPT_TEXT(
        0, "contrast", &run.contrast, "DIR:A",
        "score under the logits z + A (z - z of the model DIR), as rollout --contrast samples"),
    OPTIONS_COMMON(&common),
};

static const struct program program = {
    .name = "logprob",
    .operands = "[STREAM]",
    .summary = "Score each trained token of a stream under a model.",
    .details = "The value at token t is log p(token t | tokens 0 .. t-1): natural logarithm, "
               "temperature 1, no truncation. Tokens that were not asked for are null.",
    .examples = "  logprob -m sft --as sft --also sft/half:half < rollouts.toks > scored.toks\n"
                "  logprob -m sft --as sft < rollouts.toks | logprob -m sft/half --as half\n"
                "  logprob -m sft --as sft --all demos.toks | toks stat\n",
    .options = options,
    .operands_min = 0,
    .operands_max = 1,
};

static void add_model(const char *path, const char *as)
{
    run.model[run.n_models++] = (struct logprob_model){path, as};
}

// DIR:NAME; the last colon counts, as a path may hold others.
static int add_also(const char *text, struct arena *texts, struct err *e)
{
    const char *colon = strrchr(text, ':');
    if (!colon || colon == text || !colon[1])
        return err_set(e, STATUS_USAGE, "--also: '%s' is not DIR:NAME", text);
    size_t size = strlen(text) + 1;
    char *copy = arena_alloc(texts, size, 1, e);
    if (!copy)
        return -1;
    memcpy(copy, text, size);
    copy[colon - text] = 0;
    add_model(copy, copy + (colon - text) + 1);
    return 0;
}

static int score(const char *input, struct err *e)
{
    struct arena texts;
    arena_init(&texts);
    int result = 0;
    add_model(engine.model, name);
    for (int i = 0; i < also.n && result == 0; i++)
        result = add_also(also.text[i], &texts, e);
    if (result == 0)
        result = logprob_run(&run, input, e);
    arena_release(&texts);
    return result;
}

int main(int argc, char **argv)
{
    struct operands operands;
    struct err e;
    int status = program_start(&program, argc, argv, &operands);
    if (status >= 0)
        return status;
    if ((status = common_apply(&common, 0)) || (status = engine_options_check(&program, &engine)))
        return status;
    if (!name || !*name)
        return program_usage(&program, "--as NAME is missing: what should the column be called?");
    if (also.n && (run.kl || run.contrast))
        return program_usage(&program,
                             "--%s is for one model: score under those of --also in "
                             "another run",
                             run.kl ? "kl" : "contrast");
    run.device = engine.device;
    run.products = (enum products)engine.dtype;
    run.fingerprint = tokenizer_fingerprint_of;
    run.output = common.output;
    run.verbose = common.verbose;
    run.seed = common.seed;
    run.argc = argc;
    run.argv = argv;
    if (score(operands.n ? operands.text[0] : NULL, &e) < 0)
        return signals_exit_status(message_fail(&e));
    return STATUS_DONE;
}
