// SPDX-License-Identifier: MIT
#include "exchange/tokenizer_out.h"
#include "base/io.h"
#include "base/json.h"
#include "base/memory.h"
#include "exchange/splitting.h"
#include "exchange/token_type.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FILE_LIMIT = 256 << 20, SETTINGS_LIMIT = 64 << 20, ID_NAME = 64 };

struct telling {
    json_t *keys;      // of the file
    json_t *tokenizer; // tokenizer.json
    json_t *settings;  // tokenizer_config.json, or an empty object
    json_t *config;    // config.json
    json_t *stops;     // generation_config.json, or an empty object
    size_t vocab;
    json_t **token; // [vocab] its text, borrowed; NULL: none
    unsigned char *type;
    int is_bpe;
};

static const char file[] = "tokenizer.json";

static int bad(struct err *e, const char *what)
{
    return err_set(e, STATUS_FAILED, "%s: %s", file, what);
}

static int is_text(const json_t *value, const char *wanted)
{
    const char *text = json_string_value(value);
    return text && !strcmp(text, wanted);
}

static void set(struct telling *t, const char *key, json_t *value)
{
    char name[ID_NAME];
    snprintf(name, sizeof name, "tokenizer.ggml.%s", key);
    json_object_set_new(t->keys, name, value);
}

// ---- tokens ----

// `text` is a value of tokenizer.json, or made to be.
static int put_token(struct telling *t, json_t *text, const json_t *id, int type, struct err *e)
{
    json_int_t i = json_is_integer(id) ? json_integer_value(id) : -1;
    if (!json_is_string(text) || i < 0)
        return bad(e, "a token without a text or an id");
    if ((size_t)i >= t->vocab)
        return err_set(e, STATUS_FAILED, "%s: token %lld: the model has %zu tokens only", file,
                       (long long)i, t->vocab);
    json_decref(t->token[i]);
    t->token[i] = json_incref(text);
    t->type[i] = (unsigned char)type;
    return 0;
}

static int is_byte(const char *s)
{
    return strlen(s) == 6 && !strncmp(s, "<0x", 3) && s[5] == '>';
}

static int put_vocabulary(struct telling *t, const json_t *model, struct err *e)
{
    const char *text, *unknown = json_string_value(json_object_get(model, "unk_token"));
    json_t *id;
    json_object_foreach(json_object_get(model, "vocab"), text, id)
    {
        int type = t->is_bpe                           ? TOKEN_NORMAL
                   : unknown && !strcmp(text, unknown) ? TOKEN_UNKNOWN
                   : is_byte(text)                     ? TOKEN_BYTE
                                                       : TOKEN_NORMAL;
        json_t *value = json_string(text);
        int result = put_token(t, value, id, type, e);
        json_decref(value);
        if (result < 0)
            return -1;
    }
    return 0;
}

static int put_added(struct telling *t, struct err *e)
{
    size_t i;
    json_t *entry;
    json_array_foreach(json_object_get(t->tokenizer, "added_tokens"), i, entry)
    {
        const json_t *id = json_object_get(entry, "id");
        json_int_t at = json_is_integer(id) ? json_integer_value(id) : -1;
        int type =
            json_is_true(json_object_get(entry, "special")) ? TOKEN_CONTROL : TOKEN_USER_DEFINED;
        if (at >= 0 && (size_t)at < t->vocab && t->type[at] == TOKEN_UNKNOWN)
            type = TOKEN_UNKNOWN;
        if (put_token(t, json_object_get(entry, "content"), id, type, e) < 0)
            return -1;
    }
    return 0;
}

static void set_tokens(struct telling *t)
{
    json_t *tokens = json_array(), *types = json_array();
    char unused[ID_NAME];
    for (size_t i = 0; i < t->vocab; i++) {
        snprintf(unused, sizeof unused, "[PAD%zu]", i);
        json_array_append_new(tokens, t->token[i] ? json_incref(t->token[i]) : json_string(unused));
        json_array_append_new(types, json_integer(t->token[i] ? t->type[i] : TOKEN_UNUSED));
    }
    set(t, "tokens", tokens);
    set(t, "token_type", types);
}

// ---- merges, or the scores that stand for them ----

// A merge is a pair, or one text with a blank between.
static int split_merge(const json_t *merge, const char **left, size_t *n, const char **right,
                       struct err *e)
{
    const char *text = json_string_value(merge);
    const char *blank = text ? strchr(text, ' ') : NULL;
    *left = json_string_value(json_array_get(merge, 0));
    *right = json_string_value(json_array_get(merge, 1));
    if (blank) {
        *left = text;
        *right = blank + 1;
    }
    if (!*left || !*right)
        return bad(e, "a merge that is no pair of tokens");
    *n = blank ? (size_t)(blank - text) : strlen(*left);
    return 0;
}

