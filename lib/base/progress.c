// SPDX-License-Identifier: MIT
#include "base/progress.h"
#include "base/io.h"
#include "base/json.h"
#include "base/memory.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

// A rate forgets what is a minute old, so that the time left follows a run that changes its pace.
static const double RATE_SECONDS = 60;

void progress_init(struct progress *p, const char *unit, int64_t total)
{
    memset(p, 0, sizeof *p);
    p->unit = unit;
    p->total = total;
    p->exact = total > 0;
    p->started = p->measured = p->printed = clock_seconds();
    p->form = message_is_quiet() ? PROGRESS_OFF
              : board_terminal() ? PROGRESS_TERMINAL
                                 : PROGRESS_PLAIN;
    if (p->form != PROGRESS_OFF)
        board_join(p->form == PROGRESS_TERMINAL);
    p->due = -INFINITY;
    progress_update(p, 0, "%s", "");
}

void progress_resume(struct progress *p, int64_t position)
{
    p->position = position;
    p->due = -INFINITY;
    progress_update(p, position, "%s", "");
}

void progress_restart(struct progress *p)
{
    p->total = p->position = 0;
    p->exact = 0;
    p->recent_units = p->recent_seconds = 0;
    p->measured = clock_seconds();
}

void progress_total(struct progress *p, int64_t total)
{
    p->total = total;
    p->exact = total > 0;
}

void progress_follow(struct progress *p, double units_per_record)
{
    p->follow = units_per_record;
}

void progress_estimate(struct progress *p, double total)
{
    if (!p->exact && total > 0 && total < 1e15)
        p->total = llround(total);
}

void progress_advance(struct progress *p, int64_t position, double now)
{
    double seconds = now - p->measured, keep = exp(-seconds / RATE_SECONDS);
    if (position > p->position) {
        p->recent_units = keep * p->recent_units + (double)(position - p->position);
        p->recent_seconds = keep * p->recent_seconds + seconds;
        p->measured = now;
    }
    p->position = position;
}

double progress_left(const struct progress *p, double now)
{
    double units = (double)(p->total - p->position);
    if (p->total <= 0 || units < 0 || p->recent_units <= 0 || now - p->started < 1)
        return -1;
    double left = units * p->recent_seconds / p->recent_units - (now - p->measured);
    return left > 0 ? left : 0;
}

int progress_due(const struct progress *p, double now)
{
    double every = fmin(fmax(30, (now - p->started) / 10), 600);
    return now - p->printed >= every;
}

void progress_print(const struct progress *p, char *out, size_t size, const char *details)
{
    char total[64] = "";
    int known = p->total > 0 && p->total >= p->position;
    if (known)
        snprintf(total, sizeof total, "/%s%" PRId64 "  %d %%", p->exact ? "" : "~", p->total,
                 (int)(100 * (double)p->position / (double)p->total));
    snprintf(out, size, "%s %" PRId64 "%s%s%s", p->unit, p->position, total, *details ? "  " : "",
             details);
}

// What the program before this one in the pipeline says.
static void ask_upstream(struct progress *p)
{
    int exact = 0;
    int64_t records = p->follow > 0 && !p->exact ? board_upstream(&exact) : 0;
    if (records > 0) {
        p->total = (int64_t)ceil((double)records * p->follow);
        p->exact = exact;
    }
}

static void show(struct progress *p, const char *details, double now)
{
    struct board_line line = {.started = p->started, .records = p->total, .exact = p->exact};
    double left = progress_left(p, now);
    snprintf(line.name, sizeof line.name, "%s", message_name());
    progress_print(p, line.text, sizeof line.text, details);
    line.ends = left >= 0 ? now + left : 0;
    board_show(&line);
    if (p->form == PROGRESS_PLAIN && progress_due(p, now)) {
        char text[400];
        line.name[0] = '\0';
        board_print(text, sizeof text, &line, 0, sizeof text, now);
        p->printed = now;
        message_note("%s", text);
    }
}

