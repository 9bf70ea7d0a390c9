// SPDX-License-Identifier: MIT
// The dense reward of a token stream: reads log-probability columns, or a reward that is there, and
// writes the token columns `reward`, `return` and `advantage` (null where mask = 0), frame by
// frame.
//
// A batch is a run of sequences with one value in the column `step`, or, without that column, the
// whole stream. The samples of a prompt are the sequences of one batch with one value in the group
// column (`prompt`), in any order. Without a baseline and without whitening nothing is held back:
// memory is that of a frame. Otherwise one batch is held. By the rule that cuts frames
// (formats/toks.md), a frame that is not full ends its step, so that a batch leaves before the next
// one exists.
#ifndef REWARD_DENSE_REWARD_H
#define REWARD_DENSE_REWARD_H

#include "base/progress.h"
#include "reward/reward.h"
#include "stream/header.h"

enum { DENSE_REWARD_KL_MAX = 8 };

struct dense_reward {
    struct reward_options options;
    // A column of the stream that is the reward, in place of policy and references: one of tokens,
    // or one of sequences (u8, u32 or f32), whose value is that of the last trained token. NULL:
    // none.
    const char *column;
    const char *policy; // names of logp: columns, without "logp:"
    char *reference[REWARD_REFERENCES_MAX];
    int n_references; // 0: the reward is the policy's log-probability itself
    // Or, in place of both, the inverse soft Bellman reward q - gamma V(next state) of the columns
    // q:POLICY, value:POLICY and, behind the last token, value-end:POLICY.
    int soft;
    // r <- alpha r + (1 - alpha) r_external, from a column as above.
    int has_mix;
    double mix_alpha;
    const char *mix_column;
    const char *attention; // weights of CREDIT_ATTENTION: a token column; NULL: all the same
    // Afterwards r <- r - coefficient (logp:rollout - logp:NAME), for each.
    int n_kl;
    double kl_coefficient[DENSE_REWARD_KL_MAX];
    char *kl_name[DENSE_REWARD_KL_MAX];
    // Samples that go on from a demonstration (reward/prefix_credit.h): the u32 sequence column
    // with the number of its tokens, which stand before the first trained one, and the token column
    // with the entropy of the policy. NULL: there are none.
    const char *prefix, *prefix_entropy;
    double prefix_share;
    const char *group; // sequence column (text or u32) that tells prompts apart
};

struct dense_reward_stats {
    uint64_t records, empty; // empty: without trained tokens
    uint64_t tokens;         // trained
    double total;            // sum of all rewards
};

// What an output header says of this program.
struct dense_reward_origin {
    int argc;
    char **argv;
    uint64_t seed;
};

void dense_reward_init(struct dense_reward *d);
void dense_reward_release(struct dense_reward *d);
// Readers of options: "NAME,NAME...", "ALPHA:COLUMN", "NAME:COEF" (adds one), "LO,HI". They fail
// with STATUS_USAGE; mix's text must outlive *d.
MUST_CHECK int dense_reward_set_references(struct dense_reward *d, const char *text, struct err *e);
MUST_CHECK int dense_reward_set_mix(struct dense_reward *d, const char *text, struct err *e);
MUST_CHECK int dense_reward_add_kl(struct dense_reward *d, const char *text, struct err *e);
MUST_CHECK int dense_reward_set_clip(struct dense_reward *d, const char *text, struct err *e);
// From the stream `input` to the stream `output` (paths, NULL: standard streams). One metrics
// object a batch. A stream without a column that is needed gives STATUS_STREAM; a trained token
// without a value, STATUS_FAILED; both name what is missing.
MUST_CHECK int dense_reward_run(const struct dense_reward *d, const char *input, const char *output,
                                const struct dense_reward_origin *origin, struct metrics *metrics,
                                struct dense_reward_stats *stats, struct err *e);

#endif
