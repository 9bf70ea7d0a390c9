// SPDX-License-Identifier: MIT
#include "test.h"

#include "base/hash.h"
#include "base/io.h"
#include "base/rng.h"
#include "stream/reader.h"
#include "stream/writer.h"
#include "toks/copy.h"
#include "toks/show.h"
#include "toks/stat.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>

// A file in memory with a path.
struct memory_file {
    int fd;
    char path[64];
};

static struct memory_file memory_file(const void *data, size_t size)
{
    struct memory_file f = {.fd = memfd_create("stream", 0)};
    snprintf(f.path, sizeof f.path, "/proc/self/fd/%d", f.fd);
    if (size && write(f.fd, data, size) != (ssize_t)size)
        abort();
    return f;
}

// A new name for an output.
static const char *scratch(const char *name)
{
    static char path[2][256];
    static int turn;
    turn = !turn;
    snprintf(path[turn], sizeof path[turn], "/tmp/test_stream.%ld.%s", (long)getpid(), name);
    return path[turn];
}

static void slurp(const char *path, struct buffer *out)
{
    struct err e;
    buffer_init(out, 0);
    CHECK(io_read_file(path, out, &e) == 0);
}

// Reads all; 0 or the error's status.
static int read_all(const char *path, struct err *e)
{
    uint64_t n, m;
    e->text[0] = 0;
    return filter_check(path, &n, &m, e) == 0 ? 0 : (int)e->status;
}

static int read_bytes(const void *data, size_t size, struct err *e)
{
    struct memory_file f = memory_file(data, size);
    int status = read_all(f.path, e);
    close(f.fd);
    return status;
}

// ---- random streams

static float random_value(struct rng *r)
{
    uint32_t bits = rng_u32(r);
    float x;
    memcpy(&x, &bits, sizeof x);
    switch (rng_below(r, 8)) {
    case 0:
        return NAN;
    case 1:
        return (float)INFINITY;
    case 2:
        return -0.0f;
    case 3:
        return (float)rng_below(r, 1000);
    default:
        return rng_below(r, 2) ? x : (float)rng_normal(r);
    }
}

static size_t random_text(struct rng *r, char *to)
{
    static const char *const pieces[] = {
        "a", "\xc3\xa9", "\xe2\x82\xac", "\xf0\x9f\x99\x82", "\"", "\\", "\n", "\x01", "\x7f",
        "/", "zz"};
    size_t size = 0, n = (size_t)rng_below(r, 12);
    for (size_t i = 0; i < n; i++) {
        size_t k = (size_t)rng_below(r, 12);
        if (k == 11) {
            to[size++] = 0;
            continue;
        }
        memcpy(to + size, pieces[k], strlen(pieces[k]));
        size += strlen(pieces[k]);
    }
    return size;
}

static void random_header(struct rng *r, struct stream_header *h, int with_step)
{
    struct err e;
    CHECK(header_init(h, &e) == 0);
    h->vocab_size = 70000;
    h->level = (int)rng_below(r, 4);
    static const enum column_type types[] = {COLUMN_U8, COLUMN_F32, COLUMN_F32, COLUMN_U32,
                                             COLUMN_STRING};
    for (int i = 0; i < 6; i++) {
        char name[32];
        enum column_type type = types[rng_below(r, 5)];
        enum column_per per = type == COLUMN_STRING || rng_below(r, 2) ? PER_SEQUENCE : PER_TOKEN;
        snprintf(name, sizeof name, "c\xc3\xa9\"%d", i);
        CHECK(header_add_column(h, name, type, per, &e) == i + 2);
    }
    if (with_step)
        CHECK(header_add_column(h, "step", COLUMN_U32, PER_SEQUENCE, &e) == 8);
}

static void random_sequence(struct rng *r, struct frame *f, size_t number, size_t n)
{
    struct err e;
    char text[64];
    int64_t at = frame_add(f, n, &e);
    CHECK(at >= 0);
    for (size_t c = 0; c < f->n_columns; c++) {
        const struct column *what = &f->header->column[c];
        struct column_data *d = &f->column[c];
        size_t begin = what->per == PER_TOKEN ? f->start[at] : (size_t)at;
        size_t end = what->per == PER_TOKEN ? f->start[at + 1] : (size_t)at + 1;
        for (size_t i = begin; i < end; i++) {
            if (what->type == COLUMN_U8)
                d->u8[i] = (uint8_t)rng_u32(r);
            else if (what->type == COLUMN_F32)
                d->f32[i] = random_value(r);
            else if (what->type == COLUMN_U32)
                d->u32[i] = c == COLUMN_TOKEN ? rng_u32(r) % 70000 : rng_u32(r);
            else if (c == COLUMN_ID)
                CHECK(frame_set_string(f, 0, text, (size_t)snprintf(text, 32, "r%zu", number),
                                       &e) == 0);
            else
                CHECK(frame_set_string(f, (int)c, text, random_text(r, text), &e) == 0);
        }
    }
    if (f->n_columns == 9)
        f->column[8].u32[at] = (uint32_t)number / 7;
}

