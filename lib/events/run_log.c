// SPDX-License-Identifier: MIT
#include "events/run_log.h"
#include "base/json.h"
#include "base/json_read.h"

#include <inttypes.h>
#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static int check_name(const char *name, struct err *e)
{
    if (*name && strcmp(name, "-") != 0 && strcmp(name, ".") != 0 && strcmp(name, "..") != 0 &&
        !strchr(name, '/'))
        return 0;
    return err_set(e, STATUS_USAGE, "'%s' is no name for a run: give one as NAME=RUN", name);
}

int run_log_open(struct run_log *l, const char *path, const char *name, const char *logdir,
                 int follow, struct err *e)
{
    memset(l, 0, sizeof *l);
    l->file.fd = -1;
    buffer_init(&l->records, 0);
    event_scalars_init(&l->scalars);
    if (metrics_source_open(&l->metrics, path, follow, e) < 0)
        return -1;
    char *own = name ? NULL : metrics_source_name(&l->metrics, e);
    int result = name || own ? check_name(name ? name : own, e) : -1;
    if (result == 0)
        result = event_file_open(&l->file, logdir, name ? name : own, e);
    free(own);
    return result;
}

void run_log_release(struct run_log *l)
{
    metrics_source_close(&l->metrics);
    event_file_close(&l->file);
    event_scalars_release(&l->scalars);
    buffer_release(&l->records);
    free(l->step);
}

// ---- a line

static json_t *parse_line(const struct run_log *l, const char *text, size_t size, size_t number,
                          struct err *e)
{
    char name[PATH_MAX + 32];
    const char *file = l->metrics.file ? l->metrics.file : io_name(l->metrics.path);
    snprintf(name, sizeof name, "%s: line %zu", file, number);
    json_t *line = json_read(text, size, 0);
    int64_t step;
    if (!line && !(line = json_parse(text, size, name, e)))
        return NULL;
    int has = json_is_object(line) ? json_get_int(line, "step", &step, name, e)
                                   : err_set(e, STATUS_FAILED, "%s: not a JSON object", name);
    if (has == 0)
        err_set(e, STATUS_FAILED, "%s: no key `step`: not metrics of a run", name);
    if (has > 0)
        return line;
    json_decref(line);
    return NULL;
}

static double seconds_of(const json_t *line)
{
    double t = json_number_value(json_object_get(line, "step_time"));
    return t > 0 && isfinite(t) ? t : 0;
}

static int add_scalar(struct run_log *l, const char *key, const json_t *value, struct err *e)
{
    static const char *const group[] = {"eval", "test"};
    struct buffer tag;
    int result = -1;
    buffer_init(&tag, 0);
    for (size_t i = 0; i < sizeof group / sizeof *group && !tag.size; i++)
        if (!strncmp(key, group[i], strlen(group[i])) && key[strlen(group[i])] == '_')
            result = buffer_printf(&tag, e, "%s/%s", group[i], key + strlen(group[i]) + 1);
    if (!tag.size)
        result = buffer_printf(&tag, e, "train/%s", key);
    if (result >= 0)
        result = event_scalars_add(&l->scalars, tag.data, json_number_value(value), e);
    buffer_release(&tag);
    l->written += result == 0;
    return result;
}

static int tell_line(struct run_log *l, const json_t *line, double time, struct err *e)
{
    const char *key;
    json_t *value;
    if (MEM_GROW(l->step, l->capacity, l->n + 1, "updates", e) < 0)
        return -1;
    int64_t step = json_integer_value(json_object_get(line, "step"));
    l->step[l->n++] = step;
    l->time = fmax(l->time, time);
    if (!l->begun)
        l->begun = l->time;
    json_object_foreach((json_t *)line, key, value)
    {
        if (json_is_number(value) && strcmp(key, "step") != 0 && add_scalar(l, key, value, e) < 0)
            return -1;
    }
    return event_scalars_end(&l->scalars, &l->records, l->time, step, e);
}

// ---- a look

