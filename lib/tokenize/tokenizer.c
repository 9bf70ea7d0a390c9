// SPDX-License-Identifier: MIT
#include "tokenize/tokenizer.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/hash.h"
#include "base/io.h"
#include "base/json.h"
#include "base/json_scan.h"
#include "base/model_folder.h"
#include "base/no_model.h"
#include "base/number.h"
#include "tokenize/added.h"
#include "tokenize/aligned.h"
#include "tokenize/bpe.h"
#include "tokenize/normalizer.h"
#include "tokenize/postprocessor.h"
#include "tokenize/pretokenizer.h"
#include "tokenize/sentencepiece_config.h"
#include "tokenize/token_decoder.h"
#include "tokenize/unicode.h"
#include "tokenize/unigram.h"
#include "tokenize/vocabulary.h"

enum {
    FILE_MAX_BYTES = 1 << 28,
    CONFIG_MAX_BYTES = 1 << 26,
    AHEAD = 6, // pieces between asking for a word's memory and using it
};
static const char file_name[] = "tokenizer.json", model_name[] = "tokenizer.model",
                  config_name[] = "tokenizer_config.json", map_name[] = "special_tokens_map.json";

struct token_shape {
    uint8_t special;
    uint8_t skipped; // by decoding without special tokens
    uint8_t added;
    uint8_t lead, trail; // blanks at the ends, for trimmed offsets
};

enum model_kind { MODEL_BPE, MODEL_UNIGRAM, MODEL_SENTENCEPIECE };

struct tokenizer {
    char fingerprint[FINGERPRINT_MAX];
    struct vocabulary tokens; // the model's and the added ones
    enum model_kind kind;
    size_t n_model; // ids that the model can give are below this
    struct bpe bpe;
    struct unigram unigram;
    struct sentencepiece sentencepiece;
    struct sentencepiece_settings settings; // with a tokenizer.model
    struct normalizer *normalizer;
    struct pretokenizer *pretokenizer;
    struct postprocessor post;
    struct token_decoder *decoder;
    struct added_list added;
    struct added_matcher raw, normalized; // what is cut out before and after normalising
    // How added tokens decode where that is not their content: as the normalizer leaves it.
    struct vocabulary shown;
    struct token_shape *shape; // [tokens.n_ids]
    int64_t eos;
    struct tokenizer_worker *worker;
};

struct tokenizer_worker {
    struct aligned repaired; // text whose broken bytes were replaced
    struct aligned_pair normalized;
    struct pretokenizer_scratch pre;
    struct bpe_scratch bpe;
    struct unigram_scratch unigram;
    struct sentencepiece_scratch sentencepiece;
    char fingerprint[FINGERPRINT_MAX]; // of the tokenizer whose words are in the cache
};

void token_list_init(struct token_list *t)
{
    memset(t, 0, sizeof *t);
}

void token_list_release(struct token_list *t)
{
    free(t->id);
    free(t->start);
    free(t->end);
    token_list_init(t);
}

void token_list_drop_places(struct token_list *t)
{
    free(t->start);
    free(t->end);
    t->start = t->end = NULL;
    t->capacity = 0; // the next token makes all three anew
}

static int token_grow(struct token_list *t, size_t more, struct err *e)
{
    size_t need = t->n + more, c = t->capacity, c1 = c, c2 = c;
    if (need <= c)
        return 0;
    if (MEM_GROW(t->id, c, need, "tokens", e) < 0 || MEM_GROW(t->start, c1, c, "tokens", e) < 0 ||
        MEM_GROW(t->end, c2, c, "tokens", e) < 0)
        return -1;
    t->capacity = c;
    return 0;
}

int token_list_add(struct token_list *t, uint32_t id, size_t start, size_t end, struct err *e)
{
    if (t->n == t->capacity && token_grow(t, 1, e) < 0)
        return -1;
    t->id[t->n] = id;
    t->start[t->n] = (uint32_t)start;
    t->end[t->n] = (uint32_t)end;
    t->n++;
    return 0;
}

// ---- Reading ------------------------------------------------------------------------------------

// Where the large tables stand in the file; everything else, with null in their place, goes to
// `rest`.
struct tables {
    const char *vocab, *merges; // NULL: none
    size_t vocab_size, merges_size;
    struct buffer rest;
};

static int take_table(struct json_scan *s, struct tables *t, const char **copied,
                      const char **table, size_t *size)
{
    json_scan_peek(s);
    const char *from = s->p;
    if (json_scan_skip(s) < 0)
        return -1;
    *table = from;
    *size = (size_t)(s->p - from);
    if (buffer_append(&t->rest, *copied, (size_t)(from - *copied), s->e) < 0 ||
        buffer_string(&t->rest, "null", s->e) < 0)
        return -1;
    *copied = s->p;
    return 0;
}

static int is_key(const char *name, const char *key, size_t size)
{
    return strlen(name) == size && !memcmp(name, key, size);
}

static int find_in_model(struct json_scan *s, struct tables *t, const char **copied)
{
    int more, first = 1;
    const char *key;
    size_t size;
    if (json_scan_expect(s, '{') < 0)
        return -1;
    while ((more = json_scan_more(s, '}', &first)) > 0) {
        if (json_scan_string(s, &key, &size) < 0 || json_scan_expect(s, ':') < 0)
            return -1;
        int result;
        if (is_key("vocab", key, size))
            result = take_table(s, t, copied, &t->vocab, &t->vocab_size);
        else if (is_key("merges", key, size))
            result = take_table(s, t, copied, &t->merges, &t->merges_size);
        else
            result = json_scan_skip(s);
        if (result < 0)
            return -1;
    }
    return more;
}

static int find_tables(struct json_scan *s, struct tables *t, struct err *e)
{
    const char *copied = s->p, *key;
    int more, first = 1;
    size_t size;
    if (json_scan_expect(s, '{') < 0)
        return -1;
    while ((more = json_scan_more(s, '}', &first)) > 0) {
        if (json_scan_string(s, &key, &size) < 0 || json_scan_expect(s, ':') < 0)
            return -1;
        if (is_key("model", key, size) ? find_in_model(s, t, &copied) < 0 : json_scan_skip(s) < 0)
            return -1;
    }
    return more < 0 ? -1 : buffer_append(&t->rest, copied, (size_t)(s->end - copied), e);
}

static int read_token(struct tokenizer *t, struct json_scan *s, struct err *e)
{
    const char *key;
    size_t size;
    int64_t id;
    if (json_scan_string(s, &key, &size) < 0)
        return -1;
    if (json_scan_expect(s, ':') < 0 || json_scan_integer(s, &id) < 0)
        return -1;
    if (id < 0 || id >= VOCABULARY_ID_MAX)
        return json_scan_fail(s, "a token id out of range");
    return vocabulary_add(&t->tokens, key, size, (uint32_t)id, e) < 0 ? -1 : 0;
}

