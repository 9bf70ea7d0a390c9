// SPDX-License-Identifier: MIT
#include "test.h"
#include "base/json.h"
#include "text/chat.h"
#include "text/template.h"

#include <stdlib.h>
#include <time.h>

#define FIXTURES "tests/fixtures/templates/"
#define GOLDEN   SHARED "/golden/text/"
#define NOW      "2024-07-26T09:05:07"

// ---- helpers ------------------------------------------------------------------------------------

static char *read_all(const char *path, size_t *size)
{
    FILE *f = fopen(path, "rb");
    if (!f)
        return NULL;
    fseek(f, 0, SEEK_END);
    long n = ftell(f);
    rewind(f);
    char *s = malloc((size_t)n + 1);
    *size = fread(s, 1, (size_t)n, f);
    s[*size] = 0;
    fclose(f);
    return s;
}

static json_t *load(const char *path)
{
    json_error_t error;
    json_t *j = json_load_file(path, JSON_ALLOW_NUL, &error);
    if (!j)
        printf("# %s: %s\n", path, error.text);
    return j;
}

// Calls fn on every line of a JSON lines file; returns their number.
static int each_line(const char *path, void (*fn)(json_t *row, void *arg), void *arg)
{
    size_t size;
    char *text = read_all(path, &size), *at = text;
    int n = 0;
    while (at && *at) {
        char *end = strchrnul(at, '\n');
        json_error_t error;
        json_t *row = json_loadb(at, (size_t)(end - at), JSON_ALLOW_NUL | JSON_DECODE_ANY, &error);
        if (row)
            fn(row, arg);
        json_decref(row);
        n++;
        at = *end ? end + 1 : end;
    }
    free(text);
    return n;
}

// Renders into `out`; 0 or -1 with *e.
static int render(const char *source, size_t size, const json_t *context, struct buffer *out,
                  struct span_list *spans, struct err *e)
{
    struct template *t = template_parse(source, size, "T", e);
    if (!t)
        return -1;
    int status = template_render(t, context, out, spans, e);
    template_free(t);
    return status;
}

// Whether `source` renders to `wanted` (NULL: fails with `message` in the text, if that is given).
static int agrees(const char *source, size_t size, const json_t *context, const char *wanted,
                  size_t wanted_size, const char *message)
{
    struct buffer out;
    struct err e = {0};
    buffer_init(&out, 0);
    int status = render(source, size, context, &out, NULL, &e);
    int ok = wanted ? status == 0 && out.size == wanted_size &&
                          (out.size == 0 || memcmp(out.data, wanted, out.size) == 0)
                    : status < 0 && (!message || strstr(e.text, message));
    if (!ok)
        printf("# %.300s\n#   gives %.400s\n#   wants %.400s\n", source,
               status < 0 ? e.text
               : out.data ? out.data
                          : "",
               wanted    ? wanted
               : message ? message
                         : "an error");
    buffer_release(&out);
    return ok;
}

static int gives(const char *source, const char *json, const char *wanted)
{
    json_error_t error;
    json_t *context = json_loads(json, 0, &error);
    int ok = agrees(source, strlen(source), context, wanted, strlen(wanted), NULL);
    json_decref(context);
    return ok;
}

static int fails(const char *source, const char *json, const char *message)
{
    json_error_t error;
    json_t *context = json_loads(json, 0, &error);
    int ok = agrees(source, strlen(source), context, NULL, 0, message);
    json_decref(context);
    return ok;
}

// ---- the reference's cases ----------------------------------------------------------------------

struct tally {
    json_t *contexts;
    int wrong;
};

static void jinja_case(json_t *row, void *arg)
{
    struct tally *tally = arg;
    const json_t *template = json_object_get(row, "template");
    const json_t *output = json_object_get(row, "output");
    const char *error = json_string_value(json_object_get(row, "error"));
    const char *message = json_string_value(json_object_get(row, "message"));
    size_t index = (size_t)json_integer_value(json_object_get(row, "context"));
    int exact = error && strcmp(error, "raise") == 0;
    tally->wrong += !agrees(json_string_value(template), json_string_length(template),
                            json_array_get(tally->contexts, index), json_string_value(output),
                            json_string_length(output), exact ? message : NULL);
}

static int jinja_cases(const char *cases, const char *contexts)
{
    struct tally tally = {load(contexts), 0};
    for (size_t i = 0; i < json_array_size(tally.contexts); i++)
        json_object_set_new(json_array_get(tally.contexts, i), "strftime_now", json_string(NOW));
    int n = each_line(cases, jinja_case, &tally);
    printf("# %d of %d\n", n - tally.wrong, n);
    json_decref(tally.contexts);
    return n > 200 && tally.wrong == 0;
}

static void cases_of_the_tree(void)
{
    CHECK(jinja_cases(FIXTURES "jinja-cases.jsonl", FIXTURES "jinja-contexts.json"));
}

static void cases_of_the_reference(void)
{
    NEED(GOLDEN "jinja-cases.jsonl");
    CHECK(jinja_cases(GOLDEN "jinja-cases.jsonl", GOLDEN "jinja-contexts.json"));
}

// ---- whole chats --------------------------------------------------------------------------------

static const json_t *key(const json_t *object, const char *name)
{
    return json_object_get(object, name);
}

