// SPDX-License-Identifier: MIT
#include "stream/source.h"
#include "base/io.h"
#include "base/memory.h"
#include "base/unpack.h"
#include "stream/parts.h"

#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>
#include <zstd_errors.h>

enum { SOURCE_BUFFER = 1 << 18, SOURCE_STEP = 1 << 20, FRAME_HEAD_MIN = 5 };

static const char cut_short[] = "stream ended without END: the program that wrote it died";

int source_open(struct source *s, const char *path, struct err *e)
{
    memset(s, 0, sizeof *s);
    s->fd = io_open_input(path, e);
    if (s->fd < 0)
        return -1;
    s->is_stdin = !path || !strcmp(path, "-");
    s->fresh = 1;
    s->capacity = SOURCE_BUFFER;
    s->name = strdup(io_name(path));
    s->data = malloc(SOURCE_BUFFER);
    if (s->name && s->data && hash_init(&s->seal) == 0)
        return 0;
    source_release(s);
    return err_memory(e, SOURCE_BUFFER, "an input buffer");
}

void source_release(struct source *s)
{
    if (s->fd >= 0)
        close(s->fd);
    free(s->name);
    free(s->data);
    ZSTD_freeDCtx(s->zstd);
    if (s->seal.state)
        hash_release(&s->seal);
    memset(s, 0, sizeof *s);
    s->fd = -1;
}

static int cut(struct err *e)
{
    return err_set(e, STATUS_STREAM, "%s", cut_short);
}

// What one read() gives, appended. Returns 0 at the end too (then eof is set).
static int fill(struct source *s, struct err *e)
{
    if (s->begin == s->end)
        s->begin = s->end = 0;
    if (s->end == s->capacity) {
        memmove(s->data, s->data + s->begin, s->end - s->begin);
        s->end -= s->begin;
        s->begin = 0;
    }
    for (;;) {
        if (io_wait_readable(s->fd, e) < 0)
            return -1;
        ssize_t n = read(s->fd, s->data + s->end, s->capacity - s->end);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0) {
            enum status status = errno == ENOMEM ? STATUS_MEMORY : STATUS_FAILED;
            return err_set(e, status, "%s", strerror(errno));
        }
        s->eof = n == 0;
        s->end += (size_t)n;
        return 0;
    }
}

// Waits until `size` bytes lie ready or the input ends; returns how many lie ready.
static int64_t need(struct source *s, size_t size, struct err *e)
{
    while (s->end - s->begin < size && !s->eof)
        if (fill(s, e) < 0)
            return -1;
    return (int64_t)(s->end - s->begin);
}

static uint32_t u32_at(const unsigned char *p)
{
    uint32_t x;
    memcpy(&x, p, sizeof x);
    return le32toh(x);
}

static int check_seal(struct source *s, struct err *e)
{
    uint64_t value;
    int64_t have = need(s, SEAL_SIZE, e);
    if (have < 0)
        return -1;
    if (have < SEAL_SIZE)
        return cut(e);
    const unsigned char *p = s->data + s->begin;
    memcpy(&value, p + 8, sizeof value);
    if (u32_at(p) != SEAL_MAGIC || u32_at(p + 4) != sizeof value || s->sealed)
        return err_set(e, STATUS_STREAM, "corrupt: a skippable frame that is not a seal");
    if (le64toh(value) != hash_value(&s->seal))
        return err_set(e, STATUS_STREAM, "corrupt: the seal does not match the compressed bytes");
    s->begin += SEAL_SIZE;
    s->sealed = 1;
    return 0;
}

static int start_frame(struct source *s, struct err *e)
{
    if (!s->zstd) {
        s->zstd = ZSTD_createDCtx();
        if (!s->zstd)
            return err_memory(e, 0, "decompression");
    }
    ZSTD_DCtx_reset(s->zstd, ZSTD_reset_session_only);
    s->in_frame = 1;
    return 0;
}

