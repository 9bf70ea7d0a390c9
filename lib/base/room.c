// SPDX-License-Identifier: MIT
#include "base/room.h"

#include <sys/statvfs.h>

int room_check(int at, double bytes, struct err *e)
{
    struct statvfs disk;
    if (fstatvfs(at, &disk) < 0 || !disk.f_blocks)
        return 0;
    double room = (double)disk.f_bavail * (double)disk.f_frsize;
    if (room >= bytes)
        return 0;
    return err_set(e, STATUS_FAILED,
                   "no space for the result: it needs %.1f MiB, and %.1f MiB are free there",
                   bytes / (1 << 20), room / (1 << 20));
}
