// SPDX-License-Identifier: MIT
#include "model/config_nested.h"

#include <string.h>

static const char inner_key[] = "text_config", type_key[] = "model_type",
                  tied_key[] = "tie_word_embeddings";

static int is_one_of(const char *key, const char *const *list, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!strcmp(list[i], key))
            return 1;
    return 0;
}

// Of images and of what joins both: no number of the text depends on them.
static int is_of_images(const char *key)
{
    static const char *const keys[] = {
        inner_key,
        "vision_config",
        "mm_tokens_per_image",
        "image_token_id",
        "boi_token_id",
        "eoi_token_id",
        "projector_hidden_act",
        "multimodal_projector_bias",
        "spatial_merge_size",
        "vision_feature_layer",
        "initializer_range",
        "pad_token_id", // the text model's counts, or its class's
    };
    return is_one_of(key, keys, sizeof keys / sizeof *keys);
}

// What stands outside counts, whatever the text model's own keys say.
static int is_of_folder(const char *key)
{
    static const char *const keys[] = {"architectures", "dtype",      "torch_dtype", "eos_token_id",
                                       "id2label",      "num_labels", tied_key};
    return is_one_of(key, keys, sizeof keys / sizeof *keys);
}

static const char *type_of_text(const json_t *text, const struct family_wrapper *w)
{
    const char *type = json_string_value(json_object_get(text, type_key));
    if (!type)
        return w->text_type[0];
    for (size_t i = 0; i < WRAPPER_TYPES && w->text_type[i]; i++)
        if (!strcmp(w->text_type[i], type))
            return type;
    return NULL;
}

json_t *config_flatten(const json_t *config, const struct family_wrapper *wrapper, const char *file,
                       struct err *e)
{
    json_t *text = json_object_get(config, inner_key), *value;
    const char *key, *type = json_is_object(text) ? type_of_text(text, wrapper) : NULL;
    if (!type) {
        err_set(e, STATUS_FAILED,
                json_is_object(text)
                    ? "%s: key `%s`: its `model_type` is not known for folders of type %s"
                    : "%s: key `%s` is missing, which folders of type %s have",
                file, inner_key, wrapper->model_type);
        return NULL;
    }
    json_t *flat = json_copy(text);
    json_object_set_new(flat, tied_key,
                        json_true());  // in these classes, where it is absent outside
    json_object_del(flat, "id2label"); // whatever it holds itself
    json_object_del(flat, "num_labels");
    json_object_foreach((json_t *)config, key, value)
    {
        int counts = is_of_folder(key) ? !json_is_null(value) : !json_object_get(flat, key);
        if (!is_of_images(key) && counts)
            json_object_set(flat, key, value);
    }
    json_object_set_new(flat, type_key, json_string(type));
    if (!flat)
        err_memory(e, 0, file);
    return flat;
}
