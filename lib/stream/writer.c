// SPDX-License-Identifier: MIT
#include "stream/writer.h"
#include "base/hash.h"
#include "base/io.h"
#include "base/utf8.h"
#include "stream/parts.h"

#include <stdlib.h>
#include <string.h>
#include <xxhash.h>
#include <zstd.h>

#define NAN_BITS 0x7fc00000u // what every NaN is written as

struct stream_writer {
    struct output out;
    struct stream_header *header;
    int step; // column, or -1
    struct frame pending;
    int have_pending;
    ZSTD_CCtx *zstd; // NULL: uncompressed
    struct hash heads, seal;
    uint64_t n_frames, n_sequences, n_tokens;
    unsigned char *block; // head and payload
    size_t size, capacity;
    unsigned char *packed;
    size_t packed_capacity;
    int finished;
};

static void put_u32(unsigned char *p, uint32_t x)
{
    memcpy(p, &x, sizeof x);
}

static void put_u64(unsigned char *p, uint64_t x)
{
    memcpy(p, &x, sizeof x);
}

// ---- blocks

static int block_begin(struct stream_writer *w, size_t payload, struct err *e)
{
    w->size = BLOCK_HEAD;
    return MEM_GROW(w->block, w->capacity, BLOCK_HEAD + payload, "a frame", e);
}

static unsigned char *block_take(struct stream_writer *w, size_t size)
{
    unsigned char *p = w->block + w->size;
    w->size += size;
    return p;
}

static void block_head(struct stream_writer *w, const char *tag)
{
    unsigned char *head = w->block;
    size_t payload = w->size - BLOCK_HEAD;
    memset(head, 0, BLOCK_HEAD);
    memcpy(head, tag, TAG_SIZE);
    head[4] = STREAM_VERSION;
    put_u64(head + 8, payload);
    put_u64(head + 16, hash_bytes(head + BLOCK_HEAD, payload));
    put_u64(head + 24, hash_bytes(head, 24));
}

// The match finder may look back as far as the block is long, up to 8 MiB, which every decoder
// affords.
static int window_for(size_t size)
{
    int window = 10;
    while (window < ZSTD_WINDOW && ((size_t)1 << window) < size)
        window++;
    return window;
}

static int pack(struct stream_writer *w, size_t *size, struct err *e)
{
    size_t bound = ZSTD_compressBound(w->size);
    if (MEM_GROW(w->packed, w->packed_capacity, bound, "a frame", e) < 0)
        return -1;
    ZSTD_CCtx_setParameter(w->zstd, ZSTD_c_windowLog, window_for(w->size));
    *size = ZSTD_compress2(w->zstd, w->packed, w->packed_capacity, w->block, w->size);
    if (ZSTD_isError(*size))
        return err_memory(e, 0, "compression");
    return 0;
}

// Writes header or frame and makes it visible.
static int block_write(struct stream_writer *w, const char *tag, struct err *e)
{
    block_head(w, tag);
    hash_add(&w->heads, w->block, BLOCK_HEAD);
    const unsigned char *bytes = w->block;
    size_t size = w->size;
    if (w->zstd) {
        if (pack(w, &size, e) < 0)
            return -1;
        bytes = w->packed;
        hash_add(&w->seal, bytes, size);
    }
    if (output_write(&w->out, bytes, size, e) < 0)
        return -1;
    return output_flush(&w->out, e);
}

// The seal, and END as a zstd frame of one raw block, made by hand: its every bit is fixed, since
// the seal cannot vouch for it.
static int write_sealed_end(struct stream_writer *w, struct err *e)
{
    unsigned char seal[SEAL_SIZE], frame[9 + BLOCK_HEAD + BLOCK_END + 4];
    enum { SIZE = BLOCK_HEAD + BLOCK_END };
    put_u32(seal, SEAL_MAGIC);
    put_u32(seal + 4, SEAL_SIZE - 8);
    put_u64(seal + 8, hash_value(&w->seal));
    put_u32(frame, ZSTD_MAGIC);
    frame[4] = ZSTD_END;
    frame[5] = SIZE;
    put_u32(frame + 6, SIZE << 3 | 1); // the last block, raw; three bytes
    memcpy(frame + 9, w->block, SIZE);
    put_u32(frame + 9 + SIZE, (uint32_t)XXH64(w->block, SIZE, 0));
    if (output_write(&w->out, seal, sizeof seal, e) < 0)
        return -1;
    return output_write(&w->out, frame, sizeof frame, e);
}

