// SPDX-License-Identifier: MIT
// long
// Operations against their plain reference: values, gradients by finite differences in double, and
// the bits that must not depend on threads or on company. All of it for each kernel set.
#include "kernel_wide.h"
#include "ops_kit.h"

static const enum dtype types[] = {DTYPE_F32, DTYPE_BF16, DTYPE_F16};

static void embed(void)
{
    for (int round = 0; round < 36; round++) {
        kit_begin(round);
        size_t n = ONE_OF(1, 2, 17, 70), vocab = ONE_OF(1, 5, 300),
               width = ONE_OF(1, 7, 48, 65, 300);
        double *exact;
        struct tensor table = round / 4 % 2
                                  ? random_part(types[round % 3], vocab, width, 0, 1, &exact)
                                  : random_tensor(types[round % 3], vocab, width, 1, &exact);
        uint32_t *token = tokens(n, vocab);
        float *out = normals(n * width, 1), *before = normals(vocab * width, 1);
        float factor = round & 1 ? 1 : (float)rng_normal(&rng);
        int add = round >> 1 & 1;
        double *expected = doubled(out, n * width);
        CHECK(device.ops->embed(&device, out, &table, token, n, factor, add, &error) == 0);
        reference_embed(expected, exact, width, token, n, factor, add);
        CHECK(near_reference("embed", out, expected, n * width, factor == 1 && !add ? 0 : 1e-7));
        // The gradient is exact arithmetic's: each row the sum of its tokens' rows.
        float *dout = normals(n * width, 1);
        table.grad = part_gradient(&table, before);
        double *gradient = doubled(before, vocab * width);
        for (size_t i = 0; i < n * width; i++)
            gradient[token[i / width] * width + i % width] += (double)factor * dout[i];
        CHECK(device.ops->embed_backward(&device, &table, dout, token, n, factor, &error) == 0);
        int clean;
        float *made = part_values(&table, &clean);
        CHECK(clean);
        CHECK(near_reference("embed gradient", made, gradient, vocab * width, 1e-6));
        table.grad = NULL;
        CHECK(device.ops->embed_backward(&device, &table, dout, token, n, factor, &error) == 0);
    }
}

struct linear_case {
    size_t n, in, out;
    double *x, *w, *bias, *y, *weight;
};

static double linear_loss(void *arg)
{
    struct linear_case *c = arg;
    reference_linear(c->y, c->x, c->n, c->in, c->w, c->out, c->bias, 0);
    return weighted(c->weight, c->y, c->n * c->out);
}

// Every gradient of linear_loss in closed form: the loss is linear in each of x, w and bias.
static void linear_slopes(const struct linear_case *c, double *dx, double *dw, double *db)
{
    for (size_t i = 0; i < c->n; i++)
        for (size_t o = 0; o < c->out; o++) {
            double slope = c->weight[i * c->out + o];
            const double *x = c->x + i * c->in, *w = c->w + o * c->in;
            db[o] += slope;
            for (size_t k = 0; k < c->in; k++) {
                dx[i * c->in + k] += slope * w[k];
                dw[o * c->in + k] += slope * x[k];
            }
        }
}

// Every element of grad, less what it was added to, within `tolerance` of the slope.
static int slopes_are(const char *what, const float *grad, const float *before, const double *slope,
                      size_t n, double tolerance)
{
    double scale = 0.1;
    for (size_t i = 0; i < n; i++)
        scale = fmax(scale, fabs(slope[i]));
    for (size_t i = 0; i < n; i++) {
        double fast = (double)grad[i] - (before ? before[i] : 0);
        if (!(fabs(fast - slope[i]) <= tolerance * scale)) {
            printf("# d loss / d %s[%zu] = %.9g, in closed form %.9g, scale %.3g\n", what, i, fast,
                   slope[i], scale);
            return 0;
        }
    }
    return 1;
}

// Several products of one x: other widths, types, parts of larger tensors, transposed ones, with
// and without bias and add.
static void linear(void)
{
    for (int round = 0; round < 60; round++) {
        kit_begin(round);
        size_t n = ONE_OF(1, 2, 3, 5, 15, 16, 17, 33, 70, 130),
               in = ONE_OF(1, 3, 8, 16, 17, 48, 50, 96, 257, 300, 576, 1100);
        size_t count = 1 + rng_below(&rng, 3);
        float *x = normals(n * in, 1);
        struct linear product[3] = {{0}};
        double *expected[3];
        for (size_t i = 0; i < count; i++) {
            size_t out = ONE_OF(1, 5, 12, 16, 47, 48, 49, 100, 150);
            double *w, *bias = NULL;
            struct linear *p = &product[i];
            enum dtype type = types[rng_below(&rng, 3)];
            int form = (int)rng_below(&rng, 4);
            p->w = form < 2 ? random_part(type, out, in, form, 1, &w)
                            : random_tensor(type, out, in, 1, &w);
            if (rng_below(&rng, 2))
                p->bias = random_tensor(types[rng_below(&rng, 3)], 1, out, 1, &bias);
            p->add = (int)rng_below(&rng, 2);
            p->y = normals(n * out, 1);
            expected[i] = doubled(p->y, n * out);
            reference_linear(expected[i], doubled(x, n * in), n, in, w, out, bias, p->add);
        }
        CHECK(device.ops->linear(&device, x, n, product, count, &error) == 0);
        for (size_t i = 0; i < count; i++)
            CHECK(near_reference("linear", product[i].y, expected[i], n * product[i].w.rows, 2e-6));
    }
}

static void linear_gradient(void)
{
    for (int round = 0; round < 48; round++) {
        kit_begin(round);
        struct linear_case c = {.n = ONE_OF(1, 2, 17, 40), .in = ONE_OF(1, 8, 50, 300)};
        c.out = ONE_OF(1, 5, 48, 49, 400);
        if (round % 5 == 4) // several tiles each way
            c = (struct linear_case){.n = ONE_OF(1, 3), .in = 650, .out = 700};
        size_t nx = c.n * c.in, nw = c.out * c.in, ny = c.n * c.out;
        int form = round / 3 % 4, clean;
        struct tensor w = form < 2 ? random_part(types[round % 3], c.out, c.in, form, 1, &c.w)
                                   : random_tensor(types[round % 3], c.out, c.in, 1, &c.w);
        struct tensor bias = random_tensor(DTYPE_F32, 1, c.out, 1, &c.bias);
        float *x = normals(nx, 1), *dy = normals(ny, 1), *before = normals(nx + nw + c.out, 1);
        c.x = doubled(x, nx);
        c.weight = doubled(dy, ny);
        c.y = doubled(dy, ny);
        int add = round & 1;
        float *dx = copied(before, nx);
        w.grad = part_gradient(&w, before + nx);
        bias.grad = copied(before + nx + nw, c.out);
        CHECK(device.ops->linear_backward(&device, dx, add, dy, x, c.n, &w, &bias, &error) == 0);
        float *dw = part_values(&w, &clean);
        CHECK(clean);
        double *slope = kit_alloc(nx + nw + c.out, sizeof *slope);
        memset(slope, 0, (nx + nw + c.out) * sizeof *slope);
        linear_slopes(&c, slope, slope + nx, slope + nx + nw);
        CHECK(slopes_are("x", dx, add ? before : NULL, slope, nx, 3e-6));
        CHECK(slopes_are("w", dw, before + nx, slope + nx, nw, 3e-6));
        CHECK(slopes_are("bias", bias.grad, before + nx + nw, slope + nx + nw, c.out, 3e-6));
        // The closed form itself, by differences, where these are cheap.
        if (nw * c.n <= 50000) {
            CHECK(gradient_is("x", dx, add ? before : NULL, c.x, nx, linear_loss, &c, 3e-6));
            CHECK(gradient_is("w", dw, before + nx, c.w, nw, linear_loss, &c, 3e-6));
            CHECK(gradient_is("bias", bias.grad, before + nx + nw, c.bias, c.out, linear_loss, &c,
                              3e-6));
        }
        // What is not asked for is left out: the rest is the same.
        float *dx_alone = copied(before, nx);
        w.grad = NULL;
        CHECK(device.ops->linear_backward(&device, dx_alone, add, dy, x, c.n, &w, NULL, &error) ==
              0);
        CHECK(same_bits("dx alone", dx_alone, dx, nx));
        CHECK(device.ops->linear_backward(&device, NULL, 0, dy, x, c.n, &w, NULL, &error) == 0);
    }
}

// The same numbers give the same bits, however they lie.
static void linear_layouts(void)
{
    for (int round = 0; round < 24; round++) {
        kit_begin(round);
        size_t n = ONE_OF(1, 3, 17, 33), in = ONE_OF(5, 48, 300, 600), out = ONE_OF(1, 16, 49, 100);
        double *exact;
        float *x = normals(n * in, 1);
        struct tensor w = random_tensor(types[round % 3], out, in, 1, &exact);
        struct linear plain = {.y = zeros(n * out), .w = w};
        CHECK(device.ops->linear(&device, x, n, &plain, 1, &error) == 0);
        for (int form = 0; form < 4; form++) {
            size_t pitch = (form & 1 ? out : in) + (form & 2 ? 7 : 0), size = dtype_size(w.type);
            // Its last row ends with its memory: a sanitizer sees what is read beyond.
            size_t rows = form & 1 ? in : out, last = form & 1 ? out : in;
            char *data = malloc(((rows - 1) * pitch + last) * size);
            CHECK(data != NULL);
            if (!data)
                return;
            for (size_t r = 0; r < out; r++)
                for (size_t c = 0; c < in; c++)
                    memcpy(data + (form & 1 ? c * pitch + r : r * pitch + c) * size,
                           (const char *)w.data + (r * in + c) * size, size);
            struct linear other = {.y = zeros(n * out), .w = w};
            other.w.data = data;
            other.w.pitch = pitch;
            other.w.transposed = form & 1;
            CHECK(device.ops->linear(&device, x, n, &other, 1, &error) == 0);
            CHECK(same_bits("layout", other.y, plain.y, n * out));
            free(data);
        }
    }
}

