// SPDX-License-Identifier: MIT
#include "ops/tensor.h"

#include <assert.h>
#include <string.h>

size_t dtype_size(enum dtype type)
{
    return type == DTYPE_F64 ? 8 : type == DTYPE_F32 ? 4 : 2;
}

const char *dtype_name(enum dtype type)
{
    static const char *const names[] = {"F32", "F16", "BF16", "F64"};
    return names[type];
}

static float f16_to_f32(uint16_t h)
{
    uint32_t sign = (uint32_t)(h & 0x8000) << 16;
    uint32_t exponent = h >> 10 & 31, fraction = h & 0x3ff, bits;
    if (exponent == 31) {
        bits = sign | 0x7f800000u | fraction << 13;
    } else if (exponent) {
        bits = sign | (exponent + 112) << 23 | fraction << 13;
    } else {
        float value = (float)fraction * 0x1p-24f;
        memcpy(&bits, &value, 4);
        bits |= sign;
    }
    float out;
    memcpy(&out, &bits, 4);
    return out;
}

static uint16_t f16_from_f32(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, 4);
    uint32_t sign = bits >> 16 & 0x8000;
    uint32_t magnitude = bits & 0x7fffffff;
    if (magnitude > 0x7f800000)
        return (uint16_t)(sign | 0x7e00);
    if (magnitude >= 0x477ff000) // rounds to infinity
        return (uint16_t)(sign | 0x7c00);
    if (magnitude < 0x38800000) { // subnormal: let the addition of 2^-1 round
        float f;
        memcpy(&f, &magnitude, 4);
        f += 0.5f;
        memcpy(&magnitude, &f, 4);
        return (uint16_t)(sign | (magnitude - 0x3f000000));
    }
    uint32_t rounded = magnitude + 0xfff + (magnitude >> 13 & 1);
    return (uint16_t)(sign | (rounded - 0x38000000) >> 13);
}

static float bf16_to_f32(uint16_t h)
{
    uint32_t bits = (uint32_t)h << 16;
    float out;
    memcpy(&out, &bits, 4);
    return out;
}

static uint16_t bf16_from_f32(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, 4);
    if ((bits & 0x7fffffff) > 0x7f800000)
        return (uint16_t)(bits >> 16 | 0x40);
    return (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

void dtype_to_f32(float *to, const void *from, enum dtype type, size_t n)
{
    assert(from != to || dtype_size(type) == sizeof *to);
    const unsigned char *bytes = from;
    uint16_t half;
    double wide;
    switch (type) {
    case DTYPE_F32:
        memmove(to, from, n * 4);
        break;
    case DTYPE_F16:
        for (size_t i = 0; i < n; i++) {
            memcpy(&half, bytes + 2 * i, 2);
            to[i] = f16_to_f32(half);
        }
        break;
    case DTYPE_BF16:
        for (size_t i = 0; i < n; i++) {
            memcpy(&half, bytes + 2 * i, 2);
            to[i] = bf16_to_f32(half);
        }
        break;
    case DTYPE_F64:
        for (size_t i = 0; i < n; i++) {
            memcpy(&wide, bytes + 8 * i, 8);
            to[i] = (float)wide;
        }
        break;
    }
}

void dtype_from_f32(void *to, const float *from, enum dtype type, size_t n)
{
    assert(to != from || dtype_size(type) == sizeof *from);
    uint16_t *half = to;
    switch (type) {
    case DTYPE_F32:
        memmove(to, from, n * 4);
        break;
    case DTYPE_F16:
        for (size_t i = 0; i < n; i++)
            half[i] = f16_from_f32(from[i]);
        break;
    case DTYPE_BF16:
        for (size_t i = 0; i < n; i++)
            half[i] = bf16_from_f32(from[i]);
        break;
    case DTYPE_F64:
        for (size_t i = 0; i < n; i++)
            ((double *)to)[i] = from[i];
        break;
    }
}
