// SPDX-License-Identifier: MIT
#include "model/decoder.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

// What a layer computed: rows [n, width], where the description of the model has them. Without
// `save` the layers share one set, and what only the way back needs is not kept. Layers that are
// computed again share one too, but for what enters them.
enum layer_part {
    IN,   // [hidden] residual stream before the layer
    STAT, // [2] of the norm before attention
    Q_RAW,
    K_RAW,  // [heads * head_dim], [kv_heads * head_dim] clamped, before the norms of heads (late:
            // rotated)
    Q_STAT, // [2] of each of these norms
    K_STAT,
    V_RAW,         // [kv_heads * head_dim] clamped
    Q,             // [heads * head_dim], rotated
    MIXED,         // [heads * head_dim] out of attention
    LSE,           // [heads]
    ATTENDED,      // [hidden] what attention adds, or the sum, before its norm
    ATTENDED_STAT, // [2]
    MIDDLE,        // [hidden] residual stream between attention and MLP
    MLP_STAT,      // [2] of the norm before the MLP
    GATE,
    UP,        // [intermediate]
    DOWN,      // [hidden] what the MLP adds, or the sum, before its norm
    DOWN_STAT, // [2]
    PARTS
};
struct activations {
    float *part[PARTS];
    void *k, *v; // blocks
};

// Scratch of one layer's forward, rows [n, width].
enum forward_work {
    F_NORMED,     // [hidden]
    F_MLP_NORMED, // [hidden] where attention still needs the other
    F_K,
    F_V,      // [kv_heads * head_dim]
    F_FUSED,  // query, key and value group by group
    F_BRANCH, // [hidden] what is added to the residual stream
    F_PARTS
};
// And of its backward.
enum backward_part {
    B_NORMED,
    B_DNORMED,     // [hidden]
    B_MLP_DNORMED, // [hidden]
    B_PRODUCT,
    B_DPRODUCT, // [intermediate]
    B_DMIXED,
    B_DQ, // [heads * head_dim]
    B_DK,
    B_DV, // [kv_heads * head_dim]
    B_DQ_RAW,
    B_DK_RAW,
    B_DFUSED,
    B_DBRANCH, // [hidden]
    B_DADDED,  // [hidden] before the norm
    B_PARTS
};

void decoder_init(struct decoder *d, struct model *m, struct device *device)
{
    memset(d, 0, sizeof *d);
    d->model = m;
    d->device = device;
    device_arena_init(&d->arena, device);
}

void decoder_release(struct decoder *d)
{
    arena_release(&d->arena);
    free(d->saved);
    free(d->back);
}

size_t decoder_block_elements(const struct model *m)
{
    return m->config.kv_heads * m->config.head_dim * KV_BLOCK;
}

static size_t query_width(const struct model_config *c)
{
    return c->heads * c->head_dim;
}

static size_t kv_width(const struct model_config *c)
{
    return c->kv_heads * c->head_dim;
}

static int norms_branch(const struct model_config *c, enum tensor_role post_norm)
{
    return c->has[post_norm] && !c->norm_sums;
}

// What a branch computes goes through a buffer of its own, not straight into the residual stream.
static int has_detour(const struct model_config *c, enum tensor_role post_norm)
{
    return norms_branch(c, post_norm) || c->residual_scale != 1;
}

static size_t norms_of_heads(const struct model_config *c, size_t heads)
{
    return c->head_norm == HEAD_NORM_NONE ? 0 : c->head_norm == HEAD_NORM_WIDE ? 1 : heads;
}

static int has_gate(const struct model_config *c)
{
    return c->has[ROLE_GATE] || c->has[ROLE_GATE_UP];
}

static void part_widths(const struct model_config *c, int save, size_t width[PARTS])
{
    memset(width, 0, PARTS * sizeof *width);
    width[Q] = width[MIXED] = query_width(c);
    width[GATE] = has_gate(c) ? c->intermediate : 0;
    width[UP] = c->intermediate;
    if (!save)
        return;
    width[LSE] = c->heads;
    width[STAT] = c->has[ROLE_ATTENTION_NORM] ? 2 : 0;
    width[MLP_STAT] = c->has[ROLE_MLP_NORM] ? 2 : 0;
    width[MIDDLE] = c->parallel ? 0 : c->hidden;
    if (c->head_norm != HEAD_NORM_NONE || c->clip_qkv > 0) {
        width[Q_RAW] = query_width(c);
        width[K_RAW] = kv_width(c);
    }
    width[V_RAW] = c->clip_qkv > 0 ? kv_width(c) : 0;
    if (c->head_norm != HEAD_NORM_NONE) {
        width[Q_STAT] = 2 * norms_of_heads(c, c->heads);
        width[K_STAT] = 2 * norms_of_heads(c, c->kv_heads);
    }
    if (c->has[ROLE_ATTENTION_POST_NORM]) {
        width[ATTENDED] = c->hidden;
        width[ATTENDED_STAT] = 2;
    }
    if (c->has[ROLE_MLP_POST_NORM]) {
        width[DOWN] = c->hidden;
        width[DOWN_STAT] = 2;
    }
}

static void forward_widths(const struct model_config *c, size_t width[F_PARTS])
{
    memset(width, 0, F_PARTS * sizeof *width);
    int after = c->has[ROLE_ATTENTION_POST_NORM] || c->has[ROLE_MLP_POST_NORM];
    width[F_NORMED] = c->hidden;
    width[F_MLP_NORMED] = c->parallel && c->has[ROLE_MLP_NORM] ? c->hidden : 0;
    width[F_K] = width[F_V] = kv_width(c);
    width[F_FUSED] = c->fusion == FUSION_GROUPS ? query_width(c) + 2 * kv_width(c) : 0;
    width[F_BRANCH] = after || c->residual_scale != 1 ? c->hidden : 0;
}

