// SPDX-License-Identifier: MIT
#include "model/rope.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { FIRST_POSITIONS = 256 };

static size_t table_bytes(const struct rope_table *t, const struct rope_config *r)
{
    return t->positions * r->dims * sizeof(float);
}

void rope_release(struct rope_tables *t, const struct model_config *c, struct device *d)
{
    for (size_t r = 0; r < c->n_ropes; r++)
        for (int k = 0; k < 2; k++) {
            struct rope_table *table = &t->table[r][k];
            free(table->angle);
            d->memory->free(d, table->copy, table_bytes(table, &c->rope[r]));
        }
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
static int grow(struct rope_table *t, const struct model_config *c, const struct rope_config *r,
                int beyond, size_t positions, struct err *e)
{
    size_t had = t->positions, reach = had ? 2 * had : FIRST_POSITIONS;
    if (reach < positions)
        reach = positions;
    float frequency[ROPE_DIMS_MAX / 2];
    size_t bytes;
    if (__builtin_mul_overflow(reach, r->dims * sizeof(float), &bytes))
        return err_memory(e, SIZE_MAX, "the rotary table");
    float *angle = realloc(t->angle, bytes);
    if (!angle)
        return err_memory(e, bytes, "the rotary table");
    t->angle = angle;
    size_t length = beyond ? (size_t)r->original_max_position + 1 : 0;
    config_rope_frequencies(c, r, length, frequency);
    fill(angle + had * r->dims, r, frequency, had, reach - had);
    t->positions = reach;
    return 0;
}

// The copy of a table that has grown from `had` bytes.
static int copy_table(struct rope_table *t, const struct rope_config *r, size_t had,
                      struct device *d, struct err *e)
{
    size_t bytes = table_bytes(t, r);
    d->memory->free(d, t->copy, had);
    t->copy = d->memory->alloc(d, bytes);
    if (!t->copy)
        err_memory(e, bytes, "the rotary table");
    if (t->copy && d->memory->put(d, t->copy, t->angle, bytes, e) == 0)
        return 0;
    d->memory->free(d, t->copy, bytes);
    t->copy = NULL;
    t->positions = 0;
    return -1;
}

// What rope_prepare was given.
struct preparing {
    struct rope_tables *tables;
    const struct model_config *c;
    struct device *d;
    const struct batch *b, *placed;
    struct arena *arena;
};

static struct rope_table *reach(const struct preparing *p, size_t rope, int beyond,
                                size_t positions, struct err *e)
{
    struct rope_table *t = &p->tables->table[rope][beyond];
    const struct rope_config *r = &p->c->rope[rope];
    size_t had = table_bytes(t, r);
    if (positions <= t->positions)
        return t;
    if (grow(t, p->c, r, beyond, positions, e) < 0)
        return NULL;
    return p->d->memory->unified || copy_table(t, r, had, p->d, e) == 0 ? t : NULL;
}

// Sequences of one batch that turn by different angles: the batch gets a table of its own, a row
// for each of its tokens.
static int fill_own(const struct preparing *p, size_t rope, float *table, uint32_t *row,
                    struct err *e)
{
    const struct rope_config *r = &p->c->rope[rope];
    for (size_t i = 0; i < p->b->n; i++)
        row[i] = (uint32_t)i;
    for (size_t i = 0; i < p->b->n_segments; i++) {
        const struct segment *s = &p->b->segment[i];
        float *to = table + s->start * r->dims;
        if (r->type == ROPE_DYNAMIC && is_long(r, s)) {
            float frequency[ROPE_DIMS_MAX / 2];
            config_rope_frequencies(p->c, r, length_of(s), frequency);
            fill(to, r, frequency, s->past, s->length);
            continue;
        }
        const struct rope_table *t = reach(p, rope, is_long(r, s), s->past + s->length, e);
        if (!t)
            return -1;
        memcpy(to, t->angle + s->past * r->dims, s->length * r->dims * sizeof *to);
    }
    return 0;
}

static int own_table(const struct preparing *p, size_t rope, struct rotary *out, struct err *e)
{
    size_t n = p->b->n, values = n * out->dims;
    struct arena *arena = p->d->memory->unified ? p->arena : &p->d->host;
    float *table = arena_alloc(arena, values, sizeof *table, e);
    uint32_t *row = arena_alloc(arena, n, sizeof *row, e);
    if (!table || !row || fill_own(p, rope, table, row, e) < 0 ||
        device_list(p->d, p->arena, &table, values * sizeof *table, e) < 0 ||
        device_list(p->d, p->arena, &row, n * sizeof *row, e) < 0)
        return -1;
    out->table = table;
    out->row = row;
    return 0;
}

static int prepare(const struct preparing *p, size_t rope, struct rotary *out, struct err *e)
{
    const struct rope_config *r = &p->c->rope[rope];
    const struct batch *b = p->b;
    size_t positions = 0, n_long = 0;
    *out = (struct rotary){.dims = r->dims, .neighbours = p->c->rope_interleaved};
    for (size_t i = 0; i < b->n_segments; i++) {
        const struct segment *s = &b->segment[i];
        n_long += (size_t)is_long(r, s);
        if (s->past + s->length > positions)
            positions = s->past + s->length;
    }
    if (n_long > 0 && (r->type == ROPE_DYNAMIC || n_long < b->n_segments))
        return own_table(p, rope, out, e);
    const struct rope_table *t = reach(p, rope, n_long > 0, positions, e);
    if (!t)
        return -1;
    out->table = t->copy ? t->copy : t->angle;
    out->row = p->placed->position;
    return 0;
}

int rope_prepare(struct rope_tables *t, const struct model_config *c, struct device *d,
                 const struct batch *b, const struct batch *placed, struct arena *arena,
                 struct rope_rows *out, struct err *e)
{
    struct preparing p = {t, c, d, b, placed, arena};
    for (size_t i = 0; i < c->n_ropes; i++)
        if (prepare(&p, i, &out->rotary[i], e) < 0)
            return -1;
    return 0;
}
