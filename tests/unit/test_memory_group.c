// SPDX-License-Identifier: MIT
// Control groups as trees of files that stand for /proc and the mount points.
#include "test.h"

#include "base/io.h"
#include "base/memory_group.h"

#include <fcntl.h>
#include <limits.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/stat.h>

static char root[PATH_MAX];

static void tree_make(void)
{
    const char *folder = getenv("TMPDIR");
    snprintf(root, sizeof root, "%s/densepath-group.XXXXXX", folder ? folder : "/tmp");
    CHECK(mkdtemp(root) != NULL);
}

static void tree_remove(void)
{
    struct err e;
    CHECK(io_remove_tree(AT_FDCWD, root, &e) == 0);
}

// A file of the tree, with the folders that it is in.
static void put(const char *path, const char *text)
{
    char full[2 * PATH_MAX];
    int n = snprintf(full, sizeof full, "%s", root);
    snprintf(full + n, sizeof full - (size_t)n, "%s", path);
    for (char *p = full + n + 1; (p = strchr(p, '/')); *p++ = '/') {
        *p = 0;
        mkdir(full, 0777);
    }
    FILE *f = fopen(full, "w");
    CHECK(f && fputs(text, f) >= 0 && fclose(f) == 0);
}

static size_t room(void)
{
    return memory_group_room(root);
}

#define MOUNT_V2 "30 23 0:27 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n"

static void without_groups(void)
{
    tree_make();
    CHECK(room() == SIZE_MAX);
    put("/proc/self/cgroup", "0::/a\n");
    CHECK(room() == SIZE_MAX);
    put("/proc/self/mountinfo", "22 1 8:1 / / rw - ext4 /dev/sda1 rw\nnonsense\n\n1 2 - cgroup2\n");
    CHECK(room() == SIZE_MAX);
    put("/proc/self/mountinfo", MOUNT_V2);
    CHECK(room() == SIZE_MAX);
    put("/sys/fs/cgroup/a/memory.max", "max\n");
    put("/sys/fs/cgroup/a/memory.current", "12345\n");
    CHECK(room() == SIZE_MAX);
    put("/sys/fs/cgroup/a/memory.max", "-5\n");
    CHECK(room() == SIZE_MAX);
    tree_remove();
}

// The group itself, what is around it, and the softer limit: the least of what each has left.
static void version_2(void)
{
    tree_make();
    put("/proc/self/mountinfo", "22 1 8:1 / / rw - ext4 /dev/sda1 rw\n" MOUNT_V2);
    put("/proc/self/cgroup", "0::/user.slice/run.scope\n");
    put("/sys/fs/cgroup/user.slice/run.scope/memory.max", "1000000\n");
    CHECK(room() == 1000000);
    put("/sys/fs/cgroup/user.slice/run.scope/memory.current", "300000\n");
    CHECK(room() == 700000);
    put("/sys/fs/cgroup/user.slice/run.scope/memory.stat",
        "anon 200000\nfile 80000\ninactive_anon 7\ninactive_file 50000\nactive_file 20000\n");
    CHECK(room() == 770000);
    put("/sys/fs/cgroup/user.slice/run.scope/memory.high", "900000\n");
    CHECK(room() == 670000);
    put("/sys/fs/cgroup/user.slice/memory.max", "5000000\n");
    put("/sys/fs/cgroup/user.slice/memory.current", "4500000\n");
    CHECK(room() == 500000);
    put("/sys/fs/cgroup/user.slice/memory.current", "5000001\n");
    CHECK(room() == 0);
    put("/sys/fs/cgroup/user.slice/memory.max", "max\n");
    put("/sys/fs/cgroup/memory.max", "600000\n"); // the top of what is seen: of a container
    put("/sys/fs/cgroup/memory.current", "1\n");
    CHECK(room() == 599999);
    // More file cache than there is use of memory: the files are not read at one moment.
    put("/sys/fs/cgroup/memory.stat", "inactive_file 50000\n");
    CHECK(room() == 600000);
    // Somebody else's group.
    put("/sys/fs/cgroup/user.slice/other/memory.max", "5\n");
    CHECK(room() == 600000);
    tree_remove();
}

#define MOUNT_V1                                                                                   \
    "35 31 0:32 / /sys/fs/cgroup/memory rw,relatime shared:9 - cgroup cgroup rw,memory\n"
static const char groups_v1[] = "9:name=systemd:/\n4:cpu,memory:/docker/ab\n1:cpu:/x\n0::/\n";

