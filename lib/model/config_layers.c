// SPDX-License-Identifier: MIT
#include "model/config_layers.h"
#include "base/memory.h"

#include <stdlib.h>
#include <string.h>

static const char types_key[] = "layer_types";

int layers_read_window(struct config_keys *k, size_t *window, struct err *e)
{
    int state = keys_size(k, "sliding_window", window, WINDOW_MAX, e);
    if (state == KEY_NULL)
        *window = 0;
    return state < 0 ? -1 : 0;
}

void layers_set_window(struct model_config *c, size_t window)
{
    for (size_t i = 0; i < c->layers; i++)
        c->layer[i].window = window;
}

void layers_set_scale(struct model_config *c, double scale)
{
    for (size_t i = 0; i < c->layers; i++)
        c->layer[i].scale = (float)scale;
}

static int check_length(const struct model_config *c, const struct config_keys *k, const char *key,
                        const json_t *list, int exact, struct err *e)
{
    if (!json_is_array(list))
        return err_set(e, STATUS_FAILED, "%s: key `%s`: not a list", k->file, key);
    size_t n = json_array_size(list);
    if (n < c->layers || (exact && n > c->layers))
        return err_set(e, STATUS_FAILED, "%s: key `%s`: %zu entries for %zu layers", k->file, key,
                       n, c->layers);
    return 0;
}

int layers_read_types(const struct model_config *c, struct config_keys *k, uint8_t *sliding,
                      struct err *e)
{
    json_t *list = keys_value(k, types_key);
    if (!list)
        return 0;
    int result = check_length(c, k, types_key, list, 1, e);
    for (size_t i = 0; i < c->layers && result == 0; i++) {
        const char *type = json_string_value(json_array_get(list, i));
        sliding[i] = type && !strcmp(type, "sliding_attention");
        if (!sliding[i] && (!type || strcmp(type, "full_attention") != 0))
            result = keys_refuse(k, types_key, type ? type : "not a string", e);
    }
    json_decref(list);
    return result;
}

int layers_set_sliding(struct model_config *c, const struct config_keys *k, const uint8_t *sliding,
                       size_t window, struct err *e)
{
    for (size_t i = 0; i < c->layers; i++) {
        if (sliding[i] && !window)
            return err_set(
                e, STATUS_FAILED,
                "%s: layer %zu has a sliding window, but key `sliding_window` gives none", k->file,
                i);
        c->layer[i].window = sliding[i] ? window : 0;
    }
    return 0;
}

int layers_read_pattern(struct model_config *c, struct config_keys *k, size_t pattern, int optional,
                        size_t *window, struct err *e)
{
    if (layers_read_window(k, window, e) < 0)
        return -1;
    uint8_t *sliding = mem_alloc(c->layers, 1, "layer types", e);
    if (!sliding)
        return -1;
    for (size_t i = 0; i < c->layers && (*window || !optional); i++)
        sliding[i] = !pattern || (i + 1) % pattern != 0;
    int result = layers_read_types(c, k, sliding, e);
    if (result == 0)
        result = layers_set_sliding(c, k, sliding, *window, e);
    free(sliding);
    return result;
}

int layers_read_numbers(const struct model_config *c, struct config_keys *k, const char *key,
                        uint8_t *out, int *found, struct err *e)
{
    json_t *list = keys_value(k, key);
    *found = list != NULL;
    if (!list)
        return 0;
    int result = check_length(c, k, key, list, 0, e);
    for (size_t i = 0; i < c->layers && result == 0; i++) {
        const json_t *v = json_array_get(list, i);
        if (!json_is_integer(v) || (json_integer_value(v) != 0 && json_integer_value(v) != 1))
            result = err_set(e, STATUS_FAILED, "%s: key `%s`: an entry is neither 0 nor 1", k->file,
                             key);
        else
            out[i] = (uint8_t)json_integer_value(v);
    }
    json_decref(list);
    return result;
}

int layers_agree(const struct model_config *c, struct config_keys *k, struct err *e)
{
    uint8_t *sliding = mem_alloc(c->layers, 1, "layer types", e);
    if (!sliding)
        return -1;
    for (size_t i = 0; i < c->layers; i++)
        sliding[i] = c->layer[i].window != 0;
    int result = layers_read_types(c, k, sliding, e);
    for (size_t i = 0; i < c->layers && result == 0; i++)
        if (sliding[i] != (c->layer[i].window != 0))
            result = err_set(e, STATUS_FAILED,
                             "%s: key `%s`: layer %zu differs from what models of type %s have",
                             k->file, types_key, i, c->model_type);
    free(sliding);
    return result;
}
