// SPDX-License-Identifier: MIT
#include "base/unpack.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>
#include <zstd_errors.h>

#include "base/io.h"
#include "base/memory.h"

enum { BLOCK = 1 << 16, SIGN = 4, WINDOW_LOG_MAX = 27 };
// Beyond this much, what is so much longer than its compressed form is no data: gzip's limit is a
// thousandfold, real texts shrink to a tenth.
#define BOMB_BYTES ((uint64_t)256 << 20)
#define BOMB_RATIO 500

enum compression { AS_IT_IS, GZIP, ZSTD };

struct unpack {
    int fd;
    const char *name;
    enum compression kind;
    z_stream gzip;
    ZSTD_DStream *zstd;
    unsigned char *block;
    size_t begin, end; // unread bytes of `block`
    int at_end;        // of the file
    int between;       // members or frames: the file may end here
    int padded;        // zeros follow the last member, as tapes have them
    uint64_t in, out;
};

int unpack_check(uint64_t in, uint64_t out, enum status status, struct err *e)
{
    if (out <= BOMB_BYTES || out / BOMB_RATIO <= in)
        return 0;
    return err_set(e, status,
                   "unpacks to more than 500 times its size (if that is right, unpack it before)");
}

static int fail(const struct unpack *u, struct err *e, const char *reason)
{
    return err_set(e, STATUS_FAILED, "%s: %s", u->name, reason);
}

// Reads into the block behind what is there: bytes read, 0 at the end of the file, -1.
static int64_t more(struct unpack *u, struct err *e)
{
    int64_t n;
    do
        n = read(u->fd, u->block + u->end, BLOCK - u->end);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return err_errno(e, u->name);
    u->at_end = n == 0;
    u->end += (size_t)n;
    u->in += (uint64_t)n;
    return n;
}

// At least one unread byte: 1; the end of the file: 0; -1.
static int fill(struct unpack *u, struct err *e)
{
    if (u->begin < u->end)
        return 1;
    if (u->at_end)
        return 0;
    u->begin = u->end = 0;
    int64_t n = more(u, e);
    return n < 0 ? -1 : n > 0;
}

static int start(struct unpack *u, struct err *e)
{
    static const unsigned char gzip[] = {0x1F, 0x8B}, zstd[] = {0x28, 0xB5, 0x2F, 0xFD},
                               skippable[] = {0x2A, 0x4D, 0x18}; // after 0x50 ... 0x5F
    while (u->end < SIGN && !u->at_end)
        if (more(u, e) < 0)
            return -1;
    if (u->end >= sizeof gzip && !memcmp(u->block, gzip, sizeof gzip))
        u->kind = GZIP;
    else if (u->end >= SIGN &&
             (!memcmp(u->block, zstd, sizeof zstd) ||
              ((u->block[0] & 0xF0) == 0x50 && !memcmp(u->block + 1, skippable, sizeof skippable))))
        u->kind = ZSTD;
    u->between = 1;
    if (u->kind == GZIP && inflateInit2(&u->gzip, 16 + MAX_WBITS) != Z_OK) {
        u->kind = AS_IT_IS;
        return err_memory(e, 1 << MAX_WBITS, "unpacking");
    }
    if (u->kind == ZSTD) {
        u->zstd = ZSTD_createDStream();
        if (!u->zstd)
            return err_memory(e, BLOCK, "unpacking");
        ZSTD_DCtx_setParameter(u->zstd, ZSTD_d_windowLogMax, WINDOW_LOG_MAX);
    }
    return 0;
}

struct unpack *unpack_open(int fd, const char *name, struct err *e)
{
    struct unpack *u = mem_alloc(1, sizeof *u, "an input", e);
    if (!u)
        return NULL;
    u->fd = fd;
    u->name = name;
    u->block = mem_alloc(BLOCK, 1, "an input buffer", e);
    if (u->block && start(u, e) == 0)
        return u;
    unpack_close(u);
    return NULL;
}