struct norm_case {
    size_t n, width;
    double *x, *w, *b, *y, *weight, eps, offset;
    int centred;
};

static double norm_loss(void *arg)
{
    struct norm_case *c = arg;
    reference_norm(c->y, c->x, c->n, c->width, c->w, c->b, c->centred, c->eps, c->offset);
    return weighted(c->weight, c->y, c->n * c->width);
}

// Rows `width` wide that begin every `pitch`: the rest is `fill`.
static float *spaced(const float *x, size_t n, size_t width, size_t pitch, float fill)
{
    float *out = kit_alloc(n * pitch, sizeof *out);
    for (size_t i = 0; i < n * pitch; i++)
        out[i] = i % pitch < width ? x[i / pitch * width + i % pitch] : fill;
    return out;
}

static float *unspaced(const float *x, size_t n, size_t width, size_t pitch)
{
    float *out = kit_alloc(n * width, sizeof *out);
    for (size_t i = 0; i < n * width; i++)
        out[i] = x[i / width * pitch + i % width];
    return out;
}

static int untouched(const float *x, size_t n, size_t width, size_t pitch, float fill)
{
    for (size_t i = 0; i < n * pitch; i++)
        if (i % pitch >= width && x[i] != fill)
            return 0;
    return 1;
}

static void norms(void)
{
    for (int round = 0; round < 72; round++) {
        kit_begin(round);
        struct norm_case c = {.n = ONE_OF(1, 2, 17, 33, 70),
                              .width = ONE_OF(1, 5, 16, 24, 50, 64, 257, 576)};
        c.centred = round & 1;
        if (c.centred && c.width == 1) // nothing but roundings
            c.width = 3;
        int with_bias = round >> 1 & 1;
        struct norm p = {.centred = c.centred, .eps = round % 5 ? 1e-5f : 1e-2f};
        p.offset = round % 3 == 2;
        c.eps = p.eps;
        c.offset = p.offset;
        size_t n = c.n * c.width, pitch = c.width + (round % 4 < 2 ? 0 : rng_below(&rng, 30));
        p.weight = random_tensor(types[round / 4 % 3], 1, c.width, 1, &c.w);
        if (with_bias)
            p.bias = random_tensor(types[round / 6 % 3], 1, c.width, 1, &c.b);
        int weightless = round % 9 == 8; // all 1, whatever the offset
        if (weightless) {
            p.weight.data = NULL;
            c.offset = 0;
            for (size_t i = 0; i < c.width; i++)
                c.w[i] = 1;
        }
        double far = round % 6 == 5 ? 50 : 0; // rows whose mean is far from 0
        float *x = normals(n, round % 7 || far != 0 ? 1 : 1e-2);
        for (size_t i = 0; i < n; i++)
            x[i] += (float)far;
        float *wide = spaced(x, c.n, c.width, pitch, 7), *y = spaced(x, c.n, c.width, pitch, 7);
        float *stat = zeros(2 * c.n), *dy = normals(n, 1);
        c.x = doubled(x, n);
        c.y = doubled(x, n);
        c.weight = doubled(dy, n);
        norm_loss(&c);
        CHECK(device.ops->norm(&device, y, NULL, wide, c.n, pitch, &p, &error) == 0);
        double tolerance = far != 0 ? 5e-6 : 1e-6;
        CHECK(near_reference("norm", unspaced(y, c.n, c.width, pitch), c.y, n, tolerance));
        float *in_place = copied(wide, c.n * pitch);
        CHECK(device.ops->norm(&device, in_place, stat, in_place, c.n, pitch, &p, &error) == 0);
        CHECK(same_bits("norm in place", in_place, y, c.n * pitch));
        CHECK(untouched(y, c.n, c.width, pitch, 7));
        float *before = normals(n, 1), *dx = spaced(before, c.n, c.width, pitch, 7);
        float *weight_before = normals(c.width, 1), *bias_before = normals(c.width, 1);
        float *dy_wide = spaced(dy, c.n, c.width, pitch, NAN);
        p.weight.grad = copied(weight_before, c.width);
        p.bias.grad = copied(bias_before, c.width);
        CHECK(device.ops->norm_backward(&device, dx, dy_wide, wide, stat, c.n, pitch, &p, &error) ==
              0);
        CHECK(untouched(dx, c.n, c.width, pitch, 7));
        float *slope = unspaced(dx, c.n, c.width, pitch);
        double loose = far != 0 ? 1e-4 : 1e-5;
        CHECK(gradient_is("x", slope, before, c.x, n, norm_loss, &c, loose));
        if (weightless)
            CHECK(same_bits("no weight", p.weight.grad, weight_before, c.width));
        else
            CHECK(gradient_is("weight", p.weight.grad, weight_before, c.w, c.width, norm_loss, &c,
                              loose));
        if (with_bias)
            CHECK(
                gradient_is("bias", p.bias.grad, bias_before, c.b, c.width, norm_loss, &c, loose));
        else
            CHECK(same_bits("no bias", p.bias.grad, bias_before, c.width));
        p.weight.grad = p.bias.grad = NULL;
        float *again = spaced(before, c.n, c.width, pitch, 7);
        CHECK(device.ops->norm_backward(&device, again, dy_wide, wide, stat, c.n, pitch, &p,
                                        &error) == 0);
        CHECK(same_bits("dx of a frozen weight", again, dx, c.n * pitch));
    }
}

static float *angles(size_t positions, size_t half)
{
    float *table = kit_alloc(positions * half * 2, sizeof *table);
    for (size_t p = 0; p < positions; p++)
        for (size_t k = 0; k < half; k++) {
            double angle = (double)p * pow(10000, -(double)k / (double)half);
            table[(p * half + k) * 2] = (float)cos(angle);
            table[(p * half + k) * 2 + 1] = (float)sin(angle);
        }
    return table;
}

struct rotate_case {
    size_t n, heads, dim, dims;
    int neighbours;
    const uint32_t *row;
    const double *table;
    double *x, *y, *weight;
};

static double rotate_loss(void *arg)
{
    struct rotate_case *c = arg;
    size_t n = c->n * c->heads * c->dim;
    memcpy(c->y, c->x, n * sizeof *c->y);
    reference_rotate(c->y, c->n, c->heads, c->dim, c->dims, c->neighbours, c->row, c->table);
    return weighted(c->weight, c->y, n);
}

static void rotations(void)
{
    for (int round = 0; round < 48; round++) {
        kit_begin(round);
        struct rotate_case c = {.n = ONE_OF(1, 3, 33, 70), .heads = ONE_OF(1, 3, 4)};
        c.dim = ONE_OF(2, 8, 10, 16, 24, 64, 80, 160, 300);
        c.dims = round % 3 ? c.dim : 2 * (1 + rng_below(&rng, c.dim / 2));
        c.neighbours = round & 1;
        size_t n = c.n * c.heads * c.dim, positions = 90;
        float *table = angles(positions, c.dims / 2), *x = normals(n, 1), *y = copied(x, n);
        c.table = doubled(table, positions * c.dims);
        c.row = tokens(c.n, positions);
        c.x = doubled(x, n);
        c.y = doubled(x, n);
        struct rotary r = {table, c.row, c.dims, c.neighbours};
        reference_rotate(c.y, c.n, c.heads, c.dim, c.dims, c.neighbours, c.row, c.table);
        CHECK(device.ops->rotate(&device, y, c.n, c.heads, c.dim, &r, 0, &error) == 0);
        CHECK(near_reference("rotate", y, c.y, n, 3e-7));
        float *dy = normals(n, 1);
        c.weight = doubled(dy, n);
        CHECK(device.ops->rotate(&device, dy, c.n, c.heads, c.dim, &r, 1, &error) == 0);
        CHECK(gradient_is("x", dy, NULL, c.x, n, rotate_loss, &c, 1e-6));
    }
}

// Sequences whose keys and values lie in blocks of one pool, dealt out in random order. Rows of
// all sequences stand one after another: sequence s has the rows start[s] .. start[s] + length[s].
// With `shared` > 0 all sequences have their first `shared` positions from the first one, in the
// same blocks.
enum { SEQUENCES = 4 };
struct sequences {
    struct attention a;
    size_t count, rows, shared, length[SEQUENCES], start[SEQUENCES];
    uint32_t *block[SEQUENCES];
    size_t pool; // floats of a.k and of a.v
    float *q, *k, *v;
    float *out, *lse;
};

static void pool_spoil(struct sequences *s)
{
    // All ones: no number in either type. What is read without having been stored shows.
    memset(s->a.k, 0xff, s->pool * sizeof(float));
    memset(s->a.v, 0xff, s->pool * sizeof(float));
}

