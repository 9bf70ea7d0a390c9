// SPDX-License-Identifier: MIT
// Causal attention over blocks of 16 keys. A work item is one (segment, kv head, run of queries);
// the query heads that share a kv head are rows of the same tile, so grouped heads read keys and
// values once. Never more than a few rows of scores exist at a time. Blocks before a tile's window
// are left out; what a row sums begins at the block of its own first key, whatever its tile reads.
#include "ops/cpu/cpu.h"
#include "base/thread.h"

#include <assert.h>
#include <math.h>
#include <string.h>

enum {
    QUERIES = 32,              // tokens of a work item
    BACK_ROWS = 48,            // query rows of a backward tile: a multiple of every kernel's tile
    BACK_KEYS = SLICE,         // keys of a backward item: dq adds up in these slices
    PITCH = BACK_KEYS + LANES, // of their scores; see score_pitch
};

// The elements of k or v from number `element` on.
static void *elements(const struct attention *a, void *blocks, size_t element)
{
    return (char *)blocks + element * dtype_size(a->type);
}

static void *key_block(const struct attention *a, const struct segment *s, size_t block,
                       size_t head)
{
    return elements(a, a->k,
                    ((size_t)s->block[block] * a->kv_heads + head) * a->head_dim * KV_BLOCK);
}

static void *value_block(const struct attention *a, const struct segment *s, size_t block,
                         size_t head)
{
    return elements(a, a->v,
                    ((size_t)s->block[block] * a->kv_heads + head) * a->head_dim * KV_BLOCK);
}

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

struct store_job {
    const struct attention *a;
    const float *k, *v;
};

static void store_key(const struct attention *a, void *block, size_t lane, const float *k)
{
    float *wide = block;
    uint16_t *half = block;
    if (a->type == DTYPE_F32)
        for (size_t c = 0; c < a->head_dim; c++)
            wide[c * KV_BLOCK + lane] = k[c];
    else
        for (size_t c = 0; c < a->head_dim; c++)
            dtype_from_f32(&half[c * KV_BLOCK + lane], k + c, a->type, 1);
}

static void store_segments(void *arg, size_t begin, size_t end, int worker)
{
    const struct store_job *job = arg;
    const struct attention *a = job->a;
    size_t width = a->kv_heads * a->head_dim;
    for (size_t i = begin; i < end; i++) {
        const struct segment *s = &a->segment[i];
        for (size_t t = 0; t < s->length; t++) {
            size_t position = s->past + t, lane = position % KV_BLOCK;
            for (size_t h = 0; h < a->kv_heads; h++) {
                const float *k = job->k + (s->start + t) * width + h * a->head_dim;
                const float *v = job->v + (s->start + t) * width + h * a->head_dim;
                void *kb = key_block(a, s, position / KV_BLOCK, h);
                void *vb = value_block(a, s, position / KV_BLOCK, h);
                if (lane == 0) { // lanes not yet used must be finite: they meet a weight of 0
                    memset(kb, 0, a->head_dim * KV_BLOCK * dtype_size(a->type));
                    memset(vb, 0, a->head_dim * KV_BLOCK * dtype_size(a->type));
                }
                store_key(a, kb, lane, k);
                dtype_from_f32(elements(a, vb, lane * a->head_dim), v, a->type, a->head_dim);
            }
        }
    }
}

int cpu_attention_store(struct device *d, const struct attention *a, const float *k, const float *v,
                        struct err *e)
{
    struct store_job job = {a, k, v};
    threads_for(a->n_segments, 4, store_segments, &job);
    return 0;
}

// A run of tokens of a segment, from number `first` on.
struct token_run {
    size_t segment, first;
};

struct attention_job {
    const struct kernels *kernels;
    const struct attention *a;
    const struct token_run *run;
    float *out, *lse;
    const float *q;
    float *scores; // [threads][TILE_MAX][pitch]
    size_t pitch;
};

static size_t longest(const struct attention *a)
{
    size_t most = 0;
    for (size_t i = 0; i < a->n_segments; i++)
        if (a->plan[i].past + a->plan[i].length > most)
            most = a->plan[i].past + a->plan[i].length;
    return most;
}