static int write_end(struct stream_writer *w, struct err *e)
{
    if (block_begin(w, BLOCK_END, e) < 0)
        return -1;
    unsigned char *p = block_take(w, BLOCK_END);
    put_u64(p, w->n_frames);
    put_u64(p + 8, w->n_sequences);
    put_u64(p + 16, w->n_tokens);
    put_u64(p + 24, hash_value(&w->heads));
    block_head(w, TAG_END);
    if (w->zstd)
        return write_sealed_end(w, e);
    return output_write(&w->out, w->block, w->size, e);
}

// ---- frames

static size_t strings_size(const struct frame *f, size_t column)
{
    return f->column[column].string[f->n_sequences];
}

// Bytes of the payload; 0 when it is too large for the format.
static size_t frame_size(const struct stream_writer *w, const struct frame *f)
{
    uint64_t size = FRAME_HEAD + 4 * (uint64_t)f->n_sequences;
    for (size_t i = 0; i < w->header->n_columns; i++) {
        const struct column *c = &w->header->column[i];
        uint64_t rows = c->per == PER_TOKEN ? f->n_tokens : f->n_sequences;
        size += c->type == COLUMN_STRING ? 4 * rows + strings_size(f, i)
                                         : rows * column_type_size(c->type);
        if (size > FRAME_MAX)
            return 0;
    }
    return (size_t)size;
}

static void put_f32(unsigned char *to, const float *from, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        uint32_t bits;
        memcpy(&bits, from + i, sizeof bits);
        bits = (bits & 0x7fffffffu) > 0x7f800000u ? NAN_BITS : bits;
        memcpy(to + 4 * i, &bits, sizeof bits);
    }
}

static int put_strings(struct stream_writer *w, const struct frame *f, size_t column, struct err *e)
{
    const struct column_data *d = &f->column[column];
    size_t size = strings_size(f, column);
    unsigned char *lengths = block_take(w, 4 * f->n_sequences);
    for (size_t i = 0; i < f->n_sequences; i++)
        put_u32(lengths + 4 * i, (uint32_t)(d->string[i + 1] - d->string[i]));
    if (size)
        memcpy(block_take(w, size), d->bytes, size);
    if (column != COLUMN_ID)
        return 0;
    for (size_t i = 0; i < f->n_sequences; i++)
        if (d->string[i] == d->string[i + 1])
            return err_set(e, STATUS_FAILED, "%s: %s: the `id` is empty", output_name(&w->out),
                           shown_record(NULL, 0, w->n_sequences + i + 1).text);
    return 0;
}

static int put_columns(struct stream_writer *w, const struct frame *f, struct err *e)
{
    for (size_t i = 0; i < w->header->n_columns; i++) {
        const struct column *c = &w->header->column[i];
        size_t rows = c->per == PER_TOKEN ? f->n_tokens : f->n_sequences;
        if (c->type == COLUMN_STRING) {
            if (put_strings(w, f, i, e) < 0)
                return -1;
            continue;
        }
        size_t size = rows * column_type_size(c->type);
        unsigned char *to = block_take(w, size);
        if (c->type == COLUMN_F32)
            put_f32(to, f->column[i].f32, rows);
        else if (size)
            memcpy(to, f->column[i].data, size);
    }
    return 0;
}

static int write_frame(struct stream_writer *w, const struct frame *f, struct err *e)
{
    if (f->n_sequences == 0)
        return 0;
    if (f->n_columns < w->header->n_columns)
        return err_set(e, STATUS_FAILED, "%s: a frame without all columns of the stream",
                       output_name(&w->out));
    size_t size = frame_size(w, f);
    if (size == 0 || f->n_sequences > UINT32_MAX)
        return err_set(e, STATUS_FAILED, "%s: %s: a frame larger than 2^31 bytes",
                       output_name(&w->out), shown_record(NULL, 0, w->n_sequences + 1).text);
    if (block_begin(w, size, e) < 0)
        return -1;
    unsigned char *p = block_take(w, FRAME_HEAD);
    put_u32(p, (uint32_t)f->n_sequences);
    put_u32(p + 4, (uint32_t)w->header->n_columns);
    put_u64(p + 8, f->n_tokens);
    unsigned char *lengths = block_take(w, 4 * f->n_sequences);
    for (size_t i = 0; i < f->n_sequences; i++)
        put_u32(lengths + 4 * i, (uint32_t)frame_length(f, i));
    if (put_columns(w, f, e) < 0 || block_write(w, TAG_FRAME, e) < 0)
        return -1;
    w->n_frames++;
    w->n_sequences += f->n_sequences;
    w->n_tokens += f->n_tokens;
    return 0;
}

// ---- the canonical cut

static uint32_t step_of(const struct stream_writer *w, const struct frame *f, size_t i)
{
    return f->column[w->step].u32[i];
}

int stream_writer_flush(struct stream_writer *w, struct err *e)
{
    int result = write_frame(w, &w->pending, e);
    frame_clear(&w->pending);
    return result;
}