static void backward_widths(const struct model_config *c, size_t width[B_PARTS])
{
    memset(width, 0, B_PARTS * sizeof *width);
    int after = c->has[ROLE_ATTENTION_POST_NORM] || c->has[ROLE_MLP_POST_NORM];
    width[B_NORMED] = width[B_DNORMED] = c->hidden;
    width[B_MLP_DNORMED] = c->parallel && c->has[ROLE_MLP_NORM] ? c->hidden : 0;
    width[B_PRODUCT] = width[B_DPRODUCT] = c->intermediate;
    width[B_DMIXED] = width[B_DQ] = query_width(c);
    width[B_DK] = width[B_DV] = kv_width(c);
    if (c->head_norm != HEAD_NORM_NONE) {
        width[B_DQ_RAW] = query_width(c);
        width[B_DK_RAW] = kv_width(c);
    }
    width[B_DFUSED] = c->fusion == FUSION_GROUPS ? query_width(c) + 2 * kv_width(c) : 0;
    width[B_DBRANCH] = c->residual_scale != 1 ? c->hidden : 0;
    width[B_DADDED] = after ? c->hidden : 0;
}

static size_t sum_of(const size_t *width, size_t n)
{
    size_t sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += width[i];
    return sum;
}

size_t decoder_work_bytes(const struct model *m, size_t n, size_t n_wanted, size_t kept)
{
    enum { PIECE = 64 }; // what an arena rounds a piece up to
    const struct model_config *c = &m->config;
    size_t part[PARTS], forward[F_PARTS], backward[B_PARTS];
    int save = kept > 0;
    size_t sets = save ? kept : 1, streams = save ? c->layers + 1 : 1;
    part_widths(c, save, part);
    forward_widths(c, forward);
    backward_widths(c, backward);
    // what enters each layer, and its gradient; keys and values; work space
    size_t row = streams * c->hidden + sets * (sum_of(part, PARTS) + 2 * kv_width(c));
    row += save ? sum_of(backward, B_PARTS) : sum_of(forward, F_PARTS);
    size_t entry = c->has[ROLE_PROJECT_IN] ? c->end_width : 0;
    entry += c->has[ROLE_EMBEDDING_NORM] ? c->hidden + 2 : 0;
    row += (save ? 2 : 1) * entry;
    size_t wanted = 3 * c->hidden + 2 + (c->has[ROLE_PROJECT_OUT] ? c->hidden + c->end_width : 0);
    for (size_t i = 0; i < c->n_ropes; i++)
        row += rope_same_up_to(c) < SIZE_MAX ? c->rope[i].dims + 1 : 0;
    size_t blocks = decoder_block_bytes(m, kept);
    size_t pieces = (sets * (PARTS + 2) + streams + F_PARTS + B_PARTS + 24) * PIECE;
    return (n * row + n_wanted * wanted) * sizeof(float) + blocks + pieces;
}

size_t decoder_block_bytes(const struct model *m, size_t kept)
{
    return 2 * (kept ? kept : 1) * decoder_block_elements(m) * sizeof(float);
}

size_t decoder_scratch_bytes(const struct device *d, const struct model *m, size_t n,
                             size_t longest, int save)
{
    const struct model_config *c = &m->config;
    struct scratch_shape s = {.rows = n,
                              .longest = longest,
                              .depth = c->intermediate,
                              .head_dim = c->head_dim,
                              .turned = c->conv1d,
                              .widened = !m->master,
                              .backward = save};
    s.depth = s.depth > c->hidden ? s.depth : c->hidden;
    s.depth = s.depth > query_width(c) ? s.depth : query_width(c);
    return d->ops->scratch_bytes(d, &s);
}

static float *floats(struct decoder *d, size_t rows, size_t cols, struct err *e)
{
    return arena_alloc(&d->arena, rows * cols, sizeof(float), e);
}

static int make_parts(struct decoder *d, float **part, const size_t *width, size_t parts, size_t n,
                      struct err *e)
{
    for (size_t i = 0; i < parts; i++) {
        part[i] = width[i] ? floats(d, n, width[i], e) : NULL;
        if (width[i] && !part[i])
            return -1;
    }
    return 0;
}

static int make_activations(struct decoder *d, const struct batch *b, const struct kv_cache *cache,
                            int save, struct activations *a, struct err *e)
{
    size_t width[PARTS], block = decoder_block_elements(d->model);
    part_widths(&d->model->config, save, width);
    if (make_parts(d, a->part, width, PARTS, b->n, e) < 0)
        return -1;
    if (cache)
        return 0;
    a->k = arena_alloc(&d->arena, b->n_blocks * block, dtype_size(d->device->kv), e);
    a->v = arena_alloc(&d->arena, b->n_blocks * block, dtype_size(d->device->kv), e);
    return a->k && a->v ? 0 : -1;
}

// One pass over a batch: what its functions share.
struct layer_pass {
    struct decoder *d;
    const struct batch *b;
    const struct batch *at; // the same, as the device reads it
    const struct model_config *c;
    const struct ops *ops;
    struct device *device;
    const struct tensor *t; // of the layer
    size_t layer;
    int again;            // the forward of a layer that is computed again: what follows it is there
    float *work[B_PARTS]; // of enum forward_work, or of enum backward_part
};
_Static_assert((int)F_PARTS <= (int)B_PARTS, "work holds either");

static struct layer_pass layer_pass_of(struct decoder *d, const struct batch *b)
{
    return (struct layer_pass){.d = d,
                               .b = b,
                               .at = &d->placed,
                               .c = &d->model->config,
                               .ops = d->device->ops,
                               .device = d->device};
}

static void enter_layer(struct layer_pass *w, size_t layer)
{
    w->layer = layer;
    w->t = w->d->model->layer[layer];
}

static struct attention attention_of(const struct decoder *d, const struct batch *b, size_t layer,
                                     const struct activations *a)
{
    const struct model_config *c = &d->model->config;
    return (struct attention){.heads = c->heads,
                              .kv_heads = c->kv_heads,
                              .head_dim = c->head_dim,
                              .scale = c->layer[layer].scale,
                              .window = c->layer[layer].window,
                              .softcap = c->score_softcap,
                              .key_bias = c->alibi ? d->model->key_bias : NULL,
                              .key_bias_pitch = d->model->key_bias_positions,
                              .type = d->device->kv,
                              .k = a->k,
                              .v = a->v,
                              .segment = d->placed.segment,
                              .plan = b->segment,
                              .n_segments = b->n_segments};
}