static size_t padded(size_t keys)
{
    return (keys + KV_BLOCK - 1) / KV_BLOCK * KV_BLOCK;
}

// Floats from one row of scores to the next: an odd number of cache lines, so that the rows of a
// tile do not lie in the same sets of the cache.
static size_t score_pitch(size_t keys)
{
    return (padded(keys) / LANES | 1) * LANES;
}

// First key that position i sees.
static size_t first_key(const struct attention *a, size_t i)
{
    return a->window && i >= a->window ? i + 1 - a->window : 0;
}

// Adds the bias of head h to the raw scores of n keys from number `key` on, and caps them where
// there is a cap. Returns the factor that remains.
static float finish_scores(const struct kernels *kernels, const struct attention *a, size_t h,
                           float *scores, size_t key, size_t n)
{
    if (a->key_bias)
        kernels->add(scores, a->key_bias + h * a->key_bias_pitch + key, n);
    if (a->softcap == 0)
        return a->scale;
    kernels->softcap(scores, a->scale, a->softcap, n);
    return 1;
}

// Query rows in a tile are (token, head of the group), tokens first. Gathers their vectors.
static void gather(float *to, const float *from, const struct attention *a, const struct segment *s,
                   size_t head, size_t first, size_t rows)
{
    size_t group = a->heads / a->kv_heads, width = a->heads * a->head_dim;
    for (size_t r = 0; r < rows; r++) {
        size_t token = s->start + (first + r) / group, h = head * group + (first + r) % group;
        memcpy(to + r * a->head_dim, from + token * width + h * a->head_dim,
               a->head_dim * sizeof *to);
    }
}

static void scatter(float *to, const float *from, const struct attention *a,
                    const struct segment *s, size_t head, size_t first, size_t rows)
{
    size_t group = a->heads / a->kv_heads, width = a->heads * a->head_dim;
    for (size_t r = 0; r < rows; r++) {
        size_t token = s->start + (first + r) / group, h = head * group + (first + r) % group;
        memcpy(to + token * width + h * a->head_dim, from + r * a->head_dim,
               a->head_dim * sizeof *to);
    }
}

// out[r] = sum over the keys of the blocks first .. end-1 of p[r][key] * value[key]
static void mix_blocks(const struct attention_job *job, const struct segment *s, size_t head,
                       size_t rows, size_t first, size_t end, const float *p, float *out)
{
    const struct attention *a = job->a;
    size_t dim = a->head_dim, column = 0, stride = a->kv_heads * dim * KV_BLOCK;
    void *values = elements(a, a->v, head * dim * KV_BLOCK);
    for (; column + LANES <= dim; column += LANES)
        job->kernels->tile_blocks(rows, first, end, elements(a, values, column), a->type, s->block,
                                  stride, dim, p, job->pitch, out + column, dim);
    const struct blocked rest = {values, a->type, s->block + first, stride, KV_BLOCK, dim};
    for (; column < dim; column += NARROW)
        job->kernels->narrow(rows, (end - first) * KV_BLOCK, &rest, column, p + first * KV_BLOCK,
                             job->pitch, 1, out, 0);
}

