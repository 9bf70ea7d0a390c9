// SPDX-License-Identifier: MIT
#include "base/stage.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *stage(void)
{
    const char *value = getenv("DENSEPATH_STAGE");
    return value && *value ? value : NULL;
}

int stage_is_explained(int fd)
{
    struct stat st;
    return stage() && fstat(fd, &st) == 0 && S_ISFIFO(st.st_mode);
}

void stage_leave(enum stage_mark mark)
{
    struct stat st;
    char byte = (char)mark;
    int fd = stage() ? open(stage(), O_WRONLY | O_APPEND | O_NONBLOCK | O_CLOEXEC) : -1;
    if (fd < 0)
        return;
    // Nobody's file.
    if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_nlink == 0 &&
        write(fd, &byte, sizeof byte) < 0)
        (void)0; // the script says one line too many
    close(fd);
}