static int read_vocabulary(struct tokenizer *t, const struct tables *tables, struct err *e)
{
    struct json_scan s;
    if (!tables->vocab)
        return err_set(e, STATUS_FAILED, "%s: key `model`: no `vocab`", file_name);
    json_scan_init(&s, tables->vocab, tables->vocab_size, "tokenizer.json: vocab", e);
    int more = json_scan_expect(&s, '{'), first = 1;
    while (more == 0 && (more = json_scan_more(&s, '}', &first)) > 0)
        more = read_token(t, &s, e);
    json_scan_release(&s);
    return more;
}

// Entries of a Unigram model: ["token", log-probability], numbered as they come.
static int read_scored(struct tokenizer *t, struct json_scan *s, struct unigram_word **word,
                       size_t *n, struct err *e)
{
    size_t room = 0, size;
    const char *text;
    int more = json_scan_expect(s, '['), first = 1;
    while (more == 0 && (more = json_scan_more(s, ']', &first)) > 0) {
        struct unigram_word entry = {.usable = 1};
        if (json_scan_expect(s, '[') < 0 || json_scan_string(s, &text, &size) < 0 ||
            vocabulary_add(&t->tokens, text, size, (uint32_t)*n, e) < 0 ||
            json_scan_expect(s, ',') < 0 || json_scan_real(s, &entry.score) < 0 ||
            json_scan_expect(s, ']') < 0 || MEM_GROW(*word, room, *n + 1, "a vocabulary", e) < 0)
            return -1;
        (*word)[(*n)++] = entry;
        more = 0;
    }
    return more;
}

static int read_unigram(struct tokenizer *t, const json_t *model, const struct tables *tables,
                        struct err *e)
{
    int64_t unk = -1;
    int byte_fallback = 0;
    struct json_scan s;
    if (!tables->vocab)
        return err_set(e, STATUS_FAILED, "%s: key `model`: no `vocab`", file_name);
    int has_unk = json_get_int(model, "unk_id", &unk, file_name, e);
    if (has_unk < 0 || json_get_bool(model, "byte_fallback", &byte_fallback, file_name, e) < 0)
        return -1;
    struct unigram_word *word = NULL;
    size_t n = 0;
    json_scan_init(&s, tables->vocab, tables->vocab_size, "tokenizer.json: vocab", e);
    int result = read_scored(t, &s, &word, &n, e);
    json_scan_release(&s);
    if (result == 0 && has_unk && (unk < 0 || (size_t)unk >= n))
        result = err_set(e, STATUS_FAILED, "%s: key `unk_id`: %lld is not in the vocabulary",
                         file_name, (long long)unk);
    if (result < 0) {
        free(word);
        return -1;
    }
    t->kind = MODEL_UNIGRAM;
    return unigram_init(&t->unigram, &t->tokens, word, n, unk, byte_fallback, e);
}

static int read_bpe(struct tokenizer *t, const json_t *model, const struct tables *tables,
                    struct err *e)
{
    if (read_vocabulary(t, tables, e) < 0)
        return -1;
    struct json_scan merges;
    json_scan_init(&merges, tables->merges ? tables->merges : "", tables->merges_size,
                   "tokenizer.json: merges", e);
    int result = bpe_init(&t->bpe, model, tables->merges ? &merges : NULL, &t->tokens,
                          pretokenizer_is_byte_level(t->pretokenizer), e);
    json_scan_release(&merges);
    return result;
}

static int read_model(struct tokenizer *t, const json_t *root, const struct tables *tables,
                      struct err *e)
{
    const json_t *model = json_object_get(root, "model");
    // Files of the first years do not say; a vocabulary with scores is that of a Unigram model.
    const char *type = tables->vocab && *tables->vocab == '[' ? "Unigram" : "BPE";
    if (!json_is_object(model))
        return err_set(e, STATUS_FAILED, "%s: key `model`: not an object", file_name);
    if (json_get_string(model, "type", &type, file_name, e) < 0)
        return -1;
    if (!strcmp(type, "BPE"))
        return read_bpe(t, model, tables, e);
    if (!strcmp(type, "Unigram"))
        return read_unigram(t, model, tables, e);
    return err_set(e, STATUS_FAILED, "%s: key `model`: type `%s` is not supported", file_name,
                   type);
}

static int read_flag(const json_t *value, const char *key, int *flag, struct err *e)
{
    return json_get_bool(value, key, flag, "added token", e);
}

static int64_t next_free_id(const struct tokenizer *t, size_t n_model)
{
    int64_t id = (int64_t)n_model;
    for (size_t i = 0; i < t->added.n; i++)
        if (t->added.token[i].id >= id)
            id = (int64_t)t->added.token[i].id + 1;
    return id;
}

// The id: the vocabulary's where the token is there, else `id` or, when that is -1, the next free
// one.
static int add_token(struct tokenizer *t, const json_t *value, size_t n_model, int64_t id,
                     const char *name, struct err *e)
{
    const json_t *content = json_object_get(value, "content");
    if (!json_is_string(content))
        return err_set(e, STATUS_FAILED, "%s: an added token without `content`", name);
    const char *text = json_string_value(content);
    size_t size = json_string_length(content);
    struct added_token *same = size ? added_list_find(&t->added, text, size) : NULL;
    int takes = name == file_name || (name == config_name && t->kind != MODEL_SENTENCEPIECE);
    if (size == 0 || (same && !takes))
        return 0;
    struct added_token token = {0};
    if (read_flag(value, "single_word", &token.single_word, e) < 0 ||
        read_flag(value, "lstrip", &token.lstrip, e) < 0 ||
        read_flag(value, "rstrip", &token.rstrip, e) < 0 ||
        read_flag(value, "special", &token.special, e) < 0)
        return -1;
    token.normalized = !token.special;
    if (read_flag(value, "normalized", &token.normalized, e) < 0)
        return -1;
    if (t->kind == MODEL_SENTENCEPIECE)
        token.normalized = 0; // they are cut out of the text before the model sees it
    if (same) {               // declared twice: the later flags hold
        token.content = same->content;
        token.size = size;
        token.id = same->id;
        token.special |= same->special;
        *same = token;
        return 0;
    }
    int64_t known = vocabulary_find(&t->tokens, text, size);
    if (known >= 0)
        id = known;
    else if (id < 0)
        id = next_free_id(t, n_model);
    token.id = (uint32_t)id;
    return vocabulary_add(&t->tokens, text, size, token.id, e) < 0
               ? -1
               : added_list_add(&t->added, text, size, &token, e);
}

static int by_number(const void *a, const void *b)
{
    int64_t x = 0, y = 0;
    number_to_i64(*(const char *const *)a, &x);
    number_to_i64(*(const char *const *)b, &y);
    return x < y ? -1 : x > y;
}

// Beside a tokenizer.model the numbers of added tokens are kept; with tokenizer.json they follow
// the vocabulary, as in the reference.
static int64_t declared_id(const struct tokenizer *t, const char *number, size_t n_model)
{
    int64_t id;
    size_t size;
    if (t->kind != MODEL_SENTENCEPIECE || number_to_i64(number, &id) < 0 || id < (int64_t)n_model ||
        id >= VOCABULARY_ID_MAX || vocabulary_text(&t->tokens, (uint32_t)id, &size))
        return -1;
    return id;
}