static void attend_tile(const struct attention_job *job, const struct segment *s, size_t head,
                        size_t first, size_t rows, float *scores, float *work)
{
    const struct attention *a = job->a;
    size_t group = a->heads / a->kv_heads, dim = a->head_dim;
    float *q = work, *out = work + TILE_MAX * dim;
    float inverse[TILE_MAX];
    gather(q, job->q, a, s, head, first, rows);
    size_t keys = s->past + (first + rows - 1) / group + 1;
    size_t begin = first_key(a, s->past + first / group) / KV_BLOCK;
    size_t end = padded(keys) / KV_BLOCK;
    job->kernels->score_blocks(rows, dim, begin, end, elements(a, a->k, head * dim * KV_BLOCK),
                               a->type, s->block, a->kv_heads * dim * KV_BLOCK, q, dim, scores,
                               job->pitch);
    for (size_t r = 0; r < rows; r++) {
        float *row = scores + r * job->pitch;
        size_t token = (first + r) / group, h = head * group + (first + r) % group;
        size_t visible = s->past + token + 1, from = first_key(a, visible - 1);
        size_t whole = from / KV_BLOCK * KV_BLOCK;
        float scale = finish_scores(job->kernels, a, h, row + from, from, visible - from);
        float top = job->kernels->max(row + from, visible - from) * scale;
        for (size_t i = whole; i < from; i++)
            row[i] = -INFINITY;
        for (size_t i = visible; i < padded(visible); i++)
            row[i] = -INFINITY;
        double sum =
            job->kernels->exp_sum(row + whole, row + whole, padded(visible) - whole, scale, top);
        for (size_t i = begin * KV_BLOCK; i < whole; i++)
            row[i] = 0;
        for (size_t i = padded(visible); i < padded(keys); i++)
            row[i] = 0;
        inverse[r] = (float)(1 / sum);
        if (job->lse)
            job->lse[(s->start + token) * a->heads + h] = (float)(top + log(sum));
    }
    mix_blocks(job, s, head, rows, begin, end, scores, out);
    for (size_t r = 0; r < rows; r++)
        job->kernels->scale(out + r * dim, inverse[r], dim);
    scatter(job->out, out, a, s, head, first, rows);
}

static size_t tile_floats(size_t pitch, size_t dim)
{
    return TILE_MAX * (pitch + 2 * dim);
}

static size_t back_floats(size_t dim)
{
    return 2 * BACK_ROWS * PITCH + BACK_KEYS + 4 * (BACK_ROWS + BACK_KEYS) * dim;
}

size_t cpu_attention_scratch(size_t longest, size_t head_dim, int backward)
{
    size_t floats = backward ? back_floats(head_dim) : tile_floats(score_pitch(longest), head_dim);
    return (size_t)threads_count() * floats * sizeof(float);
}

static void attend_runs(void *arg, size_t begin, size_t end, int worker)
{
    const struct attention_job *job = arg;
    const struct attention *a = job->a;
    size_t group = a->heads / a->kv_heads;
    float *scores = job->scores + (size_t)worker * tile_floats(job->pitch, a->head_dim);
    float *work = scores + TILE_MAX * job->pitch;
    for (size_t i = begin; i < end; i++) {
        const struct token_run *run = &job->run[i / a->kv_heads];
        const struct segment *s = &a->segment[run->segment];
        size_t tokens = s->length - run->first < QUERIES ? s->length - run->first : QUERIES;
        size_t last = (run->first + tokens) * group;
        for (size_t first = run->first * group; first < last; first += job->kernels->tile) {
            size_t rows = last - first < job->kernels->tile ? last - first : job->kernels->tile;
            attend_tile(job, s, i % a->kv_heads, first, rows, scores, work);
        }
    }
}

// All segments in runs of at most `tokens`.
static struct token_run *make_runs(struct device *d, const struct attention *a, size_t tokens,
                                   size_t *count, struct err *e)
{
    size_t n = 0;
    for (size_t i = 0; i < a->n_segments; i++)
        n += (a->plan[i].length + tokens - 1) / tokens;
    struct token_run *run = arena_alloc(&d->scratch, n, sizeof *run, e);
    if (!run)
        return NULL;
    *count = n;
    n = 0;
    for (size_t i = 0; i < a->n_segments; i++)
        for (size_t first = 0; first < a->plan[i].length; first += tokens)
            run[n++] = (struct token_run){i, first};
    return run;
}

int cpu_attention(struct device *d, const struct attention *a, float *out, const float *q,
                  float *lse, struct err *e)
{
    assert(a->heads % a->kv_heads == 0);
    struct arena_mark mark = arena_mark(&d->scratch);
    struct attention_job job = {.kernels = cpu_kernels(d), .a = a, .out = out, .lse = lse, .q = q};
    size_t runs = 0;
    job.run = make_runs(d, a, QUERIES, &runs, e);
    job.pitch = score_pitch(longest(a));
    job.scores = arena_alloc(&d->scratch, cpu_attention_scratch(longest(a), a->head_dim, 0), 1, e);
    if (!job.run || !job.scores)
        return -1;
    size_t cost = job.pitch * (a->heads / a->kv_heads) * a->head_dim / 4;
    threads_for(runs * a->kv_heads, cpu_grain(cost), attend_runs, &job);
    arena_rewind(&d->scratch, mark);
    return 0;
}

