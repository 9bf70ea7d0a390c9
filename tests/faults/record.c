// SPDX-License-Identifier: MIT
// Stands before the C library (LD_PRELOAD) and records what a program does to the files below a
// folder, for tests/faults/replay.c. Recorded is what happened, after it happened.
//
// RECORD_ROOT  the folder, without links in its path
// RECORD_LOG   file outside of it, to which all programs append
#define _GNU_SOURCE
#include "record.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#define REAL(name)                                                                                 \
    static __typeof__(&name) real;                                                                 \
    if (!real)                                                                                     \
    real = (__typeof__(&name))dlsym(RTLD_NEXT, #name)

// PATH below the root, of which only the folder's links are followed: 0, or -1 for any other.
static int below(int at, const char *path, char out[RECORD_NAME])
{
    char whole[2 * PATH_MAX], real[PATH_MAX], from[PATH_MAX] = "", link[64];
    const char *root = getenv("RECORD_ROOT");
    size_t n = root ? strlen(root) : 0;
    snprintf(link, sizeof link, at == AT_FDCWD ? "/proc/self/cwd" : "/proc/self/fd/%d", at);
    if (!root || (path[0] != '/' && readlink(link, from, sizeof from - 1) < 0))
        return -1;
    snprintf(whole, sizeof whole, "%s/%s", from, path);
    for (size_t end = strlen(whole); end > 1 && whole[end - 1] == '/';)
        whole[--end] = 0;
    char *slash = strrchr(whole, '/');
    *slash = 0;
    if (!realpath(*whole ? whole : "/", real))
        return -1;
    snprintf(whole, sizeof whole, "%s/%s", real, strcmp(slash + 1, ".") != 0 ? slash + 1 : "");
    if (strncmp(whole, root, n) != 0 || whole[n] != '/')
        return -1;
    snprintf(out, RECORD_NAME, "%s", whole + n + 1);
    return 0;
}

static void note(struct record *r, const void *data)
{
    const char *log = getenv("RECORD_LOG");
    int code = errno;
    long fd = log ? syscall(SYS_openat, AT_FDCWD, log, O_WRONLY | O_CREAT | O_APPEND, 0666) : -1;
    struct iovec piece[2] = {{r, sizeof *r}, {(void *)data, data ? r->size : 0}};
    if (fd >= 0) {
        syscall(SYS_writev, fd, piece, 2);
        syscall(SYS_close, fd);
    }
    errno = code;
}

static void note_names(enum record_kind kind, int at, const char *path, int to_at, const char *to)
{
    struct record r = {.kind = kind};
    if (below(at, path, r.path) == 0 && (!to || below(to_at, to, r.to) == 0))
        note(&r, NULL);
}

static void note_file(enum record_kind kind, int fd, int64_t offset, uint64_t size,
                      const void *data)
{
    struct record r = {.kind = kind, .offset = offset, .size = size};
    struct stat st;
    int code = errno;
    if (syscall(SYS_fstat, fd, &st) == 0 && (S_ISREG(st.st_mode) || S_ISDIR(st.st_mode))) {
        r.inode = st.st_ino;
        if (S_ISREG(st.st_mode) || (r.kind = RECORD_SYNC_FOLDER, below(fd, ".", r.path) == 0))
            note(&r, data);
    }
    errno = code;
}

ssize_t write(int fd, const void *data, size_t size)
{
    REAL(write);
    ssize_t n = real(fd, data, size);
    if (n > 0)
        note_file(RECORD_WRITE, fd, lseek(fd, 0, SEEK_CUR) - n, (uint64_t)n, data);
    return n;
}

ssize_t pwrite(int fd, const void *data, size_t size, off_t at)
{
    REAL(pwrite);
    ssize_t n = real(fd, data, size, at);
    if (n > 0)
        note_file(RECORD_WRITE, fd, at, (uint64_t)n, data);
    return n;
}

int ftruncate(int fd, off_t size)
{
    REAL(ftruncate);
    int result = real(fd, size);
    if (result == 0)
        note_file(RECORD_TRUNCATE, fd, size, 0, NULL);
    return result;
}

int fsync(int fd)
{
    REAL(fsync);
    int result = real(fd);
    if (result == 0)
        note_file(RECORD_SYNC, fd, 0, 0, NULL);
    return result;
}

int fdatasync(int fd)
{
    return fsync(fd);
}

// Directories are told from files before: what is renamed has gone afterwards.
int renameat2(int from_at, const char *from, int to_at, const char *to, unsigned flags)
{
    REAL(renameat2);
    struct record r = {.kind = flags & RENAME_EXCHANGE ? RECORD_EXCHANGE : RECORD_RENAME};
    int ours = below(from_at, from, r.path) == 0 && below(to_at, to, r.to) == 0;
    int result = real(from_at, from, to_at, to, flags);
    if (result == 0 && ours)
        note(&r, NULL);
    return result;
}

int renameat(int from_at, const char *from, int to_at, const char *to)
{
    return renameat2(from_at, from, to_at, to, 0);
}

int rename(const char *from, const char *to)
{
    return renameat2(AT_FDCWD, from, AT_FDCWD, to, 0);
}

int linkat(int from_at, const char *from, int to_at, const char *to, int flags)
{
    REAL(linkat);
    struct record r = {.kind = RECORD_LINK};
    struct stat st;
    int result = real(from_at, from, to_at, to, flags);
    if (result == 0 && below(to_at, to, r.to) == 0 &&
        fstatat(to_at, to, &st, AT_SYMLINK_NOFOLLOW) == 0) {
        r.inode = st.st_ino;
        note(&r, NULL);
    }
    return result;
}

int unlinkat(int at, const char *path, int flags)
{
    REAL(unlinkat);
    int result = real(at, path, flags);
    if (result == 0)
        note_names(RECORD_REMOVE, at, path, 0, NULL);
    return result;
}

int unlink(const char *path)
{
    return unlinkat(AT_FDCWD, path, 0);
}

int rmdir(const char *path)
{
    return unlinkat(AT_FDCWD, path, AT_REMOVEDIR);
}

int mkdirat(int at, const char *path, mode_t mode)
{
    REAL(mkdirat);
    int result = real(at, path, mode);
    if (result == 0)
        note_names(RECORD_FOLDER, at, path, 0, NULL);
    return result;
}

int mkdir(const char *path, mode_t mode)
{
    return mkdirat(AT_FDCWD, path, mode);
}

static int writes(int flags)
{
    return (flags & O_ACCMODE) != O_RDONLY;
}

static void note_open(int fd, int at, const char *path, int flags, int existed)
{
    struct record r = {.kind = existed ? RECORD_OPEN : RECORD_CREATE};
    struct stat st;
    if (fd < 0 || !writes(flags) || syscall(SYS_fstat, fd, &st) < 0 || !S_ISREG(st.st_mode) ||
        below(at, path, r.path) < 0)
        return;
    if ((flags & O_TMPFILE) == O_TMPFILE) {
        r.kind = RECORD_NAMELESS;
        r.path[0] = 0;
    }
    r.inode = st.st_ino;
    note(&r, NULL);
    if (existed && flags & O_TRUNC)
        note_file(RECORD_TRUNCATE, fd, 0, 0, NULL);
}

int openat(int at, const char *path, int flags, ...)
{
    REAL(openat);
    struct stat st;
    va_list more;
    va_start(more, flags);
    mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(more, mode_t) : 0;
    va_end(more);
    int code = errno, existed = syscall(SYS_newfstatat, at, path, &st, 0) == 0;
    errno = code;
    int fd = real(at, path, flags, mode);
    note_open(fd, at, path, flags, existed);
    return fd;
}

int open(const char *path, int flags, ...)
{
    va_list more;
    va_start(more, flags);
    mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(more, mode_t) : 0;
    va_end(more);
    return openat(AT_FDCWD, path, flags, mode);
}
