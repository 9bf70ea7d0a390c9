// SPDX-License-Identifier: MIT
#include "model/config_keys.h"
#include "model/config_read_keys.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

// Keys that no forward pass of the families depends on: token ids, what transformers writes beside
// a model, regularisation of training, generation settings (generation_config.json counts), and
// remarks of tools. Sorted.
static const char *const harmless[] = {
    "add_bos_token",
    "add_eos_token",
    "architectures",
    "assistant_confidence_threshold",
    "assistant_early_exit",
    "attention_dropout",
    "attention_probs_dropout_prob",
    "attention_softmax_in_fp32",
    "attn_dropout",
    "attn_implementation",
    "attn_pdrop",
    "auto_map",
    "bad_words_ids",
    "begin_suppress_tokens",
    "boi_token_index",
    "bos_token",
    "bos_token_id",
    "cache_config",
    "cache_implementation",
    "chunk_size_feed_forward",
    "cls_token_id",
    "custom_pipelines",
    "decoder_start_token_id",
    "diversity_penalty",
    "do_sample",
    "dola_layers",
    "dtype",
    "early_stopping",
    "embd_pdrop",
    "embed_dropout",
    "embedding_dropout",
    "encoder_no_repeat_ngram_size",
    "encoder_repetition_penalty",
    "eoi_token_index",
    "eos_token",
    "eos_token_id",
    "epsilon_cutoff",
    "eta_cutoff",
    "exponential_decay_length_penalty",
    "finetuning_task",
    "force_words_ids",
    "forced_bos_token_id",
    "forced_decoder_ids",
    "forced_eos_token_id",
    "gradient_checkpointing",
    "gradient_checkpointing_use_reentrant",
    "guidance_scale",
    "hidden_dropout",
    "hidden_dropout_prob",
    "id2label",
    "image_token_index",
    "inference_runner",
    "is_assistant",
    "is_decoder",
    "keys_to_ignore_at_inference",
    "label2id",
    "language",
    "length_penalty",
    "license",
    "low_memory",
    "mask_token_id",
    "max_batch_size",
    "max_length",
    "max_matching_ngram_size",
    "max_new_tokens",
    "max_seq_len",
    "max_sequence_length",
    "max_time",
    "max_window_layers",
    "min_length",
    "min_new_tokens",
    "min_p",
    "model_max_length",
    "model_type",
    "n_ctx",
    "name_or_path",
    "no_repeat_ngram_size",
    "num_assistant_tokens",
    "num_assistant_tokens_schedule",
    "num_beam_groups",
    "num_beams",
    "num_labels",
    "num_return_sequences",
    "onnx_export",
    "output_attentions",
    "output_hidden_states",
    "output_logits",
    "output_past",
    "output_scores",
    "pad_key_length",
    "pad_token",
    "pad_token_id",
    "padding_side",
    "penalty_alpha",
    "pre_allocate_kv_cache",
    "prefix",
    "pretraining_tp",
    "problem_type",
    "prompt_lookup_num_tokens",
    "remove_invalid_values",
    "renormalize_logits",
    "repetition_penalty",
    "resid_dropout",
    "resid_pdrop",
    "residual_dropout",
    "return_dict",
    "return_dict_in_generate",
    "scale_attention_softmax_in_fp32",
    "sep_token_id",
    "seq_length",
    "sequence_bias",
    "special_dtypes",
    "stop_strings",
    "suppress_tokens",
    "task_specific_params",
    "temperature",
    "tf_legacy_loss",
    "token_healing",
    "tokenizer_class",
    "top_k",
    "top_p",
    "torch_dtype",
    "torchscript",
    "transformers.js_config",
    "transformers_version",
    "typical_p",
    "unk_token",
    "unk_token_id",
    "unsloth_fixed",
    "unsloth_version",
    "use_bfloat16",
    "use_cache",
    "use_cache_quantization",
    "use_fast",
    "use_flash_attention",
    "use_flash_attn",
    "use_return_dict",
    "validate_runner_input",
    "watermarking_config",
};
static const char *const harmless_prefixes[] = {
    "_attn_implementation", "_commit_hash",  "_experts_implementation",
    "_flash_attn",          "_name_or_path", "classifier_",
    "initializer_",         "summary_",      "unsloth_",
};