static void version_1(void)
{
    tree_make();
    put("/proc/self/mountinfo",
        "33 31 0:30 / /sys/fs/cgroup/cpuacct rw - cgroup cgroup rw,cpuacct\n" MOUNT_V1
        "41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n");
    put("/proc/self/cgroup", groups_v1);
    put("/sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
    put("/sys/fs/cgroup/memory/memory.usage_in_bytes", "77\n");
    put("/sys/fs/cgroup/memory/docker/memory.limit_in_bytes", "8000000\n");
    put("/sys/fs/cgroup/memory/docker/memory.usage_in_bytes", "7000000\n");
    put("/sys/fs/cgroup/memory/docker/memory.use_hierarchy", "1\n");
    put("/sys/fs/cgroup/memory/docker/ab/memory.limit_in_bytes", "3000000\n");
    put("/sys/fs/cgroup/memory/docker/ab/memory.usage_in_bytes", "2500000\n");
    put("/sys/fs/cgroup/memory/docker/ab/memory.stat",
        "inactive_file 5\ntotal_inactive_file 100000\ntotal_active_file 10000\n");
    CHECK(room() == 610000);
    put("/sys/fs/cgroup/memory/docker/memory.usage_in_bytes", "7500000\n");
    CHECK(room() == 500000);
    // An old kernel's group that leaves those below to themselves.
    put("/sys/fs/cgroup/memory/docker/memory.use_hierarchy", "0\n");
    CHECK(room() == 610000);
    // Not the controller of memory, nor what only begins like it.
    put("/proc/self/cgroup", "4:memory2,xmemory:/docker/ab\n");
    CHECK(room() == SIZE_MAX);
    tree_remove();
}

// The mount shows a part of the tree: the container's own group, one around it, or another.
static void roots_of_containers(void)
{
    tree_make();
    put("/proc/self/cgroup", "0::/system.slice/box/inner\n");
    put("/cg/memory.max", "1000\n");
    put("/cg/inner/memory.max", "900\n");
    put("/cgx/inner/memory.max", "5\n");
    put("/proc/self/mountinfo", "30 23 0:27 /system.slice/box /cg ro - cgroup2 cgroup rw\n");
    CHECK(room() == 900);
    put("/cg/inner/memory.max", "max\n");
    CHECK(room() == 1000);
    put("/proc/self/mountinfo", "30 23 0:27 /system.slice/box/inner /cg ro - cgroup2 cgroup rw\n");
    CHECK(room() == 1000);
    // Not of the group: its name only begins alike.
    put("/proc/self/mountinfo", "30 23 0:27 /system.slice/bo /cg ro - cgroup2 cgroup rw\n");
    CHECK(room() == SIZE_MAX);
    // With a name space of its own the process sees itself at the top; a mount from outside of it
    // shows a group around it.
    put("/proc/self/cgroup", "0::/\n");
    put("/proc/self/mountinfo", "30 23 0:27 / /cg ro - cgroup2 cgroup rw\n");
    CHECK(room() == 1000);
    put("/proc/self/mountinfo", "30 23 0:27 /../.. /cg ro - cgroup2 cgroup rw\n");
    CHECK(room() == 1000);
    put("/proc/self/mountinfo", "30 23 0:27 /../other /cg ro - cgroup2 cgroup rw\n");
    CHECK(room() == SIZE_MAX);
    // Moved out of its name space, which the mount shows.
    put("/proc/self/cgroup", "0::/../inner\n");
    put("/proc/self/mountinfo", "30 23 0:27 / /cg ro - cgroup2 cgroup rw\n");
    CHECK(room() == SIZE_MAX);
    tree_remove();
}

static void odd_names(void)
{
    tree_make();
    put("/proc/self/cgroup", "0::/a b:c\\d/memory.max\n");
    put("/proc/self/mountinfo", "30 23 0:27 / /mnt/c\\040g\\134\\011x rw - cgroup2 a\\040b rw\n30 "
                                "23 0:27 / /cg - cgroup2\n");
    put("/mnt/c g\\\tx/a b:c\\d/memory.max/memory.max", "4321\n");
    CHECK(room() == 4321);
    // The longest names do not fit into a path: nothing is read, nothing breaks.
    static char line[4 * PATH_MAX];
    size_t n = (size_t)sprintf(line, "0::");
    memset(line + n, 'x', sizeof line - n - 1);
    line[n] = '/';
    put("/proc/self/cgroup", line);
    CHECK(room() == SIZE_MAX);
    tree_remove();
}

int main(void)
{
    RUN(without_groups);
    RUN(version_2);
    RUN(version_1);
    RUN(roots_of_containers);
    RUN(odd_names);
    return test_end();
}
