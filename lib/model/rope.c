// SPDX-License-Identifier: MIT
#include "model/rope.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { FIRST_POSITIONS = 256 };

void rope_release(struct rope_tables *t)
{
    for (int r = 0; r < ROPES_MAX; r++)
        for (int k = 0; k < 2; k++)
            free(t->table[r][k].angle);
    memset(t, 0, sizeof *t);
}

static int by_length(const struct rope_config *r)
{
    return r->type == ROPE_DYNAMIC || r->type == ROPE_LONGROPE;
}

size_t rope_same_up_to(const struct model_config *c)
{
    size_t length = SIZE_MAX;
    for (size_t i = 0; i < c->n_ropes; i++)
        if (by_length(&c->rope[i]) && c->rope[i].original_max_position < (double)length)
            length = (size_t)c->rope[i].original_max_position;
    return length;
}

// Angles of the positions first .. first+n-1: [n][dims / 2][cos, sin].
static void fill(float *angle, const struct rope_config *r, const float *frequency, size_t first,
                 size_t n)
{
    size_t half = r->dims / 2;
    for (size_t p = 0; p < n; p++)
        for (size_t k = 0; k < half; k++) {
            double a = (double)(first + p) * (double)frequency[k];
            angle[(p * half + k) * 2] = (float)(cos(a) * r->attention_factor);
            angle[(p * half + k) * 2 + 1] = (float)(sin(a) * r->attention_factor);
        }
}

static size_t length_of(const struct segment *s)
{
    return s->reach ? s->reach : s->past + s->length;
}

static int is_long(const struct rope_config *r, const struct segment *s)
{
    return by_length(r) && (double)length_of(s) > r->original_max_position;
}

// Makes sure that a table reaches so many positions; only longrope has two.
static int grow(struct rope_tables *t, const struct model_config *c, size_t rope, int beyond,
                size_t positions, struct err *e)
{
    const struct rope_config *r = &c->rope[rope];
    size_t had = t->table[rope][beyond].positions, reach = had ? 2 * had : FIRST_POSITIONS;
    if (positions <= had)
        return 0;
    if (reach < positions)
        reach = positions;
    float frequency[ROPE_DIMS_MAX / 2];
    size_t bytes;
    if (__builtin_mul_overflow(reach, r->dims * sizeof(float), &bytes))
        return err_memory(e, SIZE_MAX, "the rotary table");
    float *angle = realloc(t->table[rope][beyond].angle, bytes);
    if (!angle)
        return err_memory(e, bytes, "the rotary table");
    t->table[rope][beyond].angle = angle;
    size_t length = beyond ? (size_t)r->original_max_position + 1 : 0;
    config_rope_frequencies(c, r, length, frequency);
    fill(angle + had * r->dims, r, frequency, had, reach - had);
    t->table[rope][beyond].positions = reach;
    return 0;
}

// Sequences of one batch that turn by different angles: the batch gets a table of its own, a row
// for each of its tokens.
static int own_table(struct rope_tables *t, const struct model_config *c, size_t rope,
                     const struct batch *b, struct arena *arena, struct rotary *out, struct err *e)
{
    const struct rope_config *r = &c->rope[rope];
    float *table = arena_alloc(arena, b->n * r->dims, sizeof *table, e);
    uint32_t *row = arena_alloc(arena, b->n, sizeof *row, e);
    if (!table || !row)
        return -1;
    for (size_t i = 0; i < b->n; i++)
        row[i] = (uint32_t)i;
    for (size_t i = 0; i < b->n_segments; i++) {
        const struct segment *s = &b->segment[i];
        float *to = table + s->start * r->dims;
        if (r->type == ROPE_DYNAMIC && is_long(r, s)) {
            float frequency[ROPE_DIMS_MAX / 2];
            config_rope_frequencies(c, r, length_of(s), frequency);
            fill(to, r, frequency, s->past, s->length);
            continue;
        }
        int beyond = is_long(r, s);
        if (grow(t, c, rope, beyond, s->past + s->length, e) < 0)
            return -1;
        memcpy(to, t->table[rope][beyond].angle + s->past * r->dims,
               s->length * r->dims * sizeof *to);
    }
    out->table = table;
    out->row = row;
    return 0;
}

static int prepare(struct rope_tables *t, const struct model_config *c, size_t rope,
                   const struct batch *b, struct arena *arena, struct rotary *out, struct err *e)
{
    const struct rope_config *r = &c->rope[rope];
    size_t positions = 0, n_long = 0;
    *out = (struct rotary){.dims = r->dims, .neighbours = c->rope_interleaved};
    for (size_t i = 0; i < b->n_segments; i++) {
        const struct segment *s = &b->segment[i];
        n_long += (size_t)is_long(r, s);
        if (s->past + s->length > positions)
            positions = s->past + s->length;
    }
    if (n_long > 0 && (r->type == ROPE_DYNAMIC || n_long < b->n_segments))
        return own_table(t, c, rope, b, arena, out, e);
    int beyond = n_long > 0;
    if (grow(t, c, rope, beyond, positions, e) < 0)
        return -1;
    out->table = t->table[rope][beyond].angle;
    out->row = b->position;
    return 0;
}

int rope_prepare(struct rope_tables *t, const struct model_config *c, const struct batch *b,
                 struct arena *arena, struct rope_rows *out, struct err *e)
{
    for (size_t i = 0; i < c->n_ropes; i++)
        if (prepare(t, c, i, b, arena, &out->rotary[i], e) < 0)
            return -1;
    return 0;
}