// What the operations on whole sequences ask for.
static int whole_and_exact(const struct attention *a)
{
    if (a->type != DTYPE_F32)
        return 0;
    for (size_t i = 0; i < a->n_segments; i++)
        if (a->plan[i].past)
            return 0;
    return 1;
}

struct last_job {
    const struct attention *a;
    const struct segment *s;
    size_t head;   // the first
    double *share; // [heads][keys]
    size_t keys;
    const float *q;
};

static double last_score(const struct attention *a, const struct segment *s, const float *q,
                         size_t head, size_t t)
{
    size_t kv_head = head / (a->heads / a->kv_heads);
    const float *key = (const float *)key_block(a, s, t / KV_BLOCK, kv_head) + t % KV_BLOCK;
    double score = a->key_bias ? (double)a->key_bias[head * a->key_bias_pitch + t] : 0;
    for (size_t c = 0; c < a->head_dim; c++)
        score += (double)q[c] * (double)key[c * KV_BLOCK];
    score *= (double)a->scale;
    return a->softcap == 0 ? score : (double)a->softcap * tanh(score / (double)a->softcap);
}

// One row a head: too little work for tiles.
static void share_heads(void *arg, size_t begin, size_t end, int worker)
{
    const struct last_job *job = arg;
    const struct attention *a = job->a;
    size_t last = job->s->length - 1, first = first_key(a, last);
    const float *row = job->q + (job->s->start + last) * a->heads * a->head_dim;
    for (size_t i = begin; i < end; i++) {
        size_t h = job->head + i;
        double *share = job->share + i * job->keys, top = -INFINITY, sum = 0;
        for (size_t t = first; t <= last; t++) {
            share[t] = last_score(a, job->s, row + h * a->head_dim, h, t);
            top = share[t] > top ? share[t] : top;
        }
        for (size_t t = first; t <= last; t++)
            sum += share[t] = exp(share[t] - top);
        for (size_t t = first; t <= last; t++)
            share[t] = share[t] / sum / (double)a->heads;
    }
}

// As many heads at a time as forward's work space has room for.
static void weigh_last(struct last_job *job, size_t room, float *weight)
{
    size_t last = job->s->length - 1, first = first_key(job->a, last), heads = job->a->heads;
    memset(weight, 0, job->s->length * sizeof *weight);
    for (job->head = 0; job->head < heads; job->head += room) {
        size_t n = least(heads - job->head, room);
        threads_for(n, 1, share_heads, job);
        for (size_t i = 0; i < n; i++)
            for (size_t t = first; t <= last; t++)
                weight[t] += (float)job->share[i * job->keys + t];
    }
}

int cpu_attention_of_last(struct device *d, const struct attention *a, float *weight,
                          const float *q, struct err *e)
{
    assert(whole_and_exact(a));
    struct arena_mark mark = arena_mark(&d->scratch);
    struct last_job job = {.a = a, .keys = longest(a), .q = q};
    size_t bytes = cpu_attention_scratch(job.keys, a->head_dim, 0);
    job.share = arena_alloc(&d->scratch, bytes, 1, e);
    if (!job.share)
        return -1;
    for (size_t i = 0; i < a->n_segments; i++) {
        job.s = &a->segment[i];
        weigh_last(&job, bytes / (job.keys * sizeof *job.share), weight + job.s->start);
    }
    arena_rewind(&d->scratch, mark);
    return 0;
}

