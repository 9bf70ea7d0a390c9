// SPDX-License-Identifier: MIT
#include "base/file_mark.h"

int file_mark_take(struct file_mark *mark, int fd, const char *name, struct err *e)
{
    struct stat st;
    if (fstat(fd, &st) < 0)
        return err_errno(e, name);
    *mark = (struct file_mark){st.st_dev, st.st_ino, st.st_size, st.st_mtim};
    return 0;
}

int file_mark_same(const struct file_mark *a, const struct file_mark *b)
{
    return a->device == b->device && a->inode == b->inode && a->size == b->size &&
           a->written.tv_sec == b->written.tv_sec && a->written.tv_nsec == b->written.tv_nsec;
}

int file_mark_holds(const struct file_mark *mark, int fd)
{
    struct stat st;
    if (fstat(fd, &st) < 0)
        return 0;
    const struct file_mark now = {st.st_dev, st.st_ino, st.st_size, st.st_mtim};
    return file_mark_same(&now, mark);
}

int file_mark_changed(const char *name, struct err *e)
{
    return err_set(e, STATUS_FAILED, "%s changed while it was read", name);
}

int file_mark_check(const struct file_mark *mark, int fd, const char *name, struct err *e)
{
    struct file_mark now = {0};
    if (file_mark_take(&now, fd, name, e) < 0)
        return -1;
    return file_mark_same(&now, mark) ? 0 : file_mark_changed(name, e);
}
