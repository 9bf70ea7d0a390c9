// SPDX-License-Identifier: MIT
#include "data/marks.h"
#include "base/json.h"
#include "base/json_wide.h"
#include "base/utf8.h"
#include "data/messages.h"

#include <stdlib.h>
#include <string.h>

// A mark is its lead and the number in four digits; each of these characters takes four bytes.
enum { DIGIT = 0x10F000, LEAD = 0x10F040, LEADS = 64, DIGITS = 4, MARK_SIZE = 4 + 4 * DIGITS };

// ---- marks into messages ------------------------------------------------------------------------

static int add_mark(struct chat_marks *m, size_t message, int begins, struct buffer *out,
                    struct err *e)
{
    char bytes[MARK_SIZE];
    if (m->n >> 6 * DIGITS)
        return err_set(e, STATUS_FAILED, "a chat of too many messages");
    if (MEM_GROW(m->mark, m->capacity, m->n + 1, "marks", e) < 0)
        return -1;
    utf8_put(m->lead, bytes);
    for (int i = 0; i < DIGITS; i++)
        utf8_put(DIGIT + (uint32_t)(m->n >> 6 * i & 63), bytes + 4 + 4 * i);
    m->mark[m->n++] = (struct chat_mark){message, begins};
    return buffer_append(out, bytes, sizeof bytes, e);
}

// Where marks go in a text: ascending.
struct text_cuts {
    struct text_cut {
        size_t at;
        int begins;
    } cut[5];
    int n;
};

static void add_cut(struct text_cuts *c, size_t at, int begins)
{
    c->cut[c->n++] = (struct text_cut){at, begins};
}

static size_t skip_space(const char *s, size_t from, size_t end)
{
    const char *at = s + from;
    size_t n = end - from;
    string_trim(&at, &n);
    return n ? (size_t)(at - s) : end;
}

// Before thoughts that a text holds, and behind them, between its ends.
static void cut_thoughts(struct text_cuts *c, const char *s, size_t end, int begins)
{
    static const char open[] = "<think>", close[] = "</think>";
    const size_t open_size = sizeof open - 1, close_size = sizeof close - 1;
    const char *last = NULL, *at = s, *first = memmem(s, end, open, open_size);
    while ((at = memmem(at, end - (size_t)(at - s), close, close_size)))
        last = at++;
    if (!last)
        return;
    size_t until = (size_t)(last - s), after = skip_space(s, until + close_size, end);
    if (first && first < last) {
        size_t from = skip_space(s, (size_t)(first - s) + open_size, until);
        if (begins && from < until)
            add_cut(c, from, 1);
    }
    if (after < end)
        add_cut(c, after, begins);
}

// The text with marks at its ends (`begins`: at the beginning too), and (`thoughts`: it is an
// answer) before and behind thoughts in it. A new reference.
static json_t *mark_text(struct chat_marks *m, size_t message, const json_t *string, int begins,
                         int thoughts, struct err *e)
{
    const char *s = json_string_value(string), *from = s;
    size_t size = json_string_length(string), n = size, at = 0;
    struct text_cuts c = {.n = 0};
    struct buffer out;
    string_trim(&from, &n);
    if (n == 0 && !(thoughts && m->where & MARK_EMPTY))
        return json_incref((json_t *)string);
    size_t end = (size_t)(from - s) + n;
    if (begins)
        add_cut(&c, (size_t)(from - s), 1);
    if (thoughts)
        cut_thoughts(&c, s, end, begins);
    add_cut(&c, end, 0);
    buffer_init(&out, 0);
    int status = 0;
    for (int i = 0; status == 0 && i < c.n; i++) {
        status = buffer_append(&out, s + at, c.cut[i].at - at, e);
        if (status == 0)
            status = add_mark(m, message, c.cut[i].begins, &out, e);
        at = c.cut[i].at;
    }
    if (status == 0)
        status = buffer_append(&out, s + at, size - at, e);
    json_t *marked = status == 0 ? json_stringn_nocheck(out.data, out.size) : NULL;
    if (status == 0 && !marked)
        err_memory(e, out.size, "a message");
    buffer_release(&out);
    return marked;
}

static int set(json_t *object, const char *key, json_t *value, struct err *e)
{
    if (!value) // *e is filled
        return -1;
    return json_object_set_new(object, key, value) == 0 ? 0 : err_memory(e, 64, "a message");
}

