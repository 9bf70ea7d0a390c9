// SPDX-License-Identifier: MIT
#include "base/named_number.h"
#include "base/number.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

// The word for the number is the part of the form on its side of the colon.
static int refuse(const char *text, const struct named_form *f, int number_first, struct err *e)
{
    size_t before = strcspn(f->form, ":");
    const char *word = number_first ? f->form : f->form + before + 1;
    int size = number_first ? (int)before : (int)strlen(word);
    char bounds[100] = "";
    if (isfinite(f->low) && isfinite(f->high))
        snprintf(bounds, sizeof bounds, " with %.*s in %.10g .. %.10g", size, word, f->low,
                 f->high);
    else if (isfinite(f->low))
        snprintf(bounds, sizeof bounds, " with %.*s of %.10g or more", size, word, f->low);
    return err_set(e, STATUS_USAGE, "%s%s%s'%s' is not %s%s", f->option ? "--" : "",
                   f->option ? f->option : "", f->option ? ": " : "", text, f->form, bounds);
}

static int in_bounds(const char *number, const struct named_form *f, double *value)
{
    return number_to_f64(number, value) == 0 && *value >= f->low && *value <= f->high;
}

int named_number(struct named_number *n, const char *text, const struct named_form *f,
                 struct err *e)
{
    const char *colon = strrchr(text, ':');
    if (!colon || colon == text || !in_bounds(colon + 1, f, &n->number))
        return refuse(text, f, 0, e);
    n->name = text;
    n->size = (size_t)(colon - text);
    return 0;
}

int number_named(struct named_number *n, const char *text, const struct named_form *f,
                 struct err *e)
{
    char number[64];
    size_t size = strcspn(text, ":");
    if (!text[size] || !text[size + 1] || size >= sizeof number)
        return refuse(text, f, 1, e);
    memcpy(number, text, size);
    number[size] = 0;
    if (!in_bounds(number, f, &n->number))
        return refuse(text, f, 1, e);
    n->name = text + size + 1;
    n->size = strlen(n->name);
    return 0;
}
