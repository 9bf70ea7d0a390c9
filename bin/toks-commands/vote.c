// SPDX-License-Identifier: MIT
#include "commands.h"

#include "toks/vote.h"

#include <inttypes.h>

int toks_vote(struct call *c)
{
    static const char *const scores[] = {"majority", "share", NULL};
    static struct vote vote = {.by = "answer", .group = "prompt", .as = "score"};
    static struct option_texts with;
    static int score;
    static const struct option_spec options[] = {
        OPT_TEXT(0, "by", &vote.by, "COLUMN", "text column with each sample's answer"),
        OPT_TEXT(0, "group", &vote.group, "COLUMN",
                 "samples with the same value in this per-record column belong to one prompt"),
        OPT_CHOICE("score", &score, scores,
                   "1 for the most frequent answer of a group (1/k each where k answers tie) and 0 "
                   "for the others; or the share of the group's samples that give the answer"),
        OPT_TEXT(0, "as", &vote.as, "COLUMN", "the column of records that is written"),
        OPT_TEXTS(0, "with", &with, "STREAM",
                  "let its samples vote too, without writing them; may be repeated"),
        OPTIONS_COMMON(&toks_common)};
    static const struct program program = {
        .name = "toks vote",
        .operands = "[STREAM]",
        .summary = "Score samples by how many of their prompt's samples agree.",
        .details = "Groups are formed within a batch: a run of records with the same value in the "
                   "column step, or the whole stream, which is held in memory. An empty answer "
                   "scores 0 and never wins. A group of one sample is an error.",
        .examples = "  toks vote --by answer samples.toks | dense-reward --reward score\n"
                    "  toks vote --with teacher.toks student.toks > scored.toks\n",
        .options = options,
        .operands_max = 1};
    struct vote_stats stats;
    int status = toks_start(c, &program, c->argc);
    if (status >= 0)
        return status;
    vote.score = (enum vote_score)score;
    vote.with = with.text;
    vote.n_with = with.n;
    if (vote_run(&vote, c->first, toks_common.output, &c->line, &stats, &c->e) < 0)
        return toks_failed(&c->e);
    message_note("%" PRIu64 " records (%" PRIu64 " without an answer), %" PRIu64 " groups, %" PRIu64
                 " of them tied",
                 stats.records, stats.empty, stats.groups, stats.ties);
    return STATUS_DONE;
}