// Between zstd frames, or before the first byte. Returns 1 to go on, 0 at the end of the input.
static int at_border(struct source *s, struct err *e)
{
    for (;;) {
        int64_t have = need(s, FRAME_HEAD_MIN, e);
        if (have <= 0)
            return (int)have;
        const unsigned char *p = s->data + s->begin;
        uint32_t magic = have >= 4 ? u32_at(p) : 0;
        if (s->fresh) {
            XXH3_64bits_reset(s->seal.state);
            s->sealed = 0;
            s->compressed = magic == ZSTD_MAGIC || (magic & ~15u) == SKIPPABLE_MAGIC;
            s->fresh = 0;
        }
        if (!s->compressed)
            return 1;
        if (have < FRAME_HEAD_MIN)
            return cut(e);
        if ((magic & ~15u) == SKIPPABLE_MAGIC) {
            if (check_seal(s, e) < 0)
                return -1;
            continue;
        }
        if (magic != ZSTD_MAGIC)
            return err_set(e, STATUS_STREAM, "corrupt: neither a zstd frame nor the end");
        // The seal cannot vouch for what follows it: END's frame has one legal form.
        if ((p[4] & ZSTD_UNUSED) || (s->sealed && p[4] != ZSTD_END))
            return err_set(e, STATUS_STREAM, "corrupt: zstd frame header");
        if (start_frame(s, e) < 0)
            return -1;
        return 1;
    }
}

// Returns the bytes written to `to`; 0: none, and the zstd frame has ended.
static int64_t decompress(struct source *s, void *to, size_t size, struct err *e)
{
    if (size > SOURCE_STEP) // so that a bomb is seen before it has filled all the room
        size = SOURCE_STEP;
    ZSTD_outBuffer out = {to, size, 0};
    for (;;) {
        ZSTD_inBuffer in = {s->data + s->begin, s->end - s->begin, 0};
        size_t left = ZSTD_decompressStream(s->zstd, &out, &in);
        if (ZSTD_isError(left) && ZSTD_getErrorCode(left) == ZSTD_error_memory_allocation)
            return err_memory(e, 0, "decompression");
        if (ZSTD_isError(left))
            return err_set(e, STATUS_STREAM, "corrupt: zstd: %s", ZSTD_getErrorName(left));
        hash_add(&s->seal, in.src, in.pos);
        s->begin += in.pos;
        s->in += in.pos;
        s->out += out.pos;
        if (unpack_check(s->in, s->out, STATUS_STREAM, e) < 0)
            return -1;
        s->in_frame = left != 0;
        if (left == 0 || out.pos)
            return (int64_t)out.pos;
        if (s->begin < s->end)
            continue;
        if (s->eof)
            return cut(e);
        if (fill(s, e) < 0)
            return -1;
    }
}

int64_t source_read(struct source *s, void *to, size_t size, struct err *e)
{
    for (;;) {
        if (!s->in_frame && (s->compressed || s->fresh)) {
            int more = at_border(s, e);
            if (more <= 0)
                return more;
        }
        int64_t n = s->compressed ? decompress(s, to, size, e) : need(s, 1, e);
        if (n < 0 || (n == 0 && !s->compressed))
            return n;
        if (n > 0 && s->compressed)
            return n;
        if (n > 0)
            break;
    }
    size_t n = s->end - s->begin < size ? s->end - s->begin : size;
    memcpy(to, s->data + s->begin, n);
    s->begin += n;
    return (int64_t)n;
}

void source_begin_piece(struct source *s)
{
    s->in = s->out = 0;
}

void source_next_stream(struct source *s)
{
    s->fresh = 1;
}

double source_share(const struct source *s)
{
    struct stat st;
    off_t at = lseek(s->fd, 0, SEEK_CUR);
    if (at < 0 || fstat(s->fd, &st) < 0 || !S_ISREG(st.st_mode) || st.st_size <= 0)
        return 0;
    return (double)(at - (off_t)(s->end - s->begin)) / (double)st.st_size;
}
