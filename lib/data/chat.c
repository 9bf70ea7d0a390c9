// SPDX-License-Identifier: MIT
#include "data/chat.h"
#include "base/io.h"
#include "base/json.h"
#include "base/listing.h"
#include "data/rendering.h"
#include "jinja/template.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { CONFIG_MAX = 256 << 20, NAME_MAX_SIZE = 128 };

// What stands at the end of a message that is to be continued while it is rendered.
#define CONTINUED "CONTINUE_FINAL_MESSAGE_TAG "

struct named {
    char name[NAME_MAX_SIZE];
    struct template *template;
    json_t *source;    // as text; NULL where it is no UTF-8
    int reads_content; // the word stands somewhere in it
};

struct chat {
    struct named *named;
    size_t n, capacity;
    json_t *tokens; // special tokens by name, strings
    char *picked;   // the template asked for by name, or NULL
};

// ---- files --------------------------------------------------------------------------------------

// DIR/NAME whole: 1, 0 when there is none, -1.
static int read_file(const char *directory, const char *name, struct buffer *out, struct err *e)
{
    struct buffer path;
    buffer_init(&path, 0);
    if (buffer_printf(&path, e, "%s/%s", directory, name) < 0)
        return -1;
    int fd = io_open_regular(AT_FDCWD, path.data, e), status = 1;
    if (fd < 0)
        status = errno == ENOENT || errno == ENOTDIR ? 0 : -1;
    else if (io_read_fd(fd, path.data, out, e) < 0)
        status = -1;
    if (fd >= 0)
        close(fd);
    buffer_release(&path);
    return status;
}

// A JSON object from DIR/NAME: 1, 0 when there is none, -1. Whole numbers are read as reals: a
// model_max_length of 10^30 is common and means no limit.
static int read_json(const char *directory, const char *name, json_t **out, struct err *e)
{
    struct buffer text;
    buffer_init(&text, CONFIG_MAX);
    int status = read_file(directory, name, &text, e);
    if (status == 1) {
        json_error_t error;
        *out = json_loadb(text.data ? text.data : "", text.size,
                          JSON_ALLOW_NUL | JSON_DECODE_INT_AS_REAL, &error);
        if (!*out)
            status = err_set(e, STATUS_FAILED, "%s/%s:%d: not valid JSON: %s", directory, name,
                             error.line, error.text);
        else if (!json_is_object(*out))
            status = err_set(e, STATUS_FAILED, "%s/%s: not a JSON object", directory, name);
        if (status < 0) {
            json_decref(*out);
            *out = NULL;
        }
    }
    buffer_release(&text);
    return status;
}

static int add_template(struct chat *c, const char *name, const char *label, const char *source,
                        size_t size, struct err *e)
{
    if (strlen(name) >= NAME_MAX_SIZE)
        return err_set(e, STATUS_FAILED, "%s: a template's name is too long", label);
    if (MEM_GROW(c->named, c->capacity, c->n + 1, "templates", e) < 0)
        return -1;
    struct template *t = template_parse(source, size, label, e);
    if (!t)
        return -1;
    struct named *named = &c->named[c->n++];
    strcpy(named->name, name);
    named->template = t;
    named->source = json_stringn(source, size);
    named->reads_content = memmem(source, size, "content", 7) != NULL;
    return 0;
}

// DIR/FILE as template `name`: 1, 0 when there is none, -1.
static int add_file(struct chat *c, const char *directory, const char *file, const char *name,
                    struct err *e)
{
    struct buffer text, label;
    buffer_init(&text, TEMPLATE_SOURCE_MAX);
    buffer_init(&label, 0);
    int status = read_file(directory, file, &text, e);
    if (status == 1) {
        status = buffer_printf(&label, e, "%s/%s", directory, file);
        if (status == 0)
            status = add_template(c, name, label.data, text.data ? text.data : "", text.size, e);
        status = status < 0 ? -1 : 1;
    }
    buffer_release(&text);
    buffer_release(&label);
    return status;
}

// The name that `file` gives to a template ("rag.jinja": "rag"); 0 when it is none.
static int template_name(const char *file, char out[NAME_MAX_SIZE])
{
    size_t n = strlen(file);
    if (n <= 6 || n - 6 >= NAME_MAX_SIZE || strcmp(file + n - 6, ".jinja") != 0)
        return 0;
    memcpy(out, file, n - 6);
    out[n - 6] = 0;
    return 1;
}

