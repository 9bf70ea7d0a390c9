// SPDX-License-Identifier: MIT
#include "model/config.h"
#include "base/io.h"
#include "base/json.h"
#include "base/memory.h"
#include "model/activation.h"
#include "model/config_keys.h"
#include "model/config_layers.h"
#include "model/config_nested.h"
#include "model/config_rope.h"
#include "model/family.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { CONFIG_LIMIT = 16 << 20 };
static const char file[] = "config.json";

static int read_family(struct model_config *c, struct config_keys *k, struct err *e)
{
    char known[512];
    int state = keys_string(k, "model_type", c->model_type, sizeof c->model_type, e);
    if (state < 0)
        return -1;
    if (state != KEY_FOUND)
        return err_set(e, STATUS_FAILED, "%s: key `model_type` is missing", file);
    c->family = family_find(c->model_type);
    if (c->family)
        return 0;
    return err_set(e, STATUS_FAILED,
                   "%s: key `model_type`: '%s' is not known to this version, which reads %s", file,
                   c->model_type, family_list(known, sizeof known));
}

static int read_dtype(struct model_config *c, struct config_keys *k, struct err *e)
{
    static const char *const names[] = {[DTYPE_F32] = "float32",
                                        [DTYPE_F16] = "float16",
                                        [DTYPE_BF16] = "bfloat16",
                                        [DTYPE_F64] = "float64"};
    char name[32] = "float32";
    if (keys_string(k, "torch_dtype", name, sizeof name, e) < 0 ||
        keys_string(k, "dtype", name, sizeof name, e) < 0)
        return -1;
    const char *bare = !strncmp(name, "torch.", 6) ? name + 6 : name;
    for (int i = 0; i <= DTYPE_F64; i++)
        if (!strcmp(names[i], bare))
            c->dtype = (enum dtype)i;
    return 0;
}

static int is_classifier(const json_t *list)
{
    static const char suffix[] = "ForSequenceClassification";
    for (size_t i = 0; i < json_array_size(list); i++) {
        const char *name = json_string_value(json_array_get(list, i));
        size_t n = name ? strlen(name) : 0;
        if (n >= sizeof suffix - 1 && !strcmp(name + n - (sizeof suffix - 1), suffix))
            return 1;
    }
    return 0;
}

static int read_head(struct model_config *c, struct config_keys *k, struct err *e)
{
    json_t *list = keys_value(k, "architectures");
    int classifier = is_classifier(list);
    json_decref(list);
    if (!classifier)
        return 0;
    if (!family_architecture(c, HEAD_REWARD))
        return err_set(e, STATUS_FAILED,
                       "%s: key `architectures`: transformers has no reward models of type %s",
                       file, c->model_type);
    int64_t labels = 2; // of transformers, where the file names none
    if (keys_int(k, "num_labels", &labels, e) < 0)
        return -1;
    json_t *names = keys_value(k, "id2label");
    if (json_is_object(names))
        labels = (int64_t)json_object_size(names);
    json_decref(names);
    if (labels != 1)
        return err_set(e, STATUS_FAILED,
                       "%s: a classifier of %lld labels: only one label, a reward, is read", file,
                       (long long)labels);
    c->head = HEAD_REWARD;
    return 0;
}

// Sizes beyond these are a lie or a different program's business; the products stay far from 2^63.
enum { LAYERS = 1 << 12, VOCAB = 1 << 24, POSITIONS = 1 << 28, HEAD_DIM = 1 << 14 };
static const struct {
    const char *usual;
    size_t most;
} sizes[FAMILY_SIZES] = {
    [SIZE_VOCAB] = {"vocab_size", VOCAB},
    [SIZE_HIDDEN] = {"hidden_size", WIDTH_MAX},
    [SIZE_LAYERS] = {"num_hidden_layers", LAYERS},
    [SIZE_HEADS] = {"num_attention_heads", WIDTH_MAX},
    [SIZE_KV_HEADS] = {"num_key_value_heads", WIDTH_MAX},
    [SIZE_HEAD_DIM] = {"head_dim", HEAD_DIM},
    [SIZE_INTERMEDIATE] = {"intermediate_size", WIDTH_MAX},
    [SIZE_POSITIONS] = {"max_position_embeddings", POSITIONS},
};

// In the family's spelling; the usual one is understood as well.
static int read_size(struct model_config *c, struct config_keys *k, enum family_size which,
                     size_t *value, struct err *e)
{
    const char *own = c->family->size_key[which], *usual = sizes[which].usual;
    if (!own)
        return keys_size(k, usual, value, sizes[which].most, e);
    int state = keys_size(k, own, value, sizes[which].most, e);
    if (state == KEY_ABSENT)
        return keys_size(k, usual, value, sizes[which].most, e);
    return state == KEY_FOUND && keys_agree_int(k, usual, (int64_t)*value, e) < 0 ? -1 : state;
}

