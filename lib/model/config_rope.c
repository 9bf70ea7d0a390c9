// SPDX-License-Identifier: MIT
#include "model/config_rope.h"
#include "base/memory.h"
#include "model/family.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const char *const type_names[ROPE_TYPES] = {
    [ROPE_DEFAULT] = "default", [ROPE_LINEAR] = "linear", [ROPE_LLAMA3] = "llama3",
    [ROPE_DYNAMIC] = "dynamic", [ROPE_YARN] = "yarn",     [ROPE_LONGROPE] = "longrope"};

const char *config_rope_name(enum rope_type type)
{
    return type_names[type];
}

static int bad(const struct config_keys *k, const char *key, const char *reason, struct err *e)
{
    return err_set(e, STATUS_FAILED, "%s: key `%s` of the rotary positions %s", k->file, key,
                   reason);
}

static int find_type(const struct model_config *c, const struct config_keys *k, const char *name,
                     enum rope_type *out, struct err *e)
{
    // Phi-3 knows one type besides the default, and that by three names.
    if (c->family->longrope_only && (!strcmp(name, "su") || !strcmp(name, "yarn")))
        name = "longrope";
    for (int i = 0; i < ROPE_TYPES; i++)
        if (!strcmp(type_names[i], name)) {
            *out = (enum rope_type)i;
            if (c->family->longrope_only && i != ROPE_DEFAULT && i != ROPE_LONGROPE)
                break;
            return 0;
        }
    return keys_refuse(k, "rope_type", name, e);
}

static int read_type(struct rope_config *r, const struct model_config *c, struct config_keys *k,
                     struct err *e)
{
    char name[32] = "default", older[32] = "default";
    int old = keys_string(k, "type", older, sizeof older, e);
    int new = old < 0 ? -1 : keys_string(k, "rope_type", name, sizeof name, e);
    if (new < 0)
        return -1;
    return find_type(c, k, new == KEY_FOUND ? name : older, &r->type, e);
}

// A list of positive numbers, one for each pair of dimensions.
static int read_list(double **out, struct config_keys *k, const char *key, size_t n, struct err *e)
{
    json_t *list = keys_value(k, key);
    int result = 0;
    if (!json_is_array(list) || json_array_size(list) != n)
        result =
            err_set(e, STATUS_FAILED, "%s: key `%s`: not a list of %zu numbers", k->file, key, n);
    else if (!(*out = mem_alloc(n, sizeof **out, "rotary factors", e)))
        result = -1;
    for (size_t i = 0; i < n && result == 0; i++) {
        (*out)[i] = json_number_value(json_array_get(list, i));
        if (!((*out)[i] > 0) || !isfinite((*out)[i]))
            result = bad(k, key, "has an entry that is no positive number", e);
    }
    json_decref(list);
    return result;
}

// How many dimensions turn. An odd number is rounded up, and stays the divisor of the exponents.
static int set_dims(struct rope_config *r, const struct model_config *c,
                    const struct config_keys *k, double partial, struct err *e)
{
    r->divisor = (size_t)((double)c->head_dim * partial);
    r->dims = r->divisor + r->divisor % 2;
    if (r->dims < 2 || r->dims > c->head_dim || r->dims > ROPE_DIMS_MAX)
        return err_set(e, STATUS_FAILED,
                       "%s: heads of %zu dimensions: rotary positions need an even number of them, "
                       "2 .. %d, not %zu",
                       k->file, c->head_dim, ROPE_DIMS_MAX, r->dims);
    return 0;
}

static double yarn_scale(double factor, double m)
{
    return factor <= 1 ? 1 : 0.1 * m * log(factor) + 1;
}

struct mscale {
    double one, all_dims; // 0: absent
};

// modeling_rope_utils: the factor of cos and sin, where the file names none.
static double attention_factor(const struct rope_config *r, struct mscale m)
{
    if (r->type == ROPE_YARN)
        return m.one != 0 && m.all_dims != 0
                   ? yarn_scale(r->factor, m.one) / yarn_scale(r->factor, m.all_dims)
                   : yarn_scale(r->factor, 1);
    if (r->type == ROPE_LONGROPE && r->factor > 1)
        return sqrt(1 + log(r->factor) / log(r->original_max_position));
    return 1;
}

