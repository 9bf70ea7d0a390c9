// SPDX-License-Identifier: MIT
#include "exchange/tokenizer_in.h"
#include "base/io.h"
#include "base/json.h"
#include "base/memory.h"
#include "exchange/splitting.h"
#include "exchange/token_type.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TOKENS_MAX = 1 << 24 };

struct words {
    const struct gguf *g;
    struct gguf_text *token;
    double *type, *score; // NULL: the file has none
    size_t n;
    json_t *ids; // the tokens, to their ids
    int is_none; // the file has no tokenizer
    int is_bpe;  // byte-level BPE; otherwise SentencePiece
    const struct splitting *splitting;
};

static int type_of(const struct words *w, size_t i)
{
    double type = w->type ? w->type[i] : TOKEN_NORMAL;
    return type >= TOKEN_NORMAL && type <= TOKEN_BYTE ? (int)type : TOKEN_NORMAL;
}

static json_t *text_json(struct gguf_text t)
{
    return json_stringn(t.s, t.n); // NULL: no UTF-8
}

static int bad(const struct words *w, struct err *e, const char *key, const char *what)
{
    return err_set(e, STATUS_FAILED, "%s: key 'tokenizer.ggml.%s': %s", w->g->path, key, what);
}

// ---- tokens ----

static int read_list(const struct words *w, const char *key, double **list, struct err *e)
{
    size_t n;
    char name[64];
    snprintf(name, sizeof name, "tokenizer.ggml.%s", key);
    int found = gguf_get_reals(w->g, name, list, &n, e);
    if (found > 0 && n != w->n)
        return bad(w, e, key, "not a number for each token");
    for (size_t i = 0; found > 0 && i < n; i++)
        if (!isfinite((*list)[i]) || fabs((*list)[i]) > 1e30)
            return bad(w, e, key, "a number that is not finite");
    return found < 0 ? -1 : 0;
}

// Unused entries fill up a table: they were no tokens of the tokenizer.
static int is_filler(const struct words *w, size_t i)
{
    return type_of(w, i) == TOKEN_UNUSED && w->token[i].n > 4 && !memcmp(w->token[i].s, "[PAD", 4);
}

static int set_ids(struct words *w, struct err *e)
{
    w->ids = json_object();
    for (size_t i = 0; i < w->n; i++) {
        struct gguf_text t = w->token[i];
        json_t *value = text_json(t);
        if (is_filler(w, i)) {
            json_decref(value);
            continue;
        }
        const char *text = json_string_value(value);
        int sound = value && strlen(text) == t.n;
        int twice = sound && json_object_get(w->ids, text) != NULL;
        if (sound && !twice)
            json_object_set_new(w->ids, text, json_integer((json_int_t)i));
        json_decref(value);
        if (!sound || twice)
            return err_set(e, STATUS_FAILED, "%s: key 'tokenizer.ggml.tokens': token %zu %s",
                           w->g->path, i, twice ? "stands there twice" : "is no text in UTF-8");
    }
    return 0;
}

static int read_kind(struct words *w, struct err *e)
{
    struct gguf_text model, pre = {0};
    int found = gguf_get_text(w->g, "tokenizer.ggml.model", &model, e);
    if (found <= 0)
        return found < 0 ? -1 : bad(w, e, "model", "it is missing");
    w->is_none = model.n == 8 && !memcmp(model.s, "no_vocab", 8);
    if (w->is_none)
        return 0;
    w->is_bpe = model.n == 4 && !memcmp(model.s, "gpt2", 4);
    if (!w->is_bpe && (model.n != 5 || memcmp(model.s, "llama", 5) != 0))
        return err_set(e, STATUS_FAILED,
                       "%s: key 'tokenizer.ggml.model': '%.*s' is not read: gpt2 and llama are",
                       w->g->path, (int)(model.n < 40 ? model.n : 40), model.s);
    if (!w->is_bpe)
        return 0;
    if (gguf_get_text(w->g, "tokenizer.ggml.pre", &pre, e) < 0)
        return -1;
    w->splitting = splitting_find(pre.s, pre.n);
    if (w->splitting)
        return 0;
    return err_set(e, STATUS_FAILED,
                   "%s: key 'tokenizer.ggml.pre': the pre-tokenizer '%.*s' is not known to this "
                   "version: give the model the tokenizer.json that it was made with",
                   w->g->path, (int)(pre.n < 40 ? pre.n : 40), pre.n ? pre.s : "");
}

