// SPDX-License-Identifier: MIT
#include "tokenizer_kit.h"

#include "base/io.h"
#include "base/json.h"
#include "tokenize/tokenizer.h"

#include <fcntl.h>
#include <stdlib.h>

#define GOLDEN SHARED "/golden/text"

// A file of JSON lines, kept as an array.
static json_t *read_lines(const char *path)
{
    FILE *f = fopen(path, "r");
    json_t *rows = json_array();
    char *line = NULL;
    size_t room = 0;
    ssize_t n;
    struct err e;
    if (!f)
        return rows;
    while ((n = getline(&line, &room, f)) > 0)
        json_array_append_new(rows, json_parse(line, (size_t)n, path, &e));
    free(line);
    fclose(f);
    return rows;
}

struct tally {
    int rows, ids, offsets, decode, skip;
};

static int ids_equal(const json_t *want, const uint32_t *id, size_t n)
{
    if (json_array_size(want) != n)
        return 0;
    for (size_t i = 0; i < n; i++)
        if (json_integer_value(json_array_get(want, i)) != (json_int_t)id[i])
            return 0;
    return 1;
}

static int offsets_equal(const json_t *want, const struct token_list *t)
{
    if (!want)
        return 1;
    for (size_t i = 0; i < t->n; i++)
        if (json_integer_value(json_array_get(want, 2 * i)) != t->start[i] ||
            json_integer_value(json_array_get(want, 2 * i + 1)) != t->end[i])
            return 0;
    return json_array_size(want) == 2 * t->n;
}

static int decode_equal(const struct tokenizer *t, const struct token_list *ids, int skip,
                        const json_t *want)
{
    struct err e;
    struct buffer text;
    buffer_init(&text, 0);
    int ok = buffer_reserve(&text, 1, &e) == 0 &&
             tokenizer_decode(t, ids->id, ids->n, skip, &text, &e) == 0 &&
             text.size == json_string_length(want) &&
             !memcmp(text.data, json_string_value(want), text.size);
    buffer_release(&text);
    return ok;
}

static void show(const char *name, const char *what, const json_t *row)
{
    if (getenv("SHOW"))
        printf("# %s: %s differs: %s\n", name, what, json_string_value(json_object_get(row, "id")));
}

static void check_row(const struct tokenizer *t, const char *name, const json_t *string,
                      const json_t *row, const json_t *ids, struct tally *tally)
{
    struct err e;
    struct token_list plain, full;
    token_list_init(&plain);
    token_list_init(&full);
    const json_t *text = json_object_get(string, "text");
    const char *s = json_string_value(text);
    size_t size = json_string_length(text);
    tally->rows++;
    if (tokenizer_encode(t, s, size, 0, &plain, &e) < 0 ||
        tokenizer_encode(t, s, size, TOKENIZER_SPECIAL, &full, &e) < 0) {
        printf("# %s: %s\n", name, e.text);
    } else {
        int same = ids_equal(ids, plain.id, plain.n);
        tally->ids += same;
        if (!same)
            show(name, "ids", row);
        same = offsets_equal(json_object_get(row, "offsets"), &plain);
        tally->offsets += same;
        if (!same)
            show(name, "offsets", row);
        const json_t *decode = json_object_get(row, "decode");
        const json_t *skip = json_object_get(row, "decode_skip");
        decode = decode ? decode : text;
        same = decode_equal(t, &full, 0, decode);
        tally->decode += same;
        if (!same)
            show(name, "decode", row);
        same = decode_equal(t, &full, 1, skip ? skip : decode);
        tally->skip += same;
        if (!same)
            show(name, "decode_skip", row);
    }
    token_list_release(&plain);
    token_list_release(&full);
}

// Ids that differ where tokenizer_config.json declares tokens of its own.
static const json_t *config_ids(const json_t *differs, const char *name, const json_t *row)
{
    size_t i;
    json_t *d;
    if (strcmp(name, "torchtitan-tiny") != 0)
        return NULL;
    json_array_foreach(
        differs, i,
        d) if (!strcmp(json_string_value(json_object_get(d, "tokenizer")), name) &&
               json_equal(json_object_get(d, "id"), json_object_get(row, "id"))) return d;
    return NULL;
}

