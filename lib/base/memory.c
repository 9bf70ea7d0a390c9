// SPDX-License-Identifier: MIT
#include "base/memory.h"

#include <assert.h>
#include <stdalign.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum {
    ALIGN = 64,
    BLOCK_MIN = 1 << 16,
    BLOCK_GROWS = 1 << 28,  // new blocks are twice as large as the last up to here
    BLOCK_MAPPED = 1 << 18, // from here on a block is mapped: what is freed goes back to the system
};

void *mem_alloc(size_t count, size_t size, const char *what, struct err *e)
{
    size_t bytes;
    if (__builtin_mul_overflow(count, size, &bytes)) {
        err_set(e, STATUS_MEMORY, "out of memory: %zu times %zu bytes for %s", count, size, what);
        return NULL;
    }
    void *p = calloc(bytes ? bytes : 1, 1);
    if (!p)
        err_memory(e, bytes, what);
    return p;
}

int mem_grow(void *array, size_t *capacity, size_t need, size_t size, const char *what,
             struct err *e)
{
    if (need <= *capacity)
        return 0;
    size_t want = *capacity + *capacity / 2;
    if (want < need)
        want = need;
    if (want < 16)
        want = 16;
    size_t bytes;
    if (__builtin_mul_overflow(want, size, &bytes))
        return err_set(e, STATUS_MEMORY, "out of memory: %zu elements for %s", need, what);
    // The pointer's type is the caller's: its bytes are copied, never read as another type.
    void *p;
    memcpy(&p, array, sizeof p);
    p = realloc(p, bytes);
    if (!p)
        return err_memory(e, bytes, what);
    memcpy(array, &p, sizeof p);
    *capacity = want;
    return 0;
}

struct arena_block {
    struct arena_block *previous;
    size_t size;  // of data
    size_t bytes; // of all that was taken from the heap
    size_t used;
    unsigned char *data; // `own`, or the source's
    alignas(ALIGN) unsigned char own[];
};

void arena_init(struct arena *a)
{
    memset(a, 0, sizeof *a);
}

void arena_init_from(struct arena *a, const struct arena_source *source, void *owner)
{
    arena_init(a);
    a->source = source;
    a->owner = owner;
}

static void block_free(const struct arena *a, struct arena_block *b)
{
    if (a->source)
        a->source->free(a->owner, b->data, b->size);
    if (b->bytes >= BLOCK_MAPPED)
        munmap(b, b->bytes);
    else
        free(b);
}

static void blocks_free(const struct arena *a, struct arena_block *b)
{
    while (b) {
        struct arena_block *previous = b->previous;
        block_free(a, b);
        b = previous;
    }
}

void arena_release(struct arena *a)
{
    blocks_free(a, a->block);
    arena_init_from(a, a->source, a->owner);
}

// What is not handed out of a block that is left for a larger one was in use before perhaps: its
// pages go back to the system.
static void block_leave(struct arena_block *b)
{
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    uintptr_t from = ((uintptr_t)b->data + b->used + page - 1) / page * page;
    uintptr_t to = (uintptr_t)b + b->bytes;
    if (b->bytes >= BLOCK_MAPPED && from < to)
        madvise((void *)from, to - from, MADV_DONTNEED);
}

static void *block_map(size_t bytes)
{
    void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return p == MAP_FAILED ? NULL : p;
}

static struct arena_block *block_new(const struct arena *a, size_t size, struct err *e)
{
    size_t bytes, own = a->source ? 0 : size; // beside the header
    if (size > SIZE_MAX / 2 ||
        __builtin_add_overflow(own, sizeof(struct arena_block) + ALIGN, &bytes)) {
        err_memory(e, size, "work space");
        return NULL;
    }
    bytes = (bytes + ALIGN - 1) / ALIGN * ALIGN;
    struct arena_block *b = bytes >= BLOCK_MAPPED ? block_map(bytes) : aligned_alloc(ALIGN, bytes);
    unsigned char *data = !b ? NULL : a->source ? a->source->alloc(a->owner, size) : b->own;
    if (!data) {
        free(b);
        err_memory(e, size, "work space");
        return NULL;
    }
    *b = (struct arena_block){.size = size, .bytes = bytes, .data = data};
    return b;
}