// added_tokens_decoder: tokens in the order of their numbers there. Beside a tokenizer.json, that
// of tokenizer_config.json also says which flags its tokens have.
static int read_numbered(struct tokenizer *t, const json_t *list, size_t n_model, const char *name,
                         struct err *e)
{
    size_t n = json_object_size(list), i = 0;
    if (!n)
        return 0;
    const char **keys = mem_alloc(n, sizeof *keys, "added tokens", e), *key;
    json_t *value;
    if (!keys)
        return -1;
    json_object_foreach((json_t *)list, key, value) keys[i++] = key;
    qsort(keys, n, sizeof *keys, by_number);
    int result = 0;
    for (i = 0; result == 0 && i < n; i++)
        result = add_token(t, json_object_get(list, keys[i]), n_model,
                           declared_id(t, keys[i], n_model), name, e);
    free(keys);
    return result;
}

// Reads DIR/NAME where it exists; *out stays NULL otherwise.
static int read_optional(const char *directory, const char *name, json_t **out, struct err *e)
{
    *out = NULL;
    char *path = io_path(directory, name, e);
    int there = path ? io_look(AT_FDCWD, path, e) : -1;
    if (there > 0)
        *out = json_parse_file(AT_FDCWD, path, CONFIG_MAX_BYTES, e);
    free(path);
    return there < 0 || (there > 0 && !*out) ? -1 : 0;
}

// A token by its role, which makes it special, or of a list: a string, or an object with flags.
static int add_special(struct tokenizer *t, const json_t *value, int role, size_t n_model,
                       const char *name, struct err *e)
{
    if (!json_is_string(value) && !json_is_object(value))
        return 0;
    json_t *token = json_is_string(value) ? json_pack("{s:O, s:b}", "content", value, "special", 1)
                                          : json_copy((json_t *)value);
    int result = !token || (role && json_object_set_new(token, "special", json_true()) < 0)
                     ? err_memory(e, 64, "special tokens")
                     : 0;
    const json_t *content = json_object_get(token, "content");
    if (result == 0 &&
        !(json_is_string(content) &&
          added_list_find(&t->added, json_string_value(content), json_string_length(content))))
        result = add_token(t, token, n_model, -1, name, e);
    json_decref(token);
    return result;
}

static const char *const roles[] = {"bos_token", "eos_token", "unk_token", "sep_token",
                                    "pad_token", "cls_token", "mask_token"};
enum { ROLES = sizeof roles / sizeof *roles };

// Roles of the model's own, such as `image_token`.
static int is_other_role(const char *key, const json_t *value)
{
    static const char end[] = "_token";
    size_t n = strlen(key);
    if (n < sizeof end || strcmp(key + n - (sizeof end - 1), end) != 0 || !json_is_string(value))
        return 0;
    for (size_t i = 0; i < ROLES; i++)
        if (!strcmp(roles[i], key))
            return 0;
    return 1;
}

// In the order of transformers: by role, by roles of the model's own, and without one.
static int add_roles(struct tokenizer *t, const json_t *config, size_t n_model, const char *name,
                     struct err *e)
{
    const char *key;
    json_t *v, *extra = json_object_get(config, "extra_special_tokens");
    if (!json_array_size(extra) && !json_object_size(extra)) // its name before transformers 5
        extra = json_object_get(config, "additional_special_tokens");
    for (size_t i = 0; i < ROLES; i++)
        if (add_special(t, json_object_get(config, roles[i]), 1, n_model, name, e) < 0)
            return -1;
    json_object_foreach((json_t *)config, key, v)
    {
        if (is_other_role(key, v) && add_special(t, v, 1, n_model, name, e) < 0)
            return -1;
    }
    json_object_foreach(extra, key, v)
    {
        if (add_special(t, v, 1, n_model, name, e) < 0)
            return -1;
    }
    for (size_t i = 0; i < json_array_size(extra); i++)
        if (add_special(t, json_array_get(extra, i), 0, n_model, name, e) < 0)
            return -1;
    return 0;
}

// added_tokens.json of older directories: {"token": id}, in the order of the ids.
static int add_unflagged(struct tokenizer *t, const json_t *list, size_t n_model, struct err *e)
{
    const char *key;
    json_t *id, *decoder = json_object();
    int result = decoder ? 0 : err_memory(e, 64, "added tokens");
    json_object_foreach((json_t *)list, key, id)
    {
        char number[32];
        snprintf(number, sizeof number, "%lld", (long long)json_integer_value(id));
        if (result == 0 && (!json_is_integer(id) || json_integer_value(id) < 0))
            result = err_set(e, STATUS_FAILED, "added_tokens.json: key `%s`: not an id", key);
        if (result == 0 &&
            json_object_set_new(decoder, number, json_pack("{s:s}", "content", key)) < 0)
            result = err_memory(e, 64, "added tokens");
    }
    if (result == 0)
        result = read_numbered(t, decoder, n_model, "added_tokens.json", e);
    json_decref(decoder);
    return result;
}

// The files beside a tokenizer.json that declare tokens.
struct token_files {
    json_t *config;   // tokenizer_config.json; without added_tokens_decoder, with what
                      // special_tokens_map.json says in its place
    json_t *numbered; // added_tokens.json, which counts then
};
static const char decoder_key[] = "added_tokens_decoder";

static void token_files_release(struct token_files *d)
{
    json_decref(d->config);
    json_decref(d->numbered);
}

static int token_files_read(struct token_files *d, const char *directory, struct err *e)
{
    json_t *map;
    d->numbered = NULL;
    if (read_optional(directory, config_name, &d->config, e) < 0)
        return -1;
    if (json_object_get(d->config, decoder_key))
        return 0;
    if (!json_is_object(d->config)) {
        json_decref(d->config);
        d->config = json_object();
    }
    if (read_optional(directory, map_name, &map, e) < 0)
        return -1;
    int result = json_is_object(map) && json_object_update(d->config, map) < 0
                     ? err_memory(e, 64, "special tokens")
                     : read_optional(directory, "added_tokens.json", &d->numbered, e);
    json_decref(map);
    return result;
}

// What AutoTokenizer adds to the tokens of tokenizer.json.
static int read_declared(struct tokenizer *t, const struct token_files *d, size_t n_model,
                         struct err *e)
{
    json_t *list = json_object_get(d->config, decoder_key);
    if (read_numbered(t, list, n_model, config_name, e) < 0 ||
        (!list && add_unflagged(t, d->numbered, n_model, e) < 0))
        return -1;
    return add_roles(t, d->config, n_model, config_name, e);
}