// *value: what an absent key means, or 0.
static int need_size(struct model_config *c, struct config_keys *k, enum family_size which,
                     size_t *value, struct err *e)
{
    int state = read_size(c, k, which, value, e);
    if ((state == KEY_ABSENT || state == KEY_NULL) && !*value) {
        const char *own = c->family->size_key[which];
        return err_set(e, STATUS_FAILED, "%s: key `%s` is missing", file,
                       own ? own : sizes[which].usual);
    }
    return state < 0 ? -1 : 0;
}

static int read_kv_heads(struct model_config *c, struct config_keys *k, struct err *e)
{
    const struct family *f = c->family;
    c->kv_heads = f->default_kv_heads ? f->default_kv_heads : c->heads;
    if (f->no_kv_heads)
        return 0;
    if (f->needs_kv_heads)
        c->kv_heads = 0;
    if (f->needs_kv_heads)
        return need_size(c, k, SIZE_KV_HEADS, &c->kv_heads, e);
    int state = read_size(c, k, SIZE_KV_HEADS, &c->kv_heads, e);
    if (state == KEY_NULL) // which is not the same as absent
        c->kv_heads = c->heads;
    return state < 0 ? -1 : 0;
}

static int read_head_dim(struct model_config *c, struct config_keys *k, struct err *e)
{
    const struct family *f = c->family;
    int state = KEY_NULL;
    if (f->needs_head_dim)
        return need_size(c, k, SIZE_HEAD_DIM, &c->head_dim, e);
    if (!f->no_head_dim) {
        c->head_dim = f->default_head_dim;
        state = read_size(c, k, SIZE_HEAD_DIM, &c->head_dim, e);
    }
    if (state < 0 || state == KEY_FOUND || (state == KEY_ABSENT && f->default_head_dim))
        return state < 0 ? -1 : 0;
    if (c->hidden % c->heads)
        return err_set(e, STATUS_FAILED,
                       "%s: `hidden_size` %zu is not a multiple of `num_attention_heads` %zu", file,
                       c->hidden, c->heads);
    c->head_dim = c->hidden / c->heads;
    if (c->head_dim > HEAD_DIM)
        return err_set(e, STATUS_FAILED, "%s: heads of %zu dimensions", file, c->head_dim);
    return 0;
}

static int read_intermediate(struct model_config *c, struct config_keys *k, struct err *e)
{
    c->intermediate = c->family->wide ? 4 * c->hidden : c->family->default_intermediate;
    return need_size(c, k, SIZE_INTERMEDIATE, &c->intermediate, e);
}

static int read_sizes(struct model_config *c, struct config_keys *k, struct err *e)
{
    c->max_position = c->family->default_positions;
    c->vocab = c->family->default_vocab;
    c->heads = c->family->default_heads;
    if (need_size(c, k, SIZE_VOCAB, &c->vocab, e) < 0 ||
        need_size(c, k, SIZE_HIDDEN, &c->hidden, e) < 0 ||
        need_size(c, k, SIZE_LAYERS, &c->layers, e) < 0 ||
        need_size(c, k, SIZE_HEADS, &c->heads, e) < 0 || read_kv_heads(c, k, e) < 0 ||
        read_head_dim(c, k, e) < 0 || read_intermediate(c, k, e) < 0 ||
        read_size(c, k, SIZE_POSITIONS, &c->max_position, e) < 0)
        return -1;
    c->end_width = c->hidden;
    return 0;
}

static int check_heads(const struct model_config *c, struct config_keys *k, struct err *e)
{
    if (c->heads % c->kv_heads)
        return err_set(
            e, STATUS_FAILED,
            "%s: `num_attention_heads` %zu is not a multiple of `num_key_value_heads` %zu", file,
            c->heads, c->kv_heads);
    if (c->heads * c->head_dim > WIDTH_MAX)
        return err_set(e, STATUS_FAILED, "%s: %zu heads of %zu dimensions", file, c->heads,
                       c->head_dim);
    // Keys that the family does not have, and transformers may write.
    return keys_agree_int(k, "num_key_value_heads", (int64_t)c->kv_heads, e) < 0 ||
                   keys_agree_int(k, "head_dim", (int64_t)c->head_dim, e) < 0 ||
                   keys_agree_int(k, "attention_head_dim", (int64_t)c->head_dim, e) < 0 ||
                   keys_agree_int(k, "kv_channels", (int64_t)c->head_dim, e) < 0
               ? -1
               : 0;
}

