// SPDX-License-Identifier: MIT
#include "ops/host.h"
#include "base/thread.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { MAPPED = 1 << 22 }; // from here on: what is freed goes back, what is not used takes nothing

static void *host_alloc(struct device *d, size_t bytes)
{
    if (bytes > SIZE_MAX / 2)
        return NULL;
    if (bytes < MAPPED)
        return aligned_alloc(64, (bytes + 64) / 64 * 64);
    int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
    void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, flags, -1, 0);
    return p == MAP_FAILED ? NULL : p;
}

static void host_free(struct device *d, void *p, size_t bytes)
{
    if (p && bytes >= MAPPED)
        munmap(p, bytes);
    else
        free(p);
}

static int host_copy(struct device *d, void *to, const void *from, size_t bytes, struct err *e)
{
    if (bytes)
        memcpy(to, from, bytes);
    return 0;
}

static void clear_chunk(void *arg, size_t begin, size_t end, int worker)
{
    memset((char *)arg + begin, 0, end - begin);
}

static int host_zero(struct device *d, void *p, size_t bytes, struct err *e)
{
    threads_for(bytes, MAPPED, clear_chunk, p);
    return 0;
}

const struct memory memory_host = {
    .unified = 1,
    .alloc = host_alloc,
    .free = host_free,
    .put = host_copy,
    .get = host_copy,
    .copy = host_copy,
    .zero = host_zero,
};

struct device device_host = {.memory = &memory_host};