static int read_added(struct tokenizer *t, const json_t *root, const struct token_files *d,
                      struct err *e)
{
    size_t n_model = t->kind == MODEL_UNIGRAM ? t->unigram.n : vocabulary_count(&t->tokens);
    size_t i;
    json_t *value;
    t->n_model = t->tokens.n_ids;
    json_array_foreach(json_object_get(root, "added_tokens"), i, value)
    {
        if (add_token(t, value, n_model, -1, file_name, e) < 0)
            return -1;
    }
    return read_declared(t, d, n_model, e);
}

static int build_matchers(struct tokenizer *t, struct err *e)
{
    struct aligned_pair buffers;
    struct pattern_scratch scratch;
    aligned_pair_init(&buffers);
    int result = pattern_scratch_init(&scratch, e);
    if (result < 0)
        return -1;
    for (size_t i = 0; result == 0 && i < t->added.n; i++) {
        const struct added_token *token = &t->added.token[i];
        struct slice text = {.data = token->content, .size = token->size};
        if (token->normalized)
            result = normalizer_run(t->normalizer, &text, &buffers, &scratch, e);
        if (result == 0)
            result = added_matcher_add(token->normalized ? &t->normalized : &t->raw, text.data,
                                       text.size, i, e);
        if (result == 0 && token->normalized &&
            (text.size != token->size || memcmp(text.data, token->content, text.size) != 0))
            result = vocabulary_add(&t->shown, text.data, text.size, token->id, e);
    }
    aligned_pair_release(&buffers);
    pattern_scratch_release(&scratch);
    return result;
}

// Blanks at one end of a token as the vocabulary spells it, in characters.
static uint8_t blanks(const char *text, size_t size, int from_end)
{
    uint8_t n = 0;
    while (size && n < UINT8_MAX) {
        size_t i = 0, next, bad;
        if (from_end) {
            i = size - 1;
            while (i && utf8_continues(text[i]))
                i--;
        }
        next = i;
        if (!utf8_sequence(text + i, size - i, &bad))
            break;
        uint32_t c = utf8_next(text, &next);
        if (c != byte_alphabet_char(' ') && !unicode_is_space(c))
            break;
        n++;
        size -= next - i;
        if (!from_end)
            text += next;
    }
    return n;
}

static const char *shown_text(const struct tokenizer *t, uint32_t id, size_t *size)
{
    const char *text = vocabulary_text(&t->shown, id, size);
    return text ? text : vocabulary_text(&t->tokens, id, size);
}

static int build_shapes(struct tokenizer *t, struct err *e)
{
    t->shape = mem_alloc(t->tokens.n_ids, sizeof *t->shape, "a vocabulary", e);
    if (!t->shape)
        return -1;
    for (uint32_t id = 0; t->post.trims && id < t->tokens.n_ids; id++) {
        size_t size;
        const char *text = vocabulary_text(&t->tokens, id, &size);
        if (!text)
            continue;
        t->shape[id].lead = blanks(text, size, 0);
        t->shape[id].trail = blanks(text, size, 1);
    }
    for (uint32_t id = 0; id < t->sentencepiece.n; id++)
        t->shape[id].special = t->shape[id].skipped =
            (uint8_t)sentencepiece_is_control(&t->sentencepiece, id);
    for (size_t i = 0; i < t->added.n; i++) {
        struct token_shape *shape = &t->shape[t->added.token[i].id];
        size_t size;
        const char *text = shown_text(t, t->added.token[i].id, &size);
        const struct added_token *same = added_list_find(&t->added, text, size);
        shape->added = 1;
        shape->special = (uint8_t)t->added.token[i].special;
        shape->skipped = same && same->special; // by its text, as in the reference
    }
    return 0;
}

// `eos_token`: a string, or an object with `content`.
static int64_t token_of(const struct tokenizer *t, const json_t *config, const char *key)
{
    const json_t *v = json_object_get(config, key);
    if (json_is_object(v))
        v = json_object_get(v, "content");
    return json_is_string(v)
               ? vocabulary_find(&t->tokens, json_string_value(v), json_string_length(v))
               : -1;
}

// `eos_token_id`: a number, or a list whose first counts.
static int64_t id_of(const struct tokenizer *t, const json_t *config, const char *key)
{
    const json_t *v = json_object_get(config, key);
    if (json_is_array(v))
        v = json_array_get(v, 0);
    size_t size;
    int64_t id = json_is_integer(v) ? json_integer_value(v) : -1;
    return id >= 0 && id < VOCABULARY_ID_MAX && vocabulary_text(&t->tokens, (uint32_t)id, &size)
               ? id
               : -1;
}

// Who says what ends a text, in order of who is asked: tokenizer_config.json,
// special_tokens_map.json, generation_config.json, config.json.
static int read_ends(struct tokenizer *t, const char *directory, const json_t *config,
                     struct err *e)
{
    static const char *const names[] = {map_name, "generation_config.json", "config.json"};
    t->eos = token_of(t, config, "eos_token");
    for (int i = 0; i < 3; i++) {
        json_t *other;
        if (read_optional(directory, names[i], &other, e) < 0)
            return -1;
        if (t->eos < 0)
            t->eos = i ? id_of(t, other, "eos_token_id") : token_of(t, other, "eos_token");
        json_decref(other);
    }
    return 0;
}

static int read_parts(struct tokenizer *t, const json_t *root, const struct tables *tables,
                      const char *directory, struct err *e)
{
    struct token_files d = {0};
    if (normalizer_parse(json_object_get(root, "normalizer"), file_name, &t->normalizer, e) < 0 ||
        pretokenizer_parse(json_object_get(root, "pre_tokenizer"), file_name, &t->pretokenizer, e) <
            0 ||
        postprocessor_parse(&t->post, json_object_get(root, "post_processor"), file_name, e) < 0 ||
        decoder_parse(json_object_get(root, "decoder"), file_name, &t->decoder, e) < 0 ||
        read_model(t, root, tables, e) < 0)
        return -1;
    int result = token_files_read(&d, directory, e);
    if (result == 0)
        result = read_added(t, root, &d, e);
    if (result == 0)
        result = read_ends(t, directory, d.config, e);
    token_files_release(&d);
    if (result == 0 && t->tokens.n_ids == 0)
        result = err_set(e, STATUS_FAILED, "%s: key `vocab`: empty", file_name);
    return result < 0 || build_matchers(t, e) < 0 ? -1 : build_shapes(t, e);
}

static int read_json(struct tokenizer *t, const char *directory, const struct buffer *text,
                     struct err *e)
{
    struct tables tables = {0};
    struct json_scan scan;
    buffer_init(&tables.rest, 0);
    json_scan_init(&scan, text->data, text->size, file_name, e);
    json_t *root = NULL;
    int result = find_tables(&scan, &tables, e);
    if (result == 0) {
        root = json_parse(tables.rest.data, tables.rest.size, file_name, e);
        result = root ? read_parts(t, root, &tables, directory, e) : -1;
    }
    json_decref(root);
    json_scan_release(&scan);
    buffer_release(&tables.rest);
    return result;
}

