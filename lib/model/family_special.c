// SPDX-License-Identifier: MIT
#include "model/family_special.h"
#include "base/memory.h"
#include "model/activation.h"
#include "model/config_layers.h"
#include "model/config_rope.h"
#include "model/family.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static int need_true(struct config_keys *k, const char *key, struct err *e)
{
    int value = 1;
    if (keys_bool(k, key, &value, e) < 0)
        return -1;
    return value ? 0 : keys_refuse(k, key, "false", e);
}

int special_cohere(struct model_config *c, struct config_keys *k, struct err *e)
{
    double scale = 0.0625;
    if (keys_real(k, "logit_scale", &scale, e) < 0)
        return -1;
    c->logit_scale = (float)scale;
    return 0;
}

// Layers with a window have rotary positions, the others none.
static void full_without_rope(struct model_config *c)
{
    for (size_t i = 0; i < c->layers; i++)
        c->layer[i].rope = c->layer[i].window ? 0 : -1;
}

int special_cohere2(struct model_config *c, struct config_keys *k, struct err *e)
{
    static const char *const fixed[] = {"use_gated_activation", "use_parallel_block"};
    size_t pattern = 4, window = 4096;
    for (size_t i = 0; i < sizeof fixed / sizeof *fixed; i++)
        if (need_true(k, fixed[i], e) < 0)
            return -1;
    if (special_cohere(c, k, e) < 0 ||
        keys_agree_string(k, "order_of_interleaved_layers", "local_attn_first", e) < 0 ||
        keys_agree_string(k, "position_embedding_type", "rope_gptj", e) < 0 ||
        keys_agree_real(k, "rotary_pct", 1, e) < 0 ||
        keys_agree_bool(k, "use_embedding_sharing", c->tied, e) < 0 ||
        keys_size(k, "sliding_window_pattern", &pattern, WINDOW_MAX, e) < 0 ||
        layers_read_pattern(c, k, pattern, 0, &window, e) < 0)
        return -1;
    full_without_rope(c);
    return 0;
}

// A pattern in letters, null or 0 needs `layer_types` beside it, which counts.
static int exaone4_pattern(struct config_keys *k, size_t *pattern, struct err *e)
{
    static const char key[] = "sliding_window_pattern";
    const json_t *value = json_object_get(k->left, key);
    if (!value || (json_is_integer(value) && json_integer_value(value) != 0))
        return keys_size(k, key, pattern, WINDOW_MAX, e);
    if (!json_is_array(json_object_get(k->left, "layer_types")))
        return err_set(e, STATUS_FAILED,
                       "%s: key `%s` is no interval, and `layer_types` is missing", k->file, key);
    json_object_del(k->left, key);
    return 0;
}

int special_exaone4(struct model_config *c, struct config_keys *k, struct err *e)
{
    size_t pattern = 4, window = 4096;
    if (exaone4_pattern(k, &pattern, e) < 0 ||
        layers_read_pattern(c, k, pattern, 1, &window, e) < 0)
        return -1;
    if (window)
        full_without_rope(c);
    return 0;
}

// The norms of Falcon's layers: two before a sequential layer, one before a parallel one, and in
// the new architecture one or two, of other names.
static int falcon_norms(struct model_config *c, struct config_keys *k, int new, struct err *e)
{
    int64_t norms = new ? 2 : 1;
    int parallel = 1;
    if (keys_int(k, "num_ln_in_parallel_attn", &norms, e) < 0 ||
        keys_bool(k, "parallel_attn", &parallel, e) < 0)
        return -1;
    if (new && !parallel)
        return keys_refuse(k, "parallel_attn", "false (with `new_decoder_architecture`)", e);
    if (norms != 1 && !(new &&norms == 2) && parallel)
        return err_set(e, STATUS_FAILED,
                       "%s: key `num_ln_in_parallel_attn`: %lld is not known to this version",
                       k->file, (long long)norms);
    c->parallel = parallel;
    if (new &&norms == 2)
        c->family = family_variant(c->family);
    else if (parallel)
        c->has[ROLE_MLP_NORM] = c->has[ROLE_MLP_NORM_BIAS] = 0;
    return 0;
}

