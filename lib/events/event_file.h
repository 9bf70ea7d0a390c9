// SPDX-License-Identifier: MIT
// The event file of a run, LOGDIR/NAME/events.out.tfevents.SECONDS.densepath: the only one of ours
// there, so that it replaces that of an earlier call. Files of others stay.
#ifndef EVENTS_EVENT_FILE_H
#define EVENTS_EVENT_FILE_H

#include "base/io.h"

struct event_file {
    const char *logdir; // by reference
    char *folder;       // LOGDIR/NAME
    char *path;         // NULL: not known before event_file_write
    struct output out;
    int begun;     // out is open
    int fd;        // for what is appended, or -1
    uint64_t size; // of whole records
};

// Nothing is made yet. Close it after a failure too.
int event_file_open(struct event_file *f, const char *logdir, const char *name, struct err *e);
void event_file_close(struct event_file *f);
// Writes the file, of a run that began at `time`, once: it appears complete, in LOGDIR and
// LOGDIR/NAME that are made where they are not there.
MUST_CHECK int event_file_write(struct event_file *f, double time, const void *data, size_t size,
                                struct err *e);
// Appends whole records to it; where that fails, nothing.
MUST_CHECK int event_file_append(struct event_file *f, const void *data, size_t size,
                                 struct err *e);

#endif
