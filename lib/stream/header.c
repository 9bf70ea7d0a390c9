// SPDX-License-Identifier: MIT
#include "stream/maker.h"
#include "stream/header.h"
#include "base/json.h"
#include "base/utf8.h"
#include "stream/parts.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

static const char *const type_names[] = {"u8", "u32", "f32", "string"};
static const char *const per_names[] = {"token", "sequence"};
static const size_t type_sizes[] = {1, 4, 4, 0};

// Options that cannot change a program's result.
static const char *const quiet_options[] = {"output",     "threads",     "memory",   "metrics",
                                            "in-flight",  "journal",     "patience", "timeout",
                                            "save-steps", "save-minutes"};
static const char *const quiet_flags[] = {"quiet", "verbose", "resume", "overwrite"};

const char *column_type_name(enum column_type type)
{
    return type_names[type];
}

const char *column_per_name(enum column_per per)
{
    return per_names[per];
}

size_t column_type_size(enum column_type type)
{
    return type_sizes[type];
}

static void columns_release(struct stream_header *h)
{
    for (size_t i = 0; i < h->n_columns; i++)
        free(h->column[i].name);
    free(h->column);
    h->column = NULL;
    h->n_columns = 0;
}

void header_release(struct stream_header *h)
{
    columns_release(h);
    free(h->tokenizer);
    json_decref(h->sampling);
    json_decref(h->provenance);
    json_decref(h->template);
    json_decref(h->extra);
    memset(h, 0, sizeof *h);
}

// Everything but columns.
static int header_bare(struct stream_header *h, struct err *e)
{
    memset(h, 0, sizeof *h);
    h->vocab_size = -1;
    h->level = 1;
    h->provenance = json_array();
    h->extra = json_object();
    if (h->provenance && h->extra)
        return 0;
    header_release(h);
    return err_memory(e, sizeof *h, "a stream's header");
}

int header_init(struct stream_header *h, struct err *e)
{
    if (header_bare(h, e) < 0)
        return -1;
    if (header_add_column(h, "id", COLUMN_STRING, PER_SEQUENCE, e) == COLUMN_ID &&
        header_add_column(h, "token", COLUMN_U32, PER_TOKEN, e) == COLUMN_TOKEN)
        return 0;
    header_release(h);
    return -1;
}

int header_copy(struct stream_header *to, const struct stream_header *from, struct err *e)
{
    if (header_bare(to, e) < 0)
        return -1;
    for (size_t i = 0; i < from->n_columns; i++) {
        const struct column *c = &from->column[i];
        if (header_add_column(to, c->name, c->type, c->per, e) < 0)
            goto failed;
    }
    json_decref(to->provenance);
    json_decref(to->extra);
    to->provenance = json_deep_copy(from->provenance);
    to->extra = json_deep_copy(from->extra);
    to->sampling = from->sampling ? json_deep_copy(from->sampling) : NULL;
    to->template = json_incref(from->template);
    to->tokenizer = from->tokenizer ? strdup(from->tokenizer) : NULL;
    to->vocab_size = from->vocab_size;
    to->level = from->level;
    if (to->provenance && to->extra && !to->sampling == !from->sampling &&
        !to->tokenizer == !from->tokenizer)
        return 0;
    err_memory(e, sizeof *to, "a stream's header");
failed:
    header_release(to);
    return -1;
}

static int check_name(const char *name, struct err *e)
{
    size_t n = strlen(name);
    if (n == 0)
        return err_set(e, STATUS_FAILED, "a column without a name");
    if (n > COLUMN_NAME_MAX)
        return err_set(e, STATUS_FAILED, "a column's name is longer than %d bytes",
                       COLUMN_NAME_MAX);
    if (utf8_valid_prefix(name, n) != n)
        return err_set(e, STATUS_FAILED, "a column's name is not UTF-8");
    for (size_t i = 0; i < n; i++)
        if ((unsigned char)name[i] < 0x20 || name[i] == 0x7f)
            return err_set(e, STATUS_FAILED, "a column's name holds a control character");
    return 0;
}

