// SPDX-License-Identifier: MIT
// Errors: a library function fills a `struct err` and returns a negative number; only main prints.
#ifndef BASE_ERROR_H
#define BASE_ERROR_H

#include <stdarg.h>
#include <stddef.h>

// Exit statuses of every program (densepath(7), EXIT STATUS).
enum status {
    STATUS_DONE = 0,
    STATUS_FAILED = 1, // I/O, data, numerics
    STATUS_USAGE = 2,
    STATUS_STREAM = 3, // input stream cut short, corrupt or of the wrong kind
    STATUS_MEMORY = 4,
    STATUS_PIPE = 13,  // internal: the reader of our output has gone; main exits silently
    STATUS_AGAIN = 75, // stopped with its state saved: run it again to go on
};

struct err {
    enum status status;
    char text[1024]; // one line without the program's name, "file: reason"
    int explained;   // another program has told it: message_fail prints nothing
};

// Functions that can fail: a caller that does not look at the result does not compile cleanly.
#define MUST_CHECK __attribute__((warn_unused_result))
// For the way out of a failure that is reported already: what fails on it changes nothing.
#define MAY_FAIL(call)                                                                             \
    do {                                                                                           \
        if (call) {                                                                                \
        }                                                                                          \
    } while (0)
#define ERR_PRINTF(a, b) __attribute__((format(printf, a, b)))

// Each returns -1, so that a caller can write `return err_set(e, ...)`. `e` must not be NULL.
int err_set(struct err *e, enum status status, const char *format, ...) ERR_PRINTF(3, 4);
// "WHAT: strerror(errno)"; EPIPE becomes STATUS_PIPE and ENOMEM STATUS_MEMORY.
int err_errno(struct err *e, const char *what);
int err_memory(struct err *e, size_t bytes, const char *what);
// A library in use (JSON) found no memory. Its callers may have passed over that, and what it made
// may lack something: from here on no result can be completed, and message_fail says why. Any
// thread.
void err_lost(size_t bytes, const char *what);
// 0, or -1 after err_lost: asked before a result is completed, and before a state is saved.
MUST_CHECK int err_whole(struct err *e);
// Puts "PREFIX: " before the text that is there; returns -1.
int err_prefix(struct err *e, const char *format, ...) ERR_PRINTF(2, 3);

// For main and its helpers only. Each message is one line in one write, masked as by shown_mask.
const char *message_name(void);         // as message_program was told
void message_program(const char *name); // kept by reference
int message_is_quiet(void);
void message_quiet(int quiet); // with quiet, message_note prints nothing
void message_note(const char *format, ...) ERR_PRINTF(1, 2);
void message_warn(const char *format, ...) ERR_PRINTF(1, 2);
// Prints the error (nothing for STATUS_PIPE) and returns the exit status.
int message_fail(const struct err *e);

#endif