static void write_random(uint64_t seed, const char *path, size_t n, size_t longest, int with_step,
                         int level)
{
    struct rng r;
    struct err e;
    struct stream_header h;
    struct frame f;
    rng_init(&r, seed, RNG_TEST, 1, 1);
    random_header(&r, &h, with_step);
    if (level >= 0)
        h.level = level;
    CHECK(frame_init(&f, &h, &e) == 0);
    unlink(path); // an input before
    struct stream_writer *w = stream_writer_open(path, &h, &e);
    CHECK(w != NULL);
    for (size_t i = 0; i < n; i++) {
        frame_clear(&f);
        random_sequence(&r, &f, i, (size_t)rng_below(&r, longest));
        CHECK(stream_writer_add(w, &f, 0, &e) == 0);
    }
    CHECK(stream_writer_end(w, &e) == 0);
    frame_release(&f);
    header_release(&h);
}

static int same(const char *a, const char *b)
{
    struct buffer x, y;
    slurp(a, &x);
    slurp(b, &y);
    int equal = x.size == y.size && memcmp(x.data, y.data, x.size) == 0;
    buffer_release(&x);
    buffer_release(&y);
    return equal;
}

static void streams_survive_all_forms(void)
{
    char stream[256], twin[256], back[256];
    struct err e;
    snprintf(stream, sizeof stream, "%s", scratch("a"));
    snprintf(twin, sizeof twin, "%s", scratch("b"));
    snprintf(back, sizeof back, "%s", scratch("c"));
    for (uint64_t seed = 0; seed < 40; seed++) {
        write_random(seed, stream, seed % 5 ? 50 : 0, seed % 2 ? 40 : 400, seed % 3 == 0, -1);
        unlink(twin);
        CHECK(copy_to_jsonl(stream, twin, 0, &e) == 0);
        unlink(back);
        CHECK(copy_to_binary(twin, back, -1, &e) == 0);
        CHECK(same(stream, back));
        unlink(back);
        CHECK(copy_to_jsonl(twin, back, 0, &e) == 0);
        CHECK(same(twin, back));
        unlink(back);
        CHECK(copy_to_binary(stream, back, -1, &e) == 0);
        CHECK(same(stream, back));
    }
    unlink(stream);
    unlink(twin);
    unlink(back);
}

// More than one canonical frame of each kind: by tokens, by sequences, by text.
static void long_streams_are_cut_by_the_rule(void)
{
    char stream[256], twin[256], back[256];
    struct err e;
    snprintf(stream, sizeof stream, "%s", scratch("a"));
    snprintf(twin, sizeof twin, "%s", scratch("b"));
    snprintf(back, sizeof back, "%s", scratch("c"));
    struct stream_header h;
    struct frame f;
    static const size_t kinds[][3] = {{700, 1000, 0}, {150000, 1, 0}, {40, 1, 1 << 20}};
    static const int frames[] = {3, 3, 3};
    char *text = malloc(1 << 20);
    memset(text, 'x', 1 << 20);
    for (int kind = 0; kind < 3; kind++) {
        CHECK(header_init(&h, &e) == 0 && frame_init(&f, &h, &e) == 0);
        CHECK(header_add_column(&h, "note", COLUMN_STRING, PER_SEQUENCE, &e) == 2);
        CHECK(frame_extend(&f, &e) == 0);
        unlink(stream); // an input before
        struct stream_writer *w = stream_writer_open(stream, &h, &e);
        for (size_t i = 0; i < kinds[kind][0]; i++) {
            frame_clear(&f);
            CHECK(frame_add(&f, kinds[kind][1], &e) == 0);
            CHECK(frame_set_string(&f, 0, "id", 2, &e) == 0);
            CHECK(frame_set_string(&f, 2, text, kinds[kind][2], &e) == 0);
            CHECK(stream_writer_add(w, &f, 0, &e) == 0);
        }
        CHECK(stream_writer_end(w, &e) == 0);
        struct stream_reader *r = stream_reader_open(stream, &e);
        int n = 0;
        while (stream_reader_next(r, &f, &e) > 0)
            n++;
        CHECK(n == frames[kind]);
        stream_reader_close(r);
        frame_release(&f);
        header_release(&h);
        unlink(twin);
        CHECK(copy_to_jsonl(stream, twin, 0, &e) == 0 && (unlink(back), 1) &&
              copy_to_binary(twin, back, -1, &e) == 0);
        CHECK(same(stream, back));
        // Passing through what cat(1) put together makes it canonical again.
        struct buffer bytes;
        slurp(stream, &bytes);
        CHECK(io_read_file(stream, &bytes, &e) == 0);
        struct memory_file both = memory_file(bytes.data, bytes.size);
        unlink(stream);
        CHECK(copy_to_binary(both.path, stream, -1, &e) == 0);
        unlink(twin);
        CHECK(copy_to_jsonl(stream, twin, 0, &e) == 0 && (unlink(back), 1) &&
              copy_to_binary(twin, back, -1, &e) == 0);
        CHECK(same(stream, back));
        close(both.fd);
        buffer_release(&bytes);
    }
    free(text);
    unlink(stream);
    unlink(twin);
    unlink(back);
}

static void a_frame_ends_with_the_step(void)
{
    struct err e;
    const char *path = scratch("steps");
    write_random(3, path, 50, 5, 1, 1);
    struct stream_reader *r = stream_reader_open(path, &e);
    struct stream_header h;
    struct frame f;
    CHECK(header_copy(&h, stream_reader_header(r), &e) == 0 && frame_init(&f, &h, &e) == 0);
    int n = 0;
    while (stream_reader_next(r, &f, &e) > 0) {
        CHECK(f.n_sequences == (n < 7 ? 7 : 1));
        for (size_t i = 0; i < f.n_sequences; i++)
            CHECK(f.column[8].u32[i] == (uint32_t)n);
        n++;
    }
    CHECK(n == 8);
    stream_reader_close(r);
    frame_release(&f);
    header_release(&h);
    unlink(path);
}