int stream_writer_add(struct stream_writer *w, const struct frame *f, size_t i, struct err *e)
{
    struct frame *p = &w->pending;
    if (p->n_sequences && w->step >= 0 && step_of(w, p, p->n_sequences - 1) != step_of(w, f, i) &&
        stream_writer_flush(w, e) < 0)
        return -1;
    if (frame_append(p, f, i, e) < 0)
        return -1;
    return frame_is_full(p) ? stream_writer_flush(w, e) : 0;
}

// Is this frame, the text apart, one that the rule would cut before its last sequence?
static int is_overlong(const struct stream_writer *w, const struct frame *f)
{
    size_t n = f->n_sequences;
    if (n > FRAME_SEQUENCES || f->start[n - 1] >= FRAME_TOKENS)
        return 1;
    size_t text = 0;
    for (size_t i = 0; i < w->header->n_columns; i++)
        if (w->header->column[i].type == COLUMN_STRING)
            text += f->column[i].string[n - 1];
    if (text >= FRAME_TEXT)
        return 1;
    for (size_t i = 1; w->step >= 0 && i < n; i++)
        if (step_of(w, f, i) != step_of(w, f, 0))
            return 1;
    return 0;
}

int stream_writer_frame(struct stream_writer *w, const struct frame *f, struct err *e)
{
    if (f->n_sequences == 0)
        return 0;
    int cut = is_overlong(w, f);
    // With `step` a frame may be a whole step, which somebody waits for; without, a frame that is
    // not full may be continued by the next one.
    if (!cut && w->pending.n_sequences == 0 && (w->step >= 0 || frame_is_full(f)))
        return write_frame(w, f, e);
    for (size_t i = 0; i < f->n_sequences; i++)
        if (stream_writer_add(w, f, i, e) < 0)
            return -1;
    return w->step >= 0 ? stream_writer_flush(w, e) : 0;
}

// ---- life

static int writer_start(struct stream_writer *w, const char *path, struct err *e)
{
    if (header_check_first(w->header, e) < 0 || frame_init(&w->pending, w->header, e) < 0)
        return -1;
    w->have_pending = 1;
    if (hash_init(&w->heads) < 0 || hash_init(&w->seal) < 0)
        return err_memory(e, 0, "a checksum");
    if (w->header->level) {
        w->zstd = ZSTD_createCCtx();
        if (!w->zstd)
            return err_memory(e, 0, "compression");
        ZSTD_CCtx_setParameter(w->zstd, ZSTD_c_compressionLevel, w->header->level);
        ZSTD_CCtx_setParameter(w->zstd, ZSTD_c_checksumFlag, 1);
    }
    if (output_open_binary(&w->out, path, e) < 0)
        return -1;
    struct buffer text;
    buffer_init(&text, HEADER_MAX);
    int result = header_print(w->header, &text, e);
    if (result == 0)
        result = block_begin(w, text.size, e);
    if (result == 0) {
        memcpy(block_take(w, text.size), text.data, text.size);
        result = block_write(w, TAG_HEADER, e);
    }
    buffer_release(&text);
    return result;
}

struct stream_writer *stream_writer_open(const char *path, struct stream_header *header,
                                         struct err *e)
{
    struct stream_writer *w = mem_alloc(1, sizeof *w, "a stream writer", e);
    if (!w)
        return NULL;
    w->header = header;
    w->step = header_step(header);
    w->out.fd = -1;
    if (writer_start(w, path, e) == 0)
        return w;
    stream_writer_abort(w);
    return NULL;
}

static void release_work(struct stream_writer *w)
{
    if (w->have_pending)
        frame_release(&w->pending);
    w->have_pending = 0;
    ZSTD_freeCCtx(w->zstd);
    w->zstd = NULL;
    if (w->heads.state)
        hash_release(&w->heads);
    if (w->seal.state)
        hash_release(&w->seal);
    free(w->block);
    free(w->packed);
    w->block = w->packed = NULL;
}

int stream_writer_finish(struct stream_writer *w, struct err *e)
{
    if (w->finished)
        return 0;
    w->finished = 1;
    int result = stream_writer_flush(w, e);
    if (result == 0)
        result = write_end(w, e);
    if (result == 0)
        result = output_sync(&w->out, e);
    release_work(w);
    return result;
}

int stream_writer_end(struct stream_writer *w, struct err *e)
{
    int result = stream_writer_finish(w, e);
    if (result == 0)
        result = output_commit(&w->out, e);
    stream_writer_abort(w);
    return result;
}

void stream_writer_abort(struct stream_writer *w)
{
    if (!w)
        return;
    output_abort(&w->out);
    release_work(w);
    free(w);
}
