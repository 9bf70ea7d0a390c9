// SPDX-License-Identifier: MIT
#include "train/keep.h"
#include "base/number.h"

#include <assert.h>
#include <math.h>
#include <string.h>

int keep_parse(struct keep *k, const char *text, struct err *e)
{
    memset(k, 0, sizeof *k);
    while (text && *text) {
        size_t n = strcspn(text, ",");
        if (k->n == KEEP_MAX)
            return err_set(e, STATUS_USAGE, "--keep: more than %d fractions", KEEP_MAX);
        char *name = k->at[k->n].name;
        if (n == 0 || n >= KEEP_NAME_MAX)
            return err_set(e, STATUS_USAGE, "--keep: '%s' is not a list of fractions", text);
        memcpy(name, text, n);
        name[n] = 0;
        // The name becomes a directory's.
        if (strchr(name, '/') || number_to_fraction(name, &k->at[k->n].fraction) < 0)
            return err_set(e, STATUS_USAGE, "--keep: '%s' is neither `half` nor a number in (0, 1]",
                           name);
        for (int i = 0; i < k->n; i++)
            if (!strcmp(k->at[i].name, name))
                return err_set(e, STATUS_USAGE, "--keep: '%s' is given twice", name);
        k->n++;
        text += n;
        text += *text == ',';
    }
    return 0;
}

double keep_sample(const struct keep *k, int i, uint64_t total)
{
    assert(i >= 0 && i < k->n);
    return ceil(k->at[i].fraction * (double)total - 1e-6);
}

int keep_due(const struct keep *k, int i, uint64_t before, uint64_t after, uint64_t total)
{
    double due = keep_sample(k, i, total);
    return (double)before < due && due <= (double)after;
}
