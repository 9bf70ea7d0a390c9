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
    QUERIES = 32,   // tokens of a work item
    BACK_ROWS = 48, // query rows of a backward tile: a multiple of every kernel's tile
};

static float *key_block(const struct attention *a, const struct segment *s, size_t block,
                        size_t head)
{
    return a->k + ((size_t)s->block[block] * a->kv_heads + head) * a->head_dim * KV_BLOCK;
}

static float *value_block(const struct attention *a, const struct segment *s, size_t block,
                          size_t head)
{
    return a->v + ((size_t)s->block[block] * a->kv_heads + head) * a->head_dim * KV_BLOCK;
}

struct store_job {
    const struct attention *a;
    const float *k, *v;
};

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
                float *kb = key_block(a, s, position / KV_BLOCK, h);
                float *vb = value_block(a, s, position / KV_BLOCK, h);
                if (lane == 0) { // lanes not yet used must be finite: they meet a weight of 0
                    memset(kb, 0, a->head_dim * KV_BLOCK * sizeof *kb);
                    memset(vb, 0, a->head_dim * KV_BLOCK * sizeof *vb);
                }
                for (size_t c = 0; c < a->head_dim; c++)
                    kb[c * KV_BLOCK + lane] = k[c];
                memcpy(vb + lane * a->head_dim, v, a->head_dim * sizeof *v);
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

// The items of a job: segment and first query of each run of at most QUERIES tokens.
struct query_run {
    size_t segment, first;
};

struct attention_job {
    const struct kernels *kernels;
    const struct attention *a;
    const struct query_run *run;
    float *out, *lse;
    const float *q;
    float *scores; // [threads][TILE_MAX][row]
    size_t row;    // keys of the longest sequence, rounded up
};

static size_t longest(const struct attention *a)
{
    size_t most = 0;
    for (size_t i = 0; i < a->n_segments; i++)
        if (a->plan[i].past + a->plan[i].length > most)
            most = a->plan[i].past + a->plan[i].length;
    return (most + KV_BLOCK - 1) / KV_BLOCK * KV_BLOCK;
}

// First key that position i sees.
static size_t first_key(const struct attention *a, size_t i)
{
    return a->window && i >= a->window ? i + 1 - a->window : 0;
}

// s[r][first * 16 .. keys) for `rows` query rows whose vectors start at q[r].
static void score_rows(const struct attention_job *job, const struct segment *s, size_t head,
                       const float *q, size_t stride, size_t rows, size_t first, size_t keys,
                       float *scores)
{
    const struct attention *a = job->a;
    for (size_t b = first; b * KV_BLOCK < keys; b++)
        job->kernels->tile_product(rows, a->head_dim, key_block(a, s, b, head), KV_BLOCK, q, stride,
                                   1, scores + b * KV_BLOCK, job->row, 0);
}

static size_t padded(size_t keys)
{
    return (keys + KV_BLOCK - 1) / KV_BLOCK * KV_BLOCK;
}