// Over rows of that width; t: the tensors of the layer, or those once a model.
static struct norm norm_of(const struct model_config *c, const struct tensor *t,
                           enum tensor_role role, size_t width)
{
    struct norm p = {c->norm_centred, c->norm_eps, c->norm_offset, t[role], t[role + 1]};
    p.weight.cols = width; // which a norm without a weight does not have
    return p;
}

// A norm of the layer over rows of the hidden width.
static int norm(struct layer_pass *w, float *y, float *stat, const float *x, enum tensor_role role,
                struct err *e)
{
    struct norm p = norm_of(w->c, w->t, role, w->c->hidden);
    return w->ops->norm(w->device, y, stat, x, w->b->n, w->c->hidden, &p, e);
}

static int norm_backward(struct layer_pass *w, float *dx, const float *dy, const float *x,
                         const float *stat, enum tensor_role role, struct err *e)
{
    struct norm p = norm_of(w->c, w->t, role, w->c->hidden);
    return w->ops->norm_backward(w->device, dx, dy, x, stat, w->b->n, w->c->hidden, &p, e);
}

// The norms of heads, as rows: how many calls, and of each the rows and how far apart they are.
struct head_rows {
    size_t calls, rows, pitch;
    struct norm norm;
    const struct tensor *each; // weights, of HEAD_NORM_EACH
};

static struct head_rows head_rows_of(const struct layer_pass *w, int key)
{
    const struct model_config *c = w->c;
    size_t heads = key ? c->kv_heads : c->heads, n = w->b->n;
    size_t width = c->head_norm == HEAD_NORM_WIDE ? heads * c->head_dim : c->head_dim;
    struct head_rows r = {.norm = norm_of(c, w->t, key ? ROLE_KEY_NORM : ROLE_QUERY_NORM, width)};
    if (c->head_norm == HEAD_NORM_WIDE) {
        r.calls = 1;
        r.rows = n;
        r.pitch = heads * c->head_dim;
    } else if (c->head_norm == HEAD_NORM_SHARED) {
        r.calls = 1;
        r.rows = n * heads;
        r.pitch = c->head_dim;
    } else if (c->head_norm == HEAD_NORM_EACH) {
        r.calls = heads;
        r.rows = n;
        r.pitch = heads * c->head_dim;
        r.each =
            w->d->model->head_norm + w->layer * (c->heads + c->kv_heads) + (key ? c->heads : 0);
    }
    return r;
}

static int norm_heads(struct layer_pass *w, int key, float *y, float *stat, const float *x,
                      struct err *e)
{
    struct head_rows r = head_rows_of(w, key);
    for (size_t i = 0; i < r.calls; i++) {
        size_t at = i * w->c->head_dim;
        if (r.each)
            r.norm.weight = r.each[i];
        if (w->ops->norm(w->device, y + at, stat ? stat + i * r.rows * 2 : NULL, x + at, r.rows,
                         r.pitch, &r.norm, e) < 0)
            return -1;
    }
    return 0;
}

static int norm_heads_backward(struct layer_pass *w, int key, float *dx, const float *dy,
                               const float *x, const float *stat, struct err *e)
{
    struct head_rows r = head_rows_of(w, key);
    for (size_t i = 0; i < r.calls; i++) {
        size_t at = i * w->c->head_dim;
        if (r.each)
            r.norm.weight = r.each[i];
        if (w->ops->norm_backward(w->device, dx + at, dy + at, x + at, stat + i * r.rows * 2,
                                  r.rows, r.pitch, &r.norm, e) < 0)
            return -1;
    }
    return 0;
}

static struct grouping grouping_of(const struct model_config *c)
{
    return (struct grouping){c->kv_heads, c->heads / c->kv_heads, c->head_dim};
}

// q, k, v of the normed rows.
static int project(struct layer_pass *w, const float *normed, float *q, float *k, float *v,
                   struct err *e)
{
    const struct tensor *t = w->t;
    size_t n = w->b->n;
    if (w->c->fusion == FUSION_GROUPS) {
        struct grouping g = grouping_of(w->c);
        struct linear l = {w->work[F_FUSED], t[ROLE_QKV], t[ROLE_QKV_BIAS], 0};
        if (w->ops->linear(w->device, normed, n, &l, 1, e) < 0)
            return -1;
        return w->ops->ungroup(w->device, &g, q, k, v, w->work[F_FUSED], n, e);
    }
    struct linear qkv[3] = {{q, t[ROLE_QUERY], t[ROLE_QUERY_BIAS], 0},
                            {k, t[ROLE_KEY], t[ROLE_KEY_BIAS], 0},
                            {v, t[ROLE_VALUE], t[ROLE_VALUE_BIAS], 0}};
    return w->ops->linear(w->device, normed, n, qkv, 3, e);
}

// The factor of queries at a position, rounded as transformers rounds it.
static float query_factor(const struct model_config *c, uint32_t position)
{
    return (float)(1 + c->query_beta * log(1 + floor(position / c->query_period)));
}

// Rows of queries, or of their gradients: a run of rows with the same factor at a time.
static int scale_queries(struct layer_pass *w, float *q, struct err *e)
{
    const struct model_config *c = w->c;
    size_t width = query_width(c), end;
    for (size_t i = 0; c->query_period > 0 && i < w->b->n; i = end) {
        float factor = query_factor(c, w->b->position[i]), *run = q + i * width;
        for (end = i + 1; end < w->b->n; end++)
            if (query_factor(c, w->b->position[end]) != factor)
                break;
        if (factor != 1 && w->ops->axpby(w->device, run, 0, run, factor, (end - i) * width, e) < 0)
            return -1;
    }
    return 0;
}