static void compare(const char *directory, const char *name)
{
    char path[512];
    struct err e;
    struct tally tally = {0};
    snprintf(path, sizeof path, "%s/%s", directory, name);
    struct tokenizer *t = tokenizer_open(path, &e);
    if (!t) {
        printf("# %s: %s\n", name, e.text);
        CHECK(!"opens");
        return;
    }
    snprintf(path, sizeof path, "%s/ids/%s.ids.jsonl", GOLDEN, name);
    json_t *rows = read_lines(path), *strings = read_lines(GOLDEN "/strings.jsonl");
    json_t *differs = read_lines(GOLDEN "/auto-differs.jsonl");
    const json_t *head = json_array_get(rows, 0);
    int own = 0;
    for (size_t i = 1; i < json_array_size(rows); i++) {
        const json_t *row = json_array_get(rows, i);
        const json_t *other = config_ids(differs, name, row);
        if (other) { // the row's offsets and texts are those of other ids
            struct token_list l;
            token_list_init(&l);
            const json_t *text = json_object_get(json_array_get(strings, i - 1), "text");
            CHECK(tokenizer_encode(t, json_string_value(text), json_string_length(text), 0, &l,
                                   &e) == 0 &&
                  ids_equal(json_object_get(other, "auto"), l.id, l.n));
            token_list_release(&l);
            own++;
            continue;
        }
        check_row(t, name, json_array_get(strings, i - 1), row, json_object_get(row, "ids"),
                  &tally);
    }
    printf("# %-26s %d strings: ids %d, offsets %d, decode %d, decode_skip %d%s", name, tally.rows,
           tally.ids, tally.offsets, tally.decode, tally.skip, own ? "" : "\n");
    if (own)
        printf(" (and %d with tokens of the config)\n", own);
    CHECK(tally.rows > 0 && tally.ids == tally.rows && tally.offsets == tally.rows &&
          tally.decode == tally.rows && tally.skip == tally.rows);
    if (!own)
        CHECK(json_integer_value(json_object_get(head, "vocab_size")) ==
              (json_int_t)tokenizer_size(t));
    json_decref(rows);
    json_decref(strings);
    json_decref(differs);
    tokenizer_close(t);
}

static const char *const own_names[] = {
    "gpt2",
    "gpt2-prefix-bos",
    "neox",
    "llama3",
    "qwen2",
    "o200k",
    "deepseek-v3",
    "deepseek-coder",
    "falcon",
    "starcoder-digits",
    "llama2-legacy",
    "llama2-normalized",
    "phi3",
    "mistral-metaspace-first",
    "metaspace-always",
    "metaspace-never",
    "gemma",
    "addedflags-bytelevel",
    "addedflags-norm",
    "bpe-unk-fuse",
    "bpe-unk-nofuse",
    "bpe-nounk",
    "bpe-eow",
    "unigram-charsmap",
    "unigram-bytefallback",
};

static void reference_ids_of_made_tokenizers(void)
{
    NEED(GOLDEN "/strings.jsonl");
    for (size_t i = 0; i < sizeof own_names / sizeof *own_names; i++)
        compare(GOLDEN "/tokenizers", own_names[i]);
}

static void reference_ids_of_real_tokenizers(void)
{
    static const char *const names[] = {"gpt2-tokenizer",        "hf-babyllama-tok105",
                                        "hf-stories260k",        "hf-tok-qwen2",
                                        "tinyllamav0-tokenizer", "torchtitan-tiny"};
    NEED(GOLDEN "/strings.jsonl");
    NEED(SHARED "/data/gpt2-tokenizer/tokenizer.json");
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        compare(SHARED "/data", names[i]);
}

// A directory with DIRECTORY/tokenizer.model and nothing else; its tokenizer.
static struct tokenizer *open_model_alone(const char *directory)
{
    char alone[] = "/tmp/test_tokenizer.XXXXXX", from[512], to[512];
    struct tokenizer *t = NULL;
    struct err e;
    char *base = realpath(directory, NULL);
    if (base && mkdtemp(alone)) {
        snprintf(from, sizeof from, "%s/tokenizer.model", base);
        snprintf(to, sizeof to, "%s/tokenizer.model", alone);
        if (symlink(from, to) == 0) {
            t = tokenizer_open(alone, &e);
            if (!t)
                printf("# %s\n", e.text);
            unlink(to);
        }
        rmdir(alone);
    }
    free(base);
    return t;
}

