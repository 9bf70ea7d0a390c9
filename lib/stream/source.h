// SPDX-License-Identifier: MIT
// The bytes of a stream as they arrive: read from a descriptor and decompressed if they are zstd,
// with the seal of a compressed stream checked on the way.
#ifndef STREAM_SOURCE_H
#define STREAM_SOURCE_H

#include "base/error.h"
#include "base/hash.h"
#include <stdint.h>
#include <zstd.h>

struct source {
    int fd;
    int is_stdin;
    char *name;
    unsigned char *data; // [capacity]: bytes read, begin .. end-1 not yet used
    size_t begin, end, capacity;
    int eof;
    int compressed;   // the form that the bytes have here
    int fresh;        // a stream may begin: with bytes of either form
    int in_frame;     // of zstd
    int sealed;       // the seal has passed: only END may follow
    ZSTD_DCtx *zstd;  // made for the first compressed byte
    uint64_t in, out; // of the piece that is read: compressed bytes, and what they gave
    struct hash seal; // over the compressed bytes of the stream
};

// `path` as for io_open_input. 0 or -1.
MUST_CHECK int source_open(struct source *s, const char *path, struct err *e);
void source_release(struct source *s);
// Reads 1 .. size bytes, waiting only while there are none; 0 at the end, -1 on failure. Errors
// name no file. A compressed frame that breaks off is an error with STATUS_STREAM.
int64_t source_read(struct source *s, void *to, size_t size, struct err *e);
// What is read from here on is held in memory together, as one piece (a line, a block): where it
// was compressed unpack_check bounds it. A stream has any number of them.
void source_begin_piece(struct source *s);
// How much of a file has been used, 0 .. 1; 0 where that cannot be told (a pipe).
double source_share(const struct source *s);
// The stream has ended: another one may begin, in either form, with a seal of its own.
void source_next_stream(struct source *s);

#endif
