// SPDX-License-Identifier: MIT
#include "stream/reader.h"
#include "base/file_kind.h"
#include "base/stage.h"
#include "base/utf8.h"
#include "stream/parts.h"
#include "stream/jsonl.h"
#include "stream/source.h"

#include <endian.h>
#include <stdlib.h>
#include <string.h>

enum { PAYLOAD_STEP = 1 << 20 };

struct block {
    char tag[TAG_SIZE];
    uint64_t size;
};

struct stream_reader {
    struct source source;
    struct stream_header header;
    int have_header;
    int twin;
    int ended;                  // the last stream was whole and nothing came behind it
    uint64_t sequences, tokens; // of all streams
    uint64_t n_frames, n_sequences, n_tokens; // of this one
    struct hash heads;
    unsigned char *payload; // of one block
    size_t payload_capacity;
    // A twin: its lines, read ahead.
    struct buffer text;
    size_t at, next; // the current line is text[at .. next)
    int parsing;
    struct jsonl_parser parser;
};

static const char cut_short[] = "stream ended without END: the program that wrote it died";

// "FILE: record N: reason", N being the first record that could not be had.
static int fail_at(const struct stream_reader *r, uint64_t more, struct err *e)
{
    if (r->have_header)
        return err_prefix(e, "%s: %s", r->source.name,
                          shown_record(NULL, 0, r->sequences + more + 1).text);
    return err_prefix(e, "%s", r->source.name);
}

// Reads `size` bytes; returns what there was before the end of the input.
static int64_t read_full(struct stream_reader *r, void *to, size_t size, struct err *e)
{
    size_t done = 0;
    while (done < size) {
        int64_t n = source_read(&r->source, (char *)to + done, size - done, e);
        if (n < 0)
            return -1;
        if (n == 0)
            break;
        done += (size_t)n;
    }
    return (int64_t)done;
}

static int read_exactly(struct stream_reader *r, void *to, size_t size, struct err *e)
{
    int64_t n = read_full(r, to, size, e);
    if (n < 0)
        return -1;
    return (size_t)n == size ? 0 : err_set(e, STATUS_STREAM, "%s", cut_short);
}

// ---- binary

static uint64_t u64_at(const unsigned char *p)
{
    uint64_t x;
    memcpy(&x, p, sizeof x);
    return le64toh(x);
}

static uint32_t u32_at(const unsigned char *p)
{
    uint32_t x;
    memcpy(&x, p, sizeof x);
    return le32toh(x);
}

// `head` holds its first `have` bytes. Checks everything that a head says before it is believed.
static int read_head(struct stream_reader *r, unsigned char head[BLOCK_HEAD], size_t have,
                     struct block *b, struct err *e)
{
    source_begin_piece(&r->source);
    if (read_exactly(r, head + have, BLOCK_HEAD - have, e) < 0)
        return -1;
    memcpy(b->tag, head, TAG_SIZE);
    b->size = u64_at(head + 8);
    if (memcmp(b->tag, "TKS", 3) != 0)
        return err_set(e, STATUS_STREAM, "corrupt: no block of a token stream begins here");
    if (head[4] != STREAM_VERSION)
        return err_set(e, STATUS_STREAM, "format version %u: this program reads version %d",
                       head[4], STREAM_VERSION);
    if (u64_at(head + 24) != hash_bytes(head, 24))
        return err_set(e, STATUS_STREAM, "corrupt: a block's head does not match its checksum");
    if (head[5] != 0)
        return err_set(e, STATUS_STREAM, "corrupt: a reserved byte is not 0");
    return 0;
}

// Memory follows the bytes that came, not the bytes that were promised.
static int read_payload(struct stream_reader *r, const struct block *b, uint64_t limit,
                        const unsigned char *head, struct err *e)
{
    if (b->size > limit)
        return err_set(e, STATUS_STREAM, "corrupt: a block claims %llu bytes",
                       (unsigned long long)b->size);
    size_t size = (size_t)b->size, done = 0;
    while (done < size) {
        size_t want = r->payload_capacity > done ? r->payload_capacity : done + PAYLOAD_STEP;
        if (want > size)
            want = size;
        if (MEM_GROW(r->payload, r->payload_capacity, want, "a frame", e) < 0 ||
            read_exactly(r, r->payload + done, want - done, e) < 0)
            return -1;
        done = want;
    }
    if (u64_at(head + 16) != hash_bytes(r->payload, size))
        return err_set(e, STATUS_STREAM, "corrupt: a block does not match its checksum");
    return 0;
}

