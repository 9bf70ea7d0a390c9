// SPDX-License-Identifier: MIT
#include "base/progress.h"
#include "base/io.h"
#include "base/json.h"
#include "base/memory.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

double clock_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

void progress_init(struct progress *p, int enabled)
{
    memset(p, 0, sizeof *p);
    p->enabled = enabled && isatty(STDERR_FILENO);
    p->started = clock_seconds();
}

void progress_update(struct progress *p, const char *format, ...)
{
    if (!p->enabled)
        return;
    double now = clock_seconds();
    if (p->shown && now - p->last < 0.1)
        return;
    p->last = now;
    p->shown = 1;
    char line[256] = "\r";
    va_list ap;
    va_start(ap, format);
    vsnprintf(line + 1, sizeof line - 8, format, ap);
    va_end(ap);
    strcat(line, "\033[K");
    ssize_t written = write(STDERR_FILENO, line, strlen(line));
    (void)written;
}

void progress_clear(struct progress *p)
{
    if (!p->enabled || !p->shown)
        return;
    p->shown = 0;
    ssize_t written = write(STDERR_FILENO, "\r\033[K", 4);
    (void)written;
}

int metrics_open(struct metrics *m, const char *path, struct err *e)
{
    m->fd = -1;
    m->path = path;
    if (!path)
        return 0;
    m->fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    return m->fd < 0 ? err_errno(e, path) : 0;
}

static int line_belongs(const char *line, size_t size, int64_t step)
{
    json_t *j = json_loadb(line, size, 0, NULL);
    int keep = j && json_integer_value(json_object_get(j, "step")) <= step;
    json_decref(j);
    return keep;
}

int metrics_resume(struct metrics *m, const char *path, int64_t step, struct err *e)
{
    struct buffer old;
    struct stat st;
    if (!path || stat(path, &st) < 0 || !S_ISREG(st.st_mode))
        return metrics_open(m, path, e);
    // Lines go on in order, so what belongs is the beginning: cut there, in one step, a run that is
    // killed here loses nothing.
    size_t keep = 0;
    buffer_init(&old, 0);
    int result = io_read_file(path, &old, e);
    while (result == 0 && keep < old.size) {
        const char *line = old.data + keep, *end = memchr(line, '\n', old.size - keep);
        if (!end || !line_belongs(line, (size_t)(end - line), step))
            break; // also half a line of a killed run
        keep += (size_t)(end - line) + 1;
    }
    m->path = path;
    m->fd = result == 0 ? open(path, O_WRONLY | O_APPEND | O_CLOEXEC) : -1;
    if (result == 0 && (m->fd < 0 || ftruncate(m->fd, (off_t)keep) < 0))
        result = err_errno(e, path);
    buffer_release(&old);
    return result;
}

int metrics_write(struct metrics *m, json_t *object, struct err *e)
{
    int result = 0;
    if (m->fd >= 0) {
        // Nine digits tell more than any of these figures means.
        char *text = json_dumps(object, JSON_COMPACT | JSON_REAL_PRECISION(9));
        struct buffer line;
        buffer_init(&line, 0);
        result = text ? buffer_printf(&line, e, "%s\n", text) : err_memory(e, 0, "metrics");
        if (result == 0)
            result = io_write(m->fd, line.data, line.size, m->path, e);
        buffer_release(&line);
        free(text);
    }
    json_decref(object);
    return result;
}

int metrics_close(struct metrics *m, struct err *e)
{
    int fd = m->fd;
    m->fd = -1;
    if (fd >= 0 && close(fd) < 0)
        return err_errno(e, m->path);
    return 0;
}