// A content: a text, or parts of which some are texts.
static json_t *mark_content(struct chat_marks *m, size_t message, const json_t *content, int begins,
                            int thoughts, struct err *e)
{
    if (json_is_string(content))
        return mark_text(m, message, content, begins, thoughts, e);
    json_t *out = json_copy((json_t *)content);
    if (!out) {
        err_memory(e, 64, "a message");
        return NULL;
    }
    for (size_t i = 0; i < json_array_size(content); i++) {
        json_t *part = json_array_get(content, i), *text = json_object_get(part, "text");
        if (!json_is_string(text))
            continue;
        json_t *copy = json_copy(part);
        if (!copy || set(copy, "text", mark_text(m, message, text, begins, thoughts, e), e) < 0 ||
            json_array_set(out, i, copy) < 0) {
            json_decref(copy);
            json_decref(out);
            return NULL;
        }
        json_decref(copy);
    }
    return out;
}

// Reasoning stands under each of its names.
static int mark_reasoning(struct chat_marks *m, size_t message, json_t *out, int begins,
                          struct err *e)
{
    static const char *const names[] = {"reasoning_content", "thinking", "reasoning"};
    const json_t *text = json_object_get(out, names[0]);
    if (!json_is_string(text))
        return 0;
    json_t *marked = mark_text(m, message, text, begins, 0, e);
    int status = marked ? 0 : -1;
    for (size_t i = sizeof names / sizeof *names; status == 0 && i-- > 0;)
        if (json_equal(json_object_get(out, names[i]), text))
            status = set(out, names[i], json_incref(marked), e);
    json_decref(marked);
    return status;
}

// Arguments get marks at both ends: of their text, or of those that are texts.
static json_t *mark_arguments(struct chat_marks *m, size_t message, const json_t *arguments,
                              struct err *e)
{
    if (json_is_string(arguments))
        return mark_text(m, message, arguments, 1, 0, e);
    json_t *out = json_copy((json_t *)arguments), *value;
    const char *key;
    if (json_wide_digits(arguments))
        return out;
    json_object_foreach((json_t *)arguments, key, value)
    {
        if (json_is_string(value) && set(out, key, mark_text(m, message, value, 1, 0, e), e) < 0) {
            json_decref(out);
            return NULL;
        }
    }
    return out;
}

static int mark_call(struct chat_marks *m, size_t message, json_t *function, struct err *e)
{
    json_t *name = json_object_get(function, "name");
    json_t *arguments = json_object_get(function, "arguments");
    struct buffer text;
    int status = 0;
    if (m->where & MARK_NAMES && json_is_string(name)) {
        buffer_init(&text, 0);
        status = add_mark(m, message, 1, &text, e);
        if (status == 0)
            status = buffer_append(&text, json_string_value(name), json_string_length(name), e);
        if (status == 0)
            status = set(function, "name", json_stringn(text.data, text.size), e);
        buffer_release(&text);
    }
    if (status == 0 && arguments)
        status = set(function, "arguments", mark_arguments(m, message, arguments, e), e);
    return status;
}

static int mark_calls(struct chat_marks *m, size_t message, json_t *out, struct err *e)
{
    const json_t *calls = json_object_get(out, "tool_calls");
    json_t *list = json_array();
    int status = list ? 0 : err_memory(e, 64, "a message");
    for (size_t i = 0; status == 0 && i < json_array_size(calls); i++) {
        json_t *call = json_copy(json_array_get(calls, i));
        json_t *function = json_copy(json_object_get(call, "function"));
        status = mark_call(m, message, function ? function : call, e);
        if (status == 0 && function)
            status = set(call, "function", json_incref(function), e);
        json_decref(function);
        json_array_append_new(list, call);
    }
    if (status == 0 && json_array_size(calls))
        status = set(out, "tool_calls", json_incref(list), e);
    json_decref(list);
    return status;
}

static json_t *mark_message(struct chat_marks *m, size_t message, const json_t *plain,
                            struct err *e)
{
    json_t *out = json_copy((json_t *)plain);
    const json_t *content = json_object_get(plain, "content");
    int assistant = message_is_assistant(plain), begins = !assistant || m->where & MARK_BEGINNINGS;
    int status = out ? 0 : err_memory(e, 64, "a message");
    if (status == 0 && content && (assistant || m->where & MARK_OTHERS))
        status = set(out, "content", mark_content(m, message, content, begins, assistant, e), e);
    if (status == 0 && assistant)
        status = mark_reasoning(m, message, out, begins, e);
    if (status == 0 && assistant)
        status = mark_calls(m, message, out, e);
    if (status == 0)
        return out;
    json_decref(out);
    return NULL;
}

