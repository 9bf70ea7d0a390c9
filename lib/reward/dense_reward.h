// SPDX-License-Identifier: MIT
// What a dense reward is made from: its options, beyond those on plain arrays (reward/reward.h) the
// names of a stream's columns, and how the command line writes them.
#ifndef REWARD_DENSE_REWARD_H
#define REWARD_DENSE_REWARD_H

#include "reward/reward.h"

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

void dense_reward_init(struct dense_reward *d);
void dense_reward_release(struct dense_reward *d);
// Readers of options: "NAME,NAME...", "ALPHA:COLUMN", "NAME:COEF" (adds one), "LO,HI". They fail
// with STATUS_USAGE; mix's text must outlive *d.
MUST_CHECK int dense_reward_set_references(struct dense_reward *d, const char *text, struct err *e);
MUST_CHECK int dense_reward_set_mix(struct dense_reward *d, const char *text, struct err *e);
MUST_CHECK int dense_reward_add_kl(struct dense_reward *d, const char *text, struct err *e);
MUST_CHECK int dense_reward_set_clip(struct dense_reward *d, const char *text, struct err *e);

#endif
