// SPDX-License-Identifier: MIT
#include "toks/copy.h"
#include "base/io.h"
#include "stream/parts.h"
#include "stream/jsonl.h"

#include <stdlib.h>
#include <string.h>

enum { TEXT_STEP = 1 << 16 };

static int drain(struct output *out, struct buffer *text, struct err *e)
{
    int result = output_write(out, text->data, text->size, e);
    buffer_clear(text);
    return result;
}

static int jsonl_frame(const struct frame *f, struct output *out, struct buffer *text,
                       struct err *e)
{
    for (size_t i = 0; i < f->n_sequences; i++) {
        if (jsonl_print_record(f, i, text, e) < 0)
            return -1;
        if (text->size >= TEXT_STEP && drain(out, text, e) < 0)
            return -1;
    }
    // A reader downstream shall see the batch now.
    return drain(out, text, e) < 0 ? -1 : output_flush(out, e);
}

static int twin_all(struct stream_filter *p, struct output *out, int header_only, struct err *e)
{
    struct buffer text;
    buffer_init(&text, 0);
    int result = header_print(&p->header, &text, e);
    if (result == 0)
        result = buffer_append(&text, "\n", 1, e);
    if (result == 0)
        result = drain(out, &text, e);
    if (result == 0)
        result = output_flush(out, e);
    int more = result;
    while (result == 0 && (more = filter_next(p, e)) > 0)
        if (!header_only)
            result = jsonl_frame(&p->frame, out, &text, e);
    buffer_release(&text);
    return result < 0 ? -1 : more;
}

int copy_to_jsonl(const char *input, const char *output, int header_only, struct err *e)
{
    struct stream_filter p;
    struct output out;
    int result = filter_open(&p, input, e);
    if (result == 0)
        result = output_open(&out, output, e);
    if (result == 0) {
        result = twin_all(&p, &out, header_only, e);
        if (result == 0)
            result = output_commit(&out, e);
        else
            output_abort(&out);
    }
    filter_release(&p);
    return result;
}

static int pass_through(struct stream_filter *p, struct err *e)
{
    int more;
    while ((more = filter_next(p, e)) > 0)
        if (filter_write(p, e) < 0)
            return -1;
    return more < 0 ? -1 : filter_end(p, e);
}

int copy_to_binary(const char *input, const char *output, int level, struct err *e)
{
    struct stream_filter p;
    int result = filter_open(&p, input, e);
    if (result == 0 && level >= 0)
        p.header.level = level;
    if (result == 0)
        result = filter_start(&p, output, e);
    if (result == 0)
        result = pass_through(&p, e);
    filter_release(&p);
    return result;
}

static int pass_twice(struct stream_filter *p, struct stream_writer *copy, struct err *e)
{
    int more;
    while ((more = filter_next(p, e)) > 0)
        if (stream_writer_frame(copy, &p->frame, e) < 0 || filter_write(p, e) < 0)
            return -1;
    return more < 0 ? -1 : stream_writer_finish(copy, e);
}

int copy_tee(const char *input, const char *output, const char *file, struct err *e)
{
    struct stream_filter p;
    struct stream_writer *copy = NULL;
    int result = filter_open(&p, input, e);
    if (result == 0)
        result = filter_start(&p, output, e);
    if (result == 0) {
        copy = stream_writer_open(file, &p.header, e);
        result = copy ? pass_twice(&p, copy, e) : -1;
    }
    if (result == 0)
        result = filter_end(&p, e);
    // The copy takes its name when the stream has gone out whole.
    if (result == 0) {
        result = stream_writer_end(copy, e);
        copy = NULL;
    }
    stream_writer_abort(copy);
    filter_release(&p);
    return result;
}

static int head_records(struct stream_filter *p, uint64_t n, uint64_t skip, int stop, struct err *e)
{
    int more = 1;
    uint64_t seen = 0, taken = 0;
    while (!(stop && taken == n) && (more = filter_next(p, e)) > 0) {
        for (size_t i = 0; i < p->frame.n_sequences && taken < n; i++) {
            if (seen++ < skip)
                continue;
            if (stream_writer_add(p->writer, &p->frame, i, e) < 0)
                return -1;
            taken++;
        }
    }
    return more < 0 ? -1 : filter_end(p, e);
}

int copy_head(const char *input, const char *output, uint64_t n, uint64_t skip, int stop,
              const struct provenance *line, struct err *e)
{
    struct stream_filter p;
    int result = filter_open(&p, input, e);
    if (result == 0)
        result = filter_provenance(&p, line, e);
    if (result == 0)
        result = filter_start(&p, output, e);
    if (result == 0)
        result = head_records(&p, n, skip, stop, e);
    filter_release(&p);
    return result;
}

// ---- cat

// With `step` a frame is written as it comes; where a step goes on in the next stream that would
// not be canonical.
static int cat_frame(struct stream_filter *p, struct merge *m, int stream, int alone, struct err *e)
{
    struct frame *f;
    if (merge_frame(m, &p->frame, stream, stream_reader_name(p->reader), &f, e) < 0)
        return -1;
    if (alone || header_step(&p->header) < 0)
        return stream_writer_frame(p->writer, f, e);
    for (size_t i = 0; i < f->n_sequences; i++)
        if (stream_writer_add(p->writer, f, i, e) < 0)
            return -1;
    return 0;
}

static int cat_all(struct stream_filter *p, struct merge *m, struct stream_reader **readers, int n,
                   const char *output, struct err *e)
{
    for (int i = 1; i < n; i++)
        if (merge_header(&p->header, readers[i], e) < 0)
            return -1;
    if (merge_start(m, &p->header, e) < 0 || filter_start(p, output, e) < 0)
        return -1;
    for (int i = 0; i < n; i++) {
        int more;
        if (i) {
            stream_reader_close(p->reader);
            p->reader = readers[i];
            readers[i] = NULL;
        }
        while ((more = filter_next(p, e)) > 0)
            if (cat_frame(p, m, i + 1, n == 1, e) < 0)
                return -1;
        if (more < 0)
            return -1;
    }
    return filter_end(p, e);
}

int copy_cat(char **inputs, int n, enum merge_ids ids, const char *output, struct err *e)
{
    struct stream_filter p;
    struct merge m;
    struct stream_reader **readers = mem_alloc((size_t)n + 1, sizeof *readers, "streams", e);
    if (!readers)
        return -1;
    // One stream is not put together with anything.
    merge_init(&m, n < 2 && ids == MERGE_UNIQUE ? MERGE_KEEP : ids);
    int result = filter_open(&p, n ? inputs[0] : NULL, e);
    for (int i = 1; i < n && result == 0; i++) {
        readers[i] = stream_reader_open(inputs[i], e);
        result = readers[i] ? 0 : -1;
    }
    if (result == 0)
        result = cat_all(&p, &m, readers, n ? n : 1, output, e);
    for (int i = 1; i < n; i++)
        stream_reader_close(readers[i]);
    free(readers);
    merge_release(&m);
    filter_release(&p);
    return result;
}
