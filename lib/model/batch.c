// SPDX-License-Identifier: MIT
#include "model/batch.h"

#include <string.h>

int packer_init(struct packer *p, struct arena *arena, size_t tokens, size_t sequences,
                struct err *e)
{
    memset(p, 0, sizeof *p);
    size_t blocks = tokens / KV_BLOCK + sequences;
    p->token = arena_alloc(arena, tokens, sizeof *p->token, e);
    p->position = arena_alloc(arena, tokens, sizeof *p->position, e);
    p->wanted = arena_alloc(arena, tokens, sizeof *p->wanted, e);
    p->target = arena_alloc(arena, tokens, sizeof *p->target, e);
    p->block = arena_alloc(arena, blocks, sizeof *p->block, e);
    p->segment = arena_alloc(arena, sequences, sizeof *p->segment, e);
    if (!p->token || !p->position || !p->wanted || !p->target || !p->block || !p->segment)
        return -1;
    for (size_t i = 0; i < blocks; i++)
        p->block[i] = (uint32_t)i;
    return 0;
}

void packer_clear(struct packer *p)
{
    p->n = p->n_wanted = p->n_segments = p->n_blocks = 0;
}

size_t sequence_wanted(const struct sequence *s)
{
    size_t wanted = 0;
    for (size_t t = 1; t < s->n; t++)
        wanted += !s->mask || s->mask[t];
    return wanted;
}

size_t packer_add(struct packer *p, const struct sequence *s)
{
    const uint32_t *token = s->token;
    const uint8_t *mask = s->mask;
    size_t n = s->n;
    size_t wanted = 0, last = 0;
    for (size_t t = 1; t < n; t++)
        if (!mask || mask[t]) {
            p->wanted[p->n_wanted + wanted] = (uint32_t)(p->n + t - 1);
            p->target[p->n_wanted + wanted] = token[t];
            wanted++;
            last = t;
        }
    if (!wanted)
        return 0;
    // The last wanted token itself is only a target.
    memcpy(p->token + p->n, token, last * sizeof *token);
    for (size_t t = 0; t < last; t++)
        p->position[p->n + t] = (uint32_t)t;
    p->segment[p->n_segments++] =
        (struct segment){.start = p->n, .length = last, .past = 0, .block = p->block + p->n_blocks};
    p->n += last;
    p->n_wanted += wanted;
    p->n_blocks += (last + KV_BLOCK - 1) / KV_BLOCK;
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

int batch_check_tokens(const uint32_t *token, size_t n, size_t vocab, struct err *e)
{
    for (size_t t = 0; t < n; t++)
        if (token[t] >= vocab)
            return err_set(e, STATUS_STREAM,
                           "token %u at position %zu is beyond the vocabulary of %zu", token[t], t,
                           vocab);
    return 0;
}