static void sequences_make(struct sequences *s, size_t heads, size_t kv_heads, size_t dim,
                           size_t count, size_t longest, size_t shared)
{
    memset(s, 0, sizeof *s);
    s->a = (struct attention){.heads = heads, .kv_heads = kv_heads, .head_dim = dim};
    s->a.scale = (float)(1 / sqrt((double)dim));
    s->count = count;
    s->shared = shared;
    size_t blocks = 0;
    for (size_t i = 0; i < count; i++) {
        s->length[i] = shared + 1 + rng_below(&rng, longest);
        s->start[i] = s->rows;
        s->rows += s->length[i];
        blocks += (s->length[i] + KV_BLOCK - 1) / KV_BLOCK;
    }
    uint32_t *deal = kit_alloc(blocks, sizeof *deal);
    for (uint32_t i = 0; i < blocks; i++) {
        uint32_t j = (uint32_t)rng_below(&rng, i + 1);
        deal[i] = deal[j];
        deal[j] = i;
    }
    for (size_t i = 0; i < count; i++) {
        s->block[i] = deal;
        deal += (s->length[i] + KV_BLOCK - 1) / KV_BLOCK;
        memcpy(s->block[i], s->block[0], shared / KV_BLOCK * sizeof *deal);
    }
    size_t kv = kv_heads * dim;
    s->pool = blocks * KV_BLOCK * kv;
    s->a.k = kit_alloc(s->pool, sizeof(float));
    s->a.v = kit_alloc(s->pool, sizeof(float));
    s->q = normals(s->rows * heads * dim, 1.5);
    s->k = normals(s->rows * kv, 1.5);
    s->v = normals(s->rows * kv, 1);
    for (size_t i = 1; i < count; i++) {
        memcpy(s->k + s->start[i] * kv, s->k, shared * kv * sizeof(float));
        memcpy(s->v + s->start[i] * kv, s->v, shared * kv * sizeof(float));
    }
    s->out = zeros(s->rows * heads * dim);
    s->lse = zeros(s->rows * heads);
    pool_spoil(s);
}

static size_t own_begin(const struct sequences *s, size_t i)
{
    return i ? s->shared : 0;
}

static void rows_move(float *to, const float *from, size_t to_row, size_t from_row, size_t rows,
                      size_t width)
{
    memcpy(to + to_row * width, from + from_row * width, rows * width * sizeof *to);
}

// Stores and attends the positions from .. to-1 of the sequences first, first + step, ... in one
// call, as a packed batch; results go to their rows of s->out and s->lse.
static void attend_range(struct sequences *s, size_t from, size_t to, size_t only, int reversed)
{
    struct segment segment[SEQUENCES];
    size_t which[SEQUENCES], n = 0, rows = 0;
    size_t wide = s->a.heads * s->a.head_dim, kv = s->a.kv_heads * s->a.head_dim;
    for (size_t k = 0; k < s->count; k++) {
        size_t i = reversed ? s->count - 1 - k : k;
        size_t begin = from > own_begin(s, i) ? from : own_begin(s, i);
        size_t end = to < s->length[i] ? to : s->length[i];
        if (begin >= end || (only < s->count && only != i))
            continue;
        which[n] = i;
        segment[n++] = (struct segment){rows, end - begin, begin, s->block[i], 0};
        rows += end - begin;
    }
    struct arena_mark mark = arena_mark(&memory);
    float *q = zeros(rows * wide), *out = zeros(rows * wide), *lse = zeros(rows * s->a.heads);
    float *k = zeros(rows * kv), *v = zeros(rows * kv);
    for (size_t i = 0; i < n; i++) {
        size_t row = s->start[which[i]] + segment[i].past, length = segment[i].length;
        rows_move(q, s->q, segment[i].start, row, length, wide);
        rows_move(k, s->k, segment[i].start, row, length, kv);
        rows_move(v, s->v, segment[i].start, row, length, kv);
    }
    s->a.segment = s->a.plan = segment;
    s->a.n_segments = n;
    CHECK(device.ops->attention_store(&device, &s->a, k, v, &error) == 0);
    CHECK(device.ops->attention(&device, &s->a, out, q, lse, &error) == 0);
    for (size_t i = 0; i < n; i++) {
        size_t row = s->start[which[i]] + segment[i].past, length = segment[i].length;
        rows_move(s->out, out, row, segment[i].start, length, wide);
        rows_move(s->lse, lse, row, segment[i].start, length, s->a.heads);
    }
    arena_rewind(&memory, mark);
}

static void reference_sequences(const struct sequences *s, const double *q, const double *k,
                                const double *v, double *out, double *lse)
{
    size_t wide = s->a.heads * s->a.head_dim, kv = s->a.kv_heads * s->a.head_dim;
    for (size_t i = 0; i < s->count; i++) {
        size_t past = own_begin(s, i), row = s->start[i] + past;
        reference_attention(out + row * wide, lse ? lse + row * s->a.heads : NULL, q + row * wide,
                            k + s->start[i] * kv, v + s->start[i] * kv, s->length[i] - past, past,
                            &s->a);
    }
}

static void random_sequences(struct sequences *s, int round, size_t shared)
{
    size_t kv_heads = ONE_OF(1, 2, 3), group = 1 + (size_t)round % 4;
    size_t dim = ONE_OF(8, 10, 16, 24, 40, 64);
    sequences_make(s, kv_heads * group, kv_heads, dim, 1 + rng_below(&rng, SEQUENCES),
                   ONE_OF(1, 15, 16, 17, 40, 70), shared);
}

// What not every model's attention has, as `kind` says, of all combinations.
enum { KINDS = 24 };
static void dress(struct sequences *s, int kind)
{
    static const float caps[] = {0, 3, 50};
    static const size_t windows[] = {1, 8, 12, 16, 33, 300, 1000};
    s->a.softcap = caps[kind % 3];
    s->a.window = kind / 3 % 2 ? windows[rng_below(&rng, 7)] : 0;
    if (kind / 6 % 2) {
        s->a.key_bias_pitch = 600 + rng_below(&rng, 9);
        s->a.key_bias = normals(s->a.heads * s->a.key_bias_pitch, 2);
    }
    if (kind / 12 % 2)
        s->a.scale *= 0.3f;
}

static void attention(void)
{
    for (int round = 0; round < 3 * KINDS; round++) {
        kit_begin(round);
        struct sequences s;
        // The sums over keys run in slices of 256: a few sequences are longer.
        if (round % 8 == 7)
            sequences_make(&s, 4, 2, ONE_OF(8, 10, 24), 2, 40, ONE_OF(240, 256, 512));
        else
            random_sequences(&s, round, round % 5 == 2 ? ONE_OF(16, 32, 48) : 0);
        dress(&s, round);
        size_t n = s.rows * s.a.heads * s.a.head_dim, kv = s.rows * s.a.kv_heads * s.a.head_dim;
        double *out = doubled(s.out, n), *lse = doubled(s.lse, s.rows * s.a.heads);
        reference_sequences(&s, doubled(s.q, n), doubled(s.k, kv), doubled(s.v, kv), out, lse);
        attend_range(&s, 0, SIZE_MAX, SIZE_MAX, 0);
        double tolerance = s.a.softcap == 0 ? 1e-6 : 4e-6; // a rounding of scores of that size
        CHECK(near_reference("attention", s.out, out, n, tolerance));
        CHECK(near_reference("lse", s.lse, lse, s.rows * s.a.heads, 1e-6));
        float *whole = copied(s.out, n), *whole_lse = copied(s.lse, s.rows * s.a.heads);
        // Cut at a position; one token at a time; each sequence alone; in another order.
        for (int way = 0; way < 4; way++) {
            pool_spoil(&s);
            memset(s.out, 0, n * sizeof *s.out);
            memset(s.lse, 0, s.rows * s.a.heads * sizeof *s.lse);
            size_t end = s.shared + 71, cut = 1 + rng_below(&rng, end);
            if (way == 0) {
                attend_range(&s, 0, cut, SIZE_MAX, 0);
                attend_range(&s, cut, end, SIZE_MAX, 0);
            } else if (way == 1) {
                for (size_t t = 0; t < end; t++)
                    attend_range(&s, t, t + 1, SIZE_MAX, 0);
            } else if (way == 2) {
                for (size_t i = 0; i < s.count; i++)
                    attend_range(&s, 0, end, i, 0);
            } else {
                attend_range(&s, 0, end, SIZE_MAX, 1);
            }
            CHECK(same_bits("attention in parts", s.out, whole, n));
            CHECK(same_bits("lse in parts", s.lse, whole_lse, s.rows * s.a.heads));
        }
    }
}

static void round_to_bf16(float *x, size_t n)
{
    uint16_t half;
    for (size_t i = 0; i < n; i++) {
        dtype_from_f32(&half, x + i, DTYPE_BF16, 1);
        dtype_to_f32(x + i, &half, DTYPE_BF16, 1);
    }
}

// Blocks of bf16: the bits of attention over keys and values that were rounded before, in fp32.
static void attention_of_bf16(void)
{
    for (int round = 0; round < 2 * KINDS; round++) {
        kit_begin(round);
        struct sequences s;
        random_sequences(&s, round, round % 5 == 2 ? ONE_OF(16, 32, 48) : 0);
        dress(&s, round);
        size_t n = s.rows * s.a.heads * s.a.head_dim, kv = s.rows * s.a.kv_heads * s.a.head_dim;
        s.a.type = DTYPE_BF16;
        attend_range(&s, 0, SIZE_MAX, SIZE_MAX, 0);
        float *out = copied(s.out, n), *lse = copied(s.lse, s.rows * s.a.heads);
        for (size_t t = 0; t < s.shared + 71; t++) // token after token
            attend_range(&s, t, t + 1, SIZE_MAX, 0);
        CHECK(same_bits("bf16 in parts", s.out, out, n));
        s.a.type = DTYPE_F32;
        round_to_bf16(s.k, kv);
        round_to_bf16(s.v, kv);
        pool_spoil(&s);
        attend_range(&s, 0, SIZE_MAX, SIZE_MAX, 0);
        CHECK(same_bits("bf16", out, s.out, n));
        CHECK(same_bits("lse of bf16", lse, s.lse, s.rows * s.a.heads));
    }
}