int keys_open(struct config_keys *k, const json_t *object, const char *file, struct err *e)
{
    k->file = file;
    k->left = object ? json_copy((json_t *)object) : json_object();
    return k->left ? 0 : err_memory(e, 0, file);
}

void keys_release(struct config_keys *k)
{
    json_decref(k->left);
    k->left = NULL;
}

// The value, borrowed until json_decref; *state tells absent and null apart.
static json_t *take(struct config_keys *k, const char *key, int *state)
{
    json_t *value = json_incref(json_object_get(k->left, key));
    json_object_del(k->left, key);
    *state = !value ? KEY_ABSENT : json_is_null(value) ? KEY_NULL : KEY_FOUND;
    if (*state == KEY_FOUND)
        return value;
    json_decref(value);
    return NULL;
}

static int wrong_type(const struct config_keys *k, const char *key, const char *wanted,
                      struct err *e)
{
    return err_set(e, STATUS_FAILED, "%s: key `%s`: not %s", k->file, key, wanted);
}

int keys_int(struct config_keys *k, const char *key, int64_t *value, struct err *e)
{
    int state;
    json_t *j = take(k, key, &state);
    if (j && !json_is_integer(j))
        state = wrong_type(k, key, "a whole number", e);
    else if (j)
        *value = json_integer_value(j);
    json_decref(j);
    return state;
}

int keys_real(struct config_keys *k, const char *key, double *value, struct err *e)
{
    int state;
    json_t *j = take(k, key, &state);
    if (j && (!json_is_number(j) || !isfinite(json_number_value(j))))
        state = wrong_type(k, key, "a number", e);
    else if (j)
        *value = json_number_value(j);
    json_decref(j);
    return state;
}

int keys_bool(struct config_keys *k, const char *key, int *value, struct err *e)
{
    int state;
    json_t *j = take(k, key, &state);
    if (j && !json_is_boolean(j))
        state = wrong_type(k, key, "true or false", e);
    else if (j)
        *value = json_is_true(j);
    json_decref(j);
    return state;
}

int keys_string(struct config_keys *k, const char *key, char *value, size_t size, struct err *e)
{
    int state;
    json_t *j = take(k, key, &state);
    if (j && !json_is_string(j))
        state = wrong_type(k, key, "a string", e);
    else if (j && json_string_length(j) >= size)
        state = keys_refuse(k, key, json_string_value(j), e);
    else if (j)
        snprintf(value, size, "%s", json_string_value(j));
    json_decref(j);
    return state;
}

json_t *keys_value(struct config_keys *k, const char *key)
{
    int state;
    return take(k, key, &state);
}

int keys_size(struct config_keys *k, const char *key, size_t *value, size_t most, struct err *e)
{
    int64_t v = 0;
    int state = keys_int(k, key, &v, e);
    if (state != KEY_FOUND)
        return state;
    if (v < 1 || v > (int64_t)most)
        return err_set(e, STATUS_FAILED, "%s: key `%s`: %lld is not in 1 .. %zu", k->file, key,
                       (long long)v, most);
    *value = (size_t)v;
    return state;
}

int keys_agree_int(struct config_keys *k, const char *key, int64_t value, struct err *e)
{
    int64_t v = value;
    int state = keys_int(k, key, &v, e);
    if (state >= 0 && v != value)
        return err_set(e, STATUS_FAILED, "%s: key `%s`: %lld, where this model has %lld", k->file,
                       key, (long long)v, (long long)value);
    return state;
}