int special_falcon(struct model_config *c, struct config_keys *k, struct err *e)
{
    int new = 0, multi_query = 1;
    if (keys_bool(k, "alibi", &c->alibi, e) < 0 ||
        keys_bool(k, "new_decoder_architecture", &new, e) < 0 ||
        keys_bool(k, "multi_query", &multi_query, e) < 0 || falcon_norms(c, k, new, e) < 0)
        return -1;
    if (!new &&multi_query) { // whatever num_kv_heads says
        c->kv_heads = 1;
        c->fusion = FUSION_BLOCKS;
    } else if (!new && c->kv_heads != c->heads) {
        return err_set(e, STATUS_FAILED,
                       "%s: key `num_kv_heads`: %zu, where each of the %zu heads has its own",
                       k->file, c->kv_heads, c->heads);
    }
    if (c->intermediate % c->hidden == 0 &&
        keys_agree_int(k, "ff_factor", (int64_t)(c->intermediate / c->hidden), e) < 0)
        return -1;
    return 0;
}

static void scale_embedding(struct model_config *c)
{
    c->embedding_scale = (float)sqrt((double)c->hidden);
}

// A second key for the activation, which transformers does not read.
static int agree_activation(const struct model_config *c, struct config_keys *k, const char *key,
                            struct err *e)
{
    char name[64] = "";
    enum activation other = c->activation;
    if (keys_string(k, key, name, sizeof name, e) < 0)
        return -1;
    if (*name && strcmp(name, "gelu") != 0 && // a legacy value: the tanh form is meant
        (activation_find(name, &other) < 0 || other != c->activation))
        return keys_refuse(k, key, name, e);
    return 0;
}

int special_gemma(struct model_config *c, struct config_keys *k, struct err *e)
{
    if (c->activation == ACTIVATION_GELU) // likewise
        c->activation = ACTIVATION_GELU_TANH;
    scale_embedding(c);
    return agree_activation(c, k, "hidden_activation", e);
}

// A cap, soft or hard: null is none.
static int read_softcap(struct config_keys *k, const char *key, double absent, float *out,
                        struct err *e)
{
    double softcap = absent;
    int state = keys_real(k, key, &softcap, e);
    if (state < 0)
        return -1;
    if (state == KEY_NULL)
        softcap = 0;
    if (softcap < 0 || (state == KEY_FOUND && softcap == 0))
        return err_set(e, STATUS_FAILED, "%s: key `%s` must be positive", k->file, key);
    *out = (float)softcap;
    return 0;
}

// What Gemma 2 and 3 share. Layer i has no window where i + 1 is a multiple of `pattern`.
static int gemma_layers(struct model_config *c, struct config_keys *k, size_t pattern,
                        const double caps[2], struct err *e)
{
    double scalar = 256;
    size_t window = 4096;
    scale_embedding(c);
    if (agree_activation(c, k, "hidden_act", e) < 0 ||
        keys_real(k, "query_pre_attn_scalar", &scalar, e) < 0 ||
        read_softcap(k, "attn_logit_softcapping", caps[0], &c->score_softcap, e) < 0 ||
        read_softcap(k, "final_logit_softcapping", caps[1], &c->logit_softcap, e) < 0 ||
        layers_read_pattern(c, k, pattern, 0, &window, e) < 0)
        return -1;
    if (!(scalar > 0))
        return err_set(e, STATUS_FAILED, "%s: key `query_pre_attn_scalar` must be positive",
                       k->file);
    layers_set_scale(c, 1 / sqrt(scalar));
    if (window && keys_agree_int(k, "sliding_window_size", (int64_t)window, e) < 0)
        return -1;
    return 0;
}

int special_gemma2(struct model_config *c, struct config_keys *k, struct err *e)
{
    return gemma_layers(c, k, 2, (double[2]){50, 30}, e);
}

