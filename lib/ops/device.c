// SPDX-License-Identifier: MIT
#include "ops/device.h"
#include "ops/cpu/cpu.h"

#include <string.h>

static const struct backend {
    const char *name;
    int (*open)(struct device *d, struct err *e); // sets ops, memory and backend
} backends[] = {{"cpu", cpu_open}};

int device_open(struct device *d, const char *name, enum products products, struct err *e)
{
    memset(d, 0, sizeof *d);
    d->products = products;
    for (size_t i = 0; i < sizeof backends / sizeof *backends; i++)
        if (!name || !strcmp(name, backends[i].name)) {
            int result = backends[i].open(d, e);
            device_arena_init(&d->scratch, d);
            arena_init(&d->host);
            return result;
        }
    return err_set(e, STATUS_USAGE, "--device %s: this build has no backend but cpu", name);
}

void device_release(struct device *d)
{
    arena_release(&d->scratch);
    arena_release(&d->host);
}

static void *source_alloc(void *owner, size_t bytes)
{
    struct device *d = owner;
    return d->memory->alloc(d, bytes);
}

static void source_free(void *owner, void *p, size_t bytes)
{
    struct device *d = owner;
    d->memory->free(d, p, bytes);
}

void device_arena_init(struct arena *a, struct device *d)
{
    static const struct arena_source source = {source_alloc, source_free};
    if (d->memory->unified)
        arena_init(a);
    else
        arena_init_from(a, &source, d);
}

// The pointer's type is the caller's: its bytes are copied, never read as another type.
static const void *value_of(const void *pointer)
{
    const void *p;
    memcpy(&p, pointer, sizeof p);
    return p;
}

static int set_pointer(void *pointer, const void *value)
{
    if (!value)
        return -1;
    memcpy(pointer, &value, sizeof value);
    return 0;
}

// Whether what the pointer holds lies where it is wanted.
static int stays(const struct device *d, const void *pointer)
{
    return d->memory->unified || !value_of(pointer);
}

int device_list(struct device *d, struct arena *arena, void *pointer, size_t bytes, struct err *e)
{
    if (stays(d, pointer))
        return 0;
    void *copy = arena_alloc(arena, bytes, 1, e);
    if (copy && d->memory->put(d, copy, value_of(pointer), bytes, e) < 0)
        return -1;
    return set_pointer(pointer, copy);
}

int device_result(struct device *d, void *pointer, size_t bytes, struct err *e)
{
    return stays(d, pointer) ? 0 : set_pointer(pointer, arena_alloc(&d->scratch, bytes, 1, e));
}

int device_view(struct device *d, void *pointer, size_t bytes, struct err *e)
{
    if (stays(d, pointer))
        return 0;
    void *copy = arena_alloc(&d->host, bytes, 1, e);
    if (copy && d->memory->get(d, copy, value_of(pointer), bytes, e) < 0)
        return -1;
    return set_pointer(pointer, copy);
}

int device_send(struct device *d, void *to, const void *host, size_t bytes, struct err *e)
{
    return to == host ? 0 : d->memory->put(d, to, host, bytes, e);
}

int device_fetch(struct device *d, void *host, const void *from, size_t bytes, struct err *e)
{
    return host == from ? 0 : d->memory->get(d, host, from, bytes, e);
}
