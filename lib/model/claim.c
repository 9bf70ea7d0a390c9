// SPDX-License-Identifier: MIT
#include "model/claim.h"
#include "base/io.h"
#include "base/listing.h"
#include "base/model_folder.h"
#include "model/directory.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

// What stands under a name.
struct standing {
    int there; // and holds something
    int ours;
    int state;                // of a run that was stopped
    int finished;             // a complete result
    int kept;                 // models of a run that is not complete
    char other[NAME_MAX + 1]; // what is in it and not ours; "": nothing
};

static int is_same(const struct stat *a, const struct stat *b)
{
    return a->st_dev == b->st_dev && a->st_ino == b->st_ino;
}

// Whether the directory `inner` (a descriptor, which is closed) is `outer` or lies in it.
static int lies_in(int inner, const struct stat *outer)
{
    struct stat here, above;
    int found = 0;
    while (inner >= 0 && fstat(inner, &here) == 0 && !(found = is_same(&here, outer))) {
        int up = openat(inner, "..", O_PATH | O_DIRECTORY | O_CLOEXEC);
        close(inner);
        inner = up;
        if (up < 0 || fstat(up, &above) < 0 || is_same(&here, &above))
            break; // the root
    }
    if (inner >= 0)
        close(inner);
    return found;
}

// The folder that `path` is, or lies in: a descriptor or -1.
static int folder_of(const char *path)
{
    struct err ignored;
    int fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    char *above = fd < 0 ? directory_parent(path, &ignored) : NULL;
    if (above)
        fd = open(above, O_PATH | O_DIRECTORY | O_CLOEXEC);
    free(above);
    return fd;
}

static int check_input(const char *path, const char *name, const char *input, struct err *e)
{
    struct stat out, in;
    if (!strcmp(input, "-") || stat(input, &in) < 0)
        return 0; // who reads it says what is wrong
    int around = stat(name, &out) == 0 && (is_same(&in, &out) || lies_in(folder_of(input), &out));
    if (!around && !(S_ISDIR(in.st_mode) && lies_in(folder_of(name), &in)))
        return 0;
    return err_set(e, STATUS_FAILED, "%s: %s is read from there: choose another name with -o", path,
                   input);
}

int claim_check_input(const char *path, const char *input, struct err *e)
{
    char *partial = directory_beside(path, directory_partial, e);
    int result = partial ? check_input(path, path, input, e) : -1;
    if (result == 0)
        result = check_input(path, partial, input, e);
    free(partial);
    return result;
}

static int check_inputs(const struct claim *c, struct err *e)
{
    struct stat st;
    for (int i = 0; i < CLAIM_INPUTS; i++)
        if (c->input[i] && (i == 0 || (stat(c->input[i], &st) == 0 && S_ISREG(st.st_mode))) &&
            claim_check_input(c->path, c->input[i], e) < 0)
            return -1;
    return 0;
}

