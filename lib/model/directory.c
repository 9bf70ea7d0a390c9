// SPDX-License-Identifier: MIT
#include "model/directory.h"
#include "base/hash.h"
#include "base/io.h"
#include "base/json.h"
#include "base/listing.h"
#include "base/litter.h"
#include "base/place.h"
#include "base/room.h"
#include "base/sync.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

const char directory_note_name[] = "densepath.json";
const char directory_marker[] = "densepath.partial";
const char directory_partial[] = ".partial";
const char directory_previous[] = "previous";
// In a directory that is to go: nobody else's folder of that name has it.
const char directory_old[] = "densepath.old";
static const char old_suffix[] = ".old", replaced_suffix[] = ".replaced";
static const char consent[] = "overwrite\n";

char *directory_beside(const char *path, const char *suffix, struct err *e)
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

char *directory_parent(const char *path, struct err *e)
{
    char *out = directory_beside(path, "", e);
    char *slash = out ? strrchr(out, '/') : NULL;
    if (!out)
        return NULL;
    if (!slash)
        strcpy(out, *out ? "." : "");
    else
        slash[slash == out] = 0;
    return out;
}

int directory_is_mount(const char *path)
{
    struct statx x;
    return statx(AT_FDCWD, path, AT_SYMLINK_NOFOLLOW, 0, &x) == 0 &&
           (x.stx_attributes_mask & x.stx_attributes & STATX_ATTR_MOUNT_ROOT);
}

int directory_check_room(const char *path, double bytes, struct err *e)
{
    char *folder = directory_parent(path, e);
    int fd = folder ? open(folder, O_PATH | O_DIRECTORY | O_CLOEXEC) : -1;
    int result = folder ? 0 : -1;
    if (fd >= 0 && (result = room_check(fd, bytes, e)) < 0)
        err_prefix(e, "%s", path);
    if (fd >= 0)
        close(fd);
    free(folder);
    return result;
}

// 1, 0, or -1 where it cannot be known.
static int look(const char *path, const char *name, struct err *e)
{
    char *file = io_path(path, name, e);
    int there = file ? io_look(AT_FDCWD, file, e) : -1;
    free(file);
    return there;
}

// Whether it is known to be there: what only may be is not removed.
static int has(const char *path, const char *name)
{
    struct err ignored;
    return look(path, name, &ignored) > 0;
}

// 1: the folder is there and holds something.
static int is_filled(const char *path)
{
    struct stat st;
    if (lstat(path, &st) < 0)
        return 0;
    if (!S_ISDIR(st.st_mode) || rmdir(path) < 0)
        return 1;
    return 0;
}

// The directory with all it holds, fine if it does not exist. What tells that it is ours goes last:
// what a failure or a kill leaves can be removed later.
int directory_remove(const char *path, struct err *e)
{
    static const char *const sign[] = {directory_note_name, directory_marker, directory_old, NULL};
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC), result = 0, more = 0;
    if (fd < 0)
        return errno == ENOENT ? 0 : err_errno(e, path);
    DIR *listing = fdopendir(fd);
    const char *name;
    if (!listing) {
        err_errno(e, path);
        close(fd);
        return -1;
    }
    while (result == 0 && (more = listing_next(listing, &name)) > 0)
        if (!listing_has(sign, name))
            result = io_remove_tree(fd, name, e);
    if (more < 0)
        result = err_errno(e, path);
    for (size_t i = 0; sign[i] && result == 0; i++)
        result = io_remove_tree(fd, sign[i], e);
    closedir(listing);
    return result == 0 ? io_remove_tree(AT_FDCWD, path, e) : -1;
}

// What a killed run left is removed; anything else is not ours to remove.
static int clear(const char *partial, int overwrite, struct err *e)
{
    if (!is_filled(partial))
        return 0;
    if (overwrite || has(partial, directory_marker) || has(partial, directory_note_name) ||
        has(partial, directory_old))
        return directory_remove(partial, e);
    return err_set(e, STATUS_FAILED,
                   "%s: exists and was not made by densepath: remove it or choose another name "
                   "with -o",
                   partial);
}

