// SPDX-License-Identifier: MIT
// Which program writes a column: toks(5) lists the columns that the suite uses.
#ifndef STREAM_MAKER_H
#define STREAM_MAKER_H

#include "base/error.h"

// "WHERE: the stream has no column `NAME`" and how to make it. Returns -1; STATUS_STREAM.
int maker_missing(const char *where, const char *name, struct err *e);

#endif
