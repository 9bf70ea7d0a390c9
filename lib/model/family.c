// SPDX-License-Identifier: MIT
#include "model/family.h"
#include "model/family_special.h"

#include <stdio.h>
#include <string.h>

// The names that Llama's relatives share.
#define LLAMA_ENDS                                                                                 \
    [ROLE_EMBEDDING] = "model.embed_tokens.weight", [ROLE_HEAD] = "lm_head.weight",                \
    [ROLE_REWARD_HEAD] = "score.weight"
#define LLAMA_FINAL_NORM     [ROLE_FINAL_NORM] = "model.norm.weight"
#define LLAMA_ATTENTION_NORM [ROLE_ATTENTION_NORM] = "model.layers.%d.input_layernorm.weight"
#define LLAMA_MLP_NORM       [ROLE_MLP_NORM] = "model.layers.%d.post_attention_layernorm.weight"
#define LLAMA_NAMES          LLAMA_ENDS, LLAMA_FINAL_NORM, LLAMA_ATTENTION_NORM, LLAMA_MLP_NORM
#define LLAMA_ATTENTION                                                                            \
    [ROLE_QUERY] = "model.layers.%d.self_attn.q_proj.weight",                                      \
    [ROLE_KEY] = "model.layers.%d.self_attn.k_proj.weight",                                        \
    [ROLE_VALUE] = "model.layers.%d.self_attn.v_proj.weight",                                      \
    [ROLE_ATTENTION_OUT] = "model.layers.%d.self_attn.o_proj.weight"
#define LLAMA_QKV_BIAS                                                                             \
    [ROLE_QUERY_BIAS] = "model.layers.%d.self_attn.q_proj.bias",                                   \
    [ROLE_KEY_BIAS] = "model.layers.%d.self_attn.k_proj.bias",                                     \
    [ROLE_VALUE_BIAS] = "model.layers.%d.self_attn.v_proj.bias"
#define LLAMA_OUT_BIAS [ROLE_ATTENTION_OUT_BIAS] = "model.layers.%d.self_attn.o_proj.bias"
#define LLAMA_MLP                                                                                  \
    [ROLE_GATE] = "model.layers.%d.mlp.gate_proj.weight",                                          \
    [ROLE_UP] = "model.layers.%d.mlp.up_proj.weight",                                              \
    [ROLE_DOWN] = "model.layers.%d.mlp.down_proj.weight"
#define LLAMA_UNGATED                                                                              \
    [ROLE_UP] = "model.layers.%d.mlp.up_proj.weight",                                              \
    [ROLE_UP_BIAS] = "model.layers.%d.mlp.up_proj.bias",                                           \
    [ROLE_DOWN] = "model.layers.%d.mlp.down_proj.weight",                                          \
    [ROLE_DOWN_BIAS] = "model.layers.%d.mlp.down_proj.bias"
#define PHI3_MLP                                                                                   \
    [ROLE_GATE_UP] = "model.layers.%d.mlp.gate_up_proj.weight",                                    \
    [ROLE_DOWN] = "model.layers.%d.mlp.down_proj.weight"
#define LLAMA_MLP_BIAS                                                                             \
    [ROLE_GATE_BIAS] = "model.layers.%d.mlp.gate_proj.bias",                                       \
    [ROLE_UP_BIAS] = "model.layers.%d.mlp.up_proj.bias",                                           \
    [ROLE_DOWN_BIAS] = "model.layers.%d.mlp.down_proj.bias"
#define QWEN3_HEAD_NORMS                                                                           \
    [ROLE_QUERY_NORM] = "model.layers.%d.self_attn.q_norm.weight",                                 \
    [ROLE_KEY_NORM] = "model.layers.%d.self_attn.k_norm.weight"
#define POST_NORMS                                                                                 \
    [ROLE_ATTENTION_POST_NORM] = "model.layers.%d.post_attention_layernorm.weight",                \
    [ROLE_MLP_POST_NORM] = "model.layers.%d.post_feedforward_layernorm.weight"
#define LLAMA_NORM_BIASES                                                                          \
    [ROLE_FINAL_NORM_BIAS] = "model.norm.bias",                                                    \
    [ROLE_ATTENTION_NORM_BIAS] = "model.layers.%d.input_layernorm.bias",                           \
    [ROLE_MLP_NORM_BIAS] = "model.layers.%d.post_attention_layernorm.bias"
#define GEMMA2_NAMES                                                                               \
    LLAMA_ENDS, LLAMA_FINAL_NORM, LLAMA_ATTENTION_NORM,                                            \
        POST_NORMS, [ROLE_MLP_NORM] = "model.layers.%d.pre_feedforward_layernorm.weight"
#define BARE_NORMS [ROLE_FINAL_NORM] = "", [ROLE_ATTENTION_NORM] = "", [ROLE_MLP_NORM] = ""
// GPT-2 and its relatives.
#define GPT2_NAMES                                                                                 \
    [ROLE_EMBEDDING] = "transformer.wte.weight", [ROLE_POSITIONS] = "transformer.wpe.weight",      \
    [ROLE_FINAL_NORM] = "transformer.ln_f.weight",                                                 \
    [ROLE_FINAL_NORM_BIAS] = "transformer.ln_f.bias", [ROLE_HEAD] = "lm_head.weight",              \
    [ROLE_REWARD_HEAD] = "score.weight", [ROLE_ATTENTION_NORM] = "transformer.h.%d.ln_1.weight",   \
    [ROLE_ATTENTION_NORM_BIAS] = "transformer.h.%d.ln_1.bias",                                     \
    [ROLE_MLP_NORM] = "transformer.h.%d.ln_2.weight",                                              \
    [ROLE_MLP_NORM_BIAS] = "transformer.h.%d.ln_2.bias",                                           \
    [ROLE_UP] = "transformer.h.%d.mlp.c_fc.weight",                                                \
    [ROLE_UP_BIAS] = "transformer.h.%d.mlp.c_fc.bias",                                             \
    [ROLE_DOWN] = "transformer.h.%d.mlp.c_proj.weight",                                            \
    [ROLE_DOWN_BIAS] = "transformer.h.%d.mlp.c_proj.bias"
