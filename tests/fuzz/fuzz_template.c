// SPDX-License-Identifier: MIT
// A template and, after its first NUL, the context as JSON (without: a fixed one). Nothing may
// crash, hang or use memory without bound; what renders must be valid UTF-8.
#include "data/chat.h"
#include "jinja/template.h"
#include "tokenize/unicode.h"

#include <stdlib.h>
#include <string.h>

static const char fixed[] =
    "{\"messages\": [{\"role\": \"system\", \"content\": \"s\"}, {\"role\": \"user\", \"content\": "
    "\"Gr\\u00fc\\u00dfe \\ud83d\\ude00\\n\"}, {\"role\": \"assistant\", \"content\": \"<think>a"
    "</think>b\", \"tool_calls\": [{\"function\": {\"name\": \"f\", \"arguments\": {\"x\": [1, "
    "2.5, "
    "null, true]}}}]}], \"tools\": [{\"a\": {}}], \"add_generation_prompt\": true, \"bos_token\": "
    "\"<s>\", \"strftime_now\": \"2024-07-26T09:05:07\", \"a\": 1, \"l\": [3, 1, 2], \"s\": "
    "\"Hello\", "
    "\"d\": {\"x\": 1, \"y\": [1, \"two\"]}, \"n\": null, \"f\": 1.5}";

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *source = (const char *)data, *nul = memchr(source, 0, size);
    size_t n = nul ? (size_t)(nul - source) : size;
    json_error_t error;
    json_t *context = nul ? json_loadb(nul + 1, size - n - 1, JSON_ALLOW_NUL, &error)
                          : json_loads(fixed, 0, &error);
    struct err e;
    struct template *t = context ? template_parse(source, n, "fuzz", &e) : NULL;
    if (t && json_is_object(context)) {
        struct buffer out;
        struct span_list spans;
        buffer_init(&out, 0);
        span_list_init(&spans);
        if (template_render(t, context, &out, &spans, &e) == 0) {
            if (utf8_valid_prefix(out.data ? out.data : "", out.size) != out.size)
                abort();
            for (size_t i = 0; i < spans.n; i++)
                if (spans.span[i].start > spans.span[i].end || spans.span[i].end > out.size)
                    abort();
        }
        buffer_release(&out);
        span_list_release(&spans);
    }
    template_free(t);
    json_decref(context);
    return 0;
}