static int add_folder(struct chat *c, const char *directory, struct err *e)
{
    static const char folder[] = "additional_chat_templates";
    struct buffer path;
    buffer_init(&path, 0);
    if (buffer_printf(&path, e, "%s/%s", directory, folder) < 0)
        return -1;
    DIR *d = opendir(path.data);
    int status = d || errno == ENOENT ? 0 : err_errno(e, path.data);
    while (d && status >= 0) {
        const char *entry;
        char name[NAME_MAX_SIZE], file[sizeof folder + NAME_MAX_SIZE + 8];
        int more = listing_next(d, &entry);
        if (more < 0)
            status = err_errno(e, path.data);
        if (more <= 0)
            break;
        if (!template_name(entry, name))
            continue;
        snprintf(file, sizeof file, "%s/%s.jinja", folder, name);
        status = add_file(c, directory, file, name, e);
    }
    if (d)
        closedir(d);
    buffer_release(&path);
    return status < 0 ? -1 : 0;
}

// `chat_template` of tokenizer_config.json: a string, or [{"name": ..., "template": ...}, ...].
static int add_config(struct chat *c, const char *directory, const json_t *config, struct err *e)
{
    const json_t *value = json_object_get(config, "chat_template"), *item;
    struct buffer label;
    int status = 0;
    size_t i;
    buffer_init(&label, 0);
    if (buffer_printf(&label, e, "%s/tokenizer_config.json", directory) < 0)
        return -1;
    if (json_is_string(value)) {
        status = add_template(c, "default", label.data, json_string_value(value),
                              json_string_length(value), e);
    } else if (value && !json_is_null(value) && !json_is_array(value)) {
        status = err_set(e, STATUS_FAILED, "%s: key `chat_template`: neither a string nor a list",
                         label.data);
    }
    for (i = 0; status == 0 && json_is_array(value) && i < json_array_size(value); i++) {
        item = json_array_get(value, i);
        const json_t *source = json_object_get(item, "template");
        const char *name = json_string_value(json_object_get(item, "name"));
        if (!name || !json_is_string(source))
            status = err_set(e, STATUS_FAILED,
                             "%s: key `chat_template`: entry %zu has no name or "
                             "no template",
                             label.data, i);
        else
            status = add_template(c, name, label.data, json_string_value(source),
                                  json_string_length(source), e);
    }
    buffer_release(&label);
    return status;
}

// ---- special tokens -----------------------------------------------------------------------------

static int ends_in_token(const char *key)
{
    size_t n = strlen(key);
    return n > 6 && strcmp(key + n - 6, "_token") == 0;
}

// A token is a string or an object with its content.
static const json_t *token_content(const json_t *value)
{
    if (json_is_object(value))
        value = json_object_get(value, "content");
    return json_is_string(value) ? value : NULL;
}

static int take_tokens(struct chat *c, json_t *from, struct err *e)
{
    const char *key;
    json_t *value;
    json_object_foreach(from, key, value)
    {
        const json_t *content = ends_in_token(key) ? token_content(value) : NULL;
        if (content && json_object_set(c->tokens, key, (json_t *)content) < 0)
            return err_memory(e, 64, "special tokens");
    }
    json_t *extra = json_object_get(from, "extra_special_tokens");
    if (!json_is_object(extra))
        return 0;
    json_object_foreach(extra, key, value)
    {
        const json_t *content = token_content(value);
        if (content && json_object_set(c->tokens, key, (json_t *)content) < 0)
            return err_memory(e, 64, "special tokens");
    }
    return 0;
}

static int load_tokens(struct chat *c, const char *directory, json_t *config, struct err *e)
{
    json_t *map = NULL;
    if (config && take_tokens(c, config, e) < 0)
        return -1;
    if (config && json_object_get(config, "added_tokens_decoder"))
        return 0;
    int status = read_json(directory, "special_tokens_map.json", &map, e);
    if (status == 1)
        status = take_tokens(c, map, e);
    json_decref(map);
    return status < 0 ? -1 : 0;
}

// ---- opening ------------------------------------------------------------------------------------

static struct chat *chat_new(struct err *e)
{
    struct chat *c = mem_alloc(1, sizeof *c, "a chat template", e);
    if (c && !(c->tokens = json_object())) {
        err_memory(e, 64, "a chat template");
        free(c);
        return NULL;
    }
    return c;
}

void chat_close(struct chat *c)
{
    if (!c)
        return;
    for (size_t i = 0; i < c->n; i++) {
        json_decref(c->named[i].source);
        template_free(c->named[i].template);
    }
    json_decref(c->tokens);
    free(c->named);
    free(c->picked);
    free(c);
}

static const struct named *find_named(const struct chat *c, const char *name)
{
    for (size_t i = 0; i < c->n; i++)
        if (strcmp(c->named[i].name, name) == 0)
            return &c->named[i];
    return NULL;
}

