// SPDX-License-Identifier: MIT
#include "data/example.h"

#include <stdlib.h>
#include <string.h>

int example_settings_init(struct example_settings *s, const struct tokenizer *t, struct err *e)
{
    memset(s, 0, sizeof *s);
    buffer_init(&s->end_text, 0);
    s->tokenizer = t;
    s->end = tokenizer_eos(t);
    size_t size;
    const char *text = s->end < 0 ? NULL : tokenizer_token(t, (uint32_t)s->end, &size);
    return text ? buffer_append(&s->end_text, text, size, e) : 0;
}

void example_settings_release(struct example_settings *s)
{
    buffer_release(&s->end_text);
}

void example_init(struct example *x)
{
    memset(x, 0, sizeof *x);
    token_list_init(&x->tokens);
    token_list_init(&x->declared);
}

void example_release(struct example *x)
{
    token_list_release(&x->tokens);
    token_list_release(&x->declared);
    free(x->mask);
    free(x->across);
    example_init(x);
}

static int ends_with(const struct buffer *text, size_t from, const struct buffer *end)
{
    return end->size && text->size - from >= end->size &&
           !memcmp(text->data + text->size - end->size, end->data, end->size);
}

static void remove_token(struct token_list *t, size_t at)
{
    t->n--;
    memmove(t->id + at, t->id + at + 1, (t->n - at) * sizeof *t->id);
    memmove(t->start + at, t->start + at + 1, (t->n - at) * sizeof *t->start);
    memmove(t->end + at, t->end + at + 1, (t->n - at) * sizeof *t->end);
}

// Where tokens go, and how.
struct encode_target {
    const struct example_settings *s;
    struct tokenizer_worker *worker;
    struct token_list *out;
    unsigned flags;
};

static int encode(const struct encode_target *p, const struct buffer *text, size_t start,
                  size_t end, unsigned flags, struct err *e)
{
    size_t first = p->out->n;
    if (tokenizer_encode_by(p->s->tokenizer, p->worker, text->data + start, end - start,
                            p->flags | flags, p->out, e) < 0)
        return -1;
    for (size_t i = first; start && i < p->out->n; i++) {
        p->out->start[i] += (uint32_t)start;
        p->out->end[i] += (uint32_t)start;
    }
    return 0;
}

static int push_end(const struct encode_target *p, size_t start, size_t end, struct err *e)
{
    return token_list_add(p->out, (uint32_t)p->s->end, start, end, e);
}

// The post-processor's beginning token goes where the text begins with it too.
static void begin_once(struct example *x, const struct encode_target *p, size_t body, size_t end,
                       size_t *front)
{
    if (!*front || body >= end || p->out->id[body - 1] != p->out->id[body])
        return;
    x->doubled = 1;
    if (p->s->keeps_duplicates)
        return;
    remove_token(p->out, body - 1);
    --*front;
}

// Encodes text[start ..) and sees to it that the end token stands at its end once. *front: tokens
// in front that the post-processor added.
static int encode_ended(struct example *x, const struct encode_target *p, const struct record *r,
                        size_t start, unsigned flags, size_t *front, struct err *e)
{
    const struct buffer *text = &r->text;
    size_t first = p->out->n, before, behind;
    tokenizer_affixes(p->s->tokenizer, &before, &behind);
    if (!(flags & TOKENIZER_SPECIAL))
        before = behind = 0;
    *front = before;
    if (encode(p, text, start, text->size, flags, e) < 0)
        return -1;
    size_t body = first + before, body_end = p->out->n - behind;
    int last_is_end = body_end > body && p->out->id[body_end - 1] == p->s->end;
    if (!r->open_end && !last_is_end) {
        // Spelled out in place of being one token (a normalizer's doing).
        x->end_by_id = 1;
        p->out->n = first;
        size_t cut = text->size - p->s->end_text.size;
        if (encode(p, text, start, cut, flags, e) < 0)
            return -1;
        p->out->n -= behind;
        behind = 0;
        if (push_end(p, cut, text->size, e) < 0)
            return -1;
        body_end = p->out->n;
        last_is_end = 1;
    }
    while (behind && last_is_end && p->out->id[body_end] == p->s->end) {
        x->doubled = 1;
        if (p->s->keeps_duplicates)
            break;
        remove_token(p->out, body_end);
        behind--;
    }
    begin_once(x, p, body, body_end, front);
    return 0;
}

// The ids of a prompt as at inference: nothing that the post-processor puts at the end.
static int encode_prompt(struct example *x, const struct encode_target *p, const struct record *r,
                         unsigned flags, size_t *front, struct err *e)
{
    size_t behind, body = p->out->n;
    tokenizer_affixes(p->s->tokenizer, front, &behind);
    if (!(flags & TOKENIZER_SPECIAL))
        *front = behind = 0;
    if (encode(p, &r->text, 0, r->prompt_size, flags, e) < 0)
        return -1;
    p->out->n -= behind;
    begin_once(x, p, body + *front, p->out->n, front);
    return 0;
}