// Eight frames, of which one to three are held at a time.
static void a_filter_holds_frames_until_it_writes_them(void)
{
    static const size_t written[] = {0, 0, 1, 2, 0, 3, 0, 1}; // after each frame
    struct err e;
    struct stream_filter p;
    struct frame *f;
    uint32_t first = 0, next = 0; // steps of the frames held
    const char *path = scratch("steps"), *copy = scratch("copy");
    write_random(3, path, 50, 5, 1, 1);
    CHECK(filter_open(&p, path, &e) == 0 && filter_start(&p, copy, &e) == 0);
    while (filter_hold_next(&p, &f, &e) > 0) {
        CHECK(p.held[p.n_held - 1] == f);
        CHECK(filter_write_held(&p, written[next], &e) == 0);
        first += (uint32_t)written[next++];
        CHECK(p.n_held == next - first);
        for (size_t i = 0; i < p.n_held; i++)
            CHECK(p.held[i]->column[8].u32[0] == first + i);
    }
    CHECK(next == 8 && p.n_made == 3);
    CHECK(filter_write_held(&p, p.n_held, &e) == 0 && filter_end(&p, &e) == 0);
    filter_release(&p);
    CHECK(same(path, copy));
    unlink(path);
    unlink(copy);
}

// ---- damage

static void each_cut_and_each_flip_is_seen(void)
{
    for (int level = 0; level < 3; level++) {
        struct buffer bytes;
        struct err e;
        const char *path = scratch("damage");
        write_random(5, path, 12, 9, 1, level);
        slurp(path, &bytes);
        unlink(path);
        CHECK(read_bytes(bytes.data, bytes.size, &e) == 0);
        for (size_t i = 0; i < bytes.size; i++) {
            int status = read_bytes(bytes.data, i, &e);
            CHECK(status == STATUS_STREAM);
            CHECK(i < 8 || strstr(e.text, "ended without END") != NULL);
            CHECK(!strchr(e.text, '\n'));
        }
        for (size_t i = 0; i < bytes.size; i++) {
            for (int bit = 0; bit < 9; bit++) {
                char old = bytes.data[i];
                bytes.data[i] = (char)(old ^ (bit == 8 ? 0xff : 1 << bit));
                int status = read_bytes(bytes.data, bytes.size, &e);
                CHECK(status == STATUS_STREAM);
                if (status != STATUS_STREAM)
                    printf("# level %d byte %zu bit %d: status %d %s\n", level, i, bit, status,
                           e.text);
                bytes.data[i] = old;
            }
        }
        for (const char *tail = "x\n{T"; *tail; tail++) {
            CHECK(buffer_append(&bytes, tail, 1, &e) == 0);
            CHECK(read_bytes(bytes.data, bytes.size, &e) == STATUS_STREAM);
            bytes.size--;
        }
        buffer_release(&bytes);
    }
}

// Any bytes behind a good start: an error or a stream, but no crash.
static void random_damage_does_not_crash(void)
{
    struct buffer bytes;
    struct err e;
    struct rng r;
    rng_init(&r, 1, RNG_TEST, 0, 0);
    for (int form = 0; form < 3; form++) {
        const char *path = scratch("fuzz");
        write_random(6, path, 20, 9, 0, form == 0);
        if (form == 2) {
            struct memory_file copy;
            struct buffer binary;
            slurp(path, &binary);
            copy = memory_file(binary.data, binary.size);
            unlink(path);
            CHECK(copy_to_jsonl(copy.path, path, 0, &e) == 0);
            close(copy.fd);
            buffer_release(&binary);
        }
        slurp(path, &bytes);
        unlink(path);
        for (int round = 0; round < 3000; round++) {
            char *copy = malloc(bytes.size);
            memcpy(copy, bytes.data, bytes.size);
            size_t from = (size_t)rng_below(&r, bytes.size), n = (size_t)rng_below(&r, 6);
            for (size_t i = from; i < bytes.size && i <= from + n; i++)
                copy[i] = form == 2 ? "{}[]\",:0-1e.nu\\"[rng_below(&r, 15)] : (char)rng_u32(&r);
            int status = read_bytes(copy, bytes.size, &e);
            CHECK(status == 0 || status == STATUS_STREAM);
            free(copy);
        }
        buffer_release(&bytes);
    }
}

// ---- forged streams: right checksums, wrong contents

static void put(struct buffer *b, const void *data, size_t size)
{
    struct err e;
    CHECK(buffer_append(b, data, size, &e) == 0);
}

static void put_number(struct buffer *b, uint64_t x, size_t size)
{
    put(b, &x, size);
}

static void put_block(struct buffer *b, const char *tag, const void *payload, size_t size,
                      uint64_t claim)
{
    unsigned char head[32] = {0};
    uint64_t hash = hash_bytes(payload, size);
    memcpy(head, tag, 4);
    head[4] = 1;
    memcpy(head + 8, &claim, 8);
    memcpy(head + 16, &hash, 8);
    hash = hash_bytes(head, 24);
    memcpy(head + 24, &hash, 8);
    put(b, head, sizeof head);
    put(b, payload, size);
}

