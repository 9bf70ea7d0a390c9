// SPDX-License-Identifier: MIT
#include "model/describe.h"
#include "base/shown.h"
#include "model/activation.h"

#include <string.h>

static const char *const fusions[] = {
    [FUSION_NONE] = "none", [FUSION_BLOCKS] = "blocks", [FUSION_GROUPS] = "groups"};
static const char *const head_norms[] = {[HEAD_NORM_NONE] = "none",
                                         [HEAD_NORM_SHARED] = "shared",
                                         [HEAD_NORM_EACH] = "each head",
                                         [HEAD_NORM_WIDE] = "all heads together"};

static int is_gated(const struct model_config *c)
{
    return c->has[ROLE_GATE] || c->has[ROLE_GATE_UP];
}

// Layers that have a property, as "0 2 4", "0-3 5", or "all".
static void print_layers(const struct model_config *c, FILE *out,
                         int (*has)(const struct layer_config *l, long value), long value)
{
    size_t count = 0;
    for (size_t i = 0; i < c->layers; i++)
        count += (size_t)has(&c->layer[i], value);
    if (count == c->layers) {
        fprintf(out, " in all layers");
        return;
    }
    fprintf(out, " in layers");
    for (size_t i = 0; i < c->layers; i++) {
        size_t first = i;
        if (!has(&c->layer[i], value))
            continue;
        while (i + 1 < c->layers && has(&c->layer[i + 1], value))
            i++;
        fprintf(out, first == i ? " %zu" : " %zu-%zu", first, i);
    }
}

static int has_rope(const struct layer_config *l, long value)
{
    return l->rope == value;
}

static int has_window(const struct layer_config *l, long value)
{
    return l->window == (size_t)value;
}

static void print_biases(const struct model_config *c, FILE *out)
{
    int qkv = c->has[ROLE_QUERY_BIAS] || c->has[ROLE_QKV_BIAS];
    int rest = c->has[ROLE_ATTENTION_OUT_BIAS];
    if (qkv || rest)
        fprintf(out, ", biases of %s%s%s", qkv ? "query, key and value" : "",
                qkv && rest ? " and " : "", rest ? "output" : "");
}

static void print_attention(const struct model_config *c, FILE *out)
{
    fprintf(out, "attention      %zu heads of %zu, %zu for keys and values", c->heads, c->head_dim,
            c->kv_heads);
    if (c->fusion != FUSION_NONE)
        fprintf(out, ", fused in %s", fusions[c->fusion]);
    print_biases(c, out);
    if (c->head_norm != HEAD_NORM_NONE)
        fprintf(out, ", query and key norms (%s)%s", head_norms[c->head_norm],
                c->head_norm_late ? " after rotary" : "");
    if (c->clip_qkv > 0)
        fprintf(out, ", query, key and value clamped to %g", (double)c->clip_qkv);
    if (c->query_period > 0)
        fprintf(out, ", queries grow by %g per log of %g positions", c->query_beta,
                c->query_period);
    if (c->score_softcap > 0)
        fprintf(out, ", scores capped at %g", (double)c->score_softcap);
    fprintf(out, ", scale %.6g%s\n", (double)c->layer[0].scale,
            c->layers > 1 && c->layer[0].scale != c->layer[1].scale ? " falling by layer" : "");
}

static int has_norm_bias(const struct model_config *c)
{
    return c->has[ROLE_FINAL_NORM_BIAS] || c->has[ROLE_ATTENTION_POST_NORM_BIAS];
}

static void print_norms(const struct model_config *c, FILE *out)
{
    fprintf(out, "norms          %s%s%s, eps %.6g", c->norm_centred ? "LayerNorm" : "RMSNorm",
            has_norm_bias(c) ? " with bias" : "",
            c->norm_bare          ? " without weight"
            : c->norm_offset != 0 ? " (1 + weight)"
                                  : "",
            (double)c->norm_eps);
    if (c->has[ROLE_EMBEDDING_NORM])
        fprintf(out, ", of the embedding");
    if (c->norm_sums)
        fprintf(out, ", of the sum after attention and feed-forward");
    else if (!c->has[ROLE_ATTENTION_NORM])
        fprintf(out, ", after attention and feed-forward");
    else if (c->has[ROLE_ATTENTION_POST_NORM])
        fprintf(out, ", before and after attention and feed-forward");
    if (c->parallel)
        fprintf(out, ", attention and feed-forward in parallel%s",
                c->has[ROLE_MLP_NORM] ? "" : " from one norm");
    fprintf(out, "\n");
}

