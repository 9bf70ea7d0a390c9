// SPDX-License-Identifier: MIT
#include "data/answers.h"
#include "base/json.h"
#include "data/marks.h"
#include "data/messages.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int untold(struct untold *u, size_t message, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    u->message = message;
    vsnprintf(u->why, sizeof u->why, format, arguments);
    va_end(arguments);
    return 0;
}

int untold_error(const struct untold *turns, const struct untold *marks, struct err *e)
{
    return err_set(e, STATUS_FAILED,
                   "which bytes the assistant wrote in message %zu cannot be told (%s; with marks "
                   "in the messages, %s): --turns each makes a record of every answer, --train-on "
                   "completion trains the last one, and a template with {%% generation %%} says it "
                   "itself",
                   turns->message, turns->why, marks->why);
}

// ---- the search ---------------------------------------------------------------------------------

enum {
    KINDS = 64,       // of places; more of them would take too many renderings
    PROMPT_REST = 256 // bytes
};

// Places that are alike: the bytes between the marks around them, whose message is on the other
// side, and where the turn begins or ends in there.
struct turn_kind {
    size_t from, size, bound; // `bound`: where the loop comes to what is behind it, or SIZE_MAX
    const char *role;         // "": there is no such message
    size_t told;
    char rest[PROMPT_REST]; // begins: what the prompt still has where the answer's first mark is
    size_t n_rest;
};
struct turn_kinds {
    struct turn_kind kind[KINDS];
    size_t n;
};

struct answer_search {
    const struct chat *c;
    const struct chat_request *r;
    size_t from; // the first message that is looked for
    struct chat_marks marks;
    struct marked_text whole;
    struct turn_kinds begins, ends;
    struct untold *why;
};

static int unlike(struct answer_search *s, size_t message, const char *reason)
{
    return untold(s->why, message, "%s", reason);
}

static const char *text_of(const struct marked_text *t)
{
    return t->text.data ? t->text.data : "";
}

// The kind of a place; a new one (->told is SIZE_MAX) where there is none, NULL where there are too
// many.
static struct turn_kind *kind_of(struct turn_kinds *k, const struct answer_search *s,
                                 const struct turn_kind *of)
{
    const char *text = text_of(&s->whole);
    for (size_t i = 0; i < k->n; i++) {
        struct turn_kind *other = &k->kind[i];
        if (other->size == of->size && other->bound == of->bound &&
            !strcmp(other->role, of->role) &&
            !memcmp(text + other->from, text + of->from, of->size))
            return other;
    }
    if (k->n == KINDS)
        return NULL;
    k->kind[k->n] = *of;
    k->kind[k->n].told = SIZE_MAX;
    return &k->kind[k->n++];
}

static size_t common(const char *a, const char *b, size_t n)
{
    size_t i = 0;
    while (i < n && a[i] == b[i])
        i++;
    return i;
}

size_t answers_before_tag(const char *text, size_t end)
{
    for (size_t i = end; i > 0; i--) {
        char c = text[i - 1];
        if (c == '<' || c == '[')
            return i - 1;
        if (c == '>' || c == ']' || c == '\n')
            break;
    }
    return end;
}

static const char *role_of(const struct answer_search *s, size_t message)
{
    const json_t *role = json_object_get(json_array_get(s->r->messages, message), "role");
    return json_is_string(role) ? json_string_value(role) : "";
}

// An answer's marks in the order of the text: [first, last] of it.
struct marked_answer {
    size_t message, first, last;
};

static size_t mark_at(const struct answer_search *s, size_t i)
{
    return s->whole.at[s->whole.order[i]];
}

static size_t mark_message(const struct answer_search *s, size_t i)
{
    return s->marks.mark[s->whole.order[i]].message;
}

// The place, from `from` on and not behind `until`, where the loop comes to the message or a later
// one, from there on; SIZE_MAX where there is none, or not only one.
static size_t loop_comes(const struct answer_search *s, size_t message, size_t from, size_t until)
{
    const struct marked_text *t = &s->whole;
    const struct message_place *place = t->places.place;
    size_t low = 0, high = t->places.n, found = SIZE_MAX;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (place[middle].at >= from)
            high = middle;
        else
            low = middle + 1;
    }
    for (; low < t->places.n && place[low].at <= until; low++) {
        if (place[low].message < message)
            continue;
        if (found != SIZE_MAX && found != place[low].at)
            return SIZE_MAX;
        found = place[low].at;
    }
    return found == SIZE_MAX ? found : found - from;
}

// ---- where an answer begins ---------------------------------------------------------------------

