// SPDX-License-Identifier: MIT
#include "tokenize/normalizer.h"

#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "tokenize/changes.h"
#include "tokenize/charsmap.h"
#include "tokenize/unicode.h"
#include "tokenize/unicode_nfc.h"

enum { DEPTH_MAX = 16, LIST_MAX = 256 };

enum normalizer_kind {
    NORMALIZE_SEQUENCE,
    NORMALIZE_FORM, // NFC, NFD, NFKC, NFKD
    NORMALIZE_LOWERCASE,
    NORMALIZE_STRIP,
    NORMALIZE_STRIP_ACCENTS,
    NORMALIZE_REPLACE,
    NORMALIZE_PREPEND,
    NORMALIZE_BYTE_LEVEL,
    NORMALIZE_PRECOMPILED,
    NORMALIZE_NMT,
    NORMALIZE_BERT,
};

struct normalizer {
    enum normalizer_kind kind;
    int compatibility, composes;
    uint64_t *closer_look; // NFC: a bit for each character that is not in NFC at sight
    int left, right;
    int clean, chinese, accents, lower; // BertNormalizer
    struct charsmap map;
    struct pattern *pattern;
    char *text;
    size_t size;
    struct normalizer **item;
    size_t n_items;
};

void normalizer_free(struct normalizer *n)
{
    if (!n)
        return;
    for (size_t i = 0; i < n->n_items; i++)
        normalizer_free(n->item[i]);
    free(n->item);
    pattern_free(n->pattern);
    charsmap_release(&n->map);
    free(n->closer_look);
    free(n->text);
    free(n);
}

static int take_text(struct normalizer *n, const json_t *value, const char *key, const char *name,
                     struct err *e)
{
    const json_t *v = json_object_get(value, key);
    if (!json_is_string(v))
        return err_set(e, STATUS_FAILED, "%s: normalizer: key `%s`: not a string", name, key);
    n->size = json_string_length(v);
    n->text = mem_alloc(n->size + 1, 1, "a normalizer", e);
    if (!n->text)
        return -1;
    memcpy(n->text, json_string_value(v), n->size);
    return 0;
}

static struct normalizer *parse(const json_t *value, const char *name, int depth, struct err *e);

static int parse_sequence(struct normalizer *n, const json_t *value, const char *name, int depth,
                          struct err *e)
{
    const json_t *list = json_object_get(value, "normalizers");
    if (!json_is_array(list) || json_array_size(list) > LIST_MAX)
        return err_set(e, STATUS_FAILED, "%s: normalizer: key `normalizers`: not a list", name);
    n->item = mem_alloc(json_array_size(list), sizeof(struct normalizer *), "a normalizer", e);
    if (!n->item)
        return -1;
    size_t i;
    json_t *v;
    json_array_foreach(list, i, v)
    {
        n->item[n->n_items] = parse(v, name, depth + 1, e);
        if (!n->item[n->n_items])
            return -1;
        n->n_items++;
    }
    return 0;
}

static int base64_digit(char c)
{
    return c >= 'A' && c <= 'Z'   ? c - 'A'
           : c >= 'a' && c <= 'z' ? c - 'a' + 26
           : c >= '0' && c <= '9' ? c - '0' + 52
           : c == '+'             ? 62
           : c == '/'             ? 63
                                  : -1;
}

// Decodes in place of `out` (room for 3/4 of the size); the size, or -1.
static int64_t base64_decode(const char *text, size_t size, unsigned char *out)
{
    size_t n = 0;
    if (size % 4)
        return -1;
    for (size_t i = 0; i < size; i += 4) {
        int digits = i + 4 < size || text[i + 3] != '=' ? 4 : text[i + 2] != '=' ? 3 : 2;
        uint32_t bits = 0;
        for (int k = 0; k < digits; k++) {
            int digit = base64_digit(text[i + k]);
            if (digit < 0)
                return -1;
            bits |= (uint32_t)digit << (18 - 6 * k);
        }
        for (int k = 0; k < digits - 1; k++)
            out[n++] = (unsigned char)(bits >> (16 - 8 * k));
    }
    return (int64_t)n;
}

static int parse_precompiled(struct normalizer *n, const json_t *value, const char *name,
                             struct err *e)
{
    const json_t *v = json_object_get(value, "precompiled_charsmap");
    n->kind = NORMALIZE_PRECOMPILED;
    if (!v || json_is_null(v)) // files made from models without a table
        return 0;
    size_t size = json_is_string(v) ? json_string_length(v) : 0;
    unsigned char *bytes = mem_alloc(size + 1, 1, "a normalizer", e);
    if (!bytes)
        return -1;
    int64_t n_bytes = json_is_string(v) ? base64_decode(json_string_value(v), size, bytes) : -1;
    int result = n_bytes < 0
                     ? err_set(e, STATUS_FAILED,
                               "%s: normalizer: key `precompiled_charsmap`: not base64", name)
                     : charsmap_init(&n->map, bytes, (size_t)n_bytes, name, e);
    free(bytes);
    return result;
}