// Whether the file begins as the state of a run does.
static int is_state(int at, const char *name)
{
    static const char word[] = "densepath-state";
    char head[1 << 16];
    int fd = openat(at, name, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    ssize_t n = fd >= 0 ? read(fd, head, sizeof head) : 0;
    if (fd >= 0)
        close(fd);
    return n > 0 && memmem(head, (size_t)n, word, sizeof word - 1) != NULL;
}

static int looks_kept(int at, const char *name)
{
    int fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    int kept = fd >= 0 && io_exists(fd, directory_note_name);
    if (fd >= 0)
        close(fd);
    return kept;
}

static int is_in(const char *directory, const char *name)
{
    struct err ignored;
    char *path = directory ? io_path(directory, name, &ignored) : NULL;
    int there = path && io_exists(AT_FDCWD, path);
    free(path);
    return there;
}

// Whether what a directory of ours holds may be there by this suite: of a model, of a run, or
// copied from the model that is read.
static int is_ours(int at, const char *name, const char *model)
{
    static const char *const own[] = {directory_marker,
                                      directory_old,
                                      directory_previous,
                                      "densepath.json.new",
                                      "metrics.jsonl",
                                      "README-base.md",
                                      "state.safetensors.new",
                                      "start",
                                      "best.0",
                                      "best.1",
                                      "ema",
                                      "half",
                                      NULL};
    // Models are kept under numbers.
    return listing_has(own, name) || model_folder_is_part(name) ||
           !name[strspn(name, "0123456789.eE+-")] || looks_kept(at, name) || is_in(model, name);
}

static int look_inside(struct standing *s, int fd, const char *path, const struct claim *c,
                       struct err *e)
{
    struct err ignored;
    struct directory_note note;
    DIR *directory = fdopendir(fd);
    if (!directory) {
        err_errno(e, path);
        close(fd);
        return -1;
    }
    const char *name;
    int more;
    while ((more = listing_next(directory, &name)) > 0) {
        s->there = 1;
        s->kept |= looks_kept(fd, name);
        if (!is_ours(fd, name, c->input[0]))
            snprintf(s->other, sizeof s->other, "%s", name);
    }
    if (more < 0) {
        err_errno(e, path);
        closedir(directory);
        return -1;
    }
    int note_there = io_look(fd, directory_note_name, e), marked = io_look(fd, directory_marker, e);
    if (note_there < 0 || marked < 0) {
        closedir(directory);
        return -1;
    }
    s->ours = note_there || marked;
    if (directory_read_note(fd, &note, &ignored) == 0) {
        s->finished = note.finished;
        directory_release_note(&note);
    }
    s->state = is_state(fd, c->state);
    s->ours |= s->state;
    closedir(directory);
    return 0;
}

// A directory that holds nothing is nobody's.
static int look(struct standing *s, const char *path, const struct claim *c, struct err *e)
{
    struct stat st;
    memset(s, 0, sizeof *s);
    if (lstat(path, &st) < 0)
        return errno == ENOENT ? 0 : err_errno(e, path);
    if (!S_ISDIR(st.st_mode))
        return err_set(e, STATUS_FAILED,
                       "%s: exists and is not a directory: remove it or choose another name with "
                       "-o",
                       path);
    if (directory_is_mount(path))
        return err_set(e, STATUS_FAILED,
                       "%s: a file system is mounted there, it cannot be replaced: choose a name "
                       "inside it with -o",
                       path);
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return fd < 0 ? err_errno(e, path) : look_inside(s, fd, path, c, e);
}

static int refuse_others(const char *path, struct err *e)
{
    return err_set(e, STATUS_FAILED,
                   "%s: exists and was not made by densepath: remove it or choose another name "
                   "with -o",
                   path);
}

static int check_result(const struct claim *c, const struct standing *out, struct err *e)
{
    if (!out->there || (out->ours && c->overwrite))
        return 0;
    if (!out->ours)
        return refuse_others(c->path, e);
    if (c->resume && c->living && (out->state || !out->finished))
        return 0;
    if (c->resume && !c->living)
        return 1;
    if (out->state && c->living)
        return err_set(e, STATUS_FAILED,
                       "%s: exists, with the state of a run: --resume goes on with it, "
                       "--overwrite replaces it; or choose another name with -o",
                       c->path);
    return err_set(e, STATUS_FAILED,
                   "%s: exists: --overwrite replaces it; or choose another name with -o", c->path);
}

static int check_partial(const struct claim *c, const struct standing *out, const char *path,
                         const struct standing *partial, struct err *e)
{
    // The next generation of a policy is of no use without the one before.
    int may_go =
        c->overwrite || (c->resume && !c->living) || (c->resume && c->living && out->there);
    if (!partial->there)
        return 0;
    if (!partial->ours)
        return refuse_others(path, e);
    if (!may_go && (partial->state || partial->finished || partial->kept))
        return err_set(e, STATUS_FAILED,
                       "%s: %s is there: %s--overwrite replaces it; or choose another name with -o",
                       path, partial->state ? "the state of a run that was stopped" : "a model",
                       c->transient ? "--resume goes on with it, " : "");
    // A run that goes on leaves it where it is.
    if (*partial->other && !c->overwrite && (!c->resume || c->living))
        return err_set(e, STATUS_FAILED,
                       "%s: %s in it was not made by densepath: move it, or choose another name "
                       "with -o (--overwrite removes it)",
                       path, partial->other);
    return 0;
}

// A dry run leaves what a crash has left as it is, and cannot tell what comes of it.
static int mend(const struct claim *c, struct err *e)
{
    char left[PATH_MAX];
    if (!c->dry_run)
        return directory_mend(c->path, c->transient, e);
    int broken = directory_is_broken(c->path, left, e);
    if (broken <= 0)
        return broken;
    return err_set(e, STATUS_FAILED,
                   "%s: a run that was killed has left it: only a run mends that, and a dry run "
                   "cannot tell what comes of it",
                   left);
}

int claim_check(const struct claim *c, struct err *e)
{
    struct standing out, partial;
    char *name = directory_beside(c->path, directory_partial, e);
    int result = name ? check_inputs(c, e) : -1;
    if (result == 0)
        result = mend(c, e);
    if (result == 0)
        result = look(&out, c->path, c, e);
    if (result == 0)
        result = look(&partial, name, c, e);
    if (result == 0 && (result = check_result(c, &out, e)) >= 0 &&
        check_partial(c, &out, name, &partial, e) < 0)
        result = -1;
    free(name);
    return result;
}
