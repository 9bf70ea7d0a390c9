// SPDX-License-Identifier: MIT
// What the assistant wrote, by the bounds of its turns: a turn is what the template adds to the
// chat before it with the prompt for an answer. Where the whole chat does not begin with its own
// beginnings, rendered alone, answers.c looks for the answers themselves.
#include "base/json.h"
#include "data/answers.h"
#include "data/messages.h"
#include "data/rendering.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int starts_with(const char *text, size_t n, const struct buffer *with)
{
    return with->size <= n && (with->size == 0 || memcmp(text, with->data, with->size) == 0);
}

// The turn of message k in the whole text: from the end of the prompt for it to the end of the chat
// up to it. 1, or 0 with *why when it cannot be told so, or -1.
static int find_turn(const struct chat *c, const struct chat_request *r, size_t k, const char *text,
                     size_t size, struct span *turn, struct untold *why, struct err *e)
{
    struct buffer before, after;
    struct err inner;
    int told = -1;
    buffer_init(&before, 0);
    buffer_init(&after, 0);
    int status = chat_render_messages(c, r, chat_plain_messages(r, k, &inner), 1, &before, NULL,
                                      NULL, &inner);
    if (status == 0)
        status = chat_render_messages(c, r, chat_plain_messages(r, k + 1, &inner), 0, &after, NULL,
                                      NULL, &inner);
    if (status < 0 && inner.status != STATUS_FAILED)
        *e = inner;
    else if (status < 0)
        told = untold(why, k, "a part of the chat is refused: %.400s", inner.text);
    else if (!starts_with(text, size, &after))
        told = untold(why, k, UNTOLD_OTHERWISE);
    else if (!starts_with(after.data ? after.data : "", after.size, &before))
        told = untold(why, k, UNTOLD_NO_PROMPT);
    else
        told = 1;
    *turn = (struct span){before.size, after.size};
    buffer_release(&before);
    buffer_release(&after);
    return told;
}

// ---- all turns at once --------------------------------------------------------------------------

enum { FEW_TURNS = 4 }; // for so few each is rendered anew

// A part of the chat: how long its text is and whether the whole chat begins with it.
struct part {
    size_t size;
    int known, begins;
};

// The first k messages with the prompt for the next one, and the first k + 1 without, for each k.
struct turns {
    const struct chat_request *r;
    const char *text;
    size_t size;
    struct part *before, *after;
    int prompt;      // those with the prompt
    size_t compared; // bytes of the text that this pass has in common with the whole
    int differs;     // from there on
    int fails;       // a turn cannot be told: no later one counts
};

static int wants_turn(void *arg, size_t length)
{
    const struct turns *t = arg;
    size_t k = t->prompt ? length : length - 1;
    return !t->fails && k < json_array_size(t->r->messages) &&
           message_is_assistant(json_array_get(t->r->messages, k));
}

static void take_turn(void *arg, size_t length, const char *text, size_t shared, size_t size)
{
    struct turns *t = arg;
    struct part *part = t->prompt ? &t->before[length] : &t->after[length - 1];
    size_t end = shared < t->size ? shared : t->size;
    if (!t->differs && t->compared < end) {
        t->differs = memcmp(t->text + t->compared, text + t->compared, end - t->compared) != 0;
        t->compared = end;
    }
    part->known = 1;
    part->size = size;
    part->begins = !t->differs && size <= t->size &&
                   (size == shared || memcmp(t->text + shared, text + shared, size - shared) == 0);
    t->fails |= !part->begins;
}

static void render_turns(const struct chat *c, struct turns *t)
{
    struct err e;
    for (t->prompt = 0; t->prompt < 2; t->prompt++) {
        json_t *messages = chat_plain_messages(t->r, json_array_size(t->r->messages), &e);
        const struct template_prefixes how = {messages, t, wants_turn, take_turn};
        json_t *context = chat_context(c, t->r, messages, t->prompt, &e);
        t->compared = 0;
        t->differs = 0;
        if (context)
            template_prefixes(chat_template(c, t->r), context, &how);
        json_decref(context);
    }
}

