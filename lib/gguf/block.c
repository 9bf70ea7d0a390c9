// SPDX-License-Identifier: MIT
#include "gguf/block.h"
#include "ops/tensor.h"

#include <stdio.h>

static float half(const unsigned char *from)
{
    float x;
    dtype_to_f32(&x, from, DTYPE_F16, 1);
    return x;
}

static void unpack_f32(float *to, const unsigned char *from, size_t n)
{
    dtype_to_f32(to, from, DTYPE_F32, n);
}

static void unpack_f16(float *to, const unsigned char *from, size_t n)
{
    dtype_to_f32(to, from, DTYPE_F16, n);
}

static void unpack_bf16(float *to, const unsigned char *from, size_t n)
{
    dtype_to_f32(to, from, DTYPE_BF16, n);
}

// Of the blocks of 32, byte i holds value i in its low half and value 16 + i in its high one.
static int low_high(const unsigned char *packed, int i)
{
    return i < GGUF_BLOCK / 2 ? packed[i] & 15 : packed[i - GGUF_BLOCK / 2] >> 4;
}

// And bit i of the four bytes is the fifth of value i.
static int fifth(const unsigned char *bits, int i)
{
    return bits[i / 8] >> i % 8 & 1;
}

static void unpack_q4_0(float *to, const unsigned char *from, size_t n)
{
    for (size_t at = 0; at < n; at += GGUF_BLOCK, from += 18) {
        float scale = half(from);
        for (int i = 0; i < GGUF_BLOCK; i++)
            to[at + (size_t)i] = scale * (float)(low_high(from + 2, i) - 8);
    }
}

static void unpack_q4_1(float *to, const unsigned char *from, size_t n)
{
    for (size_t at = 0; at < n; at += GGUF_BLOCK, from += 20) {
        float scale = half(from), least = half(from + 2);
        for (int i = 0; i < GGUF_BLOCK; i++)
            to[at + (size_t)i] = scale * (float)low_high(from + 4, i) + least;
    }
}

static void unpack_q5_0(float *to, const unsigned char *from, size_t n)
{
    for (size_t at = 0; at < n; at += GGUF_BLOCK, from += 22) {
        float scale = half(from);
        for (int i = 0; i < GGUF_BLOCK; i++)
            to[at + (size_t)i] =
                scale * (float)((low_high(from + 6, i) | fifth(from + 2, i) << 4) - 16);
    }
}

static void unpack_q5_1(float *to, const unsigned char *from, size_t n)
{
    for (size_t at = 0; at < n; at += GGUF_BLOCK, from += 24) {
        float scale = half(from), least = half(from + 2);
        for (int i = 0; i < GGUF_BLOCK; i++)
            to[at + (size_t)i] =
                scale * (float)(low_high(from + 8, i) | fifth(from + 4, i) << 4) + least;
    }
}

static void unpack_q8_0(float *to, const unsigned char *from, size_t n)
{
    for (size_t at = 0; at < n; at += GGUF_BLOCK, from += 34) {
        float scale = half(from);
        for (int i = 0; i < GGUF_BLOCK; i++)
            to[at + (size_t)i] = (float)(int8_t)from[2 + i] * scale;
    }
}

static void unpack_iq4_nl(float *to, const unsigned char *from, size_t n)
{
    static const int8_t level[16] = {-127, -104, -83, -65, -49, -35, -22, -10,
                                     1,    13,   25,  38,  53,  69,  89,  113};
    for (size_t at = 0; at < n; at += GGUF_BLOCK, from += 18) {
        float scale = half(from);
        for (int i = 0; i < GGUF_BLOCK; i++)
            to[at + (size_t)i] = scale * (float)level[low_high(from + 2, i)];
    }
}

// Two bits of each value of a super-block: 128 values lie in 32 bytes, 32 of them in the lowest
// bits, the next in those above.
static int two_bits(const unsigned char *packed, int i)
{
    return packed[i / 128 * 32 + i % 32] >> i % 128 / 32 * 2 & 3;
}