#define PLAIN_HEADER                                                                               \
    "{\"densepath\":1,\"columns\":[{\"name\":\"id\",\"type\":\"string\",\"per\":\"sequence\"},"    \
    "{\"name\":\"token\",\"type\":\"u32\",\"per\":\"token\"}],\"vocab_size\":10}"

static void put_header(struct buffer *b, const char *json)
{
    put_block(b, "TKSH", json, strlen(json), strlen(json));
}

struct forged {
    uint64_t sequences, columns, tokens, length, id_length, token, extra;
};

static int read_forged(const struct forged *g, uint64_t end_records, struct err *e)
{
    struct buffer b, p;
    buffer_init(&b, 0);
    buffer_init(&p, 0);
    put_header(&b, PLAIN_HEADER);
    size_t frame_at = b.size;
    put_number(&p, g->sequences, 4);
    put_number(&p, g->columns, 4);
    put_number(&p, g->tokens, 8);
    put_number(&p, g->length, 4);
    put_number(&p, g->id_length, 4);
    put(&p, "x", 1);
    put_number(&p, g->token, 4);
    put(&p, "garbage", g->extra);
    put_block(&b, "TKSF", p.data, p.size, p.size);
    struct hash h;
    CHECK(hash_init(&h) == 0);
    hash_add(&h, b.data, 32);
    hash_add(&h, b.data + frame_at, 32);
    uint64_t end[4] = {1, end_records, 1, hash_value(&h)};
    put_block(&b, "TKSE", end, sizeof end, sizeof end);
    int status = read_bytes(b.data, b.size, e);
    hash_release(&h);
    buffer_release(&b);
    buffer_release(&p);
    return status;
}

static void forged_frames_are_refused(void)
{
    struct err e;
    const struct forged good = {1, 2, 1, 1, 1, 9, 0};
    CHECK(read_forged(&good, 1, &e) == 0);
    CHECK(read_forged(&good, 2, &e) == STATUS_STREAM && strstr(e.text, "END counts"));
    struct forged f = good;
    f.sequences = 0xffffffff;
    CHECK(read_forged(&f, 1, &e) == STATUS_STREAM && strstr(e.text, "claims more"));
    f.sequences = 0;
    CHECK(read_forged(&f, 1, &e) == STATUS_STREAM);
    f = good, f.columns = 3;
    CHECK(read_forged(&f, 1, &e) == STATUS_STREAM && strstr(e.text, "other columns"));
    f = good, f.tokens = 0x8000000000000001u;
    CHECK(read_forged(&f, 1, &e) == STATUS_STREAM && strstr(e.text, "add up"));
    f = good, f.length = 0xffffffff, f.tokens = 0xffffffff;
    CHECK(read_forged(&f, 1, &e) == STATUS_STREAM && strstr(e.text, "claims more"));
    f = good, f.id_length = 0xffffffff;
    CHECK(read_forged(&f, 1, &e) == STATUS_STREAM && strstr(e.text, "claims more"));
    f = good, f.id_length = 0;
    CHECK(read_forged(&f, 1, &e) == STATUS_STREAM);
    f = good, f.token = 10;
    CHECK(read_forged(&f, 1, &e) == STATUS_STREAM && strstr(e.text, "beyond the vocabulary"));
    CHECK(strstr(e.text, "record 1") != NULL);
    f = good, f.extra = 3;
    CHECK(read_forged(&f, 1, &e) == STATUS_STREAM && strstr(e.text, "more than its columns"));
}

static int read_header(const char *json, struct err *e)
{
    struct buffer b;
    buffer_init(&b, 0);
    put_header(&b, json);
    uint64_t end[4] = {0, 0, 0, hash_bytes(b.data, 32)};
    put_block(&b, "TKSE", end, sizeof end, sizeof end);
    int status = read_bytes(b.data, b.size, e);
    buffer_release(&b);
    return status;
}

#define COLUMNS(more)                                                                              \
    "{\"densepath\":1,\"columns\":[{\"name\":\"id\",\"type\":\"string\",\"per\":\"sequence\"},"    \
    "{\"name\":\"token\",\"type\":\"u32\",\"per\":\"token\"}" more "]}"

