// SPDX-License-Identifier: MIT
#include "text/corpus.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/io.h"
#include "base/json_read.h"

enum { BLOCK = 1 << 16 };
enum kind { KIND_UNKNOWN, KIND_LINES, KIND_ARRAY, KIND_PLAIN };

int corpus_open(struct corpus *c, char *const *paths, size_t n_paths, struct err *e)
{
    static char standard_input[] = "-";
    static char *const none[] = {standard_input};
    memset(c, 0, sizeof *c);
    c->paths = n_paths ? paths : none;
    c->n_paths = n_paths ? n_paths : 1;
    c->fd = -1;
    buffer_init(&c->text, CORPUS_RECORD_MAX);
    c->block = mem_alloc(BLOCK, 1, "an input buffer", e);
    return c->block ? 0 : -1;
}

void corpus_close(struct corpus *c)
{
    if (c->fd >= 0)
        close(c->fd);
    free(c->block);
    buffer_release(&c->text);
    memset(c, 0, sizeof *c);
    c->fd = -1;
}

static int fail(const struct corpus *c, size_t line, struct err *e, const char *reason)
{
    return err_set(e, STATUS_FAILED, "%s:%zu: %s", c->file, line, reason);
}

// At least one unread byte: 1; end of file: 0; -1. Hands over what a pipe has, as soon as it has
// it.
static int fill(struct corpus *c, struct err *e)
{
    if (c->begin < c->end)
        return 1;
    int64_t n;
    do
        n = read(c->fd, c->block, BLOCK);
    while (n < 0 && errno == EINTR && !io_stop_requested());
    if (n < 0)
        return err_errno(e, c->file);
    c->begin = 0;
    c->end = (size_t)n;
    return n > 0;
}

static int append(struct corpus *c, size_t n, size_t line, struct err *e)
{
    if (c->text.size + n > CORPUS_RECORD_MAX)
        return fail(c, line, e, "a record is longer than 1 GiB");
    int result = buffer_append(&c->text, c->block + c->begin, n, e);
    c->begin += n;
    return result;
}

static int is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

// Moves to the next byte that is not white space: 1, 0 at the end, -1.
static int skip_blanks(struct corpus *c, struct err *e)
{
    int more;
    while ((more = fill(c, e)) > 0 && is_blank(c->block[c->begin]))
        c->line += c->block[c->begin++] == '\n';
    return more;
}

// A byte-order mark at the beginning is no text. (Files shorter than it have none.)
static void skip_mark(struct corpus *c)
{
    if (c->end - c->begin >= 3 && !memcmp(c->block + c->begin, "\xEF\xBB\xBF", 3))
        c->begin += 3;
}

static int claims_json(const char *path)
{
    static const char *const ends[] = {".json", ".jsonl", ".ndjson"};
    size_t n = strlen(path);
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++)
        if (n > strlen(ends[i]) && !strcmp(path + n - strlen(ends[i]), ends[i]))
            return 1;
    return 0;
}

static int open_next(struct corpus *c, struct err *e)
{
    c->file = io_name(c->paths[c->next_path]);
    c->fd = io_open_input(c->paths[c->next_path++], e);
    if (c->fd < 0)
        return -1;
    c->begin = c->end = 0;
    c->line = 1;
    c->kind = KIND_UNKNOWN;
    int more = fill(c, e);
    if (more <= 0)
        return more;
    skip_mark(c);
    // Blanks at the beginning of plain text belong to it: look without taking them where the block
    // shows the first sign.
    size_t first = c->begin;
    while (first < c->end && is_blank(c->block[first]))
        first++;
    if (first == c->end) {
        if ((more = skip_blanks(c, e)) <= 0)
            return more;
        first = c->begin;
    }
    c->kind = c->block[first] == '{'   ? KIND_LINES
              : c->block[first] == '[' ? KIND_ARRAY
                                       : KIND_PLAIN;
    if (c->kind == KIND_PLAIN && claims_json(c->file))
        return fail(c, c->line, e, "not valid JSON: it begins with neither { nor [");
    if (c->kind != KIND_PLAIN && skip_blanks(c, e) < 0)
        return -1;
    if (c->kind == KIND_ARRAY)
        c->begin++;
    return 0;
}