// The parameters of the scaled types.
static int read_scaling(struct rope_config *r, const struct model_config *c, struct config_keys *k,
                        double original, struct err *e)
{
    double attention = NAN;
    struct mscale m = {0, 0};
    r->factor = NAN;
    int factor = keys_real(k, "factor", &r->factor, e);
    r->original_max_position = (double)c->max_position;
    r->beta_fast = 32;
    r->beta_slow = 1;
    r->truncate = 1;
    if (factor < 0 ||
        keys_real(k, "original_max_position_embeddings", &r->original_max_position, e) < 0 ||
        keys_real(k, "low_freq_factor", &r->low_freq_factor, e) < 0 ||
        keys_real(k, "high_freq_factor", &r->high_freq_factor, e) < 0 ||
        keys_real(k, "attention_factor", &attention, e) < 0 ||
        keys_real(k, "beta_fast", &r->beta_fast, e) < 0 ||
        keys_real(k, "beta_slow", &r->beta_slow, e) < 0 || keys_real(k, "mscale", &m.one, e) < 0 ||
        keys_real(k, "mscale_all_dim", &m.all_dims, e) < 0 ||
        keys_bool(k, "truncate", &r->truncate, e) < 0)
        return -1;
    if (r->beta_fast == 0) // as an absent one
        r->beta_fast = 32;
    if (r->beta_slow == 0)
        r->beta_slow = 1;
    if (original > 0)
        r->original_max_position = original;
    if (r->type == ROPE_DYNAMIC)
        r->original_max_position = (double)c->max_position;
    if (!(r->original_max_position >= 1 && r->original_max_position <= 1e9))
        return bad(k, "original_max_position_embeddings", "is no length", e);
    if (r->type == ROPE_DEFAULT)
        r->factor = 1;
    else if (isnan(r->factor) &&
             (r->type == ROPE_LONGROPE || (r->type == ROPE_YARN && factor == KEY_NULL)))
        r->factor = (double)c->max_position / r->original_max_position;
    if (!(r->factor > 0))
        return bad(k, "factor", isnan(r->factor) ? "is missing" : "must be positive", e);
    if (r->type == ROPE_LLAMA3 && !(r->low_freq_factor > 0 && r->high_freq_factor > 0 &&
                                    r->low_freq_factor != r->high_freq_factor))
        return bad(k, "low_freq_factor", "or `high_freq_factor` is missing or impossible", e);
    if (r->type == ROPE_LONGROPE &&
        (read_list(&r->short_factor, k, "short_factor", r->dims / 2, e) < 0 ||
         read_list(&r->long_factor, k, "long_factor", r->dims / 2, e) < 0))
        return -1;
    int named = !isnan(attention) && (r->type == ROPE_YARN || r->type == ROPE_LONGROPE);
    r->attention_factor = named ? attention : attention_factor(r, m);
    if (!isfinite(r->attention_factor))
        return bad(k, "factor", "gives no finite attention factor", e);
    return 0;
}

// What the numbers of the file come to.
static int check_frequencies(const struct model_config *c, const struct rope_config *r,
                             const struct config_keys *k, struct err *e)
{
    float f[ROPE_DIMS_MAX / 2];
    for (int way = 0; way < 2; way++) {
        size_t length = way ? 2 * (c->max_position + (size_t)r->original_max_position) : 1;
        config_rope_frequencies(c, r, length, f);
        for (size_t i = 0; i < r->dims / 2; i++)
            if (!isfinite(f[i]))
                return err_set(e, STATUS_FAILED,
                               "%s: the parameters of the rotary positions give a frequency that "
                               "is not finite",
                               k->file);
    }
    return 0;
}

// HunYuan's own reading of `dynamic`: the base grows once and for all, whatever the length.
static int read_alpha(struct rope_config *r, const struct model_config *c, struct config_keys *k,
                      struct err *e)
{
    double alpha = 0, d = (double)c->head_dim;
    if (!c->family->alpha_rope || r->type != ROPE_DYNAMIC)
        return 0;
    int state = keys_real(k, "alpha", &alpha, e);
    if (state < 0)
        return -1;
    if (state != KEY_FOUND || alpha == 0)
        return 0;
    if (alpha < 0 || c->head_dim <= 2)
        return bad(k, "alpha", "must be positive, and heads larger than 2", e);
    r->type = ROPE_DEFAULT;
    r->theta *= pow(alpha, d / (d - 2));
    return 0;
}

