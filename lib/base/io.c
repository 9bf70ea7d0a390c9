// SPDX-License-Identifier: MIT
#include "base/io.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { OUTPUT_BUFFER = 1 << 18 };

const char *io_name(const char *path)
{
    return !path || !strcmp(path, "-") ? "standard input" : path;
}

int io_open_input(const char *path, struct err *e)
{
    int fd;
    if (!path || !strcmp(path, "-")) {
        fd = fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 3);
        path = io_name(path);
    } else {
        fd = open(path, O_RDONLY | O_CLOEXEC);
    }
    if (fd < 0)
        return err_errno(e, path);
    struct stat st;
    if (fstat(fd, &st) == 0 && S_ISDIR(st.st_mode)) {
        close(fd);
        errno = EISDIR;
        return err_errno(e, path);
    }
    return fd;
}

int64_t io_read(int fd, void *data, size_t size, const char *name, struct err *e)
{
    size_t done = 0;
    while (done < size) {
        ssize_t n = read(fd, (char *)data + done, size - done);
        if (n == 0)
            break;
        if (n < 0) {
            if (errno == EINTR && !io_stop_requested())
                continue;
            return err_errno(e, name);
        }
        done += (size_t)n;
    }
    return (int64_t)done;
}

int io_write(int fd, const void *data, size_t size, const char *name, struct err *e)
{
    size_t done = 0;
    while (done < size) {
        ssize_t n = write(fd, (const char *)data + done, size - done);
        if (n < 0) {
            if (errno == EINTR)
                continue;
            return err_errno(e, name);
        }
        done += (size_t)n;
    }
    return 0;
}

int io_read_fd(int fd, const char *name, struct buffer *out, struct err *e)
{
    for (;;) {
        size_t room = out->limit - out->size;
        if (room > 1 << 16)
            room = 1 << 16;
        if (buffer_reserve(out, room ? room : 1, e) < 0)
            return err_prefix(e, "%s", name);
        ssize_t n = read(fd, out->data + out->size, room);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return err_errno(e, name);
        out->size += (size_t)n;
        out->data[out->size] = 0;
        if (n == 0)
            return 0;
    }
}

int io_read_file(const char *path, struct buffer *out, struct err *e)
{
    int fd = io_open_input(path, e);
    if (fd < 0)
        return -1;
    int result = io_read_fd(fd, io_name(path), out, e);
    close(fd);
    return result;
}

int io_open_regular(int at, const char *path, struct err *e)
{
    struct stat st;
    int fd = openat(at, path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0) {
        int why = errno;
        err_errno(e, path);
        errno = why;
        return -1;
    }
    if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode))
        return fd;
    close(fd);
    errno = EINVAL;
    return err_set(e, STATUS_FAILED, "%s: not a regular file", path);
}

int io_read_regular(int at, const char *path, struct buffer *out, struct err *e)
{
    int fd = io_open_regular(at, path, e);
    if (fd < 0)
        return -1;
    int result = io_read_fd(fd, path, out, e);
    close(fd);
    return result;
}

const char *output_name(const struct output *o)
{
    return o->path ? o->path : "standard output";
}

static char *directory_of(const char *path, struct err *e)
{
    const char *slash = strrchr(path, '/');
    char *directory =
        slash ? strndup(path, slash == path ? 1 : (size_t)(slash - path)) : strdup(".");
    if (!directory)
        err_memory(e, strlen(path), "a path");
    return directory;
}

// A name beside `path` that nobody else uses.
static char *temporary_name(const char *path, struct err *e)
{
    char *name;
    if (asprintf(&name, "%s.tmp.%ld", path, (long)getpid()) < 0) {
        err_memory(e, strlen(path), "a path");
        return NULL;
    }
    return name;
}