void arena_clear(struct arena *a)
{
    size_t used = a->used_before + (a->block ? a->block->used : 0);
    if (used > a->peak)
        a->peak = used;
    if (a->block && (a->block->previous || a->block->size < a->peak)) {
        struct err ignored;
        blocks_free(a, a->block);
        a->block = block_new(a, a->peak, &ignored); // NULL: the next arena_alloc reports it
    }
    if (a->block)
        a->block->used = 0;
    a->used_before = 0;
}

void *arena_alloc(struct arena *a, size_t count, size_t size, struct err *e)
{
    size_t bytes;
    if (__builtin_mul_overflow(count, size, &bytes) || bytes > SIZE_MAX / 4) {
        err_set(e, STATUS_MEMORY, "out of memory: %zu times %zu bytes of work space", count, size);
        return NULL;
    }
    bytes = (bytes + ALIGN - 1) / ALIGN * ALIGN;
    if (!a->block || a->block->size - a->block->used < bytes) {
        size_t want = a->block ? a->block->size : BLOCK_MIN / 2;
        want = want < BLOCK_GROWS ? 2 * want : want;
        struct arena_block *b = block_new(a, bytes > want ? bytes : want, e);
        if (!b)
            return NULL;
        if (a->block) {
            a->used_before += a->block->used;
            block_leave(a->block);
        }
        b->previous = a->block;
        a->block = b;
    }
    void *p = a->block->data + a->block->used;
    assert((uintptr_t)p % ALIGN == 0);
    a->block->used += bytes;
    return p;
}

struct arena_mark arena_mark(const struct arena *a)
{
    return (struct arena_mark){a->block, a->block ? a->block->used : 0, a->used_before};
}

void arena_rewind(struct arena *a, struct arena_mark mark)
{
    size_t used = a->used_before + (a->block ? a->block->used : 0);
    if (used > a->peak)
        a->peak = used;
    if (!mark.block) {
        // Everything goes: as arena_clear, which keeps the memory.
        arena_clear(a);
        return;
    }
    while (a->block != mark.block) {
        struct arena_block *previous = a->block->previous;
        assert(previous); // the mark is this arena's, from after the last arena_clear
        block_free(a, a->block);
        a->block = previous;
    }
    assert(mark.used <= a->block->used);
    a->block->used = mark.used;
    a->used_before = mark.used_before;
}

void buffer_init(struct buffer *b, size_t limit)
{
    memset(b, 0, sizeof *b);
    b->limit = limit ? limit : (size_t)1 << 40;
}

void buffer_release(struct buffer *b)
{
    free(b->data);
    b->data = NULL;
    b->size = b->capacity = 0;
}

void buffer_clear(struct buffer *b)
{
    b->size = 0;
    if (b->data)
        b->data[0] = 0;
}

int buffer_reserve(struct buffer *b, size_t more, struct err *e)
{
    size_t need;
    if (__builtin_add_overflow(b->size, more, &need) || need > b->limit)
        return err_set(e, STATUS_FAILED, "text longer than the limit of %zu bytes", b->limit);
    return MEM_GROW(b->data, b->capacity, need + 1, "a buffer", e);
}

int buffer_append(struct buffer *b, const void *data, size_t size, struct err *e)
{
    if (buffer_reserve(b, size, e) < 0)
        return -1;
    if (size)
        memcpy(b->data + b->size, data, size);
    b->size += size;
    b->data[b->size] = 0;
    return 0;
}

int buffer_string(struct buffer *b, const char *s, struct err *e)
{
    return buffer_append(b, s, strlen(s), e);
}

int buffer_printf(struct buffer *b, struct err *e, const char *format, ...)
{
    va_list ap;
    va_start(ap, format);
    int n = vsnprintf(NULL, 0, format, ap);
    va_end(ap);
    if (n < 0)
        return err_set(e, STATUS_FAILED, "a value could not be printed");
    if (buffer_reserve(b, (size_t)n, e) < 0)
        return -1;
    va_start(ap, format);
    vsnprintf(b->data + b->size, (size_t)n + 1, format, ap);
    va_end(ap);
    b->size += (size_t)n;
    return 0;
}
