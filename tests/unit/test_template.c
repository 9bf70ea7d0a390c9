// SPDX-License-Identifier: MIT
#include "test.h"
#include "base/json.h"
#include "data/chat.h"
#include "jinja/template.h"

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

// ---- our own chats ------------------------------------------------------------------------------

static struct chat *open_fixture(const char *name, const char *directory)
{
    char path[256];
    size_t size;
    struct err e = {0};
    snprintf(path, sizeof path, FIXTURES "%s.jinja", name);
    char *text = read_all(path, &size);
    struct chat *c = text ? chat_open_source(text, size, name, directory, &e) : NULL;
    if (!c)
        printf("# %s: %s\n", path, e.text);
    free(text);
    return c;
}

static int same_spans(const struct span_list *spans, const json_t *wanted)
{
    int same = spans->n == json_array_size(wanted);
    for (size_t i = 0; same && i < spans->n; i++) {
        const json_t *pair = json_array_get(wanted, i);
        same = spans->span[i].start == (size_t)json_integer_value(json_array_get(pair, 0)) &&
               spans->span[i].end == (size_t)json_integer_value(json_array_get(pair, 1));
    }
    return same;
}

struct span_cases {
    json_t *conversations;
    int wrong, seen;
};

static void span_row(json_t *row, void *arg)
{
    struct span_cases *cases = arg;
    const char *name = json_string_value(key(row, "template"));
    const char *conversation = json_string_value(key(row, "conversation"));
    const json_t *text = key(row, "text");
    const char *tokenizer = json_string_value(key(row, "tokenizer")); // the reference's rows
    const char *bos = json_string_value(key(row, "bos_token"));
    char directory[256];
    snprintf(directory, sizeof directory, GOLDEN "tokenizers/%s", tokenizer ? tokenizer : "");
    json_t *kwargs =
        tokenizer ? NULL
                  : json_pack("{s:s, s:s}", "bos_token", bos ? bos : "<s>", "eos_token", "</s>");
    struct chat_request request = {.messages = key(cases->conversations, conversation),
                                   .kwargs = kwargs};
    struct chat *chat = open_fixture(name, tokenizer ? directory : NULL);
    struct buffer out;
    struct span_list spans;
    struct err e = {0};
    buffer_init(&out, 0);
    span_list_init(&spans);
    int status = chat ? chat_render_spans(chat, &request, &out, &spans, &e) : -2;
    int ok = text ? status == 0 && out.size == json_string_length(text) &&
                        memcmp(out.data, json_string_value(text), out.size) == 0 &&
                        same_spans(&spans, key(row, "spans"))
                  : status == -1;
    if (!ok)
        printf("# %s, %s: %s\n", name, conversation, status ? e.text : out.data);
    cases->wrong += !ok;
    cases->seen++;
    chat_close(chat);
    buffer_release(&out);
    span_list_release(&spans);
    json_decref(kwargs);
}

static void spans_of_generation_blocks(void)
{
    struct span_cases cases = {.conversations = load(FIXTURES "mask-conversations.json")};
    each_line(FIXTURES "assistant-spans.jsonl", span_row, &cases);
    printf("# %d of %d\n", cases.seen - cases.wrong, cases.seen);
    CHECK(cases.seen > 70 && cases.wrong == 0);
    json_decref(cases.conversations);
}

static void spans_of_the_reference(void)
{
    NEED(GOLDEN "assistant-mask.jsonl");
    struct span_cases cases = {.conversations = load(FIXTURES "mask-conversations.json")};
    each_line(GOLDEN "assistant-mask.jsonl", span_row, &cases);
    printf("# %d of %d\n", cases.seen - cases.wrong, cases.seen);
    CHECK(cases.seen == 162 && cases.wrong == 0);
    json_decref(cases.conversations);
}

// What the assistant wrote, by the turns of a template without marks; NULL when it cannot be told.
static char *turns(const char *source, const char *messages, struct err *e)
{
    json_error_t error;
    json_t *m = json_loads(messages, 0, &error);
    struct chat *c = chat_open_source(source, strlen(source), "T", NULL, e);
    struct chat_request request = {.messages = m};
    struct buffer out, told;
    struct span_list spans;
    struct err ignored;
    buffer_init(&out, 0);
    buffer_init(&told, 0);
    span_list_init(&spans);
    CHECK(buffer_string(&told, "", e) == 0);
    CHECK(buffer_string(&out, "before|", e) == 0);
    int status = c ? chat_render_spans(c, &request, &out, &spans, e) : -1;
    for (size_t i = 0; status == 0 && i < spans.n; i++) {
        CHECK(buffer_append(&told, out.data + 7 + spans.span[i].start,
                            spans.span[i].end - spans.span[i].start, &ignored) == 0);
        CHECK(buffer_string(&told, "|", &ignored) == 0);
    }
    if (status < 0 && strcmp(out.data, "before|") != 0)
        CHECK(buffer_string(&told, "something was left behind", &ignored) == 0);
    chat_close(c);
    json_decref(m);
    buffer_release(&out);
    span_list_release(&spans);
    if (status < 0) {
        buffer_release(&told);
        return NULL;
    }
    return told.data;
}

#define CHAT                                                                                       \
    "[{\"role\": \"user\", \"content\": \"a\"}, {\"role\": \"assistant\", \"content\": \"b\"}, "   \
    "{\"role\": \"user\", \"content\": \"c\"}, {\"role\": \"assistant\", \"content\": \"d\"}]"

