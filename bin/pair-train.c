// SPDX-License-Identifier: MIT
// pair-train: training on pairs, a demonstration against a sample of an earlier policy.
#include "base/signals.h"
#include "train/pair_train.h"
#include "losses.h"
#include "train.h"

static struct common common = {.is_directory = 1};
static struct engine_options engine;
static struct loss_options losses;
static int batch_given;
static struct pair_train_options pair = {
    .result = {.run = {.save_minutes = RUN_SAVE_MINUTES}, .epochs = 1, .shuffle = 1}};

static struct option_spec options[] = {
    OPTIONS_ENGINE(&engine),
    OPT_GROUP("Training"),
    OPTIONS_LOSS,
    OPT_TEXT(0, "reference", &pair.reference, "NAME",
             "the frozen model is column logp:NAME; `self`: the policy before each update; without "
             "it, the only such column beside rollout's own"),
    {OPTION_INT, "batch-size", 0, &pair.result.run.batch_size, "N",
     "pairs per update; without it 8, or, online, a step of the rollout that the stream's header "
     "tells",
     NULL, 1, 1 << 24, &batch_given},
    OPT_FLAG(0, "online", &pair.online,
             "take the pairs as they arrive, once, and publish a generation per update: "
             "`rollout --follow` waits for them"),
    OPTIONS_RESULT(&pair.result),
    OPTIONS_TRAINER(&pair.result.run),
    OPTION_METRICS(&common),
    OPTIONS_COMMON_MODEL(&common),
};

static const struct program program = {
    .name = "pair-train",
    .operands = "[STREAM]",
    .summary = "Train a model to tell demonstrations from samples.",
    .details =
        "Two records with one value in the column pair are a pair; the column role says which is "
        "preferred: demo (or chosen) or sample (or rejected). The log-probabilities of the frozen "
        "side come from the column logp:NAME, which logprob --as NAME writes, so that no second "
        "model is in memory. The loss of an update is the sum over its pairs divided by their "
        "number.",
    .examples = "  logprob -m sft --as sft pairs.toks | pair-train -m sft -o spin\n"
                "  pair-train -m sft -o gsil --loss gsil-kliep --optim rmsprop scored.toks\n",
    .options = options,
    .operands_min = 0,
    .operands_max = 1,
};

int main(int argc, char **argv)
{
    struct operands operands;
    struct err e;
    struct trainer_options *train = &pair.result.run.train;
    char tokenizer[24];
    *train = trainer_defaults;
    pair.result.run.batch_size = RESULT_BATCH;
    train->learning_rate = 5e-7; // as SPIN, IRFT and GSIL
    loss_options_init(&losses, LOSS_ON_PAIRS, options);
    int status = train_start(&program, argc, argv, &common, &engine, "where should the model go?",
                             &pair.result.run, tokenizer, &operands);
    if (status >= 0)
        return status;
    pair.loss = loss_options_take(&losses, &pair.parameters);
    if (pair.online && !batch_given)
        pair.result.run.batch_size = 0;
    if (pair_train_run(&pair, operands.n ? operands.text[0] : NULL, &e) < 0)
        return signals_exit_status(message_fail(&e));
    return STATUS_DONE;
}
