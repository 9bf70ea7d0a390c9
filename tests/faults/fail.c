// SPDX-License-Identifier: MIT
// Stands before the C library (LD_PRELOAD) and lets one call of a program fail: its N-th system
// call, or its N-th piece of memory. tests/faults/run finds the points and judges the runs.
//
// FAIL_PROGRAM  name of the program whose calls count; its children between fork and exec do not
// FAIL_CALLS    `system`: calls that ask the kernel for something; `memory`: malloc and its kin
// FAIL_LOG      file. Without FAIL_AT it gets a line for each point: number, call, ways to fail
//               (joined by commas), file. Of memory only the first point of each chain of callers
//               has a line. With FAIL_AT it is made when the point is reached, by the first
//               process that does, with the call and its callers
// FAIL_AT       the point, counted from 1 in the process
// FAIL_HOW      the way: a name of errno; PART, less is read or written than was asked for; FULL,
//               from here on no file takes any more (ENOSPC), after half of what this call writes
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <execinfo.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <unistd.h>

enum { CHAINS = 1 << 16, FRAMES = 24, PART = -1, FULL = -2 };

static struct {
    pid_t pid; // 0: nothing counts here
    int memory;
    long at; // 0: points are logged
    int how; // errno, PART or FULL
    const char *way;
    const char *log;
} plan;
static atomic_long count;
static atomic_int full;
static _Thread_local int busy; // our own calls do not count
static uint64_t chain[CHAINS];

static const struct {
    const char *name;
    int code;
} ways[] = {{"EIO", EIO},       {"ENOSPC", ENOSPC}, {"EMFILE", EMFILE}, {"ENOMEM", ENOMEM},
            {"EAGAIN", EAGAIN}, {"EINTR", EINTR},   {"EINVAL", EINVAL}, {"ENOLCK", ENOLCK},
            {"EACCES", EACCES}, {"PART", PART},     {"FULL", FULL}};

__attribute__((constructor)) static void begin(void)
{
    const char *program = getenv("FAIL_PROGRAM"), *calls = getenv("FAIL_CALLS"),
               *at = getenv("FAIL_AT"), *how = getenv("FAIL_HOW");
    void *frame[1];
    plan.log = getenv("FAIL_LOG");
    if (!plan.log || !program || strcmp(program, program_invocation_short_name) != 0)
        return;
    backtrace(frame, 1); // loads what it needs
    plan.memory = calls && strcmp(calls, "memory") == 0;
    plan.at = at ? atol(at) : 0;
    for (size_t i = 0; how && i < sizeof ways / sizeof *ways; i++)
        if (strcmp(ways[i].name, how) == 0)
            plan.how = ways[i].code;
    plan.way = how ? how : "";
    plan.pid = getpid();
}

static void append(const char *text, size_t size, int flags)
{
    long fd = syscall(SYS_openat, AT_FDCWD, plan.log, O_WRONLY | O_CREAT | O_CLOEXEC | flags, 0666);
    if (fd >= 0) {
        syscall(SYS_write, fd, text, size);
        syscall(SYS_close, fd);
    }
}

static void note(long n, const char *call, const char *how, const char *path)
{
    char line[PATH_MAX + 128];
    int size = snprintf(line, sizeof line, "%ld %s %s %s\n", n, call, how, path ? path : "");
    append(line, (size_t)size, O_APPEND);
}

