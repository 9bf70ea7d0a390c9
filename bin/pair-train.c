// SPDX-License-Identifier: MIT
// pair-train: training on pairs, a demonstration against a sample of an earlier policy.
#include "learn/pair_train.h"
#include "train.h"

static struct common common;
static struct engine_options engine;
static const char *const losses[] = {"logistic",   "hinge",      "gsil-bernoulli", "gsil-brier",
                                     "gsil-hinge", "gsil-kliep", "gsil-lsif",      NULL};
static int loss;
static struct pair_train_options pair = {
    .course = {.epochs = 1, .shuffle = 1}, .beta = 0.1, .alpha = 0.01, .offset = 2};

static const struct option_spec options[] = {
    OPTIONS_ENGINE(&engine),
    OPT_GROUP("Training"),
    OPT_CHOICE(
        "loss", &loss, losses,
        "of a pair's two gains (log p - log p_reference, summed): SPIN's and IRFT's logistic "
        "or hinge, or one of GSIL's"),
    OPT_TEXT(0, "reference", &pair.reference, "NAME",
             "the frozen model is column logp:NAME; `self`: the policy before each update; without "
             "it, the only such column beside rollout's own"),
    OPT_REAL("beta", &pair.beta, "X", 1e-300, 1e300, "logistic and hinge: scale of the gains"),
    OPT_REAL("alpha", &pair.alpha, "X", 1e-300, 1e300, "gsil: scale of the gains"),
    OPT_REAL("offset", &pair.offset, "X", -1e300, 1e300, "gsil: added to the scaled gains"),
    {OPTION_INT, "batch-size", 0, &pair.course.run.train.batch_size, "N",
     "pairs an update; without it 8, or, on-line, a step of the rollout that the stream's header "
     "tells",
     NULL, 1, 1 << 24, &pair.batch_given},
    OPT_FLAG(0, "online", &pair.online,
             "take the pairs as they come, once, and publish a generation an update: "
             "`rollout --follow` waits for them"),
    OPTIONS_COURSE(&pair.course),
    OPTIONS_TRAINER(&pair.course.run.train),
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
    struct trainer_options *train = &pair.course.run.train;
    char tokenizer[24];
    *train = trainer_defaults;
    train->learning_rate = 5e-7; // as SPIN, IRFT and GSIL
    int status = train_start(&program, argc, argv, &common, &engine, "where should the model go?",
                             &pair.course.run, tokenizer, &operands);
    if (status >= 0)
        return status;
    pair.loss = losses[loss];
    if (pair_train_run(&pair, operands.n ? operands.text[0] : NULL, &e) < 0)
        return io_exit_status(message_fail(&e));
    return STATUS_DONE;
}