// Ministral 3: queries grow with the multiples of the original length that lie behind them.
static int read_query_scale(struct model_config *c, const struct rope_config *r,
                            struct config_keys *k, int original, struct err *e)
{
    static const char key[] = "llama_4_scaling_beta";
    if (!c->family->scaled_queries)
        return 0;
    json_object_del(k->left, "max_position_embeddings"); // of no effect
    int state = keys_real(k, key, &c->query_beta, e);
    if (state < 0)
        return -1;
    if (state != KEY_FOUND || !original)
        return bad(k, original ? key : "original_max_position_embeddings", "is missing", e);
    c->query_period = r->original_max_position;
    return 0;
}

int rope_add(struct model_config *c, const json_t *parameters, double theta, double partial,
             double original, struct err *e)
{
    struct rope_config *r = &c->rope[c->n_ropes++];
    struct config_keys k;
    if (keys_open(&k, parameters, "config.json", e) < 0)
        return -1;
    r->theta = theta;
    r->attention_factor = 1;
    int result = read_type(r, c, &k, e);
    if (result == 0 && (keys_real(&k, "rope_theta", &r->theta, e) < 0 ||
                        keys_real(&k, "partial_rotary_factor", &partial, e) < 0))
        result = -1;
    if (result == 0)
        result = read_alpha(r, c, &k, e);
    if (result == 0 && !(r->theta > 0))
        result = bad(&k, "rope_theta", "must be positive", e);
    if (result == 0 && !(partial > 0 && partial <= 1))
        result = bad(&k, "partial_rotary_factor", "is not in 0 .. 1", e);
    if (result == 0 && partial != 1 && !c->family->partial_rope)
        result = err_set(e, STATUS_FAILED, "%s: key `partial_rotary_factor` must be 1 for %s",
                         k.file, c->model_type);
    if (result == 0)
        result = set_dims(r, c, &k, partial, e);
    int named = json_object_get(k.left, "original_max_position_embeddings") != NULL;
    if (result == 0)
        result = read_scaling(r, c, &k, original, e);
    if (result == 0)
        result = read_query_scale(c, r, &k, named, e);
    if (result == 0 && r->type != ROPE_LONGROPE) { // of no use to the other types
        json_object_del(k.left, "short_factor");
        json_object_del(k.left, "long_factor");
    }
    if (result == 0)
        keys_let_through(&k, "rope", c->unread, sizeof c->unread);
    if (result == 0 && (result = keys_finish(&k, e)) < 0)
        err_prefix(e, "rotary positions");
    if (result == 0)
        result = check_frequencies(c, r, &k, e);
    keys_release(&k);
    return result;
}

// The keys beside the object of parameters.
struct outer {
    double theta, partial, original;
};

static int read_outer(struct outer *o, struct config_keys *k, struct err *e)
{
    int state = keys_real(k, "partial_rotary_factor", &o->partial, e);
    if (state == KEY_NULL) // the whole head, where absent means a part of it
        o->partial = 1;
    return state < 0 || keys_real(k, "rope_theta", &o->theta, e) < 0 ? -1 : 0;
}

// GPT-NeoX spells them its own way; the usual spelling may stand beside it and say the same.
static int read_neox(struct outer *o, struct config_keys *k, struct err *e)
{
    if (keys_real(k, "rotary_emb_base", &o->theta, e) < 0 ||
        keys_real(k, "rotary_pct", &o->partial, e) < 0)
        return -1;
    return keys_agree_real(k, "rope_theta", o->theta, e) < 0 ||
                   keys_agree_real(k, "partial_rotary_factor", o->partial, e) < 0
               ? -1
               : 0;
}

