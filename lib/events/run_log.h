// SPDX-License-Identifier: MIT
// One run as TensorBoard sees it: its metrics as scalars, and its model card as text.
//
// A key of the metrics becomes the tag that the TensorBoardCallback of transformers gives it
// (rewrite_logs in integrations/integration_utils.py): eval_REST is eval/REST, test_REST test/REST,
// any other KEY train/KEY; `step` is the step. What is not a number is left out.
//
// Metrics hold no time of day. The last line was written when the file was changed last; each line
// before it is earlier by the `step_time` of those behind it, so what took time between updates
// (evaluations, waiting for samples) is missing, and no time runs backwards.
#ifndef EVENTS_RUN_LOG_H
#define EVENTS_RUN_LOG_H

#include "events/event.h"
#include "events/event_file.h"
#include "events/metrics_source.h"

struct run_log {
    struct metrics_source metrics;
    struct event_file file;
    struct event_scalars scalars;
    struct buffer records; // of this look
    int64_t *step;         // of each line that was told
    size_t n, capacity;
    double begun, time; // of the first one and of the last
    uint64_t written;   // scalars
    int has_text;       // the card is told
};

// NAME is a folder in LOGDIR; NULL: the run's own. follow: the run may not be there yet. Release it
// after a failure too.
int run_log_open(struct run_log *l, const char *path, const char *name, const char *logdir,
                 int follow, struct err *e);
void run_log_release(struct run_log *l);
// Writes the whole file.
MUST_CHECK int run_log_write(struct run_log *l, int follow, struct err *e);
// Appends what is new; 1: the run is finished, 0: it goes on.
MUST_CHECK int run_log_follow(struct run_log *l, struct err *e);

#endif