static int read_words(struct words *w, struct err *e)
{
    int found = gguf_get_texts(w->g, "tokenizer.ggml.tokens", &w->token, &w->n, e);
    if (found <= 0)
        return found < 0 ? -1 : bad(w, e, "tokens", "it is missing");
    if (!w->n || w->n > TOKENS_MAX)
        return bad(w, e, "tokens", "an impossible number of tokens");
    return read_list(w, "token_type", &w->type, e) < 0 || read_list(w, "scores", &w->score, e) < 0
               ? -1
               : set_ids(w, e);
}

static void release_words(struct words *w)
{
    free(w->token);
    free(w->type);
    free(w->score);
    json_decref(w->ids);
}

// ---- special tokens ----

// -1: none.
static int read_id(const struct words *w, const char *which, int64_t *id, struct err *e)
{
    char name[64];
    snprintf(name, sizeof name, "tokenizer.ggml.%s_token_id", which);
    *id = -1;
    if (gguf_get_int(w->g, name, id, e) < 0)
        return -1;
    if (*id == UINT32_MAX || *id < 0 || *id >= (int64_t)w->n)
        *id = -1; // as llama.cpp takes one that is out of range
    return 0;
}

// A text of the heap that holds the token, or JSON's null.
static json_t *token_json(const struct words *w, int64_t id)
{
    return id < 0 ? json_null() : text_json(w->token[id]);
}

static int reads_switch(const struct words *w, const char *which, int absent, int *on,
                        struct err *e)
{
    char name[64];
    snprintf(name, sizeof name, "tokenizer.ggml.%s", which);
    *on = absent;
    return gguf_get_bool(w->g, name, on, e) < 0 ? -1 : 0;
}

static json_t *added_json(const struct words *w)
{
    json_t *list = json_array();
    for (size_t i = 0; i < w->n; i++) {
        int type = type_of(w, i);
        int special = type == TOKEN_CONTROL || type == TOKEN_UNKNOWN;
        if (!special && type != TOKEN_USER_DEFINED)
            continue;
        json_array_append_new(list, json_pack("{s:I, s:o, s:b, s:b, s:b, s:b, s:b}", "id",
                                              (json_int_t)i, "content", text_json(w->token[i]),
                                              "single_word", 0, "lstrip", 0, "rstrip", 0,
                                              "normalized", 0, "special", special));
    }
    return list;
}

static json_t *special_json(const struct words *w, int64_t id)
{
    return json_pack("{s:{s:o, s:i}}", "SpecialToken", "id", token_json(w, id), "type_id", 0);
}

static json_t *template_json(const struct words *w, int64_t front, int64_t end)
{
    json_t *single = json_array(), *special = json_object();
    json_t *text = json_pack("{s:{s:s, s:i}}", "Sequence", "id", "A", "type_id", 0);
    json_t *other = json_pack("{s:{s:s, s:i}}", "Sequence", "id", "B", "type_id", 0);
    const int64_t both[] = {front, end};
    if (front >= 0)
        json_array_append_new(single, special_json(w, front));
    json_array_append_new(single, text);
    if (end >= 0)
        json_array_append_new(single, special_json(w, end));
    json_t *pair = json_copy(single);
    json_array_append_new(pair, other);
    for (int i = 0; i < 2; i++)
        if (both[i] >= 0) {
            json_t *token = token_json(w, both[i]);
            json_object_set_new(special, json_string_value(token),
                                json_pack("{s:O, s:[I], s:[O]}", "id", token, "ids",
                                          (json_int_t)both[i], "tokens", token));
            json_decref(token);
        }
    return json_pack("{s:s, s:o, s:o, s:o}", "type", "TemplateProcessing", "single", single, "pair",
                     pair, "special_tokens", special);
}

// ---- tokenizer.json ----