// Backward. P is made again from q, k and lse; with D = sum(dout * out): dS = P (dP - D), dq =
// scale dS k, dk = scale dS^T q, dv = P^T dout (Dao et al. 2022, section 3). A cap multiplies dS by
// 1 - (S / cap)^2.
// An item is one (kv head, run of BACK_KEYS keys): dk and dv of its keys gather from all queries
// that see them, tile after tile. The queries' dq gathers from run after run: an item goes on with
// a tile when the one before, which has begun earlier, is through with it.
struct backward_job {
    const struct kernels *kernels;
    const struct attention *a;
    const struct token_run *run;
    atomic_size_t *tiles; // [runs][kv_heads]: the item is through with tiles before this one
    float *dq, *dk, *dv, *work;
    const float *dout, *out, *q, *lse;
};

struct backward_work {
    float *scores, *dscores;    // [BACK_ROWS][PITCH]
    float *capped;              // [BACK_KEYS]
    float *q, *dout, *out, *dq; // [BACK_ROWS][dim]
    float *keys;                // [BACK_KEYS][dim]
    float *values;              // [BACK_KEYS / 16][dim][16]
    float *dk, *dv;             // [BACK_KEYS][dim]
};

// The keys first .. end-1 of an item, in whole blocks.
struct key_run {
    const struct segment *s;
    size_t head, first, end;
    struct backward_work w;
};

// Query rows first .. first+rows-1 and those keys of the item, in whole blocks, that one of them
// may see: from .. from+n-1, counted from the item's first.
struct backward_tile {
    size_t first, rows, from, n;
};

static struct backward_work split_work(float *base, size_t dim)
{
    struct backward_work w;
    w.scores = base;
    w.dscores = w.scores + BACK_ROWS * PITCH;
    w.capped = w.dscores + BACK_ROWS * PITCH;
    w.q = w.capped + BACK_KEYS;
    w.dout = w.q + BACK_ROWS * dim;
    w.out = w.dout + BACK_ROWS * dim;
    w.dq = w.out + BACK_ROWS * dim;
    w.keys = w.dq + BACK_ROWS * dim;
    w.values = w.keys + BACK_KEYS * dim;
    w.dk = w.values + BACK_KEYS * dim;
    w.dv = w.dk + BACK_KEYS * dim;
    return w;
}

// out[r][0 .. dim) = or += sum over k < count of p[r * n_stride + k * k_stride] * values[k], in
// panels of 16 columns.
static void mix_values(const struct kernels *kernels, size_t rows, size_t count,
                       const float *values, size_t dim, const float *p, size_t n_stride,
                       size_t k_stride, float *out, int add)
{
    size_t column = 0;
    for (; column + LANES <= dim; column += LANES)
        kernels->tile_product(rows, count, values + column, dim, p, n_stride, k_stride,
                              out + column, dim, add);
    const struct blocked rest = {values, DTYPE_F32, NULL, NARROW_ROWS * dim, NARROW_ROWS, dim};
    for (; column < dim; column += NARROW)
        kernels->narrow(rows, count, &rest, column, p, n_stride, k_stride, out, add);
}

// Scores, and dP in the place of dS.
static void raw_scores(const struct backward_job *job, const struct key_run *keys,
                       const struct backward_tile *t)
{
    static const uint32_t in_order[BACK_KEYS / KV_BLOCK] = {0, 1, 2,  3,  4,  5,  6,  7,
                                                            8, 9, 10, 11, 12, 13, 14, 15};
    const struct kernels *k = job->kernels;
    const struct attention *a = job->a;
    const struct backward_work *w = &keys->w;
    size_t block = a->head_dim * KV_BLOCK, from = t->from / KV_BLOCK, end = from + t->n / KV_BLOCK;
    for (size_t r = 0; r < t->rows; r += k->tile) {
        size_t rows = least(t->rows - r, k->tile), at = r * a->head_dim;
        k->score_blocks(rows, a->head_dim, from, end, elements(a, a->k, keys->head * block),
                        DTYPE_F32, keys->s->block + keys->first / KV_BLOCK, a->kv_heads * block,
                        w->q + at, a->head_dim, w->scores + r * PITCH, PITCH);
        k->score_blocks(rows, a->head_dim, from, end, w->values, DTYPE_F32, in_order, block,
                        w->dout + at, a->head_dim, w->dscores + r * PITCH, PITCH);
    }
}

