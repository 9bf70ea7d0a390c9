// SPDX-License-Identifier: MIT
#include "exchange/hyper.h"
#include "exchange/shortest.h"
#include "model/config_layers.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// What the reading functions share.
struct reading {
    const struct gguf *g;
    const struct architecture *a;
    const struct family *family;
    json_t *config;
};

static void set_int(struct reading *r, const char *key, int64_t x)
{
    json_object_set_new(r->config, key, json_integer(x));
}

static void set_real(json_t *config, const char *key, double x)
{
    json_object_set_new(config, key, json_real(shortest(x)));
}

static int get_int(const struct reading *r, const char *key, int64_t *x, struct err *e)
{
    char name[STEM_NAME];
    return gguf_get_int(r->g, architecture_key(r->a, key, name), x, e);
}

static int get_real(const struct reading *r, const char *key, double *x, struct err *e)
{
    char name[STEM_NAME];
    return gguf_get_real(r->g, architecture_key(r->a, key, name), x, e);
}

// Whether a text of the file is this one.
static int is_text(const struct reading *r, const char *key, const char *wanted, struct err *e)
{
    char name[STEM_NAME];
    struct gguf_text text = {0};
    int found = gguf_get_text(r->g, architecture_key(r->a, key, name), &text, e);
    if (found <= 0)
        return found;
    return text.n == strlen(wanted) && !memcmp(text.s, wanted, text.n);
}

static int missing(const struct reading *r, const char *key, struct err *e)
{
    return err_set(e, STATUS_FAILED, "%s: key '%s.%s' is missing", r->g->path, r->a->name, key);
}

static int read_size(struct reading *r, enum family_size which, const char *usual, const char *key,
                     struct err *e)
{
    int64_t x;
    const char *own = r->family->size_key[which];
    int found = get_int(r, key, &x, e);
    if (found < 0)
        return -1;
    if (!found)
        return missing(r, key, e);
    set_int(r, own ? own : usual, x);
    return 0;
}

// Of keys that the file may lack: `x` then.
static int read_optional(struct reading *r, enum family_size which, const char *usual,
                         const char *key, int64_t x, struct err *e)
{
    const char *own = r->family->size_key[which];
    if (get_int(r, key, &x, e) < 0)
        return -1;
    set_int(r, own ? own : usual, x);
    return 0;
}

static int read_sizes(struct reading *r, struct err *e)
{
    const struct gguf_tensor *t = gguf_find_tensor(r->g, "token_embd.weight");
    int64_t hidden = 0, heads = 0;
    if (!t)
        return err_set(e, STATUS_FAILED, "%s: tensor 'token_embd.weight' is missing", r->g->path);
    set_int(r, "vocab_size", (int64_t)t->dim[1]);
    if (read_size(r, SIZE_HIDDEN, "hidden_size", "embedding_length", e) < 0 ||
        read_size(r, SIZE_LAYERS, "num_hidden_layers", "block_count", e) < 0 ||
        read_size(r, SIZE_HEADS, "num_attention_heads", "attention.head_count", e) < 0 ||
        read_size(r, SIZE_INTERMEDIATE, "intermediate_size", "feed_forward_length", e) < 0 ||
        read_size(r, SIZE_POSITIONS, "max_position_embeddings", "context_length", e) < 0 ||
        get_int(r, "embedding_length", &hidden, e) < 0 ||
        get_int(r, "attention.head_count", &heads, e) < 0)
        return -1;
    if (heads < 1 || hidden < heads)
        return err_set(e, STATUS_FAILED, "%s: key '%s.attention.head_count' is impossible",
                       r->g->path, r->a->name);
    if (!r->family->no_kv_heads && read_optional(r, SIZE_KV_HEADS, "num_key_value_heads",
                                                 "attention.head_count_kv", heads, e) < 0)
        return -1;
    return r->family->no_head_dim ? 0
                                  : read_optional(r, SIZE_HEAD_DIM, "head_dim",
                                                  "attention.key_length", hidden / heads, e);
}

static int read_eps(struct reading *r, struct err *e)
{
    const char *key = r->family->norm_centred ? "attention.layer_norm_epsilon"
                                              : "attention.layer_norm_rms_epsilon";
    double eps;
    int found = get_real(r, key, &eps, e);
    if (found <= 0)
        return found < 0 ? -1 : missing(r, key, e);
    if (!r->family->eps_key || *r->family->eps_key)
        set_real(r->config, r->family->eps_key ? r->family->eps_key : "rms_norm_eps", eps);
    return 0;
}

static int has_tensor(const struct reading *r, enum tensor_role role)
{
    char name[STEM_NAME];
    return architecture_tensor(r->a, role, 0, name) && gguf_find_tensor(r->g, name);
}

