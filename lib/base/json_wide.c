// SPDX-License-Identifier: MIT
#include "base/json_wide.h"

static const char key[] = "\xFF";

json_t *json_wide(const char *digits, size_t size)
{
    json_t *value = json_object();
    if (json_object_set_new_nocheck(value, key, json_stringn(digits, size)) == 0)
        return value;
    json_decref(value);
    return NULL;
}

const char *json_wide_digits(const json_t *value)
{
    return json_object_size(value) == 1 ? json_string_value(json_object_get(value, key)) : NULL;
}

int json_has_wide(const json_t *value)
{
    const char *name;
    json_t *v;
    for (size_t i = 0; i < json_array_size(value); i++)
        if (json_has_wide(json_array_get(value, i)))
            return 1;
    if (json_wide_digits(value))
        return 1;
    json_object_foreach((json_t *)value, name, v)
    {
        if (json_has_wide(v))
            return 1;
    }
    return 0;
}
