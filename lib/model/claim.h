// SPDX-License-Identifier: MIT
// Who may write a directory OUT: one rule for every program that makes one. Asked under OUT's lock,
// before the work. What would destroy something is refused with the way on: a result that is there,
// the state of a run that was stopped, a folder that this suite did not make or a file in
// OUT.partial that it did not, what the program itself reads. `--resume` goes on with a state,
// `--overwrite` replaces results and states of this suite.
#ifndef MODEL_CLAIM_H
#define MODEL_CLAIM_H

#include "base/error.h"

enum { CLAIM_INPUTS = 8 };

struct claim {
    const char *path;                // OUT
    const char *input[CLAIM_INPUTS]; // what is read: a model, then files; NULL: none
    const char *state;               // name of the state's file
    const char *const *transient; // as directory_commit has it; NULL: the program makes no state in
                                  // OUT.partial to go on from
    int living;                   // OUT is a policy: its state is in OUT itself
    int resume, overwrite;        // as the options say
    int dry_run;                  // nothing is mended: what would have to be is refused
};

// Mends what a crash has left of OUT, then allows or refuses (STATUS_FAILED). Returns 1 where a
// finished result of this suite is there and only `resume` was given: the caller finds out whether
// it is the one that its run would make.
MUST_CHECK int claim_check(const struct claim *c, struct err *e);
// Refuses an OUT that is `input`, lies in it or holds it.
MUST_CHECK int claim_check_input(const char *path, const char *input, struct err *e);

#endif
