// SPDX-License-Identifier: MIT
#include "test.h"
#include "base/json.h"
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
    return test_end();
}