// Row r of the tile: scores become P, dP becomes dS.
static void score_slopes(const struct backward_job *job, const struct key_run *keys,
                         const struct backward_tile *t, size_t r)
{
    const struct kernels *k = job->kernels;
    const struct attention *a = job->a;
    const struct backward_work *w = &keys->w;
    size_t group = a->heads / a->kv_heads, query = t->first + r, token = query / group;
    size_t h = keys->head * group + query % group, dim = a->head_dim;
    float *p = w->scores + r * PITCH, *ds = w->dscores + r * PITCH;
    // The keys seen, within those of the tile.
    size_t low = keys->first + t->from, high = low + t->n, seen = first_key(a, token);
    size_t from = least(seen > low ? seen : low, high) - keys->first;
    size_t to = (token + 1 > low ? least(token + 1, high) : low) - keys->first;
    float scale = finish_scores(k, a, h, p + from, keys->first + from, to - from);
    for (size_t i = t->from; i < from; i++)
        p[i] = -INFINITY;
    for (size_t i = to; i < t->from + t->n; i++)
        p[i] = -INFINITY;
    if (a->softcap != 0)
        memcpy(w->capped + from, p + from, (to - from) * sizeof *p);
    k->exp_sum(p + t->from, p + t->from, t->n, scale,
               job->lse[(keys->s->start + token) * a->heads + h]);
    float delta = (float)k->dot(w->dout + r * dim, w->out + r * dim, dim);
    k->score_gradient(ds + t->from, p + t->from, delta, a->scale, t->n);
    if (a->softcap != 0)
        k->softcap_backward(ds + from, w->capped + from, a->softcap, to - from);
}

// dq of the tile, to which earlier keys have given or, without `add`, have not.
static void query_slopes(const struct backward_job *job, const struct key_run *keys,
                         const struct backward_tile *t, int add)
{
    const struct attention *a = job->a;
    const struct backward_work *w = &keys->w;
    size_t dim = a->head_dim, tile = job->kernels->tile;
    if (add)
        gather(w->dq, job->dq, a, keys->s, keys->head, t->first, t->rows);
    for (size_t r = 0; r < t->rows; r += tile)
        mix_values(job->kernels, least(t->rows - r, tile), t->n, w->keys + t->from * dim, dim,
                   w->dscores + r * PITCH + t->from, PITCH, 1, w->dq + r * dim, add);
    scatter(job->dq, w->dq, a, keys->s, keys->head, t->first, t->rows);
}

static void key_slopes(const struct backward_job *job, const struct key_run *keys,
                       const struct backward_tile *t)
{
    const struct kernels *k = job->kernels;
    const struct backward_work *w = &keys->w;
    size_t dim = job->a->head_dim, end = t->from + t->n;
    for (size_t key = t->from; key < end; key += k->tile) {
        size_t n = least(end - key, k->tile), at = key * dim;
        mix_values(k, n, t->rows, w->q, dim, w->dscores + key, 1, PITCH, w->dk + at, 1);
        mix_values(k, n, t->rows, w->dout, dim, w->scores + key, 1, PITCH, w->dv + at, 1);
    }
}

static void backward_tile(const struct backward_job *job, const struct key_run *keys,
                          const struct backward_tile *t, int add)
{
    const struct attention *a = job->a;
    const struct backward_work *w = &keys->w;
    gather(w->q, job->q, a, keys->s, keys->head, t->first, t->rows);
    gather(w->dout, job->dout, a, keys->s, keys->head, t->first, t->rows);
    gather(w->out, job->out, a, keys->s, keys->head, t->first, t->rows);
    raw_scores(job, keys, t);
    for (size_t r = 0; r < t->rows; r++)
        score_slopes(job, keys, t, r);
    query_slopes(job, keys, t, add);
    key_slopes(job, keys, t);
}

