// SPDX-License-Identifier: MIT
#include "data/left_out.h"
#include "data/messages.h"
#include "jinja/template.h"

#include <stdint.h>
#include <string.h>

const char *const left_names[LEFT_KINDS] = {"tools or tool calls", "reasoning",
                                            "the text of messages",
                                            "white space at the ends of answers"};

struct left_search {
    const char *text;
    size_t size, at;  // found so far: messages mostly follow one another
    size_t reasoning; // counts from this message on
    unsigned bits;
    size_t first[LEFT_KINDS];
};

static void left(struct left_search *s, unsigned bit, size_t message)
{
    int i = 0;
    if (bit == LEFT_REASONING && message < s->reasoning)
        return;
    while (1u << i != bit)
        i++;
    if (!(s->bits & bit))
        s->first[i] = message;
    s->bits |= bit;
}

// Whether the words stand in the text, behind what was found before or else anywhere.
static int find(struct left_search *s, const char *words, size_t n)
{
    const char *found = memmem(s->text + s->at, s->size - s->at, words, n);
    if (!found)
        found = memmem(s->text, s->size, words, n);
    if (found)
        s->at = (size_t)(found - s->text);
    return found != NULL;
}

static int find_string(struct left_search *s, const json_t *string)
{
    return !string || find(s, json_string_value(string), json_string_length(string));
}

// A part of an answer, up to white space at its ends.
static int find_words(struct left_search *s, const char *words, size_t n)
{
    string_trim(&words, &n);
    return n == 0 || find(s, words, n);
}

// The text behind thoughts, and the thoughts.
static void look_for_thoughts(struct left_search *s, size_t message, const char *words, size_t n)
{
    static const char open[] = "<think>", close[] = "</think>";
    const char *at = words, *last = NULL, *end = words + n;
    while ((at = memmem(at, (size_t)(end - at), close, sizeof close - 1)))
        last = at++;
    const char *from = last ? memmem(words, (size_t)(last - words), open, sizeof open - 1) : NULL;
    from = from ? from + sizeof open - 1 : words;
    if (last && !(s->bits & LEFT_REASONING) && !find_words(s, from, (size_t)(last - from)))
        left(s, LEFT_REASONING, message);
    last = last ? last + sizeof close - 1 : words;
    if (!find_words(s, last, (size_t)(end - last)))
        left(s, LEFT_WORDS, message);
}

static int has_thoughts(const char *words, size_t n)
{
    static const char close[] = "</think>";
    return memmem(words, n, close, sizeof close - 1) != NULL;
}

static void look_for_text(struct left_search *s, size_t message, const json_t *string, int answer)
{
    const char *words = json_string_value(string), *core = words;
    size_t n = json_string_length(string), size = n;
    if (!words || s->bits & LEFT_WORDS) // once is enough: to look in vain takes the whole text
        return;
    string_trim(&core, &size);
    if (size == 0)
        return;
    if ((s->bits & LEFT_REASONING && has_thoughts(core, size)) || !find(s, core, size)) {
        look_for_thoughts(s, message, words, n);
    } else if (answer && size < n && !(s->bits & LEFT_SPACE)) {
        size_t before = (size_t)(core - words);
        if (before > s->at || n - before > s->size - s->at ||
            memcmp(s->text + s->at - before, words, n) != 0)
            left(s, LEFT_SPACE, message);
    }
}

static void look_for_content(struct left_search *s, size_t message, const json_t *content,
                             int answer)
{
    look_for_text(s, message, content, answer);
    for (size_t i = 0; i < json_array_size(content); i++)
        look_for_text(s, message, json_object_get(json_array_get(content, i), "text"), answer);
}

static void look_for_reasoning(struct left_search *s, size_t i, const json_t *message)
{
    static const char *const fields[] = {"reasoning_content", "thinking", "reasoning"};
    for (size_t k = 0; k < sizeof fields / sizeof *fields && !(s->bits & LEFT_REASONING); k++) {
        const json_t *value = json_object_get(message, fields[k]);
        if (json_is_string(value) &&
            !find_words(s, json_string_value(value), json_string_length(value)))
            left(s, LEFT_REASONING, i);
    }
}

static void look_for_calls(struct left_search *s, size_t i, const json_t *calls)
{
    for (size_t k = 0; k < json_array_size(calls) && !(s->bits & LEFT_CALLS); k++) {
        const json_t *call = json_array_get(calls, k),
                     *function = json_object_get(call, "function");
        const json_t *name = json_object_get(function ? function : call, "name");
        if (json_is_string(name) && !find_string(s, name))
            left(s, LEFT_CALLS, i);
    }
}

static int is_text_role(const char *role)
{
    return !strcmp(role, "user") || !strcmp(role, "system") || !strcmp(role, "developer");
}

unsigned left_out_find(const char *text, size_t size, const json_t *messages, const json_t *tools,
                       size_t reasoning, size_t *first)
{
    struct left_search s = {.text = text, .size = size, .reasoning = reasoning};
    look_for_calls(&s, SIZE_MAX, tools);
    s.at = 0;
    for (size_t i = 0; i < json_array_size(messages); i++) {
        const json_t *message = json_array_get(messages, i);
        const char *role = json_string_value(json_object_get(message, "role"));
        int answer = message_is_assistant(message);
        if (answer)
            look_for_reasoning(&s, i, message);
        if (answer || (role && is_text_role(role)))
            look_for_content(&s, i, json_object_get(message, "content"), answer);
        look_for_calls(&s, i, json_object_get(message, "tool_calls"));
    }
    *first = SIZE_MAX;
    for (int i = 0; i < LEFT_KINDS; i++)
        if (s.bits & 1u << i) {
            *first = s.first[i];
            break;
        }
    return s.bits;
}

int left_out_error(unsigned bits, size_t first, struct err *e)
{
    int i = 0;
    while (!(bits & 1u << i))
        i++;
    if (first == SIZE_MAX)
        return err_set(e, STATUS_FAILED, "the template does not write all of the tools");
    return err_set(e, STATUS_FAILED, "message %zu: the template leaves out %s", first,
                   left_names[i]);
}
