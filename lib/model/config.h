// SPDX-License-Identifier: MIT
// A model as described by config.json and generation_config.json, in the old or the new form: the
// description of its decoder.
#ifndef MODEL_CONFIG_H
#define MODEL_CONFIG_H

#include "base/error.h"
#include "model/tensor_role.h"
#include "ops/ops.h"
#include <stddef.h>
#include <stdint.h>

struct family;
struct family_wrapper;

enum rope_type {
    ROPE_DEFAULT,
    ROPE_LINEAR,
    ROPE_LLAMA3,
    ROPE_DYNAMIC, // depends on the length of the sequence, beyond the original one
    ROPE_YARN,
    ROPE_LONGROPE, // depends on whether the sequence is longer than the original length
    ROPE_TYPES
};
enum { WIDTH_MAX = 1 << 20 }; // of hidden states and the like
enum { EOS_MAX = 16, ROPES_MAX = 2, ROPE_DIMS_MAX = 1024 };
// What stands on the decoder: scores of the vocabulary (...ForCausalLM), or one number a position
// (...ForSequenceClassification with one label: a reward model).
enum head_kind { HEAD_VOCABULARY, HEAD_REWARD, HEAD_KINDS };
// How query, key and value lie in one tensor.
enum fusion {
    FUSION_NONE,
    FUSION_BLOCKS, // all queries, all keys, all values: ROLE_QUERY .. are views of ROLE_QKV
    FUSION_GROUPS, // group by group (struct grouping): ROLE_QUERY .. do not exist
};
// Norms of query and key vectors, before rotary or after it.
enum head_norm {
    HEAD_NORM_NONE,
    HEAD_NORM_SHARED, // one weight [head_dim] for all heads
    HEAD_NORM_EACH,   // a weight a head
    HEAD_NORM_WIDE,   // one norm over all heads together
};

struct rope_config {
    enum rope_type type;
    size_t dims; // of each head that turn; even
    size_t
        divisor; // of the exponents of theta: dims, or one less where an odd number was asked for
    double theta, factor, low_freq_factor, high_freq_factor, original_max_position;
    double beta_fast, beta_slow; // yarn
    int truncate;
    double *short_factor, *long_factor; // longrope: [dims / 2], owned by the configuration
    double attention_factor;            // cos and sin are multiplied by it
};
struct layer_config {
    int rope;      // index into rope[]; -1: the layer has no rotary
    size_t window; // position i sees j with i - j < window; 0: all
    float scale;   // of scores
};

struct model_config {
    char model_type[32];
    const struct family *family;
    const struct family_wrapper *wrapper; // of a multimodal folder; NULL: none
    size_t vocab, hidden, layers, heads, kv_heads, head_dim, intermediate;
    size_t end_width;    // of the embedding and of what the head reads: hidden, unless projections
                         // stand between
    size_t max_position; // learned positions end there; rotary ones were trained up to there
    enum head_kind head; // from `architectures`
    int tied;
    // The decoder's switches.
    uint8_t has[ROLE_COUNT]; // which tensors there are (norm_bare: and which norms)
    struct rope_config rope[ROPES_MAX];
    size_t n_ropes;
    int rope_interleaved; // pairs are (2k, 2k + 1)
    int rope_reversed;    // by minus the angle
    int rope_restart;     // generation that grows beyond longrope's original length computes
                          // the whole sequence again (Phi-3), not only what comes after
    // Queries at position p times 1 + query_beta ln(1 + floor(p / query_period)); period 0: as they
    // are.
    double query_beta, query_period;
    struct layer_config *layer; // [layers], owned
    enum fusion fusion;
    enum head_norm head_norm;
    int head_norm_late; // after rotary
    int norm_centred;   // LayerNorm
    int norm_bare; // no norm has a weight or bias: `has` says which norms there are, not tensors
    int norm_sums; // the norms behind attention and MLP are of the residual stream, not of what is
                   // added to it
    float norm_eps, norm_offset;
    int parallel; // attention and MLP read the same residual stream; without ROLE_MLP_NORM the same
                  // norm of it
    enum activation activation;
    int conv1d; // projections of the layers are stored [in, out]
    int alibi;
    float embedding_scale;                           // of token embeddings
    float residual_scale;                            // of what attention and MLP add
    float logit_scale, score_softcap, logit_softcap; // caps: 0: none
    float
        clip_qkv; // query, key and value are clamped to +- this, right after the projection; 0: no
    size_t position_offset; // learned: position p reads row p + this
    double initializer_range;
    enum dtype dtype;      // that config.json declares; the files' own types count
    int64_t padding;       // the token whose embedding learns nothing from being read; -1: none
    uint32_t eos[EOS_MAX]; // generation_config.json wins over config.json
    size_t n_eos;
    char unread[400]; // keys of config.json that transformers does not read either; "": none
};

// Reads the files of the directory `at`. What is not understood is refused with a message that
// names the key: an unknown model_type, activation, rope type, a quantised checkpoint, and a key
// that transformers reads for the family, unless it is used or known to change no number.
MUST_CHECK int config_read(struct model_config *c, int at, struct err *e);
// The same, from a file of another name than config.json.
MUST_CHECK int config_read_file(struct model_config *c, int at, const char *name, struct err *e);
void config_release(struct model_config *c);
const char *config_rope_name(enum rope_type type);
// Inverse frequencies [dims / 2] for a sequence of `length` tokens, rounded to fp32 as
// transformers holds them (modeling_rope_utils). Types that do not depend on it ignore `length`.
void config_rope_frequencies(const struct model_config *c, const struct rope_config *r,
                             size_t length, float *out);

#endif