static void print_rope(const struct model_config *c, size_t i, FILE *out)
{
    const struct rope_config *r = &c->rope[i];
    fprintf(out, "rotary         %s, base %.10g", config_rope_name(r->type), r->theta);
    if (r->type != ROPE_DEFAULT)
        fprintf(out, ", factor %.6g from %.10g positions", r->factor, r->original_max_position);
    if (r->attention_factor != 1)
        fprintf(out, ", times %.6g", r->attention_factor);
    if (r->dims != c->head_dim)
        fprintf(out, ", %zu of %zu dimensions", r->dims, c->head_dim);
    fprintf(out, "%s%s,", c->rope_interleaved ? ", neighbouring pairs" : "",
            c->rope_reversed ? ", by minus the angle" : "");
    print_layers(c, out, has_rope, (long)i);
    fprintf(out, "\n");
}

static void print_positions(const struct model_config *c, FILE *out)
{
    fprintf(out, "positions      %zu%s\n", c->max_position,
            c->has[ROLE_POSITIONS] ? ", learned"
            : c->alibi             ? ", ALiBi"
                                   : "");
    for (size_t i = 0; i < c->n_ropes; i++)
        print_rope(c, i, out);
    size_t window = 0;
    for (size_t i = 0; i < c->layers; i++)
        if (c->layer[i].window)
            window = c->layer[i].window;
    if (!window)
        return;
    fprintf(out, "window         %zu", window);
    print_layers(c, out, has_window, (long)window);
    fprintf(out, "\n");
}

static void print_scales(const struct model_config *c, FILE *out)
{
    if (c->embedding_scale != 1 || c->residual_scale != 1 || c->logit_scale != 1)
        fprintf(out, "multipliers    embedding %.6g, residual %.6g, logits %.6g\n",
                (double)c->embedding_scale, (double)c->residual_scale, (double)c->logit_scale);
    if (c->logit_softcap > 0)
        fprintf(out, "logits         capped at %g\n", (double)c->logit_softcap);
}

static void print_unused(const struct model *m, FILE *out)
{
    enum { SHOWN = 3 };
    if (!m->n_unused)
        return;
    fprintf(out, "not used       %zu tensor%s of the files:", m->n_unused,
            m->n_unused > 1 ? "s" : "");
    for (size_t i = 0; i < m->n_unused && i < SHOWN; i++)
        fprintf(out, " %.100s", m->unused[i]->name);
    fprintf(out, "%s\n", m->n_unused > SHOWN ? " ..." : "");
}

static void print_unread(const struct model *m, FILE *out)
{
    const char *keys = m->config.unread;
    if (*keys)
        fprintf(out, "not read       keys of config.json: %s\n", shown(keys, strlen(keys)).text);
}

void describe_unused(const struct model *m, int verbose)
{
    char names[800];
    size_t i = 0, used = 0;
    const char *unread = m->config.unread;
    if (verbose && *unread)
        message_note("%s: keys of config.json that are not read: %s", m->path,
                     shown(unread, strlen(unread)).text);
    if (!verbose || !m->n_unused)
        return;
    for (; i < m->n_unused && used + 110 < sizeof names; i++)
        used += (size_t)snprintf(names + used, sizeof names - used, " %s",
                                 shown(m->unused[i]->name, strlen(m->unused[i]->name)).text);
    message_note("%s: %zu tensor%s of the files not used:%s%s", m->path, m->n_unused,
                 m->n_unused > 1 ? "s" : "", names, i < m->n_unused ? " ..." : "");
}

void describe_print(const struct model *m, FILE *out)
{
    const struct model_config *c = &m->config;
    fprintf(out, "parameters     %zu in %zu tensors, %zu shard%s\n", m->n_values, m->n_parameters,
            m->n_shards, m->n_shards == 1 ? "" : "s");
    print_unused(m, out);
    print_unread(m, out);
    fprintf(out, "stored as      %s\n", m->parameter[0].entry->type);
    fprintf(out, "vocabulary     %zu%s%s\n", c->vocab,
            c->head == HEAD_VOCABULARY && c->tied ? ", head tied to embedding" : "",
            c->has[ROLE_HEAD_BIAS] ? ", head with bias" : "");
    fprintf(out, "hidden         %zu, %zu layers", c->hidden, c->layers);
    if (c->end_width != c->hidden)
        fprintf(out, ", projected from and to embeddings of %zu", c->end_width);
    fprintf(out, "\n");
    fprintf(out, "feed-forward   %zu, %s%s%s\n", c->intermediate, activation_name(c->activation),
            is_gated(c) ? ", gated" : "", c->has[ROLE_DOWN_BIAS] ? ", with biases" : "");
    print_attention(c, out);
    print_norms(c, out);
    print_positions(c, out);
    print_scales(c, out);
    fprintf(out, "stop tokens   ");
    for (size_t i = 0; i < c->n_eos; i++)
        fprintf(out, " %u", c->eos[i]);
    fprintf(out, "%s\n", c->n_eos ? "" : " none");
}