static int begin_stream(struct stream_reader *r, const unsigned char head[BLOCK_HEAD],
                        const struct block *b, struct stream_header *h, struct err *e)
{
    if (memcmp(b->tag, TAG_HEADER, TAG_SIZE) != 0)
        return err_set(e, STATUS_STREAM, "corrupt: a stream that does not begin with a header");
    if (r->source.sealed)
        return err_set(e, STATUS_STREAM, "corrupt: a seal before the header");
    if (read_payload(r, b, HEADER_MAX, head, e) < 0 ||
        header_parse(h, (const char *)r->payload, (size_t)b->size, 0, NULL, e) < 0)
        return -1;
    r->n_frames = r->n_sequences = r->n_tokens = 0;
    if (hash_init(&r->heads) < 0) {
        header_release(h);
        return err_memory(e, 0, "a checksum");
    }
    hash_add(&r->heads, head, BLOCK_HEAD);
    return 0;
}

// END's numbers against what came.
static int end_stream(struct stream_reader *r, const unsigned char head[BLOCK_HEAD],
                      const struct block *b, struct err *e)
{
    if (b->size != BLOCK_END)
        return err_set(e, STATUS_STREAM, "corrupt: an END of %llu bytes",
                       (unsigned long long)b->size);
    if (read_payload(r, b, BLOCK_END, head, e) < 0)
        return -1;
    const unsigned char *p = r->payload;
    if (u64_at(p) != r->n_frames || u64_at(p + 8) != r->n_sequences ||
        u64_at(p + 16) != r->n_tokens)
        return err_set(e, STATUS_STREAM,
                       "corrupt: END counts %llu frames, %llu records and %llu tokens where "
                       "there were %llu, %llu and %llu",
                       (unsigned long long)u64_at(p), (unsigned long long)u64_at(p + 8),
                       (unsigned long long)u64_at(p + 16), (unsigned long long)r->n_frames,
                       (unsigned long long)r->n_sequences, (unsigned long long)r->n_tokens);
    if (u64_at(p + 24) != hash_value(&r->heads))
        return err_set(e, STATUS_STREAM, "corrupt: END's checksum is not that of the stream");
    hash_release(&r->heads);
    source_next_stream(&r->source);
    return 0;
}

// A frame's payload, taken apart from the front.
struct parcel {
    const unsigned char *p;
    size_t left;
};

static const unsigned char *parcel_take(struct parcel *in, uint64_t count, size_t size,
                                        struct err *e)
{
    if (count > in->left / size) {
        err_set(e, STATUS_STREAM, "corrupt: a frame claims more than it holds");
        return NULL;
    }
    const unsigned char *p = in->p;
    in->p += count * size;
    in->left -= count * size;
    return p;
}

static int parse_lengths(struct parcel *in, struct frame *f, size_t n, uint64_t n_tokens,
                         struct err *e)
{
    const unsigned char *lengths = parcel_take(in, n, 4, e);
    if (!lengths || frame_reserve_sequences(f, n, e) < 0)
        return -1;
    uint64_t sum = 0;
    for (size_t i = 0; i < n; i++) {
        sum += u32_at(lengths + 4 * i);
        f->start[i + 1] = (size_t)sum;
    }
    if (sum != n_tokens)
        return err_set(e, STATUS_STREAM, "corrupt: lengths that do not add up to %llu tokens",
                       (unsigned long long)n_tokens);
    return 0;
}

static int parse_strings(struct parcel *in, const struct column *c, struct column_data *d, size_t n,
                         size_t *bad, struct err *e)
{
    const unsigned char *lengths = parcel_take(in, n, 4, e);
    if (!lengths || column_reserve(d, COLUMN_STRING, n, e) < 0)
        return -1;
    uint64_t sum = 0;
    for (size_t i = 0; i < n; i++) {
        sum += u32_at(lengths + 4 * i);
        d->string[i + 1] = (size_t)sum;
    }
    const unsigned char *bytes = parcel_take(in, sum, 1, e);
    if (!bytes || column_reserve_bytes(d, (size_t)sum, e) < 0)
        return -1;
    if (sum)
        memcpy(d->bytes, bytes, (size_t)sum);
    for (size_t i = 0; i < n; i++) {
        size_t size = d->string[i + 1] - d->string[i];
        if (size && utf8_valid_prefix(d->bytes + d->string[i], size) != size) {
            *bad = i;
            return err_set(e, STATUS_STREAM, "column `%s`: not UTF-8", c->name);
        }
    }
    return 0;
}

