// SPDX-License-Identifier: MIT
#include "base/listing.h"

#include <errno.h>
#include <string.h>

int listing_next(DIR *directory, const char **name)
{
    const struct dirent *entry;
    do {
        errno = 0;
        entry = readdir(directory);
    } while (entry && (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, "..")));
    if (entry)
        *name = entry->d_name;
    return entry ? 1 : errno ? -1 : 0;
}

int listing_has(const char *const *names, const char *name)
{
    for (; names && *names; names++)
        if (!strcmp(*names, name))
            return 1;
    return 0;
}

int listing_ends(const char *name, const char *suffix)
{
    size_t n = strlen(name), k = strlen(suffix);
    return n >= k && !strcmp(name + n - k, suffix);
}
