// SPDX-License-Identifier: MIT
#include "base/place.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/magic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

enum { LINKS = 40, NAME_KEPT = 200 };

char *place_folder(const char *path, struct err *e)
{
    const char *slash = strrchr(path, '/');
    char *folder = slash ? strndup(path, slash == path ? 1 : (size_t)(slash - path)) : strdup(".");
    if (!folder)
        err_memory(e, strlen(path), "a path");
    return folder;
}

// The number at the end of a path of the process file system: N of /proc/self/fd/N, or -1.
static int descriptor_of(const char *path, const char *folder)
{
    struct statfs fs;
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    size_t digits = strspn(name, "0123456789");
    if (!digits || digits > 9 || name[digits] || statfs(folder, &fs) < 0)
        return -1;
    return fs.f_type == PROC_SUPER_MAGIC ? atoi(name) : -1;
}

// One link on: 1 with *path replaced, 0 at the end, -1.
static int follow(char **path, int *descriptor, struct err *e)
{
    char link[PATH_MAX], *next = NULL;
    ssize_t size = readlink(*path, link, sizeof link - 1);
    if (size < 0) // no link, or nothing there yet
        return errno == EINVAL || errno == ENOENT ? 0 : err_errno(e, *path);
    link[size] = 0;
    char *folder = place_folder(*path, e);
    if (!folder)
        return -1;
    *descriptor = descriptor_of(*path, folder);
    int more = *descriptor < 0;
    if (more && asprintf(&next, "%s%s%s", link[0] == '/' ? "" : folder, link[0] == '/' ? "" : "/",
                         link) < 0)
        more = err_memory(e, strlen(folder), "a path");
    free(folder);
    if (more > 0) {
        free(*path);
        *path = next;
    }
    return more;
}

char *place_of(const char *path, int *descriptor, struct err *e)
{
    int more = 1;
    char *at = strdup(path);
    *descriptor = -1;
    if (!at) {
        err_memory(e, strlen(path), "a path");
        return NULL;
    }
    for (int i = 0; more > 0 && i <= LINKS; i++)
        more = follow(&at, descriptor, e);
    if (more == 0)
        return at;
    if (more > 0) {
        errno = ELOOP;
        err_errno(e, path);
    }
    free(at);
    return NULL;
}

int place_open_descriptor(const char *path, int number, struct err *e)
{
    struct stat named, own;
    int ours = stat(path, &named) == 0 && fstat(number, &own) == 0 && named.st_dev == own.st_dev &&
               named.st_ino == own.st_ino;
    int fd = ours ? fcntl(number, F_DUPFD_CLOEXEC, 3) : open(path, O_WRONLY | O_APPEND | O_CLOEXEC);
    return fd < 0 ? err_errno(e, path) : fd;
}

char *place_beside(const char *path, struct err *e)
{
    uint64_t number;
    char *name;
    const char *slash = strrchr(path, '/');
    size_t folder = slash ? (size_t)(slash - path) + 1 : 0, kept = strlen(path + folder);
    if (getrandom(&number, sizeof number, 0) != sizeof number) {
        err_errno(e, path);
        return NULL;
    }
    // Names have 255 bytes at most.
    if (asprintf(&name, "%.*s.tmp.%016llx", (int)(folder + (kept < NAME_KEPT ? kept : NAME_KEPT)),
                 path, (unsigned long long)number) < 0) {
        err_memory(e, strlen(path), "a path");
        return NULL;
    }
    return name;
}

struct placed placed(int at, const char *path)
{
    struct placed p;
    char self[64];
    int code = errno;
    snprintf(self, sizeof self, "/proc/self/fd/%d", at);
    ssize_t n = at < 0 || path[0] == '/' ? -1 : readlink(self, p.text, sizeof p.text - 1);
    size_t folder = n > 0 ? (size_t)n : 0;
    snprintf(p.text + folder, sizeof p.text - folder, "%s%s", folder ? "/" : "", path);
    errno = code;
    return p;
}

int place_errno(struct err *e, int at, const char *path)
{
    return err_errno(e, placed(at, path).text);
}

// The folder that PATH, with slashes at its end or not, is in; from the heap, or NULL.
static char *folder_around(const char *path)
{
    struct err ignored;
    size_t n = strlen(path);
    while (n > 1 && path[n - 1] == '/')
        n--;
    char *bare = strndup(path, n), *folder = bare ? place_folder(bare, &ignored) : NULL;
    free(bare);
    return folder;
}

int place_missing(struct err *e, const char *path)
{
    int why = errno;
    struct stat st;
    char *folder = why == ENOENT || why == ENOTDIR ? folder_around(path) : NULL;
    int there = !folder || (stat(folder, &st) == 0 && S_ISDIR(st.st_mode));
    errno = why;
    err_errno(e, path);
    size_t n = strlen(e->text);
    if (!there)
        snprintf(e->text + n, sizeof e->text - n, ": there is no folder %s", folder);
    free(folder);
    return -1;
}