// Columns that the frame has beyond those of the stream.
static int default_columns(struct frame *f, size_t from, struct err *e)
{
    for (size_t i = from; i < f->n_columns; i++) {
        const struct column *c = &f->header->column[i];
        size_t rows = c->per == PER_TOKEN ? f->n_tokens : f->n_sequences;
        if (column_reserve(&f->column[i], c->type, rows, e) < 0)
            return -1;
        if (c->type == COLUMN_STRING)
            memset(f->column[i].string, 0, (rows + 1) * sizeof(size_t));
        else
            column_default(&f->column[i], c->type, 0, rows);
    }
    return 0;
}

static int parse_frame(struct stream_reader *r, struct frame *f, size_t size, size_t *bad,
                       struct err *e)
{
    struct parcel in = {r->payload, size};
    const unsigned char *p = parcel_take(&in, FRAME_HEAD, 1, e);
    if (!p)
        return -1;
    size_t n = u32_at(p);
    uint64_t n_tokens = u64_at(p + 8);
    if (u32_at(p + 4) != r->header.n_columns || n == 0)
        return err_set(e, STATUS_STREAM, "corrupt: a frame with other columns, or empty");
    if (parse_lengths(&in, f, n, n_tokens, e) < 0)
        return -1;
    for (size_t i = 0; i < r->header.n_columns; i++) {
        const struct column *c = &r->header.column[i];
        struct column_data *d = &f->column[i];
        if (c->type == COLUMN_STRING) {
            if (parse_strings(&in, c, d, n, bad, e) < 0)
                return -1;
            continue;
        }
        uint64_t rows = c->per == PER_TOKEN ? n_tokens : n;
        const unsigned char *values = parcel_take(&in, rows, column_type_size(c->type), e);
        if (!values || column_reserve(d, c->type, (size_t)rows, e) < 0)
            return -1;
        memcpy(d->data, values, (size_t)rows * column_type_size(c->type));
    }
    if (in.left)
        return err_set(e, STATUS_STREAM, "corrupt: a frame holds more than its columns");
    f->n_sequences = n;
    f->n_tokens = (size_t)n_tokens;
    return default_columns(f, r->header.n_columns, e);
}

// What holds for the records of every form.
static int check_records(const struct stream_reader *r, const struct frame *f, size_t *bad,
                         struct err *e)
{
    const size_t *id = f->column[COLUMN_ID].string;
    for (size_t i = 0; i < f->n_sequences; i++) {
        if (id[i] == id[i + 1]) {
            *bad = i;
            return err_set(e, STATUS_STREAM, "the `id` is empty");
        }
    }
    const uint32_t *token = f->column[COLUMN_TOKEN].u32;
    uint32_t largest = 0;
    for (size_t i = 0; i < f->n_tokens; i++)
        largest = token[i] > largest ? token[i] : largest;
    if (r->header.vocab_size < 0 || (int64_t)largest < r->header.vocab_size || !f->n_tokens)
        return 0;
    size_t at = 0;
    while ((int64_t)token[at] < r->header.vocab_size)
        at++;
    while (f->start[*bad + 1] <= at)
        ++*bad;
    return err_set(e, STATUS_STREAM, "token %u is beyond the vocabulary of %lld", token[at],
                   (long long)r->header.vocab_size);
}

static int next_stream(struct stream_reader *r, const unsigned char head[BLOCK_HEAD],
                       const struct block *b, struct err *e)
{
    struct stream_header h;
    if (begin_stream(r, head, b, &h, e) < 0)
        return -1;
    int result = header_agree(&r->header, &h, e);
    header_release(&h);
    return result;
}

static int next_binary(struct stream_reader *r, struct frame *f, size_t *bad, struct err *e)
{
    for (;;) {
        unsigned char head[BLOCK_HEAD];
        struct block b;
        int inside = r->heads.state != NULL;
        int64_t have = inside ? 0 : read_full(r, head, 1, e);
        if (have < 0)
            return -1;
        if (have == 0 && !inside)
            return 0;
        if (!inside && head[0] != TAG_HEADER[0])
            return err_set(e, STATUS_STREAM, "corrupt: trailing data after END");
        if (read_head(r, head, (size_t)have, &b, e) < 0)
            return -1;
        if (!inside) {
            if (next_stream(r, head, &b, e) < 0)
                return -1;
        } else if (!memcmp(b.tag, TAG_END, TAG_SIZE)) {
            if (end_stream(r, head, &b, e) < 0)
                return -1;
        } else if (memcmp(b.tag, TAG_FRAME, TAG_SIZE) != 0 || r->source.sealed) {
            return err_set(e, STATUS_STREAM, "corrupt: neither a frame nor END");
        } else {
            if (read_payload(r, &b, FRAME_MAX, head, e) < 0 ||
                parse_frame(r, f, (size_t)b.size, bad, e) < 0)
                return -1;
            hash_add(&r->heads, head, BLOCK_HEAD);
            r->n_frames++;
            r->n_sequences += f->n_sequences;
            r->n_tokens += f->n_tokens;
            return 1;
        }
    }
}

