// SPDX-License-Identifier: MIT
// A run of policy-gradient updates on a stream: batches, stop rules, and the policy directory that
// shows one generation per update (formats/policy.md).
#ifndef TRAIN_REINFORCE_H
#define TRAIN_REINFORCE_H

#include "loss/importance.h"
#include "train/evaluation.h"
#include "train/run.h"

enum { REINFORCE_BATCH = 64 }; // sequences per update, where neither option nor stream tell

struct reinforce_options {
    struct run_options run; // batch_size 0: as the stream tells
    const char *loss;       // "reinforce" or "ppo-clip"
    const char *kl;         // "NAME:COEF" or NULL
    int kl_estimator;       // of kl: enum kl_estimator
    // Over the vocabulary: "DIR:COEF" of KL(policy || DIR), of KL(DIR || policy), or NULL.
    const char *kl_exact, *kl_exact_reverse;
    double entropy_bonus;
    const char *normalize_text; // "tokens", "sequences", "constant:N"
    struct loss_parameters parameters;
    struct importance importance; // but for its bounds
    const char *is_clip;          // "LO,HI" of them, or NULL: 0 and 3
    int is_mode_given;
    struct evaluation_options eval; // on demonstrations
    double stop_reward, stop_kl;    // INFINITY: never
    int64_t stop_window;            // batches whose mean a stop rule looks at
};

// Reads `input` (NULL: standard input) to its proven end. Generations are published as they come
// when the stream is known to be whole (a file) or somebody follows the policy; otherwise at the
// end. STATUS_AGAIN: stopped by a signal, with the state saved.
int reinforce_run(const struct reinforce_options *o, const char *input, struct err *e);

#endif