static const json_t *find_string(const json_t *strings, const json_t *id)
{
    size_t i;
    json_t *row;
    json_array_foreach(strings, i, row) if (json_equal(json_object_get(row, "id"), id)) return row;
    return NULL;
}

// tokenizer.model alone: the ids of SentencePiece, and decoding gives its normalized text back.
static void compare_model(const char *name)
{
    char path[512];
    int rows = 0, equal = 0;
    snprintf(path, sizeof path, GOLDEN "/tokenizers/%s", name);
    struct tokenizer *t = open_model_alone(path);
    CHECK(t != NULL);
    if (!t)
        return;
    snprintf(path, sizeof path, GOLDEN "/ids/%s.spm.jsonl", name);
    json_t *want = read_lines(path), *strings = read_lines(GOLDEN "/strings.jsonl"), *row;
    size_t i;
    json_array_foreach(want, i, row)
    {
        const json_t *string = find_string(strings, json_object_get(row, "id"));
        const json_t *text = json_object_get(string, "text");
        struct token_list l;
        struct err e;
        token_list_init(&l);
        int same = tokenizer_encode(t, json_string_value(text), json_string_length(text), 0, &l,
                                    &e) == 0 &&
                   ids_equal(json_object_get(row, "ids"), l.id, l.n);
        if (!same)
            show(name, "ids of tokenizer.model", row);
        rows++;
        equal += same;
        token_list_release(&l);
    }
    printf("# %-26s tokenizer.model: %d strings, ids %d\n", name, rows, equal);
    CHECK(rows > 600 && rows == equal);
    json_decref(want);
    json_decref(strings);
    tokenizer_close(t);
}

static void reference_ids_of_sentencepiece(void)
{
    NEED(GOLDEN "/ids/gemma.spm.jsonl");
    compare_model("llama2-legacy");
    compare_model("gemma");
    compare_model("unigram-charsmap");
    compare_model("unigram-bytefallback");
}

// The project's own small tokenizers, so that the tree alone means something.
static void ids_of_fixtures(void)
{
    static const char fixtures[] = "tests/fixtures/tokenizers";
    NEED("tests/fixtures/tokenizers/ids.jsonl");
    json_t *rows = read_lines("tests/fixtures/tokenizers/ids.jsonl");
    struct tokenizer *t = NULL;
    const char *open = "";
    struct tally tally = {0};
    size_t i;
    json_t *row;
    json_array_foreach(rows, i, row)
    {
        const char *name = json_string_value(json_object_get(row, "tokenizer"));
        if (strcmp(open, name) != 0) {
            char path[256];
            struct err e;
            tokenizer_close(t);
            snprintf(path, sizeof path, "%s/%s", fixtures, name);
            t = tokenizer_open(path, &e);
            open = name;
        }
        CHECK(t != NULL);
        if (t)
            check_row(t, name, row, row, json_object_get(row, "ids"), &tally);
    }
    CHECK(tally.rows > 150 && tally.ids == tally.rows && tally.offsets == tally.rows &&
          tally.decode == tally.rows && tally.skip == tally.rows);
    tokenizer_close(t);
    json_decref(rows);
}

// A tokenizer of the base file with some of its keys replaced.
static struct tokenizer *open_with(const json_t *base, const json_t *part)
{
    char directory[] = "/tmp/test_tokenizer.XXXXXX", path[64];
    struct tokenizer *t = NULL;
    struct err e;
    json_t *whole = json_copy((json_t *)base);
    if (mkdtemp(directory) && json_object_update(whole, (json_t *)part) == 0) {
        snprintf(path, sizeof path, "%s/tokenizer.json", directory);
        if (json_dump_file(whole, path, JSON_COMPACT) == 0)
            t = tokenizer_open(directory, &e);
        if (!t)
            printf("# %s\n", e.text);
        unlink(path);
        rmdir(directory);
    }
    json_decref(whole);
    return t;
}