// ---- twin

// Makes text[at .. next) the next line, its line break included. Returns 0 at the end.
static int next_line(struct stream_reader *r, struct err *e)
{
    size_t from = r->next, searched = from;
    for (;;) {
        const char *end = searched < r->text.size
                              ? memchr(r->text.data + searched, '\n', r->text.size - searched)
                              : NULL;
        if (end) {
            r->at = from;
            r->next = (size_t)(end - r->text.data) + 1;
            source_begin_piece(&r->source);
            return 1;
        }
        searched = r->text.size - from;
        if (from) {
            memmove(r->text.data, r->text.data + from, r->text.size - from);
            r->text.size -= from;
            from = r->at = r->next = 0;
        }
        if (buffer_reserve(&r->text, r->text.size < PAYLOAD_STEP ? PAYLOAD_STEP : r->text.size, e) <
            0)
            return e->status == STATUS_MEMORY ? -1
                                              : err_set(e, STATUS_STREAM, "a line without end");
        int64_t n = source_read(&r->source, r->text.data + r->text.size,
                                r->text.capacity - 1 - r->text.size, e);
        if (n < 0)
            return -1;
        if (n == 0)
            return r->text.size == 0
                       ? 0
                       : err_set(e, STATUS_STREAM,
                                 "the last line has no line break: the stream was cut short");
        r->text.size += (size_t)n;
    }
}

static const char *line_text(const struct stream_reader *r)
{
    return r->text.data + r->at;
}

static size_t line_size(const struct stream_reader *r)
{
    return r->next - r->at;
}

static void keep_line(struct stream_reader *r)
{
    r->next = r->at;
}

static int open_jsonl(struct stream_reader *r, struct err *e)
{
    int more = next_line(r, e);
    if (more <= 0)
        return more < 0 ? -1 : err_set(e, STATUS_STREAM, "not a stream: empty input");
    if (jsonl_is_header(line_text(r), line_size(r))) {
        if (header_parse(&r->header, line_text(r), line_size(r), 1, NULL, e) < 0)
            return -1;
        more = r->header.n_columns ? 0 : next_line(r, e);
    } else if (header_parse(&r->header, "{\"densepath\":1}", 15, 1, NULL, e) < 0) {
        return -1;
    }
    r->have_header = 1;
    if (more < 0)
        return -1;
    if (more) {
        if (jsonl_infer_columns(&r->header, line_text(r), line_size(r), e) < 0)
            return -1;
        keep_line(r);
    } else if (!r->header.n_columns && header_place_first(&r->header, e) < 0) {
        return -1;
    }
    r->parsing = 1;
    return jsonl_parser_init(&r->parser, r->header.n_columns, e);
}

// A header among the records: of a twin that was put behind this one.
static int twin_agrees(struct stream_reader *r, struct err *e)
{
    struct stream_header h;
    if (header_parse(&h, line_text(r), line_size(r), 1, NULL, e) < 0)
        return -1;
    int result = h.n_columns ? header_agree(&r->header, &h, e) : 0;
    header_release(&h);
    return result;
}

static int changes_step(const struct frame *f, int step)
{
    size_t n = f->n_sequences;
    return step >= 0 && n > 1 && f->column[step].u32[n - 1] != f->column[step].u32[n - 2];
}

static int next_jsonl(struct stream_reader *r, struct frame *f, size_t *bad, struct err *e)
{
    int step = header_step(&r->header);
    while (!f->n_sequences || !frame_is_full(f)) {
        int more = next_line(r, e);
        if (more == 0)
            break;
        *bad = f->n_sequences;
        if (more < 0)
            return -1;
        if (jsonl_is_header(line_text(r), line_size(r))) {
            if (twin_agrees(r, e) < 0)
                return -1;
            continue;
        }
        if (jsonl_parse_record(&r->parser, line_text(r), line_size(r), f, e) < 0)
            return -1;
        if (changes_step(f, step)) {
            frame_drop_last(f);
            keep_line(r);
            break;
        }
    }
    *bad = 0;
    return f->n_sequences > 0;
}