static void spans_of_turns(void)
{
    struct err e = {0};
    char *told = turns("{% for m in messages %}<{{ m.role }}>{{ m.content }}.{% endfor %}"
                       "{% if add_generation_prompt %}<assistant>{% endif %}",
                       CHAT, &e);
    CHECK_TEXT(told ? told : e.text, "b.|d.|");
    free(told);
    // The header is the assistant's own when no prompt is written for it.
    told = turns("{% for m in messages %}<{{ m.role }}>{{ m.content }}.{% endfor %}", CHAT, &e);
    CHECK_TEXT(told ? told : e.text, "<assistant>b.|<assistant>d.|");
    free(told);
    // Earlier turns are left out.
    told =
        turns("{% for m in messages %}{{ m.content if loop.last else '-' }}{% endfor %}", CHAT, &e);
    CHECK(!told && strstr(e.text, "message 1 cannot be told") && strstr(e.text, "--turns each"));
    free(told);
    // A part of the chat is refused.
    told =
        turns("{% if messages | length < 3 %}{{ raise_exception('short') }}{% endif %}x", CHAT, &e);
    CHECK(!told && strstr(e.text, "short"));
    free(told);
    told = turns("{% for m in messages %}{{ m.content }}{% endfor %}",
                 "[{\"role\": \"user\", \"content\": \"a\"}]", &e);
    CHECK_TEXT(told ? told : e.text, "");
    free(told);
}

#define QUESTION(s) "{\"role\": \"user\", \"content\": \"" s "\"}"
#define ANSWER(s)   "{\"role\": \"assistant\", \"content\": \"" s "\"}"
#define THOUGHT(t, s)                                                                              \
    "{\"role\": \"assistant\", \"reasoning_content\": \"" t "\", \"content\": \"" s "\"}"
#define CALL(name, arguments)                                                                      \
    "{\"role\": \"assistant\", \"content\": \"\", \"tool_calls\": [{\"function\": {\"name\": "     \
    "\"" name "\", \"arguments\": " arguments "}}]}"
#define RESULT(s)   "{\"role\": \"tool\", \"content\": \"" s "\"}"
#define MESSAGES(s) "{% for m in messages %}" s "{% endfor %}"
#define PROMPT(s)   "{% if add_generation_prompt %}" s "{% endif %}"
#define PLAIN       "<{{ m.role }}>{{ m.content }}."
#define TWO(a, b)   "[" QUESTION("q") ", " a ", " QUESTION("r") ", " b "]"