static int read_activation(struct model_config *c, struct config_keys *k, struct err *e)
{
    const struct family *f = c->family;
    const char *key = f->activation_key ? f->activation_key : "hidden_act";
    char name[64];
    snprintf(name, sizeof name, "%s", f->default_activation ? f->default_activation : "silu");
    if (keys_string(k, key, name, sizeof name, e) < 0)
        return -1;
    return activation_find(name, &c->activation) < 0 ? keys_refuse(k, key, name, e) : 0;
}

static int read_numbers(struct model_config *c, struct config_keys *k, struct err *e)
{
    const struct family *f = c->family;
    const char *key = f->eps_key ? f->eps_key : "rms_norm_eps";
    double eps = f->default_eps > 0 ? f->default_eps : 1e-6;
    c->initializer_range = f->default_initializer_range > 0 ? f->default_initializer_range : 0.02;
    if ((*key && keys_real(k, key, &eps, e) < 0) ||
        keys_real(k, "initializer_range", &c->initializer_range, e) < 0)
        return -1;
    if (!(eps >= 0 && eps <= 1))
        return err_set(e, STATUS_FAILED, "%s: key `%s`: %.10g is not in 0 .. 1", file, key, eps);
    c->norm_eps = (float)eps;
    return 0;
}

// What the family's row says, and the keys that switch tensors on.
static int read_switches(struct model_config *c, struct config_keys *k, struct err *e)
{
    const struct family *f = c->family;
    c->norm_centred = f->norm_centred;
    c->norm_bare = f->norm_bare;
    c->norm_offset = f->norm_offset;
    c->parallel = f->parallel;
    c->conv1d = f->conv1d;
    c->rope_interleaved = f->rope_interleaved;
    c->rope_reversed = f->rope_reversed;
    c->position_offset = f->position_offset;
    c->fusion = f->fusion;
    c->head_norm = f->head_norm;
    c->head_norm_late = f->head_norm_late;
    c->embedding_scale = c->residual_scale = c->logit_scale = 1;
    c->tied = f->default_tied;
    if (keys_bool(k, "tie_word_embeddings", &c->tied, e) < 0)
        return -1;
    for (int role = 0; role < ROLE_COUNT; role++)
        c->has[role] = f->name[role] != NULL;
    for (int i = 0; i < FAMILY_SWITCHES && f->switches[i].key; i++) {
        int on = f->switches[i].absent;
        if (keys_bool(k, f->switches[i].key, &on, e) < 0)
            return -1;
        if (!on)
            family_leave_out(c, f->switches[i].parts);
    }
    if (c->head == HEAD_REWARD)
        c->has[ROLE_HEAD] = c->has[ROLE_HEAD_BIAS] = 0;
    else
        c->has[ROLE_REWARD_HEAD] = 0;
    if (c->tied)
        c->has[ROLE_HEAD] = 0;
    return 0;
}

static int read_layers(struct model_config *c, struct config_keys *k, struct err *e)
{
    c->layer = mem_alloc(c->layers, sizeof *c->layer, "layers", e);
    if (!c->layer)
        return -1;
    layers_set_scale(c, 1 / sqrt((double)c->head_dim));
    if (c->family->special && c->family->special(c, k, e) < 0)
        return -1;
    for (int role = 0; role < ROLE_COUNT && c->norm_bare; role++)
        if (family_is_norm((enum tensor_role)role))
            c->has[role + 1] = 0;
    if (layers_agree(c, k, e) < 0)
        return -1;
    if (!c->family->no_rope && !c->n_ropes && rope_read(c, k, e) < 0)
        return -1;
    int turns = 0;
    for (size_t i = 0; i < c->layers; i++) {
        if (c->family->no_rope || c->alibi)
            c->layer[i].rope = -1;
        turns |= c->layer[i].rope >= 0;
    }
    if (turns)
        return 0;
    for (; c->n_ropes > 0; c->n_ropes--) // whatever the keys of rotary positions say
        rope_config_release(&c->rope[c->n_ropes - 1]);
    return 0;
}

// The stops. The class's own, which most families have, are none where the file lacks the key:
// transformers generates by what the files say.
static int read_eos(struct model_config *c, const json_t *j, const char *name, struct err *e)
{
    const json_t *eos = json_object_get(j, "eos_token_id");
    if (!eos || json_is_null(eos))
        return 0;
    c->n_eos = 0;
    size_t n = json_is_array(eos) ? json_array_size(eos) : 1;
    for (size_t i = 0; i < n; i++) {
        const json_t *v = json_is_array(eos) ? json_array_get(eos, i) : eos;
        if (!json_is_integer(v) || n > EOS_MAX)
            return err_set(e, STATUS_FAILED, "%s: key `eos_token_id`: not an id or a short list",
                           name);
        json_int_t id = json_integer_value(v);
        if (id >= 0 && (size_t)id < c->vocab) // some files say -1 for none
            c->eos[c->n_eos++] = (uint32_t)id;
    }
    return 0;
}

