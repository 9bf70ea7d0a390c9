// SPDX-License-Identifier: MIT
#include "tokenize/aligned.h"

#include "base/memory.h"
#include "tokenize/unicode.h"

#include <stdlib.h>
#include <string.h>

uint32_t slice_from(const struct slice *s, size_t i)
{
    if (s->from)
        return s->from[i];
    while (i > 0 && utf8_continues(s->data[i]))
        i--;
    return (uint32_t)(s->base + i);
}

uint32_t slice_to(const struct slice *s, size_t i)
{
    if (s->to)
        return s->to[i];
    i++;
    while (i < s->size && utf8_continues(s->data[i]))
        i++;
    return (uint32_t)(s->base + i);
}

struct slice slice_part(const struct slice *s, size_t start, size_t end)
{
    struct slice part = {s->data + start, end - start, s->from ? s->from + start : NULL,
                         s->to ? s->to + start : NULL, s->base + start};
    return part;
}

void aligned_init(struct aligned *a)
{
    memset(a, 0, sizeof *a);
}

void aligned_release(struct aligned *a)
{
    free(a->data);
    free(a->from);
    free(a->to);
    aligned_init(a);
}

void aligned_clear(struct aligned *a)
{
    a->size = 0;
}

static int reserve(struct aligned *a, size_t more, struct err *e)
{
    size_t need = a->size + more;
    if (need <= a->capacity)
        return 0;
    if (need > UINT32_MAX)
        return err_set(e, STATUS_FAILED, "the text grows beyond 4 GiB when it is normalised");
    size_t c = a->capacity, c1 = a->capacity, c2 = a->capacity;
    if (MEM_GROW(a->data, c, need, "text", e) < 0 || MEM_GROW(a->from, c1, c, "text", e) < 0 ||
        MEM_GROW(a->to, c2, c, "text", e) < 0)
        return -1;
    a->capacity = c;
    return 0;
}

int aligned_put(struct aligned *a, const char *data, size_t size, uint32_t from, uint32_t to,
                struct err *e)
{
    if (reserve(a, size, e) < 0)
        return -1;
    for (size_t i = 0; i < size; i++) {
        a->data[a->size] = data[i];
        a->from[a->size] = from;
        a->to[a->size] = to;
        a->size++;
    }
    return 0;
}

int aligned_put_char(struct aligned *a, uint32_t c, uint32_t from, uint32_t to, struct err *e)
{
    char bytes[4];
    return aligned_put(a, bytes, utf8_put(c, bytes), from, to, e);
}

int aligned_copy(struct aligned *a, const struct slice *s, size_t start, size_t end, struct err *e)
{
    size_t n = end - start;
    if (reserve(a, n, e) < 0)
        return -1;
    if (n)
        memcpy(a->data + a->size, s->data + start, n);
    if (s->from) {
        if (n) {
            memcpy(a->from + a->size, s->from + start, n * sizeof *a->from);
            memcpy(a->to + a->size, s->to + start, n * sizeof *a->to);
        }
    } else {
        for (size_t i = start; i < end;) {
            size_t next = i;
            utf8_next(s->data, &next);
            for (size_t k = i; k < next; k++) {
                a->from[a->size + k - start] = (uint32_t)(s->base + i);
                a->to[a->size + k - start] = (uint32_t)(s->base + next);
            }
            i = next;
        }
    }
    a->size += n;
    return 0;
}

struct slice aligned_view(const struct aligned *a)
{
    // An empty buffer may have no memory yet; a view always has somewhere to point.
    static const uint32_t none;
    struct slice s = {a->data ? a->data : "", a->size, a->from ? a->from : &none,
                      a->to ? a->to : &none, 0};
    return s;
}

void aligned_pair_init(struct aligned_pair *p)
{
    aligned_init(&p->a[0]);
    aligned_init(&p->a[1]);
    p->turn = 0;
}

void aligned_pair_release(struct aligned_pair *p)
{
    aligned_release(&p->a[0]);
    aligned_release(&p->a[1]);
}

struct aligned *aligned_pair_next(struct aligned_pair *p)
{
    p->turn ^= 1;
    aligned_clear(&p->a[p->turn]);
    return &p->a[p->turn];
}