static void close_file(struct corpus *c)
{
    close(c->fd);
    c->fd = -1;
}

// One line that is not blank, without its end.
static int next_line(struct corpus *c, size_t *line, struct err *e)
{
    for (;;) {
        int more, seen = 0;
        buffer_clear(&c->text);
        *line = c->line;
        while ((more = fill(c, e)) > 0) {
            char *from = c->block + c->begin;
            char *stop = memchr(from, '\n', c->end - c->begin);
            seen = 1;
            if (append(c, stop ? (size_t)(stop - from) : c->end - c->begin, *line, e) < 0)
                return -1;
            if (stop) {
                c->begin++;
                c->line++;
                break;
            }
        }
        if (more < 0)
            return -1;
        if (c->text.size && c->text.data[c->text.size - 1] == '\r')
            c->text.data[--c->text.size] = 0;
        for (size_t i = 0; i < c->text.size; i++)
            if (!is_blank(c->text.data[i]))
                return 1;
        if (!seen)
            return 0;
    }
}

// Where the element that begins in the array ends: brackets and strings are counted.
static int copy_element(struct corpus *c, size_t line, struct err *e)
{
    int depth = 0, in_string = 0, escaped = 0, more;
    while ((more = fill(c, e)) > 0) {
        size_t i = c->begin;
        for (; i < c->end; i++) {
            char b = c->block[i];
            c->line += b == '\n';
            if (in_string) {
                in_string = escaped || b != '"';
                escaped = !escaped && b == '\\';
            } else if (b == '"') {
                in_string = 1;
            } else if (b == '{' || b == '[') {
                depth++;
            } else if ((b == '}' || b == ']') && depth-- == 0) {
                break; // the array's own end
            } else if (b == ',' && depth == 0) {
                break;
            }
        }
        int ended = i < c->end;
        if (append(c, i - c->begin, line, e) < 0)
            return -1;
        if (ended)
            return 1;
    }
    return more < 0 ? -1 : fail(c, c->line, e, "the file ends inside a JSON array");
}

static int next_element(struct corpus *c, size_t *line, int first, struct err *e)
{
    int more = skip_blanks(c, e);
    if (more > 0 && c->block[c->begin] == ']') {
        c->begin++;
        more = skip_blanks(c, e);
        return more > 0 ? fail(c, c->line, e, "something follows the JSON array") : more;
    }
    if (more > 0 && !first) {
        if (c->block[c->begin] != ',')
            return fail(c, c->line, e, "not valid JSON: no ',' between records");
        c->begin++;
        more = skip_blanks(c, e);
    }
    if (more <= 0)
        return more < 0 ? -1 : fail(c, c->line, e, "the file ends inside a JSON array");
    buffer_clear(&c->text);
    *line = c->line;
    return copy_element(c, *line, e);
}

int corpus_next(struct corpus *c, struct corpus_entry *entry, struct err *e)
{
    for (;;) {
        int first = 0, more = 0;
        if (c->fd < 0) {
            if (c->next_path == c->n_paths)
                return 0;
            if (open_next(c, e) < 0)
                return -1;
            first = 1;
        }
        size_t line = c->line;
        if (c->kind == KIND_ARRAY)
            more = next_element(c, &line, first, e);
        else if (c->kind != KIND_UNKNOWN)
            more = next_line(c, &line, e);
        if (more < 0)
            return -1;
        if (more) {
            *entry = (struct corpus_entry){c->text.data, c->text.size, c->file,
                                           line,         ++c->records, c->kind == KIND_PLAIN};
            return 1;
        }
        close_file(c);
    }
}

json_t *corpus_parse(const struct corpus_entry *entry, struct err *e)
{
    json_error_t error;
    json_t *value = json_read(entry->text, entry->size);
    if (!value)
        value =
            json_loadb(entry->text, entry->size, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &error);
    if (!value) {
        size_t line = entry->line + (error.line > 1 ? (size_t)error.line - 1 : 0);
        err_set(e, STATUS_FAILED, "%s:%zu: not valid JSON: %s", entry->file, line, error.text);
    } else if (!json_is_object(value)) {
        json_decref(value);
        value = NULL;
        err_set(e, STATUS_FAILED, "%s:%zu: not a JSON object", entry->file, entry->line);
    }
    return value;
}