// The next line of `fresh`, from `at` on, parsed; NULL: *e. `ahead` lines stand before it there.
static json_t *next_line(struct run_log *l, size_t *at, size_t ahead, struct err *e)
{
    const struct buffer *b = &l->metrics.fresh;
    const char *text = b->data + *at, *end = memchr(text, '\n', b->size - *at);
    size_t size = end ? (size_t)(end - text) : b->size - *at;
    *at += size + 1;
    return parse_line(l, text, size, l->n + ahead + 1, e);
}

// Of all lines; with it each is seen to be good before any is told.
static int sum_seconds(struct run_log *l, double *seconds, struct err *e)
{
    size_t lines = 0;
    *seconds = 0;
    for (size_t at = 0; at < l->metrics.fresh.size; lines++) {
        json_t *line = next_line(l, &at, lines, e);
        if (!line)
            return -1;
        *seconds += seconds_of(line);
        json_decref(line);
    }
    return 0;
}

// A run that was killed may have left half a line, which it drops when it goes on.
static int take_rest(struct run_log *l, struct err *e)
{
    struct metrics_source *m = &l->metrics;
    json_t *line = m->rest.size ? json_read(m->rest.data, m->rest.size, 0) : NULL;
    if (m->rest.size && !line)
        message_warn("%s: the last line is not complete: it is left out",
                     m->file ? m->file : io_name(m->path));
    int result = line ? buffer_append(&m->fresh, m->rest.data, m->rest.size, e) : 0;
    json_decref(line);
    buffer_clear(&m->rest);
    return result;
}

static int tell_lines(struct run_log *l, struct err *e)
{
    double seconds;
    if (sum_seconds(l, &seconds, e) < 0)
        return -1;
    double time = l->metrics.time - seconds;
    for (size_t at = 0; at < l->metrics.fresh.size;) {
        json_t *line = next_line(l, &at, 0, e);
        int result = line ? 0 : -1;
        if (line) {
            time += seconds_of(line);
            result = tell_line(l, line, time, e);
        }
        json_decref(line);
        if (result < 0)
            return -1;
    }
    return 0;
}

static int tell_card(struct run_log *l, struct err *e)
{
    struct buffer card;
    if (l->has_text)
        return 0;
    buffer_init(&card, 0);
    int result = metrics_source_card(&l->metrics, &card, e);
    // What is above the heading is for the hub.
    const char *text = card.size ? strstr(card.data, "\n# ") : NULL;
    if (result == 0 && text) {
        text++;
        size_t size = card.size - (size_t)(text - card.data);
        int64_t last = l->n ? l->step[l->n - 1] : 0;
        result = event_text(&l->records, l->time, last, "card", text, size, e);
        l->has_text = 1;
    }
    buffer_release(&card);
    return result;
}

// Looks at the metrics: `records` is what is to be told of them.
static int look(struct run_log *l, int follow, struct err *e)
{
    struct metrics_source *m = &l->metrics;
    buffer_clear(&l->records);
    if (metrics_source_poll(m, follow, e) < 0)
        return -1;
    if (m->kept < l->n) {
        if (event_restart(&l->records, fmax(l->time, m->time), l->step[m->kept], e) < 0)
            return -1;
        l->n = m->kept;
        l->has_text = 0;
    }
    if ((!follow || m->finished) && take_rest(l, e) < 0)
        return -1;
    if (tell_lines(l, e) < 0)
        return -1;
    return (!follow || m->finished) ? tell_card(l, e) : 0;
}

int run_log_write(struct run_log *l, int follow, struct err *e)
{
    struct buffer all;
    if (look(l, follow, e) < 0)
        return -1;
    buffer_init(&all, 0);
    double time = l->begun ? l->begun : l->metrics.time;
    int result = event_version(&all, time, e);
    if (result == 0)
        result = buffer_append(&all, l->records.data, l->records.size, e);
    if (result == 0)
        result = event_file_write(&l->file, time, all.data, all.size, e);
    buffer_release(&all);
    return result;
}

int run_log_follow(struct run_log *l, struct err *e)
{
    if (look(l, 1, e) < 0 || event_file_append(&l->file, l->records.data, l->records.size, e) < 0)
        return -1;
    return l->metrics.finished;
}