// What positions do to queries and keys; backward: to their gradients.
static int rotate(struct layer_pass *w, float *q, float *k, int backward, struct err *e)
{
    const struct model_config *c = w->c;
    int rope = c->layer[w->layer].rope, way = backward != c->rope_reversed;
    if (scale_queries(w, q, e) < 0)
        return -1;
    if (rope < 0)
        return 0;
    const struct rotary *r = &w->d->rope.rotary[rope];
    if (w->ops->rotate(w->device, q, w->b->n, c->heads, c->head_dim, r, way, e) < 0)
        return -1;
    return w->ops->rotate(w->device, k, w->b->n, c->kv_heads, c->head_dim, r, way, e);
}

static int copy_values(const struct layer_pass *w, float *to, const float *from, size_t width,
                       struct err *e)
{
    size_t bytes = w->b->n * width * sizeof *to;
    return to == from ? 0 : w->device->memory->copy(w->device, to, from, bytes, e);
}

static int copy_rows(const struct layer_pass *w, float *to, const float *from, struct err *e)
{
    return copy_values(w, to, from, w->c->hidden, e);
}

static int clear_rows(struct device *device, float *x, size_t n, size_t width, struct err *e)
{
    return device->memory->zero(device, x, n * width * sizeof *x, e);
}

// x += of a branch: the product with `weight`, normed and scaled where the model says so.
static int add_product(struct layer_pass *w, float *x, const float *from, struct linear l,
                       enum tensor_role post_norm, float *added, float *stat, struct err *e)
{
    const struct model_config *c = w->c;
    float *branch = w->work[F_BRANCH];
    int detour = has_detour(c, post_norm);
    l.y = !detour ? x : added ? added : branch;
    l.add = !detour;
    if (w->ops->linear(w->device, from, w->b->n, &l, 1, e) < 0)
        return -1;
    if (!detour)
        return 0;
    if (norms_branch(c, post_norm) && norm(w, branch, stat, l.y, post_norm, e) < 0)
        return -1;
    return w->ops->axpby(w->device, x, 1, branch, c->residual_scale, w->b->n * c->hidden, e);
}

// The same, and then the norm of the sum where the model has that. What the norm needs on the way
// back is kept in `added` and `stat`.
static int add_branch(struct layer_pass *w, float *x, const float *from, enum tensor_role weight,
                      enum tensor_role bias, enum tensor_role post_norm, float *added, float *stat,
                      struct err *e)
{
    struct linear l = {.w = w->t[weight], .bias = w->t[bias]};
    if (!w->c->norm_sums)
        return add_product(w, x, from, l, post_norm, added, stat, e);
    float *sum = added ? added : x;
    if (copy_rows(w, sum, x, e) < 0 || add_product(w, sum, from, l, post_norm, NULL, NULL, e) < 0)
        return -1;
    return norm(w, x, stat, sum, post_norm, e);
}

// q, k, v within the model's bounds.
static int clip(struct layer_pass *w, float *q, float *k, float *v, struct err *e)
{
    float limit = w->c->clip_qkv;
    size_t n = w->b->n, kv = n * kv_width(w->c);
    if (!(limit > 0))
        return 0;
    return w->ops->clamp(w->device, q, limit, n * query_width(w->c), e) < 0 ||
                   w->ops->clamp(w->device, k, limit, kv, e) < 0 ||
                   w->ops->clamp(w->device, v, limit, kv, e) < 0
               ? -1
               : 0;
}

// The same for their gradients, from what was clamped (no family turns that before).
static int clip_backward(struct layer_pass *w, float *dq, float *dk, float *const *p, struct err *e)
{
    float limit = w->c->clip_qkv;
    size_t n = w->b->n, kv = n * kv_width(w->c);
    if (!(limit > 0))
        return 0;
    return w->ops->clamp_backward(w->device, dq, p[Q_RAW], limit, n * query_width(w->c), e) < 0 ||
                   w->ops->clamp_backward(w->device, dk, p[K_RAW], limit, kv, e) < 0 ||
                   w->ops->clamp_backward(w->device, w->work[B_DV], p[V_RAW], limit, kv, e) < 0
               ? -1
               : 0;
}

// From the raw queries and keys to those that attention takes, but for an early rotary.
static int shape_heads(struct layer_pass *w, float *const *p, float *q_raw, float *k, float *k_raw,
                       struct err *e)
{
    if (w->c->head_norm_late && rotate(w, q_raw, k_raw, 0, e) < 0)
        return -1;
    if (w->c->head_norm != HEAD_NORM_NONE)
        return norm_heads(w, 0, p[Q], p[Q_STAT], q_raw, e) < 0 ||
                       norm_heads(w, 1, k, p[K_STAT], k_raw, e) < 0
                   ? -1
                   : 0;
    return copy_values(w, p[Q], q_raw, query_width(w->c), e) < 0
               ? -1
               : copy_values(w, k, k_raw, kv_width(w->c), e);
}

static int attend(struct layer_pass *w, struct activations *a, const float *normed, float *x,
                  struct err *e)
{
    float *const *p = a->part, *k = w->work[F_K], *v = p[V_RAW] ? p[V_RAW] : w->work[F_V];
    float *q_raw = p[Q_RAW] ? p[Q_RAW] : p[Q], *k_raw = p[K_RAW] ? p[K_RAW] : k;
    if (project(w, normed, q_raw, k_raw, v, e) < 0 || clip(w, q_raw, k_raw, v, e) < 0 ||
        shape_heads(w, p, q_raw, k, k_raw, e) < 0)
        return -1;
    struct attention attention = attention_of(w->d, w->b, w->layer, a);
    if ((!w->c->head_norm_late && rotate(w, p[Q], k, 0, e) < 0) ||
        w->ops->attention_store(w->device, &attention, k, v, e) < 0 ||
        w->ops->attention(w->device, &attention, p[MIXED], p[Q], p[LSE], e) < 0)
        return -1;
    return add_branch(w, x, p[MIXED], ROLE_ATTENTION_OUT, ROLE_ATTENTION_OUT_BIAS,
                      ROLE_ATTENTION_POST_NORM, p[ATTENDED], p[ATTENDED_STAT], e);
}

