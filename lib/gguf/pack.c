// SPDX-License-Identifier: MIT
#include "gguf/pack.h"
#include "ops/tensor.h"

#include <assert.h>
#include <math.h>
#include <string.h>

enum { GRIDS_WITH_MINIMUM = 21, GRIDS_AROUND_ZERO = 19, PART = 32, SMALL_PART = 16 };
static const float tiny = 1e-15f; // what is smaller is 0

// The largest number stands for those beyond.
static void put_half(unsigned char *to, float x)
{
    float near = fmaxf(-65504, fminf(x, 65504));
    dtype_from_f32(to, &near, DTYPE_F16, 1);
}

static float get_half(const unsigned char *from)
{
    float x;
    dtype_to_f32(&x, from, DTYPE_F16, 1);
    return x;
}

static int clamp(int x, int low, int high)
{
    return x < low ? low : x > high ? high : x;
}

// The nearest whole number, ties to even, of a number that may be far out of range.
static int nearest(float x, int low, int high)
{
    return x <= (float)low ? low : x >= (float)high ? high : (int)rintf(x);
}

static void make_finite(float *to, const float *from, size_t n)
{
    for (size_t i = 0; i < n; i++)
        to[i] = isfinite(from[i]) ? from[i] : 0;
}

// ---- blocks of 32 ----

static void pack_q8_0(unsigned char *to, const float *x)
{
    float most = 0;
    for (int i = 0; i < GGUF_BLOCK; i++)
        most = fmaxf(most, fabsf(x[i]));
    float scale = most / 127, inverse = scale != 0 ? 1 / scale : 0;
    put_half(to, scale);
    for (int i = 0; i < GGUF_BLOCK; i++)
        to[2 + i] = (unsigned char)(int8_t)clamp((int)roundf(x[i] * inverse), -128, 127);
}

// Value i is in the low half of byte i, or the high half of byte i - 16; its fifth bit is bit i.
static void put_fives(unsigned char *bits, unsigned char *packed, const int level[GGUF_BLOCK])
{
    memset(bits, 0, 4);
    for (int i = 0; i < GGUF_BLOCK / 2; i++)
        packed[i] = (unsigned char)((level[i] & 15) | (level[i + GGUF_BLOCK / 2] & 15) << 4);
    for (int i = 0; i < GGUF_BLOCK; i++)
        bits[i / 8] |= (unsigned char)(level[i] >> 4 << i % 8);
}

static void pack_q5_0(unsigned char *to, const float *x)
{
    float farthest = 0;
    int level[GGUF_BLOCK];
    for (int i = 0; i < GGUF_BLOCK; i++)
        if (fabsf(x[i]) > fabsf(farthest))
            farthest = x[i];
    float scale = farthest / -16, inverse = scale != 0 ? 1 / scale : 0;
    put_half(to, scale);
    for (int i = 0; i < GGUF_BLOCK; i++)
        level[i] = clamp((int)(x[i] * inverse + 16.5f), 0, 31);
    put_fives(to + 2, to + 6, level);
}

static void pack_q5_1(unsigned char *to, const float *x)
{
    float least = x[0], most = x[0];
    int level[GGUF_BLOCK];
    for (int i = 1; i < GGUF_BLOCK; i++) {
        least = fminf(least, x[i]);
        most = fmaxf(most, x[i]);
    }
    float scale = (most - least) / 31, inverse = scale != 0 ? 1 / scale : 0;
    put_half(to, scale);
    put_half(to + 2, least);
    for (int i = 0; i < GGUF_BLOCK; i++)
        level[i] = clamp((int)((x[i] - least) * inverse + 0.5f), 0, 31);
    put_fives(to + 4, to + 8, level);
}

// ---- super-blocks with minima ----

// x ~ scale * level - minimum.
struct fit {
    float scale, minimum;
};