static char *template_text(const char *name, size_t *size)
{
    char path[512];
    snprintf(path, sizeof path, SHARED "/data/%s", name);
    if (strstr(name, "tokenizer_config.json")) {
        json_t *config = load(path);
        char *s = strdup(json_string_value(key(config, "chat_template")));
        *size = strlen(s);
        json_decref(config);
        return s;
    }
    return read_all(path, size);
}

struct golden {
    const char *name;
    json_t *found;
};

static void golden_row(json_t *row, void *arg)
{
    struct golden *g = arg;
    if (strcmp(json_string_value(key(row, "name")), g->name) == 0)
        g->found = json_incref(row);
}

struct chats {
    json_t *conversations, *tools;
    char name[256];
    struct chat *chat;
    int wrong;
};

static void open_chat(struct chats *c, const char *name)
{
    static const char prefix[] = "chat-template-golden/";
    size_t size = 0;
    char *text;
    struct err e;
    if (strcmp(c->name, name) == 0)
        return;
    chat_close(c->chat);
    snprintf(c->name, sizeof c->name, "%s", name);
    if (strncmp(name, prefix, strlen(prefix)) == 0) {
        struct golden g = {name + strlen(prefix), NULL};
        each_line(SHARED "/data/chat-template-golden/golden-shared.jsonl", golden_row, &g);
        text = strdup(json_string_value(key(g.found, "chat_template")));
        size = strlen(text);
        json_decref(g.found);
    } else {
        text = template_text(name, &size);
    }
    c->chat = chat_open_source(text, size, "T", NULL, &e);
    if (!c->chat)
        printf("# %s: %s\n", name, e.text);
    free(text);
}

static void chat_row(json_t *row, void *arg)
{
    struct chats *c = arg;
    open_chat(c, json_string_value(key(row, "template")));
    const json_t *conversation = key(c->conversations, json_string_value(key(row, "conversation")));
    json_t *kwargs =
        json_pack("{s:s, s:s, s:s}", "bos_token", "<s>", "eos_token", "</s>", "unk_token", "<unk>");
    json_object_update(kwargs, json_object_get(row, "kwargs"));
    struct chat_request request = {
        .messages = key(conversation, "messages"),
        .tools = json_is_true(key(row, "tools")) ? c->tools : NULL,
        .kwargs = kwargs,
        .add_generation_prompt = json_is_true(key(row, "add_generation_prompt")),
        .continue_final_message = json_is_true(key(kwargs, "continue_final_message")),
        .now = NOW,
    };
    json_object_del(kwargs, "continue_final_message");
    struct buffer out;
    struct err e = {0};
    buffer_init(&out, 0);
    const json_t *wanted = key(row, "output");
    const char *error = json_string_value(key(row, "error"));
    int status = c->chat ? chat_render(c->chat, &request, &out, &e) : -2;
    int ok = wanted ? status == 0 && out.size == json_string_length(wanted) &&
                          memcmp(out.data ? out.data : "", json_string_value(wanted), out.size) == 0
                    : status == -1 && (strcmp(error, "raise") != 0 ||
                                       strstr(e.text, json_string_value(key(row, "message"))));
    if (!ok)
        printf("# %s, %s\n#   gives %.600s\n#   wants %.600s\n", c->name,
               json_string_value(key(row, "conversation")), status ? e.text : out.data,
               wanted ? json_string_value(wanted) : json_string_value(key(row, "message")));
    c->wrong += !ok;
    buffer_release(&out);
    json_decref(kwargs);
}

static void chats_of_the_reference(void)
{
    NEED(GOLDEN "chat.jsonl");
    NEED(SHARED "/data/llamacpp-templates/README.md");
    json_t *all = load(GOLDEN "conversations.json");
    struct chats c = {.conversations = json_object_get(all, "conversations"),
                      .tools = json_object_get(all, "tools")};
    int n = each_line(GOLDEN "chat.jsonl", chat_row, &c);
    printf("# %d of %d\n", n - c.wrong, n);
    CHECK(n == 1680 && c.wrong == 0);
    chat_close(c.chat);
    json_decref(all);
}

static void published_row(json_t *row, void *arg)
{
    int *wrong = arg;
    const char *name = json_string_value(key(row, "name"));
    const json_t *source = key(row, "chat_template"), *target = key(row, "target");
    json_t *context = json_object_get(row, "data");
    if (strcmp(name, "MadeAgents/Hammer2.1") == 0)
        return; // the target prints a list as JavaScript does; Python's repr is right for us
    json_object_set_new(context, "strftime_now", json_string("2025-07-10"));
    *wrong += !agrees(json_string_value(source), json_string_length(source), context,
                      json_string_value(target), json_string_length(target), NULL);
}

static void published_templates(void)
{
    NEED(SHARED "/data/chat-template-golden/golden-shared.jsonl");
    int wrong = 0;
    int n =
        each_line(SHARED "/data/chat-template-golden/golden-shared.jsonl", published_row, &wrong);
    CHECK(n == 27 && wrong == 0);
}

static void smoke(void)
{
    CHECK(gives("{{ 1 + 1 }}", "{}", "2"));
    CHECK(fails("a\n{{ raise_exception('no') }}", "{}", "T:2: no"));
}

int main(void)
{
    RUN(smoke);
    RUN(cases_of_the_tree);
    RUN(cases_of_the_reference);
    RUN(chats_of_the_reference);
    RUN(published_templates);
    return test_end();
}
