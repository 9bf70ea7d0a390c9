// SPDX-License-Identifier: MIT
#include "exchange/own_keys.h"
#include "exchange/shortest.h"

#include <math.h>
#include <string.h>

static void set_real(json_t *config, const char *key, double x)
{
    json_object_set_new(config, key, json_real(shortest(x)));
}

// A number of the file, where it is there.
static int copy_real(const struct gguf *g, const char *from, json_t *config, const char *to,
                     struct err *e)
{
    double x;
    int found = gguf_get_real(g, from, &x, e);
    if (found > 0)
        set_real(config, to, x);
    return found < 0 ? -1 : 0;
}

static size_t size_of(const json_t *config, const char *key)
{
    return (size_t)json_integer_value(json_object_get(config, key));
}

static int refuse(struct err *e, const char *what)
{
    return err_set(e, STATUS_FAILED, "llama.cpp does not compute this model: %s", what);
}

int own_read_logit_scale(const struct gguf *g, json_t *config, struct err *e)
{
    struct gguf_text name = {0};
    MAY_FAIL(gguf_get_text(g, "general.architecture", &name, e) < 0);
    int is_cohere2 = name.n == 7;
    return copy_real(g, is_cohere2 ? "cohere2.logit_scale" : "command-r.logit_scale", config,
                     "logit_scale", e);
}

int own_tell_logit_scale(const struct model_config *c, json_t *keys, struct err *e)
{
    json_object_set_new(keys, "logit_scale", json_real((double)c->logit_scale));
    return 0;
}

// Norms of query and key are those of Command R+ alone, which is known by its layers.
int own_tell_cohere(const struct model_config *c, json_t *keys, struct err *e)
{
    if ((c->head_norm != HEAD_NORM_NONE) != (c->layers >= 64))
        return refuse(e, "only from 64 layers on has command-r norms of query and key");
    return own_tell_logit_scale(c, keys, e);
}

// The new decoder is the one whose heads share keys by groups, or which has two norms.
int own_read_falcon(const struct gguf *g, json_t *config, struct err *e)
{
    int64_t heads = (int64_t)size_of(config, "num_attention_heads"), shared = heads;
    if (gguf_get_int(g, "falcon.attention.head_count_kv", &shared, e) < 0)
        return -1;
    int norms = gguf_find_tensor(g, "blk.0.attn_norm_2.weight") != NULL;
    int new = norms || (shared != 1 && shared != heads);
    json_object_set_new(config, "num_kv_heads", json_integer(shared));
    json_object_set_new(config, "new_decoder_architecture", json_boolean(new));
    json_object_set_new(config, "multi_query", json_boolean(new || shared == 1));
    json_object_set_new(config, "parallel_attn", json_true());
    json_object_set_new(config, "alibi", json_false());
    if (new)
        json_object_set_new(config, "num_ln_in_parallel_attn", json_integer(1 + norms));
    return 0;
}

int own_tell_falcon(const struct model_config *c, json_t *keys, struct err *e)
{
    json_object_set_new(keys, "tensor_data_layout", json_string("jploski"));
    if (c->alibi)
        return refuse(e, "its positions are ALiBi");
    return c->parallel ? 0 : refuse(e, "its attention and MLP are not parallel");
}

static int read_queries(json_t *config, size_t wide)
{
    size_t heads = size_of(config, "num_attention_heads");
    size_t scalar = size_of(config, "num_hidden_layers") == wide && heads
                        ? size_of(config, "hidden_size") / heads
                        : size_of(config, "head_dim");
    json_object_set_new(config, "query_pre_attn_scalar", json_integer((json_int_t)scalar));
    return 0;
}

int own_read_gemma2(const struct gguf *g, json_t *config, struct err *e)
{
    set_real(config, "attn_logit_softcapping", 50); // where the file has no key
    set_real(config, "final_logit_softcapping", 30);
    if (copy_real(g, "gemma2.attn_logit_softcapping", config, "attn_logit_softcapping", e) < 0 ||
        copy_real(g, "gemma2.final_logit_softcapping", config, "final_logit_softcapping", e) < 0)
        return -1;
    return read_queries(config, 46);
}

int own_read_gemma3(const struct gguf *g, json_t *config, struct err *e)
{
    double local = 10000;
    if (gguf_get_real(g, "gemma3.rope.freq_base_swa", &local, e) < 0 ||
        copy_real(g, "gemma3.final_logit_softcapping", config, "final_logit_softcapping", e) < 0)
        return -1;
    set_real(config, "rope_local_base_freq", local);
    return read_queries(config, 62);
}

int own_tell_softcaps(const struct model_config *c, json_t *keys, struct err *e)
{
    if (c->score_softcap > 0)
        json_object_set_new(keys, "attn_logit_softcapping", json_real((double)c->score_softcap));
    if (c->logit_softcap > 0)
        json_object_set_new(keys, "final_logit_softcapping", json_real((double)c->logit_softcap));
    if (c->n_ropes == 2)
        json_object_set_new(keys, "rope.freq_base_swa", json_real(c->rope[1].theta));
    return 0;
}

int own_read_granite(const struct gguf *g, json_t *config, struct err *e)
{
    return copy_real(g, "granite.embedding_scale", config, "embedding_multiplier", e) < 0 ||
                   copy_real(g, "granite.residual_scale", config, "residual_multiplier", e) < 0 ||
                   copy_real(g, "granite.attention.scale", config, "attention_multiplier", e) < 0 ||
                   copy_real(g, "granite.logit_scale", config, "logits_scaling", e) < 0
               ? -1
               : 0;
}

