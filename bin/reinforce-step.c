// SPDX-License-Identifier: MIT
// reinforce-step: policy-gradient updates, one a batch; publishes each new policy atomically.
#include "base/signals.h"
#include "train/reinforce.h"
#include "losses.h"
#include "train.h"

#include <math.h>

static struct common common = {.is_directory = 1};
static struct engine_options engine;
static struct loss_options losses;
static int batch_given;
static struct reinforce_options reinforce = {.run = {.save_minutes = RUN_SAVE_MINUTES},
                                             .normalize_text = "tokens",
                                             .stop_reward = INFINITY,
                                             .stop_kl = INFINITY,
                                             .stop_window = 1};

static struct option_spec options[] = {
    OPTIONS_ENGINE(&engine),
    OPT_GROUP("Training"),
    OPTIONS_LOSS,
    {OPTION_INT, "batch-size", 0, &reinforce.run.batch_size, "N",
     "sequences per update; without it, the size of a rollout step as recorded in the stream's "
     "header, or 64",
     NULL, 1, 1 << 24, &batch_given},
    OPT_TEXT(0, "normalize", &reinforce.normalize_text, "tokens|sequences|constant:N",
             "divide the sum over tokens by the number of trained tokens, of sequences, or of "
             "sequences times N"),
    OPT_TEXT(0, "kl", &reinforce.kl, "NAME:COEF",
             "add COEF times the KL from the policy to the model of column logp:NAME, estimated "
             "from the tokens; COEF 0 only measures it"),
    OPT_CHOICE("kl-estimator", &reinforce.kl_estimator, kl_estimators,
               "of --kl, with d the difference of log-probabilities: e^-d - 1 + d, d, or d^2/2"),
    OPT_TEXT(0, "kl-exact", &reinforce.kl_exact, "DIR:COEF",
             "add COEF times the KL from the policy to the model DIR, over the whole vocabulary; "
             "COEF 0 only measures it"),
    OPT_TEXT(0, "kl-exact-reverse", &reinforce.kl_exact_reverse, "DIR:COEF",
             "the same from the model DIR to the policy"),
    OPT_REAL("entropy-bonus", &reinforce.entropy_bonus, "COEF", 0, 1e6,
             "subtract COEF times the mean entropy of the policy"),
    OPT_CHOICE("is", &reinforce.importance.level, importance_levels,
               "samples of another distribution than the policy's (temperature, truncation, "
               "contrast): refuse them, take them as they are, or weigh tokens or sequences by "
               "the policy's probability divided by the sampler's (importance sampling)"),
    {OPTION_CHOICE, "is-mode", 0, &reinforce.importance.mode, NULL,
     "weights beyond --is-clip: moved to the bound, or 0", importance_modes, 0, 0,
     &reinforce.is_mode_given},
    OPT_TEXT(0, "is-clip", &reinforce.is_clip, "LO,HI",
             "bounds of the weights of --is; without it 0,3"),
    OPTIONS_EVALUATION(&reinforce.eval, "measure the loss on the demonstrations of this stream"),
    OPT_GROUP("Stopping"),
    OPT_INT(0, "max-steps", &reinforce.run.max_steps, "N", 0, 1e15,
            "total number of updates, including those before --resume; 0: until the stream ends"),
    OPT_REAL("stop-reward", &reinforce.stop_reward, "X", -1e300, 1e300,
             "stop at the previous generation when a batch's mean sum of reward passes X"),
    OPT_REAL(
        "stop-kl", &reinforce.stop_kl, "X", 0, 1e300,
        "the same when the mean over sequences of sum(logp:rollout - logp:NAME), NAME from --kl, "
        "passes X"),
    OPT_INT(0, "stop-window", &reinforce.stop_window, "N", 1, 1 << 20,
            "a stop rule looks at the mean over the last N batches, and not before there are N"),
    OPT_INT(0, "save-steps", &reinforce.run.save_steps, "N", 0, 1e15,
            "save the optimizer's state every N updates and at the end; 0: at the end only"),
    OPTION_SAVE_MINUTES(&reinforce.run),
    OPT_FLAG(0, "resume", &reinforce.run.resume, "continue from the state in OUT, if there is one"),
    OPT_FLAG(0, "overwrite", &reinforce.run.overwrite, OVERWRITE_HELP),
    OPTION_DRY_RUN(&reinforce.run),
    OPTIONS_TRAINER(&reinforce.run),
    OPTION_METRICS(&common),
    OPTIONS_COMMON_MODEL(&common),
};

static const struct program program = {
    .name = "reinforce-step",
    .operands = "[STREAM]",
    .summary = "Reinforce a policy with the advantages of a stream.",
    .details = "Publishes the model -m as generation 0 of the policy -o DIR, then one generation "
               "per update, each in one atomic step; `rollout --follow` waits for them. Needs the "
               "column advantage; a stop rule needs reward. The previous generation stays in "
               "DIR/previous, the optimizer's state in DIR/state.safetensors.",
    .examples = "  dense-reward sft half < rollouts.toks | reinforce-step -m sft -o dpr\n"
                "  rollout -m dpr --follow -n 4 prompts.toks | logprob -m sft --as sft | logprob "
                "-m sft/half "
                "--as half | dense-reward sft half | reinforce-step -m sft -o dpr --max-steps 60\n",
    .options = options,
    .operands_min = 0,
    .operands_max = 1,
};

int main(int argc, char **argv)
{
    struct operands operands;
    struct err e;
    struct trainer_options *train = &reinforce.run.train;
    char tokenizer[24];
    *train = trainer_defaults;
    train->learning_rate = 1e-6; // as TRL's GRPOTrainer
    train->scheduler = SCHEDULE_CONSTANT;
    reinforce.run.save_steps = 10;
    reinforce.run.batch_size = REINFORCE_BATCH; // where the stream does not tell
    loss_options_init(&losses, LOSS_ON_ADVANTAGES, options);
    int status = train_start(&program, argc, argv, &common, &engine,
                             "where should the policy live?", &reinforce.run, tokenizer, &operands);
    if (status >= 0)
        return status;
    reinforce.run.input[1] = reinforce.eval.path;
    reinforce.loss = loss_options_take(&losses, &reinforce.parameters);
    if (!batch_given)
        reinforce.run.batch_size = 0;
    if (reinforce_run(&reinforce, operands.n ? operands.text[0] : NULL, &e) < 0)
        return signals_exit_status(message_fail(&e));
    return STATUS_DONE;
}
