// SPDX-License-Identifier: MIT
#include "convert/show_text.h"
#include "convert/spelling.h"
#include "stream/maker.h"
#include "stream/filter.h"

// Records skip .. skip+n-1; the stream is read to its end, so that it is proved whole.
static int collect(struct stream_filter *p, struct frame *f, uint64_t n, uint64_t skip,
                   struct err *e)
{
    uint64_t seen = 0;
    int more;
    while ((more = filter_next(p, e)) > 0)
        for (size_t i = 0; i < p->frame.n_sequences; i++, seen++)
            if (seen >= skip && seen - skip < n && frame_append(f, &p->frame, i, e) < 0)
                return -1;
    return more;
}

static int show_column(const struct stream_reader *r, const char *by, struct err *e)
{
    const struct stream_header *h = stream_reader_header(r);
    int i = header_find(h, by);
    if (i < 0)
        return maker_missing(stream_reader_name(r), by, e);
    if (h->column[i].per != PER_TOKEN)
        return err_set(e, STATUS_STREAM, "%s: column `%s` has one value a record, not one a token",
                       stream_reader_name(r), by);
    return i;
}

static int print_shown(const struct show *show, const char *output, const struct frame *f,
                       struct err *e)
{
    struct output out;
    if (output_open(&out, output, e) < 0)
        return -1;
    if (show_print(show, f, &out, e) == 0)
        return output_commit(&out, e);
    output_abort(&out);
    return -1;
}

int show_text(const struct show_text *c, const char *input, const char *output, struct err *e)
{
    struct stream_filter p;
    struct frame shown = {0};
    struct tokenizer *tokenizer = NULL;
    struct show show = c->show;
    int result = filter_open(&p, input, e);
    if (result == 0 && (show.column = show_column(p.reader, c->by, e)) < 0)
        result = -1;
    if (result == 0) {
        tokenizer = tokenizer_open(c->model, e);
        result = tokenizer ? header_check_tokenizer(&p.header, tokenizer_fingerprint(tokenizer),
                                                    stream_reader_name(p.reader), e)
                           : -1;
    }
    if (result == 0)
        result = frame_init(&shown, &p.header, e);
    if (result == 0)
        result = collect(&p, &shown, c->n, c->skip, e);
    if (result == 0) {
        show.piece = spell_piece;
        show.arg = tokenizer;
        show.title = show.title ? show.title : stream_reader_name(p.reader);
        result = print_shown(&show, output, &shown, e);
    }
    frame_release(&shown);
    tokenizer_close(tokenizer);
    filter_release(&p);
    return result;
}