int header_add_column(struct stream_header *h, const char *name, enum column_type type,
                      enum column_per per, struct err *e)
{
    if (check_name(name, e) < 0)
        return -1;
    if (header_find(h, name) >= 0)
        return err_set(e, STATUS_FAILED, "the stream already has a column `%s`", name);
    if (type == COLUMN_STRING && per == PER_TOKEN)
        return err_set(e, STATUS_FAILED, "column `%s`: a token has no string column", name);
    if (h->n_columns == COLUMNS_MAX)
        return err_set(e, STATUS_FAILED, "more than %d columns", COLUMNS_MAX);
    struct column *column = realloc(h->column, (h->n_columns + 1) * sizeof *column);
    if (!column)
        return err_memory(e, sizeof *column, "a column");
    h->column = column;
    column[h->n_columns] = (struct column){strdup(name), type, per};
    if (!column[h->n_columns].name)
        return err_memory(e, strlen(name), "a column's name");
    return (int)h->n_columns++;
}

int header_find(const struct stream_header *h, const char *name)
{
    for (size_t i = 0; i < h->n_columns; i++)
        if (!strcmp(h->column[i].name, name))
            return (int)i;
    return -1;
}

int header_require(const struct stream_header *h, const char *name, enum column_type type,
                   enum column_per per, const char *where, struct err *e)
{
    int i = header_find(h, name);
    if (i < 0)
        return maker_missing(where, name, e);
    const struct column *c = &h->column[i];
    if (c->type != type || c->per != per)
        return err_set(e, STATUS_STREAM, "%s: column `%s` is %s per %s, not %s per %s", where, name,
                       type_names[c->type], per_names[c->per], type_names[type], per_names[per]);
    return i;
}

void header_remove_column(struct stream_header *h, int index)
{
    free(h->column[index].name);
    h->n_columns--;
    memmove(h->column + index, h->column + index + 1,
            (h->n_columns - (size_t)index) * sizeof *h->column);
}

// Does `word` (after its dashes, up to `n` bytes) name the option, whole or abbreviated?
static int abbreviates(const char *word, size_t n, const char *option)
{
    return n >= 3 && n <= strlen(option) && !strncmp(word, option, n);
}

// How many words of argv, from `i` on, say nothing about the result.
static int quiet_words(int argc, char **argv, int i)
{
    const char *word = argv[i];
    if (word[0] != '-' || !word[1])
        return 0;
    if (word[1] != '-') {
        if (word[1] == 'o')
            return word[2] || i + 1 == argc ? 1 : 2;
        return word[1 + strspn(word + 1, "qv")] == 0;
    }
    word += 2;
    size_t n = strcspn(word, "=");
    for (size_t k = 0; k < sizeof quiet_options / sizeof *quiet_options; k++)
        if (abbreviates(word, n, quiet_options[k]))
            return word[n] || i + 1 == argc ? 1 : 2;
    for (size_t k = 0; k < sizeof quiet_flags / sizeof *quiet_flags; k++)
        if (abbreviates(word, n, quiet_flags[k]))
            return 1;
    return 0;
}

// Leaves the last name of each absolute path in `text`, the elements of a list and what follows `=`
// apart: where a file lies, or in which folder of a name made up for it, says nothing about what is
// in it.
static void shorten_paths(char *text)
{
    char *to = text;
    for (const char *from = text; *from;) {
        size_t n = strcspn(from, ",=");
        const char *name = from;
        for (size_t i = 0; from[0] == '/' && i + 1 < n; i++)
            if (from[i] == '/' && from[i + 1] != '/')
                name = from + i + 1;
        size_t size = (size_t)(from + n - name) + (from[n] != 0);
        memmove(to, name, size);
        to += size;
        from += n + (from[n] != 0);
    }
    *to = 0;
}

// A word of the command line need not be UTF-8.
static json_t *word_json(const char *word)
{
    char *copy = strdup(word);
    if (!copy)
        return NULL;
    shorten_paths(copy);
    size_t n = strlen(copy);
    for (size_t i = utf8_valid_prefix(copy, n); i < n; i += utf8_valid_prefix(copy + i, n - i))
        copy[i] = '?';
    json_t *value = json_stringn(copy, n);
    free(copy);
    return value;
}

static json_t *arguments_json(int argc, char **argv)
{
    json_t *args = json_array();
    int failed = !args, plain = 0;
    for (int i = 1; i < argc && !failed;) {
        int skip = plain ? 0 : quiet_words(argc, argv, i);
        if (skip) {
            i += skip;
            continue;
        }
        plain |= !strcmp(argv[i], "--");
        failed = json_array_append_new(args, word_json(argv[i])) < 0;
        i++;
    }
    if (!failed)
        return args;
    json_decref(args);
    return NULL;
}

