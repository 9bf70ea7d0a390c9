// SPDX-License-Identifier: MIT
// Decoding token by token: all that is given is the text of the whole, wherever the ids are cut.
#include "tokenizer_kit.h"

#include "base/json.h"
#include "tokenize/token_decoder.h"
#include "tokenize/tokenizer.h"
#include "tokenize/unicode.h"

#include <stdlib.h>

#define GOLDEN   SHARED "/golden/text"
#define COUNT(a) (sizeof(a) / sizeof *(a))

static uint64_t seed = 0x2545F4914F6CDD1Du;

static unsigned random_below(unsigned n)
{
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return (unsigned)(seed >> 33) % n;
}

static int same(const struct buffer *a, const char *text, size_t size)
{
    return a->size == size && (size == 0 || !memcmp(a->data, text, size));
}

static int begins(const struct buffer *whole, const struct buffer *with)
{
    return with->size <= whole->size &&
           (with->size == 0 || !memcmp(whole->data, with->data, with->size));
}

// Decodes the first k ids, giving what is certain into `given`, and with the rest into `all`.
static int stream_ids(struct tokenizer_stream *s, const uint32_t *id, size_t k,
                      struct buffer *given, struct buffer *all)
{
    struct err e;
    buffer_clear(given);
    buffer_clear(all);
    for (size_t i = 0; i < k; i++)
        if (tokenizer_stream_add(s, id[i], given, &e) < 0)
            return -1;
    return given->size && buffer_append(all, given->data, given->size, &e) < 0
               ? -1
               : tokenizer_stream_end(s, all, &e);
}

struct work {
    struct buffer given, all, whole;
};

static void work_init(struct work *w)
{
    buffer_init(&w->given, 0);
    buffer_init(&w->all, 0);
    buffer_init(&w->whole, 0);
}

static void work_release(struct work *w)
{
    buffer_release(&w->given);
    buffer_release(&w->all);
    buffer_release(&w->whole);
}

static int check_row(const struct tokenizer *t, const json_t *row, struct work *w)
{
    uint32_t id[256];
    struct err e;
    const json_t *ids = json_object_get(row, "ids"), *decode = json_object_get(row, "decode");
    const json_t *prefixes = json_object_get(row, "prefixes"), *cuts = json_object_get(row, "cuts");
    struct tokenizer_stream *s = tokenizer_stream_open(t, 0, &e);
    size_t n = json_array_size(ids);
    int ok = s && n <= COUNT(id);
    for (size_t i = 0; ok && i < n; i++)
        id[i] = (uint32_t)json_integer_value(json_array_get(ids, i));
    buffer_clear(&w->whole);
    CHECK(buffer_append(&w->whole, json_string_value(decode), json_string_length(decode), &e) == 0);
    for (size_t k = 1; ok && k <= n; k++) {
        const json_t *want = json_array_get(cuts ? cuts : prefixes, k - 1);
        ok = stream_ids(s, id, k, &w->given, &w->all) == 0 && begins(&w->whole, &w->given) &&
             same(&w->all, json_string_value(want), json_string_length(want));
    }
    ok = ok && same(&w->all, w->whole.data, w->whole.size);
    tokenizer_stream_close(s);
    return ok;
}

static void reference_cuts(void)
{
    NEED(GOLDEN "/decode-stream.jsonl");
    FILE *f = fopen(GOLDEN "/decode-stream.jsonl", "r");
    struct tokenizer *t = NULL;
    struct work w;
    char *line = NULL, open[64] = "";
    size_t room = 0;
    ssize_t n;
    int tried = 0, equal = 0, skipped = 0;
    work_init(&w);
    while ((n = getline(&line, &room, f)) > 0) {
        json_t *row = json_loadb(line, (size_t)n, JSON_ALLOW_NUL, NULL);
        const char *name = json_string_value(json_object_get(row, "tokenizer"));
        if (strcmp(open, name) != 0) {
            tokenizer_close(t);
            t = open_named(name);
            snprintf(open, sizeof open, "%s", name);
        }
        if (t) {
            int ok = check_row(t, row, &w);
            if (!ok)
                printf("# %s: %s differs\n", name, json_string_value(json_object_get(row, "id")));
            tried++;
            equal += ok;
        } else {
            skipped++;
        }
        json_decref(row);
    }
    printf("# %d sequences, %d equal at every cut; %d of models that are not supported\n", tried,
           equal, skipped);
    CHECK(tried > 300 && tried == equal);
    work_release(&w);
    tokenizer_close(t);
    free(line);
    fclose(f);
}

