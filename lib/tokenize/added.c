// SPDX-License-Identifier: MIT
#include "tokenize/added.h"

#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "tokenize/unicode.h"

void added_list_init(struct added_list *l)
{
    memset(l, 0, sizeof *l);
}

void added_list_release(struct added_list *l)
{
    for (size_t i = 0; i < l->n; i++)
        free(l->token[i].content);
    free(l->token);
    added_list_init(l);
}

int added_list_add(struct added_list *l, const char *content, size_t size,
                   const struct added_token *like, struct err *e)
{
    if (MEM_GROW(l->token, l->capacity, l->n + 1, "added tokens", e) < 0)
        return -1;
    struct added_token t = *like;
    t.content = mem_alloc(size + 1, 1, "an added token", e);
    if (!t.content)
        return -1;
    memcpy(t.content, content, size);
    t.size = size;
    l->token[l->n++] = t;
    return 0;
}

struct added_token *added_list_find(const struct added_list *l, const char *content, size_t size)
{
    for (size_t i = 0; i < l->n; i++)
        if (l->token[i].size == size && !memcmp(l->token[i].content, content, size))
            return &l->token[i];
    return NULL;
}

void added_matcher_init(struct added_matcher *m)
{
    memset(m, 0, sizeof *m);
    memset(m->root, -1, sizeof m->root);
    m->only = -1;
}

void added_matcher_release(struct added_matcher *m)
{
    free(m->node);
    added_matcher_init(m);
}

static int32_t find_child(const struct added_matcher *m, int32_t node, unsigned char byte)
{
    int32_t i = node < 0 ? m->root[byte] : m->node[node].child;
    while (i >= 0 && m->node[i].byte != byte)
        i = m->node[i].sibling;
    return i;
}

int added_matcher_add(struct added_matcher *m, const char *text, size_t size, size_t token,
                      struct err *e)
{
    int32_t node = -1;
    for (size_t i = 0; i < size; i++) {
        unsigned char byte = (unsigned char)text[i];
        int32_t child = find_child(m, node, byte);
        if (child < 0) {
            if (m->n >= INT32_MAX)
                return err_set(e, STATUS_FAILED, "too many added tokens");
            if (MEM_GROW(m->node, m->capacity, m->n + 1, "added tokens", e) < 0)
                return -1;
            child = (int32_t)m->n++;
            m->node[child] = (struct added_node){byte, -1, -1, -1};
            if (node < 0) {
                m->only = m->n == 1 ? byte : -1;
                m->root[byte] = child;
            } else {
                m->node[child].sibling = m->node[node].child;
                m->node[node].child = child;
            }
        }
        node = child;
    }
    if (node >= 0)
        m->node[node].token = (int32_t)token;
    return 0;
}

static int touches_word(const char *text, size_t size, size_t start, size_t end)
{
    size_t i = start;
    if (start > 0) {
        do
            i--;
        while (i > 0 && utf8_continues(text[i]));
        if (unicode_is_word(utf8_next(text, &i)))
            return 1;
    }
    return end < size && unicode_is_word(utf8_next(text, &end));
}

static size_t blanks_before(const char *text, size_t start, size_t limit)
{
    while (start > limit) {
        size_t i = start - 1;
        while (i > limit && utf8_continues(text[i]))
            i--;
        size_t next = i;
        if (!unicode_is_space(utf8_next(text, &next)))
            break;
        start = i;
    }
    return start;
}

static size_t blanks_after(const char *text, size_t size, size_t end)
{
    while (end < size) {
        size_t next = end;
        if (!unicode_is_space(utf8_next(text, &next)))
            break;
        end = next;
    }
    return end;
}

// The longest token that starts at `at`; its end, or 0.
static size_t longest(const struct added_matcher *m, const char *text, size_t size, size_t at,
                      size_t *token)
{
    size_t end = 0;
    int32_t node = -1;
    for (size_t i = at; i < size; i++) {
        node = find_child(m, node, (unsigned char)text[i]);
        if (node < 0)
            break;
        if (m->node[node].token >= 0) {
            *token = (size_t)m->node[node].token;
            end = i + 1;
        }
    }
    return end;
}

int added_matcher_next(const struct added_matcher *m, const struct added_list *l, const char *text,
                       size_t size, size_t *at, size_t done, size_t *token, size_t *start,
                       size_t *end)
{
    if (m->n == 0)
        return 0;
    while (*at < size) {
        if (m->only >= 0) {
            const char *hit = memchr(text + *at, m->only, size - *at);
            if (!hit)
                return 0;
            *at = (size_t)(hit - text);
        } else if (m->root[(unsigned char)text[*at]] < 0) {
            ++*at;
            continue;
        }
        size_t begin = *at, stop = longest(m, text, size, begin, token);
        if (!stop) {
            ++*at;
            continue;
        }
        *at = stop; // the next search starts here, whether this one counts or not
        const struct added_token *t = &l->token[*token];
        if (t->single_word && touches_word(text, size, begin, stop))
            continue;
        *start = !t->lstrip ? begin : begin > done ? blanks_before(text, begin, done) : done;
        *end = t->rstrip ? blanks_after(text, size, stop) : stop;
        if (*start < *end) // else the token before took the blanks that this one is made of
            return 1;
    }
    return 0;
}
