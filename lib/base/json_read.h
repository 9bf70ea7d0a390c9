// SPDX-License-Identifier: MIT
// A fast reader of ordinary JSON: jansson's decoder, which goes character by character, takes
// longer than tokenizing the text.
#ifndef BASE_JSON_READ_H
#define BASE_JSON_READ_H

#include <jansson.h>
#include <stddef.h>

// The value, as json_loadb gives it with JSON_REJECT_DUPLICATES and JSON_ALLOW_NUL. NULL for all
// that is not plain: bad JSON, duplicate keys, deep nesting, huge numbers, memory that is out. Then
// ask json_loadb, which knows what to say.
json_t *json_read(const char *text, size_t size);
// The same, but whole numbers beyond 64 bits are kept: base/json_wide.h.
json_t *json_read_exact(const char *text, size_t size);

#endif