static int add_merges(const struct words *w, json_t *model, struct err *e)
{
    struct gguf_text *merge = NULL;
    size_t n = 0;
    int found = gguf_get_texts(w->g, "tokenizer.ggml.merges", &merge, &n, e);
    if (found <= 0)
        return found < 0 ? -1 : bad(w, e, "merges", "it is missing");
    json_t *list = json_array();
    int result = 0;
    for (size_t i = 0; i < n && result == 0; i++) {
        const char *space = merge[i].n ? memchr(merge[i].s + 1, ' ', merge[i].n - 1) : NULL;
        size_t left = space ? (size_t)(space - merge[i].s) : 0;
        json_t *a = json_stringn(merge[i].s, left);
        json_t *b = space ? json_stringn(space + 1, merge[i].n - left - 1) : NULL;
        if (!a || !b || !json_string_length(b))
            result = err_set(e, STATUS_FAILED,
                             "%s: key 'tokenizer.ggml.merges': entry %zu is no pair of tokens",
                             w->g->path, i);
        else
            json_array_append_new(list, json_pack("[O, O]", a, b));
        json_decref(a);
        json_decref(b);
    }
    json_object_set_new(model, "merges", list);
    free(merge);
    return result;
}

static json_t *bpe_model(const struct words *w, struct err *e)
{
    json_t *model =
        json_pack("{s:s, s:n, s:n, s:n, s:n, s:b, s:b, s:b, s:O}", "type", "BPE", "dropout",
                  "unk_token", "continuing_subword_prefix", "end_of_word_suffix", "fuse_unk", 0,
                  "byte_fallback", 0, "ignore_merges", w->splitting->whole_words, "vocab", w->ids);
    if (add_merges(w, model, e) == 0)
        return model;
    json_decref(model);
    return NULL;
}

// A pair of pieces that make a third.
struct join {
    size_t piece, left; // bytes of its left part
    double score;
    size_t left_size, right_size; // characters
    json_int_t left_id, right_id;
};

static size_t characters(const char *s, size_t n)
{
    size_t count = 0;
    for (size_t i = 0; i < n; i++)
        count += ((unsigned char)s[i] & 0xc0) != 0x80;
    return count;
}

// The order in which transformers' converter of SentencePiece models puts merges: by the score of
// what is made, the longer left part first, then the longer right one, then as the pieces stand.
static int by_score(const void *a, const void *b)
{
    const struct join *x = a, *y = b;
    if (x->score != y->score)
        return x->score > y->score ? -1 : 1;
    if (x->left_size != y->left_size)
        return x->left_size > y->left_size ? -1 : 1;
    if (x->right_size != y->right_size)
        return x->right_size > y->right_size ? -1 : 1;
    if (x->piece != y->piece)
        return x->piece < y->piece ? -1 : 1;
    return x->left_id != y->left_id ? (x->left_id < y->left_id ? -1 : 1) : 0;
}

static json_int_t id_of(const struct words *w, const char *s, size_t n)
{
    const json_t *id = json_object_getn(w->ids, s, n);
    return id ? json_integer_value(id) : -1;
}

static int find_joins(const struct words *w, struct join **join, size_t *n, struct err *e)
{
    size_t capacity = 0;
    for (size_t i = 0; i < w->n; i++) {
        struct gguf_text t = w->token[i];
        for (size_t k = 1; type_of(w, i) == TOKEN_NORMAL && k < t.n && t.n < 1 << 10; k++) {
            if (((unsigned char)t.s[k] & 0xc0) == 0x80)
                continue;
            json_int_t left = id_of(w, t.s, k), right = id_of(w, t.s + k, t.n - k);
            if (left < 0 || right < 0)
                continue;
            if (MEM_GROW(*join, capacity, *n + 1, "merges", e) < 0)
                return -1;
            (*join)[(*n)++] = (struct join){
                i, k, w->score[i], characters(t.s, k), characters(t.s + k, t.n - k), left, right};
        }
    }
    return 0;
}

static json_t *sentencepiece_merges(const struct words *w, struct err *e)
{
    struct join *join = NULL;
    size_t n = 0;
    if (find_joins(w, &join, &n, e) < 0) {
        free(join);
        return NULL;
    }
    if (n)
        qsort(join, n, sizeof *join, by_score);
    json_t *list = json_array();
    for (size_t i = 0; i < n; i++) {
        struct gguf_text t = w->token[join[i].piece];
        json_array_append_new(list,
                              json_pack("[o, o]", json_stringn(t.s, join[i].left),
                                        json_stringn(t.s + join[i].left, t.n - join[i].left)));
    }
    free(join);
    return list;
}