// What the last row of each sequence attends to, mean over the heads.
static void attention_of_last(void)
{
    for (int round = 0; round < 2 * KINDS; round++) {
        kit_begin(round);
        struct sequences s;
        random_sequences(&s, round, 0);
        dress(&s, round);
        size_t wide = s.a.heads * s.a.head_dim, kv = s.a.kv_heads * s.a.head_dim;
        attend_range(&s, 0, SIZE_MAX, SIZE_MAX, 0); // stores the keys
        struct segment segment[SEQUENCES];
        for (size_t i = 0; i < s.count; i++)
            segment[i] = (struct segment){s.start[i], s.length[i], 0, s.block[i], 0};
        s.a.segment = s.a.plan = segment;
        s.a.n_segments = s.count;
        float *weight = zeros(s.rows);
        double *q = doubled(s.q, s.rows * wide), *k = doubled(s.k, s.rows * kv);
        CHECK(device.ops->attention_of_last(&device, &s.a, weight, s.q, &error) == 0);
        for (size_t i = 0; i < s.count; i++) {
            double *expected = kit_alloc(s.length[i], sizeof *expected);
            reference_attention_of_last(expected, q + s.start[i] * wide, k + s.start[i] * kv,
                                        s.length[i], &s.a);
            CHECK(near_reference("weights", weight + s.start[i], expected, s.length[i], 1e-6));
        }
    }
}

struct attention_case {
    const struct sequences *s;
    double *q, *k, *v, *out, *weight;
};

static double attention_loss(void *arg)
{
    struct attention_case *c = arg;
    reference_sequences(c->s, c->q, c->k, c->v, c->out, NULL);
    return weighted(c->weight, c->out, c->s->rows * c->s->a.heads * c->s->a.head_dim);
}

// All segments with past = 0, for backward; rows are those of s.
static void whole_segments(struct sequences *s, struct segment *segment)
{
    for (size_t i = 0; i < s->count; i++)
        segment[i] = (struct segment){s->start[i], s->length[i], 0, s->block[i], 0};
    s->a.segment = s->a.plan = segment;
    s->a.n_segments = s->count;
}

// Slopes of the rounds, which are the same for all sets of kernels: of q, k and v, and a sum that
// tells whether the data are.
static struct {
    double of[3][SAMPLE], sum;
} attention_slope[2 * KINDS];

static double *attention_slopes(const struct attention_case *c, int round, int of, size_t n,
                                size_t kv)
{
    double sum = 1;
    for (size_t i = 0; i < n; i++)
        sum += c->q[i] * c->weight[i];
    for (size_t i = 0; i < kv; i++)
        sum += c->k[i] * c->v[i];
    if (attention_slope[round].sum != sum) {
        attention_slope[round].sum = sum;
        for (int i = 0; i < 3 * SAMPLE; i++)
            attention_slope[round].of[i / SAMPLE][i % SAMPLE] = NAN;
    }
    return attention_slope[round].of[of];
}

static void attention_gradient(void)
{
    for (int round = 0; round < 2 * KINDS; round++) {
        kit_begin(round);
        struct sequences s;
        struct segment segment[SEQUENCES];
        random_sequences(&s, round, 0);
        dress(&s, round);
        attend_range(&s, 0, SIZE_MAX, SIZE_MAX, 0);
        whole_segments(&s, segment);
        size_t n = s.rows * s.a.heads * s.a.head_dim, kv = s.rows * s.a.kv_heads * s.a.head_dim;
        float *dout = normals(n, 1), *dq = normals(n, 1), *dk = normals(kv, 1),
              *dv = normals(kv, 1);
        struct attention_case c = {&s,
                                   doubled(s.q, n),
                                   doubled(s.k, kv),
                                   doubled(s.v, kv),
                                   doubled(s.out, n),
                                   doubled(dout, n)};
        CHECK(device.ops->attention_backward(&device, &s.a, dq, dk, dv, dout, s.out, s.q, s.lse,
                                             &error) == 0);
        CHECK(gradient_has("q", dq, NULL, c.q, n, attention_loss, &c, 1e-5,
                           attention_slopes(&c, round, 0, n, kv)));
        CHECK(gradient_has("k", dk, NULL, c.k, kv, attention_loss, &c, 1e-5,
                           attention_slopes(&c, round, 1, n, kv)));
        CHECK(gradient_has("v", dv, NULL, c.v, kv, attention_loss, &c, 1e-5,
                           attention_slopes(&c, round, 2, n, kv)));
    }
}

// Gradients of longer sequences: dq [rows, heads * dim], then dk and dv [rows, kv_heads * dim].
static size_t long_slopes(struct sequences *s, const float *dout, float *slope)
{
    size_t n = s->rows * s->a.heads * s->a.head_dim, kv = s->rows * s->a.kv_heads * s->a.head_dim;
    CHECK(device.ops->attention_backward(&device, &s->a, slope, slope + n, slope + n + kv, dout,
                                         s->out, s->q, s->lse, &error) == 0);
    return n + 2 * kv;
}

static void reference_slopes(const struct sequences *s, const float *dout, double *slope)
{
    size_t wide = s->a.heads * s->a.head_dim, width = s->a.kv_heads * s->a.head_dim;
    size_t n = s->rows * wide, kv = s->rows * width;
    double *d = doubled(dout, n), *q = doubled(s->q, n), *k = doubled(s->k, kv),
           *v = doubled(s->v, kv);
    for (size_t i = 0; i < s->count; i++) {
        size_t row = s->start[i];
        reference_attention_backward(slope + row * wide, slope + n + row * width,
                                     slope + n + kv + row * width, d + row * wide, q + row * wide,
                                     k + row * width, v + row * width, s->length[i], &s->a);
    }
}

// The same bits for any number of threads, and for each sequence alone.
static void check_long_slopes(struct sequences *s, const float *dout, const float *slope, size_t n)
{
    static const int counts[] = {1, 3, 5, 2};
    const struct segment *segment = s->a.segment;
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
        float *again = normals(n, 1);
        CHECK(threads_set(counts[i], &error) == 0);
        long_slopes(s, dout, again);
        CHECK(same_bits("slopes by threads", again, slope, n));
    }
    float *alone = normals(n, 1);
    s->a.n_segments = 1;
    for (size_t i = s->count; i-- > 0;) {
        s->a.segment = s->a.plan = segment + i;
        long_slopes(s, dout, alone);
    }
    CHECK(same_bits("slopes of one sequence alone", alone, slope, n));
}

static uint64_t bits_sum(const float *x, size_t n)
{
    uint64_t sum = 1;
    for (size_t i = 0; i < n; i++) {
        uint32_t bits;
        memcpy(&bits, x + i, sizeof bits);
        sum = sum * 6364136223846793005u + bits;
    }
    return sum;
}

static void long_sequences(struct sequences *s, uint64_t round)
{
    static const size_t dims[] = {8, 24, 10, 6, 40, 16, 8, 64, 100, 12, 20, 80};
    size_t kv_heads = round % 4 == 1 ? 2 : 1, heads = kv_heads * (1 + round % 3);
    do {
        kit_begin(round += 12);
        sequences_make(s, heads, kv_heads, dims[round % 12], 1 + round % 2, 580, 0);
    } while (s->rows < 300);
}

// Sequences whose keys are several runs of the backward pass, in all kinds of attention. Sets of
// the same class have the same bits.
static void long_gradients(void)
{
    enum { ROUNDS = 12 };
    static uint64_t sums[2][ROUNDS]; // with fused multiply-add, and without
    const char *set = ((const struct kernels *)device.backend)->name;
    uint64_t *known = sums[!strcmp(set, "base") || !strcmp(set, "wide")];
    for (int round = 0; round < ROUNDS; round++) {
        struct sequences s;
        struct segment segment[SEQUENCES];
        long_sequences(&s, (uint64_t)round);
        dress(&s, 2 * round + round % 2);
        s.a.window += s.a.window == 1; // who sees one key has no slope
        attend_range(&s, 0, SIZE_MAX, SIZE_MAX, 0);
        whole_segments(&s, segment);
        size_t wide = s.rows * s.a.heads * s.a.head_dim, kv = s.rows * s.a.kv_heads * s.a.head_dim;
        float *dout = normals(wide, 1), *slope = normals(wide + 2 * kv, 1);
        size_t n = long_slopes(&s, dout, slope);
        check_long_slopes(&s, dout, slope, n);
        uint64_t sum = bits_sum(slope, n);
        if (known[round]) {
            CHECK(known[round] == sum);
            continue;
        }
        known[round] = sum;
        double *reference = kit_alloc(n, sizeof *reference);
        reference_slopes(&s, dout, reference);
        CHECK(near_reference("dq", slope, reference, wide, 1e-5));
        CHECK(near_reference("dk", slope + wide, reference + wide, kv, 1e-5));
        CHECK(near_reference("dv", slope + wide + kv, reference + wide + kv, kv, 1e-5));
    }
}

struct activation_case {
    enum activation kind;
    size_t n;
    double *g, *u, *y, *weight;
};

static double activation_loss(void *arg)
{
    struct activation_case *c = arg;
    reference_activate(c->kind, c->y, c->g, c->u, c->n);
    return weighted(c->weight, c->y, c->n);
}

static void activations(void)
{
    for (int round = 0; round < 16 * ACTIVATIONS; round++) {
        kit_begin(round);
        struct activation_case c = {.n = ONE_OF(1, 3, 7, 8, 15, 16, 17, 33, 100, 1536)};
        c.kind = (enum activation)(round % ACTIVATIONS);
        int alone = round / ACTIVATIONS % 2;
        float *g = normals(c.n, round / ACTIVATIONS % 4 < 2 ? 3 : 20), *y = zeros(c.n);
        float *u = alone ? NULL : normals(c.n, 1), *dout = normals(c.n, 1);
        c.g = doubled(g, c.n);
        c.u = alone ? NULL : doubled(u, c.n);
        c.y = doubled(g, c.n);
        c.weight = doubled(dout, c.n);
        reference_activate(c.kind, c.y, c.g, c.u, c.n);
        CHECK(device.ops->activate(&device, c.kind, y, g, u, c.n, &error) == 0);
        for (size_t i = 0; i < c.n; i++) // each to its own size
            CHECK_NEAR(y[i], c.y[i], 1e-6 * fabs(c.y[i]) + 1e-7);
        float *in_place = copied(g, c.n);
        CHECK(device.ops->activate(&device, c.kind, in_place, in_place, u, c.n, &error) == 0);
        CHECK(same_bits("in place", in_place, y, c.n));
        CHECK(device.ops->activate_backward(&device, c.kind, g, u, dout, c.n, &error) == 0);
        CHECK(gradient_is("g", g, NULL, c.g, c.n, activation_loss, &c, 3e-6));
        if (!alone)
            CHECK(gradient_is("u", u, NULL, c.u, c.n, activation_loss, &c, 3e-6));
    }
}

