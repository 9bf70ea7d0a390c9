// SPDX-License-Identifier: MIT
// What the mains of the training programs share.
#ifndef BIN_TRAIN_H
#define BIN_TRAIN_H

#include "base/io.h"
#include "base/option.h"
#include "tokenize/tokenizer.h"
#include "train/result.h"

#include <string.h>

// The optimizer's options, of struct run_options.
#define OPTIONS_TRAINER(r)                                                                         \
    OPT_GROUP("Optimizer"),                                                                        \
        OPT_REAL("learning-rate", &(r)->train.learning_rate, "X", 0, 1e6, "peak learning rate"),   \
        OPT_CHOICE("lr-scheduler-type", &(r)->train.scheduler, schedule_types,                     \
                   "how the rate goes on after the warm-up"),                                      \
        OPT_TEXT(0, "lr-scheduler-kwargs", &(r)->train.scheduler_kwargs, "JSON",                   \
                 "parameters of the schedule, as transformers names them"),                        \
        OPT_INT(0, "warmup-steps", &(r)->train.warmup_steps, "N", 0, 1e15, "updates of warm-up"),  \
        OPT_REAL("warmup-ratio", &(r)->train.warmup_ratio, "X", 0, 1,                              \
                 "warm-up as a share of all updates, where --warmup-steps is 0"),                  \
        OPT_CHOICE("optim", &(r)->train.optim, optimizer_kinds, "the optimizer"),                  \
        OPT_REAL("weight-decay", &(r)->train.weight_decay, "X", 0, 1e6,                            \
                 "decoupled; acts on tensors of two or more dimensions only"),                     \
        OPT_REAL("adam-beta1", &(r)->train.beta1, "X", 0, 0.999999, "AdamW's first decay rate"),   \
        OPT_REAL("adam-beta2", &(r)->train.beta2, "X", 0, 0.999999999,                             \
                 "AdamW's second decay rate"),                                                     \
        OPT_REAL("adam-epsilon", &(r)->train.epsilon, "X", 0, 1, "epsilon of AdamW and RMSprop"),  \
        OPT_REAL("max-grad-norm", &(r)->train.max_grad_norm, "X", 0, 1e30,                         \
                 "clip the gradient's norm; 0: never"),                                            \
        OPT_INT(0, "micro-batch-tokens", &(r)->train.micro_batch_tokens, "N", 1, 1 << 30,          \
                "tokens packed into one pass: bounds memory, does not change the result"),         \
        OPT_SIZE("memory", &(r)->memory, "SIZE",                                                   \
                 "stay within SIZE (6G, 800M), recomputing activations where they do not fit; "    \
                 "0: within what is available"),                                                   \
        OPT_TEXT(0, "save-dtype", &(r)->save_dtype, "fp32|bf16|fp16",                              \
                 "type of the saved weights; without it, the checkpoint's own")

// Of struct run_options.
#define OPTION_SAVE_MINUTES(r)                                                                     \
    OPT_REAL("save-minutes", &(r)->save_minutes, "X", 0, 1e6,                                      \
             "save the state too when X minutes have passed since the last time; 0: never")

// Those of a run over data in memory, of struct result_options.
#define OPTIONS_RESULT(c)                                                                          \
    OPT_REAL("num-train-epochs", &(c)->epochs, "X", 0, 1e9, "passes over the data"),               \
        OPT_INT(0, "max-steps", &(c)->run.max_steps, "N", 0, 1e15,                                 \
                "updates in all; overrides the epochs and starts the data over as often as "       \
                "needed; 0: off"),                                                                 \
        OPT_YESNO("shuffle", &(c)->shuffle, "another order of the data in every epoch"),           \
        OPT_TEXT(0, "keep", &(c)->keep, "LIST",                                                    \
                 "keep the model at these fractions of the training samples: `half` or numbers, "  \
                 "as OUT/half, OUT/0.25"),                                                         \
        OPT_REAL("ema", &(c)->run.train.ema, "DECAY", 0, 0.999999999,                              \
                 "keep a moving average of the weights over the updates as OUT/ema; 0: none"),     \
        OPT_INT(0, "save-steps", &(c)->run.save_steps, "N", 0, 1e15,                               \
                "save the state of the run every N updates; 0: by time alone"),                    \
        OPTION_SAVE_MINUTES(&(c)->run),                                                            \
        OPT_FLAG(0, "resume", &(c)->run.resume,                                                    \
                 "continue from the state in OUT.partial, if there is one"),                       \
        OPT_FLAG(0, "overwrite", &(c)->run.overwrite, OVERWRITE_HELP), OPTION_DRY_RUN(&(c)->run)