int keys_agree_bool(struct config_keys *k, const char *key, int value, struct err *e)
{
    int v = value;
    int state = keys_bool(k, key, &v, e);
    return state >= 0 && !v != !value ? keys_refuse(k, key, v ? "true" : "false", e) : state;
}

int keys_agree_real(struct config_keys *k, const char *key, double value, struct err *e)
{
    double v = value;
    int state = keys_real(k, key, &v, e);
    if (state >= 0 && v != value)
        return err_set(e, STATUS_FAILED, "%s: key `%s`: %.10g, where this model has %.10g", k->file,
                       key, v, value);
    return state;
}

int keys_agree_string(struct config_keys *k, const char *key, const char *value, struct err *e)
{
    char text[64];
    snprintf(text, sizeof text, "%s", value);
    int state = keys_string(k, key, text, sizeof text, e);
    return state >= 0 && strcmp(text, value) != 0 ? keys_refuse(k, key, text, e) : state;
}

int keys_refuse(const struct config_keys *k, const char *key, const char *value, struct err *e)
{
    return err_set(e, STATUS_FAILED, "%s: key `%s`: '%.100s' is not known to this version", k->file,
                   key, value);
}

static int compare(const void *key, const void *entry)
{
    return strcmp(key, *(const char *const *)entry);
}

static int is_harmless(const char *key)
{
    if (bsearch(key, harmless, sizeof harmless / sizeof *harmless, sizeof *harmless, compare))
        return 1;
    for (size_t i = 0; i < sizeof harmless_prefixes / sizeof *harmless_prefixes; i++)
        if (!strncmp(key, harmless_prefixes[i], strlen(harmless_prefixes[i])))
            return 1;
    return 0;
}

// null, false, "", [] and {}: switched off.
static int is_empty(const json_t *value)
{
    return json_is_null(value) || json_is_false(value) ||
           (json_is_string(value) && !json_string_length(value)) ||
           (json_is_array(value) && !json_array_size(value)) ||
           (json_is_object(value) && !json_object_size(value));
}

static int is_in(const char *keys, const char *key)
{
    size_t n = strlen(key);
    for (const char *at = keys; (at = strstr(at, key)) != NULL; at++)
        if ((at == keys || at[-1] == ' ') && (at[n] == ' ' || !at[n]))
            return 1;
    return 0;
}

// What is no name of Python's might be two in the table.
static int is_read(const char *type, const char *key)
{
    int known = 0;
    for (size_t i = 0; i < sizeof read_keys / sizeof *read_keys; i++) {
        int is_own = !strcmp(read_keys[i].family, type);
        known |= is_own;
        if ((is_own || !strcmp(read_keys[i].family, "*")) && is_in(read_keys[i].keys, key))
            return 1;
    }
    return !known || !*key || strchr(key, ' ') != NULL;
}

// Longer lists end with three dots.
static void add_name(const char *key, char *names, size_t size)
{
    static const char more[] = ", ...";
    size_t used = strlen(names), n = strnlen(key, 40);
    if (used >= sizeof more - 1 && !strcmp(names + used - (sizeof more - 1), more))
        return;
    if (used + n + 2 + sizeof more > size)
        snprintf(names + used, size - used, more);
    else
        snprintf(names + used, size - used, "%s%.40s", used ? ", " : "", key);
}

void keys_let_through(struct config_keys *k, const char *type, char *names, size_t size)
{
    const char *key;
    json_t *value;
    void *next;
    json_object_foreach_safe(k->left, next, key, value)
    {
        if (is_harmless(key) || is_empty(value) || is_read(type, key))
            continue;
        add_name(key, names, size);
        json_object_del(k->left, key);
    }
}

int keys_finish(const struct config_keys *k, struct err *e)
{
    const char *key;
    json_t *value;
    json_object_foreach(k->left, key, value)
    {
        if (!is_harmless(key) && !is_empty(value))
            return err_set(e, STATUS_FAILED,
                           "%s: key `%.100s` is not known to this version: it may change the "
                           "model's numbers",
                           k->file, key);
    }
    return 0;
}
