// SPDX-License-Identifier: MIT
#include "train/manifest.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/io.h"
#include "base/listing.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

// A file of the run's own: no input of the command, since the run writes it too (base/touched.h).
static int open_own(int at, const char *name, struct err *e)
{
    struct stat st;
    int fd = openat(at, name, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0)
        return err_errno(e, name);
    int known = fstat(fd, &st) == 0;
    if (known && S_ISREG(st.st_mode))
        return fd;
    if (known)
        err_set(e, STATUS_FAILED, "%s: not a regular file", name);
    else
        err_errno(e, name);
    close(fd);
    return -1;
}

static int read_own(const char *path, struct buffer *out, struct err *e)
{
    int fd = open_own(AT_FDCWD, path, e);
    int result = fd < 0 ? -1 : io_read_fd(fd, path, out, e);
    if (fd >= 0)
        close(fd);
    return result;
}

static int sum_file(int at, const char *name, char out[FINGERPRINT_MAX], struct err *e)
{
    struct hash h;
    int fd = open_own(at, name, e), result = 0;
    if (fd < 0)
        return -1;
    size_t size = 1 << 18;
    void *data = mem_alloc(size, 1, "a buffer", e);
    if (!data || hash_init(&h) < 0) {
        free(data);
        close(fd);
        return data ? err_memory(e, 0, "a checksum") : -1;
    }
    int64_t n;
    while (result == 0 && (n = io_read(fd, data, size, name, e)) != 0) {
        if (n > 0)
            hash_add(&h, data, (size_t)n);
        result = n < 0 ? -1 : 0;
    }
    hash_fingerprint(hash_value(&h), out);
    hash_release(&h);
    free(data);
    close(fd);
    return result;
}

static int add_sum(json_t *sums, int at, const char *name, const char *key, struct err *e)
{
    char sum[FINGERPRINT_MAX];
    if (sum_file(at, name, sum, e) < 0)
        return -1;
    return json_object_set_new(sums, key, json_string(sum)) < 0 ? err_memory(e, 0, "checksums") : 0;
}

int manifest_add(json_t *sums, int at, const char *name, struct err *e)
{
    return io_exists(at, name) ? add_sum(sums, at, name, name, e) : 0;
}

static int add_tree(json_t *sums, int at, const char *prefix, const char *const *skip,
                    struct err *e);