struct cap_case {
    size_t n;
    double *z, *y, *weight, softcap;
};

static double cap_loss(void *arg)
{
    struct cap_case *c = arg;
    memcpy(c->y, c->z, c->n * sizeof *c->y);
    reference_softcap(c->y, c->softcap, c->n);
    return weighted(c->weight, c->y, c->n);
}

static void caps(void)
{
    for (int round = 0; round < 24; round++) {
        kit_begin(round);
        struct cap_case c = {.n = ONE_OF(1, 3, 8, 15, 17, 33, 1000), .softcap = round & 1 ? 30 : 2};
        float *z = normals(c.n, round % 3 ? 2 : 60), *dz = normals(c.n, 1);
        c.z = doubled(z, c.n);
        c.y = doubled(z, c.n);
        c.weight = doubled(dz, c.n);
        reference_softcap(c.y, c.softcap, c.n);
        CHECK(device.ops->softcap(&device, z, (float)c.softcap, c.n, &error) == 0);
        for (size_t i = 0; i < c.n; i++)
            CHECK_NEAR(z[i], c.y[i], 4e-7 * fabs(c.y[i]));
        CHECK(device.ops->softcap_backward(&device, dz, z, (float)c.softcap, c.n, &error) == 0);
        CHECK(gradient_is("z", dz, NULL, c.z, c.n, cap_loss, &c, 1e-6));
    }
}

static double clamp_loss(void *arg)
{
    struct cap_case *c = arg;
    memcpy(c->y, c->z, c->n * sizeof *c->y);
    reference_clamp(c->y, c->softcap, c->n);
    return weighted(c->weight, c->y, c->n);
}

static void clamps(void)
{
    for (int round = 0; round < 24; round++) {
        kit_begin(round);
        struct cap_case c = {.n = ONE_OF(1, 3, 8, 15, 17, 33, 1000),
                             .softcap = round & 1 ? 0.8 : 2};
        float *x = normals(c.n, 1.5f), *dx = normals(c.n, 1);
        c.z = doubled(x, c.n);
        c.y = doubled(x, c.n);
        c.weight = doubled(dx, c.n);
        reference_clamp(c.y, (double)(float)c.softcap, c.n);
        CHECK(device.ops->clamp(&device, x, (float)c.softcap, c.n, &error) == 0);
        for (size_t i = 0; i < c.n; i++)
            CHECK((double)x[i] == c.y[i]);
        CHECK(device.ops->clamp_backward(&device, dx, x, (float)c.softcap, c.n, &error) == 0);
        CHECK(gradient_is("x", dx, NULL, c.z, c.n, clamp_loss, &c, 1e-6));
    }
}

static void blends(void)
{
    static const float factors[] = {0, 1, -0.5f, 0.22f};
    for (int round = 0; round < 32; round++) {
        kit_begin(round);
        size_t n = ONE_OF(1, 3, 8, 15, 17, 33, 1000);
        float keep = factors[round % 4], factor = factors[round / 4 % 4];
        float *x = normals(n, 1), *y = normals(n, 1);
        double *expected = doubled(y, n);
        for (size_t i = 0; i < n; i++) {
            expected[i] = (double)keep * y[i] + (double)factor * x[i];
            y[i] = keep == 0 ? NAN : y[i];
        }
        CHECK(device.ops->axpby(&device, y, keep, x, factor, n, &error) == 0);
        for (size_t i = 0; i < n; i++)
            CHECK_NEAR(y[i], expected[i], 5e-7);
    }
}

static void contrasts(void)
{
    for (int round = 0; round < 12; round++) {
        kit_begin(round);
        size_t n = ONE_OF(1, 3, 17, 1000, 40000);
        float weight = 0.1f * (float)round, *plain = normals(n, 1), *z = normals(n, 1);
        double *other = doubled(z, n), worst = 0;
        CHECK(device.ops->contrast(&device, z, plain, weight, n, &error) == 0);
        for (size_t i = 0; i < n; i++)
            worst = fmax(worst,
                         fabs(z[i] - (plain[i] + (double)weight * ((double)plain[i] - other[i]))));
        CHECK_NEAR(worst, 0, 3e-6);
    }
}

// Some rows of many, in any order: there, and back.
static void rows_by_number(void)
{
    for (int round = 0; round < 12; round++) {
        kit_begin(round);
        size_t all = ONE_OF(1, 5, 300), width = ONE_OF(1, 7, 64, 400), n = 0, wrong = 0;
        uint32_t *row = kit_alloc(all, sizeof *row);
        for (size_t i = all; i-- > 0;)
            if (i == 0 || rng_below(&rng, 3) > 0)
                row[n++] = (uint32_t)i;
        float *x = normals(all * width, 1), *some = zeros(n * width), *back = zeros(all * width);
        CHECK(device.ops->gather_rows(&device, some, x, row, n, width, &error) == 0);
        CHECK(device.ops->scatter_rows(&device, back, some, row, n, width, &error) == 0);
        for (size_t i = 0; i < n; i++)
            wrong += memcmp(some + i * width, x + row[i] * width, width * sizeof *x) != 0;
        CHECK(wrong == 0);
        for (size_t i = 0; i < n; i++)
            memset(x + row[i] * width, 0, width * sizeof *x);
        for (size_t i = 0; i < all * width; i++)
            wrong += x[i] != 0 && back[i] != 0; // rows that were not asked for stay
        for (size_t i = 0; i < n; i++)
            wrong += memcmp(some + i * width, back + row[i] * width, width * sizeof *x) != 0;
        CHECK(wrong == 0);
    }
}

// Whether entry a of the row comes before entry b among the largest.
static int is_above(const float *z, size_t a, size_t b)
{
    return z[a] > z[b] || (z[a] == z[b] && a < b);
}

// Of logits with many ties.
static void largest_and_picked(void)
{
    for (int round = 0; round < 16; round++) {
        kit_begin(round);
        size_t n = ONE_OF(1, 3, 40), vocab = ONE_OF(1, 5, 37, 700), wrong = 0;
        size_t k = 1 + rng_below(&rng, vocab < 6 ? vocab : 6);
        float *z = normals(n * vocab, 3), *lse = normals(n, 1), *picked = zeros(n);
        for (size_t i = 0; i < n * vocab; i++)
            z[i] = roundf(z[i]);
        uint32_t *target = tokens(n, vocab), *id = tokens(n * k, 1);
        float *logp = zeros(n * k);
        CHECK(device.ops->pick(&device, picked, z, n, vocab, target, &error) == 0);
        CHECK(device.ops->top_k(&device, id, logp, z, lse, n, vocab, k, &error) == 0);
        for (size_t i = 0; i < n; i++) {
            const float *row = z + i * vocab;
            wrong += picked[i] != row[target[i]];
            for (size_t j = 0; j < k; j++) {
                size_t above = 0, at = id[i * k + j];
                for (size_t t = 0; t < vocab; t++)
                    above += is_above(row, t, at);
                wrong += above != j || logp[i * k + j] != row[at] - lse[i];
            }
        }
        CHECK(wrong == 0);
    }
}

// Rows in any order, some more than once: the bits of log_softmax.
static void log_softmax_of_some(void)
{
    for (int round = 0; round < 12; round++) {
        kit_begin(round);
        size_t n = ONE_OF(1, 3, 40), rows = ONE_OF(1, 2, 33), vocab = ONE_OF(1, 37, 700, 5000);
        float *z = normals(rows * vocab, 3), *logp = zeros(n), lse, one;
        uint32_t *row = tokens(n, rows), *target = tokens(n, vocab);
        size_t wrong = 0;
        CHECK(device.ops->log_softmax_at(&device, z, vocab, row, target, n, logp, &error) == 0);
        for (size_t i = 0; i < n; i++) {
            CHECK(device.ops->log_softmax(&device, z + row[i] * vocab, 1, vocab, &target[i], &lse,
                                          &one, NULL, NULL, &error) == 0);
            wrong += memcmp(&one, &logp[i], sizeof one) != 0;
        }
        CHECK(wrong == 0);
    }
}

// Each value goes to its place and comes back from it.
static void groups(void)
{
    for (int round = 0; round < 12; round++) {
        kit_begin(round);
        struct grouping g = {ONE_OF(1, 2, 5), ONE_OF(1, 3, 4), ONE_OF(1, 8, 24)};
        size_t n = ONE_OF(1, 2, 33), dim = g.head_dim, queries = g.queries * dim;
        size_t width = g.groups * (queries + 2 * dim);
        float *fused = normals(n * width, 1), *back = zeros(n * width);
        float *q = zeros(n * g.groups * queries), *k = zeros(n * g.groups * dim);
        float *v = zeros(n * g.groups * dim);
        CHECK(device.ops->ungroup(&device, &g, q, k, v, fused, n, &error) == 0);
        for (size_t i = 0; i < n; i++)
            for (size_t at = 0; at < width; at++) {
                size_t group = at / (queries + 2 * dim), in = at % (queries + 2 * dim);
                size_t row = i * g.groups + group;
                float value = in < queries         ? q[row * queries + in]
                              : in < queries + dim ? k[row * dim + in - queries]
                                                   : v[row * dim + in - queries - dim];
                CHECK(value == fused[i * width + at]);
            }
        CHECK(device.ops->group(&device, &g, back, q, k, v, n, &error) == 0);
        CHECK(same_bits("group", back, fused, n * width));
    }
}

