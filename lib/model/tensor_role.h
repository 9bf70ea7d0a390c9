// SPDX-License-Identifier: MIT
// What a tensor of a checkpoint is to the decoder.
#ifndef MODEL_TENSOR_ROLE_H
#define MODEL_TENSOR_ROLE_H

// The bias of a norm follows it.
enum tensor_role {
    // once a model
    ROLE_EMBEDDING,
    ROLE_PROJECT_IN,     // embeddings of another width than the model's
    ROLE_EMBEDDING_NORM, // of what goes into the first layer
    ROLE_EMBEDDING_NORM_BIAS,
    ROLE_POSITIONS, // learned
    ROLE_FINAL_NORM,
    ROLE_FINAL_NORM_BIAS,
    ROLE_PROJECT_OUT, // before a head of another width than the model's
    ROLE_HEAD,
    ROLE_HEAD_BIAS,
    ROLE_REWARD_HEAD,
    // once a layer
    ROLE_ATTENTION_NORM,
    ROLE_ATTENTION_NORM_BIAS,
    ROLE_QUERY,
    ROLE_KEY,
    ROLE_VALUE,
    ROLE_QKV, // query, key and value in one tensor (enum fusion)
    ROLE_QUERY_BIAS,
    ROLE_KEY_BIAS,
    ROLE_VALUE_BIAS,
    ROLE_QKV_BIAS,
    ROLE_QUERY_NORM, // of heads (enum head_norm)
    ROLE_QUERY_NORM_BIAS,
    ROLE_KEY_NORM,
    ROLE_KEY_NORM_BIAS,
    ROLE_ATTENTION_OUT,
    ROLE_ATTENTION_OUT_BIAS,
    ROLE_ATTENTION_POST_NORM, // of what attention adds to the residual stream (norm_sums: of the
                              // sum)
    ROLE_ATTENTION_POST_NORM_BIAS,
    ROLE_MLP_NORM,
    ROLE_MLP_NORM_BIAS,
    ROLE_GATE,
    ROLE_UP, // an MLP without a gate has this one alone
    ROLE_GATE_UP,
    ROLE_GATE_BIAS,
    ROLE_UP_BIAS,
    ROLE_DOWN,
    ROLE_DOWN_BIAS,
    ROLE_MLP_POST_NORM,
    ROLE_MLP_POST_NORM_BIAS,
    ROLE_COUNT,
};
enum { ROLE_LAYER_FIRST = ROLE_ATTENTION_NORM };

#endif
