// SPDX-License-Identifier: MIT
// Stands before the C library (LD_PRELOAD) and plays a disk of another kind.
//
// DISK_FREE         bytes that fstatvfs tells to be free
// DISK_PLAIN        set: two names cannot be exchanged, as on many network file systems
// DISK_FULL         writes to files with this in their names fail with ENOSPC
// DISK_AFTER        only once this file exists
// DISK_SYNCS        file that gets a line for each fsync and rename: call and name of the file
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define REAL(result, name, ...) ((result(*)(__VA_ARGS__))dlsym(RTLD_NEXT, #name))

static void name_of(int fd, char path[PATH_MAX])
{
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, path, PATH_MAX - 1);
    path[n < 0 ? 0 : n] = 0;
}

static void note(const char *call, const char *path)
{
    const char *log = getenv("DISK_SYNCS"), *slash = strrchr(path, '/');
    FILE *f = log ? fopen(log, "ae") : NULL;
    if (!f)
        return;
    fprintf(f, "%s %s\n", call, slash ? slash + 1 : path);
    fclose(f);
}

int fstatvfs(int fd, struct statvfs *disk)
{
    const char *room = getenv("DISK_FREE");
    int result = REAL(int, fstatvfs, int, struct statvfs *)(fd, disk);
    if (result == 0 && room) {
        disk->f_frsize = 1;
        disk->f_bavail = strtoull(room, NULL, 10);
    }
    return result;
}

int fsync(int fd)
{
    char path[PATH_MAX];
    name_of(fd, path);
    note("fsync", path);
    return REAL(int, fsync, int)(fd);
}

int rename(const char *from, const char *to)
{
    note("rename", to);
    return REAL(int, rename, const char *, const char *)(from, to);
}

int renameat(int from_at, const char *from, int to_at, const char *to)
{
    note("rename", to);
    return REAL(int, renameat, int, const char *, int, const char *)(from_at, from, to_at, to);
}

int renameat2(int from_at, const char *from, int to_at, const char *to, unsigned flags)
{
    if (flags && getenv("DISK_PLAIN")) {
        errno = EINVAL;
        return -1;
    }
    note("exchange", to);
    return REAL(int, renameat2, int, const char *, int, const char *, unsigned)(from_at, from,
                                                                                to_at, to, flags);
}

ssize_t write(int fd, const void *data, size_t size)
{
    const char *full = getenv("DISK_FULL"), *after = getenv("DISK_AFTER");
    char path[PATH_MAX];
    if (full && (!after || access(after, F_OK) == 0)) {
        name_of(fd, path);
        if (strstr(path, full)) {
            errno = ENOSPC;
            return -1;
        }
    }
    return REAL(ssize_t, write, int, const void *, size_t)(fd, data, size);
}
