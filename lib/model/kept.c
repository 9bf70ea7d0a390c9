// SPDX-License-Identifier: MIT
#include "model/kept.h"
#include "base/io.h"
#include "base/listing.h"
#include "base/memory.h"
#include "base/model_folder.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { IN_MEMORY = 64 << 20, PIECE = 1 << 20, FOLDER_DEPTH = 4, FOLDER_FILES = 1000 };

// Files that hold weights (which would be the old ones) or belong to a training run are not copied.
static int is_copied(const char *name)
{
    return !model_folder_is_weights(name) && strcmp(name, "densepath.json") != 0 &&
           strcmp(name, "metrics.jsonl") != 0;
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

static DIR *open_folder(int directory, const char *name)
{
    int fd = openat(directory, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    DIR *listing = fd < 0 ? NULL : fdopendir(fd);
    if (fd >= 0 && !listing)
        close(fd);
    return listing;
}

// Adds up what a folder holds: 1, or 0 when it is not to be copied: it holds weights, a model or a
// run of its own, more than a model has beside its weights, or cannot be read.
static int folder_size(int directory, const char *name, int depth, int64_t *bytes, int *files)
{
    static const char *const own[] = {"config.json", "adapter_config.json", "densepath.json",
                                      "densepath.partial"};
    DIR *listing = depth > FOLDER_DEPTH ? NULL : open_folder(directory, name);
    const char *entry;
    int copied = listing != NULL, more = 0;
    while (copied && (more = listing_next(listing, &entry)) > 0) {
        struct stat st;
        if (entry[0] == '.' || fstatat(dirfd(listing), entry, &st, 0) < 0)
            continue;
        for (size_t i = 0; i < sizeof own / sizeof *own; i++)
            copied &= strcmp(entry, own[i]) != 0;
        if (S_ISREG(st.st_mode)) {
            copied &= is_copied(entry);
            *bytes += st.st_size;
            ++*files;
        } else if (S_ISDIR(st.st_mode)) {
            copied &= folder_size(dirfd(listing), entry, depth + 1, bytes, files);
        }
        copied &= *bytes <= IN_MEMORY && *files <= FOLDER_FILES;
    }
    if (listing)
        closedir(listing);
    return copied && more == 0;
}

static int keep_folder(struct kept *k, int directory, const char *name, struct err *e)
{
    DIR *listing = open_folder(directory, name);
    const char *entry;
    int result = listing ? 0 : err_errno(e, name), more = 0;
    while (result == 0 && (more = listing_next(listing, &entry)) > 0) {
        struct stat st;
        if (entry[0] == '.' || fstatat(dirfd(listing), entry, &st, 0) < 0)
            continue;
        char *path = io_path(name, entry, e);
        if (!path)
            result = -1;
        else if (S_ISREG(st.st_mode))
            result = keep(k, directory, path, e);
        else if (S_ISDIR(st.st_mode))
            result = keep_folder(k, directory, path, e);
        free(path);
    }
    if (more < 0)
        result = err_errno(e, name);
    if (listing)
        closedir(listing);
    return result;
}

// Behind links, too; one to nothing is none.
static int keep_if_regular(struct kept *k, int directory, const char *name, struct err *e)
{
    struct stat st;
    if (fstatat(directory, name, &st, 0) < 0)
        return errno == ENOENT ? 0 : err_errno(e, name);
    return S_ISREG(st.st_mode) ? keep(k, directory, name, e) : 0;
}

int kept_read(struct kept *k, int directory, struct err *e)
{
    memset(k, 0, sizeof *k);
    DIR *listing = open_folder(directory, ".");
    if (!listing)
        return err_errno(e, "model directory");
    int result = 0, more = 0;
    const char *name;
    while (result == 0 && (more = listing_next(listing, &name)) > 0) {
        struct stat st;
        int64_t bytes = 0;
        int files = 0;
        if (fstatat(directory, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
            result = err_errno(e, name);
        else if (S_ISDIR(st.st_mode) && name[0] != '.' &&
                 folder_size(directory, name, 1, &bytes, &files))
            result = keep_folder(k, directory, name, e);
        else if (!S_ISDIR(st.st_mode) && is_copied(name))
            result = keep_if_regular(k, directory, name, e);
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

int kept_set(struct kept *k, const char *name, const char *data, size_t size, struct err *e)
{
    struct kept_file *f = NULL;
    for (size_t i = 0; i < k->n; i++)
        if (!strcmp(k->file[i].name, name))
            f = &k->file[i];
    if (!f) {
        if (MEM_GROW(k->file, k->capacity, k->n + 1, "files of a model", e) < 0)
            return -1;
        f = &k->file[k->n];
        *f = (struct kept_file){.name = strdup(name), .fd = -1};
        if (!f->name)
            return err_memory(e, strlen(name), "a file name");
        k->n++;
    }
    char *copied = mem_alloc(size + 1, 1, name, e);
    if (!copied)
        return -1;
    memcpy(copied, data, size);
    free(f->data);
    if (f->fd >= 0)
        close(f->fd);
    f->fd = -1;
    f->data = copied;
    f->size = size;
    return 0;
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

// The folders that the name has in it.
static int make_folders(int to, const char *name, struct err *e)
{
    char *path = strdup(name);
    int result = path ? 0 : err_memory(e, strlen(name), "a file name");
    for (char *slash = path; result == 0 && (slash = strchr(slash, '/')); *slash++ = '/') {
        *slash = 0;
        result = io_make_directory(to, path, e);
    }
    free(path);
    return result;
}

int kept_write(const struct kept *k, int to, struct err *e)
{
    for (size_t i = 0; i < k->n; i++) {
        const struct kept_file *f = &k->file[i];
        if (make_folders(to, f->name, e) < 0)
            return -1;
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