// jansson's integers are signed.
static json_t *seed_json(uint64_t seed)
{
    if (seed <= INT64_MAX)
        return json_integer((json_int_t)seed);
    return json_sprintf("%llu", (unsigned long long)seed);
}

int header_add_provenance(struct stream_header *h, const char *program, int argc, char **argv,
                          uint64_t seed, json_t *models, struct err *e)
{
    json_t *line = json_object();
    int failed = json_object_set_new(line, "program", json_string(program)) < 0 ||
                 json_object_set_new(line, "version", json_string(DENSEPATH_VERSION)) < 0 ||
                 json_object_set_new(line, "args", arguments_json(argc, argv)) < 0 ||
                 json_object_set_new(line, "seed", seed_json(seed)) < 0;
    if (models && json_object_set_new(line, "models", models) < 0)
        failed = 1;
    if (failed) {
        json_decref(line);
        return err_memory(e, 0, "a provenance line");
    }
    if (json_array_append_new(h->provenance, line) < 0)
        return err_memory(e, 0, "a provenance line");
    return 0;
}

int header_set_kernels(struct stream_header *h, const char *kernels, struct err *e)
{
    json_t *line = json_array_get(h->provenance, json_array_size(h->provenance) - 1);
    assert(line);
    return json_object_set_new(line, "kernels", json_string(kernels)) < 0
               ? err_memory(e, 0, "a provenance line")
               : 0;
}

int header_check_tokenizer(const struct stream_header *h, const char *fingerprint,
                           const char *where, struct err *e)
{
    if (!h->tokenizer || !fingerprint || !strcmp(h->tokenizer, fingerprint))
        return 0;
    return err_set(e, STATUS_STREAM,
                   "%s: the stream's tokens come from tokenizer %s, the model's tokenizer is %s",
                   where, h->tokenizer, fingerprint);
}

static json_t *column_json(const struct column *c)
{
    return json_pack("{s:s,s:s,s:s}", "name", c->name, "type", type_names[c->type], "per",
                     per_names[c->per]);
}

static json_t *header_json(const struct stream_header *h)
{
    json_t *root = json_object(), *columns = json_array();
    int failed = !root || !columns;
    for (size_t i = 0; i < h->n_columns && !failed; i++)
        failed = json_array_append_new(columns, column_json(&h->column[i])) < 0;
    failed |= json_object_set_new(root, "densepath", json_integer(STREAM_VERSION)) < 0;
    failed |= json_object_set_new(root, "columns", columns) < 0;
    if (h->tokenizer)
        failed |= json_object_set_new(root, "tokenizer", json_string(h->tokenizer)) < 0;
    if (h->vocab_size >= 0)
        failed |= json_object_set_new(root, "vocab_size", json_integer(h->vocab_size)) < 0;
    if (h->level != 1)
        failed |= json_object_set_new(root, "level", json_integer(h->level)) < 0;
    if (h->sampling)
        failed |= json_object_set(root, "sampling", h->sampling) < 0;
    if (h->template)
        failed |= json_object_set(root, "chat_template", h->template) < 0;
    failed |= json_object_set(root, "provenance", h->provenance) < 0;
    failed |= json_object_update(root, h->extra) < 0;
    if (!failed)
        return root;
    json_decref(root);
    return NULL;
}

int header_print(const struct stream_header *h, struct buffer *out, struct err *e)
{
    json_t *root = header_json(h);
    if (!root)
        return err_memory(e, 0, "a stream's header");
    int result = json_print(root, out, e);
    json_decref(root);
    return result;
}

static int name_index(const char *const *names, int n, const json_t *value)
{
    const char *name = json_string_value(value);
    for (int i = 0; name && i < n; i++)
        if (!strcmp(names[i], name))
            return i;
    return -1;
}

static int parse_column(struct stream_header *h, const json_t *object, struct err *e)
{
    const json_t *name = json_object_get(object, "name");
    const char *text = json_string_value(name);
    if (!text || strlen(text) != json_string_length(name))
        return err_set(e, STATUS_STREAM, "a column without a proper name");
    int type = name_index(type_names, 4, json_object_get(object, "type"));
    int per = name_index(per_names, 2, json_object_get(object, "per"));
    if (type < 0 || per < 0)
        return err_set(e, STATUS_STREAM,
                       "column `%.255s`: wants \"type\" u8, u32, f32 or string and \"per\" token "
                       "or sequence",
                       text);
    if (json_object_size(object) != 3)
        return err_set(e, STATUS_STREAM, "column `%.255s`: an unknown key", text);
    return header_add_column(h, text, (enum column_type)type, (enum column_per)per, e);
}