void progress_update(struct progress *p, int64_t position, const char *format, ...)
{
    char details[160];
    if (p->form == PROGRESS_OFF)
        return;
    double now = clock_seconds();
    progress_advance(p, position, now);
    if (now < p->due)
        return;
    p->due = now + 0.1;
    va_list ap;
    va_start(ap, format);
    vsnprintf(details, sizeof details, format, ap);
    va_end(ap);
    ask_upstream(p);
    show(p, details, now);
}

void progress_end(struct progress *p)
{
    if (p->form == PROGRESS_OFF)
        return;
    p->form = PROGRESS_OFF;
    board_leave(p->position);
}

double progress_seconds(const struct progress *p)
{
    return clock_seconds() - p->started;
}
void progress_closing(const struct progress *p, uint64_t tokens, char out[64])
{
    char time[32];
    double seconds = progress_seconds(p);
    duration_print(time, seconds);
    snprintf(out, 64, "%s, %.0f tokens/s", time, (double)tokens / (seconds + 1e-9));
}

int metrics_open(struct metrics *m, const char *path, struct err *e)
{
    struct stat st;
    m->fd = -1;
    m->replaces = 0;
    m->path = path;
    if (!path)
        return 0;
    m->fd = io_open_in_place(path, O_WRONLY, e);
    if (m->fd < 0)
        return -1;
    // Not cut yet: what is opened later may turn out to be the same file. Nor what the shell opened
    // for appending.
    m->replaces = fstat(m->fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_size > 0 &&
                  !(fcntl(m->fd, F_GETFL) & O_APPEND) && lseek(m->fd, 0, SEEK_CUR) == 0;
    return 0;
}

static int metrics_replace(struct metrics *m, struct err *e)
{
    int replaces = m->replaces;
    m->replaces = 0;
    return replaces && ftruncate(m->fd, 0) < 0 ? err_errno(e, m->path) : 0;
}

static int line_belongs(const char *line, size_t size, int64_t step)
{
    json_t *j = json_loadb(line, size, 0, NULL);
    int keep = j && json_integer_value(json_object_get(j, "step")) <= step;
    json_decref(j);
    return keep;
}

int metrics_resume(struct metrics *m, const char *path, int64_t step, int64_t lines, struct err *e)
{
    struct buffer old;
    struct stat st;
    int there = path && stat(path, &st) == 0;
    if (path && !there && errno != ENOENT)
        return err_errno(e, path);
    if (!there || !S_ISREG(st.st_mode))
        return metrics_open(m, path, e);
    // Lines go on in order, so what belongs is the beginning: cut there, in one step, a run that is
    // killed here loses nothing.
    size_t keep = 0;
    m->path = path;
    m->replaces = 0;
    m->fd = io_open_in_place(path, O_RDWR | O_APPEND, e);
    if (m->fd < 0)
        return -1;
    if ((fcntl(m->fd, F_GETFL) & O_ACCMODE) != O_RDWR)
        return 0; // the shell opened it
    buffer_init(&old, 0);
    int result = io_read_fd(m->fd, path, &old, e);
    for (int64_t i = 0; result == 0 && keep < old.size && i != lines; i++) {
        const char *line = old.data + keep, *end = memchr(line, '\n', old.size - keep);
        if (!end || (lines < 0 && !line_belongs(line, (size_t)(end - line), step)))
            break; // also half a line of a killed run
        keep += (size_t)(end - line) + 1;
    }
    if (result == 0 && ftruncate(m->fd, (off_t)keep) < 0)
        result = err_errno(e, path);
    buffer_release(&old);
    return result;
}

int metrics_write(struct metrics *m, json_t *object, struct err *e)
{
    int result = 0;
    if (m->fd >= 0) {
        // Nine digits tell more than any of these figures means.
        char *text = json_text(object, JSON_COMPACT | JSON_REAL_PRECISION(9), e);
        struct buffer line;
        buffer_init(&line, 0);
        result = err_whole(e);
        if (result == 0)
            result = text ? buffer_printf(&line, e, "%s\n", text) : err_memory(e, 0, "metrics");
        if (result == 0)
            result = metrics_replace(m, e);
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
    if (fd >= 0 && io_close_in_place(fd) < 0)
        return err_errno(e, m->path);
    return 0;
}