static int build(struct example *x, const struct encode_target *p, const struct record *r,
                 int prompt_only, size_t *front, struct err *e)
{
    int special = p->s->special == SPECIAL_YES || (p->s->special == SPECIAL_DEFAULT && !r->is_chat);
    unsigned flags = special ? TOKENIZER_SPECIAL : 0;
    size_t none;
    p->out->n = 0;
    if (prompt_only)
        return encode_prompt(x, p, r, flags, front, e);
    if (p->s->boundary == BOUNDARY_JOINT || r->prompt_size == 0)
        return encode_ended(x, p, r, 0, flags, front, e);
    return encode_prompt(x, p, r, flags, front, e) < 0
               ? -1
               : encode_ended(x, p, r, r->prompt_size, 0, &none, e);
}

// How much of the token's extent is in the spans.
enum touch { OUTSIDE, INSIDE, ACROSS };

static enum touch touches(const struct span_list *spans, size_t start, size_t end)
{
    // Spans ascend: the first that ends behind `start` decides.
    size_t low = 0, high = spans->n;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (spans->span[middle].end > start)
            high = middle;
        else
            low = middle + 1;
    }
    if (low == spans->n || spans->span[low].start >= end)
        return OUTSIDE;
    return spans->span[low].start <= start && end <= spans->span[low].end ? INSIDE : ACROSS;
}

static int make_mask(struct example *x, const struct record *r, size_t front, struct err *e)
{
    const struct token_list *t = &x->tokens;
    if (MEM_GROW(x->mask, x->mask_capacity, t->n + 1, "a loss mask", e) < 0 ||
        MEM_GROW(x->across, x->across_capacity, t->n + 1, "a loss mask", e) < 0)
        return -1;
    for (size_t i = 0; i < t->n; i++) {
        // What the post-processor put at the end has no bytes and stands behind all of them.
        int added_at_end = i >= front && t->start[i] == t->end[i] && t->end[i] == r->text.size;
        int past = t->end[i] > r->prompt_size || added_at_end;
        enum touch touch = r->has_spans ? touches(&r->spans, t->start[i], t->end[i]) : INSIDE;
        int across = touch == ACROSS || (t->start[i] < r->prompt_size && !added_at_end);
        x->mask[i] = (uint8_t)(r->trains_all || (i >= front && past && touch != OUTSIDE));
        x->across[i] = (uint8_t)(!r->trains_all && x->mask[i] && across);
        x->fused |= x->across[i];
    }
    return 0;
}

static void drop_left(struct token_list *t, size_t n)
{
    t->n -= n;
    memmove(t->id, t->id + n, t->n * sizeof *t->id);
    memmove(t->start, t->start + n, t->n * sizeof *t->start);
    memmove(t->end, t->end + n, t->n * sizeof *t->end);
}

static int truncate_to(struct example *x, const struct example_settings *s, struct err *e)
{
    size_t n = x->tokens.n, more = n - s->max_length;
    switch (s->truncation) {
    case TRUNCATE_ERROR:
        return err_set(e, STATUS_FAILED, "%zu tokens are more than --max-length %zu (--truncation)",
                       n, s->max_length);
    case TRUNCATE_DROP:
        x->fate = EXAMPLE_TOO_LONG;
        return 0;
    case TRUNCATE_LEFT:
        drop_left(&x->tokens, more);
        if (s->offsets)
            drop_left(&x->declared, more);
        memmove(x->mask, x->mask + more, s->max_length);
        memmove(x->across, x->across + more, s->max_length);
        break;
    default:
        x->tokens.n = s->max_length;
        x->declared.n = s->offsets ? s->max_length : 0;
    }
    x->cut = more;
    return 0;
}

static int untrained(struct example *x, const struct example_settings *s, const char *what,
                     struct err *e)
{
    x->fate = EXAMPLE_UNTRAINED;
    return s->drops_untrained ? 0 : err_set(e, STATUS_FAILED, "%s (--on-untrained drop)", what);
}

// Whether the token stands for no text: decoding can leave it out.
static int is_special(const struct example_settings *s, uint32_t id)
{
    struct buffer with, without;
    struct err e;
    if ((int64_t)id == s->end)
        return 1;
    buffer_init(&with, 0);
    buffer_init(&without, 0);
    int special = tokenizer_decode(s->tokenizer, &id, 1, 0, &with, &e) == 0 &&
                  tokenizer_decode(s->tokenizer, &id, 1, 1, &without, &e) == 0 && with.size > 0 &&
                  without.size == 0;
    buffer_release(&with);
    buffer_release(&without);
    return special;
}