#define GPT2_ATTENTION                                                                             \
    [ROLE_QKV] = "transformer.h.%d.attn.c_attn.weight",                                            \
    [ROLE_QKV_BIAS] = "transformer.h.%d.attn.c_attn.bias",                                         \
    [ROLE_ATTENTION_OUT] = "transformer.h.%d.attn.c_proj.weight",                                  \
    [ROLE_ATTENTION_OUT_BIAS] = "transformer.h.%d.attn.c_proj.bias"
#define GPT2_KEYS                                                                                  \
    .size_key = {[SIZE_HIDDEN] = "n_embd",                                                         \
                 [SIZE_LAYERS] = "n_layer",                                                        \
                 [SIZE_HEADS] = "n_head",                                                          \
                 [SIZE_INTERMEDIATE] = "n_inner",                                                  \
                 [SIZE_POSITIONS] = "n_positions"},                                                \
    .eps_key = "layer_norm_epsilon", .activation_key = "activation_function", .wide = 1,           \
    .no_kv_heads = 1, .no_head_dim = 1, .no_padding = 1

#define FALCON_NAMES                                                                               \
    [ROLE_EMBEDDING] = "transformer.word_embeddings.weight",                                       \
    [ROLE_FINAL_NORM] = "transformer.ln_f.weight",                                                 \
    [ROLE_FINAL_NORM_BIAS] = "transformer.ln_f.bias", [ROLE_HEAD] = "lm_head.weight",              \
    [ROLE_REWARD_HEAD] = "score.weight",                                                           \
    [ROLE_QKV] = "transformer.h.%d.self_attention.query_key_value.weight",                         \
    [ROLE_QKV_BIAS] = "transformer.h.%d.self_attention.query_key_value.bias",                      \
    [ROLE_ATTENTION_OUT] = "transformer.h.%d.self_attention.dense.weight",                         \
    [ROLE_ATTENTION_OUT_BIAS] = "transformer.h.%d.self_attention.dense.bias",                      \
    [ROLE_UP] = "transformer.h.%d.mlp.dense_h_to_4h.weight",                                       \
    [ROLE_UP_BIAS] = "transformer.h.%d.mlp.dense_h_to_4h.bias",                                    \
    [ROLE_DOWN] = "transformer.h.%d.mlp.dense_4h_to_h.weight",                                     \
    [ROLE_DOWN_BIAS] = "transformer.h.%d.mlp.dense_4h_to_h.bias"

#define ARCHITECTURES(name)                                                                        \
    {                                                                                              \
        [HEAD_VOCABULARY] = name "ForCausalLM", [HEAD_REWARD] = name "ForSequenceClassification"   \
    }
#define ATTENTION_BIAS                                                                             \
    {                                                                                              \
        "attention_bias", 0, PART_QKV_BIAS | PART_OUT_BIAS                                         \
    }
#define MLP_BIAS                                                                                   \
    {                                                                                              \
        "mlp_bias", 0, PART_MLP_BIAS                                                               \
    }

#define GLM_KEYS                                                                                   \
    .default_padding = FAMILY_TOKEN(151329), .default_kv_heads = 2, .default_head_dim = 128,       \
    .default_eps = 1.5625e-7, .default_positions = 131072,                                         \
    .switches = {{"attention_bias", 1, PART_QKV_BIAS}}, .partial_rope = 1, .default_partial = 0.5, \
    .rope_interleaved = 1