static int output_open_atomic(struct output *o, struct err *e)
{
    o->atomic = 1;
    char *directory = directory_of(o->path, e);
    if (!directory)
        return -1;
    o->fd = open(directory, O_TMPFILE | O_WRONLY | O_CLOEXEC, 0666);
    free(directory);
    if (o->fd >= 0)
        return 0;
    if (errno != EOPNOTSUPP && errno != EISDIR && errno != EINVAL)
        return err_errno(e, o->path);
    o->temporary = temporary_name(o->path, e);
    if (!o->temporary)
        return -1;
    o->fd = open(o->temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    return o->fd < 0 ? err_errno(e, o->path) : 0;
}

int output_open(struct output *o, const char *path, struct err *e)
{
    memset(o, 0, sizeof *o);
    o->fd = -1;
    if (path && strcmp(path, "-") != 0)
        o->path = path;
    o->data = malloc(OUTPUT_BUFFER);
    if (!o->data)
        return err_memory(e, OUTPUT_BUFFER, "an output buffer");
    struct stat st;
    int result = 0;
    if (!o->path) {
        o->fd = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3);
        result = o->fd < 0 ? err_errno(e, output_name(o)) : 0;
    } else if (stat(o->path, &st) == 0 && S_ISDIR(st.st_mode)) {
        errno = EISDIR;
        result = err_errno(e, o->path);
    } else if (stat(o->path, &st) == 0 && !S_ISREG(st.st_mode)) {
        o->fd = open(o->path, O_WRONLY | O_CLOEXEC);
        result = o->fd < 0 ? err_errno(e, o->path) : 0;
    } else {
        result = output_open_atomic(o, e);
    }
    if (result < 0)
        output_abort(o);
    return result;
}

int output_open_binary(struct output *o, const char *path, struct err *e)
{
    if ((!path || !strcmp(path, "-")) && isatty(STDOUT_FILENO)) {
        memset(o, 0, sizeof *o);
        o->fd = -1;
        return err_set(e, STATUS_USAGE,
                       "binary output is not written to a terminal: use -o FILE, a pipe, or "
                       "`toks view`");
    }
    return output_open(o, path, e);
}

static int drain(struct output *o, struct err *e)
{
    size_t size = o->used;
    o->used = 0;
    return io_write(o->fd, o->data, size, output_name(o), e);
}

int output_write(struct output *o, const void *data, size_t size, struct err *e)
{
    if (size > OUTPUT_BUFFER - o->used) {
        if (drain(o, e) < 0)
            return -1;
        if (size >= OUTPUT_BUFFER)
            return io_write(o->fd, data, size, output_name(o), e);
    }
    if (size)
        memcpy(o->data + o->used, data, size);
    o->used += size;
    return 0;
}

int output_printf(struct output *o, struct err *e, const char *format, ...)
{
    char small[512];
    va_list ap;
    va_start(ap, format);
    int n = vsnprintf(small, sizeof small, format, ap);
    va_end(ap);
    if (n >= 0 && (size_t)n < sizeof small)
        return output_write(o, small, (size_t)n, e);
    char *large = NULL;
    va_start(ap, format);
    n = vasprintf(&large, format, ap);
    va_end(ap);
    if (n < 0)
        return err_memory(e, 0, "a line of text");
    int result = output_write(o, large, (size_t)n, e);
    free(large);
    return result;
}

int output_flush(struct output *o, struct err *e)
{
    return drain(o, e);
}

static int output_install(struct output *o, struct err *e)
{
    if (!o->temporary) {
        o->temporary = temporary_name(o->path, e);
        if (!o->temporary)
            return -1;
        char self[64];
        snprintf(self, sizeof self, "/proc/self/fd/%d", o->fd);
        unlink(o->temporary); // of a killed process that had our number
        if (linkat(AT_FDCWD, self, AT_FDCWD, o->temporary, AT_SYMLINK_FOLLOW) < 0) {
            err_errno(e, o->path);
            free(o->temporary);
            o->temporary = NULL;
            return -1;
        }
    }
    if (rename(o->temporary, o->path) < 0)
        return err_errno(e, o->path);
    free(o->temporary);
    o->temporary = NULL;
    return 0;
}

int output_commit(struct output *o, struct err *e)
{
    int result = drain(o, e);
    if (result == 0 && o->atomic)
        result = output_install(o, e);
    if (result == 0) {
        int fd = o->fd;
        o->fd = -1;
        if (close(fd) < 0)
            result = err_errno(e, output_name(o));
    }
    output_abort(o);
    return result;
}