static void load_keys(const struct backward_job *job, const struct key_run *keys)
{
    const struct backward_work *w = &keys->w;
    size_t dim = job->a->head_dim, bytes = (keys->end - keys->first) * dim * sizeof(float);
    for (size_t key = keys->first; key < keys->end; key += KV_BLOCK) {
        size_t at = (key - keys->first) * dim, b = key / KV_BLOCK;
        job->kernels->transpose(w->keys + at, dim, key_block(job->a, keys->s, b, keys->head),
                                KV_BLOCK, dim, KV_BLOCK);
        job->kernels->transpose(w->values + at, KV_BLOCK,
                                value_block(job->a, keys->s, b, keys->head), dim, KV_BLOCK, dim);
    }
    memset(w->dk, 0, bytes);
    memset(w->dv, 0, bytes);
}

static void store_slopes(const struct backward_job *job, const struct key_run *keys)
{
    size_t dim = job->a->head_dim, end = least(keys->end, keys->s->length);
    for (size_t t = keys->first; t < end; t++) {
        size_t to = ((keys->s->start + t) * job->a->kv_heads + keys->head) * dim;
        size_t from = (t - keys->first) * dim;
        memcpy(job->dk + to, keys->w.dk + from, dim * sizeof(float));
        memcpy(job->dv + to, keys->w.dv + from, dim * sizeof(float));
    }
}

// The tiles that see a key of the item, in order.
static void backward_run(const struct backward_job *job, size_t item, const struct key_run *keys)
{
    const struct attention *a = job->a;
    size_t group = a->heads / a->kv_heads, last = keys->s->length * group;
    load_keys(job, keys);
    for (size_t i = keys->first * group / BACK_ROWS; i * BACK_ROWS < last; i++) {
        struct backward_tile t = {.first = i * BACK_ROWS};
        t.rows = least(last - t.first, BACK_ROWS);
        size_t begin = first_key(a, t.first / group) / KV_BLOCK * KV_BLOCK;
        size_t end = padded((t.first + t.rows - 1) / group + 1), earlier = begin < keys->first;
        if (begin >= keys->end || threads_interrupted() ||
            (earlier && !threads_await(&job->tiles[item - a->kv_heads], i + 1)))
            break;
        t.from = earlier ? 0 : begin - keys->first;
        t.n = least(end, keys->end) - keys->first - t.from;
        backward_tile(job, keys, &t, (int)earlier);
        atomic_store(&job->tiles[item], i + 1);
    }
    store_slopes(job, keys);
}

static void backward_runs(void *arg, size_t begin, size_t end, int worker)
{
    const struct backward_job *job = arg;
    const struct attention *a = job->a;
    float *work = job->work + (size_t)worker * back_floats(a->head_dim);
    for (size_t i = begin; i < end; i++) {
        const struct token_run *run = &job->run[i / a->kv_heads];
        struct key_run keys = {.s = &a->segment[run->segment],
                               .head = i % a->kv_heads,
                               .first = run->first,
                               .w = split_work(work, a->head_dim)};
        keys.end = least(run->first + BACK_KEYS, padded(keys.s->length));
        backward_run(job, i, &keys);
    }
}

int cpu_attention_backward(struct device *d, const struct attention *a, float *dq, float *dk,
                           float *dv, const float *dout, const float *out, const float *q,
                           const float *lse, struct err *e)
{
    assert(whole_and_exact(a) && BACK_ROWS % cpu_kernels(d)->tile == 0);
    struct arena_mark mark = arena_mark(&d->scratch);
    struct backward_job job = {.kernels = cpu_kernels(d),
                               .a = a,
                               .dq = dq,
                               .dk = dk,
                               .dv = dv,
                               .dout = dout,
                               .out = out,
                               .q = q,
                               .lse = lse};
    size_t runs = 0;
    job.run = make_runs(d, a, BACK_KEYS, &runs, e);
    job.tiles = arena_alloc(&d->scratch, runs * a->kv_heads, sizeof *job.tiles, e);
    job.work = arena_alloc(&d->scratch, cpu_attention_scratch(0, a->head_dim, 1), 1, e);
    if (!job.run || !job.tiles || !job.work)
        return -1;
    for (size_t i = 0; i < runs * a->kv_heads; i++)
        atomic_init(&job.tiles[i], 0);
    threads_for(runs * a->kv_heads, 1, backward_runs, &job);
    arena_rewind(&d->scratch, mark);
    return 0;
}
