// SPDX-License-Identifier: MIT
// Keys of config.json that transformers 5.24.0 reads. Written by .ci/config_read_keys.py.
#ifndef MODEL_CONFIG_READ_KEYS_H
#define MODEL_CONFIG_READ_KEYS_H

static const struct read_keys {
    const char *family, *keys; // in order, with a blank between
} read_keys[] = {
    {"*",
     "_attn_implementation _commit_hash _rope_type_labels add_cross_attention "
     "allow_is_causal_skip architectures attention_chunk_size attn_implementation block_table "
     "cache cache_seqlens capture_scalar_outputs chain_hidden_post_norm chunk_size_feed_forward "
     "classifier_dropout compression_config config cross_attention_hidden_size cumulative_length "
     "default_theta deterministic dropout_p dtype enable_gqa experts_implementation head_dim "
     "hidden_dropout hidden_size id2label is_causal is_encoder_decoder is_heterogeneous json "
     "kv_sharing_modes label2id layer_past layer_type layer_types learnable_sink "
     "logits_mup_width_multiplier max_position_embeddings max_seqlen_k max_seqlen_q "
     "mtp_hidden_states_first name_or_path num_attention_heads num_hidden_layers num_labels "
     "number_of_conv_states number_of_states original_max_position_embeddings output_attentions "
     "output_hidden_states page_table partial_rotary_factor per_layer_config problem_type "
     "pruned_heads quantization_config return_dict rms_norm_eps rope_parameters rope_scaling "
     "rope_theta s_aux sliding_window softcap tie_encoder_decoder token_classification_bias "
     "torch_dtype transformers_version unpadded_vocab_size use_cache vocab_size window_size"},
    {"rope",
     "alpha attention_factor beta_fast beta_slow factor full_attention high_freq_factor "
     "llama_4_scaling_beta long_factor low_freq_factor mscale mscale_all_dim "
     "original_max_position_embeddings partial_rotary_factor rope_theta rope_type short_factor "
     "sliding_attention truncate type"},
    {"arcee",
     "attention_bias attention_dropout bos_token_id eos_token_id hidden_act initializer_range "
     "intermediate_size mlp_bias num_key_value_heads pad_token_id tie_word_embeddings"},
    {"cohere",
     "attention_bias attention_dropout bos_token_id eos_token_id hidden_act initializer_range "
     "intermediate_size layer_norm_eps logit_scale num_key_value_heads pad_token_id "
     "tie_word_embeddings use_qk_norm"},
    {"cohere2",
     "attention_bias attention_dropout bos_token_id eos_token_id hidden_act initializer_range "
     "intermediate_size layer_norm_eps logit_scale num_key_value_heads pad_token_id "
     "sliding_window_pattern tie_word_embeddings"},
    {"ernie4_5", "bos_token_id eos_token_id hidden_act initializer_range intermediate_size "
                 "num_key_value_heads pad_token_id tie_word_embeddings use_bias"},
    {"exaone4",
     "attention_dropout bos_token_id eos_token_id hidden_act initializer_range intermediate_size "
     "num_key_value_heads pad_token_id sliding_window_pattern tie_word_embeddings"},
    {"falcon",
     "_is_quantized activation alibi attention_dropout bias bos_token_id eos_token_id "
     "ffn_hidden_size initializer_range layer_norm_epsilon multi_query n_embed "
     "new_decoder_architecture num_kv_heads num_ln_in_parallel_attn pad_token_id parallel_attn "
     "tie_word_embeddings"},
    {"gemma",
     "attention_bias attention_dropout bos_token_id eos_token_id hidden_act initializer_range "
     "intermediate_size num_key_value_heads pad_token_id tie_word_embeddings "
     "use_bidirectional_attention"},
    {"gemma2", "attention_bias attention_dropout attn_logit_softcapping bos_token_id eos_token_id "
               "final_logit_softcapping hidden_activation initializer_range intermediate_size "
               "num_key_value_heads pad_token_id query_pre_attn_scalar tie_word_embeddings "
               "use_bidirectional_attention"},
    {"gemma3_text",
     "attention_bias attention_dropout attn_logit_softcapping bos_token_id eos_token_id "
     "final_logit_softcapping hidden_activation image_token_id initializer_range "
     "intermediate_size mm_tokens_per_image num_key_value_heads or_mask_function pad_token_id "
     "query_pre_attn_scalar rope_local_base_freq sliding_window_pattern text_config "
     "tie_word_embeddings token_type_ids use_bidirectional_attention vision_config"},
    {"glm",
     "attention_bias attention_dropout bos_token_id eos_token_id hidden_act initializer_range "
     "intermediate_size num_key_value_heads pad_token_id tie_word_embeddings"},
    {"glm4",
     "attention_bias attention_dropout bos_token_id eos_token_id hidden_act initializer_range "
     "intermediate_size num_key_value_heads pad_token_id tie_word_embeddings"},
    {"gpt2",
     "activation_function attn_pdrop bos_token_id crossattention embd_pdrop eos_token_id "
     "initializer_range layer_norm_epsilon n_embd n_head n_inner n_layer n_positions "
     "pad_token_id q_attn reorder_and_upcast_attn resid_pdrop scale_attn_by_inverse_layer_idx "
     "scale_attn_weights summary_activation summary_first_dropout summary_last_dropout "
     "summary_proj_to_labels summary_type summary_use_proj tie_word_embeddings"},
    {"gpt_bigcode",
     "activation_function attention_softmax_in_fp32 attn_pdrop bos_token_id crossattention "
     "embd_pdrop eos_token_id initializer_range layer_norm_epsilon multi_query n_embd n_head "
     "n_inner n_layer n_positions pad_token_id q_attn resid_pdrop "
     "scale_attention_softmax_in_fp32 scale_attn_weights tie_word_embeddings"},
    {"gpt_neo",
     "_is_quantized activation_function attention_dropout attention_layers attention_types "
     "bos_token_id embed_dropout eos_token_id initializer_range intermediate_size "
     "layer_norm_epsilon num_heads num_layers pad_token_id resid_dropout tie_word_embeddings"},
    {"gpt_neox",
     "attention_bias attention_dropout bos_token_id eos_token_id hidden_act initializer_range "
     "intermediate_size is_decoder layer_norm_eps pad_token_id rotary_emb_base rotary_pct "
     "tie_word_embeddings use_parallel_residual"},
    {"granite",
     "attention_bias attention_dropout attention_multiplier bos_token_id embedding_multiplier "
     "eos_token_id hidden_act initializer_range intermediate_size logits_scaling mlp_bias "
     "num_key_value_heads pad_token_id residual_multiplier tie_word_embeddings"},
    {"granitemoehybrid",
     "attention_bias attention_dropout attention_multiplier bos_token_id embedding_multiplier "
     "eos_token_id hidden_act initializer_range intermediate_size layers_block_type "
     "logits_scaling mamba_chunk_size mamba_conv_bias mamba_d_conv mamba_d_head mamba_d_state "
     "mamba_expand mamba_n_groups mamba_n_heads mamba_proj_bias num_experts_per_tok "
     "num_key_value_heads num_local_experts output_router_logits pad_token_id "
     "position_embedding_type residual_multiplier router_aux_loss_coef shared_intermediate_size "
     "tie_word_embeddings time_step_limit"},
    {"hunyuan_v1_dense",
     "attention_bias attention_dropout bos_token_id eod_token_id eos_token_id hidden_act "
     "initializer_range intermediate_size num_key_value_heads pad_token_id pretraining_tp "
     "tie_word_embeddings"},
    {"llama",
     "attention_bias attention_dropout bos_token_id eos_token_id hidden_act initializer_range "
     "intermediate_size mlp_bias num_key_value_heads pad_token_id pretraining_tp "
     "tie_word_embeddings"},
    {"ministral",
     "attention_dropout bos_token_id eos_token_id hidden_act initializer_range intermediate_size "
     "num_key_value_heads pad_token_id tie_word_embeddings"},
    {"ministral3",
     "attention_dropout bos_token_id eos_token_id hidden_act initializer_range intermediate_size "
     "num_key_value_heads pad_token_id tie_word_embeddings"},
    {"mistral",
     "attention_dropout bos_token_id eos_token_id hidden_act initializer_range intermediate_size "
     "num_key_value_heads pad_token_id tie_word_embeddings"},
    {"nanochat",
     "attention_bias attention_dropout bos_token_id eos_token_id final_logit_softcapping "
     "hidden_act initializer_range intermediate_size num_key_value_heads pad_token_id "
     "tie_word_embeddings"},
    {"nemotron",
     "attention_bias attention_dropout bos_token_id eos_token_id hidden_act initializer_range "
     "intermediate_size mlp_bias norm_eps num_key_value_heads pad_token_id tie_word_embeddings"},
    {"olmo",
     "attention_bias attention_dropout bos_token_id clip_qkv eos_token_id hidden_act "
     "initializer_range intermediate_size num_key_value_heads pad_token_id tie_word_embeddings"},
    {"olmo2",
     "attention_bias attention_dropout bos_token_id eos_token_id hidden_act initializer_range "
     "intermediate_size num_key_value_heads pad_token_id tie_word_embeddings"},
    {"olmo3",
     "attention_bias attention_dropout bos_token_id eos_token_id hidden_act initializer_range "
     "intermediate_size num_key_value_heads pad_token_id tie_word_embeddings"},
    {"opt", "_remove_final_layer_norm activation_function attention_dropout bos_token_id "
            "do_layer_norm_before dropout enable_bias eos_token_id ffn_dim init_std "
            "layer_norm_elementwise_affine layerdrop pad_token_id tie_word_embeddings "
            "word_embed_proj_dim"},
    {"phi",
     "attention_dropout bos_token_id embd_pdrop eos_token_id hidden_act initializer_range "
     "intermediate_size layer_norm_eps num_key_value_heads pad_token_id qk_layernorm resid_pdrop "
     "tie_word_embeddings"},
    {"phi3", "attention_dropout bos_token_id embd_pdrop eos_token_id hidden_act initializer_range "
             "intermediate_size next_sequence_length num_key_value_heads pad_token_id resid_pdrop "
             "tie_word_embeddings"},
    {"qwen2",
     "attention_dropout bos_token_id eos_token_id hidden_act initializer_range intermediate_size "
     "max_window_layers num_key_value_heads pad_token_id tie_word_embeddings use_sliding_window"},
    {"qwen3",
     "attention_bias attention_dropout bos_token_id eos_token_id hidden_act initializer_range "
     "intermediate_size max_window_layers num_key_value_heads pad_token_id tie_word_embeddings "
     "use_sliding_window"},
    {"seed_oss",
     "attention_bias attention_dropout attention_out_bias bos_token_id eos_token_id hidden_act "
     "initializer_range intermediate_size mlp_bias num_key_value_heads pad_token_id "
     "pretraining_tp residual_dropout tie_word_embeddings"},
    {"smollm3",
     "attention_bias attention_dropout bos_token_id eos_token_id hidden_act initializer_range "
     "intermediate_size mlp_bias no_rope_layer_interval no_rope_layers num_key_value_heads "
     "pad_token_id tie_word_embeddings use_sliding_window"},
    {"stablelm",
     "attention_dropout bos_token_id eos_token_id hidden_act initializer_range intermediate_size "
     "layer_norm_eps num_key_value_heads pad_token_id qk_layernorm tie_word_embeddings "
     "use_parallel_residual use_qkv_bias"},
    {"starcoder2",
     "attention_dropout bos_token_id embedding_dropout eos_token_id hidden_act initializer_range "
     "intermediate_size norm_epsilon num_key_value_heads pad_token_id residual_dropout "
     "tie_word_embeddings use_bias"},
};

#endif
