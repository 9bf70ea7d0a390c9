// SPDX-License-Identifier: MIT
// What options of other trainers are called here: those of transformers, TRL, axolotl, verl and
// vLLM that people have in their fingers.
#ifndef BASE_FOREIGN_OPTION_H
#define BASE_FOREIGN_OPTION_H

#include <stddef.h>

struct foreign_option {
    const char *theirs; // with dashes
    const char *ours;   // the option's name here; NULL: there is none, and `why` says why
    const char *where;  // a program that has it
    const char *why;    // what is different; NULL
};

// The next row for the option NAME, with `_` or dashes and whatever stands before a dot (verl's);
// `last` NULL: the first. NULL: no more.
const struct foreign_option *foreign_option_next(const char *name,
                                                 const struct foreign_option *last);

#endif