// Chats that are not what their beginnings are alone: the answers are found by marks.
static void spans_of_answers(void)
{
    static const struct {
        const char *source, *messages, *told; // or the beginning of the reason
    } cases[] = {
        // The prompt opens thoughts, a turn does not; the answer goes on like the prompt.
        {MESSAGES(PLAIN) PROMPT("<assistant><think>"), CHAT, "b.|d.|"},
        {MESSAGES(PLAIN) PROMPT("<assistant><think>"), TWO(ANSWER("<thin"), ANSWER("<think")),
         "<thin.|<think.|"},
        // The turn closes them at once: two tags that begin alike have nothing in common.
        {MESSAGES("<{{ m.role }}>{{ '<no>' if m.role == 'assistant' }}{{ m.content }}.")
             PROMPT("<assistant><now>"),
         CHAT, "<no>b.|<no>d.|"},
        // The end of the chat is a token, which is trained, or something else, which is not.
        {MESSAGES(PLAIN) "{{ '<assistant>' if add_generation_prompt else '<end>' }}", CHAT,
         "b.|d.<end>|"},
        {MESSAGES(PLAIN) "{{ '<assistant>' if add_generation_prompt else '<end>' }}",
         TWO(ANSWER("<e"), ANSWER("<end")), "<e.|<end.<end>|"},
        {MESSAGES(PLAIN) "{{ '<assistant>' if add_generation_prompt else 'Write!' }}", CHAT,
         "b.|d.|"},
        {MESSAGES(PLAIN) "<assistant>{{ 'go' if add_generation_prompt }}", CHAT,
         "b.|d.<assistant>|"},
        {MESSAGES(PLAIN) "<assistant>:", CHAT, "b.|d.|"},
        // The last turn's stop token is another one.
        {MESSAGES("<{{ m.role }}>{{ m.content }}"
                  "{{ '<return>' if loop.last and m.role == 'assistant' else '<stop>' }}")
             PROMPT("<assistant>"),
         CHAT, "b<stop>|d<return>|"},
        // Thoughts are written in the last turn alone, as a field or inside of the answer.
        {MESSAGES("<{{ m.role }}>{% if loop.last and m.role == 'assistant' %}"
                  "<think>{{ m.reasoning_content }}</think>{% endif %}{{ m.content }}.")
             PROMPT("<assistant>"),
         TWO(THOUGHT("t", "a"), THOUGHT("u", "b")), "a.|<think>u</think>b.|"},
        {MESSAGES("<{{ m.role }}>{% if loop.last %}{{ m.content }}{% else %}"
                  "{{ m.content.split('</think>')[-1].lstrip() }}{% endif %}.")
             PROMPT("<assistant><think>"),
         TWO(ANSWER("<think>t</think> a"), ANSWER("<think>u</think> b")), "a.|u</think> b.|"},
        {MESSAGES("<{{ m.role }}>{% if loop.last %}{{ m.content }}{% else %}"
                  "{{ m.content.split('</think>')[-1].lstrip() }}{% endif %}.")
             PROMPT("<assistant>"),
         TWO(ANSWER("<think>t</think> a"), ANSWER("<think>u</think> b")),
         "a.|<think>u</think> b.|"},
        // White space is trimmed, of all or of earlier ones.
        {MESSAGES("<{{ m.role }}>{{ m.content | trim }}.") PROMPT("<assistant>\\n"),
         TWO(ANSWER(" a\\n"), ANSWER("\\n b ")), "a.|b.|"},
        {MESSAGES("<{{ m.role }}>{{ m.content if loop.last else m.content.strip() }}.")
             PROMPT("<assistant>"),
         TWO(ANSWER(" a\\n"), ANSWER("\\n b ")), "a.|\n b .|"},
        // Who looks at how a message begins or ends sees that as well.
        {MESSAGES("<{{ m.role }}>{{ '!' if m.content.startswith('a') }}{{ m.content }}.")
             PROMPT("<assistant><think>"),
         TWO(ANSWER("ab"), ANSWER("ac")), "begin with the prompt"},
        {MESSAGES(
             "<{{ m.role }}>{{ '!' if m.content.startswith('a') }}{{ m.content }}.") "{{ '<end>' "
                                                                                     "if not "
                                                                                     "add_"
                                                                                     "generation_"
                                                                                     "prompt else "
                                                                                     "'<assistant>'"
                                                                                     " }}",
         TWO(ANSWER("ab"), ANSWER("ac")), "!ab.|!ac.<end>|"},
        {MESSAGES("<{{ m.role }}>{{ '!' if m.content.endswith('q') }}{{ m.content }}.")
             PROMPT("<assistant><think>"),
         TWO(ANSWER("b"), ANSWER("d")), "b.|d.|"},
        // Tool calls; their names are written again with the result.
        {MESSAGES("<{{ m.role }}>{% for c in m.tool_calls %}{{ c.function | tojson }}{% endfor %}"
                  "{{ m.content }}.") PROMPT("<assistant><think>"),
         "[" QUESTION("q") ", " CALL("f", "{\"x\": \"1\"}") ", " RESULT("2") ", " ANSWER("a") "]",
         "{\"name\": \"f\", \"arguments\": {\"x\": \"1\"}}.|a.|"},
        {"{% set ns = namespace(name='') %}" MESSAGES(
             "<{{ m.role }}{{ ns.name }}>{% if m.tool_calls %}"
             "{% set ns.name = m.tool_calls[0].function.name %}<call>{{ ns.name }}"
             "{{ m.tool_calls[0].function.arguments | tojson }}{% endif %}{{ m.content }}.")
             PROMPT("<assistant{{ ns.name }}><think>"),
         "[" QUESTION("q") ", " CALL("f", "{\"x\": \"1\"}") ", " RESULT("2") ", " ANSWER("a") "]",
         "<call>f{\"x\": \"1\"}.|a.|"},
        // An answer without a word, and one that the template leaves out.
        {MESSAGES(PLAIN) PROMPT("<assistant><think>"), TWO(ANSWER(""), ANSWER(" ")), ".| .|"},
        {MESSAGES("<{{ m.role }}>{{ m.content if loop.first or loop.last }}.")
             PROMPT("<assistant><think>"),
         CHAT, "nothing is written of an answer"},
        // What is written twice, or in another order, or as something else, proves nothing.
        {MESSAGES(PLAIN) "{{ messages[0].content }}{{ messages[-1].content }}" PROMPT(
             "<assistant><think>"),
         CHAT, "written twice or in pieces"},
        {"{% for m in messages | reverse %}" PLAIN "{% endfor %}" PROMPT("<assistant><think>"),
         CHAT, "order is another"},
        {MESSAGES("<{{ m.role }}>{{ m.content | reverse }}.") PROMPT("<assistant><think>"), CHAT,
         "twice or in pieces"},
        {MESSAGES("<{{ m.role }}>{{ m.content | length }}.") PROMPT("<assistant><think>"), CHAT,
         "text is another"},
        {MESSAGES(
             "<{{ m.role }}>{{ 'long' if m.content | length > 4 else 'tiny' }}{{ m.content }}.")
             PROMPT("<assistant><think>"),
         CHAT, "text is another"},
        {MESSAGES(PLAIN) PROMPT("[bot]"), CHAT, "the turn does not begin with the prompt"},
        // Alike in their bytes, but not in what the prompt is.
        {MESSAGES("<{{ 'assistant' if m.role == 'assistant' }}>{{ m.content }}.")
             PROMPT("<{{ 'assistant><think>' if messages[-1].role == 'user' else 'ass' }}"),
         "[" QUESTION("q") ", " ANSWER("a") ", " RESULT("r") ", " ANSWER("b") "]", "a.|istant>b.|"},
        // What is written late belongs to the message before.
        {MESSAGES("<{{ m.role }}>{{ m.content }}{{ '.' if not loop.last or m.role != 'tool' }}"),
         "[" QUESTION("q") ", " ANSWER("a") ", " RESULT("r") ", " ANSWER("b") "]",
         "<assistant>a.|<assistant>b.|"},
        // Thoughts in the answer are written in another way.
        {MESSAGES("<{{ m.role }}>{% if '</think>' in m.content %}"
                  "<mind>{{ m.content.split('</think>')[0].split('<think>')[-1].strip() }}</mind>"
                  "{{ m.content.split('</think>')[-1].strip() }}{% else %}{{ m.content }}"
                  "{% endif %}.") PROMPT("<assistant><think>"),
         TWO(ANSWER("<think> t </think> a"), ANSWER("b")), "<mind>t</mind>a.|b.|"},
        // No loop that writes straight to the text says where a turn ends.
        {"{% macro turn(m) %}" PLAIN "{% endmacro %}{{ turn(messages[0]) }}"
         "{% if messages[1] %}{{ turn(messages[1]) }}{% endif %}"
         "{% if messages[2] %}{{ turn(messages[2]) }}{{ turn(messages[3]) }}{% endif %}"
         "{% if not add_generation_prompt %}<end>{% endif %}",
         CHAT, "otherwise when the chat goes on"},
        // A template that loops over the list from behind, or again inside.
        {"{% for m in messages[::-1] %}{% endfor %}" MESSAGES(
             PLAIN "{% for n in messages[loop.index0:] %}{% endfor %}<stop>")
             PROMPT("<assistant><think>"),
         CHAT, "b.<stop>|d.<stop>|"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct err e = {0};
        char *told = turns(cases[i].source, cases[i].messages, &e);
        if (told ? strcmp(told, cases[i].told) != 0 : !strstr(e.text, cases[i].told)) {
            printf("# %s\n#   tells %s\n#   wants %s\n", cases[i].source, told ? told : e.text,
                   cases[i].told);
            CHECK(0);
        }
        free(told);
    }
}

// Many turns tell the same as few, whether or not the list can be cut short.
static void spans_of_many_answers(void)
{
    static const char *const sources[] = {
        MESSAGES(PLAIN) PROMPT("<assistant>"),
        "{{ messages | length }}" MESSAGES(PLAIN) PROMPT("<assistant>"),
        "{% for m in messages[::-1] %}{% endfor %}" MESSAGES(PLAIN) PROMPT("<assistant><think>"),
        MESSAGES(PLAIN) "{{ '<assistant>' if add_generation_prompt else '<end>' }}"};
    for (size_t k = 0; k < sizeof sources / sizeof *sources; k++)
        for (int n = 1; n < 24; n += 3) {
            char messages[4096] = "[", wanted[256] = "", *at = messages + 1, *to = wanted;
            struct err e = {0};
            for (int i = 0; i < n; i++) {
                at += sprintf(at, "%s" QUESTION("q%d") ", " ANSWER("a%d"), i ? ", " : "", i, i);
                to += sprintf(to, "a%d.%s|", i, k == 3 && i + 1 == n ? "<end>" : "");
            }
            strcpy(at, "]");
            char *told = turns(sources[k], messages, &e);
            CHECK_TEXT(told ? told : e.text, wanted);
            free(told);
        }
}

// ---- lists cut short ----------------------------------------------------------------------------

struct cut {
    const struct template *t;
    json_t *context;
    char taken[16];
    int wrong;
};

static int wants_all(void *arg, size_t length)
{
    return 1;
}

// Is it what the template makes of the first messages alone?
static void compare_cut(void *arg, size_t length, const char *text, size_t shared, size_t size)
{
    struct cut *c = arg;
    struct buffer out;
    struct err e = {0};
    json_t *list = json_array(), *context = json_copy(c->context);
    for (size_t i = 0; i < length; i++)
        json_array_append(list, json_array_get(json_object_get(c->context, "messages"), i));
    json_object_set_new(context, "messages", list);
    buffer_init(&out, 0);
    int same = template_render(c->t, context, &out, NULL, &e) == 0 && out.size == size &&
               shared <= size && (size == 0 || memcmp(out.data, text, size) == 0);
    if (!same)
        printf("# %zu messages: `%.*s`, not `%s`\n", length, (int)size, text,
               e.status   ? e.text
               : out.data ? out.data
                          : "");
    c->wrong |= !same;
    snprintf(c->taken + strlen(c->taken), 4, "%zu", length);
    buffer_release(&out);
    json_decref(context);
}

// Which of six lengths can be had without beginning anew: "3456".
static const char *cut_lengths(const char *source)
{
    static char told[1100];
    struct err e = {0};
    json_t *messages = json_array();
    for (int i = 0; i < 6; i++)
        json_array_append_new(messages, json_pack("{s:s, s:s#}", "role", i % 2 ? "b" : "a",
                                                  "content", &"uvwxyz"[i], 1));
    struct template *t = template_parse(source, strlen(source), "T", &e);
    struct cut c = {.t = t, .context = json_pack("{s:o, s:b}", "messages", messages, "flag", 1)};
    const struct template_prefixes how = {messages, &c, wants_all, compare_cut};
    if (t)
        template_prefixes(t, c.context, &how);
    snprintf(told, sizeof told, "%s%s", t ? c.taken : e.text, c.wrong ? " wrong" : "");
    template_free(t);
    json_decref(c.context);
    return told;
}

static void lists_cut_short(void)
{
    static const struct {
        const char *lengths, *source;
    } cases[] = {
        {"123456", "{% for m in messages %}<{{ m.content }}{% endfor %}."},
        // Who asks for the end asks for one item more.
        {"123456", "{% for m in messages %}{{ m.content }}{{ ',' if not loop.last }}{% endfor %}"},
        {"123456", "{% for m in messages %}{{ loop.nextitem | default('-') }}{% endfor %}"},
        {"123456",
         "{% for m in messages %}{{ loop.previtem is defined }}{{ loop.depth }}{% endfor %}"},
        {"1", "{% for m in messages %}{{ loop.length }}{% endfor %}"},
        {"", "{{ messages | length }}{% for m in messages %}x{% endfor %}"},
        {"", "{{ messages[-1].content }}{% for m in messages %}x{% endfor %}"},
        {"456", "{{ messages[3].content }}{% for m in messages %}x{% endfor %}"},
        {"", "{% set m = messages %}{{ m | length }}{% for x in m %}x{% endfor %}"},
        {"", "{% for m in messages %}{{ messages[loop.index].content }}{{ messages }}{% endfor %}"
             "{% for m in messages %}y{% endfor %}"},
        // What follows the first items.
        {"23456", "{% set rest = messages[1:] %}{% for m in rest %}{{ m.content }}"
                  "{{ loop.last }}{% endfor %}{{ rest | length }}{{ messages | length }}"},
        {"", "{% for m in messages[:3] %}{{ m.content }}{% endfor %}"
             "{% for m in messages[::2] %}{{ m.content }}{% endfor %}"
             "{% for m in messages[-2:] %}{{ m.content }}{% endfor %}"},
        // What outlives a turn is put back.
        {"123456", "{% set ns = namespace(n=0, s='') %}{% for m in messages %}"
                   "{% set ns.n = ns.n + 1 %}{% set ns.s = ns.s ~ m.content %}{{ ns.n }}"
                   "{% endfor %}{% set ns.late = ns.n %}{% set after = ns.s %}{{ after }}"
                   "{{ ns.late }}"},
        {"123456", "{% set ns = namespace() %}{% for m in messages %}{{ ns.late }}{{ late }}"
                   "{% endfor %}{% set ns.late = 'L' %}{% set late = 'l' %}"},
        {"", "{% set c = cycler('1', '2') %}{% for m in messages %}{{ c.next() }}{% endfor %}"},
        {"", "{% set j = joiner() %}{% for m in messages %}{{ j() }}{{ m.content }}{% endfor %}"},
        {"", "{% set i = [1, 2, 3] | map('string') %}{% for m in messages %}x{% endfor %}"
             "{{ i | join }}"},
        {"", "{% set i = [[1, 2, 3] | map('string')] %}{% for m in messages %}x{% endfor %}"
             "{{ i[0] | join }}"},
        // Loops one after the other: the last where the first leave nothing of later turns behind.
        {"123456", "{% set ns = namespace(s='') %}{% for m in messages %}{% if loop.first %}"
                   "{% set ns.s = m.content %}{% endif %}{% endfor %}"
                   "{% for m in messages %}{{ ns.s }}{{ m.content }}{% endfor %}"},
        {"123456", "{% set ns = namespace(n=0) %}{% for m in messages %}{% set ns.n = ns.n + 1 %}"
                   "{% endfor %}{% for m in messages %}{{ ns.n }}{% endfor %}"},
        {"123456", "{% for m in messages %}{% if m.content == 'w' %}{% break %}{% endif %}"
                   "{{ m.content }}{% endfor %}{% for m in messages %}{{ m.role }}{% endfor %}"},
        {"123456", "{% for m in messages %}{% continue %}{% else %}none{% endfor %}"},
        // Nested: what follows is within something that has not been kept.
        {"", "{% macro all() %}{% for m in messages %}{{ m.content }}{% endfor %}{% endmacro %}"
             "{{ all() }}"},
        {"", "{% for k in [1, 2] %}{% for m in messages %}{{ m.content }}{% endfor %}"
             "{% endfor %}"},
        {"123456", "{% if flag %}a{% for m in messages %}{{ m.content }}{% endfor %}b{% endif %}c"},
        {"", "{% for m in messages if m.role == 'a' %}{{ m.content }}{% endfor %}"},
        // Refused while it is short.
        {"3456", "{% for m in messages %}{{ m.content }}{% endfor %}"
                 "{{ raise_exception('short') if messages | length < 3 }}"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *told = cut_lengths(cases[i].source);
        if (strcmp(told, cases[i].lengths) != 0)
            printf("# %s\n", cases[i].source);
        CHECK_TEXT(told, cases[i].lengths);
    }
}

static void marks_in_strings(void)
{
    struct err e = {0};
    const char *in_macro = "{% macro turn(m) %}<{{ m.role }}>{% generation %}{{ m.content }}"
                           "{% endgeneration %}.{% endmacro %}";
    char source[512];
    snprintf(source, sizeof source, "%s{%% for m in messages %%}{{ turn(m) ~ '' }}{%% endfor %%}",
             in_macro);
    char *told = turns(source, CHAT, &e);
    CHECK_TEXT(told ? told : e.text, "a|b|c|d|");
    free(told);
    snprintf(source, sizeof source,
             "%s{%% for m in messages %%}{{ turn(m) | upper }}{%% endfor %%}", in_macro);
    told = turns(source, CHAT, &e);
    CHECK(!told && strstr(e.text, "changed afterwards"));
    free(told);
}

// ---- a model's directory ------------------------------------------------------------------------

static void write_text(const char *directory, const char *name, const char *text)
{
    char path[512];
    snprintf(path, sizeof path, "%s/%s", directory, name);
    FILE *f = fopen(path, "wb");
    fputs(text, f);
    fclose(f);
}

// What DIR's template `name` writes about one message, into `out`.
static void ask(const char *directory, const char *name, const json_t *tools, char out[256])
{
    json_error_t error;
    struct err e = {0};
    struct buffer text;
    json_t *m = json_loads("[{\"role\": \"user\", \"content\": \"x\"}]", 0, &error);
    struct chat_request request = {.messages = m, .tools = tools};
    struct chat *c = chat_open(directory, name, &e);
    buffer_init(&text, 0);
    if (!c || chat_render(c, &request, &text, &e) < 0)
        snprintf(out, 256, "%.255s", strrchr(e.text, '/') ? strrchr(e.text, '/') : e.text);
    else
        snprintf(out, 256, "%s", text.data ? text.data : "");
    chat_close(c);
    buffer_release(&text);
    json_decref(m);
}

static void directories(void)
{
    char directory[] = "/tmp/test-template-XXXXXX", out[256], command[300];
    struct err e = {0};
    json_t *tools = json_array();
    CHECK(mkdtemp(directory) != NULL);
    CHECK(chat_exists(directory, &e) == 0);
    ask(directory, NULL, NULL, out);
    CHECK(strstr(out, "no chat template"));
    write_text(directory, "tokenizer_config.json",
               "{\"chat_template\": \"{{ bos_token }}config{{ eos_token }}{{ pad_token }}\", "
               "\"model_max_length\": 1000000000000000019884624838656, \"bos_token\": \"<s>\", "
               "\"eos_token\": {\"__type\": \"AddedToken\", \"content\": \"</s>\"}, "
               "\"pad_token\": null}");
    CHECK(chat_exists(directory, &e) == 1);
    ask(directory, NULL, NULL, out);
    CHECK_TEXT(out, "<s>config</s>");
    write_text(directory, "special_tokens_map.json", "{\"bos_token\": \"<map>\"}");
    ask(directory, NULL, NULL, out);
    CHECK_TEXT(out, "<map>config</s>");
    write_text(directory, "tokenizer_config.json",
               "{\"added_tokens_decoder\": {}, \"bos_token\": \"<s>\", \"chat_template\": ["
               "{\"name\": \"default\", \"template\": \"{{ bos_token }}plain\"}, "
               "{\"name\": \"tool_use\", \"template\": \"tools\"}, "
               "{\"name\": \"rag\", \"template\": \"rag\"}]}");
    ask(directory, NULL, NULL, out);
    CHECK_TEXT(out, "<s>plain");
    ask(directory, NULL, tools, out);
    CHECK_TEXT(out, "tools");
    ask(directory, "rag", tools, out);
    CHECK_TEXT(out, "rag");
    ask(directory, "none", NULL, out);
    CHECK(strstr(out, "no chat template named 'none'"));
    write_text(directory, "chat_template.jinja", "{{ bos_token }}file\n");
    ask(directory, NULL, tools, out);
    CHECK_TEXT(out, "<s>file");
    write_text(directory, "chat_template.jinja", "a\n{% if %}");
    ask(directory, NULL, NULL, out);
    CHECK(strstr(out, "/chat_template.jinja:2: Expected an expression"));
    write_text(directory, "tokenizer_config.json", "{\"chat_template\": 3");
    ask(directory, NULL, NULL, out);
    CHECK(strstr(out, "/tokenizer_config.json:1: not valid JSON"));
    snprintf(command, sizeof command, "rm -r %s", directory);
    CHECK(system(command) == 0);
    json_decref(tools);
}

static void requests(void)
{
    json_error_t error;
    struct err e = {0};
    struct buffer out;
    buffer_init(&out, 0);
    const char *source = "{% for m in messages %}{{ m.content is defined }} {{ m.thinking }};"
                         "{% endfor %}{{ tools }} {{ documents }} {{ x }}";
    struct chat *c = chat_open_source(source, strlen(source), "T", NULL, &e);
    json_t *m =
        json_loads("[{\"content\": null}, {\"reasoning\": \"r\", \"content\": \"y\"}]", 0, &error);
    json_t *kwargs = json_pack("{s:i}", "x", 7), *bad = json_pack("{s:i}", "tools", 7);
    struct chat_request request = {.messages = m, .kwargs = kwargs};
    CHECK(chat_render(c, &request, &out, &e) == 0);
    CHECK_TEXT(out.data, "False ;True r;None None 7");
    request.kwargs = bad;
    CHECK(chat_render(c, &request, &out, &e) < 0 && strstr(e.text, "`tools`"));
    request = (struct chat_request){
        .messages = m, .add_generation_prompt = 1, .continue_final_message = 1};
    CHECK(chat_render(c, &request, &out, &e) < 0);
    json_array_clear(m);
    request = (struct chat_request){.messages = m};
    CHECK(chat_render(c, &request, &out, &e) < 0 && strstr(e.text, "without messages"));
    json_array_append_new(m, json_string("text"));
    CHECK(chat_render(c, &request, &out, &e) < 0 && strstr(e.text, "not an object"));
    chat_close(c);
    json_decref(m);
    json_decref(kwargs);
    json_decref(bad);
    buffer_release(&out);
}

// ---- hostile templates --------------------------------------------------------------------------

static void bounds(void)
{
    CHECK(fails("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", "{}", "too deeply"));
    CHECK(fails("{% for i in [1] recursive %}{{ loop([1]) }}{% endfor %}", "{}", "too deeply"));
    CHECK(fails("{% set ns = namespace(a=[]) %}{% for i in range(9999) %}{% set ns.a = [ns.a] %}"
                "{% endfor %}{{ ns.a }}",
                "{}", "too deeply"));
    CHECK(fails("{% set ns = namespace(a=[]) %}{% for i in range(9999) %}{% set ns.a = [ns.a] %}"
                "{% endfor %}{{ ns.a | tojson }}",
                "{}", "too deeply"));
    CHECK(fails(
        "{% set ns = namespace(a=[], b=[]) %}{% for i in range(9999) %}{% set ns.a = [ns.a] %}"
        "{% set ns.b = [ns.b] %}{% endfor %}{{ ns.a == ns.b }}",
        "{}", "too deeply"));
    CHECK(fails("{% set ns = namespace(a=[1]) %}{% for i in range(9999) %}"
                "{% set ns.a = ns.a | map('string') %}{% endfor %}{{ ns.a | list }}",
                "{}", "too deeply"));
    CHECK(fails("{% set ns = namespace() %}{% set ns.a = ns %}{{ ns }}", "{}", "too deeply"));
    CHECK(fails("{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}",
                "{}", "steps"));
    CHECK(fails("{{ range(100001) }}", "{}", "Range too big"));
    CHECK(fails("{{ range(0, 10 ** 38, 1) }}", "{}", "Range too big"));
    CHECK(fails("{{ 'x' * 10 ** 12 }}", "{}", "longer than"));
    CHECK(fails("{{ [1] * 10 ** 12 }}", "{}", "longer than"));
    CHECK(fails("{% set ns = namespace(s='xxxxxxxx') %}{% for i in range(99) %}"
                "{% set ns.s = ns.s + ns.s %}{% endfor %}",
                "{}", "MiB"));
    CHECK(fails("{% set ns = namespace(l=[1]) %}{% for i in range(99) %}"
                "{% set ns.l = ns.l + ns.l %}{% endfor %}",
                "{}", "MiB"));
    CHECK(fails("{% for i in range(99999) %}{{ '%99999d' % 1 }}{% endfor %}", "{}", "MiB"));
    CHECK(fails("{{ '%9999999d' % 1 }}", "{}", "too large"));
    CHECK(fails("{{ '{:9999999}'.format(1) }}", "{}", "Too many"));
    CHECK(fails("{{ ''.center(10 ** 12) }}", "{}", "too large"));
    CHECK(fails("{{ 'a' | indent(10 ** 12) }}", "{}", "too large"));
    CHECK(fails("{{ [[1]] | tojson(indent=10 ** 12) }}", "{}", "too large"));
    CHECK(fails("{{ 10 ** 10 ** 10 }}", "{}", "38 digits"));
    CHECK(fails("{{ 2 ** 127 }}", "{}", "38 digits"));
    CHECK(gives("{{ 2 ** 126 }}", "{}", "85070591730234615865843651857942052864"));
    CHECK(fails("{{ 1 // 0 }}", "{}", "zero"));
    CHECK(fails("{{ 1.5 % 0 }}", "{}", "modulo"));
    CHECK(fails("{{ l.append(1) }}", "{\"l\": []}", "unsafe"));
    CHECK(fails("{{ l.__class__.__mro__ }}", "{\"l\": []}", "unsafe"));
    CHECK(fails("{% include 'x' %}", "{}", "refused"));
    CHECK(fails("{% break %}", "{}", "outside loop"));
    CHECK(fails("{{ strftime_now('%Y') }}", "{}", "asks for the time"));
    CHECK(fails("\xff", "{}", "not UTF-8"));
}

// Deep or long sources: refused, or rendered, but never a stack overflow.
static void deep_sources(void)
{
    static const char *const pieces[][3] = {
        {"{{ ", "(", "1"},
        {"{{ ", "[", "1"},
        {"{{ ", "-", "1 }}"},
        {"{{ ", "not ", "1 }}"},
        {"{{ 1", "+1", " }}"},
        {"{{ a", ".a", " }}"},
        {"{{ a", "|list", " }}"},
        {"", "{% if 1 %}", ""},
        {"{{ 1", " if 1 else 1", " }}"},
        {"{{ a", "[1]", " }}"},
        {"{{ a", "()", " }}"},
        {"{{ 1", " is odd", " }}"},
        {"{{ 1", " and 1", " }}"},
        {"", "{% for x in a %}", ""},
        {"{{ 1", "~1", " }}"},
        {"{% if 1 %}", "{% elif 1 %}", "{% endif %}"},
    };
    for (size_t i = 0; i < sizeof pieces / sizeof *pieces; i++) {
        struct buffer s, out;
        struct err e = {0};
        buffer_init(&s, 0);
        buffer_init(&out, 0);
        CHECK(buffer_string(&s, pieces[i][0], &e) == 0);
        for (int k = 0; k < 20000; k++)
            CHECK(buffer_string(&s, pieces[i][1], &e) == 0);
        CHECK(buffer_string(&s, pieces[i][2], &e) == 0);
        json_t *context = json_object();
        if (render(s.data, s.size, context, &out, NULL, &e) < 0)
            CHECK(e.status == STATUS_FAILED && strncmp(e.text, "T:1: ", 5) == 0);
        json_decref(context);
        buffer_release(&s);
        buffer_release(&out);
    }
}

// ---- Python's ways that the reference's cases do not show
// ----------------------------------------

static void pythonisms(void)
{
    const char *c = "{\"x\": 9, \"l\": [1, 2, 3], \"m\": [{\"r\": \"b\"}, {\"r\": \"a\"}]}";
    // A name that a scope sets later hides the outer one from its beginning on.
    CHECK(gives("{% for i in [1] %}[{{ x }}]{% endfor %}{% set x = 1 %}{{ x }}", c, "[]1"));
    CHECK(
        gives("{% for i in [1] %}[{{ x }}]{% endfor %}{% if 1 %}{% set x = 1 %}{% endif %}{{ x }}",
              c, "[9]1"));
    CHECK(
        gives("{{ x }}{% for i in [1] %}[{{ x }}]{% endfor %}{% set x = 1 %}{{ x }}", c, "9[9]1"));
    CHECK(gives(
        "{% macro f() %}{{ y }}{% endmacro %}{% set y = 1 %}{{ f() }}{% set y = 2 %}{{ f() }}", c,
        "12"));
    // Generators are true, begin late and are used up.
    CHECK(gives("{{ 'y' if l | select('gt', 5) else 'n' }}", c, "y"));
    CHECK(gives("{% set g = l | map('string') %}{{ g | first }}{{ g | join }}{{ g | join }}", c,
                "123"));
    // {% else %} of a loop counts iterations that got to their end.
    CHECK(gives("{% for i in l %}{% continue %}{% else %}e{% endfor %}", c, "e"));
    CHECK(gives("{% for i in l %}{% if i == 2 %}{% break %}{% endif %}{% else %}e{% endfor %}", c,
                ""));
    // Markup escapes what it is joined with.
    CHECK(gives("{{ '<' + ('<' | safe) }}{{ '<' ~ ('<' | safe) }}", c, "&lt;<<<"));
    CHECK(gives("{{ m | sort(attribute='r') | map(attribute='r') | join(',') }}", c, "a,b"));
    CHECK(gives("{% set f = l %}{{ f[1:] }}{{ f[::-1][0] }}{{ (1, 2) + (3,) }}", c,
                "[2, 3]3(1, 2, 3)"));
    CHECK(gives("{{ 0.1 + 0.2 }} {{ 1e22 }} {{ 5e-324 }} {{ 1.7976931348623157e308 }} {{ "
                "123456789012345680.0 }}",
                c,
                "0.30000000000000004 1e+22 5e-324 1.7976931348623157e+308 1.2345678901234568e+17"));
    CHECK(gives("{{ -7 // 2 }} {{ -7 % 3 }} {{ 7.5 // -2 }} {{ -7.5 % 2 }} {{ 2 ** -1 }}", c,
                "-4 2 -4.0 0.5 0.5"));
    CHECK(gives("{{ '%-6s|%06.2f|%+d|%x|%5.1e' % ('ab', 3.14159, 5, 255, 12345.678) }}", c,
                "ab    |003.14|+5|ff|1.2e+04"));
    CHECK(
        gives("{{ '{0}{1!r:>5}{n:,}{{}}'.format('a', 'b', n=1234567) }}", c, "a  'b'1,234,567{}"));
    // What is left of a split keeps its blanks.
    CHECK(gives("{{ '  a b  c '.split(none, 1) }}{{ '  a b  c '.rsplit(none, 1) }}", c,
                "['a', 'b  c ']['  a b', 'c']"));
    CHECK(gives("{{ ('a,b' | e).rpartition('z') }}", c, "(Markup(''), Markup(''), Markup('a,b'))"));
    CHECK(gives("{{ 123456789012345678 | round(2, 'floor') }} {{ -0.0 | round(1, 'ceil') }}", c,
                "1.2345678901234568e+17 0.0"));
    CHECK(gives("{{ '\xd9\xa1\xd9\xa2' | int }} {{ '\xd9\xa1.\xd9\xa2' | float }}", c, "12 1.2"));
    CHECK(gives("{{ ('0' * 600 + '1') | float }}", c, "1.0"));
    CHECK(gives("{{ '{} {:>5}|{!a}'.format(true, true, '\xc3\xa9') }}", c, "True     1|'\\xe9'"));
    CHECK(gives("{{ '%a %c' % ('\xc3\xa9', true) }}", c, "'\\xe9' \x01"));
    CHECK(gives("{{ l | batch(0) | list }}", c, "[[], [1, 2, 3]]"));
    CHECK(fails("{{ '%5%' % 1 }}", c, "unsupported format character"));
    CHECK(fails("{{ '{.a}'.format(1) }}", c, "no argument ''"));
    CHECK(fails("{{ x\xc2\xb2 }}", c, "Invalid character in identifier"));
    CHECK(fails("{{ self }}", c, "`self` is not supported"));
    CHECK(gives("{{ ('x' is foo) if false else 'ok' }}", c, "ok"));
    CHECK(fails("{{ 'x' is foo }}", c, "No test named 'foo'"));
    CHECK(gives("{% block b %}{{ x }}{% endblock %}{% print x, 2 %}", c, "992"));
    CHECK(gives(
        "{% macro f(a) %}{{ a }}{{ kwargs }}{{ varargs }}{% endmacro %}{{ f(*l, **{'k': 1}) }}", c,
        "1{'k': 1}(2, 3)"));
}

static void threads_share_templates(void)
{
    // Rendering changes neither the template nor the context.
    json_error_t error;
    struct err e;
    const char *source = "{% for m in messages %}{{ m | tojson }}{% endfor %}";
    json_t *context = json_loads("{\"messages\": [{\"a\": [1, {\"b\": null}]}]}", 0, &error);
    json_t *before = json_deep_copy(context);
    struct template *t = template_parse(source, strlen(source), "T", &e);
    struct buffer out;
    buffer_init(&out, 0);
    CHECK(template_render(t, context, &out, NULL, &e) == 0);
    CHECK(template_render(t, context, &out, NULL, &e) == 0);
    CHECK_TEXT(out.data, "{\"a\": [1, {\"b\": null}]}{\"a\": [1, {\"b\": null}]}");
    CHECK(json_equal(context, before));
    CHECK(context->refcount == 1);
    template_free(t);
    json_decref(context);
    json_decref(before);
    buffer_release(&out);
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
    RUN(spans_of_generation_blocks);
    RUN(spans_of_the_reference);
    RUN(spans_of_turns);
    RUN(spans_of_answers);
    RUN(spans_of_many_answers);
    RUN(lists_cut_short);
    RUN(marks_in_strings);
    RUN(directories);
    RUN(requests);
    RUN(bounds);
    RUN(deep_sources);
    RUN(pythonisms);
    RUN(threads_share_templates);
    return test_end();
}