// Global layers have one rotary, those with a window another, with these bases where the object of
// parameters names none. The old form scales the first.
static int ropes_by_window(struct model_config *c, struct config_keys *k, const double theta[2],
                           struct err *e)
{
    static const char *const kind[2] = {"full_attention", "sliding_attention"};
    json_t *scaling = keys_value(k, "rope_scaling"), *nested = keys_value(k, "rope_parameters");
    int result = 0;
    if ((scaling && !json_is_object(scaling)) || (nested && !json_is_object(nested)))
        result = err_set(e, STATUS_FAILED,
                         "%s: key `rope_scaling` or `rope_parameters`: not an object", k->file);
    for (int i = 0; i < 2 && result == 0; i++) {
        json_t *one = json_object_get(nested, kind[i]);
        one = json_is_object(one) ? json_copy(one) : json_object();
        if (i == 0 && scaling)
            json_object_update(one, scaling);
        result = rope_add(c, one, theta[i], 1, 0, e);
        json_decref(one);
    }
    const char *key;
    json_t *value;
    json_object_foreach(nested, key, value)
    {
        if (result == 0 && strcmp(key, kind[0]) != 0 && strcmp(key, kind[1]) != 0)
            result =
                err_set(e, STATUS_FAILED,
                        "%s: key `rope_parameters`: `%.100s` is not a type of layer", k->file, key);
    }
    json_decref(scaling);
    json_decref(nested);
    for (size_t i = 0; i < c->layers; i++)
        c->layer[i].rope = c->layer[i].window != 0;
    return result;
}

int special_gemma3(struct model_config *c, struct config_keys *k, struct err *e)
{
    size_t pattern = 6;
    json_decref(keys_value(k, "_sliding_window_pattern")); // `layer_types` says it
    if (keys_size(k, "sliding_window_pattern", &pattern, WINDOW_MAX, e) < 0)
        return -1;
    if (gemma_layers(c, k, pattern, (double[2]){0, 0}, e) < 0)
        return -1;
    c->score_softcap = 0; // transformers keeps the key of Gemma 2 and does not hand it to attention
    double theta[2] = {1000000, 10000};
    if (keys_real(k, "rope_theta", &theta[0], e) < 0 ||
        keys_real(k, "rope_local_base_freq", &theta[1], e) < 0)
        return -1;
    return ropes_by_window(c, k, theta, e);
}

static int read_scaled(struct model_config *c, struct config_keys *k, struct err *e)
{
    int scaled = 1;
    if (keys_bool(k, "scale_attn_weights", &scaled, e) < 0)
        return -1;
    if (!scaled)
        layers_set_scale(c, 1);
    return 0;
}

int special_gpt2(struct model_config *c, struct config_keys *k, struct err *e)
{
    int by_layer = 0, reorder; // the second changes nothing but the rounding of half precision
    if (read_scaled(c, k, e) < 0 ||
        keys_bool(k, "scale_attn_by_inverse_layer_idx", &by_layer, e) < 0 ||
        keys_bool(k, "reorder_and_upcast_attn", &reorder, e) < 0)
        return -1;
    for (size_t i = 0; by_layer && i < c->layers; i++)
        c->layer[i].scale /= (float)(i + 1);
    return 0;
}

int special_gpt_bigcode(struct model_config *c, struct config_keys *k, struct err *e)
{
    int multi_query = 1;
    if (read_scaled(c, k, e) < 0 || keys_bool(k, "multi_query", &multi_query, e) < 0)
        return -1;
    if (multi_query)
        c->kv_heads = 1;
    else
        c->fusion = FUSION_GROUPS;
    return 0;
}

static int is_local(const struct config_keys *k, const json_t *name, uint8_t *out, struct err *e)
{
    const char *text = json_string_value(name);
    *out = text && !strcmp(text, "local");
    if (*out || (text && !strcmp(text, "global")))
        return 0;
    return keys_refuse(k, "attention_types", text ? text : "not a string", e);
}

// [[["global", "local"], 12], ...]: each pattern so many times.
static int expand_types(const struct model_config *c, const struct config_keys *k,
                        const json_t *types, uint8_t *local, struct err *e)
{
    size_t n = 0;
    int result = 0;
    for (size_t i = 0; i < json_array_size(types) && result == 0; i++) {
        const json_t *pair = json_array_get(types, i), *pattern = json_array_get(pair, 0);
        const json_t *count = json_array_get(pair, 1);
        json_int_t times = json_is_integer(count) ? json_integer_value(count) : -1;
        size_t size = json_array_size(pattern);
        if (!size || times < 0)
            return keys_refuse(k, "attention_types", "not [[[type, ...], times], ...]", e);
        for (json_int_t t = 0; t < times && result == 0; t++)
            for (size_t p = 0; p < size && result == 0; p++, n++) {
                if (n == c->layers)
                    return err_set(e, STATUS_FAILED,
                                   "%s: key `attention_types`: more than the %zu layers", k->file,
                                   n);
                result = is_local(k, json_array_get(pattern, p), &local[n], e);
            }
    }
    if (result == 0 && n != c->layers)
        return err_set(e, STATUS_FAILED, "%s: key `attention_types`: %zu entries for %zu layers",
                       k->file, n, c->layers);
    return result;
}

