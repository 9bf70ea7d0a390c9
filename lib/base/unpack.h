// SPDX-License-Identifier: MIT
// Input that may be compressed: gzip and Zstandard are recognized by their first bytes and
// decompressed, anything else passes unchanged. Several members or frames are concatenated.
#ifndef BASE_UNPACK_H
#define BASE_UNPACK_H

#include "base/error.h"
#include <stddef.h>
#include <stdint.h>

struct unpack;

// Reads from `fd` (borrowed, as `name` is) the few bytes that tell what it holds.
struct unpack *unpack_open(int fd, const char *name, struct err *e);
void unpack_close(struct unpack *u); // NULL is fine
// At least one byte, as soon as there is one; 0 at the end; -1 ("NAME: reason") for what is cut
// short or corrupt, what unpacks to hundreds of times its size, and what needs a window beyond
// 128 MiB. Memory is bounded by that window.
int64_t unpack_read(struct unpack *u, void *data, size_t size, struct err *e);
// The one guard against bombs: refuses, with `status`, `out` bytes that were unpacked from `in`
// when they are more than 256 MiB and more than 500 times as many. Readers that hold a piece at a
// time ask for each piece.
MUST_CHECK int unpack_check(uint64_t in, uint64_t out, enum status status, struct err *e);
// "gzip", "Zstandard", or NULL for what is not compressed.
const char *unpack_kind(const struct unpack *u);

#endif