static int parse_bert(struct normalizer *n, const json_t *value, const char *name, struct err *e)
{
    n->kind = NORMALIZE_BERT;
    n->clean = n->chinese = n->lower = 1;
    if (json_get_bool(value, "clean_text", &n->clean, name, e) < 0 ||
        json_get_bool(value, "handle_chinese_chars", &n->chinese, name, e) < 0 ||
        json_get_bool(value, "lowercase", &n->lower, name, e) < 0)
        return -1;
    n->accents = n->lower; // null: as lowercase says
    return json_get_bool(value, "strip_accents", &n->accents, name, e) < 0 ? -1 : 0;
}

static int parse_form(struct normalizer *n, const char *type, struct err *e)
{
    n->kind = NORMALIZE_FORM;
    n->compatibility = type[2] == 'K';
    n->composes = type[strlen(type) - 1] == 'C';
    if (n->compatibility || !n->composes)
        return 0;
    n->closer_look = mem_alloc(UNICODE_NFC_END / 64, sizeof *n->closer_look, "a normalizer", e);
    if (!n->closer_look)
        return -1;
    for (size_t i = 0; i < sizeof unicode_not_in_nfc / sizeof *unicode_not_in_nfc; i++)
        for (uint32_t c = unicode_not_in_nfc[i][0]; c <= unicode_not_in_nfc[i][1]; c++)
            n->closer_look[c / 64] |= (uint64_t)1 << c % 64;
    return 0;
}

static int parse_kind(struct normalizer *n, const json_t *value, const char *name, int depth,
                      struct err *e)
{
    const char *type = "";
    if (json_get_string(value, "type", &type, name, e) < 0)
        return -1;
    if (!strcmp(type, "Sequence"))
        return n->kind = NORMALIZE_SEQUENCE, parse_sequence(n, value, name, depth, e);
    if (!strcmp(type, "NFC") || !strcmp(type, "NFD") || !strcmp(type, "NFKC") ||
        !strcmp(type, "NFKD"))
        return parse_form(n, type, e);
    if (!strcmp(type, "Lowercase"))
        return n->kind = NORMALIZE_LOWERCASE, 0;
    if (!strcmp(type, "StripAccents"))
        return n->kind = NORMALIZE_STRIP_ACCENTS, 0;
    if (!strcmp(type, "Strip")) {
        n->kind = NORMALIZE_STRIP;
        n->left = n->right = 1;
        return json_get_bool(value, "strip_left", &n->left, name, e) < 0 ||
                       json_get_bool(value, "strip_right", &n->right, name, e) < 0
                   ? -1
                   : 0;
    }
    if (!strcmp(type, "Prepend"))
        return n->kind = NORMALIZE_PREPEND, take_text(n, value, "prepend", name, e);
    if (!strcmp(type, "Replace")) {
        n->kind = NORMALIZE_REPLACE;
        n->pattern = pattern_from_json(json_object_get(value, "pattern"), name, e);
        return n->pattern ? take_text(n, value, "content", name, e) : -1;
    }
    if (!strcmp(type, "ByteLevel"))
        return n->kind = NORMALIZE_BYTE_LEVEL, 0;
    if (!strcmp(type, "Nmt"))
        return n->kind = NORMALIZE_NMT, 0;
    if (!strcmp(type, "Precompiled"))
        return parse_precompiled(n, value, name, e);
    if (!strcmp(type, "BertNormalizer"))
        return parse_bert(n, value, name, e);
    return err_set(e, STATUS_FAILED, "%s: key `normalizer`: type `%s` is not supported", name,
                   type);
}

static struct normalizer *parse(const json_t *value, const char *name, int depth, struct err *e)
{
    if (depth > DEPTH_MAX) {
        err_set(e, STATUS_FAILED, "%s: key `normalizer`: nested too deep", name);
        return NULL;
    }
    struct normalizer *n = mem_alloc(1, sizeof *n, "a normalizer", e);
    if (n && parse_kind(n, value, name, depth, e) < 0) {
        normalizer_free(n);
        return NULL;
    }
    return n;
}

