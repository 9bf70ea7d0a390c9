// SPDX-License-Identifier: MIT
// Families of models: each a row that names the keys of its config.json, the tensors of its
// checkpoints by their role in the decoder, and the decoder's switches. What a row cannot say, a
// short function of family_special.c derives from the keys.
#ifndef MODEL_FAMILY_H
#define MODEL_FAMILY_H

#include "model/config.h"
#include "model/config_keys.h"

enum family_size {
    SIZE_VOCAB,
    SIZE_HIDDEN,
    SIZE_LAYERS,
    SIZE_HEADS,
    SIZE_KV_HEADS,
    SIZE_HEAD_DIM,
    SIZE_INTERMEDIATE,
    SIZE_POSITIONS,
    FAMILY_SIZES
};
// Tensors that a key of config.json switches on.
enum {
    PART_QKV_BIAS = 1,
    PART_OUT_BIAS = 2, // of attention
    PART_MLP_BIAS = 4,
    PART_HEAD_NORM = 8,
    PART_ALL_BIASES = PART_QKV_BIAS | PART_OUT_BIAS | PART_MLP_BIAS,
};
enum { FAMILY_SWITCHES = 3, FAMILY_IGNORED = 24, WRAPPER_TYPES = 2 };

#define FAMILY_TOKEN(id) ((id) + 1)

struct family {
    const char *model_type;
    const char *architecture[HEAD_KINDS]; // in config.json; NULL: transformers has none
    const char *base; // what the names of the body's tensors begin with; files may leave it out
    // printf formats with the layer's number, and the head's where each head has a tensor of its
    // own; NULL: the family has none. "": a norm without a tensor (norm_bare).
    const char *name[ROLE_COUNT];
    const char *other_head; // another name of ROLE_HEAD

    // Keys. A size of the family's own spelling; NULL: the usual one, or none.
    const char *size_key[FAMILY_SIZES];
    const char *eps_key, *activation_key; // eps_key "": no key, always the default
    // What transformers assumes where a key is absent. Sizes: 0: it must be there; of kv_heads:
    // heads, of head_dim: hidden / heads; of the feed-forward part with `wide`: 4 * hidden.
    uint32_t default_vocab, default_heads, default_kv_heads, default_head_dim, default_positions,
        default_intermediate;
    int wide;
    int needs_kv_heads, needs_head_dim; // where transformers fails without the key
    // Keys that its files have and its class does not read. One that ends in `_`: all that begin
    // so.
    const char *ignored[FAMILY_IGNORED];
    uint32_t default_padding;     // the token, as FAMILY_TOKEN; 0: none
    int no_padding;               // pad_token_id means nothing to the embedding
    int scaled_init;              // what adds to the residual stream begins smaller (GPT-2)
    int no_kv_heads, no_head_dim; // there are no such keys: heads, hidden / heads
    double default_eps, default_theta, default_initializer_range;
    const char *default_activation;
    int default_tied;
    struct family_switch {
        const char *key; // NULL: ends the list
        int absent;      // its value then
        int parts;       // PART_...: there only if it is true
    } switches[FAMILY_SWITCHES];

    // Switches of the decoder.
    int norm_centred, norm_bare, parallel, conv1d, rope_interleaved, rope_reversed, no_rope,
        partial_rope;
    float norm_offset;
    size_t position_offset;
    double default_partial;  // with partial_rope
    double default_original; // 0: as for all other families
    int longrope_only;       // and two more names of that type
    int scaled_queries;      // by llama_4_scaling_beta
    int alpha_rope;          // `alpha` makes a dynamic rotary one with another base
    int neox_rope_keys;      // rotary_emb_base, rotary_pct
    enum fusion fusion;
    enum head_norm head_norm;
    int head_norm_late;
    // What is left; the sizes and the layers (default rotary, no window, scale 1 / sqrt(head_dim))
    // are there. NULL: nothing.
    int (*special)(struct model_config *c, struct config_keys *k, struct err *e);
};

// A folder of a multimodal model, of which the text model is read. Names in its files begin with
// `wrapped` or, where the writer kept those of transformers' memory, with `wrapped_base` in the
// place of the base; its other tensors are not the text model's.
struct family_wrapper {
    const char *model_type;
    const char *text_type[WRAPPER_TYPES]; // what it may hold; the first where it does not say
    const char *architecture[HEAD_KINDS];
};
extern const char family_wrapped[], family_wrapped_base[];

const struct family_wrapper *family_find_wrapper(const char *model_type); // NULL: none
// In config.json; NULL: transformers has none.
const char *family_architecture(const struct model_config *c, enum head_kind head);
const struct family *family_find(const char *model_type); // NULL: unknown
// The row after `f`: the same family with other names of tensors.
static inline const struct family *family_variant(const struct family *f)
{
    return f + 1;
}
// "gemma, gpt2, ...": the types known.
const char *family_list(char *out, size_t size);
// Whether the heads of the role's norm have a tensor each.
int family_is_per_head(const struct family *f, enum tensor_role role);
// Whether the role's tensor has a multimodal folder's prefix.
int family_is_wrapped(const struct model_config *c, enum tensor_role role);
// The name of a tensor; `layer` and `head` are used where the role has such.
const char *family_name(const struct model_config *c, enum tensor_role role, size_t layer,
                        size_t head, char *out, size_t size);
// Shape of the role's tensor in the files; rows = 1 for vectors. Returns the number of dimensions,
// 0 where this model has no such tensor.
int family_shape(const struct model_config *c, enum tensor_role role, size_t *rows, size_t *cols);
int family_is_norm(enum tensor_role role); // a norm's weight
// Whether the files keep the role's matrix as [in, out] (Conv1D).
int family_is_turned(const struct model_config *c, enum tensor_role role);
// Takes the roles of the PART_... away.
void family_leave_out(struct model_config *c, int parts);

#endif
