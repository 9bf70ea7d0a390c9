// SPDX-License-Identifier: MIT
#include "tokenize/changes.h"

#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/utf8.h"

int change_add(struct change_list *l, uint32_t c, int change, int combining, struct err *e)
{
    if (MEM_GROW(l->c, l->capacity, l->n + 1, "normalisation", e) < 0)
        return -1;
    l->c[l->n++] = (struct change){c, change, combining};
    return 0;
}

void change_list_release(struct change_list *l)
{
    free(l->c);
    memset(l, 0, sizeof *l);
}

int change_apply(const struct change_list *l, const struct slice *in, size_t at,
                 struct aligned *out, struct err *e)
{
    for (size_t i = 0; i < l->n; i++) {
        int change = l->c[i].change;
        size_t place = change > 0 ? at - 1 : at;
        if (place >= in->size)
            place = in->size - 1;
        uint32_t from = slice_from(in, place), to = slice_to(in, place);
        if (change > 0 && at == 0) // nothing stands before it
            from = to = slice_from(in, 0);
        if (aligned_put_char(out, l->c[i].c, from, to, e) < 0)
            return -1;
        for (int k = change; k <= 0 && at < in->size; k++)
            utf8_next(in->data, &at);
    }
    return 0;
}