// out += the MLP of normed. `save`: gate and up stay for the way back.
static int feed_forward(struct layer_pass *w, struct activations *a, const float *normed,
                        float *out, int save, struct err *e)
{
    const struct tensor *t = w->t;
    float *const *p = a->part, *product = p[GATE] ? p[GATE] : p[UP];
    struct linear mlp[2] = {{p[UP], t[ROLE_UP], t[ROLE_UP_BIAS], 0},
                            {p[GATE], t[ROLE_GATE], t[ROLE_GATE_BIAS], 0}};
    size_t inner = w->b->n * w->c->intermediate;
    if (w->ops->linear(w->device, normed, w->b->n, mlp, p[GATE] ? 2 : 1, e) < 0)
        return -1;
    if (w->again && !p[DOWN])
        return 0;
    if (save)
        product = w->d->back[B_PRODUCT];
    if (w->ops->activate(w->device, w->c->activation, product, p[GATE] ? p[GATE] : p[UP],
                         p[GATE] ? p[UP] : NULL, inner, e) < 0)
        return -1;
    return add_branch(w, out, product, ROLE_DOWN, ROLE_DOWN_BIAS, ROLE_MLP_POST_NORM, p[DOWN],
                      p[DOWN_STAT], e);
}

// What attention reads: the normed rows of x, or x itself where nothing is normed before it.
static const float *before_attention(struct layer_pass *w, float *normed, float *stat,
                                     const float *x, struct err *e)
{
    if (!w->c->has[ROLE_ATTENTION_NORM])
        return x;
    return norm(w, normed, stat, x, ROLE_ATTENTION_NORM, e) < 0 ? NULL : normed;
}

static const float *before_mlp(struct layer_pass *w, float *normed, float *stat, const float *x,
                               struct err *e)
{
    if (!w->c->has[ROLE_MLP_NORM])
        return x;
    return norm(w, normed, stat, x, ROLE_MLP_NORM, e) < 0 ? NULL : normed;
}

// x [n, hidden] passes through the layer into out, which may be x without `save`.
static int layer_forward(struct layer_pass *w, struct activations *a, const float *x, float *out,
                         int save, struct err *e)
{
    float *const *p = a->part;
    const float *normed = before_attention(w, w->work[F_NORMED], p[STAT], x, e), *second = normed;
    if (!normed)
        return -1;
    if (w->c->parallel) {
        if (w->c->has[ROLE_MLP_NORM])
            second = before_mlp(w, w->work[F_MLP_NORMED], p[MLP_STAT], x, e);
        if (!second || copy_rows(w, out, x, e) < 0)
            return -1;
        return attend(w, a, normed, out, e) < 0 ? -1 : feed_forward(w, a, second, out, save, e);
    }
    float *middle = save ? p[MIDDLE] : out;
    if (copy_rows(w, middle, x, e) < 0 || attend(w, a, normed, middle, e) < 0 ||
        !(second = before_mlp(w, w->work[F_NORMED], p[MLP_STAT], middle, e)) ||
        copy_rows(w, out, middle, e) < 0)
        return -1;
    return feed_forward(w, a, second, out, save, e);
}

// From the last layer to what the head reads, for the wanted rows.
static int leave(struct decoder *d, const struct batch *b, const float *x, struct err *e)
{
    const struct model_config *c = &d->model->config;
    const struct tensor *globals = d->model->globals;
    size_t width = c->hidden, n = b->n_wanted;
    struct norm p = norm_of(c, globals, ROLE_FINAL_NORM, width);
    d->last = floats(d, n, width, e);
    d->last_stat = floats(d, n, 2, e);
    d->normed = c->has[ROLE_FINAL_NORM] ? floats(d, n, width, e) : d->last;
    d->hidden = c->has[ROLE_PROJECT_OUT] ? floats(d, n, c->end_width, e) : d->normed;
    if (!d->last || !d->last_stat || !d->normed || !d->hidden ||
        d->device->ops->gather_rows(d->device, d->last, x, d->placed.wanted, n, width, e) < 0)
        return -1;
    if (d->normed != d->last &&
        d->device->ops->norm(d->device, d->normed, d->last_stat, d->last, n, width, &p, e) < 0)
        return -1;
    struct linear l = {.y = d->hidden, .w = globals[ROLE_PROJECT_OUT]};
    return c->has[ROLE_PROJECT_OUT] ? d->device->ops->linear(d->device, d->normed, n, &l, 1, e) : 0;
}

// The gradient [n_wanted, hidden] of the last layer's result, from that of what the head reads.
// NULL: failed.
static const float *leave_backward(struct decoder *d, const struct batch *b, const float *dhidden,
                                   struct err *e)
{
    const struct model_config *c = &d->model->config;
    const struct tensor *globals = d->model->globals;
    size_t width = c->hidden, n = b->n_wanted;
    struct norm p = norm_of(c, globals, ROLE_FINAL_NORM, width);
    if (c->has[ROLE_PROJECT_OUT]) {
        float *dnormed = floats(d, n, width, e);
        if (!dnormed || d->device->ops->linear_backward(d->device, dnormed, 0, dhidden, d->normed,
                                                        n, &globals[ROLE_PROJECT_OUT], NULL, e) < 0)
            return NULL;
        dhidden = dnormed;
    }
    if (!c->has[ROLE_FINAL_NORM])
        return dhidden;
    float *dlast = floats(d, n, width, e);
    if (!dlast || clear_rows(d->device, dlast, n, width, e) < 0)
        return NULL;
    return d->device->ops->norm_backward(d->device, dlast, dhidden, d->last, d->last_stat, n, width,
                                         &p, e) < 0
               ? NULL
               : dlast;
}

static size_t reach_of(const struct batch *b)
{
    size_t reach = 0;
    for (size_t i = 0; i < b->n_segments; i++)
        if (b->segment[i].past + b->segment[i].length > reach)
            reach = b->segment[i].past + b->segment[i].length;
    return reach;
}