static int find_lead(struct chat_marks *m, const char *text, size_t size)
{
    char bytes[4];
    for (m->lead = LEAD; m->lead < LEAD + LEADS; m->lead++) {
        utf8_put(m->lead, bytes);
        if (!memmem(text, size, bytes, sizeof bytes))
            return 1;
    }
    return 0;
}

int marks_init(struct chat_marks *m, const struct chat_request *r, int where, const char *text,
               size_t size, struct err *e)
{
    size_t n = json_array_size(r->messages);
    *m = (struct chat_marks){.where = where};
    if (!find_lead(m, text, size))
        return 0;
    json_t *plain = chat_plain_messages(r, n, e);
    int status = plain ? 1 : -1;
    if (plain && !(m->messages = json_array()))
        status = err_memory(e, 64, "a chat");
    for (size_t i = 0; status > 0 && i < n; i++) {
        json_t *message = mark_message(m, i, json_array_get(plain, i), e);
        if (!message)
            status = -1;
        else if (json_array_append_new(m->messages, message) < 0)
            status = err_memory(e, 64, "a chat");
    }
    json_decref(plain);
    return status;
}

void marks_release(struct chat_marks *m)
{
    free(m->mark);
    json_decref(m->messages);
    *m = (struct chat_marks){.n = 0};
}

// ---- marks out of a text ------------------------------------------------------------------------

// The number of the mark at s; m->n: it is none.
static size_t mark_number(const struct chat_marks *m, const char *s, size_t size)
{
    size_t number = 0, at = 4;
    if (size < MARK_SIZE)
        return m->n;
    for (int i = 0; i < DIGITS; i++) {
        size_t bad;
        if (utf8_sequence(s + at, size - at, &bad) != 4)
            return m->n;
        uint32_t digit = utf8_next(s, &at) - DIGIT;
        if (digit > 63)
            return m->n;
        number |= (size_t)digit << 6 * i;
    }
    return number < m->n ? number : m->n;
}

// Copies `raw` to t->text without its marks, and says where they were; the places, by bytes of
// `raw`, become bytes of the text.
static int take_out(struct marked_text *t, const struct chat_marks *m, const struct buffer *raw,
                    struct err *e)
{
    char lead[4];
    size_t at = 0, place = 0, out = 0;
    utf8_put(m->lead, lead);
    if (buffer_reserve(&t->text, raw->size, e) < 0)
        return -1;
    while (at < raw->size) {
        const char *found = memmem(raw->data + at, raw->size - at, lead, sizeof lead);
        size_t end = found ? (size_t)(found - raw->data) : raw->size;
        for (; place < t->places.n && t->places.place[place].at <= end; place++)
            t->places.place[place].at -= out;
        if (buffer_append(&t->text, raw->data + at, end - at, e) < 0)
            return -1;
        if (!found)
            break;
        size_t number = mark_number(m, found, raw->size - end);
        if (number == m->n || t->at[number] != MARK_NOWHERE) {
            t->repeated = 1;
            return 0;
        }
        t->at[number] = t->text.size;
        t->order[t->n++] = (uint32_t)number;
        at = end + MARK_SIZE;
        out += MARK_SIZE;
    }
    return 0;
}

int marked_text_render(struct marked_text *t, const struct chat_marks *m, const struct chat *c,
                       const struct chat_request *r, size_t n, int prompt, struct err *refusal,
                       struct err *e)
{
    struct buffer raw;
    *t = (struct marked_text){.n = 0};
    buffer_init(&t->text, 0);
    buffer_init(&raw, 0);
    json_t *messages = messages_slice(m->messages, 0, n);
    if (!messages)
        return err_memory(e, 64, "a chat");
    int status = 1;
    if (chat_render_messages(c, r, messages, prompt, &raw, NULL, &t->places, refusal) < 0) {
        status = refusal->status == STATUS_FAILED ? 0 : -1;
        *e = *refusal;
    }
    t->at = status > 0 ? mem_alloc(m->n + 1, sizeof *t->at, "marks", e) : NULL;
    t->order = t->at ? mem_alloc(m->n + 1, sizeof *t->order, "marks", e) : NULL;
    for (size_t i = 0; t->order && i < m->n; i++)
        t->at[i] = MARK_NOWHERE;
    if (status > 0 && (!t->order || take_out(t, m, &raw, e) < 0))
        status = -1;
    buffer_release(&raw);
    return status;
}

void marked_text_release(struct marked_text *t)
{
    buffer_release(&t->text);
    free(t->at);
    free(t->order);
    free(t->places.place);
    *t = (struct marked_text){.n = 0};
}
