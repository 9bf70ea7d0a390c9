// SPDX-License-Identifier: MIT
// Progress on a terminal, and metrics as JSONL.
#ifndef BASE_PROGRESS_H
#define BASE_PROGRESS_H

#include "base/error.h"
#include <jansson.h>
#include <stdint.h>

// A line on stderr that renews itself at most ten times a second; silent when stderr is no terminal
// or `enabled` is 0.
struct progress {
    int enabled;
    int shown;
    double started, last;
};

void progress_init(struct progress *p, int enabled);
void progress_update(struct progress *p, const char *format, ...) ERR_PRINTF(2, 3);
void progress_clear(struct progress *p); // before any other message
double clock_seconds(void);              // monotonic

// One object a line, written whole, so that a reader never sees half a line.
struct metrics {
    int fd; // -1: off
    const char *path;
};
int metrics_open(struct metrics *m, const char *path, struct err *e); // NULL: off
// The same for a run that goes on after `step`: lines of later steps are dropped first.
int metrics_resume(struct metrics *m, const char *path, int64_t step, struct err *e);
int metrics_write(struct metrics *m, json_t *object, struct err *e); // takes the reference
int metrics_close(struct metrics *m, struct err *e);

#endif