static int make_entry(struct decoder *d, const struct batch *b, struct err *e)
{
    const struct model_config *c = &d->model->config;
    int projected = c->has[ROLE_PROJECT_IN], normed = c->has[ROLE_EMBEDDING_NORM];
    d->embedded = projected ? floats(d, b->n, c->end_width, e) : NULL;
    d->entered = normed ? floats(d, b->n, c->hidden, e) : NULL;
    d->entered_stat = normed ? floats(d, b->n, 2, e) : NULL;
    return (projected && !d->embedded) || (normed && (!d->entered || !d->entered_stat)) ? -1 : 0;
}

// x: what enters the first layer.
static int enter(struct layer_pass *w, float *x, struct err *e)
{
    const struct tensor *globals = w->d->model->globals;
    struct decoder *d = w->d;
    size_t n = w->b->n, width = w->c->hidden;
    float *raw = d->entered ? d->entered : x, *embedded = d->embedded ? d->embedded : raw;
    struct linear in = {.y = raw, .w = globals[ROLE_PROJECT_IN]};
    if (w->ops->embed(w->device, embedded, &globals[ROLE_EMBEDDING], w->at->token, n,
                      w->c->embedding_scale, 0, e) < 0 ||
        (d->embedded && w->ops->linear(w->device, embedded, n, &in, 1, e) < 0))
        return -1;
    if (w->c->has[ROLE_POSITIONS] &&
        w->ops->embed(w->device, raw, &d->model->positions, w->at->position, n, 1, 1, e) < 0)
        return -1;
    struct norm p = norm_of(w->c, globals, ROLE_EMBEDDING_NORM, width);
    return d->entered ? w->ops->norm(w->device, x, d->entered_stat, raw, n, width, &p, e) : 0;
}

// Work space: the way back's is there from the start, and the forward's is part of it.
static int make_work(struct layer_pass *w, int save, struct err *e)
{
    struct decoder *d = w->d;
    size_t forward[F_PARTS], backward[B_PARTS];
    forward_widths(w->c, forward);
    if (!save)
        return make_parts(d, w->work, forward, F_PARTS, w->b->n, e);
    backward_widths(w->c, backward);
    return make_parts(d, d->back, backward, B_PARTS, w->b->n, e);
}

// The forward's pieces are those of its way back that have their widths.
static void lend_work(struct layer_pass *w)
{
    float *const *back = w->d->back;
    w->work[F_NORMED] = back[B_NORMED];
    w->work[F_MLP_NORMED] = back[B_MLP_DNORMED];
    w->work[F_K] = back[B_DK];
    w->work[F_V] = back[B_DV];
    w->work[F_FUSED] = back[B_DFUSED];
    w->work[F_BRANCH] = back[B_DADDED] ? back[B_DADDED] : back[B_DBRANCH];
}

static int prepare(struct decoder *d, const struct batch *b, struct err *e)
{
    struct model *m = d->model;
    arena_clear(&d->arena);
    arena_clear(&d->device->scratch);
    arena_clear(&d->device->host);
    if (model_place(m, d->device, e) < 0 || model_reach(m, reach_of(b), e) < 0 ||
        batch_place(b, d->device, &d->arena, &d->placed, e) < 0)
        return -1;
    if (!d->saved && !(d->saved = mem_alloc(m->config.layers, sizeof *d->saved, "activations", e)))
        return -1;
    if (!d->back && !(d->back = mem_alloc(B_PARTS, sizeof *d->back, "activations", e)))
        return -1;
    return rope_prepare(&m->rope, &m->config, d->device, b, &d->placed, &d->arena, &d->rope, e);
}

int decoder_forward(struct decoder *d, const struct batch *b, const struct kv_cache *cache,
                    int save, struct err *e)
{
    struct layer_pass w = layer_pass_of(d, b);
    size_t layers = w.c->layers;
    assert(cache || b->n_blocks || !b->n_segments);
    assert(d->remade < layers);
    assert(!save || d->device->kv == DTYPE_F32);
    d->has_way_back = 0;
    if (prepare(d, b, e) < 0)
        return -1;
    float *x = floats(d, b->n, w.c->hidden, e);
    if (!x || make_work(&w, save, e) < 0 || make_entry(d, b, e) < 0)
        return -1;
    if (save)
        lend_work(&w);
    memset(d->saved, 0, layers * sizeof *d->saved);
    if (enter(&w, x, e) < 0)
        return -1;
    for (size_t layer = 0; layer < layers; layer++) {
        struct activations *a = &d->saved[save ? layer : 0];
        if (save && layer <= d->remade)
            *a = d->saved[0];
        if ((layer == 0 || (save && layer > d->remade)) &&
            make_activations(d, b, cache, save, a, e) < 0)
            return -1;
        if (cache) {
            size_t at = layer * cache->layer_stride * dtype_size(d->device->kv);
            a->k = (char *)cache->k + at;
            a->v = (char *)cache->v + at;
        }
        float *out = x;
        if (save) {
            a->part[IN] = x;
            out = layer + 1 < layers ? floats(d, b->n, w.c->hidden, e) : d->back[B_DNORMED];
            if (!out)
                return -1;
        }
        enter_layer(&w, layer);
        if (layer_forward(&w, a, x, out, save, e) < 0)
            return -1;
        x = out;
        d->top = a;
    }
    d->has_way_back = save;
    return leave(d, b, x, e);
}

int decoder_last_attention(struct decoder *d, const struct batch *b, float *weight, struct err *e)
{
    assert(d->top);
    struct device *device = d->device;
    struct attention attention = attention_of(d, b, d->model->config.layers - 1, d->top);
    struct arena_mark mark = arena_mark(&device->scratch);
    float *result = weight;
    size_t bytes = b->n * sizeof *weight;
    if (device_result(device, &result, bytes, e) < 0 ||
        device->ops->attention_of_last(device, &attention, result, d->top->part[Q], e) < 0 ||
        device_fetch(device, weight, result, bytes, e) < 0)
        return -1;
    arena_rewind(&device->scratch, mark);
    return 0;
}

float *decoder_gradient(struct decoder *d, struct err *e)
{
    return floats(d, d->placed.n_wanted, d->model->config.end_width, e);
}

