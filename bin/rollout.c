// SPDX-License-Identifier: MIT
// rollout: draws completions of prompts from a model, or from a policy while it is trained.
#include "base/io.h"
#include "base/option.h"
#include "base/signals.h"
#include "infer/rollout.h"
#include "tokenize/tokenizer.h"

static struct common common;
static struct engine_options engine;
static struct rollout_options run = {
    .draw = DRAW_DEFAULTS,
    .batch_size = 32,
    .slots = ROLLOUT_SLOTS,
};

static const struct option_spec options[] = {
    OPTIONS_ENGINE(&engine),
    OPTIONS_DRAW(&run.draw),
    OPT_TEXT(0, "contrast", &run.contrast, "DIR:A",
             "sample from z + A (z - z_DIR): logits pushed away from those of model DIR"),
    OPT_TEXT(0, "as", &run.as, "NAME",
             "also write logp:NAME, a copy of logp:rollout: what logprob --as NAME would add under "
             "the model that draws"),
    OPT_GROUP("Order of work"),
    OPTION_KV_DTYPE(&run.draw.kv_dtype),
    OPT_INT(0, "batch-size", &run.batch_size, "N", 1, 1 << 24, "prompts per step"),
    OPT_INT(0, "first-step", &run.first_step, "K", 0, 1 << 30,
            "number of the first step, for a part of the prompts that begins there"),
    OPT_INT(0, "in-flight", &run.slots, "N", 1, 1 << 16,
            "samples computed together; does not change the result"),
    OPT_INT(0, "steps", &run.steps, "N", 0, 1e15,
            "draw step after step up to step N, counted from the policy's generation 0, repeating "
            "the prompts as often as needed; 0: each prompt once"),
    OPT_FLAG(0, "follow", &run.follow,
             "draw each step from the generation that it needs, which reinforce-step or pair-train "
             "--online publishes in DIR"),
    OPT_INT(0, "lag", &run.lag, "N", 0, 1,
            "with --follow: draw step k from generation k - N; 0: strictly on-policy"),
    OPTIONS_COMMON(&common),
};

static const struct program program = {
    .name = "rollout",
    .operands = "[STREAM]",
    .summary = "Sample completions of prompts.",
    .details =
        "The tokens of a record are the prompt; the tokens drawn follow with mask 1, including the "
        "one that ended the sample. The column logp:rollout is the log-probability of each drawn "
        "token at temperature 1; where the sampling distribution differs, logp:sampled is its "
        "log-probability there. A sample depends on the seed, the id of its prompt, its number and "
        "the policy's generation, not on what else is drawn with it.",
    .examples =
        "  tok -m sft --prompts demos.jsonl | rollout -m sft -n 4 > rollouts.toks\n"
        "  rollout -m sft --temperature 0 --max-new-tokens 64 prompts.toks | tok -d -m sft\n",
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
    if (run.as && !*run.as)
        return program_usage(&program, "--as: a name that is empty");
    if (run.lag && !run.follow)
        return program_usage(&program, "--lag needs --follow");
    if (run.first_step && (run.follow || run.steps))
        return program_usage(&program, "--first-step is for prompts that are drawn once: neither "
                                       "with --steps nor with --follow");
    static const struct rollout_text text = {tokenizer_fingerprint_of, tokenizer_token_id_in};
    run.text = &text;
    run.model = engine.model;
    run.device = engine.device;
    run.products = (enum products)engine.dtype;
    run.output = common.output;
    run.verbose = common.verbose;
    run.seed = common.seed;
    run.argc = argc;
    run.argv = argv;
    if (rollout_run(&run, operands.n ? operands.text[0] : NULL, &e) < 0)
        return signals_exit_status(message_fail(&e));
    return STATUS_DONE;
}