// Adds the bias of head h to raw scores of the keys from .. to-1, and caps them where there is a
// cap. Returns the factor that remains.
static float finish_scores(const struct kernels *kernels, const struct attention *a, size_t h,
                           float *scores, size_t from, size_t to)
{
    if (a->key_bias)
        kernels->add(scores + from, a->key_bias + h * a->key_bias_pitch + from, to - from);
    if (a->softcap == 0)
        return a->scale;
    kernels->softcap(scores + from, a->scale, a->softcap, to - from);
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

// The columns of `values` from `column` on, fewer than a panel: through padded copies.
static void mix_rest(const struct kernels *kernels, size_t rows, size_t count, const float *values,
                     size_t dim, size_t column, const float *p, size_t n_stride, size_t k_stride,
                     float *out, int add)
{
    float part[64 * LANES], c[TILE_MAX * LANES];
    size_t rest = dim - column;
    memset(part, 0, sizeof part);
    for (size_t begin = 0; begin < count; begin += 64) {
        size_t n = count - begin < 64 ? count - begin : 64;
        for (size_t k = 0; k < n; k++)
            memcpy(part + k * LANES, values + (begin + k) * dim + column, rest * sizeof *part);
        kernels->tile_product(rows, n, part, LANES, p + begin * k_stride, n_stride, k_stride, c,
                              LANES, 0);
        for (size_t r = 0; r < rows; r++)
            for (size_t i = 0; i < rest; i++) {
                float *o = out + r * dim + column + i;
                *o = (add || begin ? *o : 0) + c[r * LANES + i];
            }
    }
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
    if (column < dim)
        mix_rest(kernels, rows, count, values, dim, column, p, n_stride, k_stride, out, add);
}

// out[r] = sum over the keys of the blocks first .. end-1 of p[r][key] * value[key]
static void mix_blocks(const struct attention_job *job, const struct segment *s, size_t head,
                       size_t rows, size_t first, size_t end, const float *p, float *out)
{
    const struct attention *a = job->a;
    size_t dim = a->head_dim, column = 0;
    for (; column + LANES <= dim; column += LANES)
        job->kernels->tile_blocks(rows, first, end, a->v + head * dim * KV_BLOCK + column, s->block,
                                  a->kv_heads * dim * KV_BLOCK, dim, p, job->row, out + column,
                                  dim);
    for (size_t b = first; b < end && column < dim; b++)
        mix_rest(job->kernels, rows, KV_BLOCK, value_block(a, s, b, head), dim, column,
                 p + b * KV_BLOCK, job->row, 1, out, b > first);
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
    score_rows(job, s, head, q, dim, rows, begin, keys, scores);
    for (size_t r = 0; r < rows; r++) {
        float *row = scores + r * job->row;
        size_t token = (first + r) / group, h = head * group + (first + r) % group;
        size_t visible = s->past + token + 1, from = first_key(a, visible - 1);
        size_t whole = from / KV_BLOCK * KV_BLOCK;
        float scale = finish_scores(job->kernels, a, h, row, from, visible);
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
    mix_blocks(job, s, head, rows, begin, padded(keys) / KV_BLOCK, scores, out);
    for (size_t r = 0; r < rows; r++)
        job->kernels->scale(out + r * dim, inverse[r], dim);
    scatter(job->out, out, a, s, head, first, rows);
}

static size_t row_floats(size_t row, size_t dim)
{
    return TILE_MAX * (row + 2 * dim);
}

static size_t back_floats(size_t row, size_t dim)
{
    return BACK_ROWS * (2 * row + 4 * dim) + (4 * dim + 1) * row;
}

size_t cpu_attention_scratch(size_t longest, size_t head_dim, int backward)
{
    size_t row = (longest + KV_BLOCK - 1) / KV_BLOCK * KV_BLOCK;
    return (size_t)threads_count() *
           (backward ? back_floats(row, head_dim) : row_floats(row, head_dim)) * sizeof(float);
}

static size_t work_floats(const struct attention_job *job)
{
    return row_floats(job->row, job->a->head_dim);
}

static void attend_runs(void *arg, size_t begin, size_t end, int worker)
{
    const struct attention_job *job = arg;
    const struct attention *a = job->a;
    size_t group = a->heads / a->kv_heads;
    float *scores = job->scores + (size_t)worker * work_floats(job);
    float *work = scores + TILE_MAX * job->row;
    for (size_t i = begin; i < end; i++) {
        const struct query_run *run = &job->run[i / a->kv_heads];
        const struct segment *s = &a->segment[run->segment];
        size_t tokens = s->length - run->first < QUERIES ? s->length - run->first : QUERIES;
        size_t last = (run->first + tokens) * group;
        for (size_t first = run->first * group; first < last; first += job->kernels->tile) {
            size_t rows = last - first < job->kernels->tile ? last - first : job->kernels->tile;
            attend_tile(job, s, i % a->kv_heads, first, rows, scores, work);
        }
    }
}

static struct query_run *make_runs(struct device *d, const struct attention *a, size_t *count,
                                   struct err *e)
{
    size_t n = 0;
    for (size_t i = 0; i < a->n_segments; i++)
        n += (a->plan[i].length + QUERIES - 1) / QUERIES;
    struct query_run *run = arena_alloc(&d->scratch, n, sizeof *run, e);
    if (!run)
        return NULL;
    *count = n;
    n = 0;
    for (size_t i = 0; i < a->n_segments; i++)
        for (size_t first = 0; first < a->plan[i].length; first += QUERIES)
            run[n++] = (struct query_run){i, first};
    return run;
}

int cpu_attention(struct device *d, const struct attention *a, float *out, const float *q,
                  float *lse, struct err *e)
{
    assert(a->heads % a->kv_heads == 0);
    struct arena_mark mark = arena_mark(&d->scratch);
    struct attention_job job = {.kernels = cpu_kernels(d), .a = a, .out = out, .lse = lse, .q = q};
    size_t runs = 0;
    job.run = make_runs(d, a, &runs, e);
    job.row = longest(a);
    job.scores =
        arena_alloc(&d->scratch, (size_t)threads_count() * work_floats(&job), sizeof(float), e);
    if (!job.run || !job.scores)
        return -1;
    size_t cost = job.row * (a->heads / a->kv_heads) * a->head_dim / 4;
    threads_for(runs * a->kv_heads, cpu_grain(cost), attend_runs, &job);
    arena_rewind(&d->scratch, mark);
    return 0;
}

// What the operations on whole sequences ask for.
static int none_has_past(const struct attention *a)
{
    for (size_t i = 0; i < a->n_segments; i++)
        if (a->plan[i].past)
            return 0;
    return 1;
}

struct last_job {
    const struct attention *a;
    float *weight;
    const float *q;
};

static double last_score(const struct attention *a, const struct segment *s, const float *q,
                         size_t head, size_t t)
{
    size_t kv_head = head / (a->heads / a->kv_heads);
    const float *key = key_block(a, s, t / KV_BLOCK, kv_head) + t % KV_BLOCK;
    double score = a->key_bias ? (double)a->key_bias[head * a->key_bias_pitch + t] : 0;
    for (size_t c = 0; c < a->head_dim; c++)
        score += (double)q[c] * (double)key[c * KV_BLOCK];
    score *= (double)a->scale;
    return a->softcap == 0 ? score : (double)a->softcap * tanh(score / (double)a->softcap);
}

// One row a sequence: too little work for tiles.
static void weigh_last(void *arg, size_t begin, size_t end, int worker)
{
    const struct last_job *job = arg;
    const struct attention *a = job->a;
    for (size_t i = begin; i < end; i++) {
        const struct segment *s = &a->segment[i];
        size_t last = s->length - 1;
        float *weight = job->weight + s->start;
        const float *row = job->q + (s->start + last) * a->heads * a->head_dim;
        memset(weight, 0, s->length * sizeof *weight);
        for (size_t h = 0; h < a->heads; h++) {
            double top = -INFINITY, sum = 0;
            for (int pass = 0; pass < 3; pass++)
                for (size_t t = first_key(a, last); t < s->length; t++) {
                    double score = last_score(a, s, row + h * a->head_dim, h, t);
                    if (pass == 0)
                        top = score > top ? score : top;
                    else if (pass == 1)
                        sum += exp(score - top);
                    else
                        weight[t] += (float)(exp(score - top) / sum / (double)a->heads);
                }
        }
    }
}

int cpu_attention_of_last(struct device *d, const struct attention *a, float *weight,
                          const float *q, struct err *e)
{
    assert(none_has_past(a));
    struct last_job job = {a, weight, q};
    threads_for(a->n_segments, 1, weigh_last, &job);
    return 0;
}

// Backward: an item is one (segment, kv head), because keys and values gather from all its queries.
// P is made again from q, k and lse; with D = sum(dout * out): dS = P (dP - D), dq = scale dS k,
// dk = scale dS^T q, dv = P^T dout (Dao et al. 2022, section 3). A cap multiplies dS by 1 - (S /
// cap)^2.
struct backward_job {
    struct attention_job forward;
    float *dq, *dk, *dv;
    const float *dout, *out_saved, *lse_saved;
    size_t floats; // work space a thread
};

struct backward_work {
    float *scores, *dscores;    // [BACK_ROWS][row]
    float *capped;              // [row]
    float *q, *dout, *out, *dq; // [BACK_ROWS][dim]
    float *keys;                // [row][dim]
    float *values;              // [row / 16][dim][16]
    float *dk, *dv;             // [row][dim]
};

static struct backward_work split_work(const struct backward_job *job, float *base)
{
    size_t row = job->forward.row, dim = job->forward.a->head_dim;
    struct backward_work w;
    w.scores = base;
    w.dscores = w.scores + BACK_ROWS * row;
    w.capped = w.dscores + BACK_ROWS * row;
    w.q = w.capped + row;
    w.dout = w.q + BACK_ROWS * dim;
    w.out = w.dout + BACK_ROWS * dim;
    w.dq = w.out + BACK_ROWS * dim;
    w.keys = w.dq + BACK_ROWS * dim;
    w.values = w.keys + row * dim;
    w.dk = w.values + row * dim;
    w.dv = w.dk + row * dim;
    return w;
}

// Row r of the tile, which is `query`'s (token and head of the group), over the keys from .. to-1:
// scores become P, dP becomes dS.
static void score_slopes(const struct backward_job *job, const struct segment *s, size_t head,
                         size_t query, size_t r, size_t from, size_t to,
                         const struct backward_work *w)
{
    const struct attention_job *f = &job->forward;
    const struct attention *a = f->a;
    size_t group = a->heads / a->kv_heads, dim = a->head_dim, n = to - from;
    size_t token = query / group, h = head * group + query % group;
    float *p = w->scores + r * f->row, *ds = w->dscores + r * f->row;
    float lse = job->lse_saved[(s->start + token) * a->heads + h];
    size_t visible = token + 1, seen = first_key(a, token);
    float scale = finish_scores(f->kernels, a, h, p, seen, visible);
    for (size_t i = from; i < seen; i++)
        p[i] = -INFINITY;
    for (size_t i = visible; i < to; i++)
        p[i] = -INFINITY;
    if (a->softcap != 0)
        memcpy(w->capped + seen, p + seen, (visible - seen) * sizeof *p);
    f->kernels->exp_sum(p + from, p + from, n, scale, lse);
    float delta = (float)f->kernels->dot(w->dout + r * dim, w->out + r * dim, dim);
    f->kernels->score_gradient(ds + from, p + from, delta, a->scale, n);
    if (a->softcap != 0)
        f->kernels->softcap_backward(ds + seen, w->capped + seen, a->softcap, visible - seen);
}

static void backward_tile(const struct backward_job *job, const struct segment *s, size_t head,
                          size_t first, size_t rows, const struct backward_work *w)
{
    const struct attention_job *f = &job->forward;
    const struct attention *a = f->a;
    size_t group = a->heads / a->kv_heads, dim = a->head_dim;
    size_t keys = (first + rows - 1) / group + 1, tile = f->kernels->tile;
    size_t begin = first_key(a, first / group) / KV_BLOCK, base = begin * KV_BLOCK;
    size_t span = padded(keys) - base;
    gather(w->q, f->q, a, s, head, first, rows);
    gather(w->dout, job->dout, a, s, head, first, rows);
    gather(w->out, job->out_saved, a, s, head, first, rows);
    for (size_t r = 0; r < rows; r += tile) {
        size_t n = rows - r < tile ? rows - r : tile;
        score_rows(f, s, head, w->q + r * dim, dim, n, begin, keys, w->scores + r * f->row);
        for (size_t b = begin; b * KV_BLOCK < keys; b++)
            f->kernels->tile_product(n, dim, w->values + b * KV_BLOCK * dim, KV_BLOCK,
                                     w->dout + r * dim, dim, 1,
                                     w->dscores + r * f->row + b * KV_BLOCK, f->row, 0);
    }
    for (size_t r = 0; r < rows; r++)
        score_slopes(job, s, head, first + r, r, base, base + span, w);
    for (size_t r = 0; r < rows; r += tile)
        mix_values(f->kernels, rows - r < tile ? rows - r : tile, span, w->keys + base * dim, dim,
                   w->dscores + r * f->row + base, f->row, 1, w->dq + r * dim, 0);
    scatter(job->dq, w->dq, a, s, head, first, rows);
    for (size_t key = base; key < base + span; key += tile) {
        size_t n = base + span - key < tile ? base + span - key : tile;
        mix_values(f->kernels, n, rows, w->q, dim, w->dscores + key, 1, f->row, w->dk + key * dim,
                   1);
        mix_values(f->kernels, n, rows, w->dout, dim, w->scores + key, 1, f->row, w->dv + key * dim,
                   1);
    }
}

static void backward_heads(void *arg, size_t begin, size_t end, int worker)
{
    const struct backward_job *job = arg;
    const struct attention *a = job->forward.a;
    const struct kernels *k = job->forward.kernels;
    size_t group = a->heads / a->kv_heads, dim = a->head_dim;
    struct backward_work w = split_work(job, job->forward.scores + (size_t)worker * job->floats);
    for (size_t i = begin; i < end; i++) {
        const struct segment *s = &a->segment[i / a->kv_heads];
        size_t head = i % a->kv_heads, last = s->length * group;
        for (size_t b = 0; b * KV_BLOCK < s->length; b++) {
            size_t at = b * KV_BLOCK * dim;
            k->transpose(w.keys + at, dim, key_block(a, s, b, head), KV_BLOCK, dim, KV_BLOCK);
            k->transpose(w.values + at, KV_BLOCK, value_block(a, s, b, head), dim, KV_BLOCK, dim);
        }
        memset(w.dk, 0, padded(s->length) * dim * sizeof(float));
        memset(w.dv, 0, padded(s->length) * dim * sizeof(float));
        for (size_t first = 0; first < last && !threads_interrupted(); first += BACK_ROWS)
            backward_tile(job, s, head, first, last - first < BACK_ROWS ? last - first : BACK_ROWS,
                          &w);
        for (size_t t = 0; t < s->length; t++) {
            size_t at = ((s->start + t) * a->kv_heads + head) * dim;
            memcpy(job->dk + at, w.dk + t * dim, dim * sizeof(float));
            memcpy(job->dv + at, w.dv + t * dim, dim * sizeof(float));
        }
    }
}

int cpu_attention_backward(struct device *d, const struct attention *a, float *dq, float *dk,
                           float *dv, const float *dout, const float *out, const float *q,
                           const float *lse, struct err *e)
{
    assert(none_has_past(a) && BACK_ROWS % cpu_kernels(d)->tile == 0);
    struct arena_mark mark = arena_mark(&d->scratch);
    struct backward_job job = {.forward = {.kernels = cpu_kernels(d), .a = a, .q = q},
                               .dq = dq,
                               .dk = dk,
                               .dv = dv,
                               .dout = dout,
                               .out_saved = out,
                               .lse_saved = lse};
    job.forward.row = longest(a);
    job.floats = back_floats(job.forward.row, a->head_dim);
    job.forward.scores =
        arena_alloc(&d->scratch, (size_t)threads_count() * job.floats, sizeof(float), e);
    if (!job.forward.scores)
        return -1;
    threads_for(a->n_segments * a->kv_heads, 1, backward_heads, &job);
    arena_rewind(&d->scratch, mark);
    return 0;
}