// ---- tokenizer.model ----------------------------------------------------------------------------

// Who is asked for added tokens: tokenizer_config.json, else added_tokens.json; then what has a
// role there or in special_tokens_map.json.
static int read_model_added(struct tokenizer *t, const char *directory, const json_t *config,
                            struct err *e)
{
    json_t *map, *numbered;
    size_t n_model = t->sentencepiece.n;
    if (read_numbered(t, json_object_get(config, decoder_key), n_model, config_name, e) < 0 ||
        read_optional(directory, "added_tokens.json", &numbered, e) < 0)
        return -1;
    int result = t->added.n ? 0 : add_unflagged(t, numbered, n_model, e);
    json_decref(numbered);
    if (result < 0 || add_roles(t, config, n_model, config_name, e) < 0 ||
        read_optional(directory, map_name, &map, e) < 0)
        return -1;
    result = add_roles(t, map, n_model, map_name, e);
    json_decref(map);
    return result;
}

static int build_decoder(struct tokenizer *t, struct err *e)
{
    json_t *value = sentencepiece_decoder(&t->sentencepiece, &t->settings, e);
    int result = value ? decoder_parse(value, model_name, &t->decoder, e) : -1;
    json_decref(value);
    return result;
}

// The id of a role: what the config names, else what the model does.
static int64_t role_id(const struct tokenizer *t, const json_t *config, const char *role,
                       int64_t fallback)
{
    int64_t id = token_of(t, config, role);
    return id < 0 ? fallback : id;
}

static int read_around_model(struct tokenizer *t, const char *directory, const json_t *config,
                             struct err *e)
{
    struct sentencepiece *m = &t->sentencepiece;
    if (sentencepiece_settings_read(&t->settings, m, config, e) < 0 ||
        read_model_added(t, directory, config, e) < 0 || build_decoder(t, e) < 0 ||
        read_ends(t, directory, config, e) < 0)
        return -1;
    t->eos = t->eos < 0 ? m->eos : t->eos;
    int64_t bos = role_id(t, config, "bos_token", m->bos);
    int64_t eos = role_id(t, config, "eos_token", m->eos);
    if (t->settings.add_bos && bos >= 0)
        t->post.prefix[t->post.n_prefix++] = (uint32_t)bos;
    if (t->settings.add_eos && eos >= 0)
        t->post.suffix[t->post.n_suffix++] = (uint32_t)eos;
    size_t size;
    const char *unk = vocabulary_text(&t->tokens, (uint32_t)m->unk, &size);
    // Unless the directory says what stands for the unknown, the model does.
    if (!added_list_find(&t->added, unk, size) &&
        vocabulary_add(&t->shown, m->unk_surface.data, m->unk_surface.size, (uint32_t)m->unk, e) <
            0)
        return -1;
    return build_matchers(t, e) < 0 ? -1 : build_shapes(t, e);
}

static int read_sentencepiece(struct tokenizer *t, const char *directory, const struct buffer *data,
                              struct err *e)
{
    json_t *config;
    t->kind = MODEL_SENTENCEPIECE;
    if (sentencepiece_init(&t->sentencepiece, data->data, data->size, model_name, &t->tokens, e) <
            0 ||
        read_optional(directory, config_name, &config, e) < 0)
        return -1;
    int result = read_around_model(t, directory, config, e);
    json_decref(config);
    return result;
}

// ---- Opening ------------------------------------------------------------------------------------

// Reads the file that says what the tokens are; 1: it is a tokenizer.model. *found = 0: neither
// is there.
static int read_either(const char *directory, struct buffer *data, int *found, struct err *e)
{
    const char *const names[] = {file_name, model_name};
    *found = 0;
    for (int i = 0; i < 2; i++) {
        char *path = io_path(directory, names[i], e);
        if (!path)
            return -1;
        *found = io_look(AT_FDCWD, path, e);
        int result = *found < 0 ? -1 : *found ? io_read_regular(AT_FDCWD, path, data, e) : 0;
        free(path);
        if (result < 0 || *found)
            return result < 0 ? -1 : i;
    }
    return 0;
}

static int note_folder(const char *directory, struct err *e)
{
    int at = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (at < 0)
        return 0; // who reads its files tells
    int result = model_folder_note(at, e);
    close(at);
    return result < 0 ? err_prefix(e, "%s", directory) : 0;
}

static int read_files(struct tokenizer *t, const char *directory, struct err *e)
{
    struct buffer data;
    int found;
    buffer_init(&data, FILE_MAX_BYTES);
    int result = buffer_reserve(&data, 1, e);
    if (result == 0)
        result = read_either(directory, &data, &found, e);
    if (result >= 0 && !found) {
        err_set(e, STATUS_FAILED, "%s: no tokenizer: neither %s nor %s is there", directory,
                file_name, model_name);
        result = no_model_explain(directory, e);
    }
    if (result >= 0) {
        hash_fingerprint(hash_bytes(data.data, data.size), t->fingerprint);
        result =
            result ? read_sentencepiece(t, directory, &data, e) : read_json(t, directory, &data, e);
        if (result < 0)
            err_prefix(e, "%s", directory);
    }
    buffer_release(&data);
    return result;
}

struct tokenizer *tokenizer_open(const char *directory, struct err *e)
{
    struct tokenizer *t = mem_alloc(1, sizeof *t, "a tokenizer", e);
    if (!t)
        return NULL;
    vocabulary_init(&t->tokens);
    vocabulary_init(&t->shown);
    added_list_init(&t->added);
    added_matcher_init(&t->raw);
    added_matcher_init(&t->normalized);
    int result = note_folder(directory, e);
    if (result == 0)
        result = read_files(t, directory, e);
    if (result == 0) {
        t->worker = tokenizer_worker_open(e);
        result = t->worker ? 0 : -1;
    }
    if (result < 0) {
        tokenizer_close(t);
        return NULL;
    }
    return t;
}

void tokenizer_close(struct tokenizer *t)
{
    if (!t)
        return;
    vocabulary_release(&t->tokens);
    vocabulary_release(&t->shown);
    bpe_release(&t->bpe);
    unigram_release(&t->unigram);
    sentencepiece_release(&t->sentencepiece);
    normalizer_free(t->normalizer);
    pretokenizer_free(t->pretokenizer);
    decoder_free(t->decoder);
    added_list_release(&t->added);
    added_matcher_release(&t->raw);
    added_matcher_release(&t->normalized);
    free(t->shape);
    tokenizer_worker_close(t->worker);
    free(t);
}

const char *tokenizer_fingerprint(const struct tokenizer *t)
{
    return t->fingerprint;
}

int tokenizer_fingerprint_of(const char *directory, char out[24], int *found, struct err *e)
{
    struct buffer data;
    buffer_init(&data, FILE_MAX_BYTES);
    out[0] = 0;
    int result = buffer_reserve(&data, 1, e);
    if (result == 0)
        result = read_either(directory, &data, found, e);
    if (result >= 0 && *found)
        hash_fingerprint(hash_bytes(data.data, data.size), out);
    buffer_release(&data);
    return result < 0 ? -1 : 0;
}

