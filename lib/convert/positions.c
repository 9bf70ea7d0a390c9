// SPDX-License-Identifier: MIT
#include "convert/positions.h"
#include "base/io.h"
#include "base/json.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

enum { CONFIG_LIMIT = 16 << 20 };

static const char *type_in(const json_t *rope)
{
    const char *type = json_string_value(json_object_get(rope, "rope_type"));
    return type ? type : json_string_value(json_object_get(rope, "type"));
}

// As in transformers 4 (rope_scaling) or 5 (rope_parameters).
static int stretches(const json_t *config)
{
    static const char *const keys[] = {"rope_scaling", "rope_parameters"};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        const char *type = type_in(json_object_get(config, keys[i]));
        if (type && strcmp(type, "default") != 0 && strcmp(type, "llama3") != 0)
            return 1;
    }
    return 0;
}

static size_t number_in(const json_t *config)
{
    const json_t *n = json_object_get(config, "max_position_embeddings");
    if (!json_is_integer(n))
        n = json_object_get(config, "n_positions");
    return json_integer_value(n) > 0 && !stretches(config) ? (size_t)json_integer_value(n) : 0;
}

size_t positions_named(const char *directory)
{
    struct err ignored; // who computes with the model tells
    char *path = io_path(directory, "config.json", &ignored);
    json_t *config = path && io_exists(AT_FDCWD, path)
                         ? json_parse_file(AT_FDCWD, path, CONFIG_LIMIT, &ignored)
                         : NULL;
    const json_t *text = json_object_get(config, "text_config");
    size_t n = number_in(text ? text : config);
    json_decref(config);
    free(path);
    return n;
}