struct softmax_case {
    size_t n, vocab;
    const uint32_t *target;
    double *z, *logp, *weight;
};

static double softmax_loss(void *arg)
{
    struct softmax_case *c = arg;
    reference_log_softmax(c->z, c->n, c->vocab, c->target, NULL, c->logp, NULL);
    return weighted(c->weight, c->logp, c->n);
}

static void log_softmax(void)
{
    for (int round = 0; round < 40; round++) {
        kit_begin(round);
        struct softmax_case c = {.n = ONE_OF(1, 2, 17, 40)};
        c.vocab = ONE_OF(1, 2, 15, 16, 17, 50, 105, 512, 1024, 1025, 3000);
        size_t n = c.n * c.vocab;
        float *z = normals(n, round % 3 ? 3 : 25), *w = normals(c.n, 1);
        float *lse = zeros(c.n), *logp = zeros(c.n), *entropy = zeros(c.n);
        uint32_t *best = tokens(c.n, 2);
        double *l = doubled(w, c.n), *h = doubled(w, c.n);
        c.target = tokens(c.n, c.vocab);
        c.z = doubled(z, n);
        c.logp = doubled(w, c.n);
        c.weight = doubled(w, c.n);
        reference_log_softmax(c.z, c.n, c.vocab, c.target, l, c.logp, h);
        CHECK(device.ops->log_softmax(&device, z, c.n, c.vocab, c.target, lse, logp, entropy, best,
                                      &error) == 0);
        for (size_t i = 0; i < c.n; i++) {
            CHECK_NEAR(lse[i], l[i], 3e-7 * (1 + fabs(l[i])));
            CHECK_NEAR(logp[i], c.logp[i], 3e-7 * (1 + fabs(c.logp[i]) + fabs(l[i])));
            CHECK_NEAR(entropy[i], h[i], 2e-6 * (1 + h[i]));
            uint32_t first = 0;
            for (uint32_t k = 1; k < c.vocab; k++)
                if (z[i * c.vocab + k] > z[i * c.vocab + first])
                    first = k;
            CHECK(best[i] == first);
        }
        float *lse_alone = zeros(c.n);
        CHECK(device.ops->log_softmax(&device, z, c.n, c.vocab, NULL, lse_alone, NULL, NULL, NULL,
                                      &error) == 0);
        CHECK(same_bits("lse alone", lse_alone, lse, c.n));
        CHECK(device.ops->log_softmax_backward(&device, z, c.n, c.vocab, c.target, lse, w,
                                               &error) == 0);
        CHECK(gradient_is("logits", z, NULL, c.z, n, softmax_loss, &c, 5e-6));
    }
}

// A logit that is not a number gives a log-probability that is not one, wherever it stands and
// whatever its bits; minus infinity is a probability of 0.
static void log_softmax_edges(void)
{
    static const uint32_t nans[] = {0x7fc00000, 0x7fc00001, 0x7f800001, 0xffc00000, 0xffc0ffff,
                                    0x7fffffff, 0xffffffff, 0x7fc00123, 0xff800001};
    static const size_t sizes[] = {1, 3, 16, 17, 32, 100, 1030};
    for (size_t k = 0; k < sizeof sizes / sizeof *sizes; k++) {
        size_t vocab = sizes[k];
        kit_begin(k);
        float *z = normals(vocab, 2), lse, logp, entropy;
        uint32_t target, best;
        for (size_t at = 0; at < vocab; at += 1 + at / 16) {
            float kept = z[at];
            if (test_failed)
                return;
            target = (uint32_t)((at + 1) % vocab);
            for (size_t i = 0; i < sizeof nans / sizeof *nans; i++) {
                memcpy(z + at, &nans[i], sizeof *z);
                CHECK(device.ops->log_softmax(&device, z, 1, vocab, &target, &lse, &logp, &entropy,
                                              &best, &error) == 0);
                CHECK(isnan(lse) && isnan(logp) && isnan(entropy) && best < vocab);
            }
            z[at] = INFINITY;
            CHECK(device.ops->log_softmax(&device, z, 1, vocab, &target, &lse, &logp, &entropy,
                                          &best, &error) == 0);
            CHECK(!isfinite(lse) && !isfinite(logp) && !isfinite(entropy) && best == at);
            z[at] = -INFINITY;
            if (vocab > 1) {
                double exact_lse, exact, exact_entropy;
                reference_log_softmax(doubled(z, vocab), 1, vocab, &target, &exact_lse, &exact,
                                      &exact_entropy);
                CHECK(device.ops->log_softmax(&device, z, 1, vocab, &target, &lse, &logp, &entropy,
                                              &best, &error) == 0);
                CHECK_NEAR(lse, exact_lse, 1e-5);
                CHECK_NEAR(logp, exact, 1e-5);
                CHECK_NEAR(entropy, exact_entropy, 1e-5);
                target = (uint32_t)at;
                CHECK(device.ops->log_softmax(&device, z, 1, vocab, &target, &lse, &logp, NULL,
                                              NULL, &error) == 0);
                CHECK(logp == -INFINITY);
            }
            z[at] = kept;
        }
        for (size_t i = 0; i < vocab; i++)
            z[i] = -INFINITY;
        target = 0;
        CHECK(device.ops->log_softmax(&device, z, 1, vocab, &target, &lse, &logp, &entropy, &best,
                                      &error) == 0);
        CHECK(!isfinite(logp) && best < vocab);
    }
}

struct divergence_case {
    size_t n, vocab;
    double *p, *q, *kl, *reverse, forward, backward;
};

static double divergence_loss(void *arg)
{
    struct divergence_case *c = arg;
    double sum = 0;
    reference_divergence(c->p, c->q, c->n, c->vocab, c->kl, c->reverse);
    for (size_t i = 0; i < c->n; i++)
        sum += c->forward * c->kl[i] + c->backward * c->reverse[i];
    return sum;
}

static void divergences(void)
{
    for (int round = 0; round < 40; round++) {
        kit_begin(round);
        struct divergence_case c = {.n = ONE_OF(1, 2, 17)};
        c.vocab = ONE_OF(1, 2, 15, 16, 17, 50, 105, 512, 1024, 1025, 3000);
        size_t n = c.n * c.vocab;
        double spread = round % 3 ? 2 : 15;
        float *p = normals(n, spread), *q = round % 5 ? normals(n, spread) : zeros(n);
        float *p_lse = zeros(c.n), *q_lse = zeros(c.n), *kl = zeros(c.n), *reverse = zeros(c.n);
        float *gradient = normals(n, 1), *before = copied(gradient, n), *alone = zeros(c.n);
        c.p = doubled(p, n);
        c.q = doubled(q, n);
        c.kl = doubled(kl, c.n);
        c.reverse = doubled(kl, c.n);
        c.forward = round & 1 ? 0 : 0.7;
        c.backward = round & 2 ? 0 : -1.3;
        divergence_loss(&c);
        device.ops->log_softmax(&device, p, c.n, c.vocab, NULL, p_lse, NULL, NULL, NULL, &error);
        device.ops->log_softmax(&device, q, c.n, c.vocab, NULL, q_lse, NULL, NULL, NULL, &error);
        struct divergence v = {p, p_lse, q, q_lse, c.n, c.vocab};
        CHECK(device.ops->divergence(&device, &v, kl, reverse, &error) == 0);
        for (size_t i = 0; i < c.n; i++) {
            CHECK_NEAR(kl[i], c.kl[i], 3e-6 * (1 + c.kl[i]));
            CHECK_NEAR(reverse[i], c.reverse[i], 3e-6 * (1 + c.reverse[i]));
        }
        CHECK(device.ops->divergence(&device, &v, alone, NULL, &error) == 0);
        CHECK(same_bits("kl alone", alone, kl, c.n));
        CHECK(device.ops->divergence(&device, &v, NULL, alone, &error) == 0);
        CHECK(same_bits("reverse alone", alone, reverse, c.n));
        CHECK(device.ops->divergence_backward(&device, &v, kl, (float)c.forward, (float)c.backward,
                                              gradient, &error) == 0);
        CHECK(gradient_is("p", gradient, before, c.p, n, divergence_loss, &c, 1e-5));
        // Of a distribution to itself there is nothing, not even a rounding.
        v.q = p;
        v.q_lse = p_lse;
        CHECK(device.ops->divergence(&device, &v, kl, reverse, &error) == 0);
        for (size_t i = 0; i < c.n; i++)
            CHECK(kl[i] == 0 && reverse[i] == 0);
    }
}

// Minus infinity is a probability of 0: nothing where the first has it, no finite number where only
// the other has it. What is not a number stays none.
static void divergence_edges(void)
{
    static const size_t sizes[] = {2, 3, 16, 17, 32, 100, 1030};
    for (size_t k = 0; k < sizeof sizes / sizeof *sizes; k++) {
        size_t vocab = sizes[k];
        kit_begin(k);
        float *p = normals(vocab, 2), *q = normals(vocab, 2), lse[2], kl, reverse;
        struct divergence v = {p, lse, q, lse + 1, 1, vocab};
        for (size_t at = 0; at < vocab; at += 1 + at / 16) {
            static const float odd[] = {-INFINITY, NAN};
            float kept = p[at];
            for (int i = 0; i < 2; i++) {
                p[at] = odd[i];
                device.ops->log_softmax(&device, p, 1, vocab, NULL, lse, NULL, NULL, NULL, &error);
                device.ops->log_softmax(&device, q, 1, vocab, NULL, lse + 1, NULL, NULL, NULL,
                                        &error);
                CHECK(device.ops->divergence(&device, &v, &kl, &reverse, &error) == 0);
                double exact;
                reference_divergence(doubled(p, vocab), doubled(q, vocab), 1, vocab, &exact, NULL);
                CHECK(i ? isnan(kl) : fabs(kl - exact) < 1e-5 * (1 + exact));
                CHECK(!isfinite(reverse));
            }
            p[at] = kept;
        }
    }
}

