// SPDX-License-Identifier: MIT
#include "stream/filter.h"

#include <stdlib.h>
#include <string.h>

int filter_open(struct stream_filter *p, const char *input, struct err *e)
{
    memset(p, 0, sizeof *p);
    p->reader = stream_reader_open(input, e);
    if (!p->reader)
        return -1;
    return header_copy(&p->header, stream_reader_header(p->reader), e);
}

int filter_provenance(struct stream_filter *p, const struct provenance *line, struct err *e)
{
    return header_add_provenance(&p->header, line->program, line->argc, line->argv, line->seed,
                                 NULL, e);
}

int filter_start(struct stream_filter *p, const char *output, struct err *e)
{
    p->writer = stream_writer_open(output, &p->header, e);
    return p->writer ? 0 : -1;
}

int filter_next(struct stream_filter *p, struct err *e)
{
    if (!p->have_frame) {
        if (frame_init(&p->frame, &p->header, e) < 0)
            return -1;
        p->have_frame = 1;
    }
    return stream_reader_next(p->reader, &p->frame, e);
}

int filter_write(struct stream_filter *p, struct err *e)
{
    return stream_writer_frame(p->writer, &p->frame, e);
}

static int make_frame(struct stream_filter *p, struct err *e)
{
    if (MEM_GROW(p->held, p->held_capacity, p->n_made + 1, "frames", e) < 0)
        return -1;
    struct frame *f = mem_alloc(1, sizeof *f, "a frame", e);
    if (!f)
        return -1;
    if (frame_init(f, &p->header, e) < 0) {
        free(f);
        return -1;
    }
    p->held[p->n_made++] = f;
    return 0;
}

int filter_hold_next(struct stream_filter *p, struct frame **f, struct err *e)
{
    if (p->n_held == p->n_made && make_frame(p, e) < 0)
        return -1;
    *f = p->held[p->n_held];
    int more = stream_reader_next(p->reader, *f, e);
    p->n_held += more > 0;
    return more;
}

int filter_write_held(struct stream_filter *p, size_t n, struct err *e)
{
    for (size_t i = 0; i < n; i++)
        if (stream_writer_frame(p->writer, p->held[i], e) < 0)
            return -1;
    // Those that stay move to the front, and what was written is spare.
    for (size_t i = n; i < p->n_held; i++) {
        struct frame *f = p->held[i];
        p->held[i] = p->held[i - n];
        p->held[i - n] = f;
    }
    p->n_held -= n;
    return 0;
}

int filter_end(struct stream_filter *p, struct err *e)
{
    struct stream_writer *w = p->writer;
    p->writer = NULL;
    return stream_writer_end(w, e);
}

void filter_release(struct stream_filter *p)
{
    stream_writer_abort(p->writer);
    stream_reader_close(p->reader);
    if (p->have_frame)
        frame_release(&p->frame);
    for (size_t i = 0; i < p->n_made; i++) {
        frame_release(p->held[i]);
        free(p->held[i]);
    }
    free(p->held);
    header_release(&p->header);
    memset(p, 0, sizeof *p);
}

int filter_check(const char *input, uint64_t *sequences, uint64_t *tokens, struct err *e)
{
    struct stream_filter p;
    int result = filter_open(&p, input, e);
    if (result == 0)
        while ((result = filter_next(&p, e)) > 0)
            ;
    if (result == 0) {
        *sequences = stream_reader_sequences(p.reader);
        *tokens = stream_reader_tokens(p.reader);
    }
    filter_release(&p);
    return result;
}