static int set_merges(struct telling *t, const json_t *merges, struct err *e)
{
    json_t *list = json_array(), *merge;
    size_t i, n;
    const char *left, *right;
    set(t, "merges", list);
    json_array_foreach(merges, i, merge)
    {
        if (split_merge(merge, &left, &n, &right, e) < 0)
            return -1;
        json_array_append_new(list, json_sprintf("%.*s %s", (int)n, left, right));
    }
    return 0;
}

// SentencePiece merges what has the highest score: each piece has that of its first merge.
static int set_scores(struct telling *t, const json_t *model, struct err *e)
{
    const json_t *vocab = json_object_get(model, "vocab");
    double *score = mem_alloc(t->vocab, sizeof *score, "scores", e);
    json_t *merge, *list = json_array();
    size_t i, n;
    const char *left, *right;
    int result = score ? 0 : -1;
    json_array_foreach(json_object_get(model, "merges"), i, merge)
    {
        if (result < 0 || (result = split_merge(merge, &left, &n, &right, e)) < 0)
            break;
        json_t *whole = json_sprintf("%.*s%s", (int)n, left, right);
        const json_t *id = whole ? json_object_get(vocab, json_string_value(whole)) : NULL;
        json_decref(whole);
        if (!id)
            result = bad(e, "a merge that makes no token");
        else if (score[json_integer_value(id)] == 0) // put_vocabulary has seen the id
            score[json_integer_value(id)] = -1 - (double)i;
    }
    for (i = 0; result == 0 && i < t->vocab; i++)
        json_array_append_new(list, json_real(score[i]));
    set(t, "scores", list);
    free(score);
    return result;
}

// ---- which kind it is ----

static int has_prefix(const json_t *normalizer)
{
    size_t i;
    json_t *step;
    if (is_text(json_object_get(normalizer, "type"), "Prepend"))
        return 1;
    json_array_foreach(json_object_get(normalizer, "normalizers"), i, step)
    {
        if (has_prefix(step))
            return 1;
    }
    return 0;
}

static int is_replace(const json_t *step)
{
    return is_text(json_object_get(step, "type"), "Replace") &&
           is_text(json_object_get(json_object_get(step, "pattern"), "String"), " ") &&
           is_text(json_object_get(step, "content"), "\xe2\x96\x81");
}

// Blanks become the mark, perhaps with one in front; nothing else may be done.
static int is_marking(const json_t *normalizer)
{
    const json_t *list = json_object_get(normalizer, "normalizers");
    if (!list)
        return is_replace(normalizer);
    return json_array_size(list) == 2 && has_prefix(json_array_get(list, 0)) &&
           is_replace(json_array_get(list, 1));
}

static int set_kind(struct telling *t, const json_t *model, struct err *e)
{
    const json_t *pre = json_object_get(t->tokenizer, "pre_tokenizer");
    const json_t *normalizer = json_object_get(t->tokenizer, "normalizer");
    int whole_words = json_is_true(json_object_get(model, "ignore_merges"));
    if (!is_text(json_object_get(model, "type"), "BPE"))
        return bad(e, "only BPE can be said in a GGUF file, so far");
    const struct splitting *s = splitting_match(pre, normalizer, whole_words);
    t->is_bpe = s != NULL;
    if (s) {
        set(t, "model", json_string("gpt2"));
        set(t, "pre", json_string(s->name));
        return 0;
    }
    if (!json_is_true(json_object_get(model, "byte_fallback")) || !is_marking(normalizer))
        return bad(e, "llama.cpp has no name for this way to cut a text into words (pre_tokenizer, "
                      "normalizer)");
    set(t, "model", json_string("llama"));
    set(t, "pre", json_string("default"));
    set(t, "add_space_prefix", json_boolean(has_prefix(normalizer)));
    return 0;
}

// ---- special tokens ----

// The id of a token that tokenizer_config.json names, a text or an object; -1.
static json_int_t named_id(const struct telling *t, const char *key)
{
    const json_t *value = json_object_get(t->settings, key);
    const char *text =
        json_string_value(json_is_object(value) ? json_object_get(value, "content") : value);
    for (size_t i = 0; text && i < t->vocab; i++)
        if (is_text(t->token[i], text))
            return (json_int_t)i;
    return -1;
}

