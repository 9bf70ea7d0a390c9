// SPDX-License-Identifier: MIT
#include "toks/journal.h"
#include "base/hash.h"
#include "base/io.h"
#include "base/json.h"
#include "base/shown.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PIECE = 1 << 16, LINE_LIMIT = 1 << 29 };

// The next whole line, without its line break: 1, 0, -1. Behind the last one the file is cut.
static int next_line(struct journal *j, const char **line, size_t *size, struct err *e)
{
    for (;;) {
        size_t rest = j->text.size - j->at;
        char *from = rest ? j->text.data + j->at : NULL;
        char *end = rest ? memchr(from, '\n', rest) : NULL;
        if (end) {
            *line = from;
            *size = (size_t)(end - from);
            j->at += *size + 1;
            j->whole += (int64_t)*size + 1;
            j->line++;
            return 1;
        }
        if (rest && j->at)
            memmove(j->text.data, from, rest);
        j->text.size = rest;
        j->at = 0;
        if (buffer_reserve(&j->text, PIECE, e) < 0)
            return -1;
        int64_t n = io_read(j->fd, j->text.data + rest, PIECE, j->path, e);
        if (n < 0)
            return -1;
        if (n > 0) {
            j->text.size += (size_t)n;
            continue;
        }
        j->reading = 0;
        buffer_clear(&j->text);
        if (ftruncate(j->fd, j->whole) < 0 || lseek(j->fd, j->whole, SEEK_SET) < 0)
            return err_errno(e, j->path);
        return 0;
    }
}

static int write_line(struct journal *j, struct err *e)
{
    return io_write(j->fd, j->text.data, j->text.size, j->path, e);
}

// 1 when the file begins as a journal of this command does, or is empty: any other is not cut.
static int is_ours(const struct journal *j, const char *about, struct err *e)
{
    size_t size = strlen(about);
    char *text = mem_alloc(size + 1, 1, "the first line of a journal", e);
    if (!text)
        return -1;
    ssize_t n = pread(j->fd, text, size + 1, 0);
    int ours =
        n < 0 ? err_errno(e, j->path) : !memcmp(text, about, (size_t)n < size ? (size_t)n : size);
    if (ours > 0 && (size_t)n > size)
        ours = text[size] == '\n';
    free(text);
    return ours;
}

static int begin(struct journal *j, const char *about, struct err *e)
{
    const char *line;
    size_t size;
    int ours = is_ours(j, about, e);
    if (ours == 0)
        return err_set(e, STATUS_FAILED,
                       "%s: line 1: not the journal of this command, asked in this way", j->path);
    int more = ours < 0 ? -1 : next_line(j, &line, &size, e);
    if (more)
        return more < 0 ? -1 : 0;
    // Empty, or cut off in its first line: nothing was answered.
    j->line = 1;
    buffer_clear(&j->text);
    return buffer_printf(&j->text, e, "%s\n", about) < 0 ? -1 : write_line(j, e);
}

int journal_open(struct journal *j, const char *path, const char *about, struct err *e)
{
    memset(j, 0, sizeof *j);
    j->fd = -1;
    struct stat st;
    buffer_init(&j->text, LINE_LIMIT);
    if (!path)
        return 0;
    j->fd = io_open_in_place(path, O_RDWR, e);
    if (j->fd < 0)
        return -1;
    j->path = path;
    if (fstat(j->fd, &st) < 0)
        return err_errno(e, path);
    if (!S_ISREG(st.st_mode))
        return err_set(e, STATUS_FAILED, "%s: a journal must be a regular file", path);
    j->reading = 1;
    if (flock(j->fd, LOCK_EX | LOCK_NB) < 0)
        return errno == EWOULDBLOCK
                   ? err_set(e, STATUS_FAILED, "%s: another run writes to it", path)
                   : err_errno(e, path);
    return begin(j, about, e);
}

void journal_close(struct journal *j)
{
    if (j->path)
        io_close_in_place(j->fd);
    buffer_release(&j->text);
    j->path = NULL;
}

// {"id":...,"tokens":"xxh3:...","answer": -- the answer as it came, and }
static int print_front(struct journal *j, const char *id, size_t id_size, uint64_t tokens,
                       struct buffer *out, struct err *e)
{
    char hash[FINGERPRINT_MAX];
    json_t *name = json_stringn(id, id_size);
    char *text =
        name && err_whole(e) == 0 ? json_text(name, JSON_ENCODE_ANY | JSON_COMPACT, e) : NULL;
    hash_fingerprint(tokens, hash);
    int result = text
                     ? buffer_printf(out, e, "{\"id\":%s,\"tokens\":\"%s\",\"answer\":", text, hash)
                     : err_memory(e, id_size, j->path);
    free(text);
    json_decref(name);
    return result;
}

int journal_next(struct journal *j, const char *id, size_t id_size, uint64_t tokens,
                 const char **answer, size_t *size, struct err *e)
{
    const char *line;
    size_t n;
    int more = j->path && j->reading ? next_line(j, &line, &n, e) : 0;
    if (more <= 0)
        return more;
    struct buffer front;
    buffer_init(&front, 0);
    int result = print_front(j, id, id_size, tokens, &front, e);
    if (result == 0 && n > front.size && !memcmp(line, front.data, front.size) &&
        line[n - 1] == '}') {
        *answer = line + front.size;
        *size = n - front.size - 1;
        result = 1;
    } else if (result == 0) {
        result = err_set(
            e, STATUS_FAILED, "%s: line %llu is not the answer for %s: a journal of other records",
            j->path, (unsigned long long)j->line, shown_record(id, id_size, j->line).text);
    }
    buffer_release(&front);
    return result;
}

int journal_add(struct journal *j, const char *id, size_t id_size, uint64_t tokens,
                const char *answer, size_t size, struct err *e)
{
    if (!j->path)
        return 0;
    buffer_clear(&j->text);
    if (print_front(j, id, id_size, tokens, &j->text, e) < 0 ||
        buffer_append(&j->text, answer, size, e) < 0 || buffer_append(&j->text, "}\n", 2, e) < 0)
        return -1;
    return write_line(j, e);
}

int journal_finish(struct journal *j, struct err *e)
{
    const char *line;
    size_t size;
    int more = j->path && j->reading ? next_line(j, &line, &size, e) : 0;
    return more > 0 ? err_set(e, STATUS_FAILED,
                              "%s: line %llu answers a record that the stream has not: a journal "
                              "of other records",
                              j->path, (unsigned long long)j->line)
                    : more;
}