// The gradient of what a branch's product was, from dx, that of the residual stream behind it: with
// a norm of the sum it becomes that of the stream before the norm. NULL: failed.
static const float *into_branch(struct layer_pass *w, float *dstream, const float *added,
                                const float *stat, enum tensor_role post_norm, struct err *e)
{
    size_t n = w->b->n, width = w->c->hidden;
    const float *dx = dstream;
    float *dadded = w->work[B_DADDED];
    if (w->c->norm_sums) {
        if (clear_rows(w->device, dadded, n, width, e) < 0 ||
            norm_backward(w, dadded, dx, added, stat, post_norm, e) < 0 ||
            copy_rows(w, dstream, dadded, e) < 0)
            return NULL;
    }
    if (w->c->residual_scale != 1) {
        if (w->ops->axpby(w->device, w->work[B_DBRANCH], 0, dx, w->c->residual_scale, n * width,
                          e) < 0)
            return NULL;
        dx = w->work[B_DBRANCH];
    }
    if (!norms_branch(w->c, post_norm))
        return dx;
    return clear_rows(w->device, dadded, n, width, e) < 0 ||
                   norm_backward(w, dadded, dx, added, stat, post_norm, e) < 0
               ? NULL
               : dadded;
}

// dnormed (+)= the gradient of what the MLP read, from that of the layer's result.
static int mlp_backward(struct layer_pass *w, struct activations *a, float *dx, const float *normed,
                        float *dnormed, int add, struct err *e)
{
    const struct ops *ops = w->ops;
    const struct tensor *t = w->t;
    float *const *p = a->part, *gate = p[GATE] ? p[GATE] : p[UP], *up = p[GATE] ? p[UP] : NULL;
    size_t n = w->b->n, inner = n * w->c->intermediate;
    const float *dy = into_branch(w, dx, p[DOWN], p[DOWN_STAT], ROLE_MLP_POST_NORM, e);
    if (!dy ||
        ops->activate(w->device, w->c->activation, w->work[B_PRODUCT], gate, up, inner, e) < 0 ||
        ops->linear_backward(w->device, w->work[B_DPRODUCT], 0, dy, w->work[B_PRODUCT], n,
                             &t[ROLE_DOWN], &t[ROLE_DOWN_BIAS], e) < 0 ||
        ops->activate_backward(w->device, w->c->activation, gate, up, w->work[B_DPRODUCT], inner,
                               e) < 0)
        return -1;
    if (p[GATE]) {
        if (ops->linear_backward(w->device, dnormed, add, p[GATE], normed, n, &t[ROLE_GATE],
                                 &t[ROLE_GATE_BIAS], e) < 0)
            return -1;
        add = 1;
    }
    return ops->linear_backward(w->device, dnormed, add, p[UP], normed, n, &t[ROLE_UP],
                                &t[ROLE_UP_BIAS], e);
}

static int project_backward(struct layer_pass *w, const float *dq, const float *dk,
                            const float *normed, float *dnormed, int add, struct err *e)
{
    const struct ops *ops = w->ops;
    const struct tensor *t = w->t;
    size_t n = w->b->n;
    if (w->c->fusion == FUSION_GROUPS) {
        struct grouping g = grouping_of(w->c);
        float *dfused = w->work[B_DFUSED];
        if (ops->group(w->device, &g, dfused, dq, dk, w->work[B_DV], n, e) < 0)
            return -1;
        return ops->linear_backward(w->device, dnormed, add, dfused, normed, n, &t[ROLE_QKV],
                                    &t[ROLE_QKV_BIAS], e);
    }
    if (ops->linear_backward(w->device, dnormed, add, dq, normed, n, &t[ROLE_QUERY],
                             &t[ROLE_QUERY_BIAS], e) < 0 ||
        ops->linear_backward(w->device, dnormed, 1, dk, normed, n, &t[ROLE_KEY], &t[ROLE_KEY_BIAS],
                             e) < 0)
        return -1;
    return ops->linear_backward(w->device, dnormed, 1, w->work[B_DV], normed, n, &t[ROLE_VALUE],
                                &t[ROLE_VALUE_BIAS], e);
}

// dnormed (+)= the gradient of what attention read.
static int attention_backward(struct layer_pass *w, struct activations *a, float *dx,
                              const float *normed, float *dnormed, int add, struct err *e)
{
    const struct ops *ops = w->ops;
    const struct model_config *c = w->c;
    float *const *p = a->part, *dq = w->work[B_DQ], *dk = w->work[B_DK];
    size_t n = w->b->n;
    const float *dy =
        into_branch(w, dx, p[ATTENDED], p[ATTENDED_STAT], ROLE_ATTENTION_POST_NORM, e);
    struct attention attention = attention_of(w->d, w->b, w->layer, a);
    if (!dy ||
        ops->linear_backward(w->device, w->work[B_DMIXED], 0, dy, p[MIXED], n,
                             &w->t[ROLE_ATTENTION_OUT], &w->t[ROLE_ATTENTION_OUT_BIAS], e) < 0 ||
        ops->attention_backward(w->device, &attention, dq, dk, w->work[B_DV], w->work[B_DMIXED],
                                p[MIXED], p[Q], p[LSE], e) < 0 ||
        (!c->head_norm_late && rotate(w, dq, dk, 1, e) < 0))
        return -1;
    if (c->head_norm != HEAD_NORM_NONE) {
        float *dq_raw = w->work[B_DQ_RAW], *dk_raw = w->work[B_DK_RAW];
        if (clear_rows(w->device, dq_raw, n, query_width(c), e) < 0 ||
            clear_rows(w->device, dk_raw, n, kv_width(c), e) < 0 ||
            norm_heads_backward(w, 0, dq_raw, dq, p[Q_RAW], p[Q_STAT], e) < 0 ||
            norm_heads_backward(w, 1, dk_raw, dk, p[K_RAW], p[K_STAT], e) < 0)
            return -1;
        dq = dq_raw;
        dk = dk_raw;
    }
    if ((c->head_norm_late && rotate(w, dq, dk, 1, e) < 0) || clip_backward(w, dq, dk, p, e) < 0)
        return -1;
    return project_backward(w, dq, dk, normed, dnormed, add, e);
}

