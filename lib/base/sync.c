// SPDX-License-Identifier: MIT
#include "base/sync.h"
#include "base/listing.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

int sync_fd(int fd, const char *name, struct err *e)
{
    int result;
    do
        result = fsync(fd);
    while (result < 0 && errno == EINTR);
    // Where a file system has nothing to bring to a disk, it says so.
    if (result == 0 || errno == EINVAL || errno == EROFS || errno == ENOTSUP)
        return 0;
    return err_errno(e, name);
}

int sync_file(int at, const char *name, struct err *e)
{
    struct stat st;
    if (fstatat(at, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return errno == ENOENT ? 0 : err_errno(e, name);
    if (!S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode))
        return 0;
    int fd = openat(at, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0)
        return err_errno(e, name);
    int result = S_ISDIR(st.st_mode) ? sync_tree(fd, name, e) : sync_fd(fd, name, e);
    close(fd);
    return result;
}

int sync_tree(int at, const char *name, struct err *e)
{
    int fd = openat(at, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), result = 0, more = 0;
    DIR *directory = fd < 0 ? NULL : fdopendir(fd);
    const char *entry;
    if (!directory) {
        err_errno(e, name);
        if (fd >= 0)
            close(fd);
        return -1;
    }
    while (result == 0 && (more = listing_next(directory, &entry)) > 0)
        result = sync_file(fd, entry, e);
    if (more < 0)
        result = err_errno(e, name);
    if (result == 0)
        result = sync_fd(fd, name, e);
    closedir(directory);
    return result;
}

int sync_folder(const char *path, struct err *e)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) // a folder may be written but not read
        return errno == EACCES ? 0 : err_errno(e, path);
    int result = sync_fd(fd, path, e);
    close(fd);
    return result;
}