int rope_read(struct model_config *c, struct config_keys *k, struct err *e)
{
    const struct family *f = c->family;
    struct outer o = {.theta = f->default_theta > 0 ? f->default_theta : 10000,
                      .partial = f->partial_rope ? f->default_partial : 1,
                      .original = f->default_original};
    if (f->neox_rope_keys ? read_neox(&o, k, e) < 0 : read_outer(&o, k, e) < 0)
        return -1;
    if (keys_real(k, "original_max_position_embeddings", &o.original, e) < 0)
        return -1;
    // Where both forms stand in the file, transformers takes the old one.
    json_t *scaling = keys_value(k, "rope_scaling"), *parameters = keys_value(k, "rope_parameters");
    const json_t *object =
        json_is_object(scaling) && json_object_size(scaling) ? scaling : parameters;
    int result;
    if ((scaling && !json_is_object(scaling)) || (parameters && !json_is_object(parameters)))
        result = err_set(e, STATUS_FAILED, "%s: key `%s`: not an object", k->file,
                         json_is_object(scaling) || !scaling ? "rope_parameters" : "rope_scaling");
    else
        result = rope_add(c, object, o.theta, o.partial, o.original, e);
    json_decref(scaling);
    json_decref(parameters);
    return result;
}

void rope_config_release(struct rope_config *r)
{
    free(r->short_factor);
    free(r->long_factor);
    r->short_factor = r->long_factor = NULL;
}

static float inverse_power(float theta, float exponent)
{
    return 1 / (float)pow((double)theta, (double)exponent);
}

static float llama3(const struct rope_config *r, float f)
{
    float low = (float)r->low_freq_factor;
    float length = (float)r->original_max_position, factor = (float)r->factor;
    float wave = (float)(2 * M_PI) / f;
    if (wave > (float)(r->original_max_position / r->low_freq_factor))
        return f / factor;
    if (wave < (float)(r->original_max_position / r->high_freq_factor))
        return f;
    float smooth = (length / wave - low) / (float)(r->high_freq_factor - r->low_freq_factor);
    return (1 - smooth) * f / factor + smooth * f;
}

// The dimension whose wave turns `rotations` times within the original length.
static double yarn_dimension(const struct rope_config *r, double rotations)
{
    double length = r->original_max_position;
    return (double)r->divisor * log(length / (rotations * 2 * M_PI)) / (2 * log(r->theta));
}

// How far dimension pair k is stretched: 0 not at all, 1 by the whole factor.
static float yarn_ramp(const struct rope_config *r, size_t k)
{
    double low = yarn_dimension(r, r->beta_fast), high = yarn_dimension(r, r->beta_slow);
    if (r->truncate) {
        low = floor(low);
        high = ceil(high);
    }
    low = fmax(low, 0);
    high = fmin(high, (double)r->divisor - 1);
    if (low == high)
        high += 0.001; // as there: no division by zero
    float at = ((float)k - (float)low) / (float)(high - low);
    return at < 0 ? 0 : at > 1 ? 1 : at;
}

// NTK scaling (dynamic): theta grows with the sequence.
static float dynamic_theta(const struct rope_config *r, size_t length)
{
    float original = (float)r->original_max_position, n = (float)length;
    if (n <= original || r->divisor <= 2)
        return (float)r->theta;
    float stretch = (float)r->factor * n / original - (float)(r->factor - 1);
    double power = (double)r->divisor / (double)(r->divisor - 2);
    return (float)r->theta * (float)pow((double)stretch, power);
}

// transformers' modeling_rope_utils computes in fp32; each rounding is followed.
void config_rope_frequencies(const struct model_config *c, const struct rope_config *r,
                             size_t length, float *out)
{
    (void)c;
    float theta = r->type == ROPE_DYNAMIC ? dynamic_theta(r, length) : (float)r->theta;
    int is_long = (double)length > r->original_max_position;
    for (size_t k = 0; k < r->dims / 2; k++) {
        float exponent = (float)(2 * k) / (float)r->divisor;
        float f = inverse_power(theta, exponent);
        if (r->type == ROPE_LINEAR)
            f /= (float)r->factor;
        else if (r->type == ROPE_LLAMA3)
            f = llama3(r, f);
        else if (r->type == ROPE_YARN) {
            float stretched = 1 / ((float)r->factor * (float)pow((double)theta, (double)exponent));
            float kept = 1 - yarn_ramp(r, k);
            f = stretched * (1 - kept) + f * kept;
        } else if (r->type == ROPE_LONGROPE) {
            float stretch = (float)(is_long ? r->long_factor : r->short_factor)[k];
            f = 1 / (stretch * (float)pow((double)theta, (double)exponent));
        }
        out[k] = f;
    }
}