// Behind the mark before the answer, how much is the prompt's.
static int compare_prompt(struct answer_search *s, const struct marked_answer *a,
                          struct turn_kind *k, const struct marked_text *prompt)
{
    size_t behind = 0;
    if (a->first > 0 && (behind = prompt->at[s->whole.order[a->first - 1]]) == MARK_NOWHERE)
        return unlike(s, a->message, UNTOLD_NO_PROMPT);
    const char *text = text_of(&s->whole) + k->from;
    size_t left = prompt->text.size - behind, most = left < k->size ? left : k->size;
    size_t same = common(text, text_of(prompt) + behind, most);
    if (same < left && !s->marks.mark[s->whole.order[a->first]].begins)
        return unlike(s, a->message, UNTOLD_NO_PROMPT); // some of it may be the answer's
    if (same < left && same < k->size) {
        same = answers_before_tag(text, same);
        if (k->bound == SIZE_MAX || same <= k->bound) // nothing of the prompt itself
            return unlike(s, a->message, UNTOLD_NO_PROMPT);
    }
    if (same == k->size && left - same <= sizeof k->rest) {
        k->n_rest = left - same;
        memcpy(k->rest, text_of(prompt) + behind + same, k->n_rest);
    }
    k->told = same;
    return 1;
}

static int render_prompt(struct answer_search *s, const struct marked_answer *a,
                         struct turn_kind *k, struct err *e)
{
    struct marked_text prompt;
    struct err refusal;
    int result = marked_text_render(&prompt, &s->marks, s->c, s->r, a->message, 1, &refusal, e);
    if (result == 0)
        untold(s->why, a->message, "a part of the chat is refused: %.400s", refusal.text);
    else if (result > 0 && prompt.repeated)
        result = unlike(s, a->message, "one is written twice or in pieces");
    else if (result > 0)
        result = compare_prompt(s, a, k, &prompt);
    marked_text_release(&prompt);
    return result;
}

static int find_begin(struct answer_search *s, const struct marked_answer *a, size_t *begin,
                      struct err *e)
{
    struct turn_kind here = {.role = a->message ? role_of(s, a->message - 1) : ""};
    size_t mark = mark_at(s, a->first);
    here.from = a->first > 0 ? mark_at(s, a->first - 1) : 0;
    here.size = mark - here.from;
    here.bound = loop_comes(s, a->message, here.from, mark);
    struct turn_kind *k = kind_of(&s->begins, s, &here);
    if (!k)
        return unlike(s, a->message, "there are too many kinds of turns");
    if (k->told == SIZE_MAX) {
        int result = render_prompt(s, a, k, e);
        if (result <= 0) {
            s->begins.n--;
            return result;
        }
    }
    *begin = here.from + k->told;
    // The answer may say itself what the prompt for it says already.
    if (k->told == k->size && k->n_rest <= s->whole.text.size - *begin &&
        !memcmp(text_of(&s->whole) + *begin, k->rest, k->n_rest))
        *begin += k->n_rest;
    return 1;
}

// ---- where it ends ------------------------------------------------------------------------------

// Behind the answer's last mark, all that a chat which ends with it has there.
static int compare_end(const struct answer_search *s, const struct marked_answer *a,
                       const struct turn_kind *k, const struct marked_text *part, size_t *told)
{
    size_t behind = part->repeated ? MARK_NOWHERE : part->at[s->whole.order[a->last]];
    size_t left = behind == MARK_NOWHERE ? 0 : part->text.size - behind;
    if (behind == MARK_NOWHERE || left > k->size ||
        memcmp(text_of(&s->whole) + k->from, text_of(part) + behind, left) != 0)
        return 0;
    *told = left;
    return 1;
}

static int render_end(struct answer_search *s, const struct marked_answer *a,
                      const struct turn_kind *k, size_t *told, struct err *e)
{
    struct marked_text part;
    struct err refusal;
    int result = marked_text_render(&part, &s->marks, s->c, s->r, a->message + 1, 0, &refusal, e);
    if (result > 0)
        result = compare_end(s, a, k, &part, told);
    marked_text_release(&part);
    if (result != 0)
        return result;
    if (k->bound == SIZE_MAX)
        return unlike(s, a->message, UNTOLD_OTHERWISE);
    *told = k->bound;
    return 1;
}

static int find_end(struct answer_search *s, const struct marked_answer *a, size_t *end,
                    struct err *e)
{
    size_t n = json_array_size(s->r->messages);
    struct turn_kind here = {.from = mark_at(s, a->last), .role = role_of(s, a->message + 1)};
    size_t until = a->last + 1 < s->whole.n ? mark_at(s, a->last + 1) : s->whole.text.size;
    here.size = until - here.from;
    here.bound = loop_comes(s, a->message + 1, here.from, until);
    if (a->message + 1 == n && !s->r->add_generation_prompt) {
        *end = until;
        return 1;
    }
    struct turn_kind *k = kind_of(&s->ends, s, &here);
    if (!k)
        return unlike(s, a->message, "there are too many kinds of turns");
    if (k->told == SIZE_MAX) {
        int result = render_end(s, a, &here, &k->told, e);
        if (result <= 0) {
            s->ends.n--;
            return result;
        }
    }
    *end = here.from + k->told;
    return 1;
}

