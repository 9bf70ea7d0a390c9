// SPDX-License-Identifier: MIT
// logprob: teacher-forced log-probability of every trained token under a model, as a column.
#include "base/io.h"
#include "base/option.h"
#include "base/signals.h"
#include "infer/draw.h"
#include "infer/logprob.h"
#include "tokenize/tokenizer.h"

static struct common common;
static struct engine_options engine;
static struct logprob_options run;

static const struct option_spec options[] = {
    OPTIONS_ENGINE(&engine),
    OPTION_KV_DTYPE(&run.kv_dtype),
    OPT_GROUP("Columns"),
    OPT_TEXT(0, "as", &run.name, "NAME", "write logp:NAME (and entropy:NAME, ...)"),
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
    .examples = "  logprob -m sft --as sft < rollouts.toks | logprob -m sft/half --as half\n"
                "  logprob -m sft --as sft --all demos.toks | toks stat\n",
    .options = options,
    .operands_min = 0,
    .operands_max = 1,
};

int main(int argc, char **argv)
{
    struct operands operands;
    struct err e;
    int status = program_start(&program, argc, argv, &operands);
    if (status >= 0)
        return status;
    if ((status = common_apply(&common, 0)) || (status = engine_options_check(&program, &engine)))
        return status;
    if (!run.name || !*run.name)
        return program_usage(&program, "--as NAME is missing: what should the column be called?");
    run.model = engine.model;
    run.device = engine.device;
    run.products = (enum products)engine.dtype;
    run.fingerprint = tokenizer_fingerprint_of;
    run.output = common.output;
    run.verbose = common.verbose;
    run.seed = common.seed;
    run.argc = argc;
    run.argv = argv;
    if (logprob_run(&run, operands.n ? operands.text[0] : NULL, &e) < 0)
        return signals_exit_status(message_fail(&e));
    return STATUS_DONE;
}