// Keys that say which biases and norms there are.
static void set_switches(struct reading *r)
{
    for (int i = 0; i < FAMILY_SWITCHES && r->family->switches[i].key; i++) {
        int parts = r->family->switches[i].parts;
        int on = (parts & PART_QKV_BIAS &&
                  (has_tensor(r, ROLE_QUERY_BIAS) || has_tensor(r, ROLE_QKV_BIAS))) ||
                 (parts & PART_OUT_BIAS && has_tensor(r, ROLE_ATTENTION_OUT_BIAS)) ||
                 (parts & PART_MLP_BIAS && has_tensor(r, ROLE_UP_BIAS)) ||
                 (parts & PART_HEAD_NORM && has_tensor(r, ROLE_QUERY_NORM));
        json_object_set_new(r->config, r->family->switches[i].key, json_boolean(on));
    }
}

// ---- rotary positions ----

static int is_near(const float *a, const float *b, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!(fabsf(a[i] - b[i]) <= 1e-5f * fabsf(a[i])))
            return 0;
    return 1;
}

// The parameters of llama3's scaling whose factors these are; the file has the factors alone. All
// published models have low_freq_factor 1 and high_freq_factor 4.
static int find_llama3(const struct reading *r, struct rope_config *rope, const float *factor,
                       struct err *e)
{
    static const double first = 8192;
    float tried[ROPE_DIMS_MAX / 2];
    rope->type = ROPE_LLAMA3;
    rope->factor = 0;
    for (size_t i = 0; i < rope->dims / 2; i++)
        rope->factor = fmax(rope->factor, shortest((double)factor[i]));
    rope->low_freq_factor = 1;
    rope->high_freq_factor = 4;
    for (size_t length = 0; length <= 1 << 20; length = length == 0 ? 16 : 2 * length) {
        rope->original_max_position = length == 0 ? first : (double)length;
        hyper_factors(NULL, rope, tried);
        if (is_near(factor, tried, rope->dims / 2))
            return 0;
    }
    return err_set(e, STATUS_FAILED,
                   "%s: tensor 'rope_freqs.weight': no parameters of llama3's rotary positions "
                   "give these factors",
                   r->g->path);
}

static int read_factors(struct reading *r, size_t dims, double theta, struct err *e)
{
    const struct gguf_tensor *t = gguf_find_tensor(r->g, "rope_freqs.weight");
    struct rope_config rope = {.dims = dims, .divisor = dims, .theta = theta};
    float factor[ROPE_DIMS_MAX / 2];
    if (!t)
        return 0;
    if (!r->a->frequencies || t->values != dims / 2 || dims > ROPE_DIMS_MAX)
        return err_set(e, STATUS_FAILED,
                       "%s: tensor 'rope_freqs.weight' is of no use to this "
                       "architecture, or of another size",
                       r->g->path);
    if (gguf_unpack(r->g, t, 0, t->values, factor, e) < 0 || find_llama3(r, &rope, factor, e) < 0)
        return -1;
    json_object_set_new(r->config, "rope_scaling",
                        json_pack("{s:s, s:f, s:f, s:f, s:I}", "rope_type", "llama3", "factor",
                                  rope.factor, "low_freq_factor", rope.low_freq_factor,
                                  "high_freq_factor", rope.high_freq_factor,
                                  "original_max_position_embeddings",
                                  (json_int_t)rope.original_max_position));
    return 0;
}

static int read_yarn(struct reading *r, json_t *scaling, double factor, struct err *e)
{
    double fast = 32, slow = 1, attention = 1;
    int64_t original = 0;
    int found = get_int(r, "rope.scaling.original_context_length", &original, e);
    if (found < 0 || get_real(r, "rope.scaling.yarn_beta_fast", &fast, e) < 0 ||
        get_real(r, "rope.scaling.yarn_beta_slow", &slow, e) < 0 ||
        get_real(r, "rope.scaling.attn_factor", &attention, e) < 0)
        return -1;
    if (!found)
        return missing(r, "rope.scaling.original_context_length", e);
    json_object_set_new(scaling, "original_max_position_embeddings", json_integer(original));
    set_real(scaling, "beta_fast", fast);
    set_real(scaling, "beta_slow", slow);
    if (attention != 1)
        json_object_set_new(
            scaling, "attention_factor",
            json_real(shortest((double)(float)(attention * (0.1 * log(factor) + 1)))));
    return 0;
}

