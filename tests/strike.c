// SPDX-License-Identifier: MIT
// Stands before the C library (LD_PRELOAD) and strikes a run at a known point, however fast the
// machine is: right before its N-th change of a file. Wherever a kill falls between two changes, it
// leaves the same files behind: these points are all that can happen to a run.
//
// STRIKE_LOG     file that gets a line of LINE bytes for each point: call and name of the file
// STRIKE_AT      the point, counted from 1 over all processes with this log; 0: none
// STRIKE_SIGNAL  number of the signal
// STRIKE_WHOM    `self`, the process; `leader`, that of its session; else all of its session
// STRIKE_READS   set: what is read comes byte by byte, as it may from a pipe
// STRIKE_LOCKS   set: a lock is a point too, and so is a write at a place
// STRIKE_NAMED   set: no file is made without a name, as on some file systems
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { LINE = 64 };

#define REAL(result, name, ...) ((result(*)(__VA_ARGS__))dlsym(RTLD_NEXT, #name))

static void strike(void)
{
    const char *signal_number = getenv("STRIKE_SIGNAL"), *whom = getenv("STRIKE_WHOM");
    int number = signal_number ? atoi(signal_number) : SIGKILL;
    if (whom && strcmp(whom, "self") == 0) {
        kill(getpid(), number);
        return;
    }
    if (whom && strcmp(whom, "leader") == 0) {
        kill(getsid(0), number);
        return;
    }
    // The leader's group first: of a group of its own this process would be gone before.
    if (getpgrp() != getsid(0))
        kill(-getsid(0), number);
    kill(0, number);
}

static void point(const char *call, const char *path)
{
    const char *log = getenv("STRIKE_LOG"), *at = getenv("STRIKE_AT");
    int fd = -1;
    if (log)
        fd = REAL(int, open, const char *, int, ...)(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC,
                                                     0666);
    if (fd < 0)
        return;
    const char *slash = path ? strrchr(path, '/') : NULL;
    char line[LINE + 1];
    snprintf(line, sizeof line, "%-8.8s %-54.54s\n", call, slash ? slash + 1 : path ? path : "");
    // Appended at once: the place where the line ends is its number.
    ssize_t written = REAL(ssize_t, write, int, const void *, size_t)(fd, line, LINE);
    if (written == LINE && at && lseek(fd, 0, SEEK_CUR) / LINE == atol(at))
        strike();
    close(fd);
}

static void point_at(const char *call, int fd)
{
    char link[64], path[PATH_MAX];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, path, sizeof path - 1);
    path[n < 0 ? 0 : n] = 0;
    path[strcspn(path, "[")] = 0; // pipe:[NUMBER]
    point(call, path);
}

ssize_t write(int fd, const void *data, size_t size)
{
    point_at("write", fd);
    return REAL(ssize_t, write, int, const void *, size_t)(fd, data, size);
}

ssize_t read(int fd, void *data, size_t size)
{
    return REAL(ssize_t, read, int, void *, size_t)(fd, data,
                                                    size && getenv("STRIKE_READS") ? 1 : size);
}

int ftruncate(int fd, off_t size)
{
    point_at("truncate", fd);
    return REAL(int, ftruncate, int, off_t)(fd, size);
}

int fsync(int fd)
{
    point_at("fsync", fd);
    return REAL(int, fsync, int)(fd);
}

int rename(const char *from, const char *to)
{
    point("rename", to);
    return REAL(int, rename, const char *, const char *)(from, to);
}

int renameat(int from_at, const char *from, int to_at, const char *to)
{
    point("rename", to);
    return REAL(int, renameat, int, const char *, int, const char *)(from_at, from, to_at, to);
}

int renameat2(int from_at, const char *from, int to_at, const char *to, unsigned flags)
{
    point("rename", to);
    return REAL(int, renameat2, int, const char *, int, const char *, unsigned)(from_at, from,
                                                                                to_at, to, flags);
}

int linkat(int from_at, const char *from, int to_at, const char *to, int flags)
{
    point("link", to);
    return REAL(int, linkat, int, const char *, int, const char *, int)(from_at, from, to_at, to,
                                                                        flags);
}

int unlink(const char *path)
{
    point("unlink", path);
    return REAL(int, unlink, const char *)(path);
}

int unlinkat(int at, const char *path, int flags)
{
    point("unlink", path);
    return REAL(int, unlinkat, int, const char *, int)(at, path, flags);
}

int mkdir(const char *path, mode_t mode)
{
    point("mkdir", path);
    return REAL(int, mkdir, const char *, mode_t)(path, mode);
}

int mkdirat(int at, const char *path, mode_t mode)
{
    point("mkdir", path);
    return REAL(int, mkdirat, int, const char *, mode_t)(at, path, mode);
}

static int creates(int flags)
{
    return flags & (O_CREAT | O_TRUNC) || (flags & O_TMPFILE) == O_TMPFILE;
}

int open(const char *path, int flags, ...)
{
    mode_t mode = 0;
    if ((flags & O_TMPFILE) == O_TMPFILE && getenv("STRIKE_NAMED")) {
        errno = EOPNOTSUPP;
        return -1;
    }
    if (creates(flags)) {
        va_list more;
        va_start(more, flags);
        mode = va_arg(more, mode_t);
        va_end(more);
        point("open", path);
    }
    return REAL(int, open, const char *, int, ...)(path, flags, mode);
}

int openat(int at, const char *path, int flags, ...)
{
    mode_t mode = 0;
    if (creates(flags)) {
        va_list more;
        va_start(more, flags);
        mode = va_arg(more, mode_t);
        va_end(more);
        point("open", path);
    }
    return REAL(int, openat, int, const char *, int, ...)(at, path, flags, mode);
}

ssize_t pwrite(int fd, const void *data, size_t size, off_t at)
{
    if (getenv("STRIKE_LOCKS"))
        point_at("pwrite", fd);
    return REAL(ssize_t, pwrite, int, const void *, size_t, off_t)(fd, data, size, at);
}

int fcntl(int fd, int command, ...)
{
    va_list more;
    va_start(more, command);
    void *argument = va_arg(more, void *);
    va_end(more);
    if (command == F_OFD_SETLK && getenv("STRIKE_LOCKS"))
        point_at("lock", fd);
    return REAL(int, fcntl, int, int, ...)(fd, command, argument);
}