static void forged_headers_are_refused(void)
{
    struct err e;
    CHECK(read_header(COLUMNS(""), &e) == 0);
    CHECK(read_header("{}", &e) == STATUS_STREAM);
    CHECK(read_header("{\"densepath\":1}", &e) == STATUS_STREAM);
    CHECK(read_header("{\"densepath\":2,\"columns\":[]}", &e) == STATUS_STREAM);
    CHECK(strstr(e.text, "version 2") != NULL);
    CHECK(read_header("{\"densepath\":1,\"columns\":[]}", &e) == STATUS_STREAM);
    CHECK(read_header("[", &e) == STATUS_STREAM);
    static const char *const wrong[] = {
        COLUMNS(",{\"name\":\"id\",\"type\":\"u8\",\"per\":\"token\"}"),
        COLUMNS(",{\"name\":\"x\",\"type\":\"string\",\"per\":\"token\"}"),
        COLUMNS(",{\"name\":\"x\",\"type\":\"f16\",\"per\":\"token\"}"),
        COLUMNS(",{\"name\":\"\",\"type\":\"f32\",\"per\":\"token\"}"),
        COLUMNS(",{\"name\":\"a\\u0000\",\"type\":\"f32\",\"per\":\"token\"}"),
        COLUMNS(",{\"name\":\"a\\n\",\"type\":\"f32\",\"per\":\"token\"}"),
        COLUMNS(",{\"name\":\"x\",\"type\":\"f32\",\"per\":\"token\",\"y\":1}"),
        COLUMNS(",7"),
        COLUMNS("],\"level\":[1"),
        COLUMNS("],\"level\":99,\"x\":[1"),
        COLUMNS("],\"vocab_size\":-7,\"x\":[1"),
        COLUMNS("],\"provenance\":[1"),
        COLUMNS("],\"densepath\":[1"),
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        int status = read_header(wrong[i], &e);
        CHECK(status == STATUS_STREAM);
        if (status != STATUS_STREAM)
            printf("# %s: %d\n", wrong[i], status);
    }
    CHECK(read_header(COLUMNS("],\"sampling\":null,\"new\":{\"a\":1.5},\"x\":[1"), &e) == 0);
}

// 2 GiB claimed in 1 KiB: refused without the memory being taken.
static void claims_do_not_cost_memory(void)
{
    struct buffer b;
    struct err e;
    char payload[900] = {0};
    buffer_init(&b, 0);
    put_header(&b, PLAIN_HEADER);
    put_block(&b, "TKSF", payload, sizeof payload, (uint64_t)1 << 31);
    pid_t child = fork();
    if (child == 0) {
#ifndef __SANITIZE_ADDRESS__ // which takes address space of its own
        struct rlimit limit = {64 << 20, 64 << 20};
        setrlimit(RLIMIT_DATA, &limit);
#endif
        int status = read_bytes(b.data, b.size, &e);
        _exit(status == STATUS_STREAM && strstr(e.text, "ended without END") ? 0 : 1);
    }
    int status;
    CHECK(waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0);
    b.size = 0;
    put_header(&b, PLAIN_HEADER);
    put_block(&b, "TKSF", payload, sizeof payload, ((uint64_t)1 << 31) + 1);
    CHECK(read_bytes(b.data, b.size, &e) == STATUS_STREAM && strstr(e.text, "claims"));
    b.size = 0;
    put_block(&b, "TKSH", payload, sizeof payload, (uint64_t)1 << 62);
    CHECK(read_bytes(b.data, b.size, &e) == STATUS_STREAM && strstr(e.text, "claims"));
    buffer_release(&b);
}

// ---- the twin by hand

static int twin_of(const char *text, struct buffer *out, struct err *e)
{
    struct memory_file f = memory_file(text, strlen(text));
    const char *path = scratch("twin");
    buffer_init(out, 0);
    int result = copy_to_jsonl(f.path, path, 0, e);
    if (result == 0)
        result = io_read_file(path, out, e);
    unlink(path);
    close(f.fd);
    return result;
}

static void check_twin(const char *text, const char *records)
{
    struct buffer out;
    struct err e;
    int result = twin_of(text, &out, &e);
    CHECK(result == 0);
    if (result == 0)
        CHECK_TEXT(strchr(out.data, '\n') + 1, records);
    else
        printf("# %s: %s\n", text, e.text);
    buffer_release(&out);
}

static void check_twin_fails(const char *text, const char *reason)
{
    struct buffer out;
    struct err e = {0};
    CHECK(twin_of(text, &out, &e) < 0 && e.status == STATUS_STREAM);
    CHECK(strstr(e.text, reason) != NULL);
    if (!strstr(e.text, reason))
        printf("# %s: %s\n", text, e.text);
    buffer_release(&out);
}

#define HAND "{\"densepath\":1,\"columns\":[{\"name\":\"x\",\"type\":\"f32\",\"per\":\"token\"}]}\n"

