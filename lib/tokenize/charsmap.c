// SPDX-License-Identifier: MIT
#include "tokenize/charsmap.h"

#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "tokenize/changes.h"
#include "tokenize/unicode.h"

static uint32_t little_endian(const unsigned char *p)
{
    return p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

int charsmap_init(struct charsmap *m, const void *data, size_t size, const char *name,
                  struct err *e)
{
    memset(m, 0, sizeof *m);
    if (size == 0)
        return 0;
    const unsigned char *p = data;
    uint32_t bytes = size < 4 ? UINT32_MAX : little_endian(p);
    if (size < 4 || bytes > size - 4 || bytes % 4 || bytes == 0)
        return err_set(e, STATUS_FAILED, "%s: key `precompiled_charsmap`: cut short", name);
    m->n_units = bytes / 4;
    m->text_size = size - 4 - bytes;
    m->unit = mem_alloc(m->n_units, sizeof *m->unit, "a table of characters", e);
    m->text = mem_alloc(m->text_size + 1, 1, "a table of characters", e);
    if (!m->unit || !m->text) {
        charsmap_release(m);
        return -1;
    }
    for (size_t i = 0; i < m->n_units; i++)
        m->unit[i] = little_endian(p + 4 + 4 * i);
    memcpy(m->text, p + 4 + bytes, m->text_size);
    if (utf8_valid_prefix(m->text, m->text_size) != m->text_size) {
        charsmap_release(m);
        return err_set(e, STATUS_FAILED, "%s: key `precompiled_charsmap`: not UTF-8", name);
    }
    return 0;
}

void charsmap_release(struct charsmap *m)
{
    free(m->unit);
    free(m->text);
    memset(m, 0, sizeof *m);
}

// The fields of a unit.
static int has_leaf(uint32_t unit)
{
    return unit >> 8 & 1;
}

static uint32_t label(uint32_t unit)
{
    return unit & (UINT32_C(1) << 31 | 0xFF);
}

static uint32_t offset(uint32_t unit)
{
    return unit >> 10 << ((unit & UINT32_C(1) << 9) >> 6);
}

// A place in the middle of a character would make text that is no UTF-8.
static int is_place(const struct charsmap *m, size_t at)
{
    return at < m->text_size && !utf8_continues(m->text[at]);
}

size_t charsmap_find(const struct charsmap *m, const char *text, size_t size, int longest,
                     const char **out, size_t *out_size)
{
    size_t found = 0;
    if (m->n_units == 0)
        return 0;
    size_t node = offset(m->unit[0]);
    for (size_t i = 0; i < size && text[i]; i++) {
        node ^= (unsigned char)text[i];
        if (node >= m->n_units || label(m->unit[node]) != (unsigned char)text[i])
            break;
        uint32_t unit = m->unit[node];
        node ^= offset(unit);
        if (!has_leaf(unit) || node >= m->n_units || (i + 1 < size && utf8_continues(text[i + 1])))
            continue;
        size_t at = m->unit[node] & 0x7FFFFFFF;
        if (!is_place(m, at))
            continue;
        found = i + 1;
        *out = m->text + at;
        *out_size = strlen(*out);
        if (!longest)
            break;
    }
    return found;
}

enum { GRAPHEME_MAX = 6 };

static size_t grapheme_end(const struct slice *text, size_t at)
{
    int32_t state = 0;
    uint32_t c = utf8_next(text->data, &at);
    while (at < text->size) {
        size_t next = at;
        uint32_t d = utf8_next(text->data, &next);
        if (unicode_grapheme_break(c, d, &state))
            break;
        c = d;
        at = next;
    }
    return at;
}

// Replaces text[at, end) where the table knows how; 1: it does.
static int replace(const struct charsmap *m, const struct slice *text, size_t at, size_t end,
                   struct change_list *l, struct err *e)
{
    const char *by = NULL;
    size_t size = 0, i = 0;
    if (!charsmap_find(m, text->data + at, end - at, 0, &by, &size))
        return 0;
    size_t old = utf8_length(text->data + at, end - at), new = utf8_length(by, size);
    // What is more than there was is put in; what is less vanishes behind the last character, which
    // may be one that was there before.
    for (size_t k = 0; k < new; k++)
        if (change_add(l, utf8_next(by, &i), k >= old, 0, e) < 0)
            return -1;
    if (new < old && l->n)
        l->c[l->n - 1].change -= (int)(old - new);
    return 1;
}

static int rewrite(const struct charsmap *m, const struct slice *text, struct change_list *l,
                   struct err *e)
{
    for (size_t at = 0, end; at < text->size; at = end) {
        end = grapheme_end(text, at);
        int done = end - at < GRAPHEME_MAX ? replace(m, text, at, end, l, e) : 0;
        if (done < 0)
            return -1;
        for (size_t i = at, next; !done && i < end; i = next) {
            next = i;
            uint32_t c = utf8_next(text->data, &next);
            int known = replace(m, text, i, next, l, e);
            if (known < 0 || (!known && change_add(l, c, 0, 0, e) < 0))
                return -1;
        }
    }
    return 0;
}

int charsmap_run(const struct charsmap *m, struct slice *text, struct aligned_pair *buffers,
                 struct err *e)
{
    struct change_list l = {0};
    if (m->n_units == 0 || text->size == 0)
        return 0;
    int result = rewrite(m, text, &l, e);
    if (result == 0) {
        struct aligned *out = aligned_pair_next(buffers);
        result = change_apply(&l, text, 0, out, e);
        *text = aligned_view(out);
    }
    change_list_release(&l);
    return result;
}
