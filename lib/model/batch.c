// SPDX-License-Identifier: MIT
#include "model/batch.h"

#include <assert.h>
#include <string.h>

int packer_init(struct packer *p, struct arena *arena, size_t tokens, size_t sequences,
                struct err *e)
{
    memset(p, 0, sizeof *p);
    p->tokens = tokens;
    p->sequences = sequences;
    size_t blocks = tokens / KV_BLOCK + sequences;
    p->token = arena_alloc(arena, tokens, sizeof *p->token, e);
    p->position = arena_alloc(arena, tokens, sizeof *p->position, e);
    p->wanted = arena_alloc(arena, tokens, sizeof *p->wanted, e);
    p->target = arena_alloc(arena, tokens, sizeof *p->target, e);
    p->block = arena_alloc(arena, blocks, sizeof *p->block, e);
    p->segment = arena_alloc(arena, sequences, sizeof *p->segment, e);
    if (!p->token || !p->position || !p->wanted || !p->target || !p->block || !p->segment)
        return -1;
    return 0;
}

size_t sequence_wanted(const struct sequence *s)
{
    size_t wanted = 0;
    for (size_t t = 1; t < s->n; t++)
        wanted += !s->mask || s->mask[t];
    return wanted;
}

// Positions, a multiple of the block, whose rows and blocks the root has already.
static size_t shared_prefix(const struct packer *p, const struct sequence *s, size_t last)
{
    if (s->n - s->beyond > p->share || !p->root.token)
        return 0;
    size_t most = last < p->root.length ? last : p->root.length, same = 0;
    while (same < most && s->token[same] == p->root.token[same])
        same++;
    return same / KV_BLOCK * KV_BLOCK;
}

static size_t last_wanted(const struct sequence *s)
{
    for (size_t t = s->n; t > 1; t--)
        if (!s->mask || s->mask[t - 1])
            return t - 1;
    return 0;
}

size_t packer_add(struct packer *p, const struct sequence *s)
{
    size_t last = last_wanted(s), after = p->after ? 1 : 0;
    if (!last)
        return 0;
    assert(p->n_wanted + last <= p->tokens && p->n_segments < p->sequences);
    size_t rows = last + after; // without `after` the last token itself is only a target
    size_t shared = shared_prefix(p, s, rows), start = p->n, wanted = 0;
    for (size_t t = 1; t <= last; t++)
        if (!s->mask || s->mask[t]) {
            size_t at = t - 1 + after;
            size_t row = at < shared ? p->root.start + at : start + at - shared;
            p->wanted[p->n_wanted + wanted] = (uint32_t)row;
            p->target[p->n_wanted + wanted++] = s->token[t];
        }
    p->n_wanted += wanted;
    uint32_t *block = p->block + p->n_entries;
    for (size_t at = 0; at < rows; at += KV_BLOCK)
        p->block[p->n_entries++] =
            at < shared ? p->root.block[at / KV_BLOCK] : (uint32_t)p->n_blocks++;
    if (!shared && s->n - s->beyond <= p->share) {
        p->root.token = s->token;
        p->root.start = start;
        p->root.length = rows;
        p->root.block = block;
    }
    if (shared == rows)
        return wanted;
    assert(p->n + rows - shared <= p->tokens);
    memcpy(p->token + p->n, s->token + shared, (rows - shared) * sizeof *s->token);
    for (size_t t = shared; t < rows; t++)
        p->position[p->n + t - shared] = (uint32_t)t;
    p->segment[p->n_segments++] = (struct segment){.start = start,
                                                   .length = rows - shared,
                                                   .past = shared,
                                                   .block = block,
                                                   .reach = s->n - s->beyond};
    p->n += rows - shared;
    return wanted;
}

void packer_batch(const struct packer *p, struct batch *b)
{
    *b = (struct batch){.n = p->n,
                        .token = p->token,
                        .position = p->position,
                        .segment = p->segment,
                        .n_segments = p->n_segments,
                        .wanted = p->wanted,
                        .n_wanted = p->n_wanted,
                        .n_blocks = p->n_blocks};
}

static size_t blocks_of(const struct segment *s)
{
    return (s->past + s->length + KV_BLOCK - 1) / KV_BLOCK;
}

// The segments, each with its own part of one list of blocks.
static int place_segments(const struct batch *b, struct device *d, struct arena *arena,
                          struct batch *placed, struct err *e)
{
    size_t blocks = 0;
    for (size_t i = 0; i < b->n_segments; i++)
        blocks += blocks_of(&b->segment[i]);
    uint32_t *block = arena_alloc(&d->host, blocks, sizeof *block, e);
    struct segment *segment = arena_alloc(&d->host, b->n_segments, sizeof *segment, e);
    if (!block || !segment)
        return -1;
    for (size_t i = 0, at = 0; i < b->n_segments; at += blocks_of(&b->segment[i++]))
        memcpy(block + at, b->segment[i].block, blocks_of(&b->segment[i]) * sizeof *block);
    if (device_list(d, arena, &block, blocks * sizeof *block, e) < 0)
        return -1;
    for (size_t i = 0; i < b->n_segments; i++) {
        segment[i] = b->segment[i];
        segment[i].block = block;
        block += blocks_of(&segment[i]);
    }
    placed->segment = segment;
    return device_list(d, arena, &placed->segment, b->n_segments * sizeof *segment, e);
}

int batch_place(const struct batch *b, struct device *d, struct arena *arena, struct batch *placed,
                struct err *e)
{
    *placed = *b;
    if (d->memory->unified)
        return 0;
    struct arena_mark mark = arena_mark(&d->host);
    if (device_list(d, arena, &placed->token, b->n * sizeof *b->token, e) < 0 ||
        device_list(d, arena, &placed->position, b->n * sizeof *b->position, e) < 0 ||
        device_list(d, arena, &placed->wanted, b->n_wanted * sizeof *b->wanted, e) < 0 ||
        place_segments(b, d, arena, placed, e) < 0)
        return -1;
    arena_rewind(&d->host, mark);
    return 0;
}

int batch_check_tokens(const uint32_t *token, size_t n, size_t vocab, struct err *e)
{
    for (size_t t = 0; t < n; t++)
        if (token[t] >= vocab)
            return err_set(e, STATUS_STREAM,
                           "token %u at position %zu is beyond the vocabulary of %zu", token[t], t,
                           vocab);
    return 0;
}