#define BASE "tests/fixtures/tokenizers/unigram-bytefallback/tokenizer.json"

// Each normalizer, pre-tokenizer, post-processor and decoder, and flags of added tokens, on one
// small Unigram model that spells unknown characters in bytes.
static void parts_one_by_one(void)
{
    NEED(BASE);
    struct err e;
    json_t *base = json_parse_file(AT_FDCWD, BASE, 1 << 20, &e);
    json_t *rows = read_lines("tests/fixtures/tokenizers/parts.jsonl"), *row;
    struct tokenizer *t = NULL;
    struct tally tally = {0};
    int parts = 0;
    size_t i;
    json_array_foreach(rows, i, row)
    {
        const json_t *part = json_object_get(row, "part");
        if (part) {
            tokenizer_close(t);
            t = open_with(base, part);
            parts++;
        }
        CHECK(t != NULL);
        if (!t)
            continue;
        int before = tally.ids + tally.offsets + tally.decode + tally.skip;
        check_row(t, "a part", row, row, json_object_get(row, "ids"), &tally);
        if (getenv("SHOW") && tally.ids + tally.offsets + tally.decode + tally.skip - before < 4)
            printf("# row %zu\n", i + 1);
    }
    printf("# %d parts, %d strings: ids %d, offsets %d, decode %d, decode_skip %d\n", parts,
           tally.rows, tally.ids, tally.offsets, tally.decode, tally.skip);
    CHECK(parts > 80 && tally.rows > 250 && tally.ids == tally.rows &&
          tally.offsets == tally.rows && tally.decode == tally.rows && tally.skip == tally.rows);
    tokenizer_close(t);
    json_decref(rows);
    json_decref(base);
}

// The project's own tokenizer.model files: BPE with bytes, Unigram with a table of characters.
static void ids_of_model_fixtures(void)
{
    NEED("tests/fixtures/tokenizers/models.jsonl");
    json_t *rows = read_lines("tests/fixtures/tokenizers/models.jsonl"), *row;
    struct tokenizer *t = NULL;
    const char *open = "";
    int tried = 0, ids = 0, decoded = 0;
    size_t i;
    json_array_foreach(rows, i, row)
    {
        const char *name = json_string_value(json_object_get(row, "tokenizer"));
        const json_t *text = json_object_get(row, "text");
        if (strcmp(open, name) != 0) {
            char path[256];
            struct err e;
            tokenizer_close(t);
            snprintf(path, sizeof path, "tests/fixtures/tokenizers/%s", name);
            t = tokenizer_open(path, &e);
            open = name;
        }
        CHECK(t != NULL);
        if (!t)
            continue;
        struct token_list l;
        struct err e;
        token_list_init(&l);
        CHECK(tokenizer_encode(t, json_string_value(text), json_string_length(text), 0, &l, &e) ==
              0);
        tried++;
        ids += ids_equal(json_object_get(row, "ids"), l.id, l.n);
        decoded += decode_equal(t, &l, 0, json_object_get(row, "decode"));
        for (size_t k = 0; k < l.n; k++)
            CHECK(l.start[k] <= l.end[k] && l.end[k] <= json_string_length(text));
        token_list_release(&l);
    }
    printf("# tokenizer.model: %d strings, ids %d, decode %d\n", tried, ids, decoded);
    CHECK(tried == 18 && ids == tried && decoded == tried);
    tokenizer_close(t);
    json_decref(rows);
}