// The point is reached: 1 for the first process that says so.
static int claim(long n, const char *call, const char *path)
{
    void *frame[FRAMES];
    char line[PATH_MAX + 128];
    long fd =
        syscall(SYS_openat, AT_FDCWD, plan.log, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (fd < 0)
        return 0;
    int size = snprintf(line, sizeof line, "%ld %s %s\n", n, call, path ? path : "");
    syscall(SYS_write, fd, line, size);
    backtrace_symbols_fd(frame, backtrace(frame, FRAMES), (int)fd);
    syscall(SYS_close, fd);
    return 1;
}

static int counts(int memory)
{
    return plan.pid && !busy && plan.memory == memory && plan.pid == getpid();
}

// 0, or how this call must fail; for all but PART errno is set.
static int point(const char *call, const char *how, const char *path)
{
    int code = errno, result = 0;
    if (!counts(0))
        return 0;
    busy = 1;
    long n = atomic_fetch_add(&count, 1) + 1;
    if (!plan.at)
        note(n, call, how, path);
    else if (n == plan.at && strstr(how, plan.way) && claim(n, call, path))
        result = plan.how;
    busy = 0;
    if (result == FULL)
        atomic_store(&full, 1);
    errno = result > 0 ? result : result == FULL ? ENOSPC : code;
    return result;
}

static int point_at(const char *call, const char *how, int fd)
{
    char link[64], path[PATH_MAX];
    int code = errno;
    if (!counts(0))
        return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    long n = syscall(SYS_readlink, link, path, sizeof path - 1);
    path[n < 0 ? 0 : n] = 0;
    errno = code;
    return point(call, how, path);
}

// Whether the chain of callers is new.
static int is_new(void)
{
    void *frame[FRAMES];
    uint64_t sum = 1469598103934665603u;
    int n = backtrace(frame, FRAMES);
    for (int i = 0; i < n; i++)
        sum = (sum ^ (uintptr_t)frame[i]) * 1099511628211u;
    for (size_t i = sum % CHAINS, k = 0; k < CHAINS; i = (i + 1) % CHAINS, k++) {
        if (chain[i] == sum)
            return 0;
        if (!chain[i]) {
            chain[i] = sum;
            return 1;
        }
    }
    return 0;
}

// 1: there is no memory for this call.
static int none(const char *call)
{
    int failed = 0;
    if (!counts(1))
        return 0;
    busy = 1;
    long n = atomic_fetch_add(&count, 1) + 1;
    if (plan.at)
        failed = n == plan.at && claim(n, call, NULL);
    else if (is_new())
        note(n, call, "ENOMEM", NULL);
    busy = 0;
    if (failed)
        errno = ENOMEM;
    return failed;
}

extern void *__libc_malloc(size_t), *__libc_calloc(size_t, size_t), *__libc_realloc(void *, size_t),
    *__libc_memalign(size_t, size_t);

void *malloc(size_t size)
{
    return none("malloc") ? NULL : __libc_malloc(size);
}

void *calloc(size_t n, size_t size)
{
    return none("calloc") ? NULL : __libc_calloc(n, size);
}

void *realloc(void *old, size_t size)
{
    return none("realloc") ? NULL : __libc_realloc(old, size);
}

void *aligned_alloc(size_t alignment, size_t size)
{
    return none("aligned_alloc") ? NULL : __libc_memalign(alignment, size);
}

int posix_memalign(void **out, size_t alignment, size_t size)
{
    void *p = none("posix_memalign") ? NULL : __libc_memalign(alignment, size);
    if (p)
        *out = p;
    return p ? 0 : ENOMEM;
}

#define REAL(name)                                                                                 \
    static __typeof__(&name) real;                                                                 \
    if (!real)                                                                                     \
    real = (__typeof__(&name))dlsym(RTLD_NEXT, #name)

static int is_full(int fd)
{
    struct stat st;
    if (!atomic_load(&full) || fd == STDERR_FILENO || syscall(SYS_fstat, fd, &st) < 0 ||
        !S_ISREG(st.st_mode))
        return 0;
    errno = ENOSPC;
    return 1;
}

ssize_t write(int fd, const void *data, size_t size)
{
    REAL(write);
    if (is_full(fd))
        return -1;
    int how = point_at("write", "EIO,FULL,PART,EINTR", fd);
    if (how > 0 || (how && size < 2))
        return how == PART ? real(fd, data, size) : -1;
    return real(fd, data, how ? size / 2 : size);
}

ssize_t pwrite(int fd, const void *data, size_t size, off_t at)
{
    REAL(pwrite);
    if (is_full(fd))
        return -1;
    int how = point_at("pwrite", "EIO,FULL,PART,EINTR", fd);
    if (how > 0 || (how && size < 2))
        return how == PART ? real(fd, data, size, at) : -1;
    return real(fd, data, how ? size / 2 : size, at);
}

ssize_t read(int fd, void *data, size_t size)
{
    REAL(read);
    int how = point_at("read", "EIO,PART,EINTR", fd);
    return how > 0 ? -1 : real(fd, data, how && size ? 1 : size);
}

ssize_t pread(int fd, void *data, size_t size, off_t at)
{
    REAL(pread);
    int how = point_at("pread", "EIO,PART,EINTR", fd);
    return how > 0 ? -1 : real(fd, data, how && size ? 1 : size, at);
}

// Calls that fail with -1 and do nothing.
#define FAILS(name, how, where, ...)                                                               \
    REAL(name);                                                                                    \
    return where(#name, how, __VA_ARGS__) ? -1 : real

int ftruncate(int fd, off_t size)
{
    FAILS(ftruncate, "EIO", point_at, fd)(fd, size);
}
int fsync(int fd)
{
    FAILS(fsync, "EIO", point_at, fd)(fd);
}
int fdatasync(int fd)
{
    FAILS(fdatasync, "EIO", point_at, fd)(fd);
}
int rename(const char *from, const char *to)
{
    FAILS(rename, "ENOSPC", point, to)(from, to);
}
int renameat(int from_at, const char *from, int to_at, const char *to)
{
    FAILS(renameat, "ENOSPC", point, to)(from_at, from, to_at, to);
}
int renameat2(int from_at, const char *from, int to_at, const char *to, unsigned flags)
{
    FAILS(renameat2, "EIO,EINVAL", point, to)(from_at, from, to_at, to, flags);
}
int linkat(int from_at, const char *from, int to_at, const char *to, int flags)
{
    FAILS(linkat, "ENOSPC", point, to)(from_at, from, to_at, to, flags);
}
int unlink(const char *path)
{
    FAILS(unlink, "EIO", point, path)(path);
}
int unlinkat(int at, const char *path, int flags)
{
    FAILS(unlinkat, "EIO", point, path)(at, path, flags);
}
int rmdir(const char *path)
{
    FAILS(rmdir, "EIO", point, path)(path);
}
int mkdir(const char *path, mode_t mode)
{
    FAILS(mkdir, "ENOSPC", point, path)(path, mode);
}
int mkdirat(int at, const char *path, mode_t mode)
{
    FAILS(mkdirat, "ENOSPC", point, path)(at, path, mode);
}
int stat(const char *path, struct stat *st)
{
    FAILS(stat, "EIO", point, path)(path, st);
}
int lstat(const char *path, struct stat *st)
{
    FAILS(lstat, "EIO", point, path)(path, st);
}
int fstat(int fd, struct stat *st)
{
    FAILS(fstat, "EIO", point_at, fd)(fd, st);
}
int fstatat(int at, const char *path, struct stat *st, int flags)
{
    FAILS(fstatat, "EIO", point, path)(at, path, st, flags);
}
int statx(int at, const char *path, int flags, unsigned mask, struct statx *x)
{
    FAILS(statx, "EIO", point, path)(at, path, flags, mask, x);
}
int statvfs(const char *path, struct statvfs *disk)
{
    FAILS(statvfs, "EIO", point, path)(path, disk);
}
int statfs(const char *path, struct statfs *fs)
{
    FAILS(statfs, "EIO", point, path)(path, fs);
}
ssize_t readlink(const char *path, char *out, size_t size)
{
    FAILS(readlink, "EIO", point, path)(path, out, size);
}
int flock(int fd, int what)
{
    FAILS(flock, "ENOLCK", point_at, fd)(fd, what);
}
int poll(struct pollfd *fd, nfds_t n, int ms)
{
    FAILS(poll, "EINTR", point, NULL)(fd, n, ms);
}
pid_t waitpid(pid_t pid, int *status, int options)
{
    FAILS(waitpid, "EINTR", point, NULL)(pid, status, options);
}
int pipe(int fd[2])
{
    FAILS(pipe, "EMFILE", point, NULL)(fd);
}
int pipe2(int fd[2], int flags)
{
    FAILS(pipe2, "EMFILE", point, NULL)(fd, flags);
}
pid_t fork(void)
{
    FAILS(fork, "EAGAIN", point, NULL)();
}
int execv(const char *path, char *const argv[])
{
    FAILS(execv, "EACCES", point, path)(path, argv);
}
int execvp(const char *path, char *const argv[])
{
    FAILS(execvp, "EACCES", point, path)(path, argv);
}
ssize_t getrandom(void *out, size_t size, unsigned flags)
{
    FAILS(getrandom, "EINTR", point, NULL)(out, size, flags);
}

int posix_spawnp(pid_t *pid, const char *path, const posix_spawn_file_actions_t *actions,
                 const posix_spawnattr_t *attributes, char *const argv[], char *const environment[])
{
    REAL(posix_spawnp);
    return point("posix_spawnp", "EAGAIN", path)
               ? plan.how
               : real(pid, path, actions, attributes, argv, environment);
}

int pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*f)(void *), void *a)
{
    REAL(pthread_create);
    return point("pthread_create", "EAGAIN", NULL) ? plan.how : real(thread, attributes, f, a);
}

void *mmap(void *at, size_t size, int protection, int flags, int fd, off_t offset)
{
    REAL(mmap);
    return point("mmap", "ENOMEM", NULL) ? MAP_FAILED
                                         : real(at, size, protection, flags, fd, offset);
}

// What was written may be lost although the descriptor is gone.
int close(int fd)
{
    REAL(close);
    struct stat st;
    long mode = plan.pid ? syscall(SYS_fcntl, fd, F_GETFL) : -1;
    int written = mode >= 0 && (mode & O_ACCMODE) != O_RDONLY && syscall(SYS_fstat, fd, &st) == 0 &&
                  S_ISREG(st.st_mode);
    int how = written ? point_at("close", "EIO", fd) : 0;
    int result = real(fd);
    if (!how)
        return result;
    errno = how;
    return -1;
}

static int creates(int flags)
{
    return flags & (O_CREAT | O_TRUNC) || (flags & O_TMPFILE) == O_TMPFILE;
}

int open(const char *path, int flags, ...)
{
    REAL(open);
    va_list more;
    va_start(more, flags);
    mode_t mode = creates(flags) ? va_arg(more, mode_t) : 0;
    va_end(more);
    if (point("open", creates(flags) ? "EMFILE,ENOSPC" : "EMFILE", path))
        return -1;
    return real(path, flags, mode);
}

int openat(int at, const char *path, int flags, ...)
{
    REAL(openat);
    va_list more;
    va_start(more, flags);
    mode_t mode = creates(flags) ? va_arg(more, mode_t) : 0;
    va_end(more);
    if (point("openat", creates(flags) ? "EMFILE,ENOSPC" : "EMFILE", path))
        return -1;
    return real(at, path, flags, mode);
}

int fcntl(int fd, int command, ...)
{
    REAL(fcntl);
    va_list more;
    va_start(more, command);
    void *argument = va_arg(more, void *);
    va_end(more);
    if ((command == F_DUPFD_CLOEXEC || command == F_DUPFD) && point_at("fcntl", "EMFILE", fd))
        return -1;
    if ((command == F_OFD_SETLK || command == F_OFD_GETLK) && point_at("fcntl", "ENOLCK", fd))
        return -1;
    return real(fd, command, argument);
}

FILE *fopen(const char *path, const char *mode)
{
    REAL(fopen);
    return point("fopen", "EMFILE", path) ? NULL : real(path, mode);
}

FILE *fdopen(int fd, const char *mode)
{
    REAL(fdopen);
    return point_at("fdopen", "ENOMEM", fd) ? NULL : real(fd, mode);
}

int fflush(FILE *f)
{
    REAL(fflush);
    int result = real(f);
    return point("fflush", "EIO", NULL) ? EOF : result;
}

int fclose(FILE *f)
{
    REAL(fclose);
    int result = real(f);
    return point("fclose", "EIO", NULL) ? EOF : result;
}

DIR *opendir(const char *path)
{
    REAL(opendir);
    return point("opendir", "EMFILE", path) ? NULL : real(path);
}

DIR *fdopendir(int fd)
{
    REAL(fdopendir);
    return point_at("fdopendir", "ENOMEM", fd) ? NULL : real(fd);
}

struct dirent *readdir(DIR *directory)
{
    REAL(readdir);
    return point_at("readdir", "EIO", dirfd(directory)) ? NULL : real(directory);
}
