// SPDX-License-Identifier: MIT
#include "stream/filter.h"

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