static const struct family families[] = {
    {.model_type = "arcee",
     .architecture = ARCHITECTURES("Arcee"),
     .base = "model.",
     .name = {LLAMA_NAMES, LLAMA_ATTENTION, LLAMA_QKV_BIAS, LLAMA_OUT_BIAS, LLAMA_UNGATED},
     .default_activation = "relu2",
     .default_eps = 1e-5,
     .default_positions = 4096,
     .switches = {ATTENTION_BIAS, MLP_BIAS}},
    {.model_type = "cohere",
     .architecture = {[HEAD_VOCABULARY] = "CohereForCausalLM"},
     .default_padding = FAMILY_TOKEN(0),
     .base = "model.",
     .name = {LLAMA_ENDS, LLAMA_FINAL_NORM, LLAMA_ATTENTION_NORM, LLAMA_ATTENTION, LLAMA_QKV_BIAS,
              LLAMA_OUT_BIAS, LLAMA_MLP, QWEN3_HEAD_NORMS},
     .eps_key = "layer_norm_eps",
     .default_eps = 1e-5,
     .default_theta = 500000,
     .default_positions = 8192,
     .default_tied = 1,
     .switches = {ATTENTION_BIAS, {"use_qk_norm", 0, PART_HEAD_NORM}},
     .head_norm = HEAD_NORM_EACH,
     .norm_centred = 1,
     .parallel = 1,
     .rope_interleaved = 1,
     .special = special_cohere},
    {.model_type = "cohere2",
     .architecture = {[HEAD_VOCABULARY] = "Cohere2ForCausalLM"},
     .default_padding = FAMILY_TOKEN(0),
     .base = "model.",
     .name = {LLAMA_ENDS, LLAMA_FINAL_NORM, LLAMA_ATTENTION_NORM, LLAMA_ATTENTION, LLAMA_QKV_BIAS,
              LLAMA_OUT_BIAS, LLAMA_MLP},
     .eps_key = "layer_norm_eps",
     .ignored = {"layer_switch", "use_parallel_embedding"},
     .default_eps = 1e-5,
     .default_positions = 8192,
     .default_tied = 1,
     .switches = {ATTENTION_BIAS},
     .norm_centred = 1,
     .parallel = 1,
     .rope_interleaved = 1,
     .special = special_cohere2},
    {.model_type = "ernie4_5",
     .architecture = {[HEAD_VOCABULARY] = "Ernie4_5ForCausalLM"},
     .default_padding = FAMILY_TOKEN(0),
     .base = "model.",
     .name = {LLAMA_NAMES, LLAMA_ATTENTION, LLAMA_QKV_BIAS, LLAMA_OUT_BIAS, LLAMA_MLP,
              LLAMA_MLP_BIAS},
     .default_kv_heads = 2,
     .default_head_dim = 128,
     .default_eps = 1e-5,
     .default_positions = 131072,
     .default_theta = 500000,
     .default_tied = 1,
     .switches = {{"use_bias", 0, PART_ALL_BIASES}},
     .rope_interleaved = 1},
    {.model_type = "exaone4",
     .architecture = ARCHITECTURES("Exaone4"),
     .base = "model.",
     .name = {LLAMA_ENDS, LLAMA_FINAL_NORM, LLAMA_ATTENTION, LLAMA_MLP, QWEN3_HEAD_NORMS,
              POST_NORMS},
     .default_kv_heads = 32,
     .default_eps = 1e-5,
     .default_positions = 2048,
     .head_norm = HEAD_NORM_SHARED,
     .special = special_exaone4},
    {.model_type = "falcon",
     .architecture = ARCHITECTURES("Falcon"),
     .no_padding = 1,
     .base = "transformer.",
     .name = {FALCON_NAMES, [ROLE_ATTENTION_NORM] = "transformer.h.%d.input_layernorm.weight",
              [ROLE_ATTENTION_NORM_BIAS] = "transformer.h.%d.input_layernorm.bias",
              [ROLE_MLP_NORM] = "transformer.h.%d.post_attention_layernorm.weight",
              [ROLE_MLP_NORM_BIAS] = "transformer.h.%d.post_attention_layernorm.bias"},
     .size_key = {[SIZE_KV_HEADS] = "num_kv_heads", [SIZE_INTERMEDIATE] = "ffn_hidden_size"},
     .eps_key = "layer_norm_epsilon",
     .activation_key = "activation",
     .default_activation = "gelu",
     .default_eps = 1e-5,
     .default_positions = 2048,
     .default_tied = 1,
     .wide = 1,
     .switches = {{"bias", 0, PART_ALL_BIASES}},
     .norm_centred = 1,
     .fusion = FUSION_GROUPS,
     .no_head_dim = 1,
     .special = special_falcon},
    // The norms of the new architecture.
    {.model_type = "falcon",
     .architecture = ARCHITECTURES("Falcon"),
     .base = "transformer.",
     .name = {FALCON_NAMES, [ROLE_ATTENTION_NORM] = "transformer.h.%d.ln_attn.weight",
              [ROLE_ATTENTION_NORM_BIAS] = "transformer.h.%d.ln_attn.bias",
              [ROLE_MLP_NORM] = "transformer.h.%d.ln_mlp.weight",
              [ROLE_MLP_NORM_BIAS] = "transformer.h.%d.ln_mlp.bias"}},
    {.model_type = "gemma",
     .architecture = ARCHITECTURES("Gemma"),
     .default_padding = FAMILY_TOKEN(0),
     .base = "model.",
     .name = {LLAMA_NAMES, LLAMA_ATTENTION, LLAMA_QKV_BIAS, LLAMA_OUT_BIAS, LLAMA_MLP},
     .default_activation = "gelu_pytorch_tanh",
     .default_kv_heads = 16,
     .default_head_dim = 256,
     .default_positions = 8192,
     .default_tied = 1,
     .switches = {ATTENTION_BIAS},
     .norm_offset = 1,
     .special = special_gemma},
    {.model_type = "gemma2",
     .architecture = ARCHITECTURES("Gemma2"),
     .default_padding = FAMILY_TOKEN(0),
     .base = "model.",
     .name = {GEMMA2_NAMES, LLAMA_ATTENTION, LLAMA_QKV_BIAS, LLAMA_OUT_BIAS, LLAMA_MLP},
     .activation_key = "hidden_activation",
     .default_activation = "gelu_pytorch_tanh",
     .default_kv_heads = 4,
     .default_head_dim = 256,
     .default_positions = 8192,
     .default_tied = 1,
     .switches = {ATTENTION_BIAS},
     .norm_offset = 1,
     .special = special_gemma2},
    {.model_type = "gemma3_text",
     .architecture = {[HEAD_VOCABULARY] = "Gemma3ForCausalLM",
                      [HEAD_REWARD] = "Gemma3TextForSequenceClassification"},
     .default_padding = FAMILY_TOKEN(0),
     .base = "model.",
     .name = {GEMMA2_NAMES, LLAMA_ATTENTION, LLAMA_QKV_BIAS, LLAMA_OUT_BIAS, LLAMA_MLP,
              QWEN3_HEAD_NORMS},
     .activation_key = "hidden_activation",
     .default_activation = "gelu_pytorch_tanh",
     .default_vocab = 262208,
     .default_heads = 8,
     .default_kv_heads = 4,
     .default_head_dim = 256,
     .default_positions = 131072,
     .default_tied = 1,
     .switches = {ATTENTION_BIAS},
     .head_norm = HEAD_NORM_SHARED,
     .norm_offset = 1,
     .special = special_gemma3},
    {.model_type = "glm",
     .architecture = ARCHITECTURES("Glm"),
     .base = "model.",
     .name = {LLAMA_NAMES, LLAMA_ATTENTION, LLAMA_QKV_BIAS, PHI3_MLP},
     GLM_KEYS},
    {.model_type = "glm4",
     .architecture = ARCHITECTURES("Glm4"),
     .base = "model.",
     .name =
         {LLAMA_NAMES, LLAMA_ATTENTION, LLAMA_QKV_BIAS,
          PHI3_MLP, [ROLE_ATTENTION_POST_NORM] = "model.layers.%d.post_self_attn_layernorm.weight",
          [ROLE_MLP_POST_NORM] = "model.layers.%d.post_mlp_layernorm.weight"},
     GLM_KEYS},
    {.model_type = "gpt2",
     .architecture =
         {[HEAD_VOCABULARY] = "GPT2LMHeadModel", [HEAD_REWARD] = "GPT2ForSequenceClassification"},
     .base = "transformer.",
     .name = {GPT2_NAMES, GPT2_ATTENTION},
     GPT2_KEYS,
     .scaled_init = 1,
     .default_activation = "gelu_new",
     .default_eps = 1e-5,
     .default_positions = 1024,
     .default_tied = 1,
     .norm_centred = 1,
     .conv1d = 1,
     .no_rope = 1,
     .fusion = FUSION_BLOCKS,
     .special = special_gpt2},
    {.model_type = "gpt_bigcode",
     .architecture = ARCHITECTURES("GPTBigCode"),
     .base = "transformer.",
     .name = {GPT2_NAMES, GPT2_ATTENTION},
     GPT2_KEYS,
     .scaled_init = 1,
     .default_activation = "gelu_pytorch_tanh",
     .default_eps = 1e-5,
     .default_positions = 1024,
     .default_tied = 1,
     .norm_centred = 1,
     .no_rope = 1,
     .fusion = FUSION_BLOCKS,
     .special = special_gpt_bigcode},
    {.model_type = "gpt_neo",
     .architecture = ARCHITECTURES("GPTNeo"),
     .no_padding = 1,
     .base = "transformer.",
     .name = {GPT2_NAMES, [ROLE_QUERY] = "transformer.h.%d.attn.attention.q_proj.weight",
              [ROLE_KEY] = "transformer.h.%d.attn.attention.k_proj.weight",
              [ROLE_VALUE] = "transformer.h.%d.attn.attention.v_proj.weight",
              [ROLE_ATTENTION_OUT] = "transformer.h.%d.attn.attention.out_proj.weight",
              [ROLE_ATTENTION_OUT_BIAS] = "transformer.h.%d.attn.attention.out_proj.bias"},
     .size_key = {[SIZE_LAYERS] = "num_layers", [SIZE_HEADS] = "num_heads"},
     .eps_key = "layer_norm_epsilon",
     .activation_key = "activation_function",
     .default_activation = "gelu_new",
     .default_eps = 1e-5,
     .default_positions = 2048,
     .default_tied = 1,
     .wide = 1,
     .no_kv_heads = 1,
     .no_head_dim = 1,
     .norm_centred = 1,
     .no_rope = 1,
     .special = special_gpt_neo},
    {.model_type = "gpt_neox",
     .architecture = ARCHITECTURES("GPTNeoX"),
     .no_padding = 1,
     .base = "gpt_neox.",
     .name = {[ROLE_EMBEDDING] = "gpt_neox.embed_in.weight",
              [ROLE_FINAL_NORM] = "gpt_neox.final_layer_norm.weight",
              [ROLE_FINAL_NORM_BIAS] = "gpt_neox.final_layer_norm.bias",
              [ROLE_HEAD] = "embed_out.weight",
              [ROLE_REWARD_HEAD] = "score.weight",
              [ROLE_ATTENTION_NORM] = "gpt_neox.layers.%d.input_layernorm.weight",
              [ROLE_ATTENTION_NORM_BIAS] = "gpt_neox.layers.%d.input_layernorm.bias",
              [ROLE_QKV] = "gpt_neox.layers.%d.attention.query_key_value.weight",
              [ROLE_QKV_BIAS] = "gpt_neox.layers.%d.attention.query_key_value.bias",
              [ROLE_ATTENTION_OUT] = "gpt_neox.layers.%d.attention.dense.weight",
              [ROLE_ATTENTION_OUT_BIAS] = "gpt_neox.layers.%d.attention.dense.bias",
              [ROLE_MLP_NORM] = "gpt_neox.layers.%d.post_attention_layernorm.weight",
              [ROLE_MLP_NORM_BIAS] = "gpt_neox.layers.%d.post_attention_layernorm.bias",
              [ROLE_UP] = "gpt_neox.layers.%d.mlp.dense_h_to_4h.weight",
              [ROLE_UP_BIAS] = "gpt_neox.layers.%d.mlp.dense_h_to_4h.bias",
              [ROLE_DOWN] = "gpt_neox.layers.%d.mlp.dense_4h_to_h.weight",
              [ROLE_DOWN_BIAS] = "gpt_neox.layers.%d.mlp.dense_4h_to_h.bias"},
     .other_head = "lm_head.weight",
     .eps_key = "layer_norm_eps",
     .default_activation = "gelu",
     .default_eps = 1e-5,
     .default_positions = 2048,
     .switches = {{"attention_bias", 1, PART_QKV_BIAS | PART_OUT_BIAS}},
     .norm_centred = 1,
     .partial_rope = 1,
     .default_partial = 0.25,
     .neox_rope_keys = 1,
     .no_kv_heads = 1,
     .no_head_dim = 1,
     .fusion = FUSION_GROUPS,
     .special = special_gpt_neox},
    {.model_type = "granite",
     .architecture = {[HEAD_VOCABULARY] = "GraniteForCausalLM"},
     .base = "model.",
     .name = {LLAMA_NAMES, LLAMA_ATTENTION, LLAMA_QKV_BIAS, LLAMA_OUT_BIAS, LLAMA_MLP,
              LLAMA_MLP_BIAS},
     .default_positions = 2048,
     .switches = {ATTENTION_BIAS, MLP_BIAS},
     .special = special_granite},
    {.model_type = "granitemoehybrid", // attention only, and without experts
     .architecture = {[HEAD_VOCABULARY] = "GraniteMoeHybridForCausalLM"},
     .base = "model.",
     .name = {LLAMA_NAMES, LLAMA_ATTENTION, LLAMA_QKV_BIAS,
              LLAMA_OUT_BIAS, [ROLE_GATE_UP] = "model.layers.%d.shared_mlp.input_linear.weight",
              [ROLE_DOWN] = "model.layers.%d.shared_mlp.output_linear.weight"},
     .size_key = {[SIZE_INTERMEDIATE] = "shared_intermediate_size"},
     .ignored = {"intermediate_size", "mamba_", "time_step_", "num_experts_per_tok",
                 "router_aux_loss_coef", "output_router_logits", "init_method"},
     .default_intermediate = 1024,
     .default_positions = 2048,
     .switches = {ATTENTION_BIAS},
     .special = special_granitemoehybrid},
    {.model_type = "hunyuan_v1_dense",
     .architecture = ARCHITECTURES("HunYuanDenseV1"),
     .default_padding = FAMILY_TOKEN(0),
     .base = "model.",
     .name = {LLAMA_NAMES, LLAMA_ATTENTION, LLAMA_QKV_BIAS, LLAMA_OUT_BIAS,
              LLAMA_MLP, [ROLE_QUERY_NORM] = "model.layers.%d.self_attn.query_layernorm.weight",
              [ROLE_KEY_NORM] = "model.layers.%d.self_attn.key_layernorm.weight"},
     .needs_head_dim = 1,
     .ignored = {"cla_share_factor", "dense_list", "eod_token_id", "num_experts", "org_vocab_size",
                 "pad_id", "pool_type", "use_cla", "use_qk_norm", "use_rotary_pos_emb"},
     .default_eps = 1e-5,
     .default_positions = 2048,
     .switches = {ATTENTION_BIAS},
     .alpha_rope = 1,
     .head_norm = HEAD_NORM_SHARED,
     .head_norm_late = 1},
    {.model_type = "llama",
     .architecture = ARCHITECTURES("Llama"),
     .base = "model.",
     .name = {LLAMA_NAMES, LLAMA_ATTENTION, LLAMA_QKV_BIAS, LLAMA_OUT_BIAS, LLAMA_MLP,
              LLAMA_MLP_BIAS},
     .default_positions = 2048,
     .switches = {ATTENTION_BIAS, MLP_BIAS}},
    {.model_type = "ministral",
     .architecture = ARCHITECTURES("Ministral"),
     .base = "model.",
     .name = {LLAMA_NAMES, LLAMA_ATTENTION, LLAMA_MLP},
     .needs_head_dim = 1,
     .default_kv_heads = 8,
     .default_positions = 131072,
     .special = special_ministral},
    {.model_type = "ministral3",
     .architecture = ARCHITECTURES("Ministral3"),
     .default_padding = FAMILY_TOKEN(11),
     .base = "model.",
     .name = {LLAMA_NAMES, LLAMA_ATTENTION, LLAMA_MLP},
     .ignored = {"layer_types"},
     .default_kv_heads = 8,
     .default_head_dim = 128,
     .default_eps = 1e-5,
     .default_positions = 262144,
     .scaled_queries = 1,
     .special = special_ministral3},
    {.model_type = "mistral",
     .architecture = ARCHITECTURES("Mistral"),
     .base = "model.",
     .name = {LLAMA_NAMES, LLAMA_ATTENTION, LLAMA_MLP},
     .default_kv_heads = 8,
     .default_positions = 131072,
     .special = special_mistral},
    // No norm has a tensor.
    {.model_type = "nanochat",
     .architecture = {[HEAD_VOCABULARY] = "NanoChatForCausalLM"},
     .default_padding = FAMILY_TOKEN(1),
     .base = "model.",
     .name = {LLAMA_ENDS, BARE_NORMS, LLAMA_ATTENTION, LLAMA_QKV_BIAS,
              LLAMA_OUT_BIAS, [ROLE_EMBEDDING_NORM] = "", [ROLE_QUERY_NORM] = "",
              [ROLE_KEY_NORM] = "", [ROLE_UP] = "model.layers.%d.mlp.fc1.weight",
              [ROLE_DOWN] = "model.layers.%d.mlp.fc2.weight"},
     .default_activation = "relu2",
     .default_positions = 2048,
     .switches = {ATTENTION_BIAS},
     .norm_bare = 1,
     .rope_reversed = 1,
     .head_norm = HEAD_NORM_SHARED,
     .special = special_nanochat},
    {.model_type = "nemotron",
     .architecture = ARCHITECTURES("Nemotron"),
     .base = "model.",
     .name = {LLAMA_NAMES, LLAMA_NORM_BIASES, LLAMA_ATTENTION, LLAMA_QKV_BIAS, LLAMA_OUT_BIAS,
              LLAMA_UNGATED},
     .eps_key = "norm_eps",
     .needs_kv_heads = 1,
     .default_activation = "relu2",
     .default_eps = 1e-5,
     .default_positions = 4096,
     .default_initializer_range = 0.0134,
     .switches = {ATTENTION_BIAS, MLP_BIAS},
     .norm_centred = 1,
     .norm_offset = 1,
     .partial_rope = 1,
     .default_partial = 0.5},
    {.model_type = "olmo",
     .architecture = ARCHITECTURES("Olmo"),
     .default_padding = FAMILY_TOKEN(1),
     .base = "model.",
     .name = {LLAMA_ENDS, BARE_NORMS, LLAMA_ATTENTION, LLAMA_QKV_BIAS, LLAMA_OUT_BIAS, LLAMA_MLP},
     .eps_key = "",
     .default_eps = 1e-5,
     .default_positions = 2048,
     .switches = {ATTENTION_BIAS},
     .norm_centred = 1,
     .norm_bare = 1,
     .special = special_olmo},
    {.model_type = "olmo2",
     .architecture = ARCHITECTURES("Olmo2"),
     .default_padding = FAMILY_TOKEN(1),
     .base = "model.",
     .name = {LLAMA_ENDS, LLAMA_FINAL_NORM, LLAMA_ATTENTION, LLAMA_QKV_BIAS, LLAMA_OUT_BIAS,
              LLAMA_MLP, QWEN3_HEAD_NORMS, POST_NORMS},
     .default_eps = 1e-5,
     .default_positions = 2048,
     .switches = {ATTENTION_BIAS},
     .head_norm = HEAD_NORM_WIDE},
    {.model_type = "olmo3",
     .architecture = ARCHITECTURES("Olmo3"),
     .default_padding = FAMILY_TOKEN(1),
     .base = "model.",
     .name = {LLAMA_ENDS, LLAMA_FINAL_NORM, LLAMA_ATTENTION, LLAMA_QKV_BIAS, LLAMA_OUT_BIAS,
              LLAMA_MLP, QWEN3_HEAD_NORMS, POST_NORMS},
     .default_eps = 1e-5,
     .default_positions = 2048,
     .switches = {ATTENTION_BIAS},
     .head_norm = HEAD_NORM_WIDE,
     .special = special_olmo3},
    // Norms of a layer stand before both parts, or behind both: special_opt takes the others away.
    {.model_type = "opt",
     .architecture = ARCHITECTURES("OPT"),
     .default_padding = FAMILY_TOKEN(1),
     .base = "model.",
     .name = {[ROLE_EMBEDDING] = "model.decoder.embed_tokens.weight",
              [ROLE_PROJECT_IN] = "model.decoder.project_in.weight",
              [ROLE_POSITIONS] = "model.decoder.embed_positions.weight",
              [ROLE_FINAL_NORM] = "model.decoder.final_layer_norm.weight",
              [ROLE_FINAL_NORM_BIAS] = "model.decoder.final_layer_norm.bias",
              [ROLE_PROJECT_OUT] = "model.decoder.project_out.weight",
              [ROLE_HEAD] = "lm_head.weight",
              [ROLE_REWARD_HEAD] = "score.weight",
              [ROLE_ATTENTION_NORM] = "model.decoder.layers.%d.self_attn_layer_norm.weight",
              [ROLE_ATTENTION_NORM_BIAS] = "model.decoder.layers.%d.self_attn_layer_norm.bias",
              [ROLE_QUERY] = "model.decoder.layers.%d.self_attn.q_proj.weight",
              [ROLE_KEY] = "model.decoder.layers.%d.self_attn.k_proj.weight",
              [ROLE_VALUE] = "model.decoder.layers.%d.self_attn.v_proj.weight",
              [ROLE_QUERY_BIAS] = "model.decoder.layers.%d.self_attn.q_proj.bias",
              [ROLE_KEY_BIAS] = "model.decoder.layers.%d.self_attn.k_proj.bias",
              [ROLE_VALUE_BIAS] = "model.decoder.layers.%d.self_attn.v_proj.bias",
              [ROLE_ATTENTION_OUT] = "model.decoder.layers.%d.self_attn.out_proj.weight",
              [ROLE_ATTENTION_OUT_BIAS] = "model.decoder.layers.%d.self_attn.out_proj.bias",
              [ROLE_ATTENTION_POST_NORM] = "model.decoder.layers.%d.self_attn_layer_norm.weight",
              [ROLE_ATTENTION_POST_NORM_BIAS] = "model.decoder.layers.%d.self_attn_layer_norm.bias",
              [ROLE_MLP_NORM] = "model.decoder.layers.%d.final_layer_norm.weight",
              [ROLE_MLP_NORM_BIAS] = "model.decoder.layers.%d.final_layer_norm.bias",
              [ROLE_UP] = "model.decoder.layers.%d.fc1.weight",
              [ROLE_UP_BIAS] = "model.decoder.layers.%d.fc1.bias",
              [ROLE_DOWN] = "model.decoder.layers.%d.fc2.weight",
              [ROLE_DOWN_BIAS] = "model.decoder.layers.%d.fc2.bias",
              [ROLE_MLP_POST_NORM] = "model.decoder.layers.%d.final_layer_norm.weight",
              [ROLE_MLP_POST_NORM_BIAS] = "model.decoder.layers.%d.final_layer_norm.bias"},
     .size_key = {[SIZE_INTERMEDIATE] = "ffn_dim"},
     .eps_key = "",
     .activation_key = "activation_function",
     .ignored = {"dropout", "activation_dropout", "layerdrop", "learned_embeddings"},
     .no_kv_heads = 1,
     .no_head_dim = 1,
     .default_activation = "relu",
     .default_eps = 1e-5,
     .default_positions = 2048,
     .default_tied = 1,
     .switches = {{"enable_bias", 1, PART_ALL_BIASES}},
     .norm_centred = 1,
     .no_rope = 1,
     .position_offset = 2,
     .special = special_opt},
    {.model_type = "phi",
     .architecture = ARCHITECTURES("Phi"),
     .base = "model.",
     .name = {LLAMA_ENDS,
              LLAMA_ATTENTION_NORM,
              LLAMA_QKV_BIAS,
              [ROLE_QUERY] = "model.layers.%d.self_attn.q_proj.weight",
              [ROLE_KEY] = "model.layers.%d.self_attn.k_proj.weight",
              [ROLE_VALUE] = "model.layers.%d.self_attn.v_proj.weight",
              [ROLE_FINAL_NORM] = "model.final_layernorm.weight",
              [ROLE_FINAL_NORM_BIAS] = "model.final_layernorm.bias",
              [ROLE_HEAD_BIAS] = "lm_head.bias",
              [ROLE_ATTENTION_NORM_BIAS] = "model.layers.%d.input_layernorm.bias",
              [ROLE_QUERY_NORM] = "model.layers.%d.self_attn.q_layernorm.weight",
              [ROLE_QUERY_NORM_BIAS] = "model.layers.%d.self_attn.q_layernorm.bias",
              [ROLE_KEY_NORM] = "model.layers.%d.self_attn.k_layernorm.weight",
              [ROLE_KEY_NORM_BIAS] = "model.layers.%d.self_attn.k_layernorm.bias",
              [ROLE_ATTENTION_OUT] = "model.layers.%d.self_attn.dense.weight",
              [ROLE_ATTENTION_OUT_BIAS] = "model.layers.%d.self_attn.dense.bias",
              [ROLE_UP] = "model.layers.%d.mlp.fc1.weight",
              [ROLE_UP_BIAS] = "model.layers.%d.mlp.fc1.bias",
              [ROLE_DOWN] = "model.layers.%d.mlp.fc2.weight",
              [ROLE_DOWN_BIAS] = "model.layers.%d.mlp.fc2.bias"},
     .eps_key = "layer_norm_eps",
     .default_activation = "gelu_new",
     .default_eps = 1e-5,
     .default_positions = 2048,
     .switches = {{"qk_layernorm", 0, PART_HEAD_NORM}},
     .head_norm = HEAD_NORM_SHARED,
     .norm_centred = 1,
     .parallel = 1,
     .partial_rope = 1,
     .default_partial = 0.5},
    {.model_type = "phi3",
     .architecture = ARCHITECTURES("Phi3"),
     .default_padding = FAMILY_TOKEN(32000),
     .base = "model.",
     .name = {LLAMA_NAMES, [ROLE_QKV] = "model.layers.%d.self_attn.qkv_proj.weight",
              [ROLE_ATTENTION_OUT] = "model.layers.%d.self_attn.o_proj.weight", PHI3_MLP},
     .default_eps = 1e-5,
     .default_positions = 4096,
     .partial_rope = 1,
     .default_partial = 1,
     .default_original = 4096,
     .longrope_only = 1,
     .fusion = FUSION_BLOCKS,
     .special = special_phi3},
    {.model_type = "qwen2",
     .architecture = ARCHITECTURES("Qwen2"),
     .base = "model.",
     .name = {LLAMA_NAMES, LLAMA_ATTENTION, LLAMA_QKV_BIAS, LLAMA_MLP},
     .default_kv_heads = 32,
     .default_positions = 32768,
     .special = special_qwen},
    {.model_type = "qwen3",
     .architecture = ARCHITECTURES("Qwen3"),
     .base = "model.",
     .name = {LLAMA_NAMES, LLAMA_ATTENTION, LLAMA_QKV_BIAS, LLAMA_OUT_BIAS, LLAMA_MLP,
              QWEN3_HEAD_NORMS},
     .default_kv_heads = 32,
     .default_head_dim = 128,
     .default_positions = 32768,
     .switches = {ATTENTION_BIAS},
     .head_norm = HEAD_NORM_SHARED,
     .special = special_qwen},
    {.model_type = "seed_oss",
     .architecture = ARCHITECTURES("SeedOss"),
     .default_padding = FAMILY_TOKEN(1),
     .base = "model.",
     .name = {LLAMA_NAMES, LLAMA_ATTENTION, LLAMA_QKV_BIAS, LLAMA_OUT_BIAS, LLAMA_MLP,
              LLAMA_MLP_BIAS},
     .default_kv_heads = 8,
     .default_head_dim = 128,
     .default_positions = 524288,
     .switches = {{"attention_bias", 1, PART_QKV_BIAS},
                  {"attention_out_bias", 0, PART_OUT_BIAS},
                  MLP_BIAS}},
    {.model_type = "smollm3",
     .architecture = ARCHITECTURES("SmolLM3"),
     .default_padding = FAMILY_TOKEN(128004),
     .base = "model.",
     .name = {LLAMA_NAMES, LLAMA_ATTENTION, LLAMA_QKV_BIAS, LLAMA_OUT_BIAS, LLAMA_MLP,
              LLAMA_MLP_BIAS},
     .default_kv_heads = 4,
     .default_positions = 32768,
     .default_theta = 2000000,
     .default_tied = 1,
     .switches = {ATTENTION_BIAS, MLP_BIAS},
     .special = special_smollm3},
    {.model_type = "stablelm",
     .architecture = ARCHITECTURES("StableLm"),
     .base = "model.",
     .name =
         {LLAMA_NAMES, LLAMA_NORM_BIASES, LLAMA_ATTENTION, LLAMA_QKV_BIAS,
          LLAMA_MLP, [ROLE_QUERY_NORM] = "model.layers.%d.self_attn.q_layernorm.norms.%d.weight",
          [ROLE_KEY_NORM] = "model.layers.%d.self_attn.k_layernorm.norms.%d.weight"},
     .eps_key = "layer_norm_eps",
     .default_eps = 1e-5,
     .default_kv_heads = 32,
     .default_positions = 4096,
     .switches = {{"use_qkv_bias", 0, PART_QKV_BIAS}, {"qk_layernorm", 0, PART_HEAD_NORM}},
     .head_norm = HEAD_NORM_EACH,
     .norm_centred = 1,
     .partial_rope = 1,
     .default_partial = 0.25,
     .no_head_dim = 1,
     .special = special_stablelm},
    {.model_type = "starcoder2",
     .architecture = ARCHITECTURES("Starcoder2"),
     .base = "model.",
     .name = {LLAMA_NAMES, LLAMA_NORM_BIASES, LLAMA_ATTENTION, LLAMA_QKV_BIAS,
              LLAMA_OUT_BIAS, [ROLE_UP] = "model.layers.%d.mlp.c_fc.weight",
              [ROLE_UP_BIAS] = "model.layers.%d.mlp.c_fc.bias",
              [ROLE_DOWN] = "model.layers.%d.mlp.c_proj.weight",
              [ROLE_DOWN_BIAS] = "model.layers.%d.mlp.c_proj.bias"},
     .eps_key = "norm_epsilon",
     .ignored = {"rms_norm_eps"},
     .default_activation = "gelu_pytorch_tanh",
     .default_eps = 1e-5,
     .default_kv_heads = 2,
     .default_positions = 4096,
     .default_initializer_range = 0.018042,
     .default_tied = 1,
     .switches = {{"use_bias", 1, PART_ALL_BIASES}},
     .norm_centred = 1,
     .special = special_starcoder2},
};
enum { FAMILIES = sizeof families / sizeof *families };