size_t tokenizer_size(const struct tokenizer *t)
{
    return t->tokens.n_ids;
}

// ---- Encoding -----------------------------------------------------------------------------------

struct tokenizer_worker *tokenizer_worker_open(struct err *e)
{
    struct tokenizer_worker *w = mem_alloc(1, sizeof *w, "a tokenizer", e);
    if (!w)
        return NULL;
    aligned_init(&w->repaired);
    aligned_pair_init(&w->normalized);
    bpe_scratch_init(&w->bpe);
    unigram_scratch_init(&w->unigram);
    sentencepiece_scratch_init(&w->sentencepiece);
    if (pretokenizer_scratch_init(&w->pre, e) < 0) {
        free(w);
        return NULL;
    }
    return w;
}

void tokenizer_worker_close(struct tokenizer_worker *w)
{
    if (!w)
        return;
    aligned_release(&w->repaired);
    aligned_pair_release(&w->normalized);
    pretokenizer_scratch_release(&w->pre);
    bpe_scratch_release(&w->bpe);
    unigram_scratch_release(&w->unigram);
    sentencepiece_scratch_release(&w->sentencepiece);
    free(w);
}

static size_t alphabet_size(char byte)
{
    return byte_alphabet_char((unsigned char)byte) < 0x80 ? 1 : 2;
}

// Where bytes without a token vanished the reference counts on as if they had not been there, in
// bytes of the byte alphabet's spelling; its offsets are kept.
static int place_after_drops(const struct tokenizer *t, struct tokenizer_worker *w,
                             const struct slice *text, struct piece piece, struct token_list *out,
                             struct err *e)
{
    // Original bytes by their place in the spelling, twice as long at most.
    size_t n = 0, at = 0;
    uint32_t *place =
        mem_alloc(2 * (size_t)(piece.end - piece.start), sizeof *place, "a piece of text", e);
    if (!place)
        return -1;
    for (uint32_t i = piece.start; i < piece.end; i++)
        for (size_t k = alphabet_size(text->data[i]); k; k--)
            place[n++] = i;
    for (size_t i = 0; i < w->bpe.n; i++) {
        size_t size, spelled = 0;
        const char *word = vocabulary_text(&t->bpe.words, w->bpe.symbol[i].id, &size);
        for (size_t k = 0; word && k < size; k++)
            spelled += alphabet_size(word[k]);
        size_t last = at + spelled ? at + spelled - 1 : 0;
        out->id[out->n] = w->bpe.symbol[i].id;
        out->start[out->n] = slice_from(text, place[at < n ? at : n - 1]);
        out->end[out->n] = slice_to(text, place[last < n ? last : n - 1]);
        out->n++;
        at += spelled;
    }
    free(place);
    return 0;
}

// Where a token of the slice begins and ends in the original.
static inline uint32_t token_start(const struct slice *text, size_t at)
{
    return text->from || utf8_continues(text->data[at]) ? slice_from(text, at)
                                                        : (uint32_t)(text->base + at);
}

static inline uint32_t token_end(const struct slice *text, size_t end)
{
    return text->to || (end < text->size && utf8_continues(text->data[end]))
               ? slice_to(text, end - 1)
               : (uint32_t)(text->base + end);
}

// What the cache of words knows needs no more than copying.
static int add_known(const struct slice *text, size_t at, const struct bpe_known *known,
                     struct token_list *out, struct err *e)
{
    if (out->capacity - out->n < known->n && token_grow(out, known->n, e) < 0)
        return -1;
    uint32_t *id = out->id + out->n, *start = out->start + out->n, *end = out->end + out->n;
    for (size_t i = 0; i < known->n; i++) {
        id[i] = known->id[i];
        start[i] = token_start(text, at);
        at += known->size[i];
        end[i] = token_end(text, at);
    }
    out->n += known->n;
    return 0;
}

static int add_new(const struct slice *text, size_t at, const struct bpe_scratch *s,
                   struct token_list *out, struct err *e)
{
    if (token_grow(out, s->n, e) < 0)
        return -1;
    for (size_t i = 0; i < s->n; i++) {
        out->id[out->n] = s->symbol[i].id;
        out->start[out->n] = token_start(text, at);
        at += s->symbol[i].size;
        out->end[out->n++] = token_end(text, at);
    }
    return 0;
}

static int encode_piece(const struct tokenizer *t, struct tokenizer_worker *w,
                        const struct slice *text, struct piece piece, struct token_list *out,
                        struct err *e)
{
    const char *data = text->data + piece.start;
    size_t size = piece.end - piece.start;
    for (size_t start = 0, end; start < size; start = end) {
        struct bpe_known known;
        end = bpe_part_end(&t->bpe, data, size, start);
        if (bpe_find(&w->bpe, data + start, end - start, &known)) {
            if (add_known(text, piece.start + start, &known, out, e) < 0)
                return -1;
            continue;
        }
        if (bpe_encode(&t->bpe, &w->bpe, data + start, end - start, e) < 0)
            return -1;
        if (w->bpe.dropped && t->bpe.byte_level)
            return token_grow(out, w->bpe.n, e) < 0 ? -1
                                                    : place_after_drops(t, w, text, piece, out, e);
        if (add_new(text, piece.start + start, &w->bpe, out, e) < 0)
            return -1;
    }
    return 0;
}

// Tokens of a piece that begins at byte `at` of the text.
static int take_tokens(const struct unigram_token *token, size_t n, const struct slice *text,
                       size_t at, struct token_list *out, struct err *e)
{
    if (token_grow(out, n, e) < 0)
        return -1;
    for (size_t i = 0; i < n; i++) {
        out->id[out->n] = token[i].id;
        out->start[out->n] = slice_from(text, at + token[i].start);
        out->end[out->n] = slice_to(text, at + token[i].end - 1);
        out->n++;
    }
    return 0;
}

// Behind ByteLevel the model sees the byte alphabet.
static int encode_spelled(const struct tokenizer *t, struct tokenizer_worker *w,
                          const struct slice *text, struct piece piece, struct token_list *out,
                          struct err *e)
{
    struct unigram_scratch *s = &w->unigram;
    struct aligned spelled;
    aligned_init(&spelled);
    int result = 0;
    for (uint32_t i = piece.start; result == 0 && i < piece.end; i++)
        result = aligned_put_char(&spelled, byte_alphabet_char((unsigned char)text->data[i]),
                                  slice_from(text, i), slice_to(text, i), e);
    if (result == 0)
        result = unigram_encode(&t->unigram, &t->tokens, s, spelled.data, spelled.size, e);
    struct slice view = aligned_view(&spelled);
    if (result == 0)
        result = take_tokens(s->token, s->n, &view, 0, out, e);
    aligned_release(&spelled);
    return result;
}

