// SPDX-License-Identifier: MIT
#include "train/pairs.h"
#include "base/hash.h"
#include "base/io.h"

#include <string.h>

enum { PAIR, ROLE, TEXTS };
static const char *const texts[TEXTS] = {"pair", "role"};

static int join(struct pairs *p, const char *where, struct err *e)
{
    struct dataset *d = &p->data;
    int pair = (int)d->first_text + PAIR, role = (int)d->first_text + ROLE;
    for (size_t i = 0; i < d->n; i++)
        if (pairing_add(&p->pairing, &d->all, pair, role, i, where, e) < 0)
            return -1;
    return pairing_check(&p->pairing, &d->all, pair, where, e);
}

int pairs_refuse_untrained(const struct frame *f, size_t i, const char *where, struct err *e)
{
    return err_set(e, STATUS_FAILED, "%s: %s has no trained token", where, frame_record(f, i).text);
}

static int check_trained(const struct dataset *d, const char *where, struct err *e)
{
    for (size_t i = 0; i < d->n; i++)
        if (!sequence_wanted(&d->example[i].sequence))
            return pairs_refuse_untrained(&d->all, i, where, e);
    return 0;
}

int pairs_read(struct pairs *p, const char *path, struct dataset_wish wish, struct err *e)
{
    memset(p, 0, sizeof *p);
    pairing_init(&p->pairing);
    wish.text = texts;
    wish.n_text = TEXTS;
    if (dataset_read(&p->data, path, &wish, e) < 0 || join(p, io_name(path), e) < 0 ||
        check_trained(&p->data, io_name(path), e) < 0)
        return -1;
    p->n = p->pairing.complete;
    p->pair = p->pairing.pair;
    p->fingerprint = p->data.fingerprint ^ hash_bytes(p->pair, p->n * sizeof *p->pair);
    return 0;
}

void pairs_release(struct pairs *p)
{
    if (p->data.header.column)
        dataset_release(&p->data);
    pairing_release(&p->pairing);
    memset(p, 0, sizeof *p);
}