static const struct family_wrapper wrappers[] = {
    {"gemma3",
     {"gemma3_text"},
     {[HEAD_VOCABULARY] = "Gemma3ForConditionalGeneration",
      [HEAD_REWARD] = "Gemma3ForSequenceClassification"}},
    {"mistral3",
     {"mistral", "ministral3"},
     {[HEAD_VOCABULARY] = "Mistral3ForConditionalGeneration"}},
};
enum { WRAPPERS = sizeof wrappers / sizeof *wrappers };
const char family_wrapped[] = "language_model.", family_wrapped_base[] = "model.language_model.";

const struct family_wrapper *family_find_wrapper(const char *model_type)
{
    for (size_t i = 0; i < WRAPPERS; i++)
        if (!strcmp(wrappers[i].model_type, model_type))
            return &wrappers[i];
    return NULL;
}

const char *family_architecture(const struct model_config *c, enum head_kind head)
{
    return c->wrapper ? c->wrapper->architecture[head] : c->family->architecture[head];
}

const struct family *family_find(const char *model_type)
{
    for (size_t i = 0; i < FAMILIES; i++)
        if (!strcmp(families[i].model_type, model_type))
            return &families[i];
    return NULL;
}

const char *family_list(char *out, size_t size)
{
    size_t used = 0;
    for (size_t i = 0; i < FAMILIES && used < size; i++)
        if (family_find(families[i].model_type) == &families[i])
            used += (size_t)snprintf(out + used, size - used, "%s%s", i ? ", " : "",
                                     families[i].model_type);
    for (size_t i = 0; i < WRAPPERS && used < size; i++)
        used += (size_t)snprintf(out + used, size - used, ", %s", wrappers[i].model_type);
    return out;
}