// The scale and minimum of least weighted square error for given levels; the minimum is not below
// 0.
static struct fit solve(const float *x, const float *weight, const int *level)
{
    double w = 0, wl = 0, wll = 0, wx = 0, wxl = 0;
    for (int i = 0; i < PART; i++) {
        double a = (double)weight[i], l = level[i];
        w += a;
        wl += a * l;
        wll += a * l * l;
        wx += a * (double)x[i];
        wxl += a * l * (double)x[i];
    }
    double d = w * wll - wl * wl;
    if (!(d > 0))
        return (struct fit){0, 0};
    double minimum = (wl * wxl - wll * wx) / d;
    if (minimum < 0)
        return (struct fit){(float)(wll > 0 ? wxl / wll : 0), 0};
    return (struct fit){(float)((w * wxl - wl * wx) / d), (float)minimum};
}

static double error_of(const float *x, const float *weight, const int *level, struct fit f)
{
    double sum = 0;
    for (int i = 0; i < PART; i++) {
        double off = (double)(f.scale * (float)level[i] - f.minimum - x[i]);
        sum += (double)weight[i] * off * off;
    }
    return sum;
}

// Over grids of `most` levels and up to one more or less, from the best minimum so far on: large
// values count more.
static struct fit fit_part(const float *x, int most)
{
    float least = 0, greatest = 0, weight[PART], mean = 0;
    int level[PART];
    for (int i = 0; i < PART; i++) {
        least = fminf(least, x[i]);
        greatest = fmaxf(greatest, x[i]);
        mean += x[i] * x[i] / PART;
    }
    for (int i = 0; i < PART; i++)
        weight[i] = sqrtf(mean) + fabsf(x[i]);
    struct fit best = {(greatest - least) / (float)most, -least};
    double least_error = HUGE_VAL;
    if (!(greatest - least > tiny))
        return (struct fit){0, -least};
    for (int g = -1; g < GRIDS_WITH_MINIMUM && greatest + best.minimum > tiny; g++) {
        float steps = g < 0 ? (float)most : (float)most - 1 + 0.1f * (float)g;
        for (int i = 0; i < PART; i++)
            level[i] = nearest(steps / (greatest + best.minimum) * (x[i] + best.minimum), 0, most);
        struct fit f = g < 0 ? best : solve(x, weight, level);
        double error = error_of(x, weight, level, f);
        if (error < least_error && f.scale >= 0) {
            least_error = error;
            best = f;
        }
    }
    return best;
}

// Six bits each for scale and minimum j.
static void put_scale(unsigned char *packed, int j, int scale, int minimum)
{
    if (j < 4) {
        packed[j] |= (unsigned char)scale;
        packed[4 + j] |= (unsigned char)minimum;
        return;
    }
    packed[4 + j] |= (unsigned char)((scale & 15) | (minimum & 15) << 4);
    packed[j - 4] |= (unsigned char)(scale >> 4 << 6);
    packed[j] |= (unsigned char)(minimum >> 4 << 6);
}

// d, dmin, scales [12]; bits [32] where there is a fifth; values [128].
static void pack_with_minima(unsigned char *to, const float *x, int most)
{
    struct fit fit[GGUF_SUPER / PART];
    float scale = 0, minimum = 0;
    for (int j = 0; j < GGUF_SUPER / PART; j++) {
        fit[j] = fit_part(x + j * PART, most);
        scale = fmaxf(scale, fit[j].scale);
        minimum = fmaxf(minimum, fit[j].minimum);
    }
    memset(to, 0, most > 15 ? 176 : 144);
    put_half(to, scale / 63);
    put_half(to + 2, minimum / 63);
    float d = get_half(to), dmin = get_half(to + 2);
    unsigned char *bits = to + 16, *values = most > 15 ? to + 48 : to + 16;
    for (int j = 0; j < GGUF_SUPER / PART; j++) {
        int s = scale > 0 ? nearest(63 / scale * fit[j].scale, 0, 63) : 0;
        int m = minimum > 0 ? nearest(63 / minimum * fit[j].minimum, 0, 63) : 0;
        float step = d * (float)s;
        put_scale(to + 4, j, s, m);
        for (int i = 0; i < PART; i++) {
            int at = j * PART + i;
            int level = step > 0 ? nearest((x[at] + dmin * (float)m) / step, 0, most) : 0;
            values[at / 64 * 32 + at % 32] |= (unsigned char)((level & 15) << at % 64 / 32 * 4);
            if (most > 15)
                bits[at % 32] |= (unsigned char)(level >> 4 << at / 32);
        }
    }
}