static int add_entry(json_t *sums, int at, const char *name, const char *prefix, struct err *e)
{
    struct stat st;
    char *path;
    if (fstatat(at, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return err_errno(e, name);
    if (asprintf(&path, "%s%s", prefix, name) < 0)
        return err_memory(e, 0, "a path");
    int result = 0;
    if (S_ISDIR(st.st_mode)) {
        char *below = NULL;
        int fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (fd < 0)
            result = err_errno(e, path);
        else if (asprintf(&below, "%s/", path) < 0)
            result = err_memory(e, 0, "a path");
        else
            result = add_tree(sums, fd, below, NULL, e);
        free(below);
        if (fd >= 0)
            close(fd);
    } else if (S_ISREG(st.st_mode)) {
        result = add_sum(sums, at, name, path, e);
    }
    free(path);
    return result;
}

static int add_tree(json_t *sums, int at, const char *prefix, const char *const *skip,
                    struct err *e)
{
    int fd = openat(at, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), result = 0, more = 0;
    DIR *directory = fd < 0 ? NULL : fdopendir(fd);
    const char *entry;
    if (!directory) {
        err_errno(e, *prefix ? prefix : "a folder");
        if (fd >= 0)
            close(fd);
        return -1;
    }
    while (result == 0 && (more = listing_next(directory, &entry)) > 0)
        if (!listing_has(skip, entry))
            result = add_entry(sums, at, entry, prefix, e);
    if (more < 0)
        result = err_errno(e, *prefix ? prefix : "a folder");
    closedir(directory);
    return result;
}

json_t *manifest_make(int at, const char *const *skip, struct err *e)
{
    json_t *sums = json_object();
    if (!sums) {
        err_memory(e, 0, "checksums");
    } else if (add_tree(sums, at, "", skip, e) < 0) {
        json_decref(sums);
        sums = NULL;
    }
    return sums;
}

static int differs(const char *name, struct err *e)
{
    return err_set(e, STATUS_FAILED,
                   "%s: is not what it was when the state was saved: the run cannot go on; "
                   "--overwrite begins anew",
                   name);
}

int manifest_check(int at, const json_t *sums, struct err *e)
{
    const char *name;
    json_t *value;
    char sum[FINGERPRINT_MAX];
    json_object_foreach((json_t *)sums, name, value)
    {
        if (!io_exists(at, name))
            return differs(name, e);
        if (sum_file(at, name, sum, e) < 0)
            return -1;
        if (!json_is_string(value) || strcmp(sum, json_string_value(value)) != 0)
            return differs(name, e);
    }
    return 0;
}

// A file, or what cannot be looked at: whoever opens it tells why.
static int is_file(const char *path)
{
    struct stat st;
    return path && (stat(path, &st) == 0 ? S_ISREG(st.st_mode) : errno != ENOENT);
}

// The text of a line without its times, on the heap; NULL: not a line of metrics, or no memory.
static char *timeless(const char *line, size_t size)
{
    struct err ignored; // err_whole knows
    json_t *j = json_loadb(line, size, 0, NULL);
    json_object_del(j, "step_time");
    json_object_del(j, "tokens_per_second");
    char *text = j ? json_text(j, JSON_COMPACT | JSON_SORT_KEYS, &ignored) : NULL;
    json_decref(j);
    return text;
}

// Sums of the first `most` lines; *lines: how many there were.
static int sum_lines(const struct buffer *b, int64_t most, int64_t *lines,
                     char out[FINGERPRINT_MAX], struct err *e)
{
    struct hash h;
    size_t at = 0;
    if (hash_init(&h) < 0)
        return err_memory(e, 0, "a checksum");
    for (*lines = 0; *lines < most && at < b->size; ++*lines) {
        const char *line = b->data + at, *end = memchr(line, '\n', b->size - at);
        char *text = end ? timeless(line, (size_t)(end - line)) : NULL;
        if (!text)
            break;
        hash_add(&h, text, strlen(text) + 1);
        free(text);
        at += (size_t)(end - line) + 1;
    }
    hash_fingerprint(hash_value(&h), out);
    hash_release(&h);
    return err_whole(e);
}

json_t *manifest_of_metrics(const char *path, int exact, struct err *e)
{
    struct buffer b;
    int64_t n;
    char sum[FINGERPRINT_MAX];
    json_t *out = NULL;
    if (!is_file(path))
        return json_null();
    buffer_init(&b, 0);
    int result = read_own(path, &b, e);
    if (result == 0 && exact)
        hash_fingerprint(hash_bytes(b.data, b.size), sum), n = (int64_t)b.size;
    else if (result == 0)
        result = sum_lines(&b, INT64_MAX, &n, sum, e);
    if (result == 0 &&
        !(out = json_pack("{s:I, s:s}", exact ? "bytes" : "lines", (json_int_t)n, "sum", sum)))
        err_memory(e, 0, "checksums");
    buffer_release(&b);
    return out;
}

int manifest_check_metrics(const char *path, const json_t *sum, struct err *e)
{
    struct buffer b;
    char now[FINGERPRINT_MAX] = "";
    const char *then = json_string_value(json_object_get(sum, "sum"));
    const json_t *bytes = json_object_get(sum, "bytes");
    int64_t lines = json_integer_value(json_object_get(sum, "lines")), n = -1;
    if (!json_is_object(sum) || !is_file(path))
        return 0;
    buffer_init(&b, 0);
    int result = read_own(path, &b, e);
    if (result == 0 && bytes && (size_t)json_integer_value(bytes) <= b.size)
        hash_fingerprint(hash_bytes(b.data, (size_t)json_integer_value(bytes)), now), n = lines;
    else if (result == 0 && !bytes)
        result = sum_lines(&b, lines, &n, now, e);
    buffer_release(&b);
    if (result == 0 && (n != lines || !then || strcmp(now, then) != 0))
        return differs(path, e);
    return result;
}