static json_int_t listed_id(const json_t *object, const char *key, size_t at)
{
    const json_t *value = json_object_get(object, key);
    value = json_is_array(value) ? json_array_get(value, at) : at ? NULL : value;
    return json_is_integer(value) ? json_integer_value(value) : -1;
}

static json_int_t set_special(struct telling *t, const char *name, const char *key,
                              const char *id_key)
{
    json_int_t id = named_id(t, name);
    if (id < 0 && id_key)
        id = listed_id(t->stops, id_key, 0);
    if (id < 0 && id_key)
        id = listed_id(t->config, id_key, 0);
    if (id >= 0 && (size_t)id < t->vocab)
        set(t, key, json_integer(id));
    return id;
}

// A token that ends a turn where it is another than eos: of several that generation stops at.
static void set_turn_end(struct telling *t, json_int_t eos)
{
    for (size_t i = 0; i < 16; i++) {
        json_int_t id = listed_id(t->stops, "eos_token_id", i);
        if (id >= 0 && id != eos && (size_t)id < t->vocab) {
            set(t, "eot_token_id", json_integer(id));
            return;
        }
    }
}

// Whether the post-processor puts the token at the place `at` of a text (0: in front, else behind).
static int puts_token(const json_t *processor, const char *token, int behind)
{
    size_t i, n;
    json_t *one;
    json_array_foreach(json_object_get(processor, "processors"), i, one)
    {
        if (puts_token(one, token, behind))
            return 1;
    }
    const json_t *single = json_object_get(processor, "single");
    n = json_array_size(single);
    const json_t *place = n ? json_array_get(single, behind ? n - 1 : 0) : NULL;
    return token && is_text(json_object_get(json_object_get(place, "SpecialToken"), "id"), token);
}

static void set_specials(struct telling *t)
{
    const json_t *processor = json_object_get(t->tokenizer, "post_processor");
    json_int_t bos = set_special(t, "bos_token", "bos_token_id", "bos_token_id");
    json_int_t eos = set_special(t, "eos_token", "eos_token_id", "eos_token_id");
    set_special(t, "unk_token", "unknown_token_id", NULL);
    set_special(t, "pad_token", "padding_token_id", "pad_token_id");
    set_turn_end(t, eos);
    const char *front =
        bos >= 0 && (size_t)bos < t->vocab ? json_string_value(t->token[bos]) : NULL;
    const char *end = eos >= 0 && (size_t)eos < t->vocab ? json_string_value(t->token[eos]) : NULL;
    set(t, "add_bos_token", json_boolean(puts_token(processor, front, 0)));
    set(t, "add_eos_token", json_boolean(puts_token(processor, end, 1)));
}

// ---- the whole ----

static json_t *read_settings(int at, const char *name, struct err *e)
{
    int there = io_look(at, name, e);
    if (there < 0)
        return NULL;
    json_t *value = there ? json_parse_file(at, name, SETTINGS_LIMIT, e) : json_object();
    if (!value || json_is_object(value))
        return value;
    json_decref(value);
    err_set(e, STATUS_FAILED, "%s: not a JSON object", name);
    return NULL;
}

static int tell(struct telling *t, struct err *e)
{
    const json_t *model = json_object_get(t->tokenizer, "model");
    if (set_kind(t, model, e) < 0 || put_vocabulary(t, model, e) < 0 || put_added(t, e) < 0)
        return -1;
    set_tokens(t);
    int result =
        t->is_bpe ? set_merges(t, json_object_get(model, "merges"), e) : set_scores(t, model, e);
    set_specials(t);
    return result;
}

int tokenizer_out(json_t *keys, int at, size_t vocab, struct err *e)
{
    struct telling t = {.keys = keys, .vocab = vocab};
    int there = io_look(at, file, e), result = -1;
    if (there < 0)
        return -1;
    if (!there) {
        json_object_set_new(keys, "tokenizer.ggml.model", json_string("no_vocab"));
        return 0;
    }
    t.token = mem_alloc(vocab, sizeof *t.token, "tokens", e);
    t.type = t.token ? mem_alloc(vocab, 1, "tokens", e) : NULL;
    if (t.type && (t.tokenizer = json_parse_file(at, file, FILE_LIMIT, e)) &&
        (t.settings = read_settings(at, "tokenizer_config.json", e)) &&
        (t.config = read_settings(at, "config.json", e)) &&
        (t.stops = read_settings(at, "generation_config.json", e)))
        result = tell(&t, e);
    for (size_t i = 0; t.type && i < vocab; i++)
        json_decref(t.token[i]);
    free(t.token);
    free(t.type);
    json_decref(t.tokenizer);
    json_decref(t.settings);
    json_decref(t.config);
    json_decref(t.stops);
    return result;
}