// One branch after the other; dx becomes the gradient of the residual stream before each.
static int sequential_backward(struct layer_pass *w, struct activations *a, float *dx,
                               struct err *e)
{
    float *const *p = a->part, *dnormed = w->work[B_DNORMED];
    int pre_mlp = w->c->has[ROLE_MLP_NORM], pre_attention = w->c->has[ROLE_ATTENTION_NORM];
    const float *normed = before_mlp(w, w->work[B_NORMED], NULL, p[MIDDLE], e);
    // Without a norm before it the branch read the residual stream itself.
    if (!normed || mlp_backward(w, a, dx, normed, pre_mlp ? dnormed : dx, !pre_mlp, e) < 0 ||
        (pre_mlp && norm_backward(w, dx, dnormed, p[MIDDLE], p[MLP_STAT], ROLE_MLP_NORM, e) < 0) ||
        !(normed = before_attention(w, w->work[B_NORMED], NULL, p[IN], e)) ||
        attention_backward(w, a, dx, normed, pre_attention ? dnormed : dx, !pre_attention, e) < 0)
        return -1;
    return pre_attention ? norm_backward(w, dx, dnormed, p[IN], p[STAT], ROLE_ATTENTION_NORM, e)
                         : 0;
}

// Both branches read the same stream, normed, and both get the gradient of the layer's result.
static int parallel_backward(struct layer_pass *w, struct activations *a, float *dx, struct err *e)
{
    float *const *p = a->part, *dnormed = w->work[B_DNORMED];
    int own = w->c->has[ROLE_MLP_NORM];
    float *mlp_dnormed = own ? w->work[B_MLP_DNORMED] : dnormed;
    const float *normed = own ? before_mlp(w, w->work[B_NORMED], NULL, p[IN], e)
                              : before_attention(w, w->work[B_NORMED], NULL, p[IN], e);
    if (!normed || mlp_backward(w, a, dx, normed, mlp_dnormed, 0, e) < 0)
        return -1;
    if (own)
        normed = before_attention(w, w->work[B_NORMED], NULL, p[IN], e);
    if (!normed || attention_backward(w, a, dx, normed, dnormed, !own, e) < 0 ||
        (own && norm_backward(w, dx, mlp_dnormed, p[IN], p[MLP_STAT], ROLE_MLP_NORM, e) < 0))
        return -1;
    return norm_backward(w, dx, dnormed, p[IN], p[STAT], ROLE_ATTENTION_NORM, e);
}

// The gradient before the norm of what enters the first layer. NULL: failed.
static float *before_entry_norm(struct layer_pass *w, const float *dx, struct err *e)
{
    size_t n = w->b->n, width = w->c->hidden;
    struct norm p = norm_of(w->c, w->d->model->globals, ROLE_EMBEDDING_NORM, width);
    float *draw = floats(w->d, n, width, e);
    if (!draw || clear_rows(w->device, draw, n, width, e) < 0)
        return NULL;
    return w->ops->norm_backward(w->device, draw, dx, w->d->entered, w->d->entered_stat, n, width,
                                 &p, e) < 0
               ? NULL
               : draw;
}

// And before the projection to the model's width.
static float *before_projection(struct layer_pass *w, const float *dx, struct err *e)
{
    size_t n = w->b->n;
    float *dembedded = floats(w->d, n, w->c->end_width, e);
    return !dembedded ||
                   w->ops->linear_backward(w->device, dembedded, 0, dx, w->d->embedded, n,
                                           &w->d->model->globals[ROLE_PROJECT_IN], NULL, e) < 0
               ? NULL
               : dembedded;
}

// Spoils dx.
static int enter_backward(struct layer_pass *w, float *dx, struct err *e)
{
    const struct tensor *globals = w->d->model->globals;
    size_t n = w->b->n, width = w->c->end_width;
    if (w->c->has[ROLE_EMBEDDING_NORM] && !(dx = before_entry_norm(w, dx, e)))
        return -1;
    if (w->c->has[ROLE_POSITIONS] && w->ops->embed_backward(w->device, &w->d->model->positions, dx,
                                                            w->at->position, n, 1, e) < 0)
        return -1;
    if (w->c->has[ROLE_PROJECT_IN] && !(dx = before_projection(w, dx, e)))
        return -1;
    for (size_t i = 0; i < n; i++)
        if ((int64_t)w->b->token[i] == w->c->padding &&
            clear_rows(w->device, dx + i * width, 1, width, e) < 0)
            return -1;
    return w->ops->embed_backward(w->device, &globals[ROLE_EMBEDDING], dx, w->at->token, n,
                                  w->c->embedding_scale, e);
}

// Computes the activations of a layer again, where another one's have taken their place.
static int remake(const struct layer_pass *w, struct activations *a, struct err *e)
{
    struct layer_pass again = *w;
    again.again = 1;
    lend_work(&again);
    return layer_forward(&again, a, a->part[IN], w->work[B_DNORMED], 1, e);
}

int decoder_backward(struct decoder *d, const struct batch *b, const float *dhidden, struct err *e)
{
    assert(d->has_way_back);
    struct layer_pass w = layer_pass_of(d, b);
    size_t n = b->n, hidden = w.c->hidden;
    const float *dlast = leave_backward(d, b, dhidden, e);
    float *dx = floats(d, n, hidden, e);
    if (!dlast || !dx || clear_rows(w.device, dx, n, hidden, e) < 0 ||
        w.ops->scatter_rows(w.device, dx, dlast, w.at->wanted, b->n_wanted, hidden, e) < 0)
        return -1;
    memcpy(w.work, d->back, sizeof w.work);
    for (size_t layer = w.c->layers; layer-- > 0;) {
        struct activations *a = &d->saved[layer];
        enter_layer(&w, layer);
        if (layer < d->remade && remake(&w, a, e) < 0)
            return -1;
        int result =
            w.c->parallel ? parallel_backward(&w, a, dx, e) : sequential_backward(&w, a, dx, e);
        if (result < 0)
            return -1;
    }
    return enter_backward(&w, dx, e);
}