// scales [16]: scale in the low half, minimum in the high one; values [64]; d, dmin.
static void unpack_q2_k(float *to, const unsigned char *from, size_t n)
{
    for (size_t at = 0; at < n; at += GGUF_SUPER, from += 84) {
        float d = half(from + 80), dmin = half(from + 82);
        for (int i = 0; i < GGUF_SUPER; i++) {
            int scales = from[i / 16];
            to[at + (size_t)i] = d * (float)(scales & 15) * (float)two_bits(from + 16, i) -
                                 dmin * (float)(scales >> 4);
        }
    }
}

// Scale j of 16: four low bits in eight bytes, two high bits in the four behind.
static int q3_scale(const unsigned char *packed, int j)
{
    int low = packed[j % 8] >> j / 8 * 4 & 15, high = packed[8 + j % 4] >> j / 4 * 2 & 3;
    return (low | high << 4) - 32;
}

// mask [32]: bit i / 32 of byte i % 32, where it is not set 4 is taken off; values [64]; scales
// [12]; d.
static void unpack_q3_k(float *to, const unsigned char *from, size_t n)
{
    for (size_t at = 0; at < n; at += GGUF_SUPER, from += 110) {
        float d = half(from + 108);
        for (int i = 0; i < GGUF_SUPER; i++) {
            int above = from[i % 32] >> i / 32 & 1;
            to[at + (size_t)i] = d * (float)q3_scale(from + 96, i / 16) *
                                 (float)(two_bits(from + 32, i) - (above ? 0 : 4));
        }
    }
}

// Scale and minimum j of 8, six bits each in twelve bytes.
static void q4_scale(const unsigned char *packed, int j, int *scale, int *least)
{
    if (j < 4) {
        *scale = packed[j] & 63;
        *least = packed[4 + j] & 63;
        return;
    }
    *scale = (packed[4 + j] & 15) | packed[j - 4] >> 6 << 4;
    *least = packed[4 + j] >> 4 | packed[j] >> 6 << 4;
}

// Four bits of value i: 64 values in 32 bytes, the first 32 in the low halves.
static int four_bits(const unsigned char *packed, int i)
{
    return packed[i / 64 * 32 + i % 32] >> i % 64 / 32 * 4 & 15;
}

// d, dmin, scales [12], then bits [32] of Q5_K (bit i / 32 of byte i % 32), values [128].
static void unpack_with_minima(float *to, const unsigned char *from, size_t n,
                               const unsigned char *fifth_bits, const unsigned char *packed,
                               size_t bytes)
{
    for (size_t at = 0; at < n; at += GGUF_SUPER, from += bytes, packed += bytes) {
        float d = half(from), dmin = half(from + 2);
        for (int i = 0; i < GGUF_SUPER; i++) {
            int scale, least, value = four_bits(packed, i);
            q4_scale(from + 4, i / 32, &scale, &least);
            if (fifth_bits)
                value |= (fifth_bits[i % 32] >> i / 32 & 1) << 4;
            to[at + (size_t)i] = d * (float)scale * (float)value - dmin * (float)least;
        }
        if (fifth_bits)
            fifth_bits += bytes;
    }
}

static void unpack_q4_k(float *to, const unsigned char *from, size_t n)
{
    unpack_with_minima(to, from, n, NULL, from + 16, 144);
}

static void unpack_q5_k(float *to, const unsigned char *from, size_t n)
{
    unpack_with_minima(to, from, n, from + 16, from + 48, 176);
}

