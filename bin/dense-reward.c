// SPDX-License-Identifier: MIT
// dense-reward: token rewards, returns and advantages from log-probability columns.
#include "base/io.h"
#include "base/option.h"
#include "base/signals.h"
#include "reward/reward_stream.h"

#include <math.h>
#include <string.h>

static struct common common;
static struct dense_reward reward;
static int variance, floor_given, baseline_given;
static const char *clip, *mix, *attention;
static struct option_texts kl;

#define R reward.options
static const struct option_spec options[] = {
    OPT_GROUP("Reward of a token"),
    OPT_TEXT(0, "reward", &reward.column, "COLUMN",
             "take the reward from this column in place of POLICY and REFERENCE; a per-record "
             "column counts on the last trained token"),
    {OPTION_REAL, "floor", 0, &R.floor, "EPS",
     "each reference becomes log(p + EPS), which bounds what a token can gain and makes tokens "
     "that both models find improbable cost something. 0 is the paper's formula, and what "
     "--reward and --soft have",
     NULL, 0, 1, &floor_given},
    OPT_FLAG(0, "soft", &reward.soft,
             "the soft Bellman reward of POLICY alone, without REFERENCE: q:POLICY less --gamma "
             "times the value of the next state, from the columns of logprob --values"),
    OPT_REAL("min-logp", &R.min_logp, "X", -INFINITY, 0,
             "reward 0 where the policy and every reference give the token less than X"),
    OPT_TEXT(0, "clip-reward", &clip, "LO,HI", "then bound the reward"),
    OPT_CHOICE("whiten-reward", &R.scale, reward_scales,
               "then subtract the rewards' mean and divide by their deviation, over the tokens of "
               "the batch or at the position in the batch"),
    OPT_TEXT(0, "mix", &mix, "ALPHA:COLUMN",
             "then ALPHA times the reward + (1 - ALPHA) times COLUMN; a per-record column counts "
             "on the last trained token"),
    OPT_TEXTS(
        0, "kl", &kl, "NAME:COEF",
        "then subtract COEF (logp:rollout - logp:NAME) from each token's reward; may be repeated"),
    OPT_GROUP("Return and advantage"),
    OPT_CHOICE("credit", &R.credit, reward_credits,
               "what a token is credited with: the rewards from it on, the whole sum, the mean, "
               "the sum on the last token, or (attention) the rewards from it on after their sum "
               "has been redistributed"),
    OPT_TEXT(0, "attention", &attention, "COLUMN|uniform",
             "weights of --credit attention: a token column, or equal weights"),
    OPT_REAL("beta", &R.beta, "B", 0, 1,
             "--credit attention redistributes B of the sum; the rest stays on the last token"),
    OPT_REAL("gamma", &R.gamma, "G", 0, 1,
             "discount of later rewards (--credit token or attention)"),
    OPT_TEXT(0, "group", &reward.group, "COLUMN",
             "samples with the same value in this per-record column belong to one prompt"),
    {OPTION_CHOICE, "baseline", 0, &R.baseline, NULL,
     "what is subtracted from returns: the mean over the batch, the mean sum of the "
     "prompt's samples (prompt), of its other samples (loo), the mean at this position "
     "or over all tokens of the prompt's samples. loo needs two samples of "
     "each prompt: none is for demonstrations, and with --whiten grpo",
     reward_baselines, 0, 0, &baseline_given},
    OPT_CHOICE("whiten", &R.whiten, reward_whitens,
               "then subtract the mean and divide by the deviation over the batch, the prompt's "
               "samples, or the position in the batch; grpo: of the sums of the prompt's samples"),
    OPT_CHOICE("variance", &variance, reward_variances, "of --whiten: divide by n or by n - 1"),
    OPT_GROUP("Samples that continue a demonstration"),
    OPT_TEXT(0, "prefix", &reward.prefix, "COLUMN",
             "per-record column: how many tokens of a demonstration precede the trained ones; some "
             "of these are trained too"),
    OPT_TEXT(0, "prefix-entropy", &reward.prefix_entropy, "COLUMN",
             "token column with the policy's entropy, which decides which ones are"),
    OPT_REAL("prefix-share", &reward.prefix_share, "X", 0, 1,
             "train this share of them, those of the highest entropy"),
    OPT_GROUP("Record"),
    OPT_TEXT(0, "metrics", &common.metrics, "FILE", "write one JSON object per batch to FILE"),
    OPTIONS_COMMON(&common),
};