int family_is_per_head(const struct family *f, enum tensor_role role)
{
    const char *number = f->name[role] ? strstr(f->name[role], "%d") : NULL;
    return number && strstr(number + 2, "%d");
}

int family_is_wrapped(const struct model_config *c, enum tensor_role role)
{
    return c->wrapper && role != ROLE_REWARD_HEAD;
}

const char *family_name(const struct model_config *c, enum tensor_role role, size_t layer,
                        size_t head, char *out, size_t size)
{
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
    int begin = snprintf(out, size, "%s", family_is_wrapped(c, role) ? family_wrapped : "");
    snprintf(out + begin, size - (size_t)begin, c->family->name[role], (int)layer, (int)head);
#pragma GCC diagnostic pop
    return out;
}

void family_leave_out(struct model_config *c, int parts)
{
    static const struct {
        int part;
        enum tensor_role role;
    } roles[] = {
        {PART_QKV_BIAS, ROLE_QUERY_BIAS},
        {PART_QKV_BIAS, ROLE_KEY_BIAS},
        {PART_QKV_BIAS, ROLE_VALUE_BIAS},
        {PART_QKV_BIAS, ROLE_QKV_BIAS},
        {PART_OUT_BIAS, ROLE_ATTENTION_OUT_BIAS},
        {PART_MLP_BIAS, ROLE_GATE_BIAS},
        {PART_MLP_BIAS, ROLE_UP_BIAS},
        {PART_MLP_BIAS, ROLE_DOWN_BIAS},
        {PART_HEAD_NORM, ROLE_QUERY_NORM},
        {PART_HEAD_NORM, ROLE_QUERY_NORM_BIAS},
        {PART_HEAD_NORM, ROLE_KEY_NORM},
        {PART_HEAD_NORM, ROLE_KEY_NORM_BIAS},
    };
    for (size_t i = 0; i < sizeof roles / sizeof *roles; i++)
        if (roles[i].part & parts)
            c->has[roles[i].role] = 0;
    if (parts & PART_HEAD_NORM)
        c->head_norm = HEAD_NORM_NONE;
}

