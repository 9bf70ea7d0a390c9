// SPDX-License-Identifier: MIT
// The CPU backend's inner loops one by one, and the conversions between element types.
#include "kernel_wide.h"
#include "ops_kit.h"

static const struct kernels *kernels; // the set under test

static float from_bits(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static uint32_t bits_of(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

// exp of 16 values at once.
static void exp_of(float p[LANES], const float x[LANES])
{
    kernels->exp_sum(p, x, LANES, 1, 0);
}

static float exp_one(float x)
{
    float p[LANES], in[LANES];
    for (int i = 0; i < LANES; i++)
        in[i] = x;
    exp_of(p, in);
    for (int i = 1; i < LANES; i++)
        CHECK(!memcmp(p, p + i, sizeof *p));
    return p[0];
}

static void exp_is_accurate(void)
{
    double worst = 0;
    float worst_at = 0;
    for (uint32_t sign = 0; sign < 2; sign++)
        for (uint32_t bits = 0; bits <= bits_of(sign ? 87.0f : 88.0f); bits += 997 * LANES) {
            float x[LANES], p[LANES];
            for (uint32_t i = 0; i < LANES; i++) {
                float value = from_bits(bits + 997 * i);
                x[i] = sign ? fmaxf(-value, -87) : fminf(value, 88);
            }
            exp_of(p, x);
            for (int i = 0; i < LANES; i++) {
                double apart = fabs(p[i] / exp((double)x[i]) - 1);
                if (!(apart <= worst)) {
                    worst = apart;
                    worst_at = x[i];
                }
            }
        }
    printf("# exp: largest relative error %.3g, at %.9g\n", worst, worst_at);
    CHECK(worst < 1.2e-7);
}

static void exp_has_ends(void)
{
    CHECK(exp_one(0) == 1 && exp_one(-0.0f) == 1);
    // Below: exactly 0 from the first number under -87.
    CHECK(exp_one(-87) >= 1.6e-38f);
    CHECK(bits_of(exp_one(nextafterf(-87, -INFINITY))) == 0);
    static const float low[] = {-87.5f, -88, -103, -104, -1000, -1e10f, -3e38f, -INFINITY};
    for (size_t i = 0; i < sizeof low / sizeof *low; i++)
        CHECK(bits_of(exp_one(low[i])) == 0);
    // Above 88 it stays where it is, finite.
    float top = exp_one(88);
    static const float high[] = {88.5f, 88.8f, 89, 1000, 1e10f, 3e38f, INFINITY};
    for (size_t i = 0; i < sizeof high / sizeof *high; i++)
        CHECK(exp_one(high[i]) == top);
    // It climbs at both ends: no step back larger than the rounding, over whole numbers none at
    // all.
    for (float x = -87; x < 88; x++)
        CHECK(exp_one(x) < exp_one(x + 1));
    float x = -87, y = 88;
    for (int i = 0; i < 3000; i++) {
        float up = nextafterf(x, 0), down = nextafterf(y, 0);
        CHECK(exp_one(up) >= exp_one(x) * (1 - 2e-7f) && exp_one(x) > 0);
        CHECK(exp_one(down) <= exp_one(y) * (1 + 2e-7f) && exp_one(down) <= top);
        x = up;
        y = down;
    }
}

static void exp_keeps_nan(void)
{
    for (uint32_t bits = 0x7f800001; bits <= 0x7fffffff; bits += bits < 0x7f810000 ? 1 : 509) {
        CHECK(isnan(exp_one(from_bits(bits))));
        CHECK(isnan(exp_one(from_bits(bits | 0x80000000))));
        if (test_failed)
            return;
    }
    // One among many spoils the sum, at any place.
    for (int at = 0; at < 2048; at += 37) {
        float x[2048], p[2048];
        for (int i = 0; i < 2048; i++)
            x[i] = -1;
        CHECK_NEAR(kernels->exp_sum(p, x, 2048, 2, 0.5f), 2048 * exp(-2.5), 1e-4);
        x[at] = NAN;
        CHECK(isnan(kernels->exp_sum(p, x, 2048, 2, 0.5f)));
    }
}

// Calls `one` with 16 numbers at a time: a sample of all up to `most` and their negatives.
static void sweep(float most, void (*one)(const float x[LANES]))
{
    for (uint32_t bits = 0; bits <= bits_of(most); bits += 1999 * LANES) {
        float x[LANES], minus[LANES];
        for (uint32_t i = 0; i < LANES; i++) {
            x[i] = fminf(from_bits(bits + 1999 * i), most);
            minus[i] = -x[i];
        }
        one(x);
        one(minus);
    }
}

static double worst;
static float worst_at;

static void worse(double apart, float at)
{
    if (!(apart <= worst)) {
        worst = apart;
        worst_at = at;
    }
}

static void tanh_error(const float x[LANES])
{
    float z[LANES];
    memcpy(z, x, sizeof z);
    kernels->softcap(z, 1, 1, LANES);
    for (int i = 0; i < LANES; i++)
        worse(x[i] == 0 ? fabs((double)z[i]) : fabs(z[i] / tanh((double)x[i]) - 1), x[i]);
}

// Small and large alike: relative to the value itself.
static void tanh_is_accurate(void)
{
    worst = 0;
    sweep(200, tanh_error);
    printf("# tanh: largest relative error %.3g, at %.9g\n", worst, worst_at);
    CHECK(worst < 3e-7);
    float odd[LANES] = {INFINITY, -INFINITY, NAN, 3e38f, -3e38f, -0.0f};
    kernels->softcap(odd, 1, 5, LANES);
    CHECK(odd[0] == 5 && odd[1] == -5 && isnan(odd[2]) && odd[3] == 5 && odd[4] == -5);
    CHECK(odd[5] == 0 && signbit(odd[5]));
}

static enum activation kind; // of the sweep

static double exact_slope(double x)
{
    double h = 1e-4, low, high, far_low, far_high;
    double at[4] = {x - h, x + h, x - 2 * h, x + 2 * h}, y[4];
    reference_activate(kind, y, at, NULL, 4);
    low = y[0];
    high = y[1];
    far_low = y[2];
    far_high = y[3];
    return (8 * (high - low) - (far_high - far_low)) / (12 * h);
}

// Against the value itself, and the rounding of 1 where it is small.
static void activation_error(const float x[LANES])
{
    float y[LANES], slope[LANES], one[LANES];
    for (int i = 0; i < LANES; i++) {
        slope[i] = x[i];
        one[i] = 1;
    }
    kernels->activate(kind, y, x, NULL, LANES);
    kernels->activate_backward(kind, slope, NULL, one, LANES);
    for (int i = 0; i < LANES; i++) {
        double in = x[i], out;
        reference_activate(kind, &out, &in, NULL, 1);
        worse(fabs(y[i] - out) / (fabs(out) + 0.1 * fmin(1, fabs(in)) + 1e-37), x[i]);
        if (fabs(in) > 1e-3) // not over relu's corner
            worse(fabs(slope[i] - exact_slope(in)) / (1 + fabs(exact_slope(in))), x[i]);
    }
}

static void activations_are_accurate(void)
{
    static const char *const names[] = {"silu",       "gelu", "gelu_tanh",
                                        "gelu_quick", "relu", "relu squared"};
    for (int k = 0; k < ACTIVATIONS; k++) {
        kind = (enum activation)k;
        worst = 0;
        sweep(60, activation_error);
        printf("# %s: largest error %.3g, at %.9g\n", names[k], worst, worst_at);
        CHECK(worst < 1e-6);
        float x[LANES] = {NAN, 0, -0.0f, 1e10f, 3e38f, 1e-30f, -1e10f}, y[LANES];
        kernels->activate(kind, y, x, NULL, LANES);
        CHECK(isnan(y[0]) && y[1] == 0 && y[2] == 0);
        CHECK(kind == ACTIVATION_RELU_SQUARED ? y[3] == 1e10f * 1e10f : y[3] == x[3]);
        CHECK(kind == ACTIVATION_RELU_SQUARED ? y[4] == INFINITY : y[4] == x[4]);
        CHECK(fabsf(y[6]) < 1e-20f);
    }
}

// All tile sizes, both ways to walk the broadcast side, over slices, new or added to.
static void tiles(void)
{
    enum { DEEP = 600 };
    kit_begin(3);
    float *a = normals(DEEP * 20, 1), *b = normals(DEEP * TILE_MAX, 1);
    for (size_t rows = 1; rows <= kernels->tile; rows++)
        for (int k = 0; k < 24; k++) {
            size_t depth = ONE_OF(0, 1, 2, 16, 255, 256, 257, 512, 600), lda = k & 1 ? 16 : 20;
            int add = k >> 1 & 1, along = k >> 2 & 1;
            float c[TILE_MAX * 20], before[TILE_MAX * 20], base[TILE_MAX * 20];
            for (int i = 0; i < TILE_MAX * 20; i++)
                before[i] = c[i] = base[i] = (float)rng_normal(&rng);
            size_t n_stride = along ? DEEP : 1, k_stride = along ? 1 : TILE_MAX;
            kernels->tile_product(rows, depth, a, lda, b, n_stride, k_stride, c, 20, add);
            for (size_t n = 0; n < rows; n += kernels_base.tile) {
                size_t some = rows - n < kernels_base.tile ? rows - n : kernels_base.tile;
                kernels_base.tile_product(some, depth, a, lda, b + n * n_stride, n_stride, k_stride,
                                          base + n * 20, 20, add);
            }
            for (size_t n = 0; n < TILE_MAX; n++)
                for (size_t i = 0; i < 20; i++) {
                    double sum = add || n >= rows || i >= LANES ? before[n * 20 + i] : 0;
                    if (n < rows && i < LANES)
                        for (size_t d = 0; d < depth; d++)
                            sum += (double)a[d * lda + i] * b[n * n_stride + d * k_stride];
                    CHECK_NEAR(c[n * 20 + i], sum, 5e-5);
                    CHECK_NEAR(c[n * 20 + i], base[n * 20 + i], 5e-5);
                }
        }
}

// Rows of a in blocks give the bits of rows in a run; and a beginning of zeros, left out, changes
// none.
static void block_tiles(void)
{
    enum { BLOCKS = 40, WIDE = 20, DEEP = BLOCKS * LANES };
    kit_begin(4);
    float *a = normals(DEEP * WIDE, 1), *dealt = zeros(DEEP * WIDE),
          *b = normals(DEEP * TILE_MAX, 1);
    uint32_t block[BLOCKS];
    for (uint32_t i = 0; i < BLOCKS; i++) {
        block[i] = (i * 7 + 3) % BLOCKS;
        memcpy(dealt + block[i] * LANES * WIDE, a + i * LANES * WIDE, LANES * WIDE * sizeof *a);
    }
    for (size_t rows = 1; rows <= kernels->tile; rows++)
        for (int k = 0; k < 24; k++) {
            size_t end = 1 + rng_below(&rng, BLOCKS), first = k % 3 ? rng_below(&rng, end) : 0;
            float whole[TILE_MAX * WIDE], parts[TILE_MAX * WIDE],
                *part = copied(b, DEEP * TILE_MAX);
            for (size_t n = 0; n < rows; n++)
                memset(part + n * DEEP, 0, first * LANES * sizeof *part);
            kernels->tile_product(rows, end * LANES, a, WIDE, part, DEEP, 1, whole, WIDE, 0);
            for (size_t n = 0; n < rows; n++) // not read
                for (size_t i = 0; i < first * LANES; i++)
                    part[n * DEEP + i] = NAN;
            kernels->tile_blocks(rows, first, end, dealt, DTYPE_F32, block, LANES * WIDE, WIDE,
                                 part, DEEP, parts, WIDE);
            for (size_t n = 0; n < rows; n++)
                CHECK(same_bits("blocks", parts + n * WIDE, whole + n * WIDE, LANES));
        }
}

// Scores of blocks have the bits of tile_product on each, and stand in their places.
static void block_scores(void)
{
    enum { DEEP = 300, BLOCKS = 7, LDC = BLOCKS * LANES + 5 };
    kit_begin(6);
    float *a = normals(BLOCKS * DEEP * LANES, 1), *q = normals(DEEP * TILE_MAX, 1);
    static const uint32_t block[BLOCKS] = {3, 0, 6, 2, 5, 1, 4};
    for (size_t i = 0; i < 20 * kernels->tile; i++) {
        size_t rows = 1 + i / 20, depth = ONE_OF(1, 8, 10, 64, 80, 256, 257, 300), wrong = 0;
        size_t first = rng_below(&rng, BLOCKS), end = first + rng_below(&rng, BLOCKS - first) + 1;
        float expected[LDC * TILE_MAX], c[LDC * TILE_MAX];
        for (size_t n = 0; n < LDC * rows; n++)
            expected[n] = c[n] = 7;
        for (size_t b = first; b < end; b++)
            kernels->tile_product(rows, depth, a + block[b] * DEEP * LANES, LANES, q, DEEP, 1,
                                  expected + b * LANES, LDC, 0);
        kernels->score_blocks(rows, depth, first, end, a, DTYPE_F32, block, DEEP * LANES, q, DEEP,
                              c, LDC);
        for (size_t n = 0; n < LDC * rows; n++)
            wrong += memcmp(&c[n], &expected[n], sizeof *c) != 0;
        CHECK(wrong == 0);
    }
}

// n numbers rounded to bf16, in place, and as they are stored. To be freed.
static uint16_t *rounded(float *x, size_t n)
{
    uint16_t *half = malloc(n * sizeof *half);
    dtype_from_f32(half, x, DTYPE_BF16, n);
    dtype_to_f32(x, half, DTYPE_BF16, n);
    return half;
}

// Keys and values of bf16 give the bits of the same numbers in fp32.
static void half_blocks(void)
{
    enum { DEEP = 300, BLOCKS = 7, LDC = BLOCKS * LANES + 5, WIDE = 20, SIZE = DEEP * LANES };
    kit_begin(8);
    static const uint32_t block[BLOCKS] = {3, 0, 6, 2, 5, 1, 4};
    float *a = normals(BLOCKS * SIZE, 1), *b = normals(DEEP * TILE_MAX, 1);
    uint16_t *half = rounded(a, BLOCKS * SIZE);
    for (size_t rows = 1; rows <= kernels->tile; rows++)
        for (size_t end = 1; end <= BLOCKS; end++) {
            size_t first = rng_below(&rng, end), depth = ONE_OF(1, 8, 10, 64, 80, 256, 257, 300);
            float want[LDC * TILE_MAX] = {0}, got[LDC * TILE_MAX] = {0};
            kernels->score_blocks(rows, depth, first, end, a, DTYPE_F32, block, SIZE, b, DEEP, want,
                                  LDC);
            kernels->score_blocks(rows, depth, first, end, half, DTYPE_BF16, block, SIZE, b, DEEP,
                                  got, LDC);
            CHECK(same_bits("scores of bf16", got, want, rows * LDC));
            kernels->tile_blocks(rows, first, end, a, DTYPE_F32, block, SIZE, WIDE, b, DEEP, want,
                                 LDC);
            kernels->tile_blocks(rows, first, end, half, DTYPE_BF16, block, SIZE, WIDE, b, DEEP,
                                 got, LDC);
            CHECK(same_bits("values of bf16", got, want, rows * LDC));
            struct blocked wide = {a, DTYPE_F32, block, SIZE, 16, ONE_OF(1, 5, 8, 10, 24)};
            struct blocked narrow = wide;
            narrow.at = half;
            narrow.type = DTYPE_BF16;
            size_t column = (wide.dim - 1) / NARROW * NARROW;
            kernels->narrow(rows, end * 16, &wide, column, b, DEEP, 1, want, 0);
            kernels->narrow(rows, end * 16, &narrow, column, b, DEEP, 1, got, 0);
            CHECK(same_bits("half panels of bf16", got, want, rows * wide.dim));
        }
    free(half);
}

// Half a panel has the bits of a whole one that is padded, block after block; and what stands
// beside it stays.
static void narrow_products(void)
{
    enum { DEEP = 200, WIDE = 40 };
    kit_begin(7);
    static const uint32_t dealt[] = {9, 4, 7, 12, 0, 3, 11, 5, 1, 8, 2, 6, 10};
    float *b = normals(DEEP * DEEP, 1), *side = zeros(NARROW_ROWS * LANES);
    for (size_t i = 0; i < 60 * kernels->tile; i++) {
        struct blocked a = {.rows = ONE_OF(16, 64), .dim = ONE_OF(1, 5, 8, 10, 15, 24, WIDE)};
        size_t rows = 1 + i / 60, depth = 1 + rng_below(&rng, DEEP), wrong = 0;
        size_t column = a.dim / NARROW * NARROW == a.dim ? a.dim - NARROW : a.dim / NARROW * NARROW;
        size_t columns = a.dim - column, n_stride = i & 1 ? DEEP : 1, k_stride = i & 1 ? 1 : DEEP;
        int add = i / 2 % 2;
        a.block = i / 4 % 2 ? dealt : NULL;
        a.stride = a.rows * a.dim + (a.block ? 3 : 0);
        size_t size = 12 * a.stride + a.rows * a.dim; // not one more: an address sanitizer sees it
        float *at = memcpy(malloc(size * sizeof *at), normals(size, 1), size * sizeof *at);
        a.at = at;
        float expected[WIDE * TILE_MAX], c[WIDE * TILE_MAX], sum[LANES * TILE_MAX];
        for (size_t n = 0; n < WIDE * TILE_MAX; n++)
            expected[n] = c[n] = (float)rng_normal(&rng);
        for (size_t k = 0; k < depth; k += a.rows) {
            size_t count = depth - k < a.rows ? depth - k : a.rows, block = k / a.rows;
            for (size_t r = 0; r < count; r++)
                memcpy(side + r * LANES,
                       at + (a.block ? a.block[block] : block) * a.stride + r * a.dim + column,
                       columns * sizeof *side);
            kernels->tile_product(rows, count, side, LANES, b + k * k_stride, n_stride, k_stride,
                                  sum, LANES, 0);
            for (size_t n = 0; n < rows * columns; n++) {
                float *to = expected + n / columns * a.dim + column + n % columns;
                *to = (add || k ? *to : 0) + sum[n / columns * LANES + n % columns];
            }
        }
        kernels->narrow(rows, depth, &a, column, b, n_stride, k_stride, c, add);
        for (size_t n = 0; n < WIDE * TILE_MAX; n++)
            wrong += memcmp(&c[n], &expected[n], sizeof *c) != 0;
        CHECK(wrong == 0);
        free(at);
    }
}

// A whole panel's product has the bits of tile_product on each of its halves, and writes no more
// than its lanes.
static void panel_products(void)
{
    enum { DEEP = 600, LDA = 2 * LANES + 5, LDC = 2 * LANES + 3 };
    kit_begin(9);
    float *a = normals(DEEP * LDA, 1), *b = normals(DEEP * TILE_MAX, 1);
    for (size_t i = 0; i < 24 * kernels->tile; i++) {
        const struct arithmetic *o = &kernels->plain;
        size_t rows = 1 + i / 24, depth = ONE_OF(1, 2, 17, 255, 256, 257, 512, 600), wrong = 0;
        size_t lanes = i & 1 ? LANES : o->lanes, along = i >> 1 & 1;
        int add = (int)(i >> 2 & 1);
        size_t n_stride = along ? DEEP : 1, k_stride = along ? 1 : TILE_MAX;
        float expected[LDC * TILE_MAX], c[LDC * TILE_MAX];
        for (size_t n = 0; n < LDC * TILE_MAX; n++)
            expected[n] = c[n] = (float)rng_normal(&rng);
        for (size_t half = 0; half < lanes; half += LANES)
            kernels->tile_product(rows, depth, a + half, LDA, b, n_stride, k_stride,
                                  expected + half, LDC, add);
        o->product(rows, lanes, depth, a, LDA, b, n_stride, k_stride, c, LDC, add);
        for (size_t n = 0; n < LDC * TILE_MAX; n++)
            wrong += memcmp(&c[n], &expected[n], sizeof *c) != 0;
        CHECK(wrong == 0);
    }
}

// Panels from rows, of each type: every number in its place, zeros beside them.
static void panels_across(void)
{
    enum { DEEP = 9, PITCH = 103, MOST = 100 };
    static const enum dtype types[] = {DTYPE_F32, DTYPE_F16, DTYPE_BF16, DTYPE_F64};
    const struct arithmetic *o = &kernels->plain;
    kit_begin(11);
    float *rows = normals(DEEP * PITCH, 1), *value = zeros(DEEP * PITCH);
    void *stored = kit_alloc(DEEP * PITCH, sizeof(double));
    for (size_t i = 0; i < 200; i++) {
        enum dtype type = types[i % 4];
        size_t depth = 1 + i % DEEP, n = 1 + rng_below(&rng, MOST), lanes = i % 3 ? o->lanes : MOST;
        size_t apart = depth * lanes, panels = (n + lanes - 1) / lanes, wrong = 0;
        float *to = zeros(panels * apart + 1);
        for (size_t at = 0; at <= panels * apart; at++)
            to[at] = 7;
        dtype_from_f32(stored, rows, type, DEEP * PITCH);
        dtype_to_f32(value, stored, type, DEEP * PITCH);
        o->across(to, lanes, apart, stored, PITCH, type, depth, n);
        for (size_t at = 0; at < panels * apart; at++) {
            size_t k = at % apart / lanes, c = at / apart * lanes + at % lanes;
            wrong += to[at] != (c < n ? value[k * PITCH + c] : 0);
        }
        CHECK(wrong == 0 && to[panels * apart] == 7);
    }
}

// Few rows have the bits of tile_product, whatever the type of the weights and the depth; and what
// stands beside the results stays.
static void skinny_products(void)
{
    enum { DEEP = 600, PITCH = 613, LDC = BLOCK + 3 };
    static const enum dtype types[] = {DTYPE_F32, DTYPE_F16, DTYPE_BF16};
    kit_begin(5);
    float *plain = normals(BLOCK * PITCH, 1), *w = zeros(BLOCK * PITCH);
    float *x = normals(DEEP * TILE_MAX, 1), *turned = zeros(DEEP * TILE_MAX + NARROW);
    void *stored = kit_alloc(BLOCK * PITCH, sizeof(float));
    for (size_t i = 0; i < 24 * kernels->few; i++) {
        enum dtype type = types[i % 3];
        size_t rows = 1 + i / 24, wrong = 0,
               depth =
                   ONE_OF(1, 2, 15, 16, 17, 31, 32, 33, 64, 255, 256, 257, 512, 544, 575, 576, 600);
        float expected[LDC * TILE_MAX], c[LDC * TILE_MAX];
        if (type != DTYPE_F32 && rows > kernels->tile)
            continue;
        dtype_from_f32(stored, plain, type, BLOCK * PITCH);
        dtype_to_f32(w, stored, type, BLOCK * PITCH);
        for (size_t r = 0; r < rows; r++)
            for (size_t k = 0; k < depth; k++)
                turned[k * rows + r] = x[r * DEEP + k];
        for (size_t n = 0; n < LDC * rows; n++)
            expected[n] = c[n] = 7;
        for (size_t o = 0; o < BLOCK; o += LANES) {
            float *side = zeros(depth * LANES);
            kernels->transpose(side, LANES, w + o * PITCH, PITCH, LANES, depth);
            for (size_t r = 0, n; r < rows; r += n) {
                n = rows - r < kernels->tile ? rows - r : kernels->tile;
                kernels->tile_product(n, depth, side, LANES, x + r * DEEP, DEEP, 1,
                                      expected + r * LDC + o, LDC, 0);
            }
        }
        kernels->plain.skinny(rows, depth, turned, stored, type, PITCH, c, LDC);
        for (size_t n = 0; n < LDC * rows; n++)
            wrong += memcmp(&c[n], &expected[n], sizeof *c) != 0;
        CHECK(wrong == 0);
    }
}

// Sets agree with the plain one within rounding.
static void agrees(void)
{
    for (size_t n = 1; n < 70; n++) {
        kit_begin(n);
        float *g = normals(n, 2), *u = normals(n, 1), *d = normals(n, 1);
        float *a = zeros(n), *b = zeros(n), *da = zeros(n), *db = zeros(n), top, other;
        for (int k = 0; k < ACTIVATIONS; k++) {
            kernels->activate((enum activation)k, a, g, u, n);
            kernels_base.activate((enum activation)k, b, g, u, n);
            for (size_t i = 0; i < n; i++)
                CHECK_NEAR(a[i], b[i], 1e-6 * (1 + fabs(b[i])));
            memcpy(a, g, n * sizeof *a);
            memcpy(b, g, n * sizeof *b);
            memcpy(da, u, n * sizeof *da);
            memcpy(db, u, n * sizeof *db);
            kernels->activate_backward((enum activation)k, a, da, d, n);
            kernels_base.activate_backward((enum activation)k, b, db, d, n);
            for (size_t i = 0; i < n; i++) {
                CHECK_NEAR(a[i], b[i], 2e-6 * (1 + fabs(b[i])));
                CHECK_NEAR(da[i], db[i], 2e-6 * (1 + fabs(db[i])));
            }
        }
        CHECK_NEAR(kernels->sum(g, n), kernels_base.sum(g, n), 1e-12);
        CHECK_NEAR(kernels->squares_about(g, 0.5f, n), kernels_base.squares_about(g, 0.5f, n),
                   1e-4);
        CHECK(kernels->max(g, n) == kernels_base.max(g, n));
        CHECK_NEAR(kernels->dot(g, u, n), kernels_base.dot(g, u, n), 1e-5);
        CHECK_NEAR(kernels->sum_squares(g, n), kernels_base.sum_squares(g, n), 1e-4);
        double h, l = kernels->log_sum_exp(g, n, &top, &h), base_h;
        CHECK_NEAR(l, kernels_base.log_sum_exp(g, n, &other, &base_h), 1e-6);
        CHECK_NEAR(h, base_h, 2e-6);
        CHECK(top == other);
        CHECK_NEAR(l, kernels->log_sum_exp(g, n, &top, NULL), 0);
        double apart[2], base_apart[2], other_l = kernels->log_sum_exp(u, n, &other, NULL);
        kernels->divergence(g, u, n, (float)l, (float)other_l, apart);
        kernels_base.divergence(g, u, n, (float)l, (float)other_l, base_apart);
        CHECK_NEAR(apart[0], base_apart[0], 2e-6 * (1 + base_apart[0]));
        CHECK_NEAR(apart[1], base_apart[1], 2e-6 * (1 + base_apart[1]));
    }
}

// The fast conversion is the plain one bit for bit, from any place and to any length.
static void widens(void)
{
    static const enum dtype types[] = {DTYPE_F16, DTYPE_BF16};
    uint16_t *half = kit_alloc(65536, sizeof *half);
    float *fast = zeros(65536), *plain = zeros(65536);
    for (uint32_t i = 0; i < 65536; i++)
        half[i] = (uint16_t)(i * 40503u); // all patterns, neighbours unlike
    for (int t = 0; t < 2; t++) {
        dtype_to_f32(plain, half, types[t], 65536);
        kernels->widen(fast, half, types[t], 65536);
        CHECK(same_bits("widen", fast, plain, 65536));
        for (size_t n = 0; n < 40; n++) {
            fast[n] = 7;
            kernels->widen(fast, half + n, types[t], n);
            CHECK(same_bits("widen some", fast, plain + n, n) && fast[n] == 7);
        }
    }
}

static void transposes(void)
{
    enum { FROM = 41, TO = 43 };
    kit_begin(5);
    float *from = normals(FROM * FROM, 1), *to = zeros(TO * TO);
    for (size_t rows = 0; rows <= 37; rows++)
        for (size_t columns = 0; columns <= 37; columns++) {
            memset(to, 0, TO * TO * sizeof *to);
            kernels->transpose(to, TO, from, FROM, rows, columns);
            for (size_t c = 0; c < TO; c++)
                for (size_t r = 0; r < TO; r++)
                    CHECK(to[c * TO + r] == (r < rows && c < columns ? from[r * FROM + c] : 0));
        }
}

static void every_pattern(enum dtype type, uint32_t infinity)
{
    for (uint32_t i = 0; i < 65536; i++) {
        uint16_t half = (uint16_t)i, back;
        float value;
        dtype_to_f32(&value, &half, type, 1);
        dtype_from_f32(&back, &value, type, 1);
        if ((i & 0x7fff) > infinity)
            CHECK(isnan(value) && (back & 0x7fff) > infinity && (back & 0x8000) == (i & 0x8000));
        else
            CHECK(!isnan(value) && back == half);
    }
}

static void patterns_round_trip(void)
{
    every_pattern(DTYPE_F16, 0x7c00);
    every_pattern(DTYPE_BF16, 0x7f80);
    uint16_t half[] = {0x3c00, 0xc000, 0x0001, 0x7bff, 0x0400}, brain[] = {0x3f80, 0xc000, 0x0001};
    float value[5];
    dtype_to_f32(value, half, DTYPE_F16, 5);
    CHECK(value[0] == 1 && value[1] == -2 && value[2] == 0x1p-24f && value[3] == 65504 &&
          value[4] == 0x1p-14f);
    dtype_to_f32(value, brain, DTYPE_BF16, 3);
    CHECK(value[0] == 1 && value[1] == -2 && value[2] == 0x1p-133f);
}

// The nearest number with `digits` binary digits (ties to even), least exponent `least` and
// largest value `most`.
static double nearest(double value, int digits, int least, double most)
{
    if (value == 0 || !isfinite(value))
        return value;
    int exponent = ilogb(value) > least ? ilogb(value) : least;
    double rounded = ldexp(nearbyint(ldexp(value, digits - 1 - exponent)), exponent - digits + 1);
    return fabs(rounded) > most ? copysign(INFINITY, value) : rounded;
}

static void rounds_to_nearest(float value)
{
    uint16_t half, brain;
    float back;
    dtype_from_f32(&half, &value, DTYPE_F16, 1);
    dtype_to_f32(&back, &half, DTYPE_F16, 1);
    CHECK(isnan(value) ? isnan(back) : back == nearest(value, 11, -14, 65504));
    CHECK(!signbit(back) == !signbit(value));
    dtype_from_f32(&brain, &value, DTYPE_BF16, 1);
    dtype_to_f32(&back, &brain, DTYPE_BF16, 1);
    CHECK(isnan(value) ? isnan(back) : back == nearest(value, 8, -126, 0x1.fep127));
    CHECK(!signbit(back) == !signbit(value));
}

static void conversion_rounds(void)
{
    for (uint64_t bits = 0; bits < (uint64_t)1 << 32 && !test_failed; bits += 4099)
        rounds_to_nearest(from_bits((uint32_t)bits));
    // At and beside the middle between two neighbours, in either type.
    for (uint32_t i = 0; i < 65535 && !test_failed; i++) {
        uint16_t pair[] = {(uint16_t)i, (uint16_t)(i + 1)};
        for (int t = 0; t < 2; t++) {
            float value[2];
            dtype_to_f32(value, pair, t ? DTYPE_F16 : DTYPE_BF16, 2);
            float middle = (float)(((double)value[0] + value[1]) / 2);
            rounds_to_nearest(middle);
            rounds_to_nearest(nextafterf(middle, INFINITY));
            rounds_to_nearest(nextafterf(middle, -INFINITY));
        }
    }
}

static void tests_of_set(void)
{
    kernels = device.backend;
    run_named("exp is accurate", exp_is_accurate);
    run_named("exp has ends", exp_has_ends);
    run_named("exp keeps NaN", exp_keeps_nan);
    run_named("tanh is accurate", tanh_is_accurate);
    run_named("activations are accurate", activations_are_accurate);
    run_named("tiles", tiles);
    run_named("products of panels", panel_products);
    run_named("panels of rows", panels_across);
    run_named("tiles over blocks", block_tiles);
    run_named("scores over blocks", block_scores);
    run_named("half panels", narrow_products);
    run_named("blocks of bf16", half_blocks);
    run_named("few rows", skinny_products);
    run_named("widens", widens);
    run_named("transposes", transposes);
    run_named("agrees with base", agrees);
}

int main(void)
{
    arena_init(&memory);
    RUN(patterns_round_trip);
    RUN(conversion_rounds);
    each_set(tests_of_set);
    arena_release(&memory);
    return test_end();
}