// ---- both

static int is_jsonl(unsigned char first)
{
    return first == '{' || first == ' ' || first == '\t' || first == '\r' || first == '\n';
}

// FIRST begins something else. What stands behind it is looked at as far as it is there.
static int refuse_foreign(struct stream_reader *r, unsigned char first, struct err *e)
{
    char head[FILE_KIND_BYTES] = {(char)first};
    int64_t more = source_read(&r->source, head + 1, sizeof head - 1, e);
    if (more < 0)
        return -1;
    const struct file_kind *kind = file_kind(head, (size_t)more + 1);
    if (kind && kind->use == FILE_KIND_WEIGHTS)
        return err_set(e, STATUS_STREAM,
                       "not a token stream: %s, as models have: their directory goes to -m",
                       kind->name);
    if (kind && kind->use == FILE_KIND_POINTER)
        return err_set(e, STATUS_STREAM, "not a token stream: %s: %s", kind->name, kind->way);
    return err_set(
        e, STATUS_STREAM,
        "not a token stream, nor its JSONL twin%s%s%s%s%s; `tok -m MODEL` makes one of JSON "
        "lines or text",
        kind ? ", but " : "", kind ? kind->name : "", kind && kind->way ? " (" : "",
        kind && kind->way ? kind->way : "", kind && kind->way ? ")" : "");
}

static int open_stream(struct stream_reader *r, struct err *e)
{
    unsigned char head[BLOCK_HEAD];
    struct block b;
    int64_t have = read_full(r, head, 1, e);
    if (have < 0)
        return -1;
    if (have == 0) {
        err_set(e, STATUS_STREAM, "not a stream: empty input");
        e->explained = r->source.is_stdin && stage_is_explained(r->source.fd);
        return -1;
    }
    r->twin = is_jsonl(head[0]);
    if (r->twin) {
        buffer_init(&r->text, FRAME_MAX);
        return buffer_append(&r->text, head, 1, e) < 0 ? -1 : open_jsonl(r, e);
    }
    if (head[0] != TAG_HEADER[0])
        return refuse_foreign(r, head[0], e);
    if (read_head(r, head, 1, &b, e) < 0 || begin_stream(r, head, &b, &r->header, e) < 0)
        return -1;
    r->have_header = 1;
    return 0;
}

struct stream_reader *stream_reader_open(const char *path, struct err *e)
{
    struct stream_reader *r = mem_alloc(1, sizeof *r, "a stream reader", e);
    if (!r)
        return NULL;
    if (source_open(&r->source, path, e) < 0) {
        free(r);
        return NULL;
    }
    if (open_stream(r, e) == 0)
        return r;
    fail_at(r, 0, e);
    stream_reader_close(r);
    return NULL;
}

void stream_reader_close(struct stream_reader *r)
{
    if (!r)
        return;
    source_release(&r->source);
    header_release(&r->header);
    if (r->heads.state)
        hash_release(&r->heads);
    if (r->parsing)
        jsonl_parser_release(&r->parser);
    buffer_release(&r->text);
    free(r->payload);
    free(r);
}

const struct stream_header *stream_reader_header(const struct stream_reader *r)
{
    return &r->header;
}

const char *stream_reader_name(const struct stream_reader *r)
{
    return r->source.name;
}

int stream_reader_next(struct stream_reader *r, struct frame *f, struct err *e)
{
    size_t bad = 0;
    frame_clear(f);
    if (r->ended)
        return 0;
    if (f->n_columns < r->header.n_columns)
        return err_set(e, STATUS_FAILED, "%s: a frame without room for the stream's columns",
                       r->source.name);
    int result = r->twin ? next_jsonl(r, f, &bad, e) : next_binary(r, f, &bad, e);
    if (result > 0 && check_records(r, f, &bad, e) < 0)
        result = -1;
    if (result < 0) {
        frame_clear(f);
        return fail_at(r, bad, e);
    }
    r->ended = result == 0;
    r->sequences += f->n_sequences;
    r->tokens += f->n_tokens;
    return result;
}

uint64_t stream_reader_sequences(const struct stream_reader *r)
{
    return r->sequences;
}

uint64_t stream_reader_tokens(const struct stream_reader *r)
{
    return r->tokens;
}

double stream_reader_expected(const struct stream_reader *r)
{
    double share = source_share(&r->source);
    return share > 0 ? (double)r->sequences / share : 0;
}