// ---- Q6_K ----

// The scale of least square error, weighted by x^2, over grids of 32 levels and up to one more or
// less on the side of the farthest value.
static float fit_around_zero(const float *x)
{
    float farthest = 0, best = 0;
    double most = 0;
    for (int i = 0; i < SMALL_PART; i++)
        if (fabsf(x[i]) > fabsf(farthest))
            farthest = x[i];
    if (fabsf(farthest) < tiny)
        return 0;
    for (int g = 0; g < GRIDS_AROUND_ZERO; g++) {
        int wider = g - GRIDS_AROUND_ZERO / 2;
        float steps = -(32 + 0.1f * (float)wider) / farthest;
        double xl = 0, ll = 0;
        for (int i = 0; i < SMALL_PART; i++) {
            double l = nearest(steps * x[i], -32, 31), w = (double)(x[i] * x[i]);
            xl += w * (double)x[i] * l;
            ll += w * l * l;
        }
        if (ll > 0 && xl * xl / ll > most) {
            most = xl * xl / ll;
            best = (float)(xl / ll);
        }
    }
    return best;
}

// low [128], high [64], scales [16], d.
static void pack_q6_k(unsigned char *to, const float *x)
{
    float scale[GGUF_SUPER / SMALL_PART], farthest = 0;
    for (int j = 0; j < GGUF_SUPER / SMALL_PART; j++) {
        scale[j] = fit_around_zero(x + j * SMALL_PART);
        if (fabsf(scale[j]) > fabsf(farthest))
            farthest = scale[j];
    }
    memset(to, 0, 210);
    if (fabsf(farthest) < tiny)
        return;
    put_half(to + 208, farthest / -128);
    float d = get_half(to + 208);
    for (int j = 0; j < GGUF_SUPER / SMALL_PART; j++) {
        int s = nearest(-128 / farthest * scale[j], -128, 127);
        to[192 + j] = (unsigned char)(int8_t)s;
        for (int i = j * SMALL_PART; i < (j + 1) * SMALL_PART; i++) {
            float step = d * (float)s;
            int level = step != 0 ? nearest(x[i] / step, -32, 31) + 32 : 32;
            to[i / 128 * 64 + i % 64] |= (unsigned char)((level & 15) << i % 128 / 64 * 4);
            to[128 + i / 128 * 32 + i % 32] |= (unsigned char)(level >> 4 << i % 128 / 32 * 2);
        }
    }
}

static void pack_block(enum gguf_type type, unsigned char *to, const float *x)
{
    switch (type) {
    case GGUF_Q8_0:
        pack_q8_0(to, x);
        break;
    case GGUF_Q5_0:
        pack_q5_0(to, x);
        break;
    case GGUF_Q5_1:
        pack_q5_1(to, x);
        break;
    case GGUF_Q4_K:
        pack_with_minima(to, x, 15);
        break;
    case GGUF_Q5_K:
        pack_with_minima(to, x, 31);
        break;
    default:
        assert(type == GGUF_Q6_K);
        pack_q6_k(to, x);
    }
}

void pack_blocks(enum gguf_type type, unsigned char *to, const float *from, size_t n)
{
    const struct block_type *t = block_type(type);
    float x[GGUF_SUPER];
    if (type == GGUF_F32 || type == GGUF_F16 || type == GGUF_BF16) {
        dtype_from_f32(to, from,
                       type == GGUF_F32   ? DTYPE_F32
                       : type == GGUF_F16 ? DTYPE_F16
                                          : DTYPE_BF16,
                       n);
        return;
    }
    for (size_t at = 0; at < n; at += t->values, to += t->bytes) {
        make_finite(x, from + at, t->values);
        pack_block(type, to, x);
    }
}
