// SPDX-License-Identifier: MIT
#include "base/litter.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

// A handler reads this list whenever it comes: pieces are never taken out, only emptied.
struct litter {
    _Atomic(char *) path; // NULL: free for another
    struct litter *next;
};
static _Atomic(struct litter *) first;
static atomic_int removing; // set before any path is looked at: none is freed from then on
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static struct litter *find(const char *path)
{
    struct litter *p = atomic_load(&first);
    for (; p; p = p->next) {
        const char *there = atomic_load(&p->path);
        if (path ? there && !strcmp(there, path) : !there)
            break;
    }
    return p;
}

int litter_add(const char *path, struct err *e)
{
    char *copy = strdup(path);
    if (!copy)
        return err_memory(e, strlen(path), "a path");
    pthread_mutex_lock(&lock);
    struct litter *p = find(NULL);
    int fresh = !p;
    if (fresh && (p = calloc(1, sizeof *p)))
        p->next = atomic_load(&first);
    if (p)
        atomic_store(&p->path, copy);
    if (p && fresh)
        atomic_store(&first, p);
    pthread_mutex_unlock(&lock);
    if (p)
        return 0;
    free(copy);
    return err_memory(e, sizeof *p, "a path");
}

void litter_drop(const char *path)
{
    pthread_mutex_lock(&lock);
    struct litter *p = find(path);
    char *copy = p ? atomic_exchange(&p->path, NULL) : NULL;
    if (!atomic_load(&removing))
        free(copy);
    pthread_mutex_unlock(&lock);
}

// As getdents64 gives them: the C library's own reading of directories takes memory.
struct directory_entry {
    uint64_t inode;
    int64_t offset;
    unsigned short size;
    unsigned char type;
    char name[];
};

static void remove_directory(const char *path)
{
    union {
        struct directory_entry aligned;
        char byte[4096];
    } block;
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    long n;
    while (fd >= 0 && (n = syscall(SYS_getdents64, fd, &block, sizeof block)) > 0)
        for (long at = 0; at < n;) {
            const struct directory_entry *entry = (const struct directory_entry *)(block.byte + at);
            unlinkat(fd, entry->name, 0);
            at += entry->size;
        }
    if (fd >= 0)
        close(fd);
    rmdir(path);
}

void litter_remove(void)
{
    atomic_store(&removing, 1);
    for (struct litter *p = atomic_load(&first); p; p = p->next) {
        const char *path = atomic_load(&p->path);
        if (path && unlink(path) < 0 && errno == EISDIR)
            remove_directory(path);
    }
}
