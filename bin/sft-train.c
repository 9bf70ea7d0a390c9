// SPDX-License-Identifier: MIT
// sft-train: supervised fine-tuning; keeps the model at chosen fractions of the run.
#include "learn/sft.h"
#include "train.h"

static struct common common;
static struct engine_options engine;
static const char *const losses[] = {"nll", "dft", "tv", "chi2", "hellinger", "js", "kl", NULL};
static const char *const units[] = {"token", "sequence", NULL};
static int loss;
static struct sft_options sft = {.course = {.epochs = 1, .shuffle = 1}, .beta = 0.1, .alpha = 0.5};

static const struct option_spec options[] = {
    OPTIONS_ENGINE(&engine),
    OPT_GROUP("Training"),
    OPT_CHOICE("loss", &loss, losses,
               "negative log-likelihood; weighted by the token's own probability; or an "
               "f-divergence's function of rho = BETA (log p - log p_reference)"),
    OPT_TEXT(0, "reference", &sft.reference, "NAME",
             "the frozen model of an f-divergence is column logp:NAME; without it, the only one "
             "beside rollout's own"),
    OPT_REAL("beta", &sft.beta, "X", 1e-300, 1e300, "f-divergences: scale of rho"),
    OPT_REAL("alpha", &sft.alpha, "X", 1e-300, 1e300, "chi2: -rho + rho^2 / (4 ALPHA)"),
    OPT_CHOICE("per", &sft.per_sequence, units,
               "f-divergences: rho of each token, or of each sequence's sum"),
    OPT_REAL("temperature", &sft.course.run.train.temperature, "X", 1e-6, 1e6,
             "train softmax(logits / X)"),
    OPT_INT(0, "batch-size", &sft.course.run.train.batch_size, "N", 1, 1 << 24,
            "sequences an update"),
    OPTIONS_COURSE(&sft.course),
    OPT_TEXT(0, "eval-stream", &sft.eval_path, "FILE", "measure the loss on this stream too"),
    OPT_INT(0, "eval-steps", &sft.eval_steps, "N", 0, 1e15,
            "every N updates and at the end; 0: at the end only"),
    OPTIONS_TRAINER(&sft.course.run.train),
    OPTION_METRICS(&common),
    OPTIONS_COMMON_MODEL(&common),
};

static const struct program program = {
    .name = "sft-train",
    .operands = "[STREAM]",
    .summary = "Fine-tune a model on the trained tokens of a stream.",
    .details =
        "The result is the Hugging Face directory -o DIR, which appears when the run is complete; "
        "until then everything is in DIR.partial. SIGINT and SIGTERM save the state there and end "
        "with status 75. The loss of an update is the sum over its trained tokens divided by their "
        "number, however it is cut into micro-batches.",
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
    struct trainer_options *train = &sft.course.run.train;
    char tokenizer[24];
    *train = trainer_defaults;
    train->learning_rate = 2e-5; // as TRL's SFTTrainer
    train->temperature = 1;
    int status = train_start(&program, argc, argv, &common, &engine, "where should the model go?",
                             &sft.course.run, tokenizer, &operands);
    if (status >= 0)
        return status;
    sft.loss = losses[loss];
    if (sft_run(&sft, operands.n ? operands.text[0] : NULL, &e) < 0)
        return io_exit_status(message_fail(&e));
    return STATUS_DONE;
}
