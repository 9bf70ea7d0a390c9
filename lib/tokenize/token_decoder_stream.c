// SPDX-License-Identifier: MIT
#include "tokenize/token_decoder_internal.h"

#include <stdlib.h>
#include <string.h>

#include "tokenize/unicode.h"

// What a step keeps between tokens.
struct step_state {
    struct buffer held;
    struct string_list all; // tokens, where the step needs all of them
    int fused;              // it gets parts of one text, not tokens: a step before it joins them
    int seen;               // something came before
    int64_t stripped;
};

struct decoder_stream {
    const struct token_decoder *d;
    struct step_state state[DECODER_STEPS_MAX];
    struct pattern_scratch scratch;
    int seen; // without a decoder: a token came before
};

static int feed(struct decoder_stream *s, int i, const char *token, size_t size, struct buffer *out,
                struct err *e);

struct decoder_stream *decoder_stream_open(const struct token_decoder *d, struct err *e)
{
    struct decoder_stream *s = mem_alloc(1, sizeof *s, "a decoder", e);
    if (!s)
        return NULL;
    s->d = d;
    int fused = 0;
    for (int i = 0; d && i < d->n; i++) {
        buffer_init(&s->state[i].held, 0);
        string_list_init(&s->state[i].all);
        s->state[i].fused = fused;
        fused |= d->step[i].kind == DECODE_FUSE || d->step[i].kind == DECODE_BYTE_LEVEL;
    }
    if (d && d->has_regex && pattern_scratch_init(&s->scratch, e) < 0) {
        decoder_stream_close(s);
        return NULL;
    }
    return s;
}

void decoder_stream_close(struct decoder_stream *s)
{
    if (!s)
        return;
    for (int i = 0; s->d && i < s->d->n; i++) {
        buffer_release(&s->state[i].held);
        string_list_release(&s->state[i].all);
    }
    pattern_scratch_release(&s->scratch);
    free(s);
}

static const char *bytes(const struct buffer *b)
{
    return b->data ? b->data : "";
}

static void drop_front(struct buffer *b, size_t n)
{
    memmove(b->data, b->data + n, b->size - n);
    b->size -= n;
}

// Gives the next step the first n bytes of what this one holds.
static int release(struct decoder_stream *s, int i, size_t n, struct buffer *out, struct err *e)
{
    struct buffer *held = &s->state[i].held;
    if (n == 0)
        return 0;
    if (feed(s, i + 1, held->data, n, out, e) < 0)
        return -1;
    drop_front(held, n);
    return 0;
}

static int give_replacement(struct decoder_stream *s, int i, struct buffer *out, struct err *e)
{
    return feed(s, i + 1, "\xEF\xBF\xBD", 3, out, e);
}

// Bytes that more bytes could complete to a character: a lead and as many as are there behind it.
static int may_be_completed(const char *text, size_t size, size_t bad)
{
    return bad == size && (unsigned char)text[0] >= 0xC2 && (unsigned char)text[0] <= 0xF4;
}

// Gives the characters in front of what is held, and U+FFFD for bytes that are none.
static int give_characters(struct decoder_stream *s, int i, int ended, struct buffer *out,
                           struct err *e)
{
    struct buffer *held = &s->state[i].held;
    size_t at = 0, bad;
    while (at < held->size) {
        size_t good = utf8_valid_prefix(held->data + at, held->size - at);
        if (good && feed(s, i + 1, held->data + at, good, out, e) < 0)
            return -1;
        if ((at += good) == held->size)
            break;
        utf8_sequence(held->data + at, held->size - at, &bad);
        if (!ended && may_be_completed(held->data + at, held->size - at, bad))
            break;
        if (give_replacement(s, i, out, e) < 0)
            return -1;
        at += bad;
    }
    if (at)
        drop_front(held, at);
    return 0;
}

// The end of a run of byte tokens: text if all of it is, else U+FFFD for each byte; a run that the
// end of the text cuts inside a character keeps its characters.
static int give_run(struct decoder_stream *s, int i, int ended, struct buffer *out, struct err *e)
{
    struct buffer *held = &s->state[i].held;
    size_t bad, good = utf8_valid_prefix(bytes(held), held->size), size = held->size;
    if (good < size) {
        utf8_sequence(held->data + good, size - good, &bad);
        if (!ended || !may_be_completed(held->data + good, size - good, bad))
            good = 0;
    }
    if (good && feed(s, i + 1, held->data, good, out, e) < 0)
        return -1;
    for (size_t k = good; k < size; k++)
        if (give_replacement(s, i, out, e) < 0)
            return -1;
    buffer_clear(held);
    return 0;
}

