// SPDX-License-Identifier: MIT
#include "base/nearest.h"

#include <string.h>

enum { NAME_MAX_LENGTH = 63 };

// Options of other programs are often written with `_`.
static char letter(char c)
{
    return c == '_' ? '-' : c;
}

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

// Optimal string alignment: the fewest letters put in, left out, replaced or exchanged with their
// neighbour. Names longer than NAME_MAX_LENGTH are as far apart as they can be.
static size_t distance(const char *a, const char *b)
{
    size_t n = strlen(a), m = strlen(b);
    size_t row[3][NAME_MAX_LENGTH + 1];
    size_t *before = row[0], *last = row[1], *here = row[2];
    if (n > NAME_MAX_LENGTH || m > NAME_MAX_LENGTH)
        return n + m;
    for (size_t j = 0; j <= m; j++)
        last[j] = j;
    for (size_t i = 1; i <= n; i++) {
        here[0] = i;
        for (size_t j = 1; j <= m; j++) {
            int same = letter(a[i - 1]) == letter(b[j - 1]);
            here[j] = least(last[j - 1] + !same, least(last[j], here[j - 1]) + 1);
            if (i > 1 && j > 1 && letter(a[i - 1]) == letter(b[j - 2]) &&
                letter(a[i - 2]) == letter(b[j - 1]))
                here[j] = least(here[j], before[j - 2] + 1);
        }
        size_t *oldest = before;
        before = last;
        last = here;
        here = oldest;
    }
    return last[m];
}

void nearest_init(struct nearest *n, const char *word)
{
    *n = (struct nearest){word, NULL, 0};
}

void nearest_try(struct nearest *n, const char *name)
{
    size_t d = distance(n->word, name);
    if (!n->name || d < n->distance) {
        n->name = name;
        n->distance = d;
    }
}

const char *nearest_name(const struct nearest *n)
{
    return n->name && 3 * n->distance <= strlen(n->name) ? n->name : NULL;
}
