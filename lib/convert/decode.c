// SPDX-License-Identifier: MIT
#include "convert/decode.h"
#include "base/json.h"
#include "convert/marked.h"
#include "stream/reader.h"
#include "toks/text_form.h"

#include <stdlib.h>

struct decoding {
    const struct decode_options *o;
    struct tokenizer *tokenizer;
    struct text_form form;
    struct output out;
    struct buffer line;
    struct tokenizer_stream *stream; // with `pieces`
};

static int decode_tokens(void *arg, const uint32_t *token, size_t n, struct buffer *out,
                         struct err *e)
{
    const struct decoding *d = arg;
    return tokenizer_decode(d->tokenizer, token, n, d->o->skip_special, out, e);
}

static int show_sequence(struct decoding *d, const struct frame *f, size_t i, struct err *e)
{
    static const uint8_t none[1];
    size_t size, n = frame_length(f, i);
    const char *id = frame_string(f, COLUMN_ID, i, &size);
    const uint8_t *mask = d->form.mask < 0 ? none : f->column[d->form.mask].u8 + f->start[i];
    uint8_t *zeros = NULL;
    if (d->form.mask < 0 && n && !(mask = zeros = mem_alloc(n, 1, "a loss mask", e)))
        return -1;
    const struct marked m = {.id = id,
                             .id_size = size,
                             .token = f->column[COLUMN_TOKEN].u32 + f->start[i],
                             .mask = mask,
                             .n = n};
    int result = marked_print(d->tokenizer, &d->out, &m, e);
    free(zeros);
    return result;
}

static int add_piece(json_t *pieces, struct buffer *piece, struct err *e)
{
    json_t *text = json_stringn(piece->size ? piece->data : "", piece->size);
    buffer_clear(piece);
    return json_array_append_new(pieces, text) < 0 ? err_memory(e, 1, "a piece of text") : 0;
}

// One piece a token, and what the end brings.
static int take_pieces(struct decoding *d, const uint32_t *token, size_t n, json_t *pieces,
                       struct err *e)
{
    struct buffer piece;
    buffer_init(&piece, 0);
    int result = 0;
    for (size_t i = 0; result == 0 && i < n; i++) {
        result = tokenizer_stream_add(d->stream, token[i], &piece, e);
        if (result == 0)
            result = add_piece(pieces, &piece, e);
    }
    if (result == 0)
        result = tokenizer_stream_end(d->stream, &piece, e);
    if (result == 0)
        result = add_piece(pieces, &piece, e);
    buffer_release(&piece);
    return result;
}

static int print_pieces(struct decoding *d, const struct frame *f, size_t i, struct err *e)
{
    size_t size;
    const char *id = frame_string(f, COLUMN_ID, i, &size);
    json_t *object = json_object(), *pieces = json_array();
    int result = -1;
    if (!object || !pieces || json_object_set_new(object, "id", json_stringn(id, size)) < 0 ||
        json_object_set(object, "pieces", pieces) < 0)
        err_memory(e, size, "a record");
    else if (take_pieces(d, f->column[COLUMN_TOKEN].u32 + f->start[i], frame_length(f, i), pieces,
                         e) == 0 &&
             json_print(object, &d->line, e) == 0 && buffer_append(&d->line, "\n", 1, e) == 0)
        result = output_write(&d->out, d->line.data, d->line.size, e);
    json_decref(pieces);
    json_decref(object);
    return result;
}

static int decode_sequence(struct decoding *d, const struct frame *f, size_t i, struct err *e)
{
    if (d->o->marked)
        return show_sequence(d, f, i, e);
    buffer_clear(&d->line);
    if (d->stream)
        return print_pieces(d, f, i, e);
    if (text_form_print(&d->form, f, i, &d->line, e) < 0)
        return -1;
    return output_write(&d->out, d->line.data, d->line.size, e);
}

static int decode_stream(struct decoding *d, struct stream_reader *r, struct err *e)
{
    struct frame f;
    struct stream_header header;
    if (header_copy(&header, stream_reader_header(r), e) < 0)
        return -1;
    int result = -1;
    if (header_check_tokenizer(&header, tokenizer_fingerprint(d->tokenizer), stream_reader_name(r),
                               e) == 0 &&
        text_form_init(&d->form, &header, stream_reader_name(r), decode_tokens, d, e) == 0 &&
        frame_init(&f, &header, e) == 0) {
        while ((result = stream_reader_next(r, &f, e)) > 0) {
            for (size_t i = 0; result > 0 && i < f.n_sequences; i++)
                if (decode_sequence(d, &f, i, e) < 0)
                    result = -1;
            if (result < 0 || output_flush(&d->out, e) < 0) {
                result = -1;
                break;
            }
        }
        frame_release(&f);
    }
    header_release(&header);
    return result;
}

int decode_run(const struct decode_options *o, const char *input, struct err *e)
{
    struct decoding d = {.o = o};
    buffer_init(&d.line, 0);
    d.tokenizer = tokenizer_open(o->model, e);
    if (d.tokenizer && o->pieces)
        d.stream = tokenizer_stream_open(d.tokenizer, o->skip_special, e);
    int ready = d.tokenizer && (d.stream || !o->pieces);
    struct stream_reader *r = ready ? stream_reader_open(input, e) : NULL;
    int result = r && output_open(&d.out, o->output, e) == 0 ? 0 : -1;
    if (result == 0) {
        result = decode_stream(&d, r, e);
        if (result == 0)
            result = output_commit(&d.out, e);
        else
            output_abort(&d.out);
    }
    stream_reader_close(r);
    tokenizer_stream_close(d.stream);
    tokenizer_close(d.tokenizer);
    text_form_release(&d.form);
    buffer_release(&d.line);
    return result;
}
