// SPDX-License-Identifier: MIT
#include "data/corpus.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file_kind.h"
#include "base/io.h"
#include "base/json.h"
#include "base/json_read.h"
#include "base/unpack.h"
#include "base/utf8.h"

enum { BLOCK = 1 << 16 };
enum corpus_kind { KIND_UNKNOWN, KIND_LINES, KIND_OBJECTS, KIND_ARRAY, KIND_PLAIN };

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
    unpack_close(c->unpack);
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
    int64_t n = unpack_read(c->unpack, c->block, BLOCK, e);
    if (n < 0)
        return -1;
    c->begin = 0;
    c->end = (size_t)n;
    return n > 0;
}

static int append(struct corpus *c, size_t n, size_t line, struct err *e)
{
    if (c->text.size + n > CORPUS_RECORD_MAX)
        return fail(c, line, e, "a record is longer than 256 MiB");
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

static int ends_in(const char *path, size_t n, const char *end)
{
    size_t m = strlen(end);
    return n > m && !memcmp(path + n - m, end, m);
}

static int claims_json(const char *path)
{
    static const char *const ends[] = {".json", ".jsonl", ".ndjson"};
    static const char *const packed[] = {".gz", ".zst"};
    size_t n = strlen(path);
    for (size_t i = 0; i < sizeof packed / sizeof *packed; i++)
        if (ends_in(path, n, packed[i]))
            n -= strlen(packed[i]);
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++)
        if (ends_in(path, n, ends[i]))
            return 1;
    return 0;
}

// What is no text is said by name, not as broken text. `size` bytes are there.
static int refuse_foreign(const struct corpus *c, const char *text, size_t size, struct err *e)
{
    const struct file_kind *kind = file_kind(text, size);
    const char *name = kind && kind->use != FILE_KIND_TEXT ? kind->name : NULL;
    const char *way = name && kind->way ? kind->way : "";
    if (size >= 4 && !memcmp(text, "TKSH", 4))
        name = "a token stream (tok -d reads it)";
    if (!name)
        return 0;
    return err_set(e, STATUS_FAILED,
                   "%s: %s; wanted are JSON lines, a JSON array or UTF-8 text%s%s", c->file, name,
                   *way ? ": " : "", way);
}

static int open_next(struct corpus *c, struct err *e)
{
    c->file = io_name(c->paths[c->next_path]);
    c->fd = io_open_input(c->paths[c->next_path++], e);
    if (c->fd < 0 || !(c->unpack = unpack_open(c->fd, c->file, e)))
        return -1;
    c->begin = c->end = 0;
    c->line = 1;
    c->kind = KIND_UNKNOWN;
    int more = fill(c, e);
    if (more <= 0)
        return more;
    if (refuse_foreign(c, c->block, c->end, e) < 0)
        return -1;
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
    unpack_close(c->unpack);
    c->unpack = NULL;
    close(c->fd);
    c->fd = -1;
}

// Where JSON stands between brackets and in strings.
struct scan {
    int64_t depth;
    int in_string, escaped;
};

// Goes on over text until an element ends: before a comma or bracket that is not its own, or, where
// the element is an object that stands `alone`, behind its bracket. The bytes that belong to it.
static size_t scan_element(struct scan *s, const char *text, size_t size, int alone, int *ended)
{
    for (size_t i = 0; i < size; i++) {
        char b = text[i];
        if (s->in_string) {
            s->in_string = s->escaped || b != '"';
            s->escaped = !s->escaped && b == '\\';
        } else if (b == '"') {
            s->in_string = 1;
        } else if (b == '{' || b == '[') {
            s->depth++;
        } else if (b == '}' || b == ']') {
            *ended = s->depth-- == alone;
        } else if (b == ',') {
            *ended = s->depth == 0;
        }
        if (*ended)
            return i + (size_t)alone;
    }
    return size;
}

// Whether the line leaves an object open, so that it goes on below: one object over many lines. A
// line that ends inside a string is a broken one.
static int goes_on(const struct buffer *line)
{
    struct scan s = {0};
    int ended = 0;
    scan_element(&s, line->data, line->size, 1, &ended);
    return !ended && s.depth > 0 && !s.in_string;
}

