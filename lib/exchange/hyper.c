// SPDX-License-Identifier: MIT
#include "exchange/hyper.h"
#include "model/activation.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static int refuse(struct err *e, const char *what)
{
    return err_set(e, STATUS_FAILED, "llama.cpp does not compute this model: %s", what);
}

static void set_size(json_t *keys, const char *key, size_t n)
{
    json_object_set_new(keys, key, json_integer((json_int_t)n));
}

static void set_real(json_t *keys, const char *key, double x)
{
    json_object_set_new(keys, key, json_real(x));
}

static void tell_sizes(const struct model_config *c, json_t *keys)
{
    set_size(keys, "vocab_size", c->vocab);
    set_size(keys, "context_length", c->max_position);
    set_size(keys, "embedding_length", c->hidden);
    set_size(keys, "block_count", c->layers);
    set_size(keys, "feed_forward_length", c->intermediate);
    set_size(keys, "attention.head_count", c->heads);
    set_size(keys, "attention.head_count_kv", c->kv_heads);
    set_size(keys, "attention.key_length", c->head_dim);
    set_size(keys, "attention.value_length", c->head_dim);
    set_real(keys,
             c->norm_centred ? "attention.layer_norm_epsilon" : "attention.layer_norm_rms_epsilon",
             (double)c->norm_eps);
}

static int is_gelu(enum activation kind)
{
    return kind == ACTIVATION_GELU || kind == ACTIVATION_GELU_TANH;
}

// GELU is GELU there: a table of the tanh form.
static int check_activation(const struct model_config *c, const struct architecture *a,
                            struct err *e)
{
    enum activation kind = c->activation;
    if (activation_find(a->activation, &kind) == 0 && kind == c->activation)
        return 0;
    return is_gelu(kind) && is_gelu(c->activation) ? 0 : refuse(e, "its activation is another");
}

static int check_scales(const struct model_config *c, const struct architecture *a, struct err *e)
{
    int named = !strcmp(a->name, "granite"); // a key says it
    size_t scalar = a->wide_queries == c->layers ? c->hidden / c->heads : c->head_dim;
    double usual = named ? (double)c->layer[0].scale : 1 / sqrt((double)scalar);
    for (size_t i = 0; i < c->layers; i++)
        if (fabs((double)c->layer[i].scale / usual - 1) > 1e-6)
            return refuse(e, "its attention scores have another scale");
    return 0;
}

static int check_family(const struct model_config *c, const struct architecture *a, struct err *e)
{
    if (c->head != HEAD_VOCABULARY)
        return refuse(e, "it is a reward model");
    if (a->own_head && c->tied)
        return refuse(e, "its head is tied to the embedding");
    if (c->norm_bare && strcmp(a->name, "olmo") != 0)
        return refuse(e, "its norms have no weights");
    if (c->end_width != c->hidden)
        return refuse(e, "its embedding has another width");
    if (a->square && c->heads * c->head_dim != c->hidden)
        return refuse(e, "its heads are together wider or narrower than its hidden states");
    if (a->needs_bias && (!c->has[ROLE_ATTENTION_OUT_BIAS] || !c->has[ROLE_UP_BIAS]))
        return refuse(e, "it has no biases");
    return 0;
}

// ---- rotary positions ----

void hyper_factors(const struct model_config *c, const struct rope_config *r, float *out)
{
    float plain[ROPE_DIMS_MAX / 2];
    struct rope_config base = *r;
    base.type = ROPE_DEFAULT;
    config_rope_frequencies(c, &base, 1, plain);
    config_rope_frequencies(c, r, 1, out);
    for (size_t i = 0; i < r->dims / 2; i++)
        out[i] = plain[i] / out[i];
}

static int tell_yarn(const struct rope_config *r, json_t *keys, struct err *e)
{
    double usual = 0.1 * log(r->factor) + 1;
    if (!r->truncate)
        return refuse(e, "the ramp of its rotary positions (yarn) is not rounded");
    set_size(keys, "rope.scaling.original_context_length", (size_t)r->original_max_position);
    set_real(keys, "rope.scaling.factor", r->factor);
    set_real(keys, "rope.scaling.yarn_beta_fast", r->beta_fast);
    set_real(keys, "rope.scaling.yarn_beta_slow", r->beta_slow);
    if (fabs(r->attention_factor / usual - 1) > 1e-6)
        set_real(keys, "rope.scaling.attn_factor", r->attention_factor / usual);
    return 0;
}

static int tell_scaling(const struct architecture *a, const struct rope_config *r, json_t *keys,
                        struct err *e)
{
    const char *type = r->type == ROPE_LINEAR     ? "linear"
                       : r->type == ROPE_YARN     ? "yarn"
                       : r->type == ROPE_LONGROPE ? "longrope"
                                                  : "none";
    if (r->type == ROPE_DYNAMIC)
        return refuse(e, "its rotary positions depend on the length of the text");
    if (r->type == ROPE_LLAMA3 && !a->frequencies)
        return refuse(e, "its rotary positions are llama3's");
    if (r->type == ROPE_LONGROPE && strcmp(a->name, "phi3") != 0)
        return refuse(e, "its rotary positions have two lists of factors");
    json_object_set_new(keys, "rope.scaling.type", json_string(type));
    if (r->type == ROPE_LINEAR)
        set_real(keys, "rope.scaling.factor", r->factor);
    if (r->type == ROPE_LONGROPE) {
        set_real(keys, "rope.scaling.attn_factor", r->attention_factor);
        set_size(keys, "rope.scaling.original_context_length", (size_t)r->original_max_position);
    }
    return r->type == ROPE_YARN ? tell_yarn(r, keys, e) : 0;
}

