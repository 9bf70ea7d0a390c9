// SPDX-License-Identifier: MIT
#include "data/preference.h"

#include <string.h>

#include "data/messages.h"

const char *const preference_roles[] = {"chosen", "rejected", NULL};

int preference_detect(const struct record_settings *s, const json_t *object)
{
    return record_field(s, object, "chosen") && record_field(s, object, "rejected");
}

// Answers are texts, lists of messages, or one message each.
static int is_list(const json_t *answer)
{
    return json_is_array(answer) || json_is_object(answer);
}

// The messages before the answers, where they do not stand in `prompt`.
static const json_t *conversation(const struct record_settings *s, const json_t *object)
{
    const json_t *list = record_field(s, object, "conversations");
    return list ? list : record_field(s, object, "messages");
}

int preference_is_chat(const struct record_settings *s, const json_t *object)
{
    const json_t *prompt = record_field(s, object, "prompt");
    if (!prompt && record_field(s, object, "instruction"))
        return s->instruction == INSTRUCTION_CHAT;
    return json_is_array(prompt) || is_list(record_field(s, object, "chosen"));
}

static size_t common_messages(const json_t *a, const json_t *b)
{
    size_t n = 0;
    while (n < json_array_size(a) && n < json_array_size(b) &&
           json_equal(json_array_get(a, n), json_array_get(b, n)))
        n++;
    return n;
}

// A blank before the first difference belongs to the answers, and no character is cut.
static size_t common_text(const json_t *a, const json_t *b)
{
    const char *x = json_string_value(a), *y = json_string_value(b);
    size_t n = 0;
    while (n < json_string_length(a) && n < json_string_length(b) && x[n] == y[n])
        n++;
    while (n > 0 && (x[n] & 0xC0) == 0x80)
        n--;
    return n > 0 && x[n - 1] == ' ' ? n - 1 : n;
}

// What both answers begin with as *prompt, the rest of this one as *completion.
static int divide(const json_t *chosen, const json_t *rejected, const json_t *answer,
                  json_t **prompt, json_t **completion, struct err *e)
{
    size_t n;
    if (json_is_array(chosen)) {
        n = common_messages(chosen, rejected);
        *prompt = messages_slice(answer, 0, n);
        *completion = messages_slice(answer, n, json_array_size(answer));
    } else {
        const char *text = json_string_value(answer);
        n = common_text(chosen, rejected);
        *prompt = json_stringn(text, n);
        *completion = json_stringn(text + n, json_string_length(answer) - n);
    }
    if (!*prompt || !*completion)
        return err_memory(e, 0, "a record");
    return n ? 0
             : err_set(e, STATUS_FAILED,
                       "keys `chosen` and `rejected` begin with nothing in common, and there is no "
                       "`prompt`");
}

// Sets a field under the name that the settings have for it; takes the reference.
static int set(const struct record_settings *s, json_t *object, const char *name, json_t *value,
               struct err *e)
{
    if (value && json_object_set_new(object, record_field_name(s, name), value) == 0)
        return 0;
    return err_memory(e, 0, "a record");
}

// A prompt that is a text beside whole conversations must be what the user said in them.
static int check_prompt(const struct record_settings *s, const json_t *prompt, const json_t *front,
                        struct err *e)
{
    for (size_t i = 0; json_is_array(front) && i < json_array_size(front); i++) {
        const json_t *message = json_array_get(front, i);
        const json_t *content = json_object_get(message, record_field_name(s, "content"));
        if (!content)
            content = json_object_get(message, record_field_name(s, "value"));
        if (content && json_equal(content, prompt))
            return 0;
    }
    return err_set(e, STATUS_FAILED,
                   "key `%s`: neither a list of messages nor what they begin with",
                   record_field_name(s, "prompt"));
}

static int fill(const struct record_settings *s, const json_t *object, enum preference_role role,
                json_t *part, struct err *e)
{
    const json_t *chosen = record_field(s, object, "chosen");
    const json_t *rejected = record_field(s, object, "rejected");
    const json_t *prompt = record_field(s, object, "prompt");
    const json_t *answer = role == PREFERENCE_REJECTED ? rejected : chosen;
    if (!chosen || !rejected)
        return err_set(e, STATUS_FAILED, "key `%s`: missing",
                       record_field_name(s, chosen ? "rejected" : "chosen"));
    if (json_typeof(chosen) != json_typeof(rejected) ||
        (!json_is_string(chosen) && !is_list(chosen)))
        return err_set(e, STATUS_FAILED,
                       "keys `%s` and `%s`: neither two texts nor two lists of messages",
                       record_field_name(s, "chosen"), record_field_name(s, "rejected"));
    if (!prompt && is_list(chosen) && (prompt = conversation(s, object)) &&
        set(s, part, "prompt", json_incref((json_t *)prompt), e) < 0)
        return -1;
    if (!prompt && record_field(s, object, "instruction"))
        return set(s, part, "output", json_incref((json_t *)answer), e);
    if (json_is_object(answer))
        return set(s, part, "completion", json_pack("[O]", answer), e);
    if (prompt && json_is_array(prompt) == json_is_array(answer))
        return set(s, part, "completion", json_incref((json_t *)answer), e);
    json_t *front = NULL, *rest = NULL;
    if (divide(chosen, rejected, answer, &front, &rest, e) < 0 ||
        (prompt && check_prompt(s, prompt, front, e) < 0)) {
        json_decref(front);
        json_decref(rest);
        return -1;
    }
    int result = set(s, part, "prompt", front, e);
    if (result == 0)
        return set(s, part, "completion", rest, e);
    json_decref(rest);
    return -1;
}

json_t *preference_part(const struct record_settings *s, const json_t *object,
                        enum preference_role role, struct err *e)
{
    json_t *part = json_copy((json_t *)object);
    if (!part) {
        err_memory(e, 0, "a record");
        return NULL;
    }
    if (fill(s, object, role, part, e) == 0)
        return part;
    json_decref(part);
    return NULL;
}