int normalizer_parse(const json_t *value, const char *name, struct normalizer **out, struct err *e)
{
    *out = NULL;
    if (!value || json_is_null(value))
        return 0;
    *out = parse(value, name, 0, e);
    return *out ? 0 : -1;
}

static size_t next_char(const struct slice *s, size_t i)
{
    utf8_next(s->data, &i);
    return i;
}

// Decomposes bytes at .. end-1 and brings the marks of each base into canonical order.
static int decompose(const struct slice *in, size_t at, size_t end, int compatibility,
                     struct change_list *l, struct err *e)
{
    size_t base = l->n;
    while (at < end) {
        uint32_t parts[UNICODE_DECOMPOSED_MAX];
        size_t n = unicode_decompose(utf8_next(in->data, &at), compatibility, parts);
        for (size_t k = 0; k < n; k++) {
            if (change_add(l, parts[k], k > 0, unicode_combining_class(parts[k]), e) < 0)
                return -1;
            struct change last = l->c[l->n - 1];
            if (last.combining == 0) {
                base = l->n - 1;
                continue;
            }
            size_t i = l->n - 1; // insertion keeps equal classes in order
            while (i > base && l->c[i - 1].combining > last.combining) {
                l->c[i] = l->c[i - 1];
                i--;
            }
            l->c[i] = last;
        }
    }
    return 0;
}

// Canonical composition in place (Unicode Standard Annex 15); sums of changes as in the reference.
static void compose(struct change_list *l)
{
    size_t out = 0, base = 0;
    int have_base = 0, last = -1; // class of the mark before; -1: none since the base
    for (size_t i = 0; i < l->n; i++) {
        struct change c = l->c[i];
        if (have_base && (last < 0 || last < c.combining)) {
            uint32_t joined = unicode_compose(l->c[base].c, c.c);
            if (joined) {
                l->c[base].c = joined;
                l->c[base].change += c.change - 1;
                continue;
            }
        }
        if (c.combining == 0) {
            have_base = 1;
            base = out;
            last = -1;
        } else if (have_base) {
            last = c.combining;
        }
        l->c[out++] = c;
    }
    l->n = out;
}

// A mark that is inserted far from its place costs its distance: texts of nothing but marks are
// cut into runs of this many characters, which no real text reaches.
enum { RUN_MAX = 1024 };

// Whether a run may begin with c: nothing that c becomes joins what stands before it.
static int begins_run(const struct normalizer *n, uint32_t c)
{
    if (n->closer_look)
        return c >= UNICODE_NFC_END || !(n->closer_look[c / 64] >> c % 64 & 1);
    if (!unicode_nfc_stable(c))
        return 0;
    if (!n->compatibility || c < 0x80)
        return 1;
    uint32_t parts[UNICODE_DECOMPOSED_MAX];
    unicode_decompose(c, 1, parts);
    return unicode_nfc_stable(parts[0]);
}

// Where text that is in NFC at sight ends, from `i` on.
static size_t skip_composed(const struct normalizer *n, const struct slice *text, size_t i)
{
    const unsigned char *p = (const unsigned char *)text->data;
    while (i < text->size) {
        uint64_t eight;
        if (i + 8 <= text->size) {
            memcpy(&eight, p + i, 8);
            if (!(eight & 0x8080808080808080u)) {
                i += 8;
                continue;
            }
        }
        if (p[i] < 0x80) {
            i++;
        } else if (p[i] < 0xCC) { // below U+0300
            i += 2;
        } else {
            size_t next = i;
            if (!begins_run(n, utf8_next(text->data, &next)))
                return i;
            i = next;
        }
    }
    return i;
}

// Copies what needs no closer look. A character that the next one may join stays.
static int copy_composed(const struct normalizer *n, const struct slice *text, size_t *begin,
                         struct aligned *out, struct err *e)
{
    size_t stop = skip_composed(n, text, *begin), from = *begin;
    if (stop > from && stop < text->size)
        do
            stop--;
        while (utf8_continues(text->data[stop]));
    *begin = stop;
    return aligned_copy(out, text, from, stop, e);
}