static int encode_unigram(const struct tokenizer *t, struct tokenizer_worker *w,
                          const struct slice *text, struct piece piece, struct token_list *out,
                          struct err *e)
{
    struct unigram_scratch *s = &w->unigram;
    if (pretokenizer_is_byte_level(t->pretokenizer))
        return encode_spelled(t, w, text, piece, out, e);
    if (unigram_encode(&t->unigram, &t->tokens, s, text->data + piece.start,
                       piece.end - piece.start, e) < 0)
        return -1;
    return take_tokens(s->token, s->n, text, piece.start, out, e);
}

// Text without added tokens.
static int encode_plain(const struct tokenizer *t, struct tokenizer_worker *w, struct slice text,
                        struct token_list *out, struct err *e)
{
    if (pretokenizer_run(t->pretokenizer, &text, &w->pre, e) < 0)
        return -1;
    const struct piece *piece = w->pre.pieces.piece;
    for (size_t i = 0, n = w->pre.pieces.n; i < n; i++) {
        if (t->kind == MODEL_BPE && i + AHEAD < n)
            bpe_prefetch(&w->bpe, text.data + piece[i + AHEAD].start,
                         piece[i + AHEAD].end - piece[i + AHEAD].start);
        if ((t->kind == MODEL_UNIGRAM ? encode_unigram(t, w, &text, piece[i], out, e)
                                      : encode_piece(t, w, &text, piece[i], out, e)) < 0)
            return -1;
    }
    return 0;
}

static int encode_sentencepiece(const struct tokenizer *t, struct tokenizer_worker *w,
                                struct slice text, struct token_list *out, struct err *e)
{
    struct sentencepiece_scratch *s = &w->sentencepiece;
    int prefix = t->settings.prefix && (!t->settings.prefix_once || slice_from(&text, 0) == 0);
    if (sentencepiece_normalize(&t->sentencepiece, prefix, &text, &w->normalized, e) < 0 ||
        sentencepiece_encode(&t->sentencepiece, &t->tokens, s, text.data, text.size, e) < 0)
        return -1;
    return take_tokens(s->token, s->n, &text, 0, out, e);
}

typedef int section_fn(const struct tokenizer *t, struct tokenizer_worker *w, struct slice text,
                       struct token_list *out, struct err *e);

// Cuts out the matcher's tokens and hands what is between them to `fn`.
static int encode_around(const struct tokenizer *t, struct tokenizer_worker *w,
                         const struct added_matcher *m, struct slice text, section_fn *fn,
                         struct token_list *out, struct err *e)
{
    size_t at = 0, done = 0, token, start, end;
    while (
        added_matcher_next(m, &t->added, text.data, text.size, &at, done, &token, &start, &end)) {
        if (start > done && fn(t, w, slice_part(&text, done, start), out, e) < 0)
            return -1;
        if (token_list_add(out, t->added.token[token].id, slice_from(&text, start),
                           slice_to(&text, end - 1), e) < 0)
            return -1;
        done = end;
    }
    return done < text.size ? fn(t, w, slice_part(&text, done, text.size), out, e) : 0;
}

static int encode_section(const struct tokenizer *t, struct tokenizer_worker *w, struct slice text,
                          struct token_list *out, struct err *e)
{
    return normalizer_run(t->normalizer, &text, &w->normalized, &w->pre.pattern, e) < 0
               ? -1
               : encode_around(t, w, &t->normalized, text, encode_plain, out, e);
}

static int repair(struct tokenizer_worker *w, struct slice *text, size_t good, struct err *e)
{
    aligned_clear(&w->repaired);
    for (size_t i = 0; i < text->size;) {
        size_t bad;
        if (aligned_copy(&w->repaired, text, i, i + good, e) < 0)
            return -1;
        i += good;
        if (i == text->size)
            break;
        utf8_sequence(text->data + i, text->size - i, &bad);
        if (aligned_put_char(&w->repaired, UNICODE_REPLACEMENT, (uint32_t)i, (uint32_t)(i + bad),
                             e) < 0)
            return -1;
        i += bad;
        good = utf8_valid_prefix(text->data + i, text->size - i);
    }
    *text = aligned_view(&w->repaired);
    return 0;
}

static size_t skip_chars(const char *text, size_t size, size_t at, unsigned n)
{
    for (; n && at < size; n--)
        do
            at++;
        while (at < size && utf8_continues(text[at]));
    return at;
}

static size_t unskip_chars(const char *text, size_t at, unsigned n)
{
    for (; n && at; n--)
        do
            at--;
        while (at && utf8_continues(text[at]));
    return at;
}

// Whether the model gave this token; else it was cut out of the text, where its content stands.
static int is_from_model(const struct tokenizer *t, uint32_t id, const char *text, size_t start,
                         size_t end)
{
    size_t size;
    if (id >= t->n_model || (t->kind == MODEL_UNIGRAM && t->unigram.unk == (int64_t)id))
        return 0;
    const char *token = vocabulary_text(&t->tokens, id, &size);
    return token && !memmem(text + start, end - start, token, size);
}

// Leaves blanks out of offsets, as ByteLevel post-processors do: they count characters.
static void trim_offsets(const struct tokenizer *t, struct token_list *out, size_t first,
                         const char *text, size_t size)
{
    for (size_t i = first; i < out->n; i++) {
        const struct token_shape *shape = &t->shape[out->id[i]];
        unsigned lead = shape->lead, trail = shape->trail;
        if (shape->added && !is_from_model(t, out->id[i], text, out->start[i], out->end[i])) {
            // The blanks that it swallowed count.
            const char *token = text + out->start[i];
            unsigned before = blanks(token, out->end[i] - out->start[i], 0);
            unsigned after = blanks(token, out->end[i] - out->start[i], 1);
            lead = before > lead ? before : lead;
            trail = after > trail ? after : trail;
        }
        // A single blank in front may be the one that was put there.
        if (lead == 1 && (i == first || out->start[i] == 0) && t->post.add_prefix_space)
            lead = 0;
        size_t start = skip_chars(text, size, out->start[i], lead);
        out->start[i] = start < out->end[i] ? (uint32_t)start : out->end[i];
        size_t end = unskip_chars(text, out->end[i], trail);
        out->end[i] = end > out->start[i] ? (uint32_t)end : out->start[i];
    }
}

static int has_space(const char *text, size_t start, size_t end)
{
    while (start < end) {
        size_t bad, n = utf8_sequence(text + start, end - start, &bad);
        size_t i = start;
        uint32_t c = n ? utf8_next(text, &i) : UNICODE_REPLACEMENT;
        if (unicode_is_space(c) || (c >= 0x1C && c <= 0x1F))
            return 1;
        start += n ? n : bad;
    }
    return 0;
}

// What no token stands for, if it is no white space, belongs to the token before it.
static void extend_offsets(struct token_list *out, size_t first, const char *text, size_t size)
{
    for (size_t i = first; i < out->n; i++) {
        uint32_t a = out->end[i], b = i + 1 < out->n ? out->start[i + 1] : (uint32_t)size;
        if (a >= b || has_space(text, a, b))
            continue;
        for (size_t k = i + 1; k-- > first && out->end[k] == a;)
            out->end[k] = b;
    }
}

