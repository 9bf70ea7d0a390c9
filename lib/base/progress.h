// SPDX-License-Identifier: MIT
// Progress of a run on stderr, and metrics as JSONL.
#ifndef BASE_PROGRESS_H
#define BASE_PROGRESS_H

#include "base/board.h"
#include "base/error.h"
#include <jansson.h>
#include <stdint.h>

// How far a run is, in its own unit:
//     update 404/935  43 %  loss 2.8191  8152 tokens/s  1:12 elapsed  1:35 left
// On a terminal one line that renews itself at most ten times a second, below those of the other
// programs of the pipeline (base/board.h). Where stderr is no terminal, a message every 30 seconds,
// later every tenth of the time that has passed, at least every ten minutes; a run that ends before
// that prints none. A process has one progress at a time.
//     progress_init(&p, "update", updates);
//     for (...) progress_update(&p, done, "loss %.4f  %.0f tokens/s", loss, rate);
//     progress_end(&p); message_note(...);
enum progress_form { PROGRESS_OFF, PROGRESS_TERMINAL, PROGRESS_PLAIN };

struct progress {
    enum progress_form form;
    const char *unit; // singular, kept by reference
    int64_t total;    // in all, what an earlier run did included; 0: unknown
    int exact;        // 0: total is an estimate
    int64_t position;
    double follow;        // units per record of the input
    double started;       // this run; times are of clock_seconds
    double measured, due; // when position rose last; when to show again on a terminal
    double printed;       // last message
    double recent_units, recent_seconds; // of this run, older ones weighing less
};

// `total` 0: unknown. Shows a line at once, so that a program that waits for its input is seen.
void progress_init(struct progress *p, const char *unit, int64_t total);
// The run goes on from `position`, where an earlier one stopped.
void progress_resume(struct progress *p, int64_t position);
void progress_total(struct progress *p, int64_t total); // known now
// The total follows the records that the program before this one in the pipeline will write.
void progress_follow(struct progress *p, double units_per_record);
// An estimate of the total, as long as nothing better is known; 0 or less: none.
void progress_estimate(struct progress *p, double total);
// Another input in the same run: position, total and rate start anew.
void progress_restart(struct progress *p);
// `position` units are done; `format` says more ("" for nothing), for the middle of the line.
void progress_update(struct progress *p, int64_t position, const char *format, ...)
    ERR_PRINTF(3, 4);
// Takes the line away; what follows on stderr stands where it was. Idempotent.
void progress_end(struct progress *p);
double progress_seconds(const struct progress *p); // since the start of this run
// For the closing message: "1:12, 8152 tokens/s".
void progress_closing(const struct progress *p, uint64_t tokens, char out[64]);

// The parts of progress_update, for a clock of the caller's.
void progress_advance(struct progress *p, int64_t position, double now);
double progress_left(const struct progress *p, double now); // seconds; -1: cannot be told
int progress_due(const struct progress *p, double now);     // the next message
void progress_print(const struct progress *p, char *out, size_t size, const char *details);

// One object per line, written whole, so that a reader never sees half a line.
struct metrics {
    int fd;       // -1: off
    int replaces; // the file has lines of an earlier run, until the first one of this run
    const char *path;
};
// NULL: off. An input of this process is refused, as by output_open (base/io.h).
MUST_CHECK int metrics_open(struct metrics *m, const char *path, struct err *e);
// The same for a run that goes on after `step`: what is behind its first `lines` is dropped, or,
// where it is not known how many there were (-1), lines of later steps.
MUST_CHECK int metrics_resume(struct metrics *m, const char *path, int64_t step, int64_t lines,
                              struct err *e);
MUST_CHECK int metrics_write(struct metrics *m, json_t *object,
                             struct err *e); // takes the reference
MUST_CHECK int metrics_close(struct metrics *m, struct err *e);

#endif