// Ids drawn at random hardly ever make whole characters. A token that is no byte ends each draw.
static void random_ids(const char *directory)
{
    struct err e;
    struct work w;
    struct tokenizer *t = tokenizer_open(directory, &e);
    struct tokenizer_stream *s = t ? tokenizer_stream_open(t, 0, &e) : NULL;
    int tried = 0, equal = 0;
    CHECK(s != NULL);
    work_init(&w);
    for (int k = 0; s && k < 3000; k++) {
        uint32_t id[40];
        size_t n = random_below(COUNT(id) - 1);
        unsigned most = k % 2 ? (unsigned)tokenizer_size(t) : 300;
        for (size_t i = 0; i < n; i++)
            id[i] = random_below(most);
        int64_t last = tokenizer_token_id(t, "a");
        id[n++] = last < 0 ? 0 : (uint32_t)last;
        buffer_clear(&w.whole);
        CHECK(tokenizer_decode(t, id, n, 0, &w.whole, &e) == 0);
        tried++;
        equal +=
            stream_ids(s, id, n, &w.given, &w.all) == 0 && same(&w.all, w.whole.data, w.whole.size);
        // What a beginning gives is certain.
        CHECK(stream_ids(s, id, 1 + random_below((unsigned)n), &w.given, &w.all) == 0);
        CHECK(begins(&w.whole, &w.given));
    }
    if (tried != equal)
        printf("# %s: %d tried, %d equal\n", directory, tried, equal);
    CHECK(tried == equal);
    work_release(&w);
    tokenizer_stream_close(s);
    tokenizer_close(t);
}

static void random_ids_of_fixtures(void)
{
    NEED("tests/fixtures/tokenizers/qwen2/tokenizer.json");
    random_ids("tests/fixtures/tokenizers/qwen2");
    random_ids("tests/fixtures/tokenizers/llama2-legacy");
    random_ids("tests/fixtures/tokenizers/addedflags-norm");
}

static void random_ids_of_others(void)
{
    NEED(GOLDEN "/tokenizers/gpt2/tokenizer.json");
    random_ids(GOLDEN "/tokenizers/gpt2");
    random_ids(GOLDEN "/tokenizers/gemma");
    random_ids(GOLDEN "/tokenizers/metaspace-always");
    random_ids(GOLDEN "/tokenizers/bpe-eow");
    random_ids(GOLDEN "/tokenizers/bpe-nounk");
}

// Steps in any order, as no tokenizer may ever have them.
static const char *const steps[] = {
    "{\"type\":\"ByteLevel\"}",
    "{\"type\":\"ByteFallback\"}",
    "{\"type\":\"Fuse\"}",
    "{\"type\":\"Replace\",\"pattern\":{\"String\":\"▁\"},\"content\":\" \"}",
    "{\"type\":\"Replace\",\"pattern\":{\"String\":\"aab\"},\"content\":\"é\"}",
    "{\"type\":\"Replace\",\"pattern\":{\"Regex\":\"a+\"},\"content\":\"-\"}",
    "{\"type\":\"Strip\",\"content\":\" \",\"start\":1,\"stop\":0}",
    "{\"type\":\"Strip\",\"content\":\"a\",\"start\":2,\"stop\":2}",
    "{\"type\":\"Metaspace\",\"replacement\":\"▁\",\"prepend_scheme\":\"always\"}",
    "{\"type\":\"BPEDecoder\",\"suffix\":\"</w>\"}",
    "{\"type\":\"WordPiece\",\"prefix\":\"a\",\"cleanup\":true}",
    "{\"type\":\"CTC\",\"pad_token\":\"b\",\"word_delimiter_token\":\"|\",\"cleanup\":true}",
    "{\"type\":\"Replace\",\"pattern\":{\"String\":\"\"},\"content\":\"-\"}",
};
static const char *const tokens[] = {
    "a", "b", "▁", "▁a", "a</w>", "<0xE4>", "aab",    "<0xBD>", "<0xA0>", "<0x41>", "</w>b",
    "Ã", "©", "Ġ", "é",  " ",     "aa",     "<0x0A>", "中",     "ä",      "½"};