static void vector(size_t n, size_t *rows, size_t *cols)
{
    *rows = 1;
    *cols = n;
}

// A norm of query or key vectors; n heads.
static int head_norm_shape(const struct model_config *c, enum tensor_role role, size_t n,
                           size_t *rows, size_t *cols)
{
    vector(c->head_norm == HEAD_NORM_WIDE ? n * c->head_dim : c->head_dim, rows, cols);
    if (c->head_norm != HEAD_NORM_EACH || family_is_per_head(c->family, role))
        return 1;
    *rows = n;
    return 2;
}

int family_is_turned(const struct model_config *c, enum tensor_role role)
{
    switch (role) {
    case ROLE_QUERY:
    case ROLE_KEY:
    case ROLE_VALUE:
    case ROLE_QKV:
    case ROLE_ATTENTION_OUT:
    case ROLE_GATE:
    case ROLE_UP:
    case ROLE_GATE_UP:
    case ROLE_DOWN:
        return c->conv1d;
    default:
        return 0;
    }
}

int family_is_norm(enum tensor_role role)
{
    switch (role) {
    case ROLE_EMBEDDING_NORM:
    case ROLE_FINAL_NORM:
    case ROLE_ATTENTION_NORM:
    case ROLE_QUERY_NORM:
    case ROLE_KEY_NORM:
    case ROLE_ATTENTION_POST_NORM:
    case ROLE_MLP_NORM:
    case ROLE_MLP_POST_NORM:
        return 1;
    default:
        return 0;
    }
}

