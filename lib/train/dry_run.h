// SPDX-License-Identifier: MIT
// What a dry run says: lines of "name           text" on standard output.
#ifndef TRAIN_DRY_RUN_H
#define TRAIN_DRY_RUN_H

#include "train/evaluation.h"
#include "train/run.h"

void dry_run_line(const char *name, const char *format, ...) __attribute__((format(printf, 2, 3)));
// Whether the stream `input` (NULL: standard input) can be read again.
int dry_run_is_file(const char *input);
// When the run would be evaluated, if at all.
void dry_run_evaluations(const struct evaluation_options *o);
// Model, what the run needs of memory, and where its result and its metrics would stand. `beside`:
// the directory in which it is made, which is emptied first where it is there and `resumed` is 0;
// NULL: none.
void dry_run_tell(const struct run *r, const char *beside, int resumed);
// The last line. 0, or -1: standard output could not be written.
MUST_CHECK int dry_run_end(struct err *e);

#endif