// What transformers writes beside attention_types.
static int agree_layers(const struct model_config *c, struct config_keys *k, const uint8_t *local,
                        struct err *e)
{
    json_t *list = keys_value(k, "attention_layers");
    int result = 0;
    if (list && json_array_size(list) != c->layers)
        result = keys_refuse(k, "attention_layers", "a list of another length", e);
    for (size_t i = 0; list && i < c->layers && result == 0; i++) {
        uint8_t one;
        result = is_local(k, json_array_get(list, i), &one, e);
        if (result == 0 && one != local[i])
            result = keys_refuse(k, "attention_layers", "not as in `attention_types`", e);
    }
    json_decref(list);
    return result;
}

int special_gpt_neo(struct model_config *c, struct config_keys *k, struct err *e)
{
    size_t window = 256;
    if (keys_size(k, "window_size", &window, WINDOW_MAX, e) < 0)
        return -1;
    json_t *types = keys_value(k, "attention_types");
    if (!types)
        types = json_pack("[[[s,s],i]]", "global", "local", 12);
    uint8_t *local = mem_alloc(c->layers, 1, "layer types", e);
    int result = local && types ? expand_types(c, k, types, local, e) : -1;
    if (result == 0)
        result = agree_layers(c, k, local, e);
    if (result == 0)
        result = layers_set_sliding(c, k, local, window, e);
    layers_set_scale(c, 1);
    json_decref(types);
    free(local);
    return result;
}

int special_gpt_neox(struct model_config *c, struct config_keys *k, struct err *e)
{
    c->parallel = 1;
    return keys_bool(k, "use_parallel_residual", &c->parallel, e) < 0 ? -1 : 0;
}

int special_granite(struct model_config *c, struct config_keys *k, struct err *e)
{
    double embedding = 1, logits = 1, residual = 1, attention = 1;
    if (keys_real(k, "embedding_multiplier", &embedding, e) < 0 ||
        keys_real(k, "logits_scaling", &logits, e) < 0 ||
        keys_real(k, "residual_multiplier", &residual, e) < 0 ||
        keys_real(k, "attention_multiplier", &attention, e) < 0)
        return -1;
    if (!(fabs(logits) > 1e-30))
        return err_set(e, STATUS_FAILED, "%s: key `logits_scaling` divides: it must not be 0",
                       k->file);
    c->embedding_scale = (float)embedding;
    c->logit_scale = (float)(1 / logits);
    c->residual_scale = (float)residual;
    layers_set_scale(c, attention);
    return 0;
}

// Its layers may be state spaces, and its feed-forward parts experts: what neither has is Granite.
static int granite_layers(const struct model_config *c, struct config_keys *k, struct err *e)
{
    json_t *list = keys_value(k, "layer_types"), *other = keys_value(k, "layers_block_type");
    const json_t *types = list ? list : other;
    int result = 0;
    if (!types)
        result = keys_refuse(k, "layer_types", "absent, which means mamba in all layers", e);
    else if (json_array_size(types) != c->layers)
        result = err_set(e, STATUS_FAILED, "%s: key `layer_types`: %zu entries for %zu layers",
                         k->file, json_array_size(types), c->layers);
    for (size_t i = 0; i < json_array_size(types) && result == 0; i++) {
        const char *type = json_string_value(json_array_get(types, i));
        if (!type || (strcmp(type, "attention") != 0 && strcmp(type, "full_attention") != 0))
            result = keys_refuse(k, "layer_types", type ? type : "not a string", e);
    }
    json_decref(list);
    json_decref(other);
    return result;
}

