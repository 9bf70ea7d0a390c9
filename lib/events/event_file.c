// SPDX-License-Identifier: MIT
#include "events/event_file.h"
#include "base/listing.h"
#include "events/event.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char infix[] = "tfevents", suffix[] = ".densepath";

// What has our suffix and not our first record is somebody else's.
static int check_own(const char *path, struct err *e)
{
    char head[EVENT_HEAD];
    int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0)
        return err_errno(e, path);
    int64_t n = io_read(fd, head, sizeof head, path, e);
    close(fd);
    if (n < 0)
        return -1;
    return event_is_own(head, (size_t)n)
               ? 0
               : err_set(e, STATUS_FAILED,
                         "%s: not written by tfevents: move it away, or give the "
                         "run another name (NAME=RUN)",
                         path);
}

// A file of ours is to be replaced; of others there is a word, since TensorBoard reads them as one.
static int look_around(struct event_file *f, struct err *e)
{
    DIR *d = opendir(f->folder);
    const char *entry;
    int more = 0, others = 0, result = d ? 0 : err_errno(e, f->folder);
    while (result == 0 && (more = listing_next(d, &entry)) > 0) {
        int ours = listing_ends(entry, suffix);
        if (!strstr(entry, infix) || (ours && f->path))
            continue;
        others += !ours;
        if (ours && (!(f->path = io_path(f->folder, entry, e)) || check_own(f->path, e) < 0))
            result = -1;
    }
    if (result == 0 && more < 0)
        result = err_errno(e, f->folder);
    if (d)
        closedir(d);
    if (result == 0 && others)
        message_warn("%s: has event files of another program, which TensorBoard will show as one "
                     "run with these",
                     f->folder);
    return result;
}

int event_file_open(struct event_file *f, const char *logdir, const char *name, struct err *e)
{
    memset(f, 0, sizeof *f);
    f->fd = -1;
    f->logdir = logdir;
    return (f->folder = io_path(logdir, name, e)) ? 0 : -1;
}

void event_file_close(struct event_file *f)
{
    if (f->begun)
        output_abort(&f->out);
    if (f->fd >= 0)
        close(f->fd);
    free(f->folder);
    free(f->path);
}

// Ten digits, so that names sort by time, as TensorFlow has them.
static char *new_path(const struct event_file *f, double time, struct err *e)
{
    char name[64];
    snprintf(name, sizeof name, "events.out.%s.%010lld%s", infix,
             (long long)(time > 0 && time < 1e12 ? time : 0), suffix);
    return io_path(f->folder, name, e);
}

int event_file_write(struct event_file *f, double time, const void *data, size_t size,
                     struct err *e)
{
    if (io_make_directory(AT_FDCWD, f->logdir, e) < 0 ||
        io_make_directory(AT_FDCWD, f->folder, e) < 0 || look_around(f, e) < 0 ||
        (!f->path && !(f->path = new_path(f, time, e))))
        return -1;
    f->size = size;
    f->begun = 1;
    if (output_open(&f->out, f->path, e) < 0 || output_write(&f->out, data, size, e) < 0 ||
        output_commit(&f->out, e) < 0)
        return -1;
    f->begun = 0;
    return 0;
}

static int is_changed(const struct event_file *f, struct err *e)
{
    return err_set(e, STATUS_FAILED, "%s: was removed or changed by somebody else", f->path);
}

// It may have been removed, or replaced by another call, since.
static int check_there(const struct event_file *f, struct err *e)
{
    struct stat st;
    if (fstat(f->fd, &st) < 0)
        return err_errno(e, f->path);
    return st.st_nlink == 0 || (uint64_t)st.st_size != f->size ? is_changed(f, e) : 0;
}

int event_file_append(struct event_file *f, const void *data, size_t size, struct err *e)
{
    if (!size)
        return 0;
    if (f->fd < 0 && (f->fd = open(f->path, O_WRONLY | O_APPEND | O_CLOEXEC)) < 0)
        return errno == ENOENT ? is_changed(f, e) : err_errno(e, f->path);
    if (check_there(f, e) < 0)
        return -1;
    if (io_write(f->fd, data, size, f->path, e) < 0) {
        MAY_FAIL(ftruncate(f->fd, (off_t)f->size) < 0);
        return -1;
    }
    f->size += size;
    return 0;
}