// A row has the same bits alone, in company, and elsewhere in the company.
static void rows_alone(void)
{
    enum { N = 37, TURN = 11 };
    for (int round = 0; round < 12; round++) {
        kit_begin(round);
        size_t in = ONE_OF(7, 48, 300, 576), out = ONE_OF(5, 49, 100), dim = ONE_OF(8, 10, 24);
        float eps = 1e-5f, *x = normals(N * in, 1), *turned = kit_alloc(N * in, sizeof *turned);
        double *exact;
        struct tensor w = random_tensor(types[round % 3], out, in, 1, &exact);
        struct tensor bias = random_tensor(DTYPE_F32, 1, out, 1, &exact);
        struct tensor scale = random_tensor(types[round % 3], 1, in, 1, &exact);
        struct tensor shift = random_tensor(types[round % 3], 1, in, 1, &exact);
        struct tensor across = random_part(types[round % 3], out, in, 1, 1, &exact);
        enum activation kind = (enum activation)(round % ACTIVATIONS);
        int neighbours = round & 1;
        float *table = angles(64, dim / 2), *heads = normals(N * 3 * dim, 1);
        uint32_t *position = tokens(N, 64), *target = tokens(N, in), moved[N];
        float *y[3], *norm[3], *gate[3], *lse[3], *logp[3], *entropy[3], *rotated[3], *kl[3];
        float *capped[3], *centred[3], *turned_y[3], *stat[3];
        float *level = zeros(N * in), flats[N]; // of the uniform distribution
        for (int way = 0; way < 3; way++) {
            y[way] = zeros(N * out);
            norm[way] = zeros(N * in);
            gate[way] = zeros(N * in);
            lse[way] = zeros(N);
            logp[way] = zeros(N);
            entropy[way] = zeros(N);
            kl[way] = zeros(N);
            stat[way] = zeros(2 * N);
            capped[way] = zeros(N * in);
            centred[way] = zeros(N * in);
            turned_y[way] = zeros(N * out);
            rotated[way] = copied(heads, N * 3 * dim);
        }
        for (size_t i = 0; i < N; i++) {
            size_t to = (i + TURN) % N;
            rows_move(turned, x, to, i, 1, in);
            rows_move(rotated[1], heads, to, i, 1, 3 * dim);
            moved[to] = target[i];
            flats[i] = logf((float)in);
        }
        uint32_t moved_position[N];
        for (size_t i = 0; i < N; i++)
            moved_position[(i + TURN) % N] = position[i];
        for (size_t i = 0; i < 2 + N; i++) { // whole, turned, then one by one
            size_t way = i < 2 ? i : 2, row = i < 2 ? 0 : i - 2, n = i < 2 ? N : 1;
            const float *from = way == 1 ? turned : x;
            const uint32_t *at = way == 1 ? moved_position : position,
                           *t = way == 1 ? moved : target;
            struct linear product = {y[way] + row * out, w, bias, 0};
            const float *in_row = from + row * in;
            CHECK(device.ops->linear(&device, in_row, n, &product, 1, &error) == 0);
            struct linear transposed = {turned_y[way] + row * out, across, bias, 0};
            CHECK(device.ops->linear(&device, in_row, n, &transposed, 1, &error) == 0);
            struct norm rms = {.eps = eps, .offset = 1, .weight = scale};
            struct norm layer = {.centred = 1, .eps = eps, .weight = scale, .bias = shift};
            CHECK(device.ops->norm(&device, norm[way] + row * in, NULL, in_row, n, in, &rms,
                                   &error) == 0);
            CHECK(device.ops->norm(&device, centred[way] + row * in, stat[way] + 2 * row, in_row, n,
                                   in, &layer, &error) == 0);
            CHECK(device.ops->activate(&device, kind, gate[way] + row * in, in_row, in_row, n * in,
                                       &error) == 0);
            float *c = capped[way] + row * in;
            CHECK(device.ops->axpby(&device, c, 0, in_row, 3, n * in, &error) == 0);
            CHECK(device.ops->axpby(&device, c, 0.3f, in_row, 0.7f, n * in, &error) == 0);
            CHECK(device.ops->softcap(&device, c, 2, n * in, &error) == 0);
            CHECK(device.ops->softcap_backward(&device, c, in_row, 2, n * in, &error) == 0);
            CHECK(device.ops->clamp(&device, c, 1, n * in, &error) == 0);
            CHECK(device.ops->clamp_backward(&device, c, in_row, 2, n * in, &error) == 0);
            CHECK(device.ops->log_softmax(&device, in_row, n, in, t + row, lse[way] + row,
                                          logp[way] + row, entropy[way] + row, NULL, &error) == 0);
            struct divergence v = {in_row, lse[way] + row, level, flats, n, in};
            CHECK(device.ops->divergence(&device, &v, kl[way] + row, NULL, &error) == 0);
            struct rotary r = {table, at + row, dim, neighbours};
            CHECK(device.ops->rotate(&device, rotated[way] + row * 3 * dim, n, 3, dim, &r, 0,
                                     &error) == 0);
        }
        for (size_t i = 0; i < N; i++)
            for (int way = 1; way < 3; way++) {
                size_t at = way == 1 ? (i + TURN) % N : i;
                CHECK(same_bits("linear", y[way] + at * out, y[0] + i * out, out));
                CHECK(
                    same_bits("transposed", turned_y[way] + at * out, turned_y[0] + i * out, out));
                CHECK(same_bits("centred", centred[way] + at * in, centred[0] + i * in, in));
                CHECK(same_bits("stat", stat[way] + 2 * at, stat[0] + 2 * i, 2));
                CHECK(same_bits("capped", capped[way] + at * in, capped[0] + i * in, in));
                CHECK(same_bits("norm", norm[way] + at * in, norm[0] + i * in, in));
                CHECK(same_bits("activation", gate[way] + at * in, gate[0] + i * in, in));
                CHECK(same_bits("lse", lse[way] + at, lse[0] + i, 1));
                CHECK(same_bits("logp", logp[way] + at, logp[0] + i, 1));
                CHECK(same_bits("entropy", entropy[way] + at, entropy[0] + i, 1));
                CHECK(same_bits("kl", kl[way] + at, kl[0] + i, 1));
                CHECK(same_bits("rotate", rotated[way] + at * 3 * dim, rotated[0] + i * 3 * dim,
                                3 * dim));
            }
    }
}

// Results of all operations on shapes large enough to be cut into many chunks.
struct results {
    float *at[128];
    size_t size[128], count;
};

static float *result(struct results *r, float *data, size_t n)
{
    if (r->count == sizeof r->at / sizeof *r->at) {
        printf("Bail out! too many results\n");
        exit(1);
    }
    r->at[r->count] = data;
    r->size[r->count++] = n;
    return data;
}

