// SPDX-License-Identifier: MIT
#include "events/metrics_source.h"
#include "base/hash.h"
#include "base/io.h"
#include "base/listing.h"
#include "base/utf8.h"
#include "model/directory.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static const char metrics_name[] = "metrics.jsonl", card_name[] = "README.md";
enum { PIPE_BYTES = 1 << 16 };

struct line {
    uint64_t hash;
    uint64_t size; // with its line break
};

// ---- which file it is

// 1: a directory; 0: something else, or nothing; -1: *e.
static int is_directory(const char *path, struct err *e)
{
    struct stat st;
    if (stat(path, &st) == 0)
        return S_ISDIR(st.st_mode);
    return errno == ENOENT || errno == ENOTDIR ? 0 : err_errno(e, path);
}

// PATH without slashes at its end and without .partial, unless nothing else is left.
static char *result_of(const char *path, int *partial, struct err *e)
{
    char *name = directory_beside(path, "", e);
    size_t suffix = strlen(directory_partial);
    *partial = name && strlen(name) > suffix && listing_ends(name, directory_partial) &&
               name[strlen(name) - suffix - 1] != '/';
    if (*partial)
        name[strlen(name) - suffix] = 0;
    return name;
}

static int open_file(struct metrics_source *m, struct err *e)
{
    struct stat st;
    m->kind = METRICS_PIPE;
    m->fd = io_open_input(m->path, e);
    if (m->fd < 0)
        return -1;
    if (!strcmp(m->path, "-") || fstat(m->fd, &st) < 0 || !S_ISREG(st.st_mode))
        return 0;
    m->kind = METRICS_FILE;
    close(m->fd);
    m->fd = -1;
    return (m->file = strdup(m->path)) ? 0 : err_memory(e, strlen(m->path), "a name");
}

// Whether PATH is a run's directory, or that of its result: 1, 0 or -1. What is not there yet will
// be one.
static int is_run(const char *path, const char *directory, int partial, int await, struct err *e)
{
    int is = is_directory(path, e);
    if (is != 0 || io_exists(AT_FDCWD, path))
        return is;
    char *beside = directory_beside(directory, directory_partial, e);
    is = beside ? is_directory(beside, e) : -1;
    free(beside);
    return is != 0 ? is : partial || await;
}

int metrics_source_open(struct metrics_source *m, const char *path, int await, struct err *e)
{
    memset(m, 0, sizeof *m);
    m->path = path;
    m->fd = -1;
    buffer_init(&m->fresh, 0);
    buffer_init(&m->rest, 0);
    if (!strcmp(path, "-"))
        return open_file(m, e);
    m->directory = result_of(path, &m->partial_first, e);
    int is = m->directory ? is_run(path, m->directory, m->partial_first, await, e) : -1;
    m->kind = METRICS_DIRECTORY;
    if (is != 0)
        return is < 0 ? -1 : 0;
    free(m->directory);
    m->directory = NULL;
    return open_file(m, e);
}

void metrics_source_close(struct metrics_source *m)
{
    if (m->fd >= 0)
        close(m->fd);
    free(m->directory);
    free(m->file);
    free(m->line);
    buffer_release(&m->fresh);
    buffer_release(&m->rest);
}

char *metrics_source_name(const struct metrics_source *m, struct err *e)
{
    char *real = m->kind == METRICS_DIRECTORY ? realpath(m->directory, NULL) : NULL;
    const char *path = real ? real : m->directory ? m->directory : m->path;
    const char *slash = strrchr(path, '/');
    char *name = strdup(slash ? slash + 1 : path);
    if (name && listing_ends(name, ".jsonl"))
        name[strlen(name) - strlen(".jsonl")] = 0;
    free(real);
    if (!name)
        err_memory(e, strlen(path), "a name");
    return name;
}

// `directory` or its .partial has metrics: their descriptor; -2: it has none; -1: *e.
static int open_in(struct metrics_source *m, int partial, struct err *e)
{
    char *folder = directory_beside(m->directory, partial ? directory_partial : "", e);
    char *path = folder ? io_path(folder, metrics_name, e) : NULL;
    int fd = path ? io_open_regular(AT_FDCWD, path, e) : -1;
    free(folder);
    if (fd >= 0) {
        free(m->file);
        m->file = path;
        m->in_directory = !partial;
        return fd;
    }
    fd = path && (errno == ENOENT || errno == ENOTDIR) ? -2 : -1;
    free(path);
    return fd;
}

// While a program writes the directory, what it writes is in .partial, and `directory` may be what
// that replaces.
static int open_current(struct metrics_source *m, struct err *e)
{
    char *lock = directory_beside(m->directory, ".lock", e);
    if (!lock)
        return -1;
    int partial = m->partial_first || io_exists(AT_FDCWD, lock), fd = open_in(m, partial, e);
    free(lock);
    if (fd == -2)
        fd = open_in(m, !partial, e);
    // Renamed between the two looks.
    return fd == -2 ? open_in(m, partial, e) : fd;
}

// ---- lines

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static int add_line(struct metrics_source *m, const char *text, size_t size, struct err *e)
{
    if (MEM_GROW(m->line, m->capacity, m->n + 1, "lines", e) < 0)
        return -1;
    m->line[m->n++] = (struct line){hash_bytes(text, size), size};
    m->at += size;
    return 0;
}