static int read_scaling(struct reading *r, struct err *e)
{
    double factor = 0;
    int none = is_text(r, "rope.scaling.type", "none", e);
    int yarn = none < 0 ? -1 : is_text(r, "rope.scaling.type", "yarn", e);
    int longrope = yarn < 0 ? -1 : is_text(r, "rope.scaling.type", "longrope", e);
    int linear = longrope < 0 ? -1 : is_text(r, "rope.scaling.type", "linear", e);
    char name[STEM_NAME];
    if (linear < 0 || get_real(r, "rope.scaling.factor", &factor, e) < 0)
        return -1;
    if (!none && !yarn && !longrope && !linear &&
        gguf_find(r->g, architecture_key(r->a, "rope.scaling.type", name)))
        return err_set(e, STATUS_FAILED, "%s: key '%s' is of no type that is known", r->g->path,
                       name);
    // 0: as if it were not there.
    if (none || longrope || factor == 0)
        return 0;
    if (!(factor > 0))
        return err_set(e, STATUS_FAILED, "%s: key '%s.rope.scaling.factor' must be positive",
                       r->g->path, r->a->name);
    json_t *scaling =
        json_pack("{s:s, s:f}", "rope_type", yarn ? "yarn" : "linear", "factor", shortest(factor));
    json_object_set_new(r->config, "rope_scaling", scaling);
    return yarn ? read_yarn(r, scaling, factor, e) : 0;
}

static int read_rope(struct reading *r, struct err *e)
{
    const struct family *f = r->family;
    double theta = 10000;
    int64_t hidden = 0, heads = 1, dims;
    if (f->no_rope)
        return 0;
    if (get_real(r, "rope.freq_base", &theta, e) < 0 ||
        get_int(r, "embedding_length", &hidden, e) < 0 ||
        get_int(r, "attention.head_count", &heads, e) < 0)
        return -1;
    int64_t head = hidden / heads; // read_sizes has looked
    if (get_int(r, "attention.key_length", &head, e) < 0)
        return -1;
    dims = head;
    if (get_int(r, "rope.dimension_count", &dims, e) < 0)
        return -1;
    if (head < 1 || dims < 1 || dims > head)
        return err_set(e, STATUS_FAILED, "%s: key '%s.rope.dimension_count' is impossible",
                       r->g->path, r->a->name);
    set_real(r->config, f->neox_rope_keys ? "rotary_emb_base" : "rope_theta", theta);
    if (f->partial_rope)
        json_object_set_new(r->config, f->neox_rope_keys ? "rotary_pct" : "partial_rotary_factor",
                            json_real((double)dims / (double)head));
    return read_scaling(r, e) < 0 ? -1 : read_factors(r, (size_t)dims, theta, e);
}

// ---- windows ----

// Which layers have one: a list of the file, or all but each so many-th.
static int read_windows(struct reading *r, struct err *e)
{
    int64_t window = 0, layers = 0;
    double *listed = NULL;
    size_t n = 0;
    char name[STEM_NAME];
    if (get_int(r, "attention.sliding_window", &window, e) < 0 ||
        get_int(r, "block_count", &layers, e) < 0)
        return -1;
    int is_windowed = r->a->pattern && window > 0 &&
                      (!r->a->windowed_layers || (int64_t)r->a->windowed_layers == layers);
    if (!r->a->pattern || layers < 1 || layers > 1 << 12)
        return 0;
    const struct gguf_value *v =
        gguf_find(r->g, architecture_key(r->a, "attention.sliding_window_pattern", name));
    if (v && gguf_get_reals(r->g, name, &listed, &n, e) < 0)
        return -1;
    json_t *types = json_array();
    for (size_t i = 0; i < (size_t)layers; i++) {
        int slides = listed && n == (size_t)layers ? listed[i] != 0 : (i + 1) % r->a->pattern != 0;
        json_array_append_new(
            types, json_string(slides && is_windowed ? "sliding_attention" : "full_attention"));
    }
    free(listed);
    json_object_set_new(r->config, "layer_types", types);
    json_object_set_new(r->config, "sliding_window",
                        is_windowed ? json_integer(window) : json_null());
    if (v && n != (size_t)layers)
        return err_set(e, STATUS_FAILED, "%s: key '%s': not a value for each layer", r->g->path,
                       name);
    return 0;
}

static void set_general(struct reading *r)
{
    const struct family *f = r->family;
    int own_head = has_tensor(r, ROLE_HEAD);
    json_object_set_new(r->config, "architectures",
                        json_pack("[s]", f->architecture[HEAD_VOCABULARY]));
    json_object_set_new(r->config, "model_type", json_string(f->model_type));
    json_object_set_new(r->config, f->activation_key ? f->activation_key : "hidden_act",
                        json_string(r->a->activation));
    json_object_set_new(r->config, "tie_word_embeddings", json_boolean(!own_head));
}

json_t *hyper_config(const struct gguf *g, const struct architecture *a, struct err *e)
{
    struct reading r = {g, a, family_find(a->model_type), json_object()};
    set_general(&r);
    set_switches(&r);
    if (read_sizes(&r, e) == 0 && read_eps(&r, e) == 0 && read_rope(&r, e) == 0 &&
        read_windows(&r, e) == 0 && (!a->read || a->read(g, r.config, e) == 0) && err_whole(e) == 0)
        return r.config;
    json_decref(r.config);
    return NULL;
}