// torch's padding_idx counts from the end where it is negative.
static int read_padding(struct model_config *c, struct config_keys *k, struct err *e)
{
    int64_t id = (int64_t)c->family->default_padding - 1, vocab = (int64_t)c->vocab;
    int state = keys_int(k, "pad_token_id", &id, e);
    if (state < 0)
        return -1;
    int named = state == KEY_FOUND || (state == KEY_ABSENT && c->family->default_padding);
    c->padding = -1;
    if (named && !c->family->no_padding && id >= -vocab && id < vocab)
        c->padding = id < 0 ? id + vocab : id;
    return 0;
}

static void drop_ignored(const struct family *f, struct config_keys *k)
{
    const char *key;
    json_t *value;
    void *next;
    for (size_t i = 0; i < FAMILY_IGNORED && f->ignored[i]; i++) {
        size_t n = strlen(f->ignored[i]);
        if (f->ignored[i][n - 1] != '_') {
            json_object_del(k->left, f->ignored[i]);
            continue;
        }
        json_object_foreach_safe(k->left, next, key, value)
        {
            if (!strncmp(key, f->ignored[i], n))
                json_object_del(k->left, key);
        }
    }
}

static int read_config(struct model_config *c, const json_t *j, struct err *e)
{
    struct config_keys k;
    if (!json_is_object(j))
        return err_set(e, STATUS_FAILED, "%s: not a JSON object", file);
    if (keys_open(&k, j, file, e) < 0)
        return -1;
    const json_t *quantised = json_object_get(j, "quantization_config");
    int result = read_family(c, &k, e);
    if (result == 0 && quantised && !json_is_null(quantised))
        result = err_set(e, STATUS_FAILED,
                         "%s: key `quantization_config`: quantised weights are not read", file);
    if (result == 0)
        drop_ignored(c->family, &k);
    if (result == 0)
        result = read_dtype(c, &k, e);
    if (result == 0)
        result = read_head(c, &k, e);
    if (result == 0)
        result = read_sizes(c, &k, e);
    if (result == 0)
        result = read_padding(c, &k, e);
    if (result == 0)
        result = read_activation(c, &k, e);
    if (result == 0)
        result = read_numbers(c, &k, e);
    if (result == 0)
        result = read_switches(c, &k, e);
    if (result == 0)
        result = read_layers(c, &k, e);
    if (result == 0)
        result = check_heads(c, &k, e);
    if (result == 0)
        result = read_eos(c, j, file, e);
    if (result == 0 && keys_agree_bool(&k, "is_causal", 1, e) < 0) // false looks switched off
        result = -1;
    if (result == 0) {
        keys_let_through(&k, c->family->model_type, c->unread, sizeof c->unread);
        result = keys_finish(&k, e);
    }
    keys_release(&k);
    return result;
}

// A text model alone, or in a multimodal folder.
static int read_folder(struct model_config *c, const json_t *j, struct err *e)
{
    const char *type = json_string_value(json_object_get(j, "model_type"));
    c->wrapper = type ? family_find_wrapper(type) : NULL;
    if (!c->wrapper)
        return read_config(c, j, e);
    json_t *flat = config_flatten(j, c->wrapper, file, e);
    int result = flat ? read_config(c, flat, e) : -1;
    json_decref(flat);
    snprintf(c->model_type, sizeof c->model_type, "%s", c->wrapper->model_type);
    return result;
}

int config_read(struct model_config *c, int at, struct err *e)
{
    return config_read_file(c, at, file, e);
}

int config_read_file(struct model_config *c, int at, const char *name, struct err *e)
{
    memset(c, 0, sizeof *c);
    json_t *j = json_parse_file(at, name, CONFIG_LIMIT, e);
    if (!j)
        return -1;
    int result = read_folder(c, j, e);
    json_decref(j);
    static const char generation[] = "generation_config.json";
    if (result == 0 && io_exists(at, generation)) {
        j = json_parse_file(at, generation, CONFIG_LIMIT, e);
        result = j ? read_eos(c, j, generation, e) : -1;
        json_decref(j);
    }
    if (result < 0)
        config_release(c);
    return result;
}

void config_release(struct model_config *c)
{
    for (size_t i = 0; i < ROPES_MAX; i++)
        rope_config_release(&c->rope[i]);
    free(c->layer);
    c->layer = NULL;
}