// What tokenizer_config.json says beside a tokenizer.model: BOS and EOS, added tokens, the prefix.
static void config_beside_a_model(void)
{
    NEED("tests/fixtures/tokenizers/model-bpe/tokenizer.model");
    char directory[] = "/tmp/test_tokenizer.XXXXXX", model[64], config[64];
    static const char text[] =
        "{\"add_bos_token\": false, \"add_eos_token\": true, \"legacy\": false, "
        "\"bos_token\": \"<s>\", \"eos_token\": \"</s>\", \"added_tokens_decoder\": {\"2\": "
        "{\"content\": \"</s>\", \"special\": true}, \"9000\": {\"content\": \"<|end|>\", "
        "\"special\": true, \"rstrip\": true}}}";
    struct err e;
    struct token_list l;
    char *from = realpath("tests/fixtures/tokenizers/model-bpe/tokenizer.model", NULL);
    CHECK(from && mkdtemp(directory));
    snprintf(model, sizeof model, "%s/tokenizer.model", directory);
    snprintf(config, sizeof config, "%s/tokenizer_config.json", directory);
    CHECK(symlink(from, model) == 0);
    CHECK(io_write_file(AT_FDCWD, config, text, sizeof text - 1, &e) == 0);
    struct tokenizer *t = tokenizer_open(directory, &e);
    CHECK(t != NULL);
    token_list_init(&l);
    if (t) {
        static const char said[] = "the</s> the<|end|>  the";
        size_t front, end;
        CHECK(tokenizer_encode(t, said, sizeof said - 1, TOKENIZER_SPECIAL, &l, &e) == 0);
        tokenizer_affixes(t, &front, &end);
        CHECK(front == 0 && end == 1 && tokenizer_eos(t) == 2 && tokenizer_size(t) == 9001);
        uint32_t word = l.n ? l.id[0] : 0;
        // A prefix at the beginning only; behind a token the blank of the text makes the word.
        CHECK(l.n >= 6 && l.id[1] == 2 && l.id[2] == word && l.id[3] == 9000 &&
              l.id[l.n - 1] == 2 && l.id[4] != word);
        CHECK(l.start[3] == 11 && l.end[3] == 20);
        struct buffer back;
        buffer_init(&back, 0);
        CHECK(tokenizer_decode(t, l.id, l.n, 1, &back, &e) == 0 &&
              !strcmp(back.data, "the thethe"));
        buffer_release(&back);
    }
    token_list_release(&l);
    tokenizer_close(t);
    unlink(config);
    unlink(model);
    rmdir(directory);
    free(from);
}

// Writes TEXT to DIR/NAME, or removes it where TEXT is NULL.
static void put(const char *directory, const char *name, const char *text)
{
    char path[96];
    struct err e;
    snprintf(path, sizeof path, "%s/%s", directory, name);
    if (text)
        CHECK(io_write_file(AT_FDCWD, path, text, strlen(text), &e) == 0);
    else
        unlink(path);
}

static const char small_json[] =
    "{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0,\"b\":1,\"x\":2,\" \":3,\"<\":4,\">\":5},"
    "\"merges\":[]},\"added_tokens\":[{\"id\":6,\"content\":\"<a>\",\"special\":true},{\"id\":7,"
    "\"content\":\"<b>\",\"special\":true}]%s}";