static int feed_fallback(struct decoder_stream *s, int i, const char *token, size_t size,
                         struct buffer *out, struct err *e)
{
    int byte = decoder_fallback_byte(token, size);
    char c = (char)byte;
    if (byte >= 0)
        return buffer_append(&s->state[i].held, &c, 1, e);
    return give_run(s, i, 0, out, e) < 0 ? -1 : feed(s, i + 1, token, size, out, e);
}

// Strip on a text that comes in parts: what its end might lose stays back.
static int strip_text(struct decoder_stream *s, int i, int ended, struct buffer *out, struct err *e)
{
    const struct decoder_step *step = &s->d->step[i];
    struct step_state *state = &s->state[i];
    struct buffer *held = &state->held;
    while (state->stripped < step->start && step->size) {
        size_t n = held->size < step->size ? held->size : step->size;
        if (memcmp(bytes(held), step->text, n) != 0) {
            state->stripped = step->start;
        } else if (n < step->size) {
            if (!ended)
                return 0; // may become what is stripped
            state->stripped = step->start;
        } else {
            drop_front(held, n);
            state->stripped++;
        }
    }
    size_t keep = 0;
    if (!ended && step->stop > 0 && step->size) {
        if ((uint64_t)step->stop > held->size / step->size + 1)
            return 0;
        keep = (size_t)step->stop * step->size + step->size - 1;
    }
    for (int64_t k = 0; ended && k < step->stop && step->size && held->size >= step->size &&
                        !memcmp(held->data + held->size - step->size, step->text, step->size);
         k++)
        held->size -= step->size;
    size_t n = held->size > keep ? held->size - keep : 0;
    while (n && n < held->size && utf8_continues(held->data[n]))
        n--;
    return release(s, i, n, out, e);
}

// Replace of a literal on a text that comes in parts: the beginning of a match stays back.
static int replace_text(struct decoder_stream *s, int i, int ended, struct buffer *out,
                        struct err *e)
{
    const struct decoder_step *step = &s->d->step[i];
    struct buffer *held = &s->state[i].held;
    size_t size, at = 0, keep = 0;
    const char *what = pattern_text(step->pattern, &size), *hit;
    while (size && at < held->size &&
           (hit = memmem(held->data + at, held->size - at, what, size))) {
        size_t n = (size_t)(hit - held->data) - at;
        if ((n && feed(s, i + 1, held->data + at, n, out, e) < 0) ||
            (step->size && feed(s, i + 1, step->text, step->size, out, e) < 0))
            return -1;
        at += n + size;
    }
    size_t left = held->size - at;
    for (keep = left < size ? left : size ? size - 1 : 0; keep; keep--)
        if (!ended && !memcmp(held->data + held->size - keep, what, keep))
            break;
    if (left > keep && feed(s, i + 1, held->data + at, left - keep, out, e) < 0)
        return -1;
    if (held->size > keep)
        drop_front(held, held->size - keep);
    return 0;
}

static int give_token(struct decoder_stream *s, int i, const char *token, size_t size, int first,
                      int last, struct buffer *out, struct err *e)
{
    struct buffer made;
    buffer_init(&made, 0);
    int result = decoder_token(&s->d->step[i], token, size, first, last, &s->scratch, &made, e);
    if (result == 0)
        result = feed(s, i + 1, bytes(&made), made.size, out, e);
    buffer_release(&made);
    return result;
}

// BPEDecoder: a suffix is a blank unless the token is the last.
static int feed_suffix(struct decoder_stream *s, int i, const char *token, size_t size,
                       struct buffer *out, struct err *e)
{
    const struct decoder_step *step = &s->d->step[i];
    struct buffer *held = &s->state[i].held;
    if (held->size && give_token(s, i, held->data, held->size, 0, 0, out, e) < 0)
        return -1;
    buffer_clear(held);
    const char *hit = step->size ? memmem(token, size, step->text, step->size) : NULL;
    if (!hit)
        return feed(s, i + 1, token, size, out, e);
    size_t n = i + 1 == s->d->n ? (size_t)(hit - token) : 0; // what is before it is certain
    if (n && feed(s, i + 1, token, n, out, e) < 0)
        return -1;
    return buffer_append(held, token + n, size - n, e);
}

// Whether the step can go on with a text that comes in parts.
static int takes_parts(const struct decoder_step *step)
{
    size_t size;
    return step->kind == DECODE_FUSE || step->kind == DECODE_STRIP ||
           (step->kind == DECODE_REPLACE && pattern_text(step->pattern, &size));
}

