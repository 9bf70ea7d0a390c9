// SPDX-License-Identifier: MIT
// What signals do to a program. SIGPIPE and SIGXFSZ become errors of the write that met them
// (EPIPE, EFBIG). What else ends a program takes its status line from the screen and its litter
// (base/litter.h) from the disk. A program that saves what it has is asked to stop instead.
#ifndef BASE_SIGNALS_H
#define BASE_SIGNALS_H

#include "base/error.h"

// For main, before the work. stop: SIGINT, SIGTERM, SIGHUP and SIGXCPU set a flag in place of
// ending the program. A second Ctrl-C ends it at once.
void signals_init(int stop);
int signals_stop_requested(void);
// STATUS_AGAIN when a stop was requested: for loops in which nothing is to be saved yet.
MUST_CHECK int signals_check_stop(struct err *e);
// While on, a Ctrl-C asks for a stop (and threads_interruptible holds) where it would have ended
// the program; a second one ends it all the same. Turned off, it returns 1 where one came, and
// forgets it: the program goes on. For programs without `stop`.
int signals_interruptible(int on);
// A descriptor that can be read from then on, so that no wait misses it; -1: a signal ends the
// program.
int signals_stop_fd(void);
// Calls fn in the handler of a signal that ends the program: one function, safe there.
void signals_before_end(void (*fn)(void));
// main's last act for a program that failed with STATUS_PIPE: dies of SIGPIPE, silently, as above.
int signals_exit_status(int status);

#endif