// Plain text that is not UTF-8 is refused: what the tokenizer would make of it nobody wrote.
static int check_text(const struct corpus *c, size_t line, struct err *e)
{
    size_t bad;
    for (size_t i = 0; i < c->text.size;) {
        size_t n = utf8_sequence(c->text.data + i, c->text.size - i, &bad);
        if (!n)
            return err_set(e, STATUS_FAILED,
                           "%s:%zu: not UTF-8 (byte %zu from there; iconv -t UTF-8 converts)",
                           c->file, line, i + 1);
        i += n;
    }
    return 0;
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

// The rest of an element whose beginning, perhaps nothing, is in the text.
static int copy_element(struct corpus *c, size_t line, int alone, struct err *e)
{
    struct scan s = {0};
    int ended = 0, more;
    scan_element(&s, c->text.data ? c->text.data : "", c->text.size, alone, &ended);
    while ((more = fill(c, e)) > 0) {
        const char *from = c->block + c->begin;
        size_t n = scan_element(&s, from, c->end - c->begin, alone, &ended);
        for (const char *p = from; (p = memchr(p, '\n', (size_t)(from + n - p))); p++)
            c->line++;
        if (append(c, n, line, e) < 0)
            return -1;
        if (ended)
            return 1;
    }
    return more < 0 ? -1
           : alone  ? fail(c, line, e, "the JSON object that begins here does not end")
                    : fail(c, c->line, e, "the file ends inside a JSON array");
}

// Objects that stand one after the other, each over many lines.
static int next_object(struct corpus *c, size_t *line, struct err *e)
{
    int more = skip_blanks(c, e);
    if (more <= 0)
        return more;
    *line = c->line;
    buffer_clear(&c->text);
    if (c->block[c->begin] != '{')
        return fail(c, c->line, e, "not valid JSON: no { at the beginning of a record");
    return copy_element(c, *line, 1, e);
}

// The first line may show that objects have many.
static int next_json_line(struct corpus *c, size_t *line, int first, struct err *e)
{
    int more = next_line(c, line, e);
    if (more <= 0 || !first || !goes_on(&c->text))
        return more;
    c->kind = KIND_OBJECTS;
    return buffer_append(&c->text, "\n", 1, e) < 0 ? -1 : copy_element(c, *line, 1, e);
}

// Takes bytes up to a newline and with it; *blank: there is nothing but blanks.
static int add_line(struct corpus *c, size_t line, int *blank, struct err *e)
{
    size_t from = c->text.size;
    int more, ended = 0;
    while (!ended && (more = fill(c, e)) > 0) {
        const char *stop = memchr(c->block + c->begin, '\n', c->end - c->begin);
        size_t n = stop ? (size_t)(stop + 1 - (c->block + c->begin)) : c->end - c->begin;
        ended = stop != NULL;
        if (append(c, n, line, e) < 0)
            return -1;
    }
    if (!ended && more < 0)
        return -1;
    c->line += (size_t)ended;
    *blank = 1;
    for (size_t i = from; i < c->text.size; i++)
        *blank &= is_blank(c->text.data[i]);
    return c->text.size > from;
}

// The lines up to a blank one, or all.
static int next_lines(struct corpus *c, size_t *line, struct err *e)
{
    int more, blank, seen = 0;
    buffer_clear(&c->text);
    *line = c->line;
    while ((more = add_line(c, *line, &blank, e)) > 0) {
        if (!seen && blank) { // before the first
            buffer_clear(&c->text);
            *line = c->line;
        } else if (blank && c->sample == SAMPLE_PARAGRAPH) {
            break;
        }
        seen |= !blank;
    }
    if (more < 0)
        return -1;
    while (c->text.size &&
           (c->text.data[c->text.size - 1] == '\n' || c->text.data[c->text.size - 1] == '\r'))
        c->text.data[--c->text.size] = 0;
    return seen;
}

static int next_plain(struct corpus *c, size_t *line, struct err *e)
{
    int more = c->sample == SAMPLE_LINE ? next_line(c, line, e) : next_lines(c, line, e);
    return more > 0 && check_text(c, *line, e) < 0 ? -1 : more;
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
    return copy_element(c, *line, 0, e);
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
        else if (c->kind == KIND_OBJECTS)
            more = next_object(c, &line, e);
        else if (c->kind == KIND_LINES)
            more = next_json_line(c, &line, first, e);
        else if (c->kind == KIND_PLAIN)
            more = next_plain(c, &line, e);
        if (more < 0)
            return -1;
        if (more) {
            *entry = (struct corpus_entry){.text = c->text.data,
                                           .size = c->text.size,
                                           .file = c->file,
                                           .line = line,
                                           .number = ++c->records,
                                           .is_plain = c->kind == KIND_PLAIN,
                                           .packed = unpack_kind(c->unpack)};
            return 1;
        }
        close_file(c);
    }
}

json_t *corpus_parse(const struct corpus_entry *entry, struct err *e)
{
    json_error_t error;
    json_t *value = json_read(entry->text, entry->size, 1);
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

double corpus_share(const struct corpus *c)
{
    struct stat st;
    double size = 0, done = 0;
    for (size_t i = 0; i < c->n_paths; i++) {
        int known = strcmp(c->paths[i], "-") ? stat(c->paths[i], &st) : fstat(STDIN_FILENO, &st);
        if (known < 0 || !S_ISREG(st.st_mode))
            return 0;
        size += (double)st.st_size;
        if (i + 1 < c->next_path)
            done += (double)st.st_size;
    }
    off_t at = c->fd >= 0 ? lseek(c->fd, 0, SEEK_CUR) : 0;
    if (at > 0)
        done += (double)at - (unpack_kind(c->unpack) ? 0 : (double)(c->end - c->begin));
    return size > 0 ? done / size : 0;
}