static int run_form(const struct normalizer *n, struct slice *text, struct aligned_pair *buffers,
                    struct err *e)
{
    if (n->closer_look && skip_composed(n, text, 0) == text->size)
        return 0;
    struct aligned *out = aligned_pair_next(buffers);
    struct change_list l = {0};
    int result = 0;
    for (size_t begin = 0; begin < text->size;) {
        if (n->closer_look && (result = copy_composed(n, text, &begin, out, e)) < 0)
            break;
        if (begin == text->size)
            break;
        // A run: from one starter that begins nothing new to the next.
        size_t end = next_char(text, begin), count = 1;
        while (end < text->size && count < RUN_MAX) {
            size_t next = end;
            uint32_t c = utf8_next(text->data, &next);
            if (begins_run(n, c))
                break;
            end = next;
            count++;
        }
        l.n = 0;
        result = decompose(text, begin, end, n->compatibility, &l, e);
        if (result == 0 && n->composes)
            compose(&l);
        if (result == 0)
            result = change_apply(&l, text, begin, out, e);
        if (result < 0)
            break;
        begin = end;
    }
    change_list_release(&l);
    *text = aligned_view(out);
    return result;
}

static int run_lowercase(struct slice *text, struct aligned_pair *buffers, struct err *e)
{
    struct aligned *out = aligned_pair_next(buffers);
    for (size_t i = 0; i < text->size;) {
        size_t at = i;
        uint32_t lower[3];
        size_t n = unicode_lower(utf8_next(text->data, &i), lower);
        for (size_t k = 0; k < n; k++)
            if (aligned_put_char(out, lower[k], slice_from(text, at), slice_to(text, at), e) < 0)
                return -1;
    }
    *text = aligned_view(out);
    return 0;
}

// Keeps the characters that `map` keeps, as it returns them (-1: dropped), in their places.
static int run_map(int64_t (*map)(uint32_t c), struct slice *text, struct aligned_pair *buffers,
                   struct err *e)
{
    struct aligned *out = aligned_pair_next(buffers);
    for (size_t i = 0; i < text->size;) {
        size_t at = i;
        int64_t c = map(utf8_next(text->data, &i));
        if (c >= 0 &&
            aligned_put_char(out, (uint32_t)c, slice_from(text, at), slice_to(text, at), e) < 0)
            return -1;
    }
    *text = aligned_view(out);
    return 0;
}

static int64_t without_marks(uint32_t c)
{
    return unicode_is_mark(c) ? -1 : (int64_t)c;
}

static int64_t without_nonspacing_marks(uint32_t c)
{
    return unicode_is_nonspacing_mark(c) ? -1 : (int64_t)c;
}

// What was done to the texts of neural machine translation, as SentencePiece's "nmt" has it.
static int64_t nmt(uint32_t c)
{
    if ((c >= 1 && c <= 8) || c == 0x0B || (c >= 0x0E && c <= 0x1F) || c == 0x7F || c == 0x8F ||
        c == 0x9F)
        return -1;
    if (c == 9 || c == 0x0A || c == 0x0C || c == 0x0D || c == 0x1680 ||
        (c >= 0x200B && c <= 0x200F) || c == 0x2028 || c == 0x2029 || c == 0x2581 || c == 0xFEFF ||
        c == 0xFFFD)
        return ' ';
    return c;
}

static int64_t bert_clean(uint32_t c)
{
    if (c == 9 || c == 0x0A || c == 0x0D)
        return ' ';
    if (c == 0 || c == UNICODE_REPLACEMENT || unicode_is_other(c))
        return -1;
    return unicode_is_space(c) ? ' ' : (int64_t)c;
}

// Ideographs as BERT's own script knew them.
static int is_chinese(uint32_t c)
{
    return (c >= 0x4E00 && c <= 0x9FFF) || (c >= 0x3400 && c <= 0x4DBF) ||
           (c >= 0x20000 && c <= 0x2A6DF) || (c >= 0x2A700 && c <= 0x2B73F) ||
           (c >= 0x2B740 && c <= 0x2B81F) || (c >= 0x2B920 && c <= 0x2CEAF) ||
           (c >= 0xF900 && c <= 0xFAFF) || (c >= 0x2F800 && c <= 0x2FA1F);
}

static int run_chinese(struct slice *text, struct aligned_pair *buffers, struct err *e)
{
    struct aligned *out = aligned_pair_next(buffers);
    for (size_t i = 0; i < text->size;) {
        size_t at = i;
        uint32_t c = utf8_next(text->data, &i), from = slice_from(text, at);
        uint32_t to = slice_to(text, at);
        int apart = is_chinese(c);
        if ((apart && aligned_put_char(out, ' ', from, to, e) < 0) ||
            aligned_put_char(out, c, from, to, e) < 0 ||
            (apart && aligned_put_char(out, ' ', from, to, e) < 0))
            return -1;
    }
    *text = aligned_view(out);
    return 0;
}

