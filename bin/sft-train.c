// SPDX-License-Identifier: MIT
// sft-train: supervised fine-tuning; keeps the model at chosen fractions of the run.
#include "base/io.h"
#include "base/option.h"
#include "learn/sft.h"
#include "text/tokenizer.h"

#include <string.h>

static struct common common;
static struct engine_options engine;
static struct sft_options run = {.loss = "nll", .epochs = 1, .shuffle = 1};

static const struct option_spec options[] = {
    OPTIONS_ENGINE(&engine),
    OPT_GROUP("Training"),
    OPT_TEXT(0, "loss", &run.loss, "nll",
             "the objective: negative log-likelihood of trained tokens"),
    OPT_INT(0, "batch-size", &run.train.batch_size, "N", 1, 1 << 24, "sequences an update"),
    OPT_REAL("num-train-epochs", &run.epochs, "X", 0, 1e9, "passes over the data"),
    OPT_INT(
        0, "max-steps", &run.train.max_steps, "N", 0, 1e15,
        "updates in all; overrides the epochs and starts the data over as often as needed; 0: off"),
    OPT_YESNO("shuffle", &run.shuffle, "another order of the data in every epoch"),
    OPT_TEXT(0, "keep", &run.keep, "LIST",
             "keep the model at these fractions of the training samples: `half` or numbers, as "
             "OUT/half, OUT/0.25"),
    OPT_TEXT(0, "eval-stream", &run.eval_path, "FILE", "measure the loss on this stream too"),
    OPT_INT(0, "eval-steps", &run.eval_steps, "N", 0, 1e15,
            "every N updates and at the end; 0: at the end only"),
    OPT_INT(0, "save-steps", &run.train.save_steps, "N", 0, 1e15,
            "save the state of the run every N updates; 0: only when stopped by a signal"),
    OPT_FLAG(0, "resume", &run.train.resume,
             "go on from the state in OUT.partial, if there is one"),
    OPTIONS_TRAINER(&run.train),
    OPTION_METRICS(&common),
    OPTIONS_COMMON(&common),
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
    run.train = trainer_defaults;
    run.train.learning_rate = 2e-5; // as TRL's SFTTrainer
    int status = program_start(&program, argc, argv, &operands);
    if (status >= 0)
        return status;
    if ((status = common_apply(&common, 1)) || (status = engine_options_check(&program, &engine)))
        return status;
    if (!common.output || !strcmp(common.output, "-"))
        return program_usage(&program, "-o DIR is missing: where should the model go?");
    char tokenizer[24];
    int found;
    if (tokenizer_fingerprint_of(engine.model, tokenizer, &found, &e) < 0)
        return message_fail(&e);
    run.tokenizer = found ? tokenizer : NULL;
    run.model = engine.model;
    run.device = engine.device;
    run.output = common.output;
    run.metrics = common.metrics;
    run.quiet = common.quiet;
    run.verbose = common.verbose;
    run.seed = common.seed;
    run.argc = argc;
    run.argv = argv;
    if (sft_run(&run, operands.n ? operands.text[0] : NULL, &e) < 0)
        return io_exit_status(message_fail(&e));
    return STATUS_DONE;
}
