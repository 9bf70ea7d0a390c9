// SPDX-License-Identifier: MIT
// Refuses a result that the disk has no room for, before the work.
#ifndef BASE_ROOM_H
#define BASE_ROOM_H

#include "base/error.h"

// Whether the file system of the directory `at` has room for so many bytes; fine where it cannot
// tell.
MUST_CHECK int room_check(int at, double bytes, struct err *e);

#endif