static void run_everything(struct results *r)
{
    enum { N = 150, IN = 300, OUT = 700, VOCAB = 300 };
    r->count = 0;
    double *exact;
    float *x = normals(N * IN, 1), *dy = normals(N * OUT, 1), eps = 1e-5f;
    struct tensor w = random_tensor(DTYPE_F32, OUT, IN, 1, &exact);
    struct tensor half = random_tensor(DTYPE_BF16, OUT, IN, 1, &exact);
    struct tensor bias = random_tensor(DTYPE_F32, 1, OUT, 1, &exact);
    struct tensor scale = random_tensor(DTYPE_F32, 1, IN, 1, &exact);
    struct tensor table = random_tensor(DTYPE_F32, VOCAB, IN, 1, &exact);
    struct tensor across = random_tensor(DTYPE_F32, OUT, IN, 1, &exact);
    struct tensor shift = random_tensor(DTYPE_F32, 1, IN, 1, &exact);
    across.transposed = 1;
    across.grad = result(r, normals(OUT * IN, 1), OUT * IN);
    shift.grad = result(r, normals(IN, 1), IN);
    w.grad = result(r, normals(OUT * IN, 1), OUT * IN);
    bias.grad = result(r, normals(OUT, 1), OUT);
    scale.grad = result(r, normals(IN, 1), IN);
    table.grad = result(r, normals(VOCAB * IN, 1), VOCAB * IN);
    struct linear product[3] = {{result(r, zeros(N * OUT), N * OUT), w, bias, 0},
                                {result(r, normals(N * OUT, 1), N * OUT), half, {0}, 1},
                                {result(r, zeros(N * OUT), N * OUT), across, bias, 0}};
    const struct ops *o = device.ops;
    uint32_t *token = tokens(N, VOCAB), *target = tokens(N, IN);
    CHECK(o->linear(&device, x, N, product, 3, &error) == 0);
    float *dx = result(r, normals(N * IN, 1), N * IN);
    CHECK(o->linear_backward(&device, dx, 1, dy, x, N, &w, &bias, &error) == 0);
    CHECK(o->linear_backward(&device, dx, 1, dy, x, N, &across, NULL, &error) == 0);
    float *y = result(r, zeros(N * IN), N * IN), *stat = result(r, zeros(2 * N), 2 * N);
    for (int centred = 0; centred < 2; centred++) {
        struct norm p = {.centred = centred, .eps = eps, .weight = scale, .bias = shift};
        CHECK(o->norm(&device, y, stat, x, N, IN, &p, &error) == 0);
        CHECK(o->norm_backward(&device, dx, y, x, stat, N, IN, &p, &error) == 0);
    }
    // Parts of rows, many and narrow.
    struct norm heads = {.eps = eps, .weight = scale};
    heads.weight.cols = 30;
    float *parts = result(r, zeros(N * IN), N * IN), *many = zeros(2 * N * IN / 30);
    CHECK(o->norm(&device, parts, many, x, N * IN / 30, 30, &heads, &error) == 0);
    CHECK(o->norm_backward(&device, dx, y, x, many, N * IN / 30, 30, &heads, &error) == 0);
    float *rows = result(r, zeros(N * IN), N * IN);
    CHECK(o->embed(&device, rows, &table, token, N, 1, 0, &error) == 0);
    CHECK(o->embed(&device, rows, &table, target, N, 0.3f, 1, &error) == 0);
    CHECK(o->embed_backward(&device, &table, x, token, N, 1, &error) == 0);
    CHECK(o->embed_backward(&device, &table, x, target, N, 0.3f, &error) == 0);
    float *turned = result(r, copied(x, N * IN), N * IN), *angle = angles(VOCAB, 5);
    struct rotary halves = {angle, token, 10, 0}, pairs = {angle, token, 8, 1};
    CHECK(o->rotate(&device, turned, N, IN / 10, 10, &halves, 0, &error) == 0);
    CHECK(o->rotate(&device, turned, N, IN / 10, 10, &pairs, 1, &error) == 0);
    for (int kind = 0; kind < ACTIVATIONS; kind++) {
        float *gate = result(r, zeros(N * IN), N * IN);
        float *g = result(r, copied(x, N * IN), N * IN), *u = result(r, copied(y, N * IN), N * IN);
        CHECK(o->activate(&device, (enum activation)kind, gate, g, u, N * IN, &error) == 0);
        CHECK(o->activate_backward(&device, (enum activation)kind, g, u, dx, N * IN, &error) == 0);
    }
    float *capped = result(r, copied(y, N * IN), N * IN);
    CHECK(o->softcap(&device, capped, 1.5f, N * IN, &error) == 0);
    CHECK(o->axpby(&device, capped, 0.5f, x, 0.7f, N * IN, &error) == 0);
    CHECK(o->softcap_backward(&device, capped, y, 5, N * IN, &error) == 0);
    CHECK(o->clamp(&device, capped, 1, N * IN, &error) == 0);
    CHECK(o->clamp_backward(&device, capped, y, 0.5f, N * IN, &error) == 0);
    struct grouping grouping = {6, 3, 10};
    float *q = result(r, zeros(N * IN), N * IN), *k = result(r, zeros(N * IN), N * IN);
    float *value = result(r, zeros(N * IN), N * IN), *fused = result(r, zeros(N * IN), N * IN);
    CHECK(o->ungroup(&device, &grouping, q, k, value, x, N, &error) == 0);
    CHECK(o->group(&device, &grouping, fused, q, k, value, N, &error) == 0);
    CHECK(same_bits("group", fused, x, N * IN));
    float *lse = result(r, zeros(N), N), *logp = result(r, zeros(N), N);
    float *entropy = result(r, zeros(N), N), *z = result(r, copied(x, N * IN), N * IN);
    CHECK(o->log_softmax(&device, z, N, IN, target, lse, logp, entropy, NULL, &error) == 0);
    float *flat = result(r, zeros(N), N), *kl = result(r, zeros(N), N);
    float *reverse = result(r, zeros(N), N), *slope = result(r, zeros(N * IN), N * IN);
    CHECK(o->log_softmax(&device, y, N, IN, NULL, flat, NULL, NULL, NULL, &error) == 0);
    struct divergence v = {z, lse, y, flat, N, IN};
    CHECK(o->divergence(&device, &v, kl, reverse, &error) == 0);
    CHECK(o->divergence_backward(&device, &v, kl, 0.3f, 0.7f, slope, &error) == 0);
    float *top = result(r, zeros(N * 3), N * 3), *picked = result(r, zeros(N), N);
    float *some = result(r, zeros(N * IN), N * IN), *pushed = result(r, copied(y, N * IN), N * IN);
    CHECK(o->top_k(&device, tokens(N * 3, 1), top, z, lse, N, IN, 3, &error) == 0);
    CHECK(o->pick(&device, picked, z, N, IN, target, &error) == 0);
    float *at = result(r, zeros(N), N);
    CHECK(o->log_softmax_at(&device, z, IN, tokens(N, N), target, N, at, &error) == 0);
    CHECK(o->gather_rows(&device, some, x, tokens(N, N), N, IN, &error) == 0);
    CHECK(o->contrast(&device, pushed, x, 0.3f, N * IN, &error) == 0);
    CHECK(o->log_softmax_backward(&device, z, N, IN, target, lse, logp, &error) == 0);
    for (int kind = 0; kind < KINDS; kind += 5) {
        struct sequences s;
        struct segment segment[SEQUENCES];
        sequences_make(&s, 6, 2, 24, 4, 70, 0);
        dress(&s, kind);
        attend_range(&s, 0, SIZE_MAX, SIZE_MAX, 0);
        whole_segments(&s, segment);
        size_t n = s.rows * 6 * 24, kv = s.rows * 2 * 24;
        result(r, s.out, n);
        result(r, s.lse, s.rows * 6);
        float *dq = result(r, zeros(n), n), *dk = result(r, zeros(kv), kv);
        float *dv = result(r, zeros(kv), kv), *dout = normals(n, 1);
        CHECK(o->attention_backward(&device, &s.a, dq, dk, dv, dout, s.out, s.q, s.lse, &error) ==
              0);
        float *weight = result(r, zeros(s.rows), s.rows);
        CHECK(o->attention_of_last(&device, &s.a, weight, s.q, &error) == 0);
    }
    // More heads than one thread has room for.
    struct sequences s;
    struct segment segment[SEQUENCES];
    sequences_make(&s, 21, 1, 8, 2, 300, 0);
    attend_range(&s, 0, SIZE_MAX, SIZE_MAX, 0);
    whole_segments(&s, segment);
    float *weight = result(r, normals(s.rows, 1), s.rows);
    CHECK(o->attention_of_last(&device, &s.a, weight, s.q, &error) == 0);
}

static void any_threads(void)
{
    static const int counts[] = {2, 3, 5};
    struct results one, many;
    kit_begin(1);
    CHECK(threads_set(1, &error) == 0);
    run_everything(&one);
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
        struct arena_mark mark = arena_mark(&memory);
        rng_init(&rng, 1, RNG_TEST, 0, 0);
        CHECK(threads_set(counts[i], &error) == 0);
        run_everything(&many);
        for (size_t k = 0; k < one.count; k++)
            CHECK(one.size[k] == many.size[k] &&
                  same_bits("threads", many.at[k], one.at[k], one.size[k]));
        arena_rewind(&memory, mark);
    }
    CHECK(threads_set(2, &error) == 0);
}

// Limits of the headers that only our own code can break.
static void limits(void)
{
    kit_begin(1);
    float x[16] = {0}, y[16] = {0};
    struct linear product[LINEAR_MAX + 1];
    for (size_t i = 0; i <= LINEAR_MAX; i++)
        product[i] = (struct linear){.y = y, .w = {.data = x, .rows = 1, .cols = 4}};
    CHECK(device.ops->linear(&device, x, 1, product, LINEAR_MAX, &error) == 0);
    CHECK_DIES(device.ops->linear(&device, x, 1, product, LINEAR_MAX + 1, &error));
    CHECK_DIES(device.ops->linear(&device, x, 1, product, 0, &error));
    uint32_t block = 0;
    struct segment segment = {.length = 1, .past = 1, .block = &block};
    struct attention a = {
        .heads = 1, .kv_heads = 1, .head_dim = 1, .k = x, .v = y, .n_segments = 1};
    a.segment = a.plan = &segment;
    CHECK_DIES(device.ops->attention_of_last(&device, &a, y, x, &error));
    segment.past = 0;
    a.type = DTYPE_BF16;
    CHECK_DIES(device.ops->attention_of_last(&device, &a, y, x, &error));
    CHECK_DIES(device.ops->attention_backward(&device, &a, y, y, y, x, x, x, x, &error));
    a.type = DTYPE_F32;
    segment.past = 1;
    CHECK_DIES(device.ops->attention_backward(&device, &a, y, y, y, x, x, x, x, &error));
}

static void tests_of_set(void)
{
    run_named("embed and its gradient", embed);
    run_named("linear", linear);
    run_named("linear gradients", linear_gradient);
    run_named("linear of any layout, the same bits", linear_layouts);
    run_named("norms and their gradients", norms);
    run_named("rotations and their gradient", rotations);
    run_named("attention, whole and in parts", attention);
    run_named("attention over keys and values of bf16", attention_of_bf16);
    run_named("attention of the last row", attention_of_last);
    run_named("attention gradients", attention_gradient);
    run_named("attention gradients of long sequences", long_gradients);
    run_named("activations and their gradients", activations);
    run_named("cap and its gradient", caps);
    run_named("clamp and its gradient", clamps);
    run_named("blend", blends);
    run_named("contrast", contrasts);
    run_named("rows by number", rows_by_number);
    run_named("the largest, and picked ones", largest_and_picked);
    run_named("group and ungroup", groups);
    run_named("log_softmax and its gradient", log_softmax);
    run_named("log_softmax of odd logits", log_softmax_edges);
    run_named("log_softmax of some rows", log_softmax_of_some);
    run_named("divergence and its gradient", divergences);
    run_named("divergence of odd logits", divergence_edges);
    run_named("a row has the same bits in any company", rows_alone);
    run_named("the same bits for any number of threads", any_threads);
    run_named("limits are defended", limits);
}

int main(void)
{
    arena_init(&memory);
    CHECK(threads_set(2, &error) == 0);
    each_set(tests_of_set);
    arena_release(&memory);
    return test_end();
}