static int is_column(const struct stream_header *h, size_t i, const char *name,
                     enum column_type type, enum column_per per)
{
    return h->n_columns > i && !strcmp(h->column[i].name, name) && h->column[i].type == type &&
           h->column[i].per == per;
}

static int parse_columns(struct stream_header *h, const json_t *columns, struct err *e)
{
    size_t i;
    json_t *object;
    if (!json_is_array(columns))
        return err_set(e, STATUS_STREAM, "`columns` is not an array");
    json_array_foreach(columns, i, object)
    {
        if (parse_column(h, object, e) < 0)
            return -1;
    }
    return 0;
}

// Moves column `name` to place `to`, or makes it there.
static int place_column(struct stream_header *h, size_t to, const char *name, enum column_type type,
                        enum column_per per, struct err *e)
{
    int i = header_find(h, name);
    if (i < 0)
        i = header_add_column(h, name, type, per, e);
    if (i < 0)
        return -1;
    struct column moved = h->column[i];
    for (size_t k = (size_t)i; k > to; k--)
        h->column[k] = h->column[k - 1];
    h->column[to] = moved;
    return 0;
}

int header_place_first(struct stream_header *h, struct err *e)
{
    if (place_column(h, COLUMN_ID, "id", COLUMN_STRING, PER_SEQUENCE, e) < 0 ||
        place_column(h, COLUMN_TOKEN, "token", COLUMN_U32, PER_TOKEN, e) < 0)
        return -1;
    return header_check_first(h, e);
}

int header_check_first(const struct stream_header *h, struct err *e)
{
    if (is_column(h, COLUMN_ID, "id", COLUMN_STRING, PER_SEQUENCE) &&
        is_column(h, COLUMN_TOKEN, "token", COLUMN_U32, PER_TOKEN))
        return 0;
    return err_set(e, STATUS_STREAM,
                   "the first two columns are not `id` (string per sequence) and `token` (u32 "
                   "per token)");
}

static int is_known(const char *key)
{
    static const char *const known[] = {"densepath", "columns",  "tokenizer",     "vocab_size",
                                        "level",     "sampling", "chat_template", "provenance"};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (!strcmp(known[i], key))
            return 1;
    return 0;
}

static int parse_rest(struct stream_header *h, json_t *root, struct err *e)
{
    json_t *tokenizer = json_object_get(root, "tokenizer");
    json_t *sampling = json_object_get(root, "sampling");
    json_t *provenance = json_object_get(root, "provenance");
    json_t *template = json_object_get(root, "chat_template");
    if (template && !json_is_null(template)) {
        if (!json_is_string(template))
            return err_set(e, STATUS_STREAM, "`chat_template` is not a string");
        h->template = json_incref(template);
    }
    if (tokenizer && !json_is_null(tokenizer)) {
        const char *text = json_string_value(tokenizer);
        if (!text || strlen(text) != json_string_length(tokenizer))
            return err_set(e, STATUS_STREAM, "`tokenizer` is not a string");
        h->tokenizer = strdup(text);
        if (!h->tokenizer)
            return err_memory(e, strlen(text), "a fingerprint");
    }
    int64_t level = 1;
    if (json_get_int(root, "vocab_size", &h->vocab_size, "header", e) < 0 ||
        json_get_int(root, "level", &level, "header", e) < 0)
        return -1;
    if (h->vocab_size < -1 || h->vocab_size > (int64_t)UINT32_MAX + 1)
        return err_set(e, STATUS_STREAM, "`vocab_size` is out of range");
    if (level < 0 || level > LEVEL_MAX)
        return err_set(e, STATUS_STREAM, "`level` is not in 0 .. %d", LEVEL_MAX);
    h->level = (int)level;
    if (sampling && !json_is_null(sampling)) {
        if (!json_is_object(sampling))
            return err_set(e, STATUS_STREAM, "`sampling` is not an object");
        h->sampling = json_incref(sampling);
    }
    if (provenance && !json_is_null(provenance)) {
        size_t i;
        json_t *line;
        if (!json_is_array(provenance))
            return err_set(e, STATUS_STREAM, "`provenance` is not an array");
        json_array_foreach(provenance, i, line)
        {
            if (!json_is_object(line))
                return err_set(e, STATUS_STREAM, "`provenance` holds something not an object");
        }
        json_decref(h->provenance);
        h->provenance = json_incref(provenance);
    }
    const char *key;
    json_t *value;
    json_object_foreach(root, key, value)
    {
        if (!is_known(key) && json_object_set(h->extra, key, value) < 0)
            return err_memory(e, strlen(key), "a stream's header");
    }
    return 0;
}