static void twins_by_hand(void)
{
    check_twin("{\"token\":[1],\"id\":\"a\"}\n", "{\"id\":\"a\",\"token\":[1]}\n");
    check_twin("{\"densepath\":1}\n{\"token\":[1],\"id\":\"a\"}\n",
               "{\"id\":\"a\",\"token\":[1]}\n");
    check_twin("{\"densepath\":1}\n", "");
    check_twin(
        " {\"id\" : \"\\u00e9\\/\\ud83d\\ude42\" , \"token\" : [ 1 , 2 ], \"x\": [0.10, 1E2]} \r\n",
        "{\"id\":\"\xc3\xa9/\xf0\x9f\x99\x82\",\"token\":[1,2],\"x\":[0.1,100]}\n");
    check_twin(HAND "{\"id\":\"a\",\"token\":[1]}\n",
               "{\"id\":\"a\",\"token\":[1],\"x\":[null]}\n");
    check_twin(HAND "{\"id\":\"a\",\"token\":[1]}\n" HAND "{\"id\":\"b\",\"token\":[]}\n",
               "{\"id\":\"a\",\"token\":[1],\"x\":[null]}\n{\"id\":\"b\",\"token\":[],\"x\":[]}\n");
    check_twin_fails("", "empty input");
    check_twin_fails(HAND "{\"id\":\"a\",\"token\":[1]}", "line break");
    check_twin_fails(HAND "\n", "record 1: not a JSON object");
    check_twin_fails(HAND "{\"token\":[1]}\n", "record 1: no `id`");
    check_twin_fails(HAND "{\"id\":\"\",\"token\":[1]}\n", "`id` is empty");
    check_twin_fails(HAND "{\"id\":\"a\"}\n", "no `token`");
    check_twin_fails(HAND "{\"id\":\"a\",\"token\":[1],\"x\":[]}\n", "0 values for 1 tokens");
    check_twin_fails(HAND "{\"id\":\"a\",\"token\":[1],\"y\":[]}\n", "no column `y`");
    check_twin_fails(HAND "{\"id\":\"a\",\"token\":[1],\"id\":\"b\"}\n", "twice");
    check_twin_fails(HAND "{\"id\":\"a\",\"token\":[1.0]}\n", "not a whole number");
    check_twin_fails(HAND "{\"id\":\"a\",\"token\":[4294967296]}\n", "not a whole number");
    check_twin_fails(HAND "{\"id\":\"a\",\"token\":[-1]}\n", "not a whole number");
    check_twin_fails(HAND "{\"id\":\"a\",\"token\":[01]}\n", "leading zero");
    check_twin_fails(HAND "{\"id\":\"a\",\"token\":[1,]}\n", "number was expected");
    check_twin_fails(HAND "{\"id\":\"a\",\"token\":[1]}}\n", "more than one");
    check_twin_fails(HAND "{\"id\":\"a\\q\",\"token\":[1]}\n", "escape");
    check_twin_fails(HAND "{\"id\":\"\\ud800\",\"token\":[1]}\n", "surrogate");
    check_twin_fails(HAND "{\"id\":\"\xff\",\"token\":[1]}\n", "UTF-8");
    check_twin_fails(HAND "{\"id\":\"a\",\"token\":[1],\"x\":[nan]}\n", "number was expected");
    check_twin_fails(HAND "{\"id\":\"a\",\"token\":[1],\"x\":[1.]}\n", "broken number");
    check_twin_fails("{\"densepath\":1,\"columns\":3}\n", "not an array");
    check_twin_fails("{\"densepath\":1,\n", "header");
}

// The scanner's fast way against strtof.
static void decimals_are_read_as_strtof_reads_them(void)
{
    struct rng r;
    rng_init(&r, 4, RNG_TEST, 0, 0);
    struct buffer text;
    struct err e;
    buffer_init(&text, 0);
    enum { N = 200000 };
    static char number[N][40];
    static const char tie[] = "16777217"; // half way between two floats
    CHECK(buffer_printf(&text, &e, HAND "{\"id\":\"a\",\"x\":[") == 0);
    for (int i = 0; i < N; i++) {
        unsigned digits = 1 + (unsigned)rng_below(&r, 20);
        double x = rng_normal(&r) * pow(10, (double)rng_below(&r, 80) - 44);
        if (i == 0)
            strcpy(number[i], tie);
        else if (i % 3)
            snprintf(number[i], sizeof number[i], "%.*g", (int)digits, x);
        else // next to the middle between two floats
            snprintf(number[i], sizeof number[i], "%.*g", (int)digits,
                     nextafterf((float)x, 0) / 2.0 + (float)x / 2.0);
        CHECK(buffer_printf(&text, &e, "%s%s", i ? "," : "", number[i]) == 0);
    }
    CHECK(buffer_string(&text, "],\"token\":[", &e) == 0);
    for (int i = 0; i < N; i++)
        CHECK(buffer_string(&text, i ? ",1" : "1", &e) == 0);
    CHECK(buffer_string(&text, "]}\n", &e) == 0);
    struct memory_file f = memory_file(text.data, text.size);
    struct stream_reader *reader = stream_reader_open(f.path, &e);
    struct stream_header h;
    struct frame frame;
    CHECK(reader && header_copy(&h, stream_reader_header(reader), &e) == 0);
    CHECK(frame_init(&frame, &h, &e) == 0 && stream_reader_next(reader, &frame, &e) == 1);
    for (int i = 0; i < N && i < (int)frame.n_tokens; i++) {
        float want = strtof(number[i], NULL);
        CHECK(memcmp(&want, &frame.column[2].f32[i], 4) == 0);
    }
    CHECK(frame.n_tokens == N);
    stream_reader_close(reader);
    frame_release(&frame);
    header_release(&h);
    close(f.fd);
    buffer_release(&text);
}

// ---- the rest

static void nan_has_one_pattern(void)
{
    struct err e;
    struct buffer bytes[2];
    static const uint32_t patterns[] = {0x7fc00000u, 0xffc12345u};
    for (int i = 0; i < 2; i++) {
        struct stream_header h;
        struct frame f;
        const char *path = scratch("nan");
        CHECK(header_init(&h, &e) == 0);
        CHECK(header_add_column(&h, "x", COLUMN_F32, PER_TOKEN, &e) == 2);
        CHECK(frame_init(&f, &h, &e) == 0 && frame_add(&f, 1, &e) == 0);
        CHECK(frame_set_string(&f, 0, "a", 1, &e) == 0);
        memcpy(f.column[2].f32, &patterns[i], 4);
        unlink(path); // an input before
        struct stream_writer *w = stream_writer_open(path, &h, &e);
        CHECK(stream_writer_frame(w, &f, &e) == 0 && stream_writer_end(w, &e) == 0);
        slurp(path, &bytes[i]);
        unlink(path);
        frame_release(&f);
        header_release(&h);
    }
    CHECK(bytes[0].size == bytes[1].size && !memcmp(bytes[0].data, bytes[1].data, bytes[0].size));
    buffer_release(&bytes[0]);
    buffer_release(&bytes[1]);
}