// Files may name an id that the vocabulary lacks, as long as nobody asks for it.
static int check_affixes(const struct tokenizer *t, struct err *e)
{
    size_t size;
    for (size_t i = 0; i < t->post.n_prefix + t->post.n_suffix; i++) {
        uint32_t id =
            i < t->post.n_prefix ? t->post.prefix[i] : t->post.suffix[i - t->post.n_prefix];
        if (!vocabulary_text(&t->tokens, id, &size))
            return err_set(e, STATUS_FAILED, "%s: key `post_processor`: token %u does not exist",
                           file_name, id);
    }
    return 0;
}

int tokenizer_encode_by(const struct tokenizer *t, struct tokenizer_worker *w, const char *text,
                        size_t size, unsigned flags, struct token_list *out, struct err *e)
{
    if (size >= UINT32_MAX)
        return err_set(e, STATUS_FAILED, "a text of %zu bytes is too long", size);
    if (flags & TOKENIZER_SPECIAL && check_affixes(t, e) < 0)
        return -1;
    if (strcmp(w->fingerprint, t->fingerprint) != 0) {
        bpe_scratch_release(&w->bpe);
        sentencepiece_scratch_release(&w->sentencepiece);
        memcpy(w->fingerprint, t->fingerprint, sizeof w->fingerprint);
    }
    for (size_t i = 0; flags & TOKENIZER_SPECIAL && i < t->post.n_prefix; i++)
        if (token_list_add(out, t->post.prefix[i], 0, 0, e) < 0)
            return -1;
    size_t first = out->n, good = utf8_valid_prefix(text, size);
    struct slice whole = {.data = text, .size = size};
    if (good < size && repair(w, &whole, good, e) < 0)
        return -1;
    section_fn *fn = t->kind == MODEL_SENTENCEPIECE ? encode_sentencepiece : encode_section;
    int result = size ? encode_around(t, w, &t->raw, whole, fn, out, e) : 0;
    bpe_scratch_trim(&w->bpe);
    if (result < 0)
        return -1;
    if (flags & TOKENIZER_EXTENT)
        extend_offsets(out, first, text, size);
    else if (t->post.trims)
        trim_offsets(t, out, first, text, size);
    for (size_t i = 0; flags & TOKENIZER_SPECIAL && i < t->post.n_suffix; i++)
        if (token_list_add(out, t->post.suffix[i], size, size, e) < 0)
            return -1;
    return 0;
}

int tokenizer_encode(const struct tokenizer *t, const char *text, size_t size, unsigned flags,
                     struct token_list *out, struct err *e)
{
    return tokenizer_encode_by(t, t->worker, text, size, flags, out, e);
}

void tokenizer_affixes(const struct tokenizer *t, size_t *front, size_t *end)
{
    *front = t->post.n_prefix;
    *end = t->post.n_suffix;
}

// ---- Decoding and looking up --------------------------------------------------------------------

// What a model of SentencePiece wants rewritten in a decoded text.
static int denormalize(const struct tokenizer *t, struct buffer *out, size_t from, struct err *e)
{
    const struct charsmap *map = &t->sentencepiece.denormalize;
    struct buffer text;
    if (!map->n_units || out->size == from)
        return 0;
    buffer_init(&text, 0);
    int result = buffer_append(&text, out->data + from, out->size - from, e);
    out->size = from;
    for (size_t i = 0; result == 0 && i < text.size;) {
        const char *by = text.data + i;
        size_t size = 0, length = charsmap_find(map, by, text.size - i, 1, &by, &size);
        if (!length) {
            utf8_next(text.data + i, &length);
            size = length;
        }
        result = buffer_append(out, by, size, e);
        i += length;
    }
    buffer_release(&text);
    return result;
}

int tokenizer_decode(const struct tokenizer *t, const uint32_t *id, size_t n, int skip_special,
                     struct buffer *out, struct err *e)
{
    struct string_list tokens;
    size_t from = out->size;
    string_list_init(&tokens);
    int result = 0;
    for (size_t i = 0; result == 0 && i < n; i++) {
        size_t size;
        const char *text = shown_text(t, id[i], &size);
        if (!text || (skip_special && t->shape[id[i]].skipped))
            continue; // ids outside the vocabulary are left out, as in the reference
        result = buffer_append(&tokens.text, text, size, e);
        if (result == 0)
            result = string_list_close(&tokens, e);
    }
    if (result == 0)
        result = decoder_run(t->decoder, &tokens, out, e);
    if (result == 0)
        result = denormalize(t, out, from, e);
    string_list_release(&tokens);
    return result;
}

int tokenizer_piece(const struct tokenizer *t, uint32_t id, int first, struct buffer *out,
                    struct err *e)
{
    size_t size;
    const char *text = shown_text(t, id, &size);
    return text ? decoder_piece(t->decoder, text, size, first, out, e) : 0;
}

struct tokenizer_stream {
    const struct tokenizer *t;
    int skip_special;
    struct decoder_stream *decoder;
};

struct tokenizer_stream *tokenizer_stream_open(const struct tokenizer *t, int skip_special,
                                               struct err *e)
{
    struct tokenizer_stream *s = mem_alloc(1, sizeof *s, "a decoder", e);
    if (!s)
        return NULL;
    s->t = t;
    s->skip_special = skip_special;
    s->decoder = decoder_stream_open(t->decoder, e);
    if (!s->decoder) {
        free(s);
        return NULL;
    }
    return s;
}

void tokenizer_stream_close(struct tokenizer_stream *s)
{
    if (!s)
        return;
    decoder_stream_close(s->decoder);
    free(s);
}

int tokenizer_stream_add(struct tokenizer_stream *s, uint32_t id, struct buffer *out, struct err *e)
{
    size_t size;
    const char *text = shown_text(s->t, id, &size);
    if (!text || (s->skip_special && s->t->shape[id].skipped))
        return 0;
    return decoder_stream_add(s->decoder, text, size, out, e);
}

int tokenizer_stream_end(struct tokenizer_stream *s, struct buffer *out, struct err *e)
{
    return decoder_stream_end(s->decoder, out, e);
}

const char *tokenizer_token(const struct tokenizer *t, uint32_t id, size_t *size)
{
    return vocabulary_text(&t->tokens, id, size);
}

int64_t tokenizer_token_id(const struct tokenizer *t, const char *content)
{
    return vocabulary_find(&t->tokens, content, strlen(content));
}

int tokenizer_token_id_in(const char *directory, const char *content, int64_t *id, struct err *e)
{
    struct tokenizer *t = tokenizer_open(directory, e);
    if (!t)
        return -1;
    *id = tokenizer_token_id(t, content);
    tokenizer_close(t);
    return 0;
}

int64_t tokenizer_eos(const struct tokenizer *t)
{
    return t->eos;
}
