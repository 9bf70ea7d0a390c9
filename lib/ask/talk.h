// SPDX-License-Identifier: MIT
// A chat on a terminal: lines that are typed go to the speakers, and the answers stay in the
// conversation; a line that begins with a slash is a command.
#ifndef ASK_TALK_H
#define ASK_TALK_H

#include "ask/asking.h"

// Reads standard input, line by line as the terminal gives them, to its end or /quit. A Ctrl-C
// stops an answer, and at the prompt the program.
MUST_CHECK int talk_run(struct asking *a, struct err *e);

#endif
