// SPDX-License-Identifier: MIT
#include "exchange/architecture.h"
#include "exchange/own_keys.h"

#include <stdio.h>
#include <string.h>

static const char silu[] = "silu", gelu[] = "gelu_pytorch_tanh", relu2[] = "relu2";

static const struct architecture rows[] = {
    {.name = "arcee", .model_type = "arcee", .activation = relu2, .permuted = 1, .frequencies = 1},
    {.name = "chatglm", .model_type = "glm", .square = 1, .activation = silu},
    {.name = "cohere2",
     .model_type = "cohere2",
     .square = 1,
     .activation = silu,
     .always_tied = 1,
     .pattern = 4,
     .read = own_read_logit_scale,
     .tell = own_tell_logit_scale},
    {.name = "command-r",
     .model_type = "cohere",
     .square = 1,
     .activation = silu,
     .always_tied = 1,
     .read = own_read_logit_scale,
     .tell = own_tell_cohere},
    {.name = "ernie4_5", .model_type = "ernie4_5", .activation = silu, .out_bias = 1},
    {.name = "exaone4",
     .model_type = "exaone4",
     .square = 1,
     .activation = silu,
     .frequencies = 1,
     .pattern = 4,
     .windowed_layers = 64},
    {.name = "falcon",
     .model_type = "falcon",
     .square = 1,
     .activation = "gelu",
     .read = own_read_falcon,
     .tell = own_tell_falcon},
    // With a norm each before attention and MLP.
    {.name = "falcon",
     .model_type = "falcon",
     .square = 1,
     .activation = "gelu",
     .change = {{ROLE_ATTENTION_NORM, "blk.%d.attn_norm_2.weight"},
                {ROLE_ATTENTION_NORM_BIAS, "blk.%d.attn_norm_2.bias"},
                {ROLE_MLP_NORM, "blk.%d.attn_norm.weight"},
                {ROLE_MLP_NORM_BIAS, "blk.%d.attn_norm.bias"}},
     .read = own_read_falcon,
     .tell = own_tell_falcon},
    {.name = "gemma", .model_type = "gemma", .activation = gelu, .always_tied = 1},
    {.name = "gemma2",
     .model_type = "gemma2",
     .activation = gelu,
     .always_tied = 1,
     .pattern = 2,
     .wide_queries = 46,
     .read = own_read_gemma2,
     .tell = own_tell_softcaps},
    {.name = "gemma3",
     .model_type = "gemma3_text",
     .activation = gelu,
     .pattern = 6,
     .wide_queries = 62,
     .read = own_read_gemma3,
     .tell = own_tell_softcaps},
    {.name = "glm4", .model_type = "glm4", .activation = silu},
    {.name = "gpt2",
     .model_type = "gpt2",
     .square = 1,
     .activation = "gelu_new",
     .out_bias = 1,
     .mlp_bias = 1},
    {.name = "gptneox",
     .model_type = "gpt_neox",
     .needs_bias = 1,
     .square = 1,
     .activation = "gelu",
     .out_bias = 1,
     .mlp_bias = 1,
     .own_head = 1,
     .read = own_read_parallel,
     .tell = own_tell_parallel},
    {.name = "granite",
     .model_type = "granite",
     .activation = silu,
     .permuted = 1,
     .out_bias = 1,
     .mlp_bias = 1,
     .frequencies = 1,
     .read = own_read_granite,
     .tell = own_tell_granite},
    {.name = "hunyuan-dense", .model_type = "hunyuan_v1_dense", .activation = silu},
    {.name = "llama",
     .model_type = "llama",
     .activation = silu,
     .permuted = 1,
     .out_bias = 1,
     .mlp_bias = 1,
     .frequencies = 1},
    // Without windows the same computation.
    {.name = "llama", .model_type = "ministral", .activation = silu, .permuted = 1},
    {.name = "llama", .model_type = "mistral", .activation = silu, .permuted = 1},
    {.name = "mistral3",
     .model_type = "ministral3",
     .activation = silu,
     .permuted = 1,
     .read = own_read_mistral3,
     .tell = own_tell_mistral3},
    {.name = "nemotron",
     .model_type = "nemotron",
     .square = 1,
     .activation = relu2,
     .out_bias = 1,
     .mlp_bias = 1},
    {.name = "olmo",
     .model_type = "olmo",
     .square = 1,
     .activation = silu,
     .permuted = 1,
     .read = own_read_clip,
     .tell = own_tell_clip},
    {.name = "olmo2", .model_type = "olmo2", .square = 1, .activation = silu},
    {.name = "olmo2", .model_type = "olmo3", .square = 1, .activation = silu, .pattern = 4},
    {.name = "phi2",
     .model_type = "phi",
     .square = 1,
     .activation = "gelu_new",
     .out_bias = 1,
     .mlp_bias = 1,
     .own_head = 1},
    {.name = "phi3", .model_type = "phi3", .square = 1, .activation = silu, .read = own_read_phi3},
    {.name = "qwen2", .model_type = "qwen2", .square = 1, .activation = silu},
    {.name = "qwen3", .model_type = "qwen3", .activation = silu},
    {.name = "seed_oss",
     .model_type = "seed_oss",
     .activation = silu,
     .change = {{ROLE_MLP_NORM, "blk.%d.post_attention_norm.weight"}}},
    {.name = "smollm3",
     .model_type = "smollm3",
     .activation = silu,
     .permuted = 1,
     .tell = own_tell_smollm3},
    {.name = "stablelm",
     .model_type = "stablelm",
     .square = 1,
     .activation = silu,
     .own_head = 1,
     .read = own_read_stablelm,
     .tell = own_tell_parallel},
    {.name = "starcoder",
     .model_type = "gpt_bigcode",
     .square = 1,
     .activation = gelu,
     .out_bias = 1,
     .mlp_bias = 1,
     .read = own_read_starcoder},
    {.name = "starcoder2",
     .model_type = "starcoder2",
     .needs_bias = 1,
     .square = 1,
     .activation = gelu,
     .out_bias = 1,
     .mlp_bias = 1},
};
enum { ROWS = sizeof rows / sizeof *rows };