static void any_decoder(void)
{
    struct err e;
    struct buffer source, want, got;
    int tried = 0, equal = 0;
    buffer_init(&source, 0);
    buffer_init(&want, 0);
    buffer_init(&got, 0);
    for (int k = 0; k < 4000; k++) {
        struct token_decoder *d;
        struct string_list list;
        buffer_clear(&source);
        buffer_clear(&want);
        buffer_clear(&got);
        CHECK(buffer_string(&source, "{\"type\":\"Sequence\",\"decoders\":[", &e) == 0);
        for (unsigned i = 0, n = 1 + random_below(4); i < n; i++)
            buffer_printf(&source, &e, "%s%s", i ? "," : "", steps[random_below(COUNT(steps))]);
        CHECK(buffer_string(&source, "]}", &e) == 0);
        json_t *value = json_parse(source.data, source.size, "test", &e);
        CHECK(decoder_parse(value, "test", &d, &e) == 0);
        struct decoder_stream *s = decoder_stream_open(d, &e);
        CHECK(s != NULL);
        string_list_init(&list);
        for (unsigned i = 0, n = random_below(12); i <= n; i++) {
            const char *token = i == n ? "b" : tokens[random_below(COUNT(tokens))];
            CHECK(buffer_string(&list.text, token, &e) == 0);
            CHECK(string_list_close(&list, &e) == 0);
            CHECK(decoder_stream_add(s, token, strlen(token), &got, &e) == 0);
        }
        CHECK(decoder_stream_end(s, &got, &e) == 0);
        CHECK(decoder_run(d, &list, &want, &e) == 0);
        int ok = same(&got, want.data, want.size);
        if (!ok && tried - equal < 5)
            printf("# %s: `%.*s` is not `%.*s`\n", source.data, (int)got.size, got.data,
                   (int)want.size, want.data);
        tried++;
        equal += ok;
        string_list_release(&list);
        decoder_stream_close(s);
        decoder_free(d);
        json_decref(value);
    }
    CHECK(tried == equal);
    buffer_release(&source);
    buffer_release(&want);
    buffer_release(&got);
}

// A run of bytes that the end cuts: its characters stay, each byte behind them is one U+FFFD.
static void cut_run_of_bytes(void)
{
    static const char *const run[] = {"<0x41>", "<0xE4>", "<0xBD>", "<0xA0>", "<0xE4>"};
    static const char *const want[] = {"A", "A\uFFFD", "A\uFFFD\uFFFD", "A你", "A你\uFFFD"};
    struct err e;
    struct token_decoder *d;
    struct buffer out;
    json_t *value = json_loads("{\"type\":\"ByteFallback\"}", 0, NULL);
    CHECK(decoder_parse(value, "test", &d, &e) == 0);
    struct decoder_stream *s = decoder_stream_open(d, &e);
    buffer_init(&out, 0);
    for (size_t k = 0; s && k < COUNT(run); k++) {
        buffer_clear(&out);
        for (size_t i = 0; i <= k; i++)
            CHECK(decoder_stream_add(s, run[i], 6, &out, &e) == 0);
        CHECK(decoder_stream_end(s, &out, &e) == 0);
        CHECK_TEXT(out.data, want[k]);
    }
    buffer_release(&out);
    decoder_stream_close(s);
    decoder_free(d);
    json_decref(value);
}

int main(void)
{
    RUN(any_decoder);
    RUN(cut_run_of_bytes);
    RUN(random_ids_of_fixtures);
    RUN(reference_cuts);
    RUN(random_ids_of_others);
    return test_end();
}