static void frames_take_and_give(void)
{
    struct err e;
    struct stream_header h;
    struct frame f, g;
    size_t size;
    CHECK(header_init(&h, &e) == 0 && frame_init(&f, &h, &e) == 0 && frame_init(&g, &h, &e) == 0);
    CHECK(frame_add(&f, 2, &e) == 0 && frame_set_string(&f, 0, "one", 3, &e) == 0);
    f.column[COLUMN_TOKEN].u32[1] = 7;
    CHECK(frame_add(&f, 0, &e) == 1 && frame_set_string(&f, 0, "two", 3, &e) == 0);
    CHECK(frame_set_string(&f, 0, "\xff", 1, &e) < 0);
    CHECK(header_add_column(&h, "score", COLUMN_F32, PER_SEQUENCE, &e) == 2);
    CHECK(header_add_column(&h, "note", COLUMN_STRING, PER_SEQUENCE, &e) == 3);
    CHECK(frame_extend(&f, &e) == 0 && isnan(f.column[2].f32[1]));
    CHECK(frame_string(&f, 3, 1, &size) && size == 0);
    CHECK(frame_set_string(&f, 3, "n", 1, &e) == 0);
    CHECK(frame_append(&g, &f, 1, &e) == 0 && frame_append(&g, &f, 0, &e) == 0);
    CHECK(g.n_sequences == 2 && g.n_tokens == 2 && g.column[COLUMN_TOKEN].u32[1] == 7);
    CHECK(!memcmp(frame_string(&g, 0, 1, &size), "one", 3) && size == 3);
    CHECK(!strcmp(frame_record(&g, 0).text, "record `two`") &&
          !strcmp(frame_shown(&g, COLUMN_ID, 1).text, "one"));
    CHECK(frame_extend(&g, &e) == 0 && isnan(g.column[2].f32[0]));
    frame_release(&f);
    frame_release(&g);
    header_release(&h);
}

static void provenance_leaves_out_what_changes_nothing(void)
{
    struct err e;
    struct stream_header h;
    struct buffer text;
    char *argv[] = {"prog",
                    "-o",
                    "x",
                    "-oy",
                    "--output=z",
                    "--output",
                    "u",
                    "--threads",
                    "3",
                    "--thr=2",
                    "-q",
                    "-qv",
                    "--quiet",
                    "-n",
                    "4",
                    "--metrics",
                    "m",
                    "--config",
                    "c",
                    "--resume",
                    "--save-st=3",
                    "--overwrite",
                    "-m",
                    "/tmp/made.up/base/",
                    "--kl=/a//b:1,/c,d/e",
                    "/",
                    "in.toks",
                    "--",
                    "-q",
                    "\xff"};
    CHECK(header_init(&h, &e) == 0);
    CHECK(header_add_provenance(&h, "prog", sizeof argv / sizeof *argv, argv, 7, NULL, &e) == 0);
    CHECK(header_set_kernels(&h, "fma", &e) == 0);
    buffer_init(&text, 0);
    CHECK(header_print(&h, &text, &e) == 0);
    CHECK(strstr(text.data, "\"args\":[\"-n\",\"4\",\"--config\",\"c\","
                            "\"-m\",\"base/\",\"--kl=b:1,c,d/e\",\"/\",\"in.toks\",\"--\",\"-q\","
                            "\"?\"],\"seed\":7,\"kernels\":\"fma\"}") != NULL);
    buffer_release(&text);
    header_release(&h);
}

// A frame is there as soon as its bytes are, while the writer still lives.
static void a_frame_arrives_before_the_next_exists(void)
{
    int pipes[2];
    char in[64], out[64];
    struct err e;
    struct stream_header h;
    struct frame f, g;
    for (int level = 0; level < 2; level++) {
        CHECK(pipe(pipes) == 0);
        snprintf(in, sizeof in, "/proc/self/fd/%d", pipes[0]);
        snprintf(out, sizeof out, "/proc/self/fd/%d", pipes[1]);
        CHECK(header_init(&h, &e) == 0);
        CHECK(header_add_column(&h, "step", COLUMN_U32, PER_SEQUENCE, &e) == 2);
        h.level = level;
        CHECK(frame_init(&f, &h, &e) == 0 && frame_init(&g, &h, &e) == 0);
        unlink(out); // an input before
        struct stream_writer *w = stream_writer_open(out, &h, &e);
        close(pipes[1]);
        struct stream_reader *r = stream_reader_open(in, &e);
        close(pipes[0]);
        CHECK(w && r);
        alarm(20);
        for (uint32_t i = 0; i < 3; i++) {
            frame_clear(&f);
            CHECK(frame_add(&f, 3, &e) == 0 && frame_set_string(&f, 0, "a", 1, &e) == 0);
            f.column[2].u32[0] = i;
            CHECK(stream_writer_frame(w, &f, &e) == 0);
            CHECK(stream_reader_next(r, &g, &e) == 1 && g.column[2].u32[0] == i);
        }
        CHECK(stream_writer_end(w, &e) == 0 && stream_reader_next(r, &g, &e) == 0);
        alarm(0);
        stream_reader_close(r);
        frame_release(&f);
        frame_release(&g);
        header_release(&h);
    }
}

