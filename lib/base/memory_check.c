// SPDX-License-Identifier: MIT
#include "base/memory_check.h"
#include "base/memory_group.h"

#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

size_t memory_available(void)
{
    size_t best = (size_t)-1;
    FILE *f = fopen("/proc/meminfo", "re");
    char line[256];
    unsigned long long kib;
    while (f && fgets(line, sizeof line, f))
        if (sscanf(line, "MemAvailable: %llu kB", &kib) == 1)
            best = (size_t)kib * 1024;
    if (f)
        fclose(f);
    size_t group = memory_group_room("");
    if (group < best)
        best = group;
    struct rlimit space;
    if (getrlimit(RLIMIT_AS, &space) == 0 && space.rlim_cur < best)
        best = (size_t)space.rlim_cur;
    return best;
}

size_t memory_held(void)
{
    enum { PROGRAM = 4 << 20 };
    FILE *f = fopen("/proc/self/statm", "re");
    unsigned long long resident = 0, files = 0; // pages
    if (f && fscanf(f, "%*u %llu %llu", &resident, &files) != 2)
        resident = files = 0;
    if (f)
        fclose(f);
    return (size_t)(resident - files) * (size_t)sysconf(_SC_PAGESIZE) + PROGRAM;
}

double mebibytes(size_t bytes)
{
    return (double)bytes / (1 << 20);
}

int memory_check(size_t bytes, const char *what, int verbose, struct err *e)
{
    size_t room = memory_available();
    if (verbose)
        message_note("%s needs about %.1f MiB", what, mebibytes(bytes));
    if (bytes <= room)
        return 0;
    return err_set(e, STATUS_MEMORY, "%s needs about %zu MiB and %zu MiB are available", what,
                   bytes >> 20, room >> 20);
}
