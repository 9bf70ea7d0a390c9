// SPDX-License-Identifier: MIT
#include "train/offline.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

static size_t unit(const struct offline *s)
{
    return s->pair ? 2 : 1;
}

int offline_init(struct offline *s, const struct dataset *data, const struct pair *pair, size_t n,
                 size_t batch_size, int shuffle, uint64_t seed, struct err *e)
{
    assert(n >= 1 && batch_size >= 1);
    *s = (struct offline){.data = data,
                          .pair = pair,
                          .n = n,
                          .batch_size = batch_size,
                          .shuffle = shuffle,
                          .seed = seed,
                          .order_epoch = UINT64_MAX};
    s->order = mem_alloc(n, sizeof *s->order, "an order", e);
    s->batch = mem_alloc(batch_size, unit(s) * sizeof *s->batch, "a batch", e);
    return s->order && s->batch ? 0 : -1;
}

void offline_release(struct offline *s)
{
    free(s->order);
    free(s->batch);
    memset(s, 0, sizeof *s);
}

int64_t offline_epoch_steps(const struct offline *s)
{
    return (int64_t)((s->n + s->batch_size - 1) / s->batch_size);
}

uint64_t offline_seen(const struct offline *s, int64_t steps)
{
    int64_t epoch = offline_epoch_steps(s);
    return (uint64_t)(steps / epoch) * s->n + (uint64_t)(steps % epoch) * s->batch_size;
}

// The example that is the k-th of a unit, by its number in the data.
static size_t member(const struct offline *s, size_t i, size_t k)
{
    return s->pair ? s->pair[i].member[k] : i;
}

size_t offline_next(struct offline *s, int64_t step)
{
    int64_t epoch_steps = offline_epoch_steps(s);
    uint64_t epoch = (uint64_t)(step / epoch_steps);
    if (epoch != s->order_epoch) {
        index_order(s->order, s->n, s->shuffle, s->seed, epoch);
        s->order_epoch = epoch;
    }
    s->first = (size_t)(step % epoch_steps) * s->batch_size;
    size_t n = s->n - s->first < s->batch_size ? s->n - s->first : s->batch_size;
    struct trainer_example *out = s->batch;
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < unit(s); k++)
            *out++ = s->data->example[member(s, s->order[s->first + i], k)];
    return n * unit(s);
}

uint64_t offline_trained(struct offline *s, int64_t steps)
{
    int64_t epoch = offline_epoch_steps(s);
    uint64_t all = 0, rest = 0;
    for (size_t i = 0; i < s->n; i++)
        for (size_t k = 0; k < unit(s); k++)
            all += sequence_wanted(&s->data->example[member(s, i, k)].sequence);
    for (int64_t step = steps - steps % epoch; step < steps; step++) {
        size_t n = offline_next(s, step);
        for (size_t i = 0; i < n; i++)
            rest += sequence_wanted(&s->batch[i].sequence);
    }
    return (uint64_t)(steps / epoch) * all + rest;
}

size_t offline_longest(const struct offline *s, int after)
{
    size_t longest = 0;
    for (size_t i = 0; i < s->data->n; i++)
        if (s->data->example[i].sequence.n > longest)
            longest = s->data->example[i].sequence.n;
    return longest > 1 && !after ? longest - 1 : longest;
}

struct shown offline_record(const struct offline *s, size_t i)
{
    size_t k = i % unit(s);
    return frame_record(&s->data->all, member(s, s->order[s->first + i / unit(s)], k));
}