static json_t *sentencepiece_model(const struct words *w, struct err *e)
{
    int64_t unknown;
    if (!w->score) {
        bad(w, e, "scores", "it is missing");
        return NULL;
    }
    if (read_id(w, "unknown", &unknown, e) < 0)
        return NULL;
    for (size_t i = 0; unknown < 0 && i < w->n; i++)
        if (type_of(w, i) == TOKEN_UNKNOWN)
            unknown = (int64_t)i;
    json_t *merges = sentencepiece_merges(w, e);
    if (!merges)
        return NULL;
    return json_pack("{s:s, s:n, s:o, s:n, s:n, s:b, s:b, s:b, s:O, s:o}", "type", "BPE", "dropout",
                     "unk_token", token_json(w, unknown), "continuing_subword_prefix",
                     "end_of_word_suffix", "fuse_unk", 1, "byte_fallback", 1, "ignore_merges", 0,
                     "vocab", w->ids, "merges", merges);
}

static const char mark[] = "\xe2\x96\x81"; // of the begin of a word

static json_t *replace_json(const char *from, const char *to)
{
    return json_pack("{s:s, s:{s:s}, s:s}", "type", "Replace", "pattern", "String", from, "content",
                     to);
}

static json_t *sentencepiece_normalizer(int prefix)
{
    if (!prefix)
        return replace_json(" ", mark);
    return json_pack("{s:s, s:[{s:s, s:s}, o]}", "type", "Sequence", "normalizers", "type",
                     "Prepend", "prepend", mark, replace_json(" ", mark));
}

static json_t *sentencepiece_decoder(int prefix)
{
    json_t *decoder = json_pack("{s:s, s:[o, {s:s}, {s:s}]}", "type", "Sequence", "decoders",
                                replace_json(mark, " "), "type", "ByteFallback", "type", "Fuse");
    if (prefix)
        json_array_append_new(json_object_get(decoder, "decoders"),
                              json_pack("{s:s, s:s, s:i, s:i}", "type", "Strip", "content", " ",
                                        "start", 1, "stop", 0));
    return decoder;
}

struct affixes {
    int64_t bos, eos, pad, unknown;
    int add_bos, add_eos;
};

static int read_affixes(const struct words *w, struct affixes *a, struct err *e)
{
    int begins = w->is_bpe ? w->splitting->begins : 1;
    return read_id(w, "bos", &a->bos, e) < 0 || read_id(w, "eos", &a->eos, e) < 0 ||
                   read_id(w, "padding", &a->pad, e) < 0 ||
                   read_id(w, "unknown", &a->unknown, e) < 0 ||
                   reads_switch(w, "add_bos_token", begins, &a->add_bos, e) < 0 ||
                   reads_switch(w, "add_eos_token", 0, &a->add_eos, e) < 0
               ? -1
               : 0;
}

static json_t *post_processor(const struct words *w, const struct affixes *a)
{
    int64_t front = a->add_bos ? a->bos : -1, end = a->add_eos ? a->eos : -1;
    json_t *template = front >= 0 || end >= 0 ? template_json(w, front, end) : NULL;
    if (!w->is_bpe)
        return template ? template : json_null();
    if (!template)
        return splitting_byte_level(0);
    return json_pack("{s:s, s:[o, o]}", "type", "Sequence", "processors", splitting_byte_level(0),
                     template);
}

static json_t *tokenizer_json(const struct words *w, const struct affixes *a, struct err *e)
{
    int prefix = 1;
    if (reads_switch(w, "add_space_prefix", 1, &prefix, e) < 0)
        return NULL;
    json_t *model = w->is_bpe ? bpe_model(w, e) : sentencepiece_model(w, e);
    if (!model)
        return NULL;
    json_t *normalizer = !w->is_bpe          ? sentencepiece_normalizer(prefix)
                         : w->splitting->nfc ? json_pack("{s:s}", "type", "NFC")
                                             : json_null();
    return json_pack(
        "{s:s, s:n, s:n, s:o, s:o, s:o, s:o, s:o, s:o}", "version", "1.0", "truncation", "padding",
        "added_tokens", added_json(w), "normalizer", normalizer, "pre_tokenizer",
        w->is_bpe ? splitting_pre_tokenizer(w->splitting) : json_null(), "post_processor",
        post_processor(w, a), "decoder",
        w->is_bpe ? splitting_byte_level(1) : sentencepiece_decoder(prefix), "model", model);
}

// ---- the files ----

