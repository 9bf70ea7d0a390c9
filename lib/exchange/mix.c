// SPDX-License-Identifier: MIT
#include "exchange/mix.h"

#include <string.h>

static const struct type_mix mixes[] = {{"f32", 0, GGUF_F32},
                                        {"f16", 1, GGUF_F16},
                                        {"bf16", 32, GGUF_BF16},
                                        {"q8_0", 7, GGUF_Q8_0},
                                        {"q4_k_m", 15, GGUF_Q4_K}};

const struct type_mix *mix_find(const char *name, struct err *e)
{
    for (size_t i = 0; i < sizeof mixes / sizeof *mixes; i++)
        if (!strcmp(mixes[i].name, name))
            return &mixes[i];
    err_set(e, STATUS_USAGE, "--type: '%s' is not one of f32, f16, bf16, q8_0, q4_k_m", name);
    return NULL;
}

// The layers at both ends, and each third between.
static int has_more_bits(size_t layer, size_t layers)
{
    return layer < layers / 8 || layer >= 7 * layers / 8 || (layer - layers / 8) % 3 == 2;
}

static int is_falcon(const struct layout *l)
{
    return !strcmp(l->a->name, "falcon");
}

static enum gguf_type mixed_type(const struct layout *l, size_t layer)
{
    size_t layers = l->config->layers;
    int more = has_more_bits(layer, layers), tied = l->config->tied || l->a->always_tied;
    switch (l->role) {
    case ROLE_HEAD:
        return is_falcon(l) || l->cols % GGUF_SUPER ? GGUF_Q8_0 : GGUF_Q6_K;
    case ROLE_EMBEDDING:
        return !tied ? GGUF_Q4_K : is_falcon(l) || l->cols % GGUF_SUPER ? GGUF_Q8_0 : GGUF_Q6_K;
    case ROLE_VALUE: // 80 layers: a model of 70B, whose heads share each eight
        if (!more && layers == 80 && !strcmp(l->a->name, "llama"))
            return GGUF_Q5_K;
        return more ? GGUF_Q6_K : GGUF_Q4_K;
    case ROLE_QKV:
        return more ? GGUF_Q6_K : GGUF_Q4_K;
    case ROLE_DOWN:
        if (is_falcon(l))
            return layer < layers / 16 ? GGUF_Q6_K : more ? GGUF_Q5_K : GGUF_Q4_K;
        return more ? GGUF_Q6_K : GGUF_Q4_K;
    default:
        return GGUF_Q4_K;
    }
}

// Rows that are no whole blocks.
static enum gguf_type fall_back(enum gguf_type type, size_t cols)
{
    if (cols % block_type(type)->values)
        type = type == GGUF_Q4_K   ? GGUF_Q5_0
               : type == GGUF_Q5_K ? GGUF_Q5_1
               : type == GGUF_Q6_K ? GGUF_Q8_0
                                   : GGUF_F16;
    return cols % block_type(type)->values ? GGUF_F16 : type;
}

enum gguf_type mix_type(const struct type_mix *m, const struct layout *l, size_t layer)
{
    if (l->n_dims < 2 || family_is_norm(l->role) || l->role == ROLE_POSITIONS)
        return GGUF_F32;
    return fall_back(m->most == GGUF_Q4_K ? mixed_type(l, layer) : m->most, l->cols);
}