static int run_bert(const struct normalizer *n, struct slice *text, struct aligned_pair *buffers,
                    struct err *e)
{
    static const struct normalizer nfd = {.kind = NORMALIZE_FORM};
    if ((n->clean && run_map(bert_clean, text, buffers, e) < 0) ||
        (n->chinese && run_chinese(text, buffers, e) < 0) ||
        (n->accents && (run_form(&nfd, text, buffers, e) < 0 ||
                        run_map(without_nonspacing_marks, text, buffers, e) < 0)))
        return -1;
    return n->lower ? run_lowercase(text, buffers, e) : 0;
}

// Each byte as its character of the byte alphabet.
static int run_byte_level(struct slice *text, struct aligned_pair *buffers, struct err *e)
{
    struct aligned *out = aligned_pair_next(buffers);
    for (size_t i = 0; i < text->size; i++)
        if (aligned_put_char(out, byte_alphabet_char((unsigned char)text->data[i]),
                             slice_from(text, i), slice_to(text, i), e) < 0)
            return -1;
    *text = aligned_view(out);
    return 0;
}

static void run_strip(const struct normalizer *n, struct slice *text)
{
    size_t begin = 0, end = text->size;
    while (n->left && begin < end) {
        size_t next = begin;
        if (!unicode_is_space(utf8_next(text->data, &next)))
            break;
        begin = next;
    }
    while (n->right && end > begin) {
        size_t last = end - 1, next;
        while (utf8_continues(text->data[last]))
            last--;
        next = last;
        if (!unicode_is_space(utf8_next(text->data, &next)))
            break;
        end = last;
    }
    *text = slice_part(text, begin, end);
}

static int run_replace(const struct normalizer *n, struct slice *text, struct aligned_pair *buffers,
                       struct pattern_scratch *scratch, struct err *e)
{
    size_t at = 0, from = 0, start, end;
    int found = pattern_find(n->pattern, scratch, text->data, text->size, 0, &start, &end, e);
    if (found <= 0 || text->size == 0)
        return found < 0 ? -1 : 0;
    struct aligned *out = aligned_pair_next(buffers);
    for (int any = 0; found > 0; any = 1) {
        if (any && start == end && end == from) { // nothing, right behind a match, is no match
            if (at >= text->size)
                break;
            at = next_char(text, at);
        } else {
            // What is put in has the place of the last character that it replaces.
            size_t place = end > 0 ? end - 1 : 0;
            uint32_t first = slice_from(text, place);
            if (aligned_copy(out, text, from, start, e) < 0 ||
                aligned_put(out, n->text, n->size, first, end > 0 ? slice_to(text, place) : first,
                            e) < 0)
                return -1;
            from = at = end;
        }
        found = pattern_find(n->pattern, scratch, text->data, text->size, at, &start, &end, e);
    }
    if (found < 0 || aligned_copy(out, text, from, text->size, e) < 0)
        return -1;
    *text = aligned_view(out);
    return 0;
}

static int run_prepend(const struct normalizer *n, struct slice *text, struct aligned_pair *buffers,
                       struct err *e)
{
    if (text->size == 0)
        return 0;
    struct aligned *out = aligned_pair_next(buffers);
    if (aligned_put(out, n->text, n->size, slice_from(text, 0), slice_to(text, 0), e) < 0 ||
        aligned_copy(out, text, 0, text->size, e) < 0)
        return -1;
    *text = aligned_view(out);
    return 0;
}

int normalizer_run(const struct normalizer *n, struct slice *text, struct aligned_pair *buffers,
                   struct pattern_scratch *scratch, struct err *e)
{
    if (!n)
        return 0;
    switch (n->kind) {
    case NORMALIZE_SEQUENCE:
        for (size_t i = 0; i < n->n_items; i++)
            if (normalizer_run(n->item[i], text, buffers, scratch, e) < 0)
                return -1;
        return 0;
    case NORMALIZE_FORM:
        return run_form(n, text, buffers, e);
    case NORMALIZE_LOWERCASE:
        return run_lowercase(text, buffers, e);
    case NORMALIZE_STRIP:
        return run_strip(n, text), 0;
    case NORMALIZE_STRIP_ACCENTS:
        return run_map(without_marks, text, buffers, e);
    case NORMALIZE_REPLACE:
        return run_replace(n, text, buffers, scratch, e);
    case NORMALIZE_PREPEND:
        return run_prepend(n, text, buffers, e);
    case NORMALIZE_BYTE_LEVEL:
        return run_byte_level(text, buffers, e);
    case NORMALIZE_PRECOMPILED:
        return charsmap_run(&n->map, text, buffers, e);
    case NORMALIZE_NMT:
        return run_map(nmt, text, buffers, e);
    case NORMALIZE_BERT:
        return run_bert(n, text, buffers, e);
    }
    return 0;
}
