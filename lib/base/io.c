// SPDX-License-Identifier: MIT
#include "base/io.h"
#include "base/file_kind.h"
#include "base/litter.h"
#include "base/listing.h"
#include "base/place.h"
#include "base/signals.h"
#include "base/sync.h"
#include "base/touched.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { OUTPUT_BUFFER = 1 << 18 };

const char *io_name(const char *path)
{
    return !path || !strcmp(path, "-") ? "standard input" : path;
}

static int refuse_directory(int fd, const char *path, struct err *e)
{
    const char *way = io_exists(fd, "config.json") ? ": a model's goes to -m" : "";
    return err_set(e, STATUS_FAILED, "%s: %s%s", path, strerror(EISDIR), way);
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
        return place_missing(e, path);
    struct stat st;
    int result = fstat(fd, &st);
    if (result == 0 && S_ISDIR(st.st_mode))
        result = refuse_directory(fd, path, e);
    else
        result = result < 0 ? err_errno(e, path) : touched_input(&st, path, e);
    if (result < 0)
        close(fd);
    return result < 0 ? -1 : fd;
}

int64_t io_read(int fd, void *data, size_t size, const char *name, struct err *e)
{
    size_t done = 0;
    while (done < size) {
        ssize_t n = read(fd, (char *)data + done, size - done);
        if (n == 0)
            break;
        if (n < 0) {
            if (errno != EINTR)
                return err_errno(e, name);
            if (signals_check_stop(e) < 0)
                return -1;
            continue;
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
    int known = fstat(fd, &st) == 0, regular = known && S_ISREG(st.st_mode);
    if (regular && touched_part(&st, path, e) == 0)
        return fd;
    if (!known)
        err_errno(e, path);
    else if (!regular)
        err_set(e, STATUS_FAILED, "%s: not a regular file", path);
    close(fd);
    errno = EINVAL;
    return -1;
}

int io_read_regular(int at, const char *path, struct buffer *out, struct err *e)
{
    int fd = io_open_regular(at, path, e);
    if (fd < 0)
        return -1;
    int result = io_read_fd(fd, path, out, e);
    close(fd);
    return result < 0 ? -1 : file_kind_fetched(out->data, out->size, path, e);
}

const char *output_name(const struct output *o)
{
    return o->path ? o->path : "standard output";
}

static void forget_temporary(struct output *o)
{
    if (o->temporary)
        litter_drop(o->temporary);
    free(o->temporary);
    o->temporary = NULL;
}

static int output_open_atomic(struct output *o, struct err *e)
{
    o->atomic = 1;
    char *folder = place_folder(o->target, e);
    if (!folder)
        return -1;
    o->fd = open(folder, O_TMPFILE | O_WRONLY | O_CLOEXEC, 0666);
    free(folder);
    if (o->fd >= 0)
        return 0;
    if (errno != EOPNOTSUPP && errno != EISDIR && errno != EINVAL)
        return err_errno(e, o->path);
    o->temporary = place_beside(o->target, e);
    if (!o->temporary)
        return -1;
    if (litter_add(o->temporary, e) < 0)
        return -1;
    o->fd = open(o->temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0666);
    if (o->fd >= 0)
        return 0;
    forget_temporary(o); // whose ever it is
    return err_errno(e, o->path);
}

// The file that is there, noted as an output.
static int output_note(struct output *o, const struct stat *st, struct err *e)
{
    if (touched_output(st, output_name(o), e) < 0)
        return -1;
    o->old = *st;
    return 0;
}

static int output_open_named(struct output *o, struct err *e)
{
    struct stat st;
    int number, there = stat(o->path, &st) == 0;
    if (!there && errno != ENOENT)
        return err_errno(e, o->path);
    if (there && S_ISDIR(st.st_mode)) {
        errno = EISDIR;
        return err_errno(e, o->path);
    }
    if (there && output_note(o, &st, e) < 0)
        return -1;
    o->target = place_of(o->path, &number, e);
    if (!o->target)
        return -1;
    if (number >= 0)
        o->fd = place_open_descriptor(o->path, number, e);
    else if (!there || S_ISREG(st.st_mode))
        return output_open_atomic(o, e);
    else if ((o->fd = open(o->path, O_WRONLY | O_CLOEXEC)) < 0)
        err_errno(e, o->path);
    return o->fd < 0 ? -1 : 0;
}

static int output_open_standard(struct output *o, struct err *e)
{
    struct stat st;
    o->fd = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3);
    if (o->fd < 0 || fstat(o->fd, &st) < 0)
        return err_errno(e, output_name(o));
    return output_note(o, &st, e);
}

static int try_place(const char *path, const char *target, int in_place)
{
    struct stat st;
    struct err ignored;
    int there = stat(path, &st) == 0;
    if (there && S_ISDIR(st.st_mode)) {
        errno = EISDIR;
        return -1;
    }
    if (there && (in_place || !S_ISREG(st.st_mode)))
        return faccessat(AT_FDCWD, path, W_OK, AT_EACCESS);
    char *folder = place_folder(target, &ignored);
    int result = folder ? faccessat(AT_FDCWD, folder, W_OK | X_OK, AT_EACCESS) : -1;
    free(folder);
    return result;
}

int output_try(const char *path, int in_place, struct err *e)
{
    int number;
    if (!path || !strcmp(path, "-"))
        return 0;
    char *target = place_of(path, &number, e);
    if (!target)
        return -1;
    int result = number < 0 && try_place(path, target, in_place) < 0 ? place_missing(e, path) : 0;
    free(target);
    return result;
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
    int result = o->path ? output_open_named(o, e) : output_open_standard(o, e);
    if (result < 0)
        output_abort(o);
    return result;
}

int output_open_binary(struct output *o, const char *path, struct err *e)
{
    if (output_open(o, path, e) < 0)
        return -1;
    if (o->atomic || !isatty(o->fd))
        return 0;
    output_abort(o);
    return err_set(e, STATUS_USAGE,
                   "binary output is not written to a terminal: use -o FILE, a pipe, or "
                   "`toks view`");
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

int output_sync(struct output *o, struct err *e)
{
    int result = drain(o, e);
    if (result == 0 && o->atomic)
        result = sync_fd(o->fd, o->path, e);
    o->synced = result == 0;
    return result;
}

// Its first name, of the file that has none: 0 with the file in place or beside it, -1.
static int output_link(struct output *o, struct err *e)
{
    char self[64];
    snprintf(self, sizeof self, "/proc/self/fd/%d", o->fd);
    if (linkat(AT_FDCWD, self, AT_FDCWD, o->target, AT_SYMLINK_FOLLOW) == 0)
        return 0;
    if (errno != EEXIST)
        return err_errno(e, o->path);
    o->temporary = place_beside(o->target, e);
    if (!o->temporary || litter_add(o->temporary, e) < 0)
        return -1;
    if (linkat(AT_FDCWD, self, AT_FDCWD, o->temporary, AT_SYMLINK_FOLLOW) == 0)
        return 0;
    err_errno(e, o->path);
    forget_temporary(o);
    return -1;
}

// On the disk before the name shows it, and the name too where it had another file: whatever
// happens to the machine, the old file is there, or none, or the new one, whole.
static int output_install(struct output *o, struct err *e)
{
    if ((!o->synced && sync_fd(o->fd, o->path, e) < 0) || (!o->temporary && output_link(o, e) < 0))
        return -1;
    if (!o->temporary)
        return 0; // a new name
    if (rename(o->temporary, o->target) < 0)
        return err_errno(e, o->path);
    forget_temporary(o);
    char *folder = place_folder(o->target, e);
    int result = folder ? sync_folder(folder, e) : -1;
    free(folder);
    return result < 0 ? err_prefix(e, "%s: is there, but its folder is not synced", o->path) : 0;
}

int output_commit(struct output *o, struct err *e)
{
    int result = err_whole(e) == 0 ? drain(o, e) : -1;
    if (result == 0 && o->atomic)
        result = output_install(o, e);
    if (result == 0) {
        int fd = o->fd;
        o->fd = -1;
        // What is synced can lose nothing any more, and has its name already.
        if (close(fd) < 0 && !o->atomic)
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
        forget_temporary(o);
    }
    if (o->old.st_ino)
        touched_output_end(&o->old);
    o->old.st_ino = 0;
    free(o->target);
    o->target = NULL;
    free(o->data);
    o->data = NULL;
}

int io_open_in_place(const char *path, int mode, struct err *e)
{
    struct stat st;
    int number, fd;
    char *target = place_of(path, &number, e);
    if (!target)
        return -1;
    if (number >= 0)
        fd = place_open_descriptor(path, number, e);
    else if ((fd = open(path, mode | O_CREAT | O_CLOEXEC, 0666)) < 0)
        err_errno(e, path);
    free(target);
    if (fd < 0)
        return -1;
    int result = fstat(fd, &st) < 0 ? err_errno(e, path) : touched_output(&st, path, e);
    if (result == 0)
        return fd;
    close(fd);
    return -1;
}

int io_close_in_place(int fd)
{
    struct stat st;
    if (fstat(fd, &st) == 0)
        touched_output_end(&st);
    return close(fd);
}

int io_make_directory(int at, const char *path, struct err *e)
{
    if (mkdirat(at, path, 0777) == 0)
        return 0;
    struct stat st;
    if (errno == EEXIST && fstatat(at, path, &st, 0) == 0 && S_ISDIR(st.st_mode))
        return 0;
    return place_errno(e, at, path);
}

int io_look(int at, const char *path, struct err *e)
{
    struct stat st;
    if (fstatat(at, path, &st, AT_SYMLINK_NOFOLLOW) == 0)
        return 1;
    return errno == ENOENT || errno == ENOTDIR ? 0 : place_errno(e, at, path);
}

int io_exists(int at, const char *path)
{
    struct stat st;
    return fstatat(at, path, &st, AT_SYMLINK_NOFOLLOW) == 0 ||
           (errno != ENOENT && errno != ENOTDIR);
}

int io_remove_tree(int at, const char *path, struct err *e)
{
    if (unlinkat(at, path, 0) == 0 || errno == ENOENT)
        return 0;
    if (errno != EISDIR && errno != EPERM)
        return place_errno(e, at, path);
    int fd = openat(at, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return place_errno(e, at, path);
    DIR *directory = fdopendir(fd);
    if (!directory) {
        place_errno(e, at, path);
        close(fd);
        return -1;
    }
    int result = 0, more = 0;
    const char *name;
    while (result == 0 && (more = listing_next(directory, &name)) > 0)
        result = io_remove_tree(fd, name, e);
    if (more < 0)
        result = place_errno(e, at, path);
    closedir(directory);
    if (result == 0 && unlinkat(at, path, AT_REMOVEDIR) < 0 && errno != ENOENT)
        result = place_errno(e, at, path);
    return result;
}

int io_write_file(int at, const char *path, const void *data, size_t size, struct err *e)
{
    int fd = openat(at, path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (fd < 0)
        return place_errno(e, at, path);
    int result = io_write(fd, data, size, placed(at, path).text, e);
    if (close(fd) < 0 && result == 0)
        result = place_errno(e, at, path);
    return result;
}

int io_copy_file(int from_at, const char *from, int to_at, const char *to, struct err *e)
{
    int in = io_open_regular(from_at, from, e);
    if (in < 0)
        return -1;
    int out = openat(to_at, to, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (out < 0) {
        place_errno(e, to_at, to);
        close(in);
        return -1;
    }
    char data[1 << 16];
    int64_t n;
    int result = 0;
    while (result == 0 && (n = io_read(in, data, sizeof data, from, e)) != 0)
        result = n < 0 ? -1 : io_write(out, data, (size_t)n, placed(to_at, to).text, e);
    close(in);
    if (close(out) < 0 && result == 0)
        result = place_errno(e, to_at, to);
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

int io_reader_gone(void)
{
    struct pollfd out = {.fd = STDOUT_FILENO};
    return poll(&out, 1, 0) == 1 && (out.revents & POLLERR);
}

int io_wait_readable(int fd, struct err *e)
{
    struct pollfd all[3] = {{.fd = fd, .events = POLLIN},
                            {.fd = STDOUT_FILENO},
                            {.fd = signals_stop_fd(), .events = POLLIN}};
    for (;;) {
        int n = poll(all, 3, -1);
        if (n < 0 && errno != EINTR)
            return err_errno(e, "standard input");
        if (signals_check_stop(e) < 0)
            return -1;
        if (n < 0)
            continue;
        if (all[0].revents)
            return 0;
        if (all[1].revents & POLLERR)
            return err_set(e, STATUS_PIPE, "standard output: its reader has exited");
        all[1].fd = -1; // closed, or of no interest
    }
}
