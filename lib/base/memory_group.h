// SPDX-License-Identifier: MIT
// Control groups: what the limits around this process leave of memory. Linux, both versions.
#ifndef BASE_MEMORY_GROUP_H
#define BASE_MEMORY_GROUP_H

#include <stddef.h>

// Bytes that may still be taken: the least of what is left in the process's own group and in each
// one around it, as far as they can be seen from here; SIZE_MAX: nothing limits. File cache counts
// as free, because the kernel gives it back first, and memory.high is a limit: beyond it a group
// crawls. root: what stands before /proc and the mount points; "" is the system itself.
size_t memory_group_room(const char *root);

#endif
