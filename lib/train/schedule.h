// SPDX-License-Identifier: MIT
// Learning-rate schedules, with the names, parameters and values of the schedules of Hugging Face
// transformers (get_scheduler). The first update is step 0; with a warm-up its rate is 0.
#ifndef TRAIN_SCHEDULE_H
#define TRAIN_SCHEDULE_H

#include "base/error.h"
#include <stdint.h>

enum schedule_type {
    SCHEDULE_CONSTANT,
    SCHEDULE_CONSTANT_WITH_WARMUP,
    SCHEDULE_LINEAR,
    SCHEDULE_COSINE,
    SCHEDULE_COSINE_WITH_RESTARTS,
    SCHEDULE_COSINE_WITH_MIN_LR,
    SCHEDULE_POLYNOMIAL,
    SCHEDULE_INVERSE_SQRT,
    SCHEDULE_WARMUP_STABLE_DECAY,
};
// The names, in the order of the enumeration; ends with NULL (for OPT_CHOICE).
extern const char *const schedule_types[];

struct schedule {
    enum schedule_type type;
    double base_lr;
    int64_t warmup_steps; // rising linearly from 0
    int64_t total_steps;  // updates of the whole run; constant and inverse_sqrt do not look at it
    // Parameters of single types; schedule_init gives them transformers' defaults.
    double num_cycles;       // cosine 0.5, cosine_with_restarts 1, cosine_with_min_lr 0.5
    double power, lr_end;    // polynomial: 1, 1e-7
    double min_lr_rate;      // cosine_with_min_lr (must be given), warmup_stable_decay 0
    double timescale;        // inverse_sqrt: warmup_steps, or 10 000 without a warm-up
    int64_t num_decay_steps; // warmup_stable_decay: must be given
};

// Fills the schedule. `parameters` is a JSON object as transformers' lr_scheduler_kwargs has it
// ({"num_cycles": 2}), or NULL; keys that the type does not know are refused. 0, or -1
// (STATUS_USAGE).
int schedule_init(struct schedule *s, enum schedule_type type, double base_lr, int64_t warmup_steps,
                  int64_t total_steps, const char *parameters, struct err *e);
// Steps of warm-up that the two options mean together: `warmup_steps` where it is above 0,
// otherwise the ratio of the total, rounded up.
int64_t schedule_warmup(int64_t warmup_steps, double warmup_ratio, int64_t total_steps);
// The rate that update number `step` (from 0) uses.
double schedule_lr(const struct schedule *s, int64_t step);

#endif