void output_abort(struct output *o)
{
    if (o->fd >= 0)
        close(o->fd);
    o->fd = -1;
    if (o->temporary) {
        unlink(o->temporary);
        free(o->temporary);
        o->temporary = NULL;
    }
    free(o->data);
    o->data = NULL;
}

int io_make_directory(int at, const char *path, struct err *e)
{
    if (mkdirat(at, path, 0777) == 0)
        return 0;
    struct stat st;
    if (errno == EEXIST && fstatat(at, path, &st, 0) == 0 && S_ISDIR(st.st_mode))
        return 0;
    return err_errno(e, path);
}

int io_exists(int at, const char *path)
{
    struct stat st;
    return fstatat(at, path, &st, AT_SYMLINK_NOFOLLOW) == 0;
}

int io_remove_tree(int at, const char *path, struct err *e)
{
    if (unlinkat(at, path, 0) == 0 || errno == ENOENT)
        return 0;
    if (errno != EISDIR && errno != EPERM)
        return err_errno(e, path);
    int fd = openat(at, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return err_errno(e, path);
    DIR *directory = fdopendir(fd);
    if (!directory) {
        err_errno(e, path);
        close(fd);
        return -1;
    }
    int result = 0;
    struct dirent *entry;
    while (result == 0 && (entry = readdir(directory)))
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            result = io_remove_tree(fd, entry->d_name, e);
    closedir(directory);
    if (result == 0 && unlinkat(at, path, AT_REMOVEDIR) < 0 && errno != ENOENT)
        result = err_errno(e, path);
    return result;
}

int io_write_file(int at, const char *path, const void *data, size_t size, struct err *e)
{
    int fd = openat(at, path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (fd < 0)
        return err_errno(e, path);
    int result = io_write(fd, data, size, path, e);
    if (close(fd) < 0 && result == 0)
        result = err_errno(e, path);
    return result;
}

int io_copy_file(int from_at, const char *from, int to_at, const char *to, struct err *e)
{
    int in = io_open_regular(from_at, from, e);
    if (in < 0)
        return -1;
    int out = openat(to_at, to, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (out < 0) {
        err_errno(e, to);
        close(in);
        return -1;
    }
    char data[1 << 16];
    int64_t n;
    int result = 0;
    while (result == 0 && (n = io_read(in, data, sizeof data, from, e)) != 0)
        result = n < 0 ? -1 : io_write(out, data, (size_t)n, to, e);
    close(in);
    if (close(out) < 0 && result == 0)
        result = err_errno(e, to);
    return result;
}

char *io_path(const char *directory, const char *name, struct err *e)
{
    char *path;
    if (asprintf(&path, "%s/%s", directory, name) < 0) {
        err_memory(e, strlen(directory) + strlen(name) + 2, "a path");
        return NULL;
    }
    return path;
}

static volatile sig_atomic_t stop_requested;

static void on_stop(int signal_number)
{
    (void)signal_number;
    stop_requested = 1;
}

void io_signals(int stop)
{
    signal(SIGPIPE, SIG_IGN);
    if (!stop)
        return;
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = on_stop; // without SA_RESTART: a read that waits comes back
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
}

int io_stop_requested(void)
{
    return stop_requested;
}

int io_exit_status(int status)
{
    if (status == STATUS_PIPE) {
        signal(SIGPIPE, SIG_DFL);
        raise(SIGPIPE);
    }
    return status;
}

int io_reader_gone(void)
{
    struct pollfd out = {.fd = STDOUT_FILENO};
    return poll(&out, 1, 0) == 1 && (out.revents & POLLERR);
}

int io_wait_readable(int fd, struct err *e)
{
    struct pollfd both[2] = {{.fd = fd, .events = POLLIN}, {.fd = STDOUT_FILENO}};
    for (;;) {
        int n = poll(both, 2, -1);
        if (n < 0 && errno == EINTR && !io_stop_requested())
            continue;
        if (n < 0)
            return errno == EINTR ? 0 : err_errno(e, "standard input");
        if (both[0].revents)
            return 0;
        if (both[1].revents & POLLERR)
            return err_set(e, STATUS_PIPE, "standard output: its reader has exited");
        both[1].fd = -1; // closed, or of no interest
    }
}