// *many: there are so many turns that they are rendered at once, and none anew.
static int turns_init(struct turns *t, const struct chat *c, const struct chat_request *r,
                      const char *text, size_t size, int *many, struct err *e)
{
    size_t n = json_array_size(r->messages), answers = 0;
    *t = (struct turns){.r = r, .text = text, .size = size};
    t->before = mem_alloc(n + 1, sizeof *t->before, "a chat", e);
    t->after = mem_alloc(n + 1, sizeof *t->after, "a chat", e);
    if (!t->before || !t->after)
        return -1;
    for (size_t k = 0; k < n; k++)
        answers += (size_t)message_is_assistant(json_array_get(r->messages, k));
    *many = answers > FEW_TURNS;
    if (*many)
        render_turns(c, t);
    return 0;
}

// The turn of message k from what was rendered of it at once, or else (`anew`) rendered anew. 1, 0
// with *why, or -1.
static int turn_of(const struct turns *t, const struct chat *c, size_t k, int anew,
                   struct span *turn, struct untold *why, struct err *e)
{
    const struct part *b = &t->before[k], *a = &t->after[k];
    if (!a->known || !b->known)
        return anew ? find_turn(c, t->r, k, t->text, t->size, turn, why, e)
                    : untold(why, k, "it would take too long");
    if (!a->begins)
        return untold(why, k, UNTOLD_OTHERWISE);
    if (!b->begins || b->size > a->size)
        return untold(why, k, UNTOLD_NO_PROMPT);
    *turn = (struct span){b->size, a->size};
    return 1;
}

static int by_turns(const struct turns *t, const struct chat *c, int anew, struct span_list *spans,
                    struct untold *why, struct err *e)
{
    size_t n = json_array_size(t->r->messages), end = 0, first = spans->n;
    int told = 1;
    for (size_t k = 0; k < n && told > 0; k++) {
        struct span turn;
        if (!message_is_assistant(json_array_get(t->r->messages, k)))
            continue;
        told = turn_of(t, c, k, anew, &turn, why, e);
        if (told > 0 && turn.start < end)
            told = untold(why, k, "its turn overlaps the one before");
        if (told > 0 && span_list_add(spans, turn, e) < 0)
            told = -1;
        end = turn.end;
    }
    if (told <= 0)
        spans->n = first;
    return told;
}

// ---- what is not the assistant's after all ------------------------------------------------------

// Whether no more than one token that ends something stands there, as against the beginning of what
// comes next (a prompt that nobody asked for, a word to the model).
static int is_end(const char *s, size_t n)
{
    string_trim(&s, &n);
    if (n == 0)
        return 1;
    const char *close = memchr(s, s[0] == '<' ? '>' : ']', n);
    return (s[0] == '<' || s[0] == '[') && close == s + n - 1;
}

// The first place that is not before `at`.
static size_t place_from(const struct place_list *places, size_t at)
{
    size_t low = 0, high = places->n;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (places->place[middle].at >= at)
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}

// A turn does not begin before the loop comes to its message.
static void clip_begin(const struct place_list *places, size_t k, struct span *turn)
{
    for (size_t i = place_from(places, turn->start);
         i < places->n && places->place[i].at < turn->end; i++)
        if (places->place[i].message == k)
            turn->start = places->place[i].at;
}

// It does not go on where the loop comes to the next one, but for a token that ends it.
static void clip_end(const struct place_list *places, size_t k, const char *text, struct span *turn)
{
    for (size_t i = place_from(places, turn->start + 1);
         i < places->n && places->place[i].at < turn->end; i++) {
        const struct message_place *p = &places->place[i];
        if (p->message > k && !is_end(text + p->at, turn->end - p->at)) {
            turn->end = p->at;
            return;
        }
    }
}

static void clip(const struct chat_request *r, const struct place_list *places, const char *text,
                 struct span_list *spans, size_t first)
{
    for (size_t k = 0; k < json_array_size(r->messages) && first < spans->n; k++)
        if (message_is_assistant(json_array_get(r->messages, k))) {
            clip_begin(places, k, &spans->span[first]);
            clip_end(places, k, text, &spans->span[first++]);
        }
}