int directory_begin(struct directory_output *o, const char *path, int keep, int overwrite,
                    struct err *e)
{
    memset(o, 0, sizeof *o);
    o->fd = -1;
    o->path = directory_beside(path, "", e);
    o->partial = directory_beside(path, directory_partial, e);
    int result = o->path && o->partial ? 0 : -1;
    if (result == 0 && !keep)
        result = clear(o->partial, overwrite, e);
    int made = result == 0 && !io_exists(AT_FDCWD, o->partial);
    if (result == 0)
        result = io_make_directory(AT_FDCWD, o->partial, e);
    if (result == 0) {
        o->fd = open(o->partial, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (o->fd < 0)
            result = err_errno(e, o->partial);
    }
    if (result == 0 && (overwrite || !io_exists(o->fd, directory_marker)))
        result =
            io_write_file(o->fd, directory_marker, consent, overwrite ? sizeof consent - 1 : 0, e);
    if (result < 0 && made)
        directory_abort(o);
    else if (result < 0)
        directory_close(o);
    return result;
}

int directory_may_overwrite(const char *path)
{
    struct err ignored;
    struct stat st;
    char *partial = directory_beside(path, directory_partial, &ignored);
    char *marker = partial ? io_path(partial, directory_marker, &ignored) : NULL;
    int may = marker && lstat(marker, &st) == 0 && st.st_size == sizeof consent - 1;
    free(marker);
    free(partial);
    return may;
}

void directory_close(struct directory_output *o)
{
    if (o->fd >= 0)
        close(o->fd);
    o->fd = -1;
    if (o->partial)
        litter_drop(o->partial);
    free(o->path);
    free(o->partial);
    o->path = o->partial = NULL;
}

void directory_abort(struct directory_output *o)
{
    struct err ignored;
    if (o->partial)
        MAY_FAIL(directory_remove(o->partial, &ignored));
    directory_close(o);
}

static int put_marker(const char *path, const char *name, struct err *e)
{
    char *file = io_path(path, name, e);
    int result = file ? io_write_file(AT_FDCWD, file, "", 0, e) : -1;
    free(file);
    return result;
}

static int drop(const char *path, const char *name, struct err *e)
{
    char *file = io_path(path, name, e);
    int result = file ? io_remove_tree(AT_FDCWD, file, e) : -1;
    free(file);
    return result;
}

// FROM, which is in the way, becomes PATH with SUFFIX, where the next start finds it.
static int move_aside(const char *path, const char *suffix, struct err *e)
{
    char *aside = directory_beside(path, suffix, e);
    struct err ignored;
    int result = aside ? put_marker(path, directory_old, e) : -1;
    if (result == 0 && rename(path, aside) < 0)
        result = err_errno(e, aside);
    if (aside && result < 0)
        MAY_FAIL(drop(path, directory_old, &ignored));
    free(aside);
    return result;
}

// Swaps the two names. Where the file system cannot, the name is missing for an instant; followers
// try again, and directory_mend goes on after a crash.
static int swap(struct directory_output *o, struct err *e)
{
    if (renameat2(AT_FDCWD, o->partial, AT_FDCWD, o->path, RENAME_EXCHANGE) == 0)
        return 0;
    if (errno != EINVAL && errno != ENOSYS)
        return err_errno(e, o->path);
    char *aside = directory_beside(o->path, old_suffix, e);
    int result = aside ? move_aside(o->path, old_suffix, e) : -1;
    if (result == 0 && rename(o->partial, o->path) < 0) {
        result = err_errno(e, o->path);
        MAY_FAIL(rename(aside, o->path) < 0);
    } else if (result == 0 && rename(aside, o->partial) < 0) {
        result = err_errno(e, aside);
    }
    free(aside);
    return result;
}

// What was PATH goes: removed, or as PATH/previous.
static int put_away(const char *old, const char *path, int keep_previous, struct err *e)
{
    if (!keep_previous)
        return directory_remove(old, e);
    if (drop(old, directory_previous, e) < 0 || drop(old, directory_old, e) < 0)
        return -1;
    char *previous = io_path(path, directory_previous, e);
    int result = previous ? 0 : -1;
    if (previous && rename(old, previous) < 0)
        result = err_errno(e, previous);
    free(previous);
    return result;
}

static int drop_transient(const char *path, const char *const *transient, struct err *e)
{
    for (; transient && *transient; transient++)
        if (drop(path, *transient, e) < 0)
            return -1;
    return drop(path, directory_marker, e);
}

static int sync_names(const char *path, struct err *e)
{
    char *folder = directory_parent(path, e);
    int result = folder ? sync_folder(folder, e) : -1;
    free(folder);
    return result;
}

// *shown: 1 once PATH is the new one.
static int install(struct directory_output *o, enum directory_end end, int *shown, struct err *e)
{
    *shown = 0;
    // What takes a place is on the disk before, and has it there before the old one goes.
    if (err_whole(e) < 0 || sync_tree(o->fd, o->partial, e) < 0)
        return -1;
    // Onto an empty directory, too.
    int filled = look(o->path, directory_note_name, e);
    if (filled < 0)
        return -1;
    if (!filled && rename(o->partial, o->path) == 0) {
        *shown = 1;
        return sync_names(o->path, e);
    }
    if (!filled && errno != ENOTEMPTY && errno != EEXIST)
        return err_errno(e, o->path);
    if (end == DIRECTORY_NEW)
        return err_set(e, STATUS_FAILED, "%s: something has come there meanwhile", o->path);
    // Where the new one is shown, it is known that the other is to go, even after a crash.
    if ((end == DIRECTORY_OVERWRITE && put_marker(o->path, directory_old, e) < 0) || swap(o, e) < 0)
        return -1;
    *shown = 1;
    if (sync_names(o->path, e) < 0)
        return -1;
    return put_away(o->partial, o->path, end == DIRECTORY_NEXT, e);
}

int directory_commit(struct directory_output *o, enum directory_end end,
                     const char *const *transient, struct err *e)
{
    int result = 0, shown = 0;
    struct err ignored;
    // A generation is right at once; a result that is killed here can still be gone on with.
    if (end == DIRECTORY_NEXT)
        result = io_remove_tree(o->fd, directory_marker, e);
    if (result == 0)
        result = install(o, end, &shown, e);
    if (result < 0 && shown)
        err_prefix(e, "%s: is complete, what it replaced is still in %s", o->path, o->partial);
    else if (result < 0 && end != DIRECTORY_NEXT)
        err_prefix(e, "what was made is in %s", o->partial);
    else if (result < 0) // a generation is made anew from the state
        MAY_FAIL(directory_remove(o->partial, &ignored));
    if (shown && end != DIRECTORY_NEXT &&
        drop_transient(o->path, transient, result < 0 ? &ignored : e) < 0 && result == 0)
        result = err_prefix(e, "%s: is complete", o->path);
    if (result == 0 && end == DIRECTORY_OVERWRITE && directory_forget(o->path, e) < 0)
        result = err_prefix(e, "%s: is complete", o->path);
    directory_close(o);
    return result;
}

int directory_set_aside(const char *path, struct err *e)
{
    char *aside = directory_beside(path, replaced_suffix, e);
    int result = aside ? 0 : -1;
    // One that waits there was complete; what is in its place is not.
    if (result == 0 && has(aside, directory_old))
        result = directory_remove(path, e);
    else if (result == 0)
        result = move_aside(path, replaced_suffix, e);
    free(aside);
    return result;
}

int directory_forget(const char *path, struct err *e)
{
    char *aside = directory_beside(path, replaced_suffix, e);
    int result = aside ? look(aside, directory_old, e) : -1;
    if (result > 0)
        result = directory_remove(aside, e);
    free(aside);
    return result;
}

static int read_note(const char *path, struct directory_note *note)
{
    struct err ignored;
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int result = fd < 0 ? -1 : directory_read_note(fd, note, &ignored);
    if (fd >= 0)
        close(fd);
    return result;
}

static int is_finished(const char *path)
{
    struct directory_note note;
    if (read_note(path, &note) < 0)
        return 0;
    int finished = note.finished;
    directory_release_note(&note);
    return finished;
}

static int follows(const char *old, const char *path)
{
    struct directory_note a, b;
    if (read_note(old, &a) < 0)
        return 0;
    int follows = read_note(path, &b) == 0;
    if (follows) {
        follows = a.generation + 1 == b.generation;
        directory_release_note(&b);
    }
    directory_release_note(&a);
    return follows;
}

// Between the renames of `swap`.
static int mend_swap(const char *path, const char *partial, const char *old, struct err *e)
{
    int there = look(old, directory_old, e);
    if (there <= 0)
        return there;
    if (!io_exists(AT_FDCWD, path)) {
        const char *from = has(partial, directory_note_name) ? partial : old;
        if (rename(from, path) < 0)
            return err_errno(e, path);
    }
    return io_exists(AT_FDCWD, old) ? put_away(old, path, follows(old, path), e) : 0;
}

static int mend_replaced(const char *path, const char *aside, struct err *e)
{
    int there = is_filled(aside) ? look(aside, directory_old, e) : 0;
    if (there <= 0)
        return there;
    if (!io_exists(AT_FDCWD, path))
        return rename(aside, path) < 0 ? err_errno(e, path) : 0;
    return is_finished(path) ? directory_remove(aside, e) : 0;
}

// Behind the renames of `swap`: what was replaced is where the new one was made.
static int mend_replacing(const char *path, const char *partial, struct err *e)
{
    int there = look(path, directory_note_name, e);
    if (there <= 0)
        return there;
    if (has(partial, directory_old))
        return directory_remove(partial, e);
    return !has(partial, directory_marker) && !has(path, directory_previous) &&
                   follows(partial, path)
               ? put_away(partial, path, 1, e)
               : 0;
}

int directory_mend(const char *path, const char *const *transient, struct err *e)
{
    char *partial = directory_beside(path, directory_partial, e);
    char *old = directory_beside(path, old_suffix, e);
    char *replaced = directory_beside(path, replaced_suffix, e);
    int result = partial && old && replaced ? 0 : -1;
    if (result == 0)
        result = mend_swap(path, partial, old, e);
    if (result == 0)
        result = mend_replacing(path, partial, e);
    if (result == 0)
        result = mend_replaced(path, replaced, e);
    if (result == 0 && has(path, directory_old))
        result = drop(path, directory_old, e);
    if (result == 0 && has(path, directory_marker) && has(path, directory_note_name))
        result = drop_transient(path, transient, e);
    free(partial);
    free(old);
    free(replaced);
    return result;
}

int directory_is_broken(const char *path, char *left, struct err *e)
{
    const char *const suffix[] = {old_suffix, replaced_suffix};
    int found = 0;
    for (int i = 0; i < 2 && !found; i++) {
        char *name = directory_beside(path, suffix[i], e);
        if (!name)
            return -1;
        found = is_filled(name);
        snprintf(left, PATH_MAX, "%s", name);
        free(name);
    }
    return found;
}

// Whether the text, if it has a checksum, is the one that it belongs to.
static int prove_note(struct buffer *text, int *sealed, struct err *e)
{
    char *place = text->size ? hash_place(text->data, text->size) : NULL;
    char then[FINGERPRINT_MAX] = "", now[FINGERPRINT_MAX];
    *sealed = place != NULL;
    if (!place)
        return 0;
    memcpy(then, place, FINGERPRINT_SIZE);
    memcpy(place, hash_zeros, FINGERPRINT_SIZE);
    hash_fingerprint(hash_bytes(text->data, text->size), now);
    if (!strcmp(then, now))
        return 0;
    return err_set(e, STATUS_FAILED, "%s: is damaged: its checksum is not that of its content",
                   directory_note_name);
}

static json_t *read_note_text(int at, int *sealed, struct err *e)
{
    struct buffer text;
    buffer_init(&text, 16 << 20);
    json_t *j = NULL;
    if (io_read_regular(at, directory_note_name, &text, e) == 0 &&
        prove_note(&text, sealed, e) == 0)
        j = json_parse(text.data ? text.data : "", text.size, directory_note_name, e);
    buffer_release(&text);
    return j;
}

int directory_read_note(int at, struct directory_note *note, struct err *e)
{
    memset(note, 0, sizeof *note);
    int there = io_look(at, directory_note_name, e);
    if (there <= 0)
        return there;
    json_t *j = read_note_text(at, &note->sealed, e);
    if (!j)
        return -1;
    int64_t generation = 0;
    int result = json_get_int(j, "generation", &generation, directory_note_name, e);
    if (result >= 0)
        result = json_get_bool(j, "finished", &note->finished, directory_note_name, e);
    note->generation = (uint64_t)generation;
    if (json_is_array(json_object_get(j, "provenance")))
        note->history = json_incref(json_object_get(j, "provenance"));
    snprintf(note->run, sizeof note->run, "%s",
             json_is_string(json_object_get(j, "run"))
                 ? json_string_value(json_object_get(j, "run"))
                 : "");
    json_decref(j);
    return result < 0 ? -1 : 0;
}

void directory_release_note(struct directory_note *note)
{
    json_decref(note->history);
    note->history = NULL;
}

static void seal(char *text)
{
    char sum[FINGERPRINT_MAX];
    hash_fingerprint(hash_string(text), sum);
    memcpy(hash_place(text, strlen(text)), sum, FINGERPRINT_SIZE);
}

int directory_write_note(int at, const struct directory_note *note, struct err *e)
{
    static const char temporary[] = "densepath.json.new";
    json_t *j = json_pack("{s:i, s:s, s:I, s:b}", "densepath", 1, "checksum", hash_zeros,
                          "generation", (json_int_t)note->generation, "finished", note->finished);
    if (j && note->history)
        json_object_set(j, "provenance", note->history);
    if (j && *note->run)
        json_object_set_new(j, "run", json_string(note->run));
    if (j && note->training)
        json_object_set(j, "training", (json_t *)note->training);
    char *text = j ? json_text(j, JSON_INDENT(1), e) : NULL;
    json_decref(j);
    if (!text)
        return err_memory(e, 0, directory_note_name);
    int result = err_whole(e);
    if (result == 0) {
        seal(text);
        result = io_write_file(at, temporary, text, strlen(text), e);
    }
    free(text);
    if (result == 0)
        result = sync_file(at, temporary, e);
    if (result == 0 && renameat(at, temporary, at, directory_note_name) < 0)
        result = place_errno(e, at, directory_note_name);
    return result == 0 ? sync_fd(at, placed(at, directory_note_name).text, e) : -1;
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

// -1: it cannot be asked.
static int is_locked(int fd, int byte)
{
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = byte, .l_len = 1};
    return fcntl(fd, F_OFD_GETLK, &lock) == 0 ? lock.l_type != F_UNLCK : -1;
}

// Opens and locks the file: 1, or 0 when it was removed between the two (its owner ended), or -1.
static int take_lock(struct policy_lock *l, const char *path, struct err *e)
{
    struct stat st;
    l->fd = open(l->path, O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0666);
    if (l->fd < 0 && (errno == ENOENT || errno == ENOTDIR))
        return place_missing(e, path);
    if (l->fd < 0)
        return err_errno(e, l->path);
    int known = fstat(l->fd, &st) == 0;
    if (!known || !S_ISREG(st.st_mode) || st.st_size > 0) {
        known ? err_set(e, STATUS_FAILED,
                        "%s: exists and was not made by densepath: remove it or choose another "
                        "name with -o",
                        l->path)
              : err_errno(e, l->path);
        close(l->fd);
        return -1;
    }
    if (lock_byte(l->fd, BYTE_OWNER, F_WRLCK) == 0 && fstat(l->fd, &st) == 0) {
        if (st.st_nlink > 0)
            return 1;
        close(l->fd);
        return 0;
    }
    if (errno == EAGAIN || errno == EACCES)
        err_set(e, STATUS_FAILED,
                "%s: another run is writing it: wait for its end, or choose another name with -o",
                path);
    else
        err_errno(e, l->path);
    close(l->fd);
    return -1;
}

// Names that no directory can be renamed to.
static int check_name(const char *path, struct err *e)
{
    char *name = directory_beside(path, "", e);
    const char *last = name ? strrchr(name, '/') : NULL;
    int result = name ? 0 : -1;
    last = last ? last + 1 : name;
    if (name && (!*last || !strcmp(last, ".") || !strcmp(last, "..")))
        result = err_set(e, STATUS_FAILED, "-o '%s' is not a name for a new directory", path);
    free(name);
    return result;
}

int policy_lock_take(struct policy_lock *l, const char *path, struct err *e)
{
    l->path = NULL;
    int result = check_name(path, e);
    if (result == 0 && !(l->path = directory_beside(path, ".lock", e)))
        result = -1;
    while (result == 0)
        result = take_lock(l, path, e);
    if (result > 0 && litter_add(l->path, e) == 0)
        return 0;
    if (result > 0)
        policy_lock_release(l);
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
    litter_drop(l->path);
    close(l->fd);
    free(l->path);
    l->path = NULL;
    l->fd = -1;
}

int policy_is_followed(const struct policy_lock *l)
{
    return is_locked(l->fd, BYTE_FOLLOWED) != 0;
}

// NOT_THERE: no trainer has it; -1: *e says why it cannot be opened.
enum { NOT_THERE = -2 };
static int open_lock(const char *path, struct err *e)
{
    char *name = directory_beside(path, ".lock", e);
    if (!name)
        return -1;
    int fd = open(name, O_RDWR | O_CLOEXEC);
    if (fd < 0)
        fd = errno == ENOENT ? NOT_THERE : err_errno(e, name);
    free(name);
    return fd;
}

// Whether a trainer is there and ready.
static int is_live(const char *path, struct err *e)
{
    int fd = open_lock(path, e);
    if (fd < 0)
        return fd == NOT_THERE ? 0 : -1;
    int live = is_locked(fd, BYTE_READY);
    if (live < 0)
        err_errno(e, path);
    close(fd);
    return live;
}

int policy_attach(const char *path, struct err *e)
{
    int fd = open_lock(path, e);
    if (fd >= 0 && lock_byte(fd, BYTE_FOLLOWED, F_RDLCK) == 0)
        return fd;
    if (fd >= 0) {
        err_errno(e, path);
        close(fd);
    }
    return fd == NOT_THERE ? err_set(e, STATUS_FAILED, "%s: the trainer has exited", path) : -1;
}

// Between two looks at a policy: a small share of what the wait has taken so far, in nanoseconds.
enum { LOOK_SOON = 200000, LOOK_LATE = 5000000, LOOK_SHARE = 64 };

// A look takes many calls and reads two notes; all but each LOOKS-th are left out while PATH is the
// directory that it was and nothing in it was renamed. Those that are not see that the trainer has
// ended, and what came within one tick of the clock by which files are marked.
enum { LOOKS = 16 };

struct policy_look {
    struct stat last;
    int n;
    long waited;
};

static int look_is_due(struct policy_look *l, const char *path)
{
    struct stat now;
    memset(&now, 0, sizeof now);
    if (stat(path, &now) < 0)
        now.st_ino = 0;
    int same = l->last.st_ino == now.st_ino && l->last.st_dev == now.st_dev &&
               l->last.st_mtim.tv_sec == now.st_mtim.tv_sec &&
               l->last.st_mtim.tv_nsec == now.st_mtim.tv_nsec;
    l->last = now;
    return l->n++ % LOOKS == 0 || !same;
}

static void look_later(struct policy_look *l)
{
    long ns = l->waited / LOOK_SHARE;
    ns = ns < LOOK_SOON ? LOOK_SOON : ns > LOOK_LATE ? LOOK_LATE : ns;
    l->waited += l->waited < (long)LOOK_LATE * LOOK_SHARE ? ns : 0;
    nanosleep(&(struct timespec){.tv_nsec = ns}, NULL);
}

// Opens PATH, or PATH/previous, if its note says `generation`: its descriptor, NOT_THERE, or -1
// with *e. Of PATH, where there is a note: whether it is finished, and its generation. A note that
// cannot be read may just be going.
static int open_generation(const char *path, uint64_t generation, int *finished, uint64_t *shown,
                           struct err *e)
{
    struct err ignored;
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT ? NOT_THERE : err_errno(e, path);
    struct directory_note note;
    int found = NOT_THERE;
    if (io_exists(fd, directory_note_name) && directory_read_note(fd, &note, &ignored) == 0) {
        *finished = note.finished;
        *shown = note.generation;
        if (note.generation == generation)
            found = fd;
        directory_release_note(&note);
    }
    if (found < 0) {
        int previous = openat(fd, directory_previous, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        close(fd);
        if (previous >= 0 && directory_read_note(previous, &note, &ignored) == 0) {
            if (note.generation == generation)
                found = previous;
            directory_release_note(&note);
        }
        if (previous >= 0 && found < 0)
            close(previous);
    }
    return found >= 0 || err_whole(e) == 0 ? found : -1;
}

// Looks once: 1, where *fd is what policy_follow returns; 0: what is wanted is yet to come.
static int look_for(const char *path, uint64_t *generation, int start, int *fd, struct err *e)
{
    // Asked before the directory is read: a trainer that ends publishes first.
    int live = is_live(path, e);
    int finished = 0;
    uint64_t shown = UINT64_MAX;
    *fd = live < 0 ? -1 : NOT_THERE;
    if (live >= 0 && (!start || live)) {
        *fd = open_generation(path, start ? UINT64_MAX : *generation, &finished, &shown, e);
        if (*fd == NOT_THERE && start && shown != UINT64_MAX)
            *fd = open_generation(path, shown, &finished, &shown, e);
    }
    if (*fd >= 0 && start)
        *generation = shown;
    if (*fd != NOT_THERE)
        return 1;
    if (!start && finished && shown != UINT64_MAX && shown < *generation) {
        *fd = -2;
        return 1;
    }
    if (start || live)
        return 0;
    *fd = err_set(e, STATUS_FAILED, "%s: the trainer has exited; generation %llu will not come",
                  path, (unsigned long long)*generation);
    return 1;
}

int policy_follow(const char *path, uint64_t *generation, int start, struct err *e)
{
    struct policy_look look = {0};
    for (int fd;; look_later(&look)) {
        // That a trainer is ready does not show in the directory.
        int due = look_is_due(&look, path) || start;
        if (due && look_for(path, generation, start, &fd, e))
            return fd;
        if (io_reader_gone())
            return err_set(e, STATUS_PIPE, "standard output: its reader has exited");
    }
}
