// SPDX-License-Identifier: MIT
// The metrics of one run, as lines, while they grow: of a directory that a trainer makes or has
// made, of a file, or of a pipe. A run that was resumed has dropped its last lines, and may have
// written others since.
#ifndef EVENTS_METRICS_SOURCE_H
#define EVENTS_METRICS_SOURCE_H

#include "base/memory.h"
#include <stdint.h>

enum metrics_source_kind { METRICS_PIPE, METRICS_FILE, METRICS_DIRECTORY };

struct metrics_source {
    enum metrics_source_kind kind;
    const char *path;   // as given: by reference
    char *directory;    // without .partial; NULL: no directory
    int partial_first;  // .partial was given
    int fd;             // of a pipe, or -1
    char *file;         // where they were found last; NULL: nowhere yet
    int in_directory;   // that is in `directory` itself, not in its .partial
    struct line *line;  // those that were given
    size_t n, capacity; // of them
    uint64_t at;        // bytes that they take
    // What metrics_source_poll found.
    struct buffer fresh; // lines, each with its line break
    struct buffer rest;  // behind them: the beginning of a line
    size_t kept;         // lines given before that are there still
    double time;         // of the last change, in seconds since 1970
    int finished;        // no more will come
};

// "-" is standard input. `await`: it need not be there yet. Close it after a failure too.
int metrics_source_open(struct metrics_source *m, const char *path, int await, struct err *e);
void metrics_source_close(struct metrics_source *m);
// The name that a run has by itself, from the heap; NULL: *e.
char *metrics_source_name(const struct metrics_source *m, struct err *e);
// Looks for more. `follow`: finds out whether the run is finished, and never waits; without it a
// pipe is read to its end, and what is nowhere is an error.
MUST_CHECK int metrics_source_poll(struct metrics_source *m, int follow, struct err *e);
// The model card of a finished run, to `text`, which stays empty where there is none.
MUST_CHECK int metrics_source_card(const struct metrics_source *m, struct buffer *text,
                                   struct err *e);

#endif