int special_granitemoehybrid(struct model_config *c, struct config_keys *k, struct err *e)
{
    char positions[32] = "";
    int64_t experts = 8;
    if (special_granite(c, k, e) < 0 || granite_layers(c, k, e) < 0 ||
        keys_int(k, "num_local_experts", &experts, e) < 0 ||
        keys_string(k, "position_embedding_type", positions, sizeof positions, e) < 0 ||
        keys_agree_string(k, "normalization_function", "rmsnorm", e) < 0)
        return -1;
    if (experts != 0)
        return err_set(
            e, STATUS_FAILED,
            "%s: key `num_local_experts`: %lld experts, which this version does not have", k->file,
            (long long)experts);
    for (size_t i = 0; strcmp(positions, "rope") != 0 && i < c->layers; i++)
        c->layer[i].rope = -1;
    return 0;
}

int special_ministral(struct model_config *c, struct config_keys *k, struct err *e)
{
    size_t window = 4096;
    return layers_read_pattern(c, k, 0, 1, &window, e);
}

static int window_everywhere(struct model_config *c, struct config_keys *k, size_t absent,
                             struct err *e)
{
    size_t window = absent;
    if (layers_read_window(k, &window, e) < 0)
        return -1;
    layers_set_window(c, window);
    return 0;
}

int special_mistral(struct model_config *c, struct config_keys *k, struct err *e)
{
    return window_everywhere(c, k, 4096, e);
}

int special_ministral3(struct model_config *c, struct config_keys *k, struct err *e)
{
    if (!json_object_get(k->left, "rope_parameters") && !json_object_get(k->left, "rope_scaling"))
        json_object_set_new(k->left, "rope_parameters",
                            json_pack("{s:s, s:f, s:f, s:i, s:f, s:f, s:f}", "rope_type", "yarn",
                                      "rope_theta", 1e6, "factor", 16.0,
                                      "original_max_position_embeddings", 16384, "mscale", 1.0,
                                      "mscale_all_dim", 1.0, "llama_4_scaling_beta", 0.1));
    return window_everywhere(c, k, 0, e);
}

int special_nanochat(struct model_config *c, struct config_keys *k, struct err *e)
{
    return read_softcap(k, "final_logit_softcapping", 15, &c->logit_softcap, e);
}

int special_olmo(struct model_config *c, struct config_keys *k, struct err *e)
{
    return read_softcap(k, "clip_qkv", 0, &c->clip_qkv, e);
}

// transformers 4 gives an old `rope_theta` to all layers, 5 to those without a window only: it must
// be the one that the others have anyway.
int special_olmo3(struct model_config *c, struct config_keys *k, struct err *e)
{
    static const double theta[2] = {500000, 500000};
    size_t window = 4096;
    if (keys_agree_real(k, "rope_theta", theta[0], e) < 0 ||
        layers_read_pattern(c, k, 4, 0, &window, e) < 0)
        return -1;
    return ropes_by_window(c, k, theta, e);
}

// Norms before attention and MLP, and one at the end; or one behind each, of the sum.
static int opt_norms(struct model_config *c, struct config_keys *k, struct err *e)
{
    static const struct {
        enum tensor_role before, behind;
    } norms[] = {{ROLE_ATTENTION_NORM, ROLE_ATTENTION_POST_NORM},
                 {ROLE_ATTENTION_NORM_BIAS, ROLE_ATTENTION_POST_NORM_BIAS},
                 {ROLE_MLP_NORM, ROLE_MLP_POST_NORM},
                 {ROLE_MLP_NORM_BIAS, ROLE_MLP_POST_NORM_BIAS}};
    int before = 1, removed = 0, affine = 1;
    if (keys_bool(k, "do_layer_norm_before", &before, e) < 0 ||
        keys_bool(k, "_remove_final_layer_norm", &removed, e) < 0 ||
        keys_bool(k, "layer_norm_elementwise_affine", &affine, e) < 0)
        return -1;
    c->norm_bare = !affine;
    c->norm_sums = !before;
    for (size_t i = 0; i < sizeof norms / sizeof *norms; i++)
        c->has[before ? norms[i].behind : norms[i].before] = 0;
    if (!before || removed)
        c->has[ROLE_FINAL_NORM] = c->has[ROLE_FINAL_NORM_BIAS] = 0;
    return 0;
}