// Evaluation, of struct evaluation_options.
#define OPTIONS_EVALUATION(v, what)                                                                \
    OPT_TEXT(0, "eval-stream", &(v)->path, "FILE", what),                                          \
        OPT_INT(0, "eval-steps", &(v)->steps, "N", 0, 1e15,                                        \
                "every N updates and at the end; 0: at the end only"),                             \
        OPT_FLAG(0, "eval-on-start", &(v)->on_start, "before the first update, too, as update 0")

// What comes of it, of struct best_options.
#define OPTIONS_BEST(b, which, metrics)                                                            \
    OPT_INT(0, "early-stopping-patience", &(b)->patience, "N", 0, 1e15,                            \
            "stop after N evaluations in a row without an improvement; 0: never"),                 \
        {OPTION_REAL, "early-stopping-threshold",                                                  \
         0,           &(b)->threshold,                                                             \
         "X",         "what is better by no more than X is no improvement",                        \
         NULL,        0,                                                                           \
         1e300,       &(b)->threshold_given},                                                      \
        {OPTION_CHOICE,                                                                            \
         "metric-for-best-model",                                                                  \
         0,                                                                                        \
         which,                                                                                    \
         NULL,                                                                                     \
         "what both judge by: a loss is better where it is smaller, the others where they are "    \
         "larger",                                                                                 \
         metrics,                                                                                  \
         0,                                                                                        \
         0,                                                                                        \
         &(b)->metric_given},                                                                      \
        OPT_FLAG(0, "load-best-model-at-end", &(b)->load,                                          \
                 "the result is the model of the best evaluation, not the last one")

// Of struct run_options.
#define OPTION_DRY_RUN(r)                                                                          \
    OPT_FLAG(0, "dry-run", &(r)->dry_run,                                                          \
             "open and check everything, say what the run would do, and train and write nothing")

// What --overwrite says of itself.
#define OVERWRITE_HELP                                                                             \
    "replace what this suite has made under the name OUT, results and states; without it that is " \
    "refused"

// Parses the command line, checks what every trainer needs and fills `run` with it, `tokenizer`
// (char [24]) included. `question`: what to ask where -o is missing. Returns -1 to go on, otherwise
// the exit status.
static inline int train_start(const struct program *p, int argc, char **argv,
                              const struct common *common, const struct engine_options *engine,
                              const char *question, struct run_options *run, char *tokenizer,
                              struct operands *operands)
{
    struct err e;
    int found, status = program_start(p, argc, argv, operands);
    if (status >= 0)
        return status;
    if ((status = common_apply(common, 1)) || (status = engine_options_check(p, engine)))
        return status;
    if (!common->output || !strcmp(common->output, "-"))
        return program_usage(p, "-o DIR is missing: %s", question);
    if (tokenizer_fingerprint_of(engine->model, tokenizer, &found, &e) < 0)
        return message_fail(&e);
    run->tokenizer = found ? tokenizer : NULL;
    run->model = engine->model;
    run->device = engine->device;
    run->products = (enum products)engine->dtype;
    run->output = common->output;
    run->input[0] = operands->n ? operands->text[0] : NULL;
    run->metrics = common->metrics;
    run->verbose = common->verbose;
    run->seed = common->seed;
    run->argc = argc;
    run->argv = argv;
    return -1;
}

#endif