// ---- all of them --------------------------------------------------------------------------------

// Whether the text with marks proves anything.
static int check_whole(struct answer_search *s, const char *text, size_t size)
{
    const struct marked_text *t = &s->whole;
    if (t->repeated)
        return unlike(s, 0, "one is written twice or in pieces");
    if (t->text.size != size || memcmp(text_of(t), text, size) != 0)
        return unlike(s, 0, "the text is another one");
    for (size_t i = 1; i < t->n; i++)
        if (mark_message(s, i) < mark_message(s, i - 1))
            return unlike(s, mark_message(s, i), "their order is another one");
    return 1;
}

static int add_answer(struct answer_search *s, const struct marked_answer *a,
                      struct span_list *spans, size_t *last_end, struct err *e)
{
    struct span span;
    int result = find_begin(s, a, &span.start, e);
    if (result > 0)
        result = find_end(s, a, &span.end, e);
    if (result > 0 && (span.start < *last_end || span.end < span.start))
        result = unlike(s, a->message, "its turn overlaps the one before");
    if (result > 0 && span_list_add(spans, span, e) < 0)
        result = -1;
    *last_end = span.end;
    return result;
}

static int find_all(struct answer_search *s, struct span_list *spans, struct err *e)
{
    size_t i = 0, end = 0;
    for (size_t k = s->from; k < json_array_size(s->r->messages); k++) {
        if (!message_is_assistant(json_array_get(s->r->messages, k)))
            continue;
        while (i < s->whole.n && mark_message(s, i) < k)
            i++;
        struct marked_answer a = {k, i, i};
        while (i < s->whole.n && mark_message(s, i) == k)
            a.last = i++;
        if (i == a.first)
            return unlike(s, k, "nothing is written of an answer");
        int result = add_answer(s, &a, spans, &end, e);
        if (result <= 0)
            return result;
    }
    return 1;
}

// One way to mark the chat.
static int search(struct answer_search *s, int where, const char *text, size_t size,
                  struct span_list *spans, struct err *e)
{
    struct err refusal;
    size_t n = json_array_size(s->r->messages), first = spans->n;
    s->begins.n = s->ends.n = 0;
    int result = marks_init(&s->marks, s->r, where, text, size, e);
    if (result == 0)
        unlike(s, 0, "no character is left for them");
    if (result > 0) {
        result = marked_text_render(&s->whole, &s->marks, s->c, s->r, n,
                                    s->r->add_generation_prompt, &refusal, e);
        if (result == 0)
            unlike(s, 0, "the template refuses the chat");
        if (result > 0)
            result = check_whole(s, text, size);
        if (result > 0)
            result = find_all(s, spans, e);
        marked_text_release(&s->whole);
    }
    marks_release(&s->marks);
    if (result <= 0)
        spans->n = first;
    return result;
}

// Whether some answer has no word.
static int has_empty(const struct chat_request *r)
{
    int empty = 0;
    for (size_t i = 0; i < json_array_size(r->messages); i++) {
        const json_t *message = json_array_get(r->messages, i);
        const json_t *content = json_object_get(message, "content");
        const char *text = json_string_value(content);
        size_t n = json_string_length(content);
        if (!text || !message_is_assistant(message))
            continue;
        string_trim(&text, &n);
        empty |= n == 0;
    }
    return empty;
}

int answers_find(const struct chat *c, const struct chat_request *r, size_t from, const char *text,
                 size_t size, struct span_list *spans, struct untold *why, struct err *e)
{
    static const int ways[] = {MARK_BEGINNINGS | MARK_NAMES | MARK_OTHERS,
                               MARK_BEGINNINGS | MARK_OTHERS,
                               MARK_BEGINNINGS | MARK_OTHERS | MARK_EMPTY,
                               MARK_BEGINNINGS | MARK_NAMES,
                               MARK_BEGINNINGS,
                               MARK_BEGINNINGS | MARK_EMPTY,
                               MARK_OTHERS,
                               0};
    struct answer_search *s = mem_alloc(1, sizeof *s, "a chat", e);
    struct untold later;
    int result = s ? 0 : -1, empty = has_empty(r), tried = 0;
    if (s)
        *s = (struct answer_search){.c = c, .r = r, .from = from};
    for (size_t i = 0; result == 0 && i < sizeof ways / sizeof *ways; i++) {
        if (!empty && ways[i] & MARK_EMPTY)
            continue;
        s->why = tried++ ? &later : why; // the first reason is the best
        result = search(s, ways[i], text, size, spans, e);
    }
    free(s);
    return result;
}
