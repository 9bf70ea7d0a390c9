// SPDX-License-Identifier: MIT
// sft-train: supervised fine-tuning; keeps the model at chosen fractions of the run.
#include "base/signals.h"
#include "train/sft.h"
#include "losses.h"
#include "train.h"

static struct common common = {.is_directory = 1};
static struct engine_options engine;
static struct loss_options losses;
static const char *const metrics[] = {"eval_loss", "eval_mean_token_accuracy", NULL};
static int metric;
static const char *const units[] = {"token", "sequence", NULL};
static struct sft_options sft = {
    .result = {.run = {.save_minutes = RUN_SAVE_MINUTES}, .epochs = 1, .shuffle = 1}};

static struct option_spec options[] = {
    OPTIONS_ENGINE(&engine),
    OPT_GROUP("Training"),
    OPTIONS_LOSS,
    OPT_TEXT(0, "reference", &sft.reference, "NAME",
             "the frozen model of an f-divergence is column logp:NAME; without it, the only one "
             "beside rollout's own"),
    OPT_CHOICE("per", &sft.per_sequence, units,
               "f-divergences: rho of each token, or of each sequence's sum"),
    OPT_REAL("temperature", &sft.result.run.train.temperature, "X", 1e-6, 1e6,
             "train softmax(logits / X)"),
    OPT_INT(0, "batch-size", &sft.result.run.batch_size, "N", 1, 1 << 24, "sequences per update"),
    OPTIONS_RESULT(&sft.result),
    OPTIONS_EVALUATION(&sft.result.eval, "measure the loss on this stream too"),
    OPTIONS_BEST(&sft.result.best, &metric, metrics),
    OPTIONS_TRAINER(&sft.result.run),
    OPTION_METRICS(&common),
    OPTIONS_COMMON_MODEL(&common),
};

static const struct program program = {
    .name = "sft-train",
    .operands = "[STREAM]",
    .summary = "Fine-tune a model on the trained tokens of a stream.",
    .details =
        "The result is the Hugging Face directory -o DIR, which appears when the run is complete; "
        "until then everything is in DIR.partial. SIGINT, SIGTERM and SIGHUP save the state there "
        "and end with status 75. The loss of an update is the sum over its trained tokens divided "
        "by their "
        "number, however the batch is cut into micro-batches.",
    .examples = "  tok -m base demos.jsonl | sft-train -m base -o sft --keep half\n"
                "  sft-train -m base -o sft --learning-rate 1e-5 --batch-size 32 demos.toks\n",
    .options = options,
    .operands_min = 0,
    .operands_max = 1,
};

int main(int argc, char **argv)
{
    struct operands operands;
    struct err e;
    struct trainer_options *train = &sft.result.run.train;
    char tokenizer[24];
    *train = trainer_defaults;
    sft.result.run.batch_size = RESULT_BATCH;
    train->learning_rate = 2e-5; // as TRL's SFTTrainer
    train->temperature = 1;
    loss_options_init(&losses, LOSS_ON_DEMONSTRATIONS, options);
    int status = train_start(&program, argc, argv, &common, &engine, "where should the model go?",
                             &sft.result.run, tokenizer, &operands);
    if (status >= 0)
        return status;
    sft.result.run.input[1] = sft.result.eval.path;
    sft.result.best.metric = metrics[metric];
    sft.loss = loss_options_take(&losses, &sft.parameters);
    if (sft_run(&sft, operands.n ? operands.text[0] : NULL, &e) < 0)
        return signals_exit_status(message_fail(&e));
    return STATUS_DONE;
}