static json_t *rope_json(const struct rope_config *r)
{
    return json_pack("{s:s, s:f, s:f, s:f, s:I, s:f}", "type", config_rope_name(r->type), "theta",
                     r->theta, "factor", r->factor, "original_positions", r->original_max_position,
                     "dimensions", (json_int_t)r->dims, "attention_factor", r->attention_factor);
}

static json_t *layers_json(const struct model_config *c)
{
    json_t *list = json_array();
    for (size_t i = 0; i < c->layers; i++)
        json_array_append_new(list, json_pack("{s:i, s:I, s:f}", "rope", c->layer[i].rope, "window",
                                              (json_int_t)c->layer[i].window, "scale",
                                              (double)c->layer[i].scale));
    return list;
}

static void add_size(json_t *to, const char *key, size_t value)
{
    json_object_set_new(to, key, json_integer((json_int_t)value));
}

static void add_real(json_t *to, const char *key, double value)
{
    json_object_set_new(to, key, json_real(value));
}

static void add_flag(json_t *to, const char *key, int value)
{
    json_object_set_new(to, key, json_boolean(value));
}

static void add_text(json_t *to, const char *key, const char *value)
{
    json_object_set_new(to, key, json_string(value));
}

static void add_switches(json_t *o, const struct model_config *c)
{
    add_text(o, "norm", c->norm_centred ? "layernorm" : "rmsnorm");
    add_real(o, "norm_eps", (double)c->norm_eps);
    add_real(o, "norm_offset", (double)c->norm_offset);
    add_flag(o, "norm_weights", !c->norm_bare);
    add_flag(o, "norm_of_sums", c->norm_sums);
    add_flag(o, "embedding_norm", c->has[ROLE_EMBEDDING_NORM]);
    add_text(o, "activation", activation_name(c->activation));
    add_flag(o, "gated", is_gated(c));
    add_flag(o, "parallel", c->parallel);
    add_flag(o, "conv1d", c->conv1d);
    add_flag(o, "tied", c->tied);
    add_flag(o, "alibi", c->alibi);
    add_flag(o, "learned_positions", c->has[ROLE_POSITIONS]);
    add_flag(o, "rope_neighbours", c->rope_interleaved);
    add_text(o, "fusion", fusions[c->fusion]);
    add_flag(o, "rope_reversed", c->rope_reversed);
    add_text(o, "head_norm", head_norms[c->head_norm]);
    add_flag(o, "head_norm_after_rotary", c->head_norm_late);
    add_real(o, "qkv_limit", (double)c->clip_qkv);
    add_real(o, "query_growth", c->query_beta);
    add_real(o, "query_growth_positions", c->query_period);
    add_real(o, "embedding_scale", (double)c->embedding_scale);
    add_real(o, "residual_scale", (double)c->residual_scale);
    add_real(o, "logit_scale", (double)c->logit_scale);
    add_real(o, "score_cap", (double)c->score_softcap);
    add_real(o, "logit_cap", (double)c->logit_softcap);
}

json_t *describe_json(const struct model *m)
{
    const struct model_config *c = &m->config;
    json_t *o = json_object(), *ropes = json_array(), *eos = json_array(), *extra = json_array();
    for (size_t i = 0; i < c->n_ropes; i++)
        json_array_append_new(ropes, rope_json(&c->rope[i]));
    for (size_t i = 0; i < c->n_eos; i++)
        json_array_append_new(eos, json_integer(c->eos[i]));
    for (size_t i = 0; i < m->n_unused; i++)
        json_array_append_new(extra, json_string(m->unused[i]->name));
    add_text(o, "model_type", c->model_type);
    add_text(o, "head", c->head == HEAD_REWARD ? "reward" : "vocabulary");
    add_size(o, "parameters", m->n_values);
    add_size(o, "tensors", m->n_parameters);
    json_object_set_new(o, "not_used", extra);
    add_text(o, "stored_as", m->parameter[0].entry->type);
    add_size(o, "vocab_size", c->vocab);
    add_size(o, "hidden_size", c->hidden);
    add_size(o, "embedding_size", c->end_width);
    add_size(o, "layers", c->layers);
    add_size(o, "intermediate_size", c->intermediate);
    add_size(o, "heads", c->heads);
    add_size(o, "kv_heads", c->kv_heads);
    add_size(o, "head_dim", c->head_dim);
    add_size(o, "positions", c->max_position);
    add_switches(o, c);
    json_object_set_new(o, "rope", ropes);
    json_object_set_new(o, "layer", layers_json(c));
    json_object_set_new(o, "eos", eos);
    return o;
}