static int load_templates(struct chat *c, const char *directory, const json_t *config,
                          struct err *e)
{
    if (add_file(c, directory, "chat_template.jinja", "default", e) < 0 ||
        add_folder(c, directory, e) < 0)
        return -1;
    if (c->n == 0 && config)
        return add_config(c, directory, config, e);
    return 0;
}

static int load(struct chat *c, const char *directory, const char *name, struct err *e)
{
    json_t *config = NULL;
    int status = read_json(directory, "tokenizer_config.json", &config, e);
    if (status >= 0)
        status = load_templates(c, directory, config, e);
    if (status >= 0)
        status = load_tokens(c, directory, config, e);
    json_decref(config);
    if (status < 0)
        return -1;
    if (c->n == 0)
        return err_set(e, STATUS_FAILED, "%s: the model has no chat template", directory);
    if (!find_named(c, name ? name : "default"))
        return err_set(e, STATUS_FAILED, "%s: the model has no chat template named '%s'", directory,
                       name ? name : "default");
    if (name && !(c->picked = strdup(name)))
        return err_memory(e, strlen(name), "a chat template");
    return 0;
}

struct chat *chat_open(const char *directory, const char *name, struct err *e)
{
    struct chat *c = chat_new(e);
    if (c && load(c, directory, name, e) < 0) {
        chat_close(c);
        return NULL;
    }
    return c;
}

static int load_source(struct chat *c, const char *source, size_t size, const char *name,
                       const char *directory, struct err *e)
{
    json_t *config = NULL;
    int status = add_template(c, "default", name, source, size, e);
    if (status == 0 && directory) {
        status = read_json(directory, "tokenizer_config.json", &config, e);
        if (status >= 0)
            status = load_tokens(c, directory, config, e);
        json_decref(config);
    }
    return status;
}

struct chat *chat_open_source(const char *source, size_t size, const char *name,
                              const char *directory, struct err *e)
{
    struct chat *c = chat_new(e);
    if (c && load_source(c, source, size, name, directory, e) < 0) {
        chat_close(c);
        return NULL;
    }
    return c;
}

int chat_exists(const char *directory, struct err *e)
{
    struct chat *c = chat_new(e);
    json_t *config = NULL;
    if (!c)
        return -1;
    int status = read_json(directory, "tokenizer_config.json", &config, e);
    if (status >= 0)
        status = load_templates(c, directory, config, e);
    int found = c->n > 0;
    json_decref(config);
    chat_close(c);
    return status < 0 ? -1 : found;
}

int chat_check_file(const char *file, struct err *e)
{
    struct stat st;
    if (!file || !strcmp(file, "-"))
        return 0;
    if (stat(file, &st) < 0)
        return err_errno(e, file);
    if (S_ISREG(st.st_mode) || S_ISFIFO(st.st_mode))
        return 0;
    return err_set(e, STATUS_FAILED, "%s: %s, not a chat template", file,
                   S_ISDIR(st.st_mode) ? "a folder" : "a device");
}

int chat_open_any(const char *directory, const char *file, struct chat **c, struct err *e)
{
    *c = NULL;
    if (file) {
        struct buffer source;
        buffer_init(&source, 1 << 24);
        if (io_read_file(file, &source, e) == 0)
            *c = chat_open_source(source.data ? source.data : "", source.size, file, directory, e);
        buffer_release(&source);
        return *c ? 0 : -1;
    }
    int found = chat_exists(directory, e);
    if (found <= 0)
        return found;
    *c = chat_open(directory, NULL, e);
    return *c ? 0 : -1;
}

static const struct named *pick(const struct chat *c, const struct chat_request *r)
{
    const struct named *named = c->picked ? find_named(c, c->picked) : NULL;
    if (!named && r && r->tools)
        named = find_named(c, "tool_use");
    if (!named)
        named = find_named(c, "default");
    return named ? named : &c->named[0];
}

const struct template *chat_template(const struct chat *c, const struct chat_request *r)
{
    return pick(c, r)->template;
}

const json_t *chat_source(const struct chat *c)
{
    return pick(c, NULL)->source;
}

int chat_marks_generation(const struct chat *c, int tools)
{
    const json_t *some = tools ? json_true() : NULL; // only whether it is there counts
    const struct chat_request r = {.tools = some};
    return template_marks_generation(pick(c, &r)->template);
}

// ---- the context --------------------------------------------------------------------------------

static const json_t *reasoning_of(const json_t *message)
{
    static const char *const fields[] = {"reasoning_content", "thinking", "reasoning"};
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) {
        const json_t *value = json_object_get(message, fields[i]);
        if (value && !json_is_null(value))
            return value;
    }
    return NULL;
}