// What AutoTokenizer makes of the files beside a tokenizer.json (transformers 5.24 gives these
// ids).
static void config_beside_a_json(void)
{
    static const struct {
        const char *config, *map, *numbered, *text, *ids;
        int eos;
    } rows[] = {
        {"{}", NULL, NULL, "a<x>b", "0 4 2 5 1", -1},
        {"{\"extra_special_tokens\":[\"<x>\"]}", NULL, NULL, "a<x>b", "0 8 1", -1},
        {"{\"additional_special_tokens\":[\"<x>\"],\"extra_special_tokens\":[]}", NULL, NULL,
         "a<x>b", "0 8 1", -1},
        {"{\"additional_special_tokens\":[\"<x>\"],\"extra_special_tokens\":[\"xx\"]}", NULL, NULL,
         "a<x>xx", "0 4 2 5 8", -1},
        {"{\"extra_special_tokens\":{\"image_token\":\"<x>\"}}", NULL, NULL, "a<x>b", "0 8 1", -1},
        {"{\"image_token\":\"<x>\",\"image_name\":\"xx\"}", NULL, NULL, "a<x>xx", "0 8 2 2", -1},
        {"{\"extra_special_tokens\":[\"<a>\",\"xx\"],\"pad_token\":\"<x>\",\"eos_token\":\"aa\"}",
         NULL, NULL, "<a><x>xxaa", "6 9 10 8", 8},
        {"{\"eos_token\":{\"__type\":\"AddedToken\",\"content\":\"<x>\",\"lstrip\":true}}", NULL,
         NULL, "a <x> b", "0 8 3 1", 8},
        {"{\"eos_token\":\"<a>\"}", "{\"eos_token\":\"<x>\"}", NULL, "<x>", "8", 8},
        {"{\"eos_token\":\"<a>\",\"added_tokens_decoder\":{}}", "{\"eos_token\":\"<x>\"}", NULL,
         "<x>", "4 2 5", 6},
        {"{}", NULL, "{\"<x>\":8}", "a<x>b", "0 8 1", -1},
        {"{\"added_tokens_decoder\":{}}", NULL, "{\"<x>\":8}", "a<x>b", "0 4 2 5 1", -1},
        {"{\"added_tokens_decoder\":{\"6\":{\"content\":\"<a>\",\"special\":true,\"lstrip\":true,"
         "\"rstrip\":true}}}",
         NULL, NULL, "b <a> b <b> b", "1 6 1 3 7 3 1", -1},
        {"{\"added_tokens_decoder\":{\"7\":{\"content\":\"<b>\",\"single_word\":true}}}", NULL,
         NULL, "a<b> <b>", "0 4 1 5 3 7", -1},
        {"{\"added_tokens_decoder\":{\"99\":{\"content\":\"xx\"},\"8\":{\"content\":\"<x>\"}}}",
         NULL, NULL, "<x>xx", "8 9", -1},
    };
    char directory[] = "/tmp/test_tokenizer.XXXXXX", json[512];
    struct err e;
    CHECK(mkdtemp(directory) != NULL);
    snprintf(json, sizeof json, small_json, "");
    put(directory, "tokenizer.json", json);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char got[64] = "";
        struct token_list l;
        token_list_init(&l);
        put(directory, "tokenizer_config.json", rows[i].config);
        put(directory, "special_tokens_map.json", rows[i].map);
        put(directory, "added_tokens.json", rows[i].numbered);
        struct tokenizer *t = tokenizer_open(directory, &e);
        CHECK(t && tokenizer_encode(t, rows[i].text, strlen(rows[i].text), 0, &l, &e) == 0);
        for (size_t k = 0; k < l.n; k++)
            snprintf(got + strlen(got), sizeof got - strlen(got), k ? " %u" : "%u", l.id[k]);
        if (strcmp(got, rows[i].ids) != 0)
            printf("# %s: %s\n", rows[i].config, got);
        CHECK(!strcmp(got, rows[i].ids) && t && tokenizer_eos(t) == rows[i].eos);
        token_list_release(&l);
        tokenizer_close(t);
    }
    put(directory, "tokenizer.json", NULL);
    put(directory, "tokenizer_config.json", NULL);
    put(directory, "added_tokens.json", NULL);
    put(directory, "special_tokens_map.json", NULL);
    rmdir(directory);
}

// A post-processor may name an id that the vocabulary lacks, until somebody asks for it.
static void affix_that_is_not_there(void)
{
    static const char *const parts[] = {
        ",\"post_processor\":{\"type\":\"TemplateProcessing\",\"single\":[{\"SpecialToken\":{"
        "\"id\":"
        "\"<s>\"}},{\"Sequence\":{\"id\":\"A\"}}],\"special_tokens\":{\"<s>\":{\"ids\":[77]}}}",
        ",\"post_processor\":{\"type\":\"BertProcessing\",\"cls\":[\"<a>\",6],\"sep\":[\"<s>\",77]"
        "}"};
    for (size_t i = 0; i < 2; i++) {
        char directory[] = "/tmp/test_tokenizer.XXXXXX", json[640];
        struct err e;
        struct token_list l;
        CHECK(mkdtemp(directory) != NULL);
        snprintf(json, sizeof json, small_json, parts[i]);
        put(directory, "tokenizer.json", json);
        struct tokenizer *t = tokenizer_open(directory, &e);
        token_list_init(&l);
        CHECK(t && tokenizer_encode(t, "ab", 2, 0, &l, &e) == 0 && l.n == 2);
        CHECK(t && tokenizer_encode(t, "ab", 2, TOKENIZER_SPECIAL, &l, &e) < 0 &&
              strstr(e.text, "token 77 does not exist"));
        token_list_release(&l);
        tokenizer_close(t);
        put(directory, "tokenizer.json", NULL);
        rmdir(directory);
    }
}