static int feed_part(struct decoder_stream *s, int i, const char *part, size_t size,
                     struct buffer *out, struct err *e)
{
    const struct decoder_step *step = &s->d->step[i];
    if (step->kind == DECODE_FUSE)
        return feed(s, i + 1, part, size, out, e);
    if (buffer_append(&s->state[i].held, part, size, e) < 0)
        return -1;
    if (!takes_parts(step))
        return 0; // it needs the whole text
    return step->kind == DECODE_STRIP ? strip_text(s, i, 0, out, e) : replace_text(s, i, 0, out, e);
}

static int feed(struct decoder_stream *s, int i, const char *token, size_t size, struct buffer *out,
                struct err *e)
{
    if (i == s->d->n)
        return buffer_append(out, token, size, e);
    const struct decoder_step *step = &s->d->step[i];
    struct step_state *state = &s->state[i];
    int first = !state->seen;
    state->seen = 1;
    if (state->fused)
        return feed_part(s, i, token, size, out, e);
    switch (step->kind) {
    case DECODE_BYTE_LEVEL:
        return decoder_put_alphabet(&state->held, token, size, e) < 0
                   ? -1
                   : give_characters(s, i, 0, out, e);
    case DECODE_BYTE_FALLBACK:
        return feed_fallback(s, i, token, size, out, e);
    case DECODE_FUSE:
        return feed(s, i + 1, token, size, out, e);
    case DECODE_SUFFIX:
        return feed_suffix(s, i, token, size, out, e);
    case DECODE_WORD_PIECE:
    case DECODE_CTC:
        return buffer_append(&state->all.text, token, size, e) < 0
                   ? -1
                   : string_list_close(&state->all, e);
    default:
        return give_token(s, i, token, size, first, 0, out, e);
    }
}

// A step that needed everything has it: `all`, or in `held` the one text that others made.
static int give_all(struct decoder_stream *s, int i, struct buffer *out, struct err *e)
{
    struct step_state *state = &s->state[i];
    struct string_list made;
    int result = 0;
    string_list_init(&made);
    if (state->fused &&
        (buffer_append(&state->all.text, bytes(&state->held), state->held.size, e) < 0 ||
         string_list_close(&state->all, e) < 0))
        result = -1;
    if (result == 0)
        result = decoder_step_run(&s->d->step[i], &state->all, &made, &s->scratch, e);
    for (size_t k = 0; result == 0 && k < made.n; k++) {
        size_t size;
        const char *token = string_list_at(&made, k, &size);
        result = feed(s, i + 1, token, size, out, e);
    }
    string_list_release(&made);
    return result;
}

static int finish(struct decoder_stream *s, int i, struct buffer *out, struct err *e)
{
    const struct decoder_step *step = &s->d->step[i];
    struct step_state *state = &s->state[i];
    if (state->fused && step->kind == DECODE_STRIP)
        return strip_text(s, i, 1, out, e);
    if (state->fused && takes_parts(step))
        return step->kind == DECODE_FUSE ? 0 : replace_text(s, i, 1, out, e);
    if (state->fused || step->kind == DECODE_WORD_PIECE || step->kind == DECODE_CTC)
        return state->seen ? give_all(s, i, out, e) : 0;
    if (step->kind == DECODE_BYTE_LEVEL)
        return give_characters(s, i, 1, out, e);
    if (step->kind == DECODE_BYTE_FALLBACK)
        return give_run(s, i, 1, out, e);
    if (step->kind == DECODE_SUFFIX && state->held.size)
        return give_token(s, i, state->held.data, state->held.size, 0, 1, out, e);
    return 0;
}

int decoder_stream_add(struct decoder_stream *s, const char *token, size_t size, struct buffer *out,
                       struct err *e)
{
    if (s->d)
        return feed(s, 0, token, size, out, e);
    if (s->seen && buffer_append(out, " ", 1, e) < 0)
        return -1;
    s->seen = 1;
    return buffer_append(out, token, size, e);
}

int decoder_stream_end(struct decoder_stream *s, struct buffer *out, struct err *e)
{
    int result = 0;
    for (int i = 0; s->d && i < s->d->n; i++) {
        if (result == 0)
            result = finish(s, i, out, e);
        buffer_clear(&s->state[i].held);
        string_list_clear(&s->state[i].all);
        s->state[i].seen = 0;
        s->state[i].stripped = 0;
    }
    s->seen = 0;
    return result;
}
