// SPDX-License-Identifier: MIT
#include "model/kept.h"
#include "base/io.h"
#include "base/listing.h"
#include "base/memory.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { IN_MEMORY = 64 << 20, PIECE = 1 << 20 };

static int has_suffix(const char *s, const char *suffix)
{
    size_t n = strlen(s), k = strlen(suffix);
    return n >= k && !strcmp(s + n - k, suffix);
}

// Files that hold weights (which would be the old ones) or belong to a training run are not copied.
static int is_copied(const char *name)
{
    static const char *const left[] = {".safetensors", ".bin",  ".pt",   ".pth",
                                       ".h5",          ".gguf", ".onnx", ".msgpack"};
    for (size_t i = 0; i < sizeof left / sizeof *left; i++)
        if (has_suffix(name, left[i]))
            return 0;
    return strcmp(name, "densepath.json") != 0 && strcmp(name, "metrics.jsonl") != 0;
}

static int read_file(struct kept_file *f, int fd, struct err *e)
{
    struct buffer text;
    if (f->mark.size > IN_MEMORY) {
        f->fd = fd;
        return 0;
    }
    buffer_init(&text, 2 * IN_MEMORY);
    int result = io_read_fd(fd, f->name, &text, e);
    f->data = text.data;
    f->size = text.size;
    if (result == 0)
        result = file_mark_check(&f->mark, fd, f->name, e);
    close(fd);
    return result;
}

static int keep(struct kept *k, int directory, const char *name, struct err *e)
{
    if (MEM_GROW(k->file, k->capacity, k->n + 1, "files of a model", e) < 0)
        return -1;
    struct kept_file *f = &k->file[k->n++];
    *f = (struct kept_file){.name = strdup(name), .fd = -1};
    if (!f->name)
        return err_memory(e, strlen(name), "a file name");
    int fd = io_open_regular(directory, name, e);
    if (fd < 0)
        return -1;
    if (file_mark_take(&f->mark, fd, name, e) == 0)
        return read_file(f, fd, e);
    close(fd);
    return -1;
}

int kept_read(struct kept *k, int directory, struct err *e)
{
    memset(k, 0, sizeof *k);
    int fd = openat(directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *listing = fd < 0 ? NULL : fdopendir(fd);
    if (!listing) {
        err_errno(e, "model directory");
        if (fd >= 0)
            close(fd);
        return -1;
    }
    int result = 0, more = 0;
    const char *name;
    while (result == 0 && (more = listing_next(listing, &name)) > 0) {
        struct stat st;
        if (fstatat(directory, name, &st, 0) == 0) {
            if (S_ISREG(st.st_mode) && is_copied(name))
                result = keep(k, directory, name, e);
        } else if (errno != ENOENT) { // a link to nothing
            result = err_errno(e, name);
        }
    }
    if (more < 0)
        result = err_errno(e, "model directory");
    closedir(listing);
    if (result < 0)
        kept_release(k);
    return result;
}

void kept_release(struct kept *k)
{
    for (size_t i = 0; i < k->n; i++) {
        if (k->file[i].fd >= 0)
            close(k->file[i].fd);
        free(k->file[i].name);
        free(k->file[i].data);
    }
    free(k->file);
    memset(k, 0, sizeof *k);
}

const struct kept_file *kept_find(const struct kept *k, const char *name)
{
    for (size_t i = 0; i < k->n; i++)
        if (!strcmp(k->file[i].name, name))
            return &k->file[i];
    return NULL;
}

static int copy(const struct kept_file *f, int out, struct err *e)
{
    char *piece = mem_alloc(PIECE, 1, "a buffer", e);
    int64_t n = 1;
    int result = piece ? 0 : -1;
    if (result == 0 && lseek(f->fd, 0, SEEK_SET) < 0)
        result = err_errno(e, f->name);
    while (result == 0 && n > 0) {
        n = io_read(f->fd, piece, PIECE, f->name, e);
        result = n < 0 ? -1 : io_write(out, piece, (size_t)n, f->name, e);
    }
    free(piece);
    return result == 0 ? file_mark_check(&f->mark, f->fd, f->name, e) : -1;
}

int kept_write(const struct kept *k, int to, struct err *e)
{
    for (size_t i = 0; i < k->n; i++) {
        const struct kept_file *f = &k->file[i];
        if (f->fd < 0) {
            if (io_write_file(to, f->name, f->data ? f->data : "", f->size, e) < 0)
                return -1;
            continue;
        }
        int out = openat(to, f->name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
        int result = out < 0 ? err_errno(e, f->name) : copy(f, out, e);
        if (out >= 0 && close(out) < 0 && result == 0)
            result = err_errno(e, f->name);
        if (result < 0)
            return -1;
    }
    return 0;
}