int family_shape(const struct model_config *c, enum tensor_role role, size_t *rows, size_t *cols)
{
    size_t q = c->heads * c->head_dim, kv = c->kv_heads * c->head_dim;
    const struct {
        size_t out, in; // in 0: a vector
    } shape[ROLE_COUNT] = {
        [ROLE_EMBEDDING] = {c->vocab, c->end_width},
        [ROLE_PROJECT_IN] = {c->hidden, c->end_width},
        [ROLE_EMBEDDING_NORM] = {c->hidden, 0},
        [ROLE_EMBEDDING_NORM_BIAS] = {c->hidden, 0},
        [ROLE_POSITIONS] = {c->max_position + c->position_offset, c->hidden},
        [ROLE_FINAL_NORM] = {c->hidden, 0},
        [ROLE_FINAL_NORM_BIAS] = {c->hidden, 0},
        [ROLE_PROJECT_OUT] = {c->end_width, c->hidden},
        [ROLE_HEAD] = {c->vocab, c->end_width},
        [ROLE_HEAD_BIAS] = {c->vocab, 0},
        [ROLE_REWARD_HEAD] = {1, c->end_width},
        [ROLE_ATTENTION_NORM] = {c->hidden, 0},
        [ROLE_ATTENTION_NORM_BIAS] = {c->hidden, 0},
        [ROLE_QUERY] = {q, c->hidden},
        [ROLE_KEY] = {kv, c->hidden},
        [ROLE_VALUE] = {kv, c->hidden},
        [ROLE_QKV] = {q + 2 * kv, c->hidden},
        [ROLE_QUERY_BIAS] = {q, 0},
        [ROLE_KEY_BIAS] = {kv, 0},
        [ROLE_VALUE_BIAS] = {kv, 0},
        [ROLE_QKV_BIAS] = {q + 2 * kv, 0},
        [ROLE_ATTENTION_OUT] = {c->hidden, q},
        [ROLE_ATTENTION_OUT_BIAS] = {c->hidden, 0},
        [ROLE_ATTENTION_POST_NORM] = {c->hidden, 0},
        [ROLE_ATTENTION_POST_NORM_BIAS] = {c->hidden, 0},
        [ROLE_MLP_NORM] = {c->hidden, 0},
        [ROLE_MLP_NORM_BIAS] = {c->hidden, 0},
        [ROLE_GATE] = {c->intermediate, c->hidden},
        [ROLE_UP] = {c->intermediate, c->hidden},
        [ROLE_GATE_UP] = {2 * c->intermediate, c->hidden},
        [ROLE_GATE_BIAS] = {c->intermediate, 0},
        [ROLE_UP_BIAS] = {c->intermediate, 0},
        [ROLE_DOWN] = {c->hidden, c->intermediate},
        [ROLE_DOWN_BIAS] = {c->hidden, 0},
        [ROLE_MLP_POST_NORM] = {c->hidden, 0},
        [ROLE_MLP_POST_NORM_BIAS] = {c->hidden, 0},
    };
    if (!c->has[role] || (c->norm_bare && family_is_norm(role)))
        return 0;
    if (role == ROLE_QUERY_NORM || role == ROLE_QUERY_NORM_BIAS)
        return head_norm_shape(c, role, c->heads, rows, cols);
    if (role == ROLE_KEY_NORM || role == ROLE_KEY_NORM_BIAS)
        return head_norm_shape(c, role, c->kv_heads, rows, cols);
    if (!shape[role].in) {
        vector(shape[role].out, rows, cols);
        return 1;
    }
    int turned = family_is_turned(c, role);
    *rows = turned ? shape[role].in : shape[role].out;
    *cols = turned ? shape[role].out : shape[role].in;
    return 2;
}
