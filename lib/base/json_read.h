// SPDX-License-Identifier: MIT
// A fast reader of JSON into jansson's values: jansson's decoder, which goes character by
// character, takes longer than tokenizing the text.
#ifndef BASE_JSON_READ_H
#define BASE_JSON_READ_H

#include <jansson.h>
#include <stddef.h>

// The value, as json_loadb gives it with JSON_REJECT_DUPLICATES, JSON_ALLOW_NUL and
// JSON_DECODE_ANY; but whole numbers beyond 64 bits become reals, or with `exact` are kept
// (base/json_wide.h). NULL for all that is not plain: bad JSON, duplicate keys, deep nesting,
// memory that is out. Then ask json_loadb, which knows what to say.
json_t *json_read(const char *text, size_t size, int exact);

#endif
