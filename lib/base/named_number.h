// SPDX-License-Identifier: MIT
// A name with a number, the value of some options: "sft:0.1", "0.5:reward".
#ifndef BASE_NAMED_NUMBER_H
#define BASE_NAMED_NUMBER_H

#include "base/error.h"

// What an option takes.
struct named_form {
    const char *option; // without its dashes; NULL: an operand
    const char *form;   // as --help writes it: "NAME:COEF"
    double low, high;   // bounds of the number, infinite where there is none
};

struct named_number {
    const char *name; // inside the text, [size], not empty
    size_t size;
    double number; // finite
};

// Reads "NAME:NUMBER". The last colon counts: a name (a path, a column) may hold others. 0, or -1
// with STATUS_USAGE: "--kl: 'TEXT' is not NAME:COEF with COEF of 0 or more".
MUST_CHECK int named_number(struct named_number *n, const char *text, const struct named_form *f,
                            struct err *e);
// Reads "NUMBER:NAME": the first colon counts.
MUST_CHECK int number_named(struct named_number *n, const char *text, const struct named_form *f,
                            struct err *e);

#endif