// A turn teaches to stop when a special token is the last of it, or stands before its last newline.
static void look_for_stops(struct example *x, const struct example_settings *s,
                           const struct record *r)
{
    enum { BACK = 3 };
    const struct token_list *t = &x->tokens;
    if (!r->is_chat || r->trains_all || r->is_prompt || x->cut)
        return;
    for (size_t i = 0; i < t->n && x->no_stop < 0; i++) {
        if (!x->mask[i] || (i + 1 < t->n && x->mask[i + 1]))
            continue;
        int found = 0;
        for (size_t k = 0; !found && k < BACK && k <= i && x->mask[i - k]; k++)
            if ((found = is_special(s, t->id[i - k])) && x->turn_end < 0)
                x->turn_end = t->id[i - k];
        if (!found)
            x->no_stop =
                i + 1 < t->n && is_special(s, t->id[i + 1]) ? t->id[i + 1] : EXAMPLE_NO_STOP;
    }
}

static int take_tokens(struct example *x, const struct example_settings *s, const struct record *r,
                       struct err *e)
{
    struct token_list *t = &x->tokens;
    t->n = 0;
    if (s->offsets)
        return err_set(e, STATUS_FAILED, "--offsets: token ids have no text");
    for (size_t i = 0; i < r->n; i++) {
        if (r->id[i] >= tokenizer_size(s->tokenizer))
            return err_set(e, STATUS_FAILED,
                           "at %zu: id %u is not in this tokenizer's vocabulary of %zu", i,
                           r->id[i], tokenizer_size(s->tokenizer));
        if (token_list_add(t, r->id[i], 0, 0, e) < 0)
            return -1;
    }
    if (make_mask(x, r, 0, e) < 0)
        return -1;
    memcpy(x->mask, r->mask, r->n);
    memset(x->across, 0, r->n);
    x->fused = 0;
    return 0;
}

// The record's text, which gets its end token, as tokens.
static int tokenize(struct example *x, const struct example_settings *s, struct tokenizer_worker *w,
                    struct record *r, struct err *e)
{
    if (buffer_reserve(&r->text, 1, e) < 0)
        return -1;
    if (!r->open_end) {
        if (s->end < 0)
            return err_set(e, STATUS_FAILED,
                           "the tokenizer names no end token (eos_token in tokenizer_config.json)");
        if (!ends_with(&r->text, r->prompt_size, &s->end_text) &&
            buffer_append(&r->text, s->end_text.data, s->end_text.size, e) < 0)
            return -1;
    }
    struct encode_target p = {s, w, &x->tokens, TOKENIZER_EXTENT};
    size_t front, other;
    if (build(x, &p, r, r->is_prompt, &front, e) < 0 || make_mask(x, r, front, e) < 0)
        return -1;
    p.out = &x->declared;
    p.flags = 0;
    return s->offsets ? build(x, &p, r, r->is_prompt, &other, e) : 0;
}

enum { LARGE = 1 << 20 }; // tokens of a record whose memory is not kept for the next one

int example_make(struct example *x, const struct example_settings *s, struct tokenizer_worker *w,
                 struct record *r, struct err *e)
{
    x->fate = EXAMPLE_KEPT;
    x->fused = x->doubled = x->end_by_id = 0;
    x->trained = x->cut = 0;
    x->no_stop = x->turn_end = -1;
    if ((r->is_tokens ? take_tokens(x, s, r, e) : tokenize(x, s, w, r, e)) < 0)
        return -1;
    int is_large = x->tokens.capacity > LARGE;
    if (r->is_prompt) {
        memset(x->mask, 0, x->tokens.n);
        memset(x->across, 0, x->tokens.n);
        x->fused = 0;
    }
    size_t wanted = 0;
    for (size_t i = 0; i < x->tokens.n; i++)
        wanted += x->mask[i];
    if (s->max_length && x->tokens.n > s->max_length && truncate_to(x, s, e) < 0)
        return -1;
    if (is_large)
        token_list_drop_places(&x->tokens);
    if (x->fate != EXAMPLE_KEPT)
        return 0;
    for (size_t i = 0; i < x->tokens.n; i++)
        x->trained += x->mask[i];
    if (r->is_prompt)
        return x->tokens.n ? 0 : untrained(x, s, "the prompt has no tokens", e);
    if (x->trained == 0)
        return untrained(x, s,
                         wanted         ? "nothing is left to train after truncation"
                         : r->no_answer ? "nothing to train, as no message has the role "
                                          "`assistant`: --roles assistant=THEIRS says who it is"
                                        : "nothing to train",
                         e);
    look_for_stops(x, s, r);
    return 0;
}