static int has_null(json_t *message)
{
    const char *key;
    json_t *value;
    json_object_foreach(message, key, value)
    {
        if (json_is_null(value))
            return 1;
    }
    return 0;
}

// A message as the template sees it: keys without a value are left out, reasoning stands under each
// of its names. A new reference, NULL when memory is out.
static json_t *plain_message(const json_t *given)
{
    json_t *message = (json_t *)given; // only its count of references changes
    json_t *reasoning = (json_t *)reasoning_of(message), *out, *value;
    const char *key;
    if (!reasoning && !has_null(message))
        return json_incref(message);
    if (!(out = json_object()))
        return NULL;
    int failed = reasoning && json_object_set(out, "thinking", reasoning) < 0;
    json_object_foreach(message, key, value)
    {
        if (!json_is_null(value))
            failed |= json_object_set(out, key, value) < 0;
    }
    failed |= reasoning && json_object_set(out, "reasoning_content", reasoning) < 0;
    if (failed) {
        json_decref(out);
        return NULL;
    }
    return out;
}

json_t *chat_plain_messages(const struct chat_request *r, size_t n, struct err *e)
{
    json_t *out = json_array();
    for (size_t i = 0; out && i < n; i++) {
        const json_t *message = json_array_get(r->messages, i);
        if (!json_is_object(message)) {
            err_set(e, STATUS_FAILED, "message %zu is not an object", i);
            json_decref(out);
            return NULL;
        }
        if (json_array_append_new(out, plain_message(message)) < 0) {
            json_decref(out);
            out = NULL;
        }
    }
    if (!out)
        err_memory(e, 64 * n, "a chat");
    return out;
}

static int set(json_t *context, const char *key, const json_t *value)
{
    return value ? json_object_set(context, key, (json_t *)value)
                 : json_object_set_new(context, key, json_null());
}

static int check_kwargs(const struct chat_request *r, struct err *e)
{
    static const char *const ours[] = {"messages", "tools", "documents", "add_generation_prompt"};
    if (!r->kwargs)
        return 0;
    if (!json_is_object(r->kwargs))
        return err_set(e, STATUS_FAILED, "the template's further variables are not an object");
    for (size_t i = 0; i < sizeof ours / sizeof *ours; i++)
        if (json_object_get(r->kwargs, ours[i]))
            return err_set(e, STATUS_FAILED,
                           "`%s` cannot be one of the template's further variables", ours[i]);
    return 0;
}

json_t *chat_context(const struct chat *c, const struct chat_request *r, json_t *messages,
                     int prompt, struct err *e)
{
    if (!messages)
        return NULL;
    json_t *context = json_copy(c->tokens);
    int failed = !context || (r->kwargs && json_object_update(context, (json_t *)r->kwargs) < 0);
    if (!failed && r->now && !json_object_get(context, "strftime_now"))
        failed = json_object_set_new(context, "strftime_now", json_string(r->now)) < 0;
    failed = failed || set(context, "tools", r->tools) < 0 ||
             set(context, "documents", r->documents) < 0 ||
             json_object_set_new(context, "add_generation_prompt", json_boolean(prompt)) < 0 ||
             json_object_set(context, "messages", messages) < 0;
    json_decref(messages);
    if (failed) {
        json_decref(context);
        err_memory(e, 256, "a chat");
        return NULL;
    }
    return context;
}

// ---- rendering ----------------------------------------------------------------------------------

// Which of the messages the item is; their number: none of them. They are mostly looked for one
// after the other, in either direction.
static size_t message_index(const json_t *messages, const json_t *item, size_t near)
{
    size_t n = json_array_size(messages);
    for (size_t i = 0; i < 3; i++)
        if (near + 1 >= i && near + 1 - i < n && json_array_get(messages, near + 1 - i) == item)
            return near + 1 - i;
    for (size_t i = 0; i < n; i++)
        if (json_array_get(messages, i) == item)
            return i;
    return n;
}

// Of the items that loops came to those that are messages, and the ends of their loops.
static int take_places(const json_t *messages, const struct item_list *items,
                       struct place_list *places, struct err *e)
{
    size_t n = json_array_size(messages), near = 0;
    int inside = 0;
    for (size_t i = 0; i < items->n; i++) {
        const struct item_place *p = &items->place[i];
        size_t message = p->item ? message_index(messages, p->item, near) : n;
        if (message < n || inside) {
            if (MEM_GROW(places->place, places->capacity, places->n + 1, "a chat", e) < 0)
                return -1;
            places->place[places->n++] = (struct message_place){message, p->at};
        }
        inside = message < n;
        near = inside ? message : near;
    }
    return 0;
}