static int parse_root(struct stream_header *h, json_t *root, int by_hand, struct err *e)
{
    int64_t version = 0;
    if (!json_is_object(root))
        return err_set(e, STATUS_STREAM, "not a JSON object");
    if (json_get_int(root, "densepath", &version, "header", e) < 0)
        return -1;
    if (version != STREAM_VERSION)
        return err_set(e, STATUS_STREAM, "format version %lld: this program reads version %d",
                       (long long)version, STREAM_VERSION);
    const json_t *columns = json_object_get(root, "columns");
    if (!columns && by_hand)
        return parse_rest(h, root, e);
    if (parse_columns(h, columns, e) < 0 || parse_rest(h, root, e) < 0)
        return -1;
    return by_hand ? header_place_first(h, e) : header_check_first(h, e);
}

int header_parse(struct stream_header *h, const char *text, size_t size, int by_hand,
                 const char *where, struct err *e)
{
    if (header_bare(h, e) < 0)
        return -1;
    if (size > HEADER_MAX) {
        err_set(e, STATUS_STREAM, "larger than %d bytes", HEADER_MAX);
        goto failed;
    }
    json_error_t error;
    json_t *root = json_loadb(text, size, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &error);
    if (!root) {
        err_set(e, STATUS_STREAM, "not valid JSON: %s", error.text);
        goto failed;
    }
    int result = parse_root(h, root, by_hand, e);
    json_decref(root);
    if (result >= 0)
        return 0;
failed:
    header_release(h);
    if (e->status != STATUS_MEMORY)
        e->status = STATUS_STREAM;
    return where ? err_prefix(e, "%s: header", where) : err_prefix(e, "header");
}

int header_agree(const struct stream_header *a, const struct stream_header *b, struct err *e)
{
    for (size_t i = 0; i < a->n_columns || i < b->n_columns; i++) {
        if (i >= a->n_columns || i >= b->n_columns)
            return err_set(e, STATUS_STREAM,
                           "column `%s` is not in both of the streams that were put together",
                           i < a->n_columns ? a->column[i].name : b->column[i].name);
        const struct column *x = &a->column[i], *y = &b->column[i];
        if (strcmp(x->name, y->name) != 0 || x->type != y->type || x->per != y->per)
            return err_set(e, STATUS_STREAM,
                           "column %zu is `%s` (%s per %s) here and `%s` (%s per %s) in the "
                           "stream before",
                           i + 1, y->name, type_names[y->type], per_names[y->per], x->name,
                           type_names[x->type], per_names[x->per]);
    }
    if (a->tokenizer && b->tokenizer && strcmp(a->tokenizer, b->tokenizer) != 0)
        return err_set(e, STATUS_STREAM, "tokenizer %s here and %s in the stream before",
                       b->tokenizer, a->tokenizer);
    if (a->vocab_size >= 0 && b->vocab_size >= 0 && a->vocab_size != b->vocab_size)
        return err_set(e, STATUS_STREAM, "vocab_size %lld here and %lld in the stream before",
                       (long long)b->vocab_size, (long long)a->vocab_size);
    return 0;
}

int header_step(const struct stream_header *h)
{
    int i = header_find(h, "step");
    return i >= 0 && h->column[i].type == COLUMN_U32 && h->column[i].per == PER_SEQUENCE ? i : -1;
}

int header_add_lines(struct stream_header *to, const struct stream_header *from, struct err *e)
{
    size_t i, k;
    json_t *line, *other;
    json_array_foreach(from->provenance, i, line)
    {
        int found = 0;
        json_array_foreach(to->provenance, k, other)
        {
            found |= json_equal(line, other);
        }
        if (!found && json_array_append(to->provenance, line) < 0)
            return err_memory(e, 0, "provenance");
    }
    return 0;
}
