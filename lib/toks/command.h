// SPDX-License-Identifier: MIT
// A command that reads lines and answers with lines: a child process behind two pipes.
#ifndef TOKS_COMMAND_H
#define TOKS_COMMAND_H

#include "base/error.h"
#include "base/memory.h"

#include <sys/types.h>

struct command {
    char *const *argv; // borrowed, NULL at its end
    pid_t pid;         // its process group as well; 0: not running
    int in, out;       // its standard input and output; -1: closed
    struct buffer questions, answers;
    size_t asked, read; // bytes of these that are done with
    size_t searched;    // behind these: bytes that hold no line break
};

void command_init(struct command *c, char *const *argv);
// Kills what still runs: the whole process group.
void command_release(struct command *c);
MUST_CHECK int command_start(struct command *c, struct err *e); // 0 or -1: it cannot be executed
// Takes a line (with its line break) that is to be asked; command_talk hands it over.
MUST_CHECK int command_ask(struct command *c, const char *line, size_t size, struct err *e);
size_t command_pending(const struct command *c); // bytes not yet handed over
// The next whole line of the answers, without its line break: valid until command_talk.
int command_line(struct command *c, const char **line, size_t *size);
int command_has_line(struct command *c); // without taking it
// Bytes that came behind the last whole line.
size_t command_rest(const struct command *c);
// Hands over and takes what is possible, waiting `seconds` at most until something is. Returns 1
// when bytes went either way, 0 when none did, -1 on failure (STATUS_PIPE: the reader of our own
// output has gone; STATUS_FAILED: also a line without end). c->out is -1 once its output has ended,
// c->in once it reads no more.
MUST_CHECK int command_talk(struct command *c, double seconds, struct err *e);
void command_no_more(struct command *c); // closes its input
// Waits for its end, `seconds` at most; returns its wait status, or -1 when it goes on.
int command_wait(struct command *c, double seconds);
// "ended with status 3", "was killed by signal 9 (Killed)"
void command_describe(int status, char *text, size_t size);

#endif