int special_opt(struct model_config *c, struct config_keys *k, struct err *e)
{
    if (opt_norms(c, k, e) < 0 || keys_real(k, "init_std", &c->initializer_range, e) < 0 ||
        keys_size(k, "word_embed_proj_dim", &c->end_width, WIDTH_MAX, e) < 0)
        return -1;
    if (c->end_width == c->hidden)
        c->has[ROLE_PROJECT_IN] = c->has[ROLE_PROJECT_OUT] = 0;
    return 0;
}

int special_phi3(struct model_config *c, struct config_keys *k, struct err *e)
{
    c->rope_restart = 1;
    if (keys_agree_int(k, "full_attn_mod", 1, e) < 0 ||
        keys_agree_int(k, "interpolate_factor", 1, e) < 0)
        return -1;
    return window_everywhere(c, k, 0, e);
}

int special_qwen(struct model_config *c, struct config_keys *k, struct err *e)
{
    int use = 0;
    size_t window = 4096;
    int64_t first = 28;
    if (keys_bool(k, "use_sliding_window", &use, e) < 0 || layers_read_window(k, &window, e) < 0 ||
        keys_int(k, "max_window_layers", &first, e) < 0)
        return -1;
    if (!use)
        window = 0;
    uint8_t *sliding = mem_alloc(c->layers, 1, "layer types", e);
    if (!sliding)
        return -1;
    for (size_t i = 0; i < c->layers; i++)
        sliding[i] = window && (int64_t)i >= first;
    int result = layers_read_types(c, k, sliding, e);
    if (result == 0)
        result = layers_set_sliding(c, k, sliding, window, e);
    free(sliding);
    return result;
}

// no_rope_layers[i] = 1: the layer has rotary positions, in spite of the name.
static int smollm3_layers(struct model_config *c, struct config_keys *k, uint8_t *rope,
                          uint8_t *sliding, struct err *e)
{
    int use = 0, found;
    size_t window = 0, interval = 4;
    if (keys_bool(k, "use_sliding_window", &use, e) < 0 || layers_read_window(k, &window, e) < 0 ||
        keys_size(k, "no_rope_layer_interval", &interval, WINDOW_MAX, e) < 0 ||
        layers_read_numbers(c, k, "no_rope_layers", rope, &found, e) < 0)
        return -1;
    if (!use)
        window = 0;
    for (size_t i = 0; i < c->layers; i++) {
        if (!found)
            rope[i] = (i + 1) % interval != 0;
        c->layer[i].rope = rope[i] ? 0 : -1;
        sliding[i] = window && !rope[i];
    }
    if (layers_read_types(c, k, sliding, e) < 0)
        return -1;
    return layers_set_sliding(c, k, sliding, window, e);
}

int special_smollm3(struct model_config *c, struct config_keys *k, struct err *e)
{
    uint8_t *of_layers = mem_alloc(2 * c->layers, 1, "layer types", e);
    int result = of_layers ? smollm3_layers(c, k, of_layers, of_layers + c->layers, e) : -1;
    free(of_layers);
    return result;
}

int special_stablelm(struct model_config *c, struct config_keys *k, struct err *e)
{
    if (keys_bool(k, "use_parallel_residual", &c->parallel, e) < 0 ||
        keys_agree_real(k, "rotary_scaling_factor", 1, e) < 0)
        return -1;
    if (c->parallel)
        c->has[ROLE_MLP_NORM] = c->has[ROLE_MLP_NORM_BIAS] = 0;
    return 0;
}

int special_starcoder2(struct model_config *c, struct config_keys *k, struct err *e)
{
    double eps = (double)c->norm_eps;
    json_decref(keys_value(k, "activation_function")); // `hidden_act` counts, and they differ
    if (keys_agree_string(k, "norm_type", "layer_norm", e) < 0 ||
        keys_agree_string(k, "mlp_type", "default", e) < 0 ||
        need_true(k, "scale_attn_weights", e) < 0 ||
        keys_real(k, "layer_norm_epsilon", &eps, e) < 0)
        return -1;
    if ((float)eps != c->norm_eps)
        return err_set(e, STATUS_FAILED,
                       "%s: key `layer_norm_epsilon` is not what `norm_epsilon` is", k->file);
    return window_everywhere(c, k, 0, e);
}