// ---- show

// Token t is the bytes of `pieces[t]`.
static int test_piece(void *arg, uint32_t token, int first, struct buffer *out, struct err *e)
{
    static const char *const pieces[] = {"one",  " <two>\n", "\xe2", "\x82",
                                         "\xac", "\033[2J",  "\xff"};
    return buffer_string(out, pieces[token], e);
}

static void check_shown(enum show_form form, const char *want)
{
    struct err e;
    struct stream_header h;
    struct frame f;
    struct output out;
    struct buffer text;
    static const float value[] = {NAN, -2, 1, 1, 1, 4, 0};
    CHECK(header_init(&h, &e) == 0);
    CHECK(header_add_column(&h, "mask", COLUMN_U8, PER_TOKEN, &e) == 2);
    CHECK(header_add_column(&h, "r", COLUMN_F32, PER_TOKEN, &e) == 3);
    CHECK(frame_init(&f, &h, &e) == 0 && frame_add(&f, 7, &e) == 0);
    CHECK(frame_set_string(&f, 0, "a&b", 3, &e) == 0);
    for (uint32_t i = 0; i < 7; i++) {
        f.column[COLUMN_TOKEN].u32[i] = i;
        f.column[2].u8[i] = i > 0;
        f.column[3].f32[i] = value[i];
    }
    struct show s = {form, 3, NAN, NAN, "t", test_piece, NULL};
    const char *path = scratch("show");
    CHECK(output_open(&out, path, &e) == 0 && show_print(&s, &f, &out, &e) == 0);
    CHECK(output_commit(&out, &e) == 0);
    slurp(path, &text);
    unlink(path);
    CHECK(strstr(text.data, want) != NULL);
    if (!strstr(text.data, want))
        printf("# %s\n", text.data);
    // Nothing of the text steers a terminal.
    CHECK(!strstr(text.data, "\033[2J"));
    buffer_release(&text);
    frame_release(&f);
    header_release(&h);
}

static void text_is_shown_in_colour(void)
{
    check_shown(SHOW_PLAIN, "a&b  sum:r 5  mean:r 0.833333\none <two>\xe2\x86\xb5\n\xe2\x82\xac"
                            "\xef\xbf\xbd[2J\xef\xbf\xbd\n");
    check_shown(SHOW_COLOR_24,
                "\033[2mone\033[0m\033[38;2;0;0;0;48;2;248;198;153m <two>\xe2\x86\xb5"
                "\033[0m\n\033[38;2;0;0;0;48;2;209;229;250m\xe2\x82\xac\033[0m");
    check_shown(SHOW_COLOR_256, "\033[38;5;16;48;5;75m\xef\xbf\xbd[2J\033[0m");
    check_shown(SHOW_HTML, "<h2>a&amp;b</h2>");
    check_shown(SHOW_HTML,
                "<span style=\"background:#f8c699\" title=\"token 1&#10;mask 1&#10;r -2\"> "
                "&lt;two&gt;\xe2\x86\xb5<br></span>");
    check_shown(SHOW_HTML, "<span class=\"u\" title=\"token 0&#10;mask 0&#10;r null\">one</span>");
}

static int is_rgb(struct rgb c, int r, int g, int b)
{
    return c.r == r && c.g == g && c.b == b;
}

static void colours_follow_the_value(void)
{
    CHECK(is_rgb(show_color(0, -2, 2), 255, 255, 255));
    CHECK(is_rgb(show_color(2, -2, 2), 70, 150, 235) && is_rgb(show_color(9, -2, 2), 70, 150, 235));
    CHECK(is_rgb(show_color(-2, -2, 2), 240, 140, 50));
    CHECK(is_rgb(show_color(1, 1, 3), 255, 255, 255) && is_rgb(show_color(3, 1, 3), 70, 150, 235));
    CHECK(is_rgb(show_color(-1, -3, -1), 255, 255, 255));
    CHECK(is_rgb(show_color(-3, -3, -1), 240, 140, 50));
    CHECK(is_rgb(show_color(5, 5, 5), 255, 255, 255) && is_rgb(show_color(0, 0, 0), 255, 255, 255));
    CHECK(is_rgb(show_color(INFINITY, -2, 2), 70, 150, 235));
}

int main(void)
{
    RUN(colours_follow_the_value);
    RUN(text_is_shown_in_colour);
    RUN(frames_take_and_give);
    RUN(provenance_leaves_out_what_changes_nothing);
    RUN(streams_survive_all_forms);
    RUN(long_streams_are_cut_by_the_rule);
    RUN(a_frame_ends_with_the_step);
    RUN(a_filter_holds_frames_until_it_writes_them);
    RUN(a_frame_arrives_before_the_next_exists);
    RUN(nan_has_one_pattern);
    RUN(twins_by_hand);
    RUN(decimals_are_read_as_strtof_reads_them);
    RUN(forged_frames_are_refused);
    RUN(forged_headers_are_refused);
    RUN(claims_do_not_cost_memory);
    RUN(each_cut_and_each_flip_is_seen);
    RUN(random_damage_does_not_crash);
    return test_end();
}