// low [128]: 128 values in 64 bytes, the first 64 in the low halves; high [64]; scales [16]; d.
static void unpack_q6_k(float *to, const unsigned char *from, size_t n)
{
    for (size_t at = 0; at < n; at += GGUF_SUPER, from += 210) {
        float d = half(from + 208);
        for (int i = 0; i < GGUF_SUPER; i++) {
            int low = from[i / 128 * 64 + i % 64] >> i % 128 / 64 * 4 & 15;
            int value = (low | two_bits(from + 128, i) << 4) - 32;
            to[at + (size_t)i] = d * (float)(int8_t)from[192 + i / 16] * (float)value;
        }
    }
}

static const struct block_type types[GGUF_TYPES] = {
    [GGUF_F32] = {"F32", 1, 4, unpack_f32},
    [GGUF_F16] = {"F16", 1, 2, unpack_f16},
    [GGUF_BF16] = {"BF16", 1, 2, unpack_bf16},
    [GGUF_Q8_0] = {"Q8_0", GGUF_BLOCK, 34, unpack_q8_0},
    [GGUF_Q4_0] = {"Q4_0", GGUF_BLOCK, 18, unpack_q4_0},
    [GGUF_Q4_1] = {"Q4_1", GGUF_BLOCK, 20, unpack_q4_1},
    [GGUF_Q5_0] = {"Q5_0", GGUF_BLOCK, 22, unpack_q5_0},
    [GGUF_Q5_1] = {"Q5_1", GGUF_BLOCK, 24, unpack_q5_1},
    [GGUF_Q2_K] = {"Q2_K", GGUF_SUPER, 84, unpack_q2_k},
    [GGUF_Q3_K] = {"Q3_K", GGUF_SUPER, 110, unpack_q3_k},
    [GGUF_Q4_K] = {"Q4_K", GGUF_SUPER, 144, unpack_q4_k},
    [GGUF_Q5_K] = {"Q5_K", GGUF_SUPER, 176, unpack_q5_k},
    [GGUF_Q6_K] = {"Q6_K", GGUF_SUPER, 210, unpack_q6_k},
    [GGUF_IQ4_NL] = {"IQ4_NL", GGUF_BLOCK, 18, unpack_iq4_nl},
    // Known by name and size.
    [9] = {"Q8_1", GGUF_BLOCK, 40, NULL},
    [15] = {"Q8_K", GGUF_SUPER, 292, NULL},
    [16] = {"IQ2_XXS", GGUF_SUPER, 66, NULL},
    [17] = {"IQ2_XS", GGUF_SUPER, 74, NULL},
    [18] = {"IQ3_XXS", GGUF_SUPER, 98, NULL},
    [19] = {"IQ1_S", GGUF_SUPER, 50, NULL},
    [21] = {"IQ3_S", GGUF_SUPER, 110, NULL},
    [22] = {"IQ2_S", GGUF_SUPER, 82, NULL},
    [23] = {"IQ4_XS", GGUF_SUPER, 136, NULL},
    [24] = {"I8", 1, 1, NULL},
    [25] = {"I16", 1, 2, NULL},
    [26] = {"I32", 1, 4, NULL},
    [27] = {"I64", 1, 8, NULL},
    [28] = {"F64", 1, 8, NULL},
    [29] = {"IQ1_M", GGUF_SUPER, 56, NULL},
    [34] = {"TQ1_0", GGUF_SUPER, 54, NULL},
    [35] = {"TQ2_0", GGUF_SUPER, 66, NULL},
    [39] = {"MXFP4", GGUF_BLOCK, 17, NULL},
    [40] = {"NVFP4", 64, 36, NULL},
    [41] = {"Q1_0", 128, 18, NULL},
};

const struct block_type *block_type(uint32_t type)
{
    return type < GGUF_TYPES && types[type].name ? &types[type] : NULL;
}

const char *block_list(char *out, size_t size)
{
    size_t used = 0;
    for (int i = 0; i < GGUF_TYPES && used < size; i++)
        if (types[i].unpack)
            used +=
                (size_t)snprintf(out + used, size - used, "%s%s", used ? ", " : "", types[i].name);
    return out;
}
