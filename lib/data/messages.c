// SPDX-License-Identifier: MIT
#include "data/messages.h"

#include <string.h>
#include <strings.h>

#include "base/json.h"
#include "data/chat.h"

json_t *messages_slice(const json_t *list, size_t begin, size_t end)
{
    json_t *part = json_array();
    for (size_t i = begin; part && i < end; i++)
        if (json_array_append(part, json_array_get(list, i)) < 0) {
            json_decref(part);
            return NULL;
        }
    return part;
}

static const char *role_of(const json_t *message)
{
    return json_string_value(json_object_get(message, "role"));
}

int message_is_assistant(const json_t *message)
{
    const char *role = role_of(message);
    return role && !strcmp(role, "assistant");
}

int message_is_empty(const json_t *message)
{
    const json_t *content = json_object_get(message, "content");
    if (!message_is_assistant(message) || json_array_size(json_object_get(message, "tool_calls")))
        return 0;
    return !content || json_is_null(content) ||
           (json_is_string(content) ? json_string_length(content) == 0
                                    : json_is_array(content) && json_array_size(content) == 0);
}

int message_weight(const json_t *message, size_t i, int *trains, struct err *e)
{
    static const char *const names[] = {"loss_weight", "weight", "train"};
    for (size_t k = 0; k < sizeof names / sizeof *names; k++) {
        const json_t *v = json_object_get(message, names[k]);
        if (!v || json_is_null(v))
            continue;
        double weight = json_is_boolean(v) ? json_is_true(v) : json_number_value(v);
        if ((!json_is_boolean(v) && !json_is_number(v)) || (weight != 0 && weight != 1))
            return err_set(e, STATUS_FAILED,
                           "message %zu: key `%s`: only 0 and 1 are known: a token is trained or "
                           "not",
                           i, names[k]);
        *trains = weight == 1;
        return 1;
    }
    return 0;
}

int messages_weighted(const json_t *list, int *weighted, struct err *e)
{
    *weighted = 0;
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *m = json_array_get(list, i);
        int trains, has = message_weight(m, i, &trains, e);
        if (has < 0)
            return -1;
        if (has && trains && !message_is_assistant(m))
            return err_set(e, STATUS_FAILED,
                           "message %zu is to be trained, but its role is `%s`: only what the "
                           "assistant wrote can be (or --train-on all)",
                           i, role_of(m) ? role_of(m) : "");
        *weighted |= has && !trains && message_is_assistant(m);
    }
    return 0;
}

// ---- roles --------------------------------------------------------------------------------------

static const char *known_as(const char *name, int (*compare)(const char *, const char *))
{
    static const char *const known[][2] = {
        {"human", "user"},        {"user", "user"},
        {"gpt", "assistant"},     {"assistant", "assistant"},
        {"chatgpt", "assistant"}, {"bing", "assistant"},
        {"bard", "assistant"},    {"model", "assistant"},
        {"bot", "assistant"},     {"system", "system"},
        {"tool", "tool"},         {"function", "tool"},
        {"observation", "tool"},  {"function_call", "function_call"}};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (!compare(known[i][0], name))
            return known[i][1];
    return NULL;
}

static const char *known_role(const char *name)
{
    return known_as(name, strcmp);
}

// In capitals or not.
static const char *known_role_like(const char *name)
{
    return known_as(name, strcasecmp);
}

// Names that data sets have for roles and chat templates hardly ever: what templates do not know
// they write as it is, or leave out, and the answers of such a one would not be trained.
static int is_foreign(const struct record_settings *s, const char *name)
{
    static const char *const foreign[] = {"human", "gpt", "chatgpt", "bing", "bard", "bot"};
    const char *like = known_role_like(name);
    int is = like && !known_role(name);
    for (size_t i = 0; i < sizeof foreign / sizeof *foreign; i++)
        is |= !strcmp(foreign[i], name);
    if (!is || !s->chat)
        return is;
    // A template that compares with it is one of the exceptions.
    const char *source = json_string_value(chat_source(s->chat));
    for (const char *at = source; at && (at = strstr(at, name)); at++)
        if (at > source && (at[-1] == '\'' || at[-1] == '"') && at[strlen(name)] == at[-1])
            return 0;
    return 1;
}

// What a role is called for the template; NULL with *e filled. `from`: the key that held it.
static const char *template_role(const struct record_settings *s, const char *name, int from,
                                 size_t i, struct err *e)
{
    for (int k = 0; k < s->roles.n; k++)
        if (!strcmp(s->roles.theirs[k], name))
            return s->roles.ours[k];
    if (!from && s->format != RECORD_SHAREGPT && is_foreign(s, name)) {
        const char *ours = known_role_like(name);
        err_set(e, STATUS_FAILED,
                "message %zu: role `%s` is not known to chat templates (--roles %s=%s, or %s=%s if "
                "it is to "
                "stay)",
                i, name, ours, name, name, name);
        return NULL;
    }
    if (!from && s->format != RECORD_SHAREGPT)
        return name;
    const char *known = known_role(name);
    if (known || !from)
        return known ? known : name;
    const char *like = known_role_like(name);
    err_set(e, STATUS_FAILED, "message %zu: role `%s` is not known (--roles %s=%s says %s)", i,
            name, like ? like : "ROLE", name,
            like ? "what it means" : "whose it is, user, assistant, system or tool");
    return NULL;
}

// ---- content ------------------------------------------------------------------------------------

static const json_t *part_text(const json_t *part, const char *key)
{
    const json_t *type = json_object_get(part, "type"), *text = json_object_get(part, key);
    if (json_is_string(type) && strcmp(json_string_value(type), "text") != 0)
        return NULL;
    return json_is_string(text) ? text : NULL;
}