// The first rotary is that of the layers without a window, where there are two.
static int tell_rope(const struct model_config *c, const struct architecture *a, json_t *keys,
                     struct err *e)
{
    const struct rope_config *r = &c->rope[0];
    if (!c->n_ropes)
        return c->family->no_rope ? 0 : refuse(e, "it has no rotary positions");
    if (r->dims != r->divisor)
        return refuse(e, "an odd number of its dimensions turn");
    set_size(keys, "rope.dimension_count", r->dims);
    set_real(keys, "rope.freq_base", r->theta);
    if (c->n_ropes == 2 && (c->rope[1].type != ROPE_DEFAULT ||
                            (strcmp(a->name, "gemma3") != 0 && c->rope[1].theta != r->theta)))
        return refuse(e, "its layers with a window have rotary positions of their own");
    return tell_scaling(a, r, keys, e);
}

// ---- windows ----

static int tell_windows(const struct model_config *c, const struct architecture *a, json_t *keys,
                        struct err *e)
{
    size_t window = 0;
    for (size_t i = 0; i < c->layers; i++) {
        size_t w = c->layer[i].window;
        if (!w || (!a->pattern && w >= c->max_position))
            continue;
        if (!a->pattern || (window && w != window) ||
            (a->windowed_layers && c->layers != a->windowed_layers))
            return refuse(e, "its layers see only a window of the text");
        window = w;
    }
    if (!window)
        return 0;
    json_t *pattern = json_array();
    for (size_t i = 0; i < c->layers; i++)
        json_array_append_new(pattern, json_boolean(c->layer[i].window != 0));
    set_size(keys, "attention.sliding_window", window);
    json_object_set_new(keys, "attention.sliding_window_pattern", pattern);
    return 0;
}

json_t *hyper_keys(const struct model_config *c, const struct architecture *a, struct err *e)
{
    json_t *keys = json_object();
    tell_sizes(c, keys);
    if (check_family(c, a, e) == 0 && check_activation(c, a, e) == 0 &&
        check_scales(c, a, e) == 0 && tell_rope(c, a, keys, e) == 0 &&
        tell_windows(c, a, keys, e) == 0 && (!a->tell || a->tell(c, keys, e) == 0) &&
        err_whole(e) == 0)
        return keys;
    json_decref(keys);
    return NULL;
}

// ---- a file against the model that was read from it ----

// Keys that hyper_config has read in a form that cannot be compared, or that change no number.
static const char *const looked_at[] = {"attention.causal",
                                        "attention.sliding_window",
                                        "attention.sliding_window_pattern",
                                        "expert_count",
                                        "expert_used_count",
                                        "rope.scaling.attn_factor",
                                        "rope.scaling.factor",
                                        "rope.scaling.finetuned",
                                        "rope.scaling.original_context_length",
                                        "rope.scaling.type",
                                        "rope.scaling.yarn_beta_fast",
                                        "rope.scaling.yarn_beta_slow",
                                        "rope.scaling.yarn_log_multiplier",
                                        "tensor_data_layout",
                                        "use_parallel_residual"};

// A few that must say the usual thing.
static int compare_fixed(const struct gguf *g, const char *key, const char *name, struct err *e)
{
    int64_t n = 0;
    int yes = 1;
    if (!strcmp(key, "attention.causal") && (gguf_get_bool(g, name, &yes, e) < 0 || !yes))
        return err_set(e, STATUS_FAILED, "%s: key '%s': only causal models are read", g->path,
                       name);
    if (!strncmp(key, "expert_", 7) && (gguf_get_int(g, name, &n, e) < 0 || n != 0))
        return err_set(e, STATUS_FAILED, "%s: key '%s': experts, which this version does not have",
                       g->path, name);
    return 0;
}

static int compare_value(const struct gguf *g, const char *name, const json_t *ours, struct err *e)
{
    double x = 0, y = json_number_value(ours);
    int yes = 0;
    if (json_is_boolean(ours)) {
        if (gguf_get_bool(g, name, &yes, e) < 0)
            return -1;
        x = yes;
        y = json_is_true(ours);
    } else if (gguf_get_real(g, name, &x, e) < 0) {
        return -1;
    }
    if (fabs(x - y) <= 1e-6 * fabs(y))
        return 0;
    return err_set(e, STATUS_FAILED,
                   "%s: key '%s' is %.10g: this version computes such models with %.10g only",
                   g->path, name, x, y);
}

static int compare_key(const struct gguf *g, const char *name, const char *key, const json_t *keys,
                       struct err *e)
{
    for (size_t i = 0; i < sizeof looked_at / sizeof *looked_at; i++)
        if (!strcmp(looked_at[i], key))
            return compare_fixed(g, key, name, e);
    const json_t *ours = json_object_get(keys, key);
    if (ours)
        return compare_value(g, name, ours, e);
    return err_set(e, STATUS_FAILED, "%s: key '%s' is not known to this version", g->path, name);
}

int hyper_compare(const struct gguf *g, const struct architecture *a, const struct model_config *c,
                  struct err *e)
{
    size_t n = strlen(a->name);
    json_t *keys = hyper_keys(c, a, e);
    int result = keys ? 0 : err_prefix(e, "%s", g->path);
    for (size_t i = 0; result == 0 && i < g->n_values; i++) {
        const char *name = g->value[i].key;
        if (!strncmp(name, a->name, n) && name[n] == '.')
            result = compare_key(g, name, name + n + 1, keys, e);
    }
    json_decref(keys);
    return result;
}
