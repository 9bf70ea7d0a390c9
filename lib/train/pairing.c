// SPDX-License-Identifier: MIT
#include "train/pairing.h"

#include <stdlib.h>
#include <string.h>

void pairing_init(struct pairing *p)
{
    memset(p, 0, sizeof *p);
    intern_init(&p->names);
}

void pairing_release(struct pairing *p)
{
    intern_release(&p->names);
    free(p->pair);
    pairing_init(p);
}

void pairing_clear(struct pairing *p)
{
    intern_clear(&p->names);
    p->complete = 0;
}

int pair_is_complete(const struct pair *p)
{
    return p->member[PAIR_PREFERRED] != SIZE_MAX && p->member[PAIR_OTHER] != SIZE_MAX;
}

// PAIR_PREFERRED, PAIR_OTHER, or -1: neither.
static int side_of(const struct frame *f, int role, size_t i)
{
    static const char *const names[] = {"demo", "sample", "chosen", "rejected"};
    size_t size;
    const char *text = frame_string(f, role, i, &size);
    for (int k = 0; k < 4; k++)
        if (size == strlen(names[k]) && !memcmp(text, names[k], size))
            return k % 2;
    return -1;
}

static int refuse(const struct frame *f, int pair, int role, size_t i, const struct pair *m,
                  const char *where, struct err *e)
{
    struct shown record = frame_record(f, i), name = frame_shown(f, pair, i);
    if (pair_is_complete(m))
        return err_set(e, STATUS_STREAM, "%s: %s: pair `%s` has two records already", where,
                       record.text, name.text);
    size_t other = m->member[m->member[0] == SIZE_MAX];
    return err_set(e, STATUS_STREAM,
                   "%s: %s: pair `%s` needs a demo (chosen) and a sample (rejected), and %s is a "
                   "%s, this one a %s",
                   where, record.text, name.text, frame_record(f, other).text,
                   frame_shown(f, role, other).text, frame_shown(f, role, i).text);
}

int pairing_add(struct pairing *p, const struct frame *f, int pair, int role, size_t i,
                const char *where, struct err *e)
{
    size_t size;
    const char *name = frame_string(f, pair, i, &size);
    int side = side_of(f, role, i);
    if (side < 0)
        return err_set(e, STATUS_STREAM,
                       "%s: %s: role `%s` is none of demo, sample, chosen, rejected", where,
                       frame_record(f, i).text, frame_shown(f, role, i).text);
    size_t before = p->names.n;
    int64_t number = intern_number(&p->names, name, size, e);
    if (number < 0 || MEM_GROW(p->pair, p->capacity, p->names.n, "pairs", e) < 0)
        return -1;
    struct pair *m = &p->pair[number];
    if (p->names.n > before)
        m->member[0] = m->member[1] = SIZE_MAX;
    if (m->member[side] != SIZE_MAX)
        return refuse(f, pair, role, i, m, where, e);
    m->member[side] = i;
    int complete = pair_is_complete(m);
    p->complete += complete;
    return complete;
}

int pairing_check(const struct pairing *p, const struct frame *f, int pair, const char *where,
                  struct err *e)
{
    for (size_t k = 0; k < p->names.n; k++) {
        const struct pair *m = &p->pair[k];
        if (pair_is_complete(m))
            continue;
        int missing = m->member[0] != SIZE_MAX;
        size_t i = m->member[!missing];
        return err_set(e, STATUS_STREAM, "%s: %s: pair `%s` has no %s", where,
                       frame_record(f, i).text, frame_shown(f, pair, i).text,
                       missing ? "sample (rejected)" : "demo (chosen)");
    }
    return 0;
}