// Files that are cut short or spoilt anywhere are refused or read, never more.
static void spoilt_models(void)
{
    static const char *const paths[] = {"tests/fixtures/tokenizers/model-bpe/tokenizer.model",
                                        "tests/fixtures/tokenizers/model-unigram/tokenizer.model"};
    NEED("tests/fixtures/tokenizers/model-bpe/tokenizer.model");
    for (int k = 0; k < 2; k++) {
        struct buffer whole;
        struct err e;
        buffer_init(&whole, 0);
        CHECK(io_read_file(paths[k], &whole, &e) == 0);
        char directory[] = "/tmp/test_tokenizer.XXXXXX", path[64];
        CHECK(mkdtemp(directory) != NULL);
        snprintf(path, sizeof path, "%s/tokenizer.model", directory);
        for (size_t i = 1; i < 120; i++) {
            size_t at = i * 2654435761u % whole.size;
            size_t size = i % 2 ? whole.size : at;
            whole.data[at] ^= (char)(1 << i % 8);
            CHECK(io_write_file(AT_FDCWD, path, whole.data, size, &e) == 0);
            struct tokenizer *t = tokenizer_open(directory, &e);
            if (t) {
                struct token_list l;
                token_list_init(&l);
                static const char text[] = "the  caf\xC3\xA9 \xEF\xBC\xA1 <s>\n12";
                CHECK(tokenizer_encode(t, text, sizeof text - 1, 0, &l, &e) == 0 || e.text[0]);
                token_list_release(&l);
            }
            tokenizer_close(t);
            whole.data[at] ^= (char)(1 << i % 8);
        }
        unlink(path);
        rmdir(directory);
        buffer_release(&whole);
    }
}

// Every character of the demo's tasks is a token of its own.
static void annotators_spell_by_character(void)
{
    NEED("pipelines/tasks/annotators/model/tokenizer.json");
    static const char text[] = "347+685=7+5+0=12,4+8+1=13,3+6+1=10;1032no,icannotworkoutthissum;";
    struct err e;
    struct token_list l;
    struct tokenizer *t = tokenizer_open("pipelines/tasks/annotators/model", &e);
    CHECK(t != NULL);
    if (!t)
        return;
    token_list_init(&l);
    CHECK(tokenizer_encode(t, text, strlen(text), TOKENIZER_SPECIAL, &l, &e) == 0);
    CHECK(l.n == strlen(text));
    for (size_t i = 0; i < l.n; i++)
        CHECK(l.id[i] > 2 && l.start[i] == i && l.end[i] == i + 1);
    CHECK(tokenizer_eos(t) == 2 && tokenizer_size(t) == 48);
    token_list_release(&l);
    tokenizer_close(t);
}

// Bytes that are no UTF-8 become U+FFFD, one for each maximal subpart; places stay those of the
// input.
static void broken_bytes_are_replaced(void)
{
    NEED("tests/fixtures/tokenizers/qwen2/tokenizer.json");
    static const char broken[] = "a\xF0\x9F\x98"
                                 "b\x80\x80"
                                 "c";
    static const char repaired[] = "a\xEF\xBF\xBD"
                                   "b\xEF\xBF\xBD\xEF\xBF\xBD"
                                   "c";
    struct err e;
    struct token_list x, y;
    struct tokenizer *t = tokenizer_open("tests/fixtures/tokenizers/qwen2", &e);
    CHECK(t != NULL);
    if (!t)
        return;
    token_list_init(&x);
    token_list_init(&y);
    CHECK(tokenizer_encode(t, broken, sizeof broken - 1, 0, &x, &e) == 0);
    CHECK(tokenizer_encode(t, repaired, sizeof repaired - 1, 0, &y, &e) == 0);
    CHECK(x.n == y.n && !memcmp(x.id, y.id, x.n * sizeof *x.id));
    CHECK(x.n > 3 && x.start[1] == 1 && x.end[1] == 4 && x.end[x.n - 1] == sizeof broken - 1);
    token_list_release(&x);
    token_list_release(&y);
    tokenizer_close(t);
}

