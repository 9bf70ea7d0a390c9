// SPDX-License-Identifier: MIT
#include "text/normalizer.h"

#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "text/unicode.h"
#include "text/unicode_nfc.h"

enum { DEPTH_MAX = 16, LIST_MAX = 256 };

enum kind {
    NORMALIZE_SEQUENCE,
    NORMALIZE_FORM, // NFC, NFD, NFKC, NFKD
    NORMALIZE_LOWERCASE,
    NORMALIZE_STRIP,
    NORMALIZE_STRIP_ACCENTS,
    NORMALIZE_REPLACE,
    NORMALIZE_PREPEND,
};

struct normalizer {
    enum kind kind;
    int compatibility, composes;
    int left, right;
    struct pattern *pattern;
    char *text;
    size_t size;
    struct normalizer **item;
    size_t n_items;
    uint64_t *closer_look; // NFC: a bit for each character that is not in NFC at sight
};

void normalizer_free(struct normalizer *n)
{
    if (!n)
        return;
    for (size_t i = 0; i < n->n_items; i++)
        normalizer_free(n->item[i]);
    free(n->item);
    pattern_free(n->pattern);
    free(n->text);
    free(n->closer_look);
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

// A character of the new text and how it changes the old one: 0 stands for one old character, -k
// for one and k more that vanish, 1 is put in beside the character before it.
struct change {
    uint32_t c;
    int change;
    int combining;
};

struct change_list {
    struct change *c;
    size_t n, capacity;
};

static int change_add(struct change_list *l, uint32_t c, int change, struct err *e)
{
    if (mem_grow((void **)&l->c, &l->capacity, l->n + 1, sizeof *l->c, "normalisation", e) < 0)
        return -1;
    l->c[l->n++] = (struct change){c, change, unicode_combining_class(c)};
    return 0;
}

static size_t next_char(const struct slice *s, size_t i)
{
    utf8_next(s->data, &i);
    return i;
}

// Writes the changed characters in place of the bytes from `at` on.
static int apply(const struct slice *in, size_t at, const struct change_list *l,
                 struct aligned *out, struct err *e)
{
    for (size_t i = 0; i < l->n; i++) {
        size_t place = at;
        if (l->c[i].change > 0)
            place = at > 0 ? at - 1 : 0;
        if (place >= in->size)
            place = in->size - 1;
        if (aligned_put_char(out, l->c[i].c, slice_from(in, place), slice_to(in, place), e) < 0)
            return -1;
        for (int k = l->c[i].change; k <= 0 && at < in->size; k++)
            at = next_char(in, at);
    }
    return 0;
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
            if (change_add(l, parts[k], k > 0, e) < 0)
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
    for (size_t begin = 0; result == 0 && begin < text->size;) {
        if (n->closer_look && copy_composed(n, text, &begin, out, e) < 0)
            result = -1;
        if (result < 0 || begin == text->size)
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
            result = apply(text, begin, &l, out, e);
        begin = end;
    }
    free(l.c);
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

static int run_strip_accents(struct slice *text, struct aligned_pair *buffers, struct err *e)
{
    struct aligned *out = aligned_pair_next(buffers);
    for (size_t i = 0; i < text->size;) {
        size_t at = i;
        uint32_t c = utf8_next(text->data, &i);
        if (!unicode_is_mark(c) && aligned_copy(out, text, at, i, e) < 0)
            return -1;
    }
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
    if (found <= 0)
        return found;
    struct aligned *out = aligned_pair_next(buffers);
    while (found > 0) {
        // What is put in has the place of the last character that it replaces.
        size_t place = end > 0 ? end - 1 : 0;
        if (aligned_copy(out, text, from, start, e) < 0 ||
            (text->size && aligned_put(out, n->text, n->size, slice_from(text, place),
                                       slice_to(text, place), e) < 0))
            return -1;
        from = at = end;
        if (start == end) { // an empty match: go on behind the next character
            if (at >= text->size)
                break;
            at = next_char(text, at);
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
        return run_strip_accents(text, buffers, e);
    case NORMALIZE_REPLACE:
        return run_replace(n, text, buffers, scratch, e);
    case NORMALIZE_PREPEND:
        return run_prepend(n, text, buffers, e);
    }
    return 0;
}
