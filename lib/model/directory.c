// SPDX-License-Identifier: MIT
#include "model/directory.h"
#include "base/io.h"
#include "base/json.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static const char note_name[] = "densepath.json";
static const char previous_name[] = "previous";

static char *with_suffix(const char *path, const char *suffix, struct err *e)
{
    size_t n = strlen(path);
    while (n > 1 && path[n - 1] == '/')
        n--;
    char *out;
    if (asprintf(&out, "%.*s%s", (int)n, path, suffix) < 0) {
        err_memory(e, n, "a path");
        return NULL;
    }
    return out;
}

static int check_replaceable(const char *path, struct err *e)
{
    struct stat st;
    if (lstat(path, &st) < 0)
        return errno == ENOENT ? 0 : err_errno(e, path);
    if (!S_ISDIR(st.st_mode)) {
        errno = ENOTDIR;
        return err_errno(e, path);
    }
    char *note = io_path(path, note_name, e);
    if (!note)
        return -1;
    int ours = io_exists(AT_FDCWD, note) || rmdir(path) == 0; // an empty directory is nobody's
    free(note);
    if (ours)
        return 0;
    return err_set(e, STATUS_FAILED,
                   "%s: exists and was not made by densepath: remove it or choose another name",
                   path);
}

int directory_begin(struct directory_output *o, const char *path, int keep, struct err *e)
{
    memset(o, 0, sizeof *o);
    o->fd = -1;
    if (check_replaceable(path, e) < 0)
        return -1;
    o->path = with_suffix(path, "", e);
    o->partial = with_suffix(path, ".partial", e);
    int result = o->path && o->partial ? 0 : -1;
    if (result == 0 && !keep)
        result = io_remove_tree(AT_FDCWD, o->partial, e);
    if (result == 0)
        result = io_make_directory(AT_FDCWD, o->partial, e);
    if (result == 0) {
        o->fd = open(o->partial, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (o->fd < 0)
            result = err_errno(e, o->partial);
    }
    if (result < 0)
        directory_close(o);
    return result;
}

void directory_close(struct directory_output *o)
{
    if (o->fd >= 0)
        close(o->fd);
    o->fd = -1;
    free(o->path);
    free(o->partial);
    o->path = o->partial = NULL;
}

void directory_abort(struct directory_output *o)
{
    struct err ignored;
    if (o->partial)
        MAY_FAIL(io_remove_tree(AT_FDCWD, o->partial, &ignored));
    directory_close(o);
}

// Swaps the two names. Where the file system cannot, the name is missing for an instant; followers
// try again.
static int swap(struct directory_output *o, struct err *e)
{
    if (renameat2(AT_FDCWD, o->partial, AT_FDCWD, o->path, RENAME_EXCHANGE) == 0)
        return 0;
    if (errno != EINVAL && errno != ENOSYS)
        return err_errno(e, o->path);
    char *aside = with_suffix(o->path, ".old", e);
    if (!aside)
        return -1;
    int result = 0;
    if (rename(o->path, aside) < 0 || rename(o->partial, o->path) < 0 ||
        rename(aside, o->partial) < 0)
        result = err_errno(e, o->path);
    free(aside);
    return result;
}

static int put_away(struct directory_output *o, int keep_previous, struct err *e)
{
    // What was PATH is now PATH.partial.
    if (!keep_previous)
        return io_remove_tree(AT_FDCWD, o->partial, e);
    int fd = open(o->partial, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return err_errno(e, o->partial);
    int result = io_remove_tree(fd, previous_name, e);
    close(fd);
    char *previous = result == 0 ? io_path(o->path, previous_name, e) : NULL;
    if (previous && rename(o->partial, previous) < 0)
        err_errno(e, previous), result = -1;
    free(previous);
    return previous ? result : -1;
}

int directory_commit(struct directory_output *o, int keep_previous, struct err *e)
{
    int result = 0;
    if (io_exists(AT_FDCWD, o->path)) {
        result = swap(o, e);
        if (result == 0)
            result = put_away(o, keep_previous, e);
    } else if (rename(o->partial, o->path) < 0) {
        result = err_errno(e, o->path);
    }
    directory_close(o);
    return result;
}

int directory_read_note(int at, struct directory_note *note, struct err *e)
{
    memset(note, 0, sizeof *note);
    if (!io_exists(at, note_name))
        return 0;
    json_t *j = json_parse_file(at, note_name, 16 << 20, e);
    if (!j)
        return -1;
    int64_t generation = 0;
    int result = json_get_int(j, "generation", &generation, note_name, e);
    if (result >= 0)
        result = json_get_bool(j, "finished", &note->finished, note_name, e);
    note->generation = (uint64_t)generation;
    if (json_is_array(json_object_get(j, "provenance")))
        note->history = json_incref(json_object_get(j, "provenance"));
    json_decref(j);
    return result < 0 ? -1 : 0;
}

void directory_release_note(struct directory_note *note)
{
    json_decref(note->history);
    note->history = NULL;
}

int directory_write_note(int at, const struct directory_note *note, struct err *e)
{
    static const char temporary[] = "densepath.json.new";
    json_t *j = json_pack("{s:i, s:I, s:b}", "densepath", 1, "generation",
                          (json_int_t)note->generation, "finished", note->finished);
    if (j && note->history)
        json_object_set(j, "provenance", note->history);
    char *text = j ? json_dumps(j, JSON_INDENT(1)) : NULL;
    json_decref(j);
    if (!text)
        return err_memory(e, 0, note_name);
    int result = io_write_file(at, temporary, text, strlen(text), e);
    free(text);
    if (result == 0 && renameat(at, temporary, at, note_name) < 0)
        result = err_errno(e, note_name);
    return result;
}

// The lock file has bytes that are locked, not written: 0 by the trainer that owns the policy, 1
// once its directory shows the generation to start from, 2 (shared) by those who follow. Locks end
// with the process, also by kill -9.
enum { BYTE_OWNER = 0, BYTE_READY = 1, BYTE_FOLLOWED = 2 };

static int lock_byte(int fd, int byte, short type)
{
    struct flock lock = {.l_type = type, .l_whence = SEEK_SET, .l_start = byte, .l_len = 1};
    return fcntl(fd, F_OFD_SETLK, &lock);
}

static int is_locked(int fd, int byte)
{
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = byte, .l_len = 1};
    return fcntl(fd, F_OFD_GETLK, &lock) == 0 && lock.l_type != F_UNLCK;
}

// Opens and locks the file: 1, or 0 when it was removed between the two (its owner ended), or -1.
static int take_lock(struct policy_lock *l, const char *path, struct err *e)
{
    struct stat st;
    l->fd = open(l->path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (l->fd < 0)
        return err_errno(e, l->path);
    if (lock_byte(l->fd, BYTE_OWNER, F_WRLCK) == 0 && fstat(l->fd, &st) == 0) {
        if (st.st_nlink > 0)
            return 1;
        close(l->fd);
        return 0;
    }
    if (errno == EAGAIN || errno == EACCES)
        err_set(e, STATUS_FAILED, "%s: another trainer is using this policy", path);
    else
        err_errno(e, l->path);
    close(l->fd);
    return -1;
}

int policy_lock_take(struct policy_lock *l, const char *path, struct err *e)
{
    l->path = with_suffix(path, ".lock", e);
    int result = l->path ? 0 : -1;
    while (result == 0)
        result = take_lock(l, path, e);
    if (result > 0)
        return 0;
    free(l->path);
    l->path = NULL;
    l->fd = -1;
    return -1;
}

int policy_lock_ready(struct policy_lock *l, struct err *e)
{
    return lock_byte(l->fd, BYTE_READY, F_WRLCK) < 0 ? err_errno(e, l->path) : 0;
}

void policy_lock_release(struct policy_lock *l)
{
    if (l->fd < 0)
        return;
    unlink(l->path);
    close(l->fd);
    free(l->path);
    l->path = NULL;
    l->fd = -1;
}

int policy_is_followed(const struct policy_lock *l)
{
    return is_locked(l->fd, BYTE_FOLLOWED);
}

static int open_lock(const char *path)
{
    struct err ignored;
    char *name = with_suffix(path, ".lock", &ignored);
    int fd = name ? open(name, O_RDWR | O_CLOEXEC) : -1;
    free(name);
    return fd;
}

// Whether a trainer is there and ready.
static int is_live(const char *path)
{
    int fd = open_lock(path);
    if (fd < 0)
        return 0;
    int live = is_locked(fd, BYTE_READY);
    close(fd);
    return live;
}

int policy_attach(const char *path, struct err *e)
{
    int fd = open_lock(path);
    if (fd >= 0 && lock_byte(fd, BYTE_FOLLOWED, F_RDLCK) == 0)
        return fd;
    if (fd >= 0)
        close(fd);
    return err_set(e, STATUS_FAILED, "%s: the trainer has exited", path);
}

static void short_sleep(int round)
{
    long ns = round < 200 ? 500000 : 5000000;
    struct timespec t = {0, ns};
    nanosleep(&t, NULL);
}

// Opens PATH, or PATH/previous, if its note says `generation`. -1 with *e untouched otherwise.
static int open_generation(const char *path, uint64_t generation, int *finished, uint64_t *shown)
{
    struct err ignored;
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return -1;
    struct directory_note note;
    int found = -1;
    if (io_exists(fd, note_name) && directory_read_note(fd, &note, &ignored) == 0) {
        *finished = note.finished;
        *shown = note.generation;
        if (note.generation == generation)
            found = fd;
        directory_release_note(&note);
    }
    if (found < 0) {
        int previous = openat(fd, previous_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        close(fd);
        if (previous >= 0 && directory_read_note(previous, &note, &ignored) == 0) {
            if (note.generation == generation)
                found = previous;
            directory_release_note(&note);
        }
        if (previous >= 0 && found < 0)
            close(previous);
    }
    return found;
}

int policy_follow(const char *path, uint64_t *generation, int start, struct err *e)
{
    for (int round = 0;; round++) {
        // Asked before the directory is read: a trainer that ends publishes first.
        int live = is_live(path);
        int finished = 0;
        uint64_t shown = UINT64_MAX;
        int fd = -1;
        if (!start || live) {
            fd = open_generation(path, start ? UINT64_MAX : *generation, &finished, &shown);
            if (fd < 0 && start && shown != UINT64_MAX)
                fd = open_generation(path, shown, &finished, &shown);
        }
        if (fd >= 0) {
            *generation = start ? shown : *generation;
            return fd;
        }
        if (!start && finished && (shown != UINT64_MAX && shown < *generation))
            return -2;
        if (!start && !live)
            return err_set(e, STATUS_FAILED,
                           "%s: the trainer has exited; generation %llu will not come", path,
                           (unsigned long long)*generation);
        if (io_reader_gone())
            return err_set(e, STATUS_PIPE, "standard output: its reader has exited");
        short_sleep(round);
    }
}