// What of `fresh` is no whole line becomes `rest`.
static int divide(struct metrics_source *m, struct err *e)
{
    const char *end = m->fresh.size ? memrchr(m->fresh.data, '\n', m->fresh.size) : NULL;
    size_t whole = end ? (size_t)(end - m->fresh.data) + 1 : 0;
    buffer_clear(&m->rest);
    if (m->fresh.size &&
        buffer_append(&m->rest, m->fresh.data + whole, m->fresh.size - whole, e) < 0)
        return -1;
    m->fresh.size = whole;
    for (size_t at = 0; at < whole;) {
        const char *line = m->fresh.data + at, *next = memchr(line, '\n', whole - at);
        size_t size = (size_t)(next - line) + 1;
        if (add_line(m, line, size, e) < 0)
            return -1;
        at += size;
    }
    return 0;
}

// Whether the last line that was given is where it was. Seconds stand in it, which do not come
// again.
static int is_same(const struct metrics_source *m, int fd, uint64_t file_size)
{
    if (!m->n)
        return 1;
    const struct line *last = &m->line[m->n - 1];
    char *text = file_size >= m->at ? malloc((size_t)last->size) : NULL;
    int same =
        text &&
        pread(fd, text, (size_t)last->size, (off_t)(m->at - last->size)) == (ssize_t)last->size &&
        hash_bytes(text, (size_t)last->size) == last->hash;
    free(text);
    return same;
}

// The file is another from some line on: all of it is in `fresh`, of which those lines that were
// given are taken away.
static void forget(struct metrics_source *m)
{
    size_t n = 0;
    uint64_t at = 0;
    while (n < m->n && m->line[n].size <= m->fresh.size - at &&
           hash_bytes(m->fresh.data + at, (size_t)m->line[n].size) == m->line[n].hash)
        at += m->line[n++].size;
    memmove(m->fresh.data, m->fresh.data + at, (size_t)(m->fresh.size - at));
    m->fresh.size -= (size_t)at;
    m->n = m->kept = n;
    m->at = at;
}

static int read_file(struct metrics_source *m, int fd, struct err *e)
{
    struct stat st;
    if (fstat(fd, &st) < 0)
        return err_errno(e, m->file);
    m->time = (double)st.st_mtim.tv_sec + (double)st.st_mtim.tv_nsec * 1e-9;
    int same = is_same(m, fd, (uint64_t)st.st_size);
    if (lseek(fd, same ? (off_t)m->at : 0, SEEK_SET) < 0)
        return err_errno(e, m->file);
    if (io_read_fd(fd, m->file, &m->fresh, e) < 0)
        return -1;
    if (!same && m->fresh.size)
        forget(m);
    else if (!same)
        m->n = m->kept = 0, m->at = 0;
    return divide(m, e);
}

static int read_pipe(struct metrics_source *m, int follow, struct err *e)
{
    struct pollfd p = {.fd = m->fd, .events = POLLIN};
    const char *name = io_name(m->path);
    if (m->rest.size && buffer_append(&m->fresh, m->rest.data, m->rest.size, e) < 0)
        return -1;
    if (!follow && io_read_fd(m->fd, name, &m->fresh, e) < 0)
        return -1;
    m->finished = !follow;
    if (follow && poll(&p, 1, 0) > 0) {
        if (buffer_reserve(&m->fresh, PIPE_BYTES, e) < 0)
            return -1;
        ssize_t n = read(m->fd, m->fresh.data + m->fresh.size, PIPE_BYTES);
        if (n < 0 && errno != EINTR && errno != EAGAIN)
            return err_errno(e, name);
        m->finished = n == 0;
        m->fresh.size += n > 0 ? (size_t)n : 0;
    }
    return divide(m, e);
}

// ---- the run

// Whether the directory is complete; asked before its metrics are read, which were written before.
static int is_finished(const struct metrics_source *m, struct err *e)
{
    struct directory_note note;
    int fd = open(m->directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT ? 0 : err_errno(e, m->directory);
    int finished = directory_read_note(fd, &note, e);
    close(fd);
    if (finished < 0)
        return err_prefix(e, "%s", m->directory);
    finished = note.finished;
    directory_release_note(&note);
    return finished;
}

static int nothing_there(const struct metrics_source *m, struct err *e)
{
    if (!io_exists(AT_FDCWD, m->path) && !io_exists(AT_FDCWD, m->directory))
        return err_set(e, STATUS_FAILED, "%s: %s", m->path, strerror(ENOENT));
    return err_set(e, STATUS_FAILED,
                   "%s: no %s in it: of a run with --metrics FILE give that file, of a pipeline in "
                   "stages a file of OUT.stages",
                   m->path, metrics_name);
}

int metrics_source_poll(struct metrics_source *m, int follow, struct err *e)
{
    buffer_clear(&m->fresh);
    m->kept = m->n;
    m->time = now();
    if (m->kind == METRICS_PIPE)
        return read_pipe(m, follow, e);
    int directory = m->kind == METRICS_DIRECTORY;
    int finished = directory && follow ? is_finished(m, e) : 0;
    if (finished < 0)
        return -1;
    int fd = directory ? open_current(m, e) : io_open_regular(AT_FDCWD, m->file, e);
    if (fd == -2)
        return follow ? 0 : nothing_there(m, e);
    if (fd < 0)
        return -1;
    int result = read_file(m, fd, e);
    close(fd);
    m->finished = finished && m->in_directory;
    return result;
}

int metrics_source_card(const struct metrics_source *m, struct buffer *text, struct err *e)
{
    if (!m->directory || !m->in_directory)
        return 0;
    char *path = io_path(m->directory, card_name, e);
    if (!path)
        return -1;
    int result = io_read_regular(AT_FDCWD, path, text, e), why = errno;
    free(path);
    if (result < 0 && why == ENOENT)
        return 0;
    if (result == 0 && utf8_valid_prefix(text->data, text->size) < text->size)
        buffer_clear(text);
    return result;
}