// Are these the parts that templates do not know?
static int has_values(const json_t *content)
{
    for (size_t i = 0; i < json_array_size(content); i++) {
        const json_t *part = json_array_get(content, i);
        if (json_object_get(part, "value") && !json_object_get(part, "text"))
            return 1;
    }
    return 0;
}

static json_t *joined(const json_t *content, size_t message, struct err *e)
{
    struct buffer text;
    json_t *out = NULL;
    int result = 0;
    buffer_init(&text, 0);
    for (size_t i = 0; result == 0 && i < json_array_size(content); i++) {
        const json_t *part = json_array_get(content, i), *string = part;
        if (!json_is_string(part) && !(string = part_text(part, "text")))
            string = part_text(part, "value");
        if (string)
            result = buffer_append(&text, json_string_value(string), json_string_length(string), e);
        else
            result = err_set(e, STATUS_FAILED, "message %zu: part %zu of its content is no text",
                             message, i);
    }
    if (result == 0 && !(out = json_stringn(text.data ? text.data : "", text.size)))
        err_memory(e, text.size, "a message");
    buffer_release(&text);
    return out;
}

// Where only texts can be learned from, pictures cannot.
static int check_content(const json_t *content, size_t message, struct err *e)
{
    if (content && !json_is_null(content) && !json_is_string(content) && !json_is_array(content))
        return err_set(e, STATUS_FAILED,
                       "message %zu: key `content`: neither a text nor a list of parts", message);
    for (size_t i = 0; i < json_array_size(content); i++)
        if (!json_is_string(json_array_get(content, i)) &&
            !part_text(json_array_get(content, i), "text"))
            return err_set(e, STATUS_FAILED, "message %zu: part %zu of its content is no text",
                           message, i);
    return 0;
}

// ---- messages -----------------------------------------------------------------------------------

// {"name", "arguments"} as JSON text: an assistant's tool call. Takes nothing over.
static int set_call(json_t *out, const json_t *value, size_t i, struct err *e)
{
    json_t *call = NULL;
    struct err ignored;
    if (json_is_string(value))
        call = json_parse_exact(json_string_value(value), json_string_length(value), "", &ignored);
    else if (json_is_object(value))
        call = json_incref((json_t *)value);
    json_t *calls = json_is_array(call) ? json_incref(call) : json_array();
    if (json_is_object(call))
        json_array_append(calls, call);
    json_t *list = json_array();
    int ok = json_array_size(calls) > 0;
    for (size_t k = 0; ok && k < json_array_size(calls); k++) {
        json_t *one = json_array_get(calls, k);
        ok = json_is_string(json_object_get(one, "name"));
        json_array_append_new(list, json_pack("{s:s, s:O}", "type", "function", "function", one));
    }
    json_decref(calls);
    json_decref(call);
    if (ok && json_array_size(list) && json_object_set(out, "tool_calls", list) == 0 &&
        json_object_set_new(out, "role", json_string("assistant")) == 0 &&
        json_object_set_new(out, "content", json_string("")) == 0) { // templates ask for it
        json_decref(list);
        return 0;
    }
    json_decref(list);
    return err_set(e, STATUS_FAILED,
                   "message %zu: a function_call whose value is no JSON with a `name`", i);
}

static int set_content(const struct record_settings *s, json_t *out, const json_t *content,
                       size_t i, struct err *e)
{
    json_t *value = NULL;
    if (json_is_array(content) && (s->joins_parts || has_values(content)))
        value = joined(content, i, e);
    else if (s->texts_only && check_content(content, i, e) < 0)
        return -1;
    else if (!content)
        return 0;
    else
        value = json_incref((json_t *)content);
    if (!value)
        return -1;
    return json_object_set_new(out, "content", value) == 0 ? 0 : err_memory(e, 64, "a message");
}

static const json_t *member(const struct record_settings *s, const json_t *message,
                            const char *name)
{
    return json_object_get(message, record_field_name(s, name));
}

static int fill_message(const struct record_settings *s, json_t *out, const json_t *message,
                        size_t i, struct err *e)
{
    const json_t *role = member(s, message, "role"), *content = member(s, message, "content");
    int from = !role && member(s, message, "from");
    if (from) {
        role = member(s, message, "from");
        content = member(s, message, "value");
        json_object_del(out, record_field_name(s, "from"));
        json_object_del(out, record_field_name(s, "value"));
        if (!content || json_is_null(content))
            return err_set(e, STATUS_FAILED, "message %zu: key `%s`: missing", i,
                           record_field_name(s, "value"));
    } else if (s->texts_only && !json_is_string(role)) {
        return err_set(e, STATUS_FAILED, "message %zu: key `%s`: %s", i,
                       record_field_name(s, "role"), role ? "not a string" : "missing");
    }
    const char *name = json_string_value(role);
    if (name && !(name = template_role(s, name, from, i, e)))
        return -1;
    if (name && json_object_set_new(out, "role", json_string(name)) < 0)
        return err_memory(e, 64, "a message");
    if (name && !strcmp(name, "function_call"))
        return set_call(out, content, i, e);
    return set_content(s, out, content, i, e);
}

json_t *messages_plain(const struct record_settings *s, const json_t *list, struct err *e)
{
    json_t *out = json_array();
    for (size_t i = 0; out && i < json_array_size(list); i++) {
        const json_t *message = json_array_get(list, i);
        json_t *plain = json_is_object(message) ? json_copy((json_t *)message) : NULL;
        int result = plain ? fill_message(s, plain, message, i, e)
                           : err_set(e, STATUS_FAILED, "message %zu is not an object", i);
        if (result < 0)
            json_decref(plain);
        if (result < 0 || json_array_append_new(out, plain) < 0) {
            json_decref(out);
            return NULL;
        }
    }
    if (!out)
        err_memory(e, 64, "messages");
    return out;
}