void unpack_close(struct unpack *u)
{
    if (!u)
        return;
    if (u->kind == GZIP)
        inflateEnd(&u->gzip);
    ZSTD_freeDStream(u->zstd);
    free(u->block);
    free(u);
}

const char *unpack_kind(const struct unpack *u)
{
    return u->kind == GZIP ? "gzip" : u->kind == ZSTD ? "Zstandard" : NULL;
}

static int64_t copy(struct unpack *u, void *data, size_t size, struct err *e)
{
    int got = fill(u, e);
    if (got <= 0)
        return got;
    size_t n = u->end - u->begin < size ? u->end - u->begin : size;
    memcpy(data, u->block + u->begin, n);
    u->begin += n;
    return (int64_t)n;
}

// One call of the decompressor; the bytes that it wrote, or -1.
static int64_t step_gzip(struct unpack *u, void *data, size_t size, struct err *e)
{
    u->gzip.next_in = u->block + u->begin;
    u->gzip.avail_in = (uInt)(u->end - u->begin);
    u->gzip.next_out = data;
    u->gzip.avail_out = (uInt)size;
    int status = inflate(&u->gzip, Z_NO_FLUSH);
    u->begin = u->end - u->gzip.avail_in;
    u->between = status == Z_STREAM_END;
    if (status == Z_MEM_ERROR)
        return err_memory(e, 1 << MAX_WBITS, "unpacking");
    if (status != Z_OK && status != Z_STREAM_END && status != Z_BUF_ERROR)
        return fail(u, e, "the gzip data is corrupt");
    if (status == Z_STREAM_END)
        inflateReset(&u->gzip);
    return (int64_t)(size - u->gzip.avail_out);
}

static int64_t step_zstd(struct unpack *u, void *data, size_t size, struct err *e)
{
    ZSTD_inBuffer in = {u->block, u->end, u->begin};
    ZSTD_outBuffer out = {data, size, 0};
    size_t status = ZSTD_decompressStream(u->zstd, &out, &in);
    u->begin = in.pos;
    u->between = status == 0;
    if (!ZSTD_isError(status))
        return (int64_t)out.pos;
    if (ZSTD_getErrorCode(status) == ZSTD_error_frameParameter_windowTooLarge)
        return fail(u, e,
                    "the Zstandard data needs a window beyond 128 MiB (`zstd --long=31 -dc` gives "
                    "the text)");
    return ZSTD_getErrorCode(status) == ZSTD_error_memory_allocation
               ? err_memory(e, (size_t)1 << WINDOW_LOG_MAX, "unpacking")
               : fail(u, e, "the Zstandard data is corrupt");
}

// What follows a gzip member: another one, or nothing but zeros. 1: go on; 0: the end; -1.
static int next_member(struct unpack *u, struct err *e)
{
    int got;
    while ((got = fill(u, e)) > 0 && u->out && u->block[u->begin] == 0) {
        u->padded = 1;
        u->begin++;
    }
    if (got > 0 && (u->padded || u->block[u->begin] != 0x1F))
        return fail(u, e, "something follows the gzip data");
    return got;
}

int64_t unpack_read(struct unpack *u, void *data, size_t size, struct err *e)
{
    if (u->kind == AS_IT_IS)
        return copy(u, data, size, e);
    for (;;) {
        int got = u->kind == GZIP && u->between ? next_member(u, e) : fill(u, e);
        if (got < 0)
            return -1;
        if (!got && u->between)
            return 0;
        // A call without input may still give what the decompressor holds back.
        int64_t n = u->kind == GZIP ? step_gzip(u, data, size, e) : step_zstd(u, data, size, e);
        if (n < 0)
            return -1;
        u->out += (uint64_t)n;
        if (unpack_check(u->in, u->out, STATUS_FAILED, e) < 0)
            return err_prefix(e, "%s", u->name);
        if (n > 0)
            return n;
        if (!got && !u->between)
            return err_set(e, STATUS_FAILED, "%s: the %s data is cut short", u->name,
                           unpack_kind(u));
    }
}
