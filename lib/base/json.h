// SPDX-License-Identifier: MIT
// JSON by jansson: strict, duplicates refused, exact integers. Getters check types and name the
// key.
#ifndef BASE_JSON_H
#define BASE_JSON_H

#include "base/error.h"
#include "base/memory.h"
#include <jansson.h>
#include <stdint.h>

// Whole numbers beyond 64 bits become reals. The error says "NAME:LINE: reason". Free with
// json_decref.
json_t *json_parse(const char *text, size_t size, const char *name, struct err *e);
// The same, with whole numbers of any size as they are (base/json_wide.h), or refused.
json_t *json_parse_exact(const char *text, size_t size, const char *name, struct err *e);
json_t *json_parse_file(int at, const char *path, size_t limit, struct err *e);
// Compact text, keys in insertion order, UTF-8 as it is.
MUST_CHECK int json_print(const json_t *value, struct buffer *out, struct err *e);

// Text with jansson's flags, from the heap; NULL: *e, and err_whole knows of want of memory.
char *json_text(const json_t *value, size_t flags, struct err *e);

// Each looks `key` up in `object`. An absent key or null leaves *value as it was (the default) and
// returns 0; a present one returns 1; a value of another type fills *e ("NAME: key `K`: ...").
MUST_CHECK int json_get_int(const json_t *object, const char *key, int64_t *value, const char *name,
                            struct err *e);
MUST_CHECK int json_get_real(const json_t *object, const char *key, double *value, const char *name,
                             struct err *e);
MUST_CHECK int json_get_bool(const json_t *object, const char *key, int *value, const char *name,
                             struct err *e);
MUST_CHECK int json_get_string(const json_t *object, const char *key, const char **value,
                               const char *name,
                               struct err *e); // borrowed

#endif
