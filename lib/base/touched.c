// SPDX-License-Identifier: MIT
#include "base/touched.h"
#include "base/memory.h"

#include <pthread.h>

struct file {
    dev_t device;
    ino_t inode;
    struct timespec changed; // an input: an inode that comes again is another file
};
struct files {
    struct file *file;
    size_t n, capacity;
};

static struct files inputs, outputs;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

// Its place in the list; n: it is not there.
static size_t find(const struct files *f, const struct stat *st)
{
    size_t i = 0;
    while (i < f->n && (f->file[i].device != st->st_dev || f->file[i].inode != st->st_ino))
        i++;
    return i;
}

static int add(struct files *f, const struct stat *st, struct err *e)
{
    if (find(f, st) < f->n)
        return 0;
    if (MEM_GROW(f->file, f->capacity, f->n + 1, "the list of files", e) < 0)
        return -1;
    f->file[f->n++] = (struct file){st->st_dev, st->st_ino, st->st_ctim};
    return 0;
}

static int same_age(const struct file *f, const struct stat *st)
{
    return f->changed.tv_sec == st->st_ctim.tv_sec && f->changed.tv_nsec == st->st_ctim.tv_nsec;
}

// Adds to `mine`, unless it is among `others`: then "NAME: MESSAGE".
static int touch(struct files *mine, const struct files *others, const struct stat *st,
                 const char *name, const char *message, struct err *e)
{
    if (!S_ISREG(st->st_mode))
        return 0;
    pthread_mutex_lock(&lock);
    int there = others && find(others, st) < others->n;
    if (there && others == &inputs)
        there = same_age(&inputs.file[find(&inputs, st)], st);
    int result = there ? 0 : add(mine, st, e);
    pthread_mutex_unlock(&lock);
    return there ? err_set(e, STATUS_USAGE, "%s: %s", name, message) : result;
}

static const char way_on[] =
    "is an input and an output of the same command: write to another file, then rename it";

int touched_input(const struct stat *st, const char *name, struct err *e)
{
    return touch(&inputs, &outputs, st, name, way_on, e);
}

int touched_part(const struct stat *st, const char *name, struct err *e)
{
    return touch(&inputs, NULL, st, name, way_on, e);
}

int touched_output(const struct stat *st, const char *name, struct err *e)
{
    return touch(&outputs, &inputs, st, name, way_on, e);
}

void touched_output_end(const struct stat *st)
{
    pthread_mutex_lock(&lock);
    size_t i = find(&outputs, st);
    if (i < outputs.n)
        outputs.file[i] = outputs.file[--outputs.n];
    pthread_mutex_unlock(&lock);
}