int chat_render_messages(const struct chat *c, const struct chat_request *r, json_t *messages,
                         int prompt, struct buffer *out, struct span_list *spans,
                         struct place_list *places, struct err *e)
{
    struct item_list items;
    json_t *context = chat_context(c, r, messages, prompt, e);
    if (!context)
        return -1;
    const struct template *t = chat_template(c, r);
    item_list_init(&items);
    int status = places ? template_render_items(t, context, out, &items, e)
                        : template_render(t, context, out, spans, e);
    if (status == 0 && places)
        status = take_places(json_object_get(context, "messages"), &items, places, e);
    item_list_release(&items);
    json_decref(context);
    return status;
}

int chat_check(const struct chat_request *r, struct err *e)
{
    if (!json_is_array(r->messages) || json_array_size(r->messages) == 0)
        return err_set(e, STATUS_FAILED, "a chat without messages");
    if (r->continue_final_message && r->add_generation_prompt)
        return err_set(e, STATUS_FAILED, "a chat cannot be continued and prompted at once");
    return check_kwargs(r, e);
}

// The text that is continued: a copy of the content with the sign at its end. *text is the content.
static json_t *mark_content(json_t *content, const json_t **text)
{
    struct buffer marked;
    struct err e;
    if (json_is_string(content)) {
        buffer_init(&marked, 0);
        json_t *out = NULL;
        if (buffer_append(&marked, json_string_value(content), json_string_length(content), &e) ==
                0 &&
            buffer_string(&marked, CONTINUED, &e) == 0)
            out = json_stringn(marked.data, marked.size);
        buffer_release(&marked);
        *text = content;
        return out;
    }
    json_t *out = json_copy(content);
    for (size_t i = json_array_size(content); i-- > 0;) {
        json_t *block = json_array_get(content, i), *inner = json_object_get(block, "text");
        if (!json_is_string(inner))
            continue;
        json_t *copy = json_copy(block);
        json_object_set_new(copy, "text", mark_content(inner, text));
        json_array_set_new(out, i, copy);
        break;
    }
    return out;
}

// Cuts the text rendered since `start` where the marked content ends.
static int cut(struct buffer *out, size_t start, const json_t *content, struct err *e)
{
    const char *text = out->data + start, *wanted = json_string_value(content);
    size_t n = out->size - start, size = json_string_length(content), mark = strlen(CONTINUED) - 1;
    string_trim(&wanted, &size);
    size_t at = n >= mark ? n - mark + 1 : 0;
    while (at > 0 && memcmp(text + at - 1, CONTINUED, mark) != 0)
        at--;
    if (at == 0 || (size && !memmem(text, n, wanted, size)))
        return err_set(e, STATUS_FAILED,
                       "the last message's content does not appear in the text, so "
                       "that it cannot be continued");
    n = at - 1;
    if (start + n + mark >= out->size || text[n + mark] != ' ') // what follows it was trimmed
        n = (size_t)(string_strip_right(text, text + n) - text);
    out->size = start + n;
    out->data[out->size] = 0;
    return 0;
}

static int render_continued(const struct chat *c, const struct chat_request *r, struct buffer *out,
                            struct err *e)
{
    size_t n = json_array_size(r->messages), start = out->size;
    json_t *messages = chat_plain_messages(r, n, e);
    if (!messages)
        return -1;
    json_t *last = json_copy(json_array_get(messages, n - 1));
    json_t *content = json_object_get(last, "content");
    const json_t *text = NULL;
    json_t *marked = content ? mark_content(content, &text) : NULL;
    if (!text || !pick(c, r)->reads_content) {
        json_decref(messages);
        json_decref(last);
        json_decref(marked);
        return err_set(e, STATUS_FAILED, "the last message has no content that could be continued");
    }
    json_incref(content);
    json_object_set_new(last, "content", marked);
    json_array_set_new(messages, n - 1, last);
    int status = chat_render_messages(c, r, messages, 0, out, NULL, NULL, e);
    if (status == 0)
        status = cut(out, start, text, e);
    json_decref(content);
    return status;
}

int chat_render(const struct chat *c, const struct chat_request *r, struct buffer *out,
                struct err *e)
{
    if (chat_check(r, e) < 0)
        return -1;
    if (r->continue_final_message)
        return render_continued(c, r, out, e);
    json_t *messages = chat_plain_messages(r, json_array_size(r->messages), e);
    return chat_render_messages(c, r, messages, r->add_generation_prompt, out, NULL, NULL, e);
}
