// SPDX-License-Identifier: MIT
#include "base/memory_group.h"
#include "base/number.h"

#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PATH_SIZE = 3 * PATH_MAX };

// Names of files, and of lines of memory.stat, which count the groups below too.
static const struct version {
    const char *limit[2], *used, *cache[2];
} versions[] = {
    {{"memory.limit_in_bytes", NULL},
     "memory.usage_in_bytes",
     {"total_inactive_file ", "total_active_file "}},
    {{"memory.max", "memory.high"}, "memory.current", {"inactive_file ", "active_file "}},
};
enum { V1, V2 };

static FILE *open_in(const char *folder, const char *name)
{
    char path[PATH_SIZE + NAME_MAX];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return fopen(path, "re");
}

// Of a file of one number; SIZE_MAX: "max", no file, or something else.
static size_t read_number(const char *folder, const char *name)
{
    char text[NUMBER_MAX] = "";
    uint64_t value = SIZE_MAX;
    FILE *f = name ? open_in(folder, name) : NULL;
    if (f && fgets(text, sizeof text, f)) {
        text[strcspn(text, "\n")] = 0;
        if (number_to_u64(text, &value) < 0)
            value = SIZE_MAX;
    }
    if (f)
        fclose(f);
    return value;
}

static size_t cache_of(const char *folder, const struct version *v)
{
    char line[256];
    size_t sum = 0;
    FILE *f = open_in(folder, "memory.stat");
    while (f && fgets(line, sizeof line, f))
        for (int i = 0; i < 2; i++) {
            uint64_t value;
            size_t name = strlen(v->cache[i]);
            line[strcspn(line, "\n")] = 0;
            if (!strncmp(line, v->cache[i], name) && number_to_u64(line + name, &value) == 0)
                sum += value;
        }
    if (f)
        fclose(f);
    return sum;
}

static size_t room_in(const char *folder, const struct version *v)
{
    size_t limit = read_number(folder, v->limit[0]), high = read_number(folder, v->limit[1]);
    limit = high < limit ? high : limit;
    if (limit == SIZE_MAX)
        return SIZE_MAX;
    size_t used = read_number(folder, v->used), cache = cache_of(folder, v);
    used = used == SIZE_MAX || used < cache ? 0 : used - cache;
    return limit > used ? limit - used : 0;
}

// Until kernel 5.11 a group of version 1 could leave those below to themselves.
static int counts_below(const char *folder, int version)
{
    return version == V2 || read_number(folder, "memory.use_hierarchy") != 0;
}

// Of the group `path` below the mount point `top`, and of those between.
static size_t room_up(const char *top, const char *path, int version)
{
    char folder[PATH_SIZE];
    size_t least = SIZE_MAX, end = strlen(top);
    if (snprintf(folder, sizeof folder, "%s%s", top, path) >= (int)sizeof folder)
        return SIZE_MAX;
    for (;;) {
        size_t room = room_in(folder, &versions[version]);
        least = room < least ? room : least;
        char *last = strrchr(folder + end, '/');
        if (!last)
            return least;
        *last = 0;
        if (!counts_below(folder, version))
            return least;
    }
}

static int goes_up(const char *path)
{
    return !strncmp(path, "/..", 3) && (path[3] == '/' || !path[3]);
}

// What follows `root` in a group's path; NULL: the group is not below it.
static const char *path_below(const char *root, const char *path)
{
    size_t n = strcmp(root, "/") ? strlen(root) : 0;
    const char *below = strncmp(path, root, n) ? NULL : path + n;
    if (below && (*below == '/' || !*below) && !goes_up(below))
        return strcmp(below, "/") ? below : "";
    // A root that only leads up is above the process's name space: the way down is not known.
    const char *rest = root;
    while (goes_up(rest))
        rest += 3;
    return rest > root && !*rest ? "" : NULL;
}

// mountinfo writes space, tab, newline and backslash as \ and three octal digits. In place.
static void unescape(char *s)
{
    char *to = s;
    for (; *s; s++)
        if (s[0] == '\\' && s[1] >= '0' && s[1] <= '3' && s[2] >= '0' && s[2] <= '7' &&
            s[3] >= '0' && s[3] <= '7') {
            *to++ = (char)((s[1] - '0') * 64 + (s[2] - '0') * 8 + s[3] - '0');
            s += 3;
        } else {
            *to++ = *s;
        }
    *to = 0;
}

// Whether a list with commas has the word.
static int has_word(const char *list, const char *word)
{
    size_t n = strlen(word);
    for (; list; list = strchr(list, ',') ? strchr(list, ',') + 1 : NULL)
        if (!strncmp(list, word, n) && (!list[n] || list[n] == ','))
            return 1;
    return 0;
}

// A line of mountinfo, which is spoiled: its version of groups, root and mount point; -1: another.
static int read_mount(char *line, char **root, char **point)
{
    char *field[6], *type = strstr(line, " - ");
    if (!type)
        return -1;
    *type = 0;
    type += 3;
    for (int i = 0; i < 5; i++)
        if (!(field[i] = strsep(&line, " ")))
            return -1;
    *root = field[3];
    *point = field[4];
    unescape(*root);
    unescape(*point);
    type[strcspn(type, "\n")] = 0;
    const char *kind = strsep(&type, " "), *options = type ? strrchr(type, ' ') : NULL;
    if (!strcmp(kind, "cgroup2"))
        return V2;
    return !strcmp(kind, "cgroup") && options && has_word(options + 1, "memory") ? V1 : -1;
}

// The process's groups by version: number, controllers and path with colons between. NULL: none.
static void read_groups(const char *root, char *path[2])
{
    FILE *f = open_in(root, "proc/self/cgroup");
    char *line = NULL;
    size_t capacity = 0;
    while (f && getline(&line, &capacity, f) > 0) {
        char *rest = line;
        const char *number = strsep(&rest, ":"), *controllers = strsep(&rest, ":");
        if (!rest)
            continue;
        rest[strcspn(rest, "\n")] = 0;
        int version = !strcmp(number, "0") && !*controllers ? V2 : V1;
        if (!path[version] && (version == V2 || has_word(controllers, "memory")))
            path[version] = strdup(rest);
    }
    free(line);
    if (f)
        fclose(f);
}

size_t memory_group_room(const char *root)
{
    char *path[2] = {NULL, NULL}, *line = NULL, *top, *point, full[PATH_SIZE];
    size_t capacity = 0, least = SIZE_MAX;
    read_groups(root, path);
    FILE *f = open_in(root, "proc/self/mountinfo");
    while (f && getline(&line, &capacity, f) > 0) {
        int version = read_mount(line, &top, &point);
        const char *below = version >= 0 && path[version] ? path_below(top, path[version]) : NULL;
        if (!below || snprintf(full, sizeof full, "%s%s", root, point) >= (int)sizeof full)
            continue;
        size_t room = room_up(full, below, version);
        least = room < least ? room : least;
    }
    free(line);
    free(path[V1]);
    free(path[V2]);
    if (f)
        fclose(f);
    return least;
}