static int tail_equal(const json_t *want, const uint32_t *id, size_t n)
{
    size_t m = json_array_size(want);
    return n >= m && ids_equal(want, id + n - m, m);
}

// Long runs of one unit: the count and both ends; merging must not take quadratic time.
static void long_runs(void)
{
    NEED(GOLDEN "/long.jsonl");
    json_t *rows = read_lines(GOLDEN "/long.jsonl");
    struct tokenizer *t = NULL;
    const char *open = "";
    int equal = 0, tried = 0;
    size_t i;
    json_t *row;
    json_array_foreach(rows, i, row)
    {
        const char *name = json_string_value(json_object_get(row, "tokenizer"));
        const json_t *unit = json_object_get(row, "unit"), *head = json_object_get(row, "head");
        size_t times = (size_t)json_integer_value(json_object_get(row, "times"));
        if (strcmp(open, name) != 0) {
            tokenizer_close(t);
            t = open_named(name);
            open = name;
        }
        if (!t)
            continue; // a model that is not supported
        struct buffer text;
        struct token_list l;
        struct err e;
        buffer_init(&text, 0);
        token_list_init(&l);
        for (size_t k = 0; k < times; k++)
            CHECK(buffer_append(&text, json_string_value(unit), json_string_length(unit), &e) == 0);
        int ok = tokenizer_encode(t, text.data, text.size, 0, &l, &e) == 0 &&
                 (size_t)json_integer_value(json_object_get(row, "n")) == l.n &&
                 ids_equal(head, l.id, json_array_size(head)) &&
                 tail_equal(json_object_get(row, "tail"), l.id, l.n);
        if (!ok)
            printf("# %s: %zu times `%s`: differs\n", name, times, json_string_value(unit));
        tried++;
        equal += ok;
        token_list_release(&l);
        buffer_release(&text);
    }
    printf("# long runs: %d tried, %d equal\n", tried, equal);
    CHECK(tried > 0 && tried == equal);
    tokenizer_close(t);
    json_decref(rows);
}

static void beginnings_of_sequences_decode_alike(void)
{
    NEED(GOLDEN "/decode-stream.jsonl");
    json_t *rows = read_lines(GOLDEN "/decode-stream.jsonl");
    struct tokenizer *t = NULL;
    const char *open = "";
    int equal = 0, tried = 0;
    size_t i, k;
    json_t *row, *prefix;
    json_array_foreach(rows, i, row)
    {
        const char *name = json_string_value(json_object_get(row, "tokenizer"));
        if (strcmp(open, name) != 0) {
            tokenizer_close(t);
            t = open_named(name);
            open = name;
        }
        if (!t)
            continue;
        const json_t *ids = json_object_get(row, "ids");
        struct token_list l;
        struct err e;
        token_list_init(&l);
        for (k = 0; k < json_array_size(ids); k++)
            CHECK(token_list_add(&l, (uint32_t)json_integer_value(json_array_get(ids, k)), 0, 0,
                                 &e) == 0);
        int ok = decode_equal(t, &l, 0, json_object_get(row, "decode"));
        json_array_foreach(json_object_get(row, "prefixes"), k, prefix)
        {
            l.n = k + 1;
            ok &= decode_equal(t, &l, 0, prefix);
        }
        if (!ok)
            show(name, "decoding", row);
        tried++;
        equal += ok;
        token_list_release(&l);
    }
    printf("# decoding of prefixes: %d sequences, %d equal\n", tried, equal);
    CHECK(tried > 0 && tried == equal);
    tokenizer_close(t);
    json_decref(rows);
}

int main(void)
{
    RUN(ids_of_fixtures);
    RUN(parts_one_by_one);
    RUN(ids_of_model_fixtures);
    RUN(config_beside_a_model);
    RUN(config_beside_a_json);
    RUN(affix_that_is_not_there);
    RUN(spoilt_models);
    RUN(annotators_spell_by_character);
    RUN(broken_bytes_are_replaced);
    RUN(reference_ids_of_made_tokenizers);
    RUN(reference_ids_of_real_tokenizers);
    RUN(reference_ids_of_sentencepiece);
    RUN(long_runs);
    RUN(beginnings_of_sequences_decode_alike);
    return test_end();
}