const struct architecture *architecture_of_family(const struct model_config *c)
{
    for (size_t i = 0; i < ROWS; i++)
        if (!strcmp(rows[i].model_type, c->family->model_type))
            return &rows[i] + (!strcmp(rows[i].name, "falcon") && c->has[ROLE_MLP_NORM]);
    return NULL;
}

const struct architecture *architecture_of_file(const struct gguf *g, const char *name)
{
    const struct architecture *found = NULL;
    for (size_t i = 0; i < ROWS && !found; i++)
        if (!strcmp(rows[i].name, name))
            found = &rows[i];
    // OLMo 3 is OLMo 2 with windows.
    if (found && !strcmp(name, "olmo2") && gguf_find(g, "olmo2.attention.sliding_window"))
        found++;
    if (found && !strcmp(name, "falcon") && gguf_find_tensor(g, "blk.0.attn_norm_2.weight"))
        found++;
    return found;
}

const char *architecture_list(char *out, size_t size)
{
    size_t used = 0;
    for (size_t i = 0; i < ROWS && used < size; i++)
        if (!i || strcmp(rows[i - 1].name, rows[i].name) != 0)
            used += (size_t)snprintf(out + used, size - used, "%s%s", i ? ", " : "", rows[i].name);
    return out;
}

static const char *const stems[ROLE_COUNT] = {
    [ROLE_EMBEDDING] = "token_embd.weight",
    [ROLE_POSITIONS] = "position_embd.weight",
    [ROLE_FINAL_NORM] = "output_norm.weight",
    [ROLE_FINAL_NORM_BIAS] = "output_norm.bias",
    [ROLE_HEAD] = "output.weight",
    [ROLE_HEAD_BIAS] = "output.bias",
    [ROLE_ATTENTION_NORM] = "blk.%d.attn_norm.weight",
    [ROLE_ATTENTION_NORM_BIAS] = "blk.%d.attn_norm.bias",
    [ROLE_QUERY] = "blk.%d.attn_q.weight",
    [ROLE_KEY] = "blk.%d.attn_k.weight",
    [ROLE_VALUE] = "blk.%d.attn_v.weight",
    [ROLE_QKV] = "blk.%d.attn_qkv.weight",
    [ROLE_QUERY_BIAS] = "blk.%d.attn_q.bias",
    [ROLE_KEY_BIAS] = "blk.%d.attn_k.bias",
    [ROLE_VALUE_BIAS] = "blk.%d.attn_v.bias",
    [ROLE_QKV_BIAS] = "blk.%d.attn_qkv.bias",
    [ROLE_QUERY_NORM] = "blk.%d.attn_q_norm.weight",
    [ROLE_KEY_NORM] = "blk.%d.attn_k_norm.weight",
    [ROLE_ATTENTION_OUT] = "blk.%d.attn_output.weight",
    [ROLE_ATTENTION_OUT_BIAS] = "blk.%d.attn_output.bias",
    [ROLE_ATTENTION_POST_NORM] = "blk.%d.post_attention_norm.weight",
    [ROLE_MLP_NORM] = "blk.%d.ffn_norm.weight",
    [ROLE_MLP_NORM_BIAS] = "blk.%d.ffn_norm.bias",
    [ROLE_GATE] = "blk.%d.ffn_gate.weight",
    [ROLE_UP] = "blk.%d.ffn_up.weight",
    [ROLE_GATE_UP] = "blk.%d.ffn_up.weight",
    [ROLE_GATE_BIAS] = "blk.%d.ffn_gate.bias",
    [ROLE_UP_BIAS] = "blk.%d.ffn_up.bias",
    [ROLE_DOWN] = "blk.%d.ffn_down.weight",
    [ROLE_DOWN_BIAS] = "blk.%d.ffn_down.bias",
    [ROLE_MLP_POST_NORM] = "blk.%d.post_ffw_norm.weight",
};

const char *architecture_tensor(const struct architecture *a, enum tensor_role role, size_t layer,
                                char out[STEM_NAME])
{
    const char *stem = stems[role];
    if ((role == ROLE_ATTENTION_OUT_BIAS && !a->out_bias) ||
        ((role == ROLE_GATE_BIAS || role == ROLE_UP_BIAS || role == ROLE_DOWN_BIAS) &&
         !a->mlp_bias) ||
        (role == ROLE_HEAD && a->always_tied))
        return NULL;
    for (int i = 0; i < STEM_CHANGES && a->change[i].stem; i++)
        if (a->change[i].role == role)
            stem = a->change[i].stem;
    if (!stem)
        return NULL;
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
    snprintf(out, STEM_NAME, stem, (int)layer);
#pragma GCC diagnostic pop
    return out;
}

const char *architecture_key(const struct architecture *a, const char *key, char out[STEM_NAME])
{
    snprintf(out, STEM_NAME, "%s.%s", a->name, key);
    return out;
}