static int write_json(int to, const char *name, json_t *value, size_t flags, struct err *e)
{
    char *text = value ? json_text(value, flags, e) : NULL;
    json_decref(value);
    if (!text)
        return err_whole(e) < 0 ? -1 : err_memory(e, 0, name);
    int result = io_write_file(to, name, text, strlen(text), e);
    free(text);
    return result;
}

static json_t *settings_json(const struct words *w, const struct affixes *a)
{
    return json_pack("{s:s, s:b, s:b, s:o, s:o, s:o, s:o, s:b}", "tokenizer_class",
                     "PreTrainedTokenizerFast", "add_bos_token", a->add_bos && a->bos >= 0,
                     "add_eos_token", a->add_eos && a->eos >= 0, "bos_token", token_json(w, a->bos),
                     "eos_token", token_json(w, a->eos), "pad_token", token_json(w, a->pad),
                     "unk_token", token_json(w, a->unknown), "clean_up_tokenization_spaces", 0);
}

static void set_id(json_t *o, const char *key, int64_t id)
{
    if (id >= 0)
        json_object_set_new(o, key, json_integer(id));
}

// Generation stops at each of these.
static int set_stops(const struct words *w, json_t *o, int64_t eos, struct err *e)
{
    static const char *const more[] = {"eot", "eom"};
    int64_t id, last = eos;
    json_t *list = json_array();
    if (eos >= 0)
        json_array_append_new(list, json_integer(eos));
    for (int i = 0; i < 2; i++) {
        if (read_id(w, more[i], &id, e) < 0) {
            json_decref(list);
            return -1;
        }
        if (id >= 0 && id != eos && id != last)
            json_array_append_new(list, json_integer(id));
        last = id >= 0 ? id : last;
    }
    if (json_array_size(list) > 1)
        json_object_set(o, "eos_token_id", list);
    else
        set_id(o, "eos_token_id", eos);
    json_decref(list);
    return 0;
}

static int set_sampling(const struct gguf *g, json_t *o, struct err *e)
{
    static const struct {
        const char *from, *to;
    } keys[] = {{"general.sampling.temp", "temperature"},
                {"general.sampling.top_p", "top_p"},
                {"general.sampling.min_p", "min_p"}};
    int64_t k = 0;
    double x;
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        int found = gguf_get_real(g, keys[i].from, &x, e);
        if (found < 0)
            return -1;
        if (found)
            json_object_set_new(o, keys[i].to, json_real(x));
    }
    if (gguf_get_int(g, "general.sampling.top_k", &k, e) < 0)
        return -1;
    if (k > 0)
        json_object_set_new(o, "top_k", json_integer(k));
    return 0;
}

static int write_generation(const struct words *w, const struct affixes *a, int to, struct err *e)
{
    json_t *o = json_object();
    set_id(o, "bos_token_id", a->bos);
    set_id(o, "pad_token_id", a->pad);
    if (set_stops(w, o, a->eos, e) < 0 || set_sampling(w->g, o, e) < 0) {
        json_decref(o);
        return -1;
    }
    return write_json(to, "generation_config.json", o, JSON_INDENT(2), e);
}

static int write_template(const struct gguf *g, int to, struct err *e)
{
    struct gguf_text text;
    int found = gguf_get_text(g, "tokenizer.chat_template", &text, e);
    if (found <= 0)
        return found;
    return io_write_file(to, "chat_template.jinja", text.s, text.n, e);
}

static int write_files(struct words *w, json_t *config, int to, struct err *e)
{
    struct affixes a;
    if (read_kind(w, e) < 0)
        return -1;
    if (w->is_none)
        return 0;
    if (read_words(w, e) < 0 || read_affixes(w, &a, e) < 0)
        return -1;
    set_id(config, "bos_token_id", a.bos);
    set_id(config, "eos_token_id", a.eos);
    set_id(config, "pad_token_id", a.pad);
    json_t *tokenizer = tokenizer_json(w, &a, e);
    if (!tokenizer)
        return -1;
    return write_json(to, "tokenizer.json", tokenizer, 0, e) < 0 ||
                   write_json(to, "tokenizer_config.json", settings_json(w, &a), JSON_INDENT(2),
                              e) < 0 ||
                   write_generation(w, &a, to, e) < 0
               ? -1
               : write_template(w->g, to, e);
}

int tokenizer_in(const struct gguf *g, json_t *config, int to, struct err *e)
{
    struct words w = {.g = g};
    int result = write_files(&w, config, to, e);
    release_words(&w);
    return result;
}
