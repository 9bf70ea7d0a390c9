// SPDX-License-Identifier: MIT
// What every tokenizer that opens must do with texts: ids it has, offsets inside the text.
#ifndef FUZZ_TOKENIZER_H
#define FUZZ_TOKENIZER_H

#include "kit.h"

#include "tokenize/tokenizer.h"

// Id by id the text is that of all ids together.
static void try_stream(const struct tokenizer *t, const struct token_list *ids, int skip,
                       const struct buffer *whole)
{
    struct buffer text;
    struct err e;
    struct tokenizer_stream *s = tokenizer_stream_open(t, skip, &e);
    MUST(s);
    buffer_init(&text, 0);
    for (size_t i = 0; i < ids->n; i++)
        MUST(tokenizer_stream_add(s, ids->id[i], &text, &e) == 0);
    MUST(tokenizer_stream_end(s, &text, &e) == 0);
    // But for bytes that are no characters (decoder.h).
    int broken = whole->size && memmem(whole->data, whole->size, "\xef\xbf\xbd", 3);
    MUST(broken || text.size == whole->size);
    MUST(broken || text.size == 0 || memcmp(text.data, whole->data, text.size) == 0);
    buffer_release(&text);
    tokenizer_stream_close(s);
}

static void try_ids(const struct tokenizer *t, const struct token_list *ids, size_t size)
{
    struct buffer text;
    struct err e;
    buffer_init(&text, 0);
    for (size_t i = 0; i < ids->n; i++) {
        MUST(ids->id[i] < tokenizer_size(t));
        MUST(ids->start[i] <= ids->end[i] && ids->end[i] <= size);
        if (tokenizer_piece(t, ids->id[i], i == 0, &text, &e) < 0)
            break;
    }
    for (int skip = 0; skip < 2; skip++) {
        buffer_clear(&text);
        if (tokenizer_decode(t, ids->id, ids->n, skip, &text, &e) < 0)
            break;
        try_stream(t, ids, skip, &text);
    }
    buffer_release(&text);
}

static void try_text(const struct tokenizer *t, const char *text, size_t size)
{
    static const unsigned flags[] = {0, TOKENIZER_SPECIAL, TOKENIZER_SPECIAL | TOKENIZER_EXTENT};
    struct token_list ids;
    struct err e;
    token_list_init(&ids);
    for (size_t i = 0; i < sizeof flags / sizeof *flags; i++) {
        ids.n = 0;
        if (tokenizer_encode(t, text, size, flags[i], &ids, &e) < 0)
            break;
        try_ids(t, &ids, size);
    }
    token_list_release(&ids);
}

static void try_tokenizer(const struct tokenizer *t)
{
    static const char *const texts[] = {
        "", " ", "  Hello,  world!\n\n\t12345 it's <s>[INST] a</s>  ",
        "Gr\xc3\xbc\xc3\x9f"
        "e e\xcc\x81\xef\xac\x81 \xe4\xbd\xa0\xe5\xa5\xbd\xe3\x80\x82 \xf0\x9f\x98\x80\xc2\xa0\xe2"
        "\x96\x81 \xff\xc3 <0x0A> \xf0\x9f\x91\xa8\xe2\x80\x8d\xf0\x9f\x91\xa9",
        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"};
    uint32_t ids[] = {0, 1, 2, 3, 4, 5, 6, 7, 13, 9, 200, 255, 256, 1u << 20, UINT32_MAX};
    struct buffer out;
    struct err e;
    buffer_init(&out, 0);
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        try_text(t, texts[i], strlen(texts[i]));
    for (size_t n = 1; n <= sizeof ids / sizeof *ids; n++)
        if (tokenizer_decode(t, ids, n, 0, &out, &e) < 0)
            break;
    for (size_t i = 0; i < sizeof ids / sizeof *ids; i++) {
        size_t size = 0;
        const char *token = tokenizer_token(t, ids[i], &size);
        MUST(!token || ids[i] < tokenizer_size(t));
    }
    buffer_release(&out);
}

#endif