static const struct program program = {
    .name = "dense-reward",
    .operands = "(POLICY REFERENCE[,REFERENCE...] | --soft POLICY | --reward COLUMN) [STREAM]",
    .summary = "Write the columns reward, return and advantage of a token stream.",
    .details =
        "POLICY and REFERENCE name columns that logprob wrote (logp:POLICY, logp:REFERENCE). The "
        "reward of a trained token is logp:POLICY - logp:REFERENCE; several references combine by "
        "logsumexp - log k; the reference `none` leaves logp:POLICY alone. A batch is a run of "
        "sequences with the same value in the column `step`, or the whole stream; samples of a "
        "prompt are the sequences of a batch with the same value in the column `prompt`. With "
        "--reward the reward may come from anything: a reward model, a verifier, a vote.",
    .examples = "  dense-reward sft half < rollouts.toks > rewarded.toks\n"
                "  dense-reward --floor 0 --baseline none sft half rollouts.toks -o paper.toks\n"
                "  dense-reward --reward score judged.toks > rewarded.toks\n",
    .options = options,
    .operands_min = 0,
    .operands_max = 3,
};

// Where the defaults say nothing: no probability is looked at, or the deviation has its own mean.
static void adapt_defaults(void)
{
    if (!floor_given && (reward.column || reward.soft))
        R.floor = 0;
    if (!baseline_given && R.whiten == WHITEN_GRPO)
        R.baseline = BASELINE_NONE;
}

// Operands before STREAM.
static int own_operands(void)
{
    return reward.column ? 0 : reward.soft ? 1 : 2;
}

static int set_models(const struct operands *operands, struct err *e)
{
    if (reward.column && reward.soft)
        return err_set(e, STATUS_USAGE, "--reward and --soft cannot be used together");
    if (operands->n < own_operands())
        return err_set(e, STATUS_USAGE,
                       reward.soft ? "POLICY is missing"
                                   : "POLICY and REFERENCE are missing, or --reward COLUMN");
    if (operands->n > own_operands() + 1)
        return err_set(e, STATUS_USAGE, "--%s",
                       reward.soft ? "soft takes no REFERENCE"
                                   : "reward takes no POLICY and no REFERENCE");
    if ((reward.column || reward.soft) && (R.floor > 0 || isfinite(R.min_logp)))
        return err_set(e, STATUS_USAGE,
                       "--floor and --min-logp look at probabilities: not with --%s",
                       reward.soft ? "soft" : "reward");
    if (reward.column)
        return 0;
    reward.policy = operands->text[0];
    return dense_reward_set_references(&reward, reward.soft ? "none" : operands->text[1], e);
}

static int set_options(const struct operands *operands, struct err *e)
{
    R.sample_variance = variance == 1;
    adapt_defaults();
    if (set_models(operands, e) < 0 || (clip && dense_reward_set_clip(&reward, clip, e) < 0) ||
        (mix && dense_reward_set_mix(&reward, mix, e) < 0))
        return -1;
    for (int i = 0; i < kl.n; i++)
        if (dense_reward_add_kl(&reward, kl.text[i], e) < 0)
            return -1;
    if ((attention != NULL) != (R.credit == CREDIT_ATTENTION))
        return err_set(e, STATUS_USAGE,
                       attention ? "--attention goes with --credit attention"
                                 : "--credit attention needs --attention");
    if (!reward.prefix != !reward.prefix_entropy)
        return err_set(e, STATUS_USAGE, "--prefix and --prefix-entropy go together");
    reward.attention = attention && strcmp(attention, "uniform") != 0 ? attention : NULL;
    return reward_options_check(&R, e);
}

static void report(const struct reward_stream_stats *c)
{
    uint64_t scored = c->records - c->empty;
    message_note("%llu records (%llu without trained tokens), %llu trained tokens, mean sum of "
                 "reward %.6g",
                 (unsigned long long)c->records, (unsigned long long)c->empty,
                 (unsigned long long)c->tokens, scored ? c->total / (double)scored : 0.0);
}

static int work(const struct operands *operands, const struct provenance *line, struct err *e)
{
    struct metrics metrics;
    struct reward_stream_stats stats;
    if (metrics_open(&metrics, common.metrics, e) < 0)
        return -1;
    int own = own_operands();
    const char *input = operands->n > own ? operands->text[own] : NULL;
    int status = reward_stream_run(&reward, input, common.output, line, &metrics, &stats, e);
    struct err closing;
    if (metrics_close(&metrics, status < 0 ? &closing : e) < 0)
        status = -1;
    if (status == 0)
        report(&stats);
    return status;
}

int main(int argc, char **argv)
{
    struct operands operands;
    struct err e;
    dense_reward_init(&reward);
    R.floor = 0.03; // what helped; see densepath(7)
    R.baseline = BASELINE_LOO;
    int status = program_start(&program, argc, argv, &operands);
    if (status >= 0)
        return status;
    if ((status = common_apply(&common, 0)) != 0)
        return status;
    struct provenance line = {program.name, argc, argv, common.seed};
    if (set_options(&operands, &e) < 0)
        status =
            e.status == STATUS_MEMORY ? message_fail(&e) : program_usage(&program, "%s", e.text);
    else if (work(&operands, &line, &e) < 0)
        status = message_fail(&e);
    dense_reward_release(&reward);
    return signals_exit_status(status);
}