static int spans_of_turns(const struct chat *c, const struct chat_request *r,
                          const struct place_list *places, const char *text, size_t size,
                          struct span_list *spans, struct err *e)
{
    struct turns t;
    struct untold why, marks;
    size_t first = spans->n;
    int many, told = turns_init(&t, c, r, text, size, &many, e);
    if (told == 0)
        told = by_turns(&t, c, !many, spans, &why, e);
    if (told == 0)
        told = answers_find(c, r, 0, text, size, spans, &marks, e);
    if (told == 0 && many)
        told = by_turns(&t, c, 1, spans, &why, e);
    free(t.before);
    free(t.after);
    if (told > 0)
        clip(r, places, text, spans, first);
    if (told > 0)
        return 0;
    return told < 0 ? -1 : untold_error(&why, &marks, e);
}

int chat_render_spans(const struct chat *c, const struct chat_request *r, struct buffer *out,
                      struct span_list *spans, struct err *e)
{
    size_t start = out->size, n_spans = spans->n;
    struct place_list places = {.n = 0};
    if (chat_check(r, e) < 0)
        return -1;
    if (r->continue_final_message)
        return err_set(e, STATUS_FAILED, "a chat that is to be continued has no finished turns");
    int marked = template_marks_generation(chat_template(c, r));
    json_t *messages = chat_plain_messages(r, json_array_size(r->messages), e);
    int status = chat_render_messages(c, r, messages, r->add_generation_prompt, out,
                                      marked ? spans : NULL, marked ? NULL : &places, e);
    if (status == 0 && !marked)
        status = spans_of_turns(c, r, &places, out->data ? out->data + start : "",
                                out->size - start, spans, e);
    free(places.place);
    if (status < 0) {
        out->size = start;
        if (out->data)
            out->data[start] = 0;
        spans->n = n_spans;
    }
    return status;
}

// ---- one answer ---------------------------------------------------------------------------------

// Where the answer begins: behind the prompt for it, or where the whole stops being that.
static int begin_of_answer(const struct chat *c, const struct chat_request *r, size_t from,
                           const struct buffer *front, const char *text, size_t size, size_t *begin,
                           struct err *e)
{
    struct span_list spans;
    struct untold why;
    *begin = front->size;
    if (starts_with(text, size, front))
        return 0;
    span_list_init(&spans);
    int told =
        r->continue_final_message ? 0 : answers_find(c, r, from, text, size, &spans, &why, e);
    if (told > 0 && spans.n) {
        *begin = spans.span[0].start;
    } else {
        size_t same = 0;
        while (same < size && same < front->size && text[same] == front->data[same])
            same++;
        *begin = answers_before_tag(text, same);
    }
    span_list_release(&spans);
    return told < 0 ? -1 : 0;
}

static int find_answer(const struct chat *c, const struct chat_request *r, size_t from,
                       const struct place_list *places, const char *text, size_t size,
                       struct span *answer, struct err *e)
{
    struct buffer front;
    buffer_init(&front, 0);
    int status =
        chat_render_messages(c, r, chat_plain_messages(r, from, e), 1, &front, NULL, NULL, e);
    if (status == 0)
        status = begin_of_answer(c, r, from, &front, text, size, &answer->start, e);
    answer->end = size;
    if (status == 0 && !r->add_generation_prompt)
        clip_end(places, json_array_size(r->messages) - 1, text, answer);
    buffer_release(&front);
    return status;
}

int chat_render_answer(const struct chat *c, const struct chat_request *r, size_t from,
                       struct buffer *out, struct span *answer, struct err *e)
{
    size_t start = out->size;
    struct place_list places = {.n = 0};
    if (chat_check(r, e) < 0)
        return -1;
    int status =
        r->continue_final_message
            ? chat_render(c, r, out, e)
            : chat_render_messages(c, r, chat_plain_messages(r, json_array_size(r->messages), e),
                                   r->add_generation_prompt, out, NULL, &places, e);
    if (status == 0)
        status = find_answer(c, r, from, &places, out->data ? out->data + start : "",
                             out->size - start, answer, e);
    free(places.place);
    if (status < 0) {
        out->size = start;
        if (out->data)
            out->data[start] = 0;
    }
    return status;
}