int own_tell_granite(const struct model_config *c, json_t *keys, struct err *e)
{
    json_object_set_new(keys, "embedding_scale", json_real((double)c->embedding_scale));
    json_object_set_new(keys, "residual_scale", json_real((double)c->residual_scale));
    json_object_set_new(keys, "attention.scale", json_real((double)c->layer[0].scale));
    json_object_set_new(keys, "logit_scale", json_real(1 / (double)c->logit_scale));
    return 0;
}

// Both of the scales that transformers multiplies and divides by are 1 in this family.
int own_read_mistral3(const struct gguf *g, json_t *config, struct err *e)
{
    json_t *scaling = json_object_get(config, "rope_scaling");
    double beta = NAN;
    if (gguf_get_real(g, "mistral3.attention.temperature_scale", &beta, e) < 0)
        return -1;
    if (!scaling || isnan(beta))
        return err_set(e, STATUS_FAILED,
                       "%s: key 'mistral3.attention.temperature_scale' or the scaling of the "
                       "rotary positions is missing",
                       g->path);
    set_real(scaling, "llama_4_scaling_beta", beta);
    if (gguf_find(g, "mistral3.rope.scaling.yarn_log_multiplier")) {
        json_object_set_new(scaling, "mscale", json_real(1));
        if (copy_real(g, "mistral3.rope.scaling.yarn_log_multiplier", scaling, "mscale_all_dim",
                      e) < 0)
            return -1;
    }
    json_object_set(scaling, "rope_theta", json_object_get(config, "rope_theta"));
    json_object_set(config, "rope_parameters", scaling);
    json_object_del(config, "rope_scaling");
    json_object_del(config, "rope_theta");
    return 0;
}

int own_tell_mistral3(const struct model_config *c, json_t *keys, struct err *e)
{
    const struct rope_config *r = &c->rope[0];
    if (c->query_period != r->original_max_position)
        return refuse(e, "its queries are scaled by another length than the rotary positions");
    json_object_set_new(keys, "attention.temperature_scale", json_real(c->query_beta));
    if (r->attention_factor == 1) {
        json_object_set_new(keys, "rope.scaling.yarn_log_multiplier", json_real(1));
        json_object_del(keys, "rope.scaling.attn_factor");
    }
    return 0;
}

int own_read_clip(const struct gguf *g, json_t *config, struct err *e)
{
    return copy_real(g, "olmo.attention.clamp_kqv", config, "clip_qkv", e);
}

int own_tell_clip(const struct model_config *c, json_t *keys, struct err *e)
{
    if (c->clip_qkv > 0)
        json_object_set_new(keys, "attention.clamp_kqv", json_real((double)c->clip_qkv));
    return 0;
}

int own_read_parallel(const struct gguf *g, json_t *config, struct err *e)
{
    int parallel = 1;
    if (gguf_get_bool(g, "gptneox.use_parallel_residual", &parallel, e) < 0)
        return -1;
    json_object_set_new(config, "use_parallel_residual", json_boolean(parallel));
    return 0;
}

int own_read_stablelm(const struct gguf *g, json_t *config, struct err *e)
{
    int parallel = !gguf_find_tensor(g, "blk.0.ffn_norm.weight");
    json_object_set_new(config, "use_parallel_residual", json_boolean(parallel));
    return 0;
}

int own_tell_parallel(const struct model_config *c, json_t *keys, struct err *e)
{
    json_object_set_new(keys, "use_parallel_residual", json_boolean(c->parallel));
    return 0;
}

static int list_of(const struct gguf *g, const char *name, json_t *scaling, const char *key,
                   struct err *e)
{
    const struct gguf_tensor *t = gguf_find_tensor(g, name);
    float x[ROPE_DIMS_MAX];
    if (!t || t->values > ROPE_DIMS_MAX)
        return err_set(e, STATUS_FAILED, "%s: tensor '%s' is missing or too large", g->path, name);
    if (gguf_unpack(g, t, 0, t->values, x, e) < 0)
        return -1;
    json_t *list = json_array();
    for (size_t i = 0; i < t->values; i++) {
        if (!isfinite(x[i])) {
            json_decref(list);
            return err_set(e, STATUS_FAILED, "%s: tensor '%s' has a value that is not finite",
                           g->path, name);
        }
        json_array_append_new(list, json_real(shortest((double)x[i])));
    }
    json_object_set_new(scaling, key, list);
    return 0;
}

int own_read_phi3(const struct gguf *g, json_t *config, struct err *e)
{
    int64_t original = (int64_t)size_of(config, "max_position_embeddings");
    if (gguf_get_int(g, "phi3.rope.scaling.original_context_length", &original, e) < 0)
        return -1;
    json_object_set_new(config, "original_max_position_embeddings", json_integer(original));
    json_object_set_new(config, "sliding_window", json_null());
    if (!gguf_find_tensor(g, "rope_factors_long.weight"))
        return 0;
    json_t *scaling = json_pack("{s:s}", "type", "longrope");
    json_object_set_new(config, "rope_scaling", scaling);
    return list_of(g, "rope_factors_long.weight", scaling, "long_factor", e) < 0
               ? -1
               : list_of(g, "rope_factors_short.weight", scaling, "short_factor", e);
}

int own_tell_smollm3(const struct model_config *c, json_t *keys, struct err *e)
{
    for (size_t i = 0; i < c->layers; i++)
        if ((c->layer[i].rope < 0) != ((i + 1) % 4 == 0))
            return refuse(e, "its layers without rotary positions are not each fourth");
    return 0;
}

int own_read_starcoder(const struct gguf *g, json_t *config, struct err *e)
{
    int64_t shared = 1;
    if (gguf_get_int(g, "starcoder.attention.head_count_kv", &shared, e) < 0)
        return -1;
    json_object_set_new(config, "multi_query", json_boolean(shared == 1));
    return 0;
}
