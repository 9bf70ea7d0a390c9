// SPDX-License-Identifier: MIT
// Memory: checked allocation, an arena by life-time, and a growing byte buffer with a stated
// maximum.
#ifndef BASE_MEMORY_H
#define BASE_MEMORY_H

#include "base/error.h"
#include <stddef.h>
#include <stdint.h>

// count * size bytes, zeroed; NULL with *e filled on overflow or when memory is out. Free with
// free().
void *mem_alloc(size_t count, size_t size, const char *what, struct err *e);
// Grows an array of `capacity` elements so that it holds at least `need`; contents kept. Both are
// variables, which change. 0, or -1 with *e filled and both as they were.
#define MEM_GROW(array, capacity, need, what, e)                                                   \
    mem_grow(&(array), &(capacity), (need), sizeof *(array), (what), (e))
// The same by the address of the pointer, whatever it points to, for elements of `size` bytes.
MUST_CHECK int mem_grow(void *array, size_t *capacity, size_t need, size_t size, const char *what,
                        struct err *e);

// Where an arena has its blocks from, if not from the heap: memory that only its owner may touch.
// alloc: 64-byte aligned, or NULL.
struct arena_source {
    void *(*alloc)(void *owner, size_t bytes);
    void (*free)(void *owner, void *p, size_t bytes);
};

// An arena hands out 64-byte aligned pieces that live until arena_clear or arena_release.
struct arena {
    struct arena_block *block;
    size_t used_before; // bytes handed out from blocks that are full
    size_t peak;
    const struct arena_source *source; // NULL: the heap
    void *owner;                       // the source's
};

void arena_init(struct arena *a);
void arena_init_from(struct arena *a, const struct arena_source *source, void *owner);
void arena_release(struct arena *a);
// Forgets all pieces and keeps the memory; several blocks are merged into one, so that a loop that
// repeats itself allocates nothing from its second round on.
void arena_clear(struct arena *a);
void *arena_alloc(struct arena *a, size_t count, size_t size, struct err *e); // not zeroed

// Where an arena stands; arena_rewind forgets what was handed out since. Not behind arena_clear.
struct arena_mark {
    struct arena_block *block;
    size_t used;
    size_t used_before;
};
struct arena_mark arena_mark(const struct arena *a);
void arena_rewind(struct arena *a, struct arena_mark mark);

// Bytes that grow up to `limit` (0: 2^40); always followed by a NUL that does not count.
struct buffer {
    char *data;
    size_t size;
    size_t capacity;
    size_t limit;
};

void buffer_init(struct buffer *b, size_t limit);
void buffer_release(struct buffer *b);
void buffer_clear(struct buffer *b);
MUST_CHECK int buffer_reserve(struct buffer *b, size_t more, struct err *e);
MUST_CHECK int buffer_append(struct buffer *b, const void *data, size_t size, struct err *e);
MUST_CHECK int buffer_string(struct buffer *b, const char *s, struct err *e);
int buffer_printf(struct buffer *b, struct err *e, const char *format, ...) ERR_PRINTF(3, 4);

#endif
