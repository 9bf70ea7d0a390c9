// SPDX-License-Identifier: MIT
// Whole numbers beyond 64 bits in jansson's values: an object with one key that no JSON text can
// spell, since it is not UTF-8. Whoever does not know of it takes the number for an object.
#ifndef BASE_JSON_WIDE_H
#define BASE_JSON_WIDE_H

#include <jansson.h>
#include <stddef.h>

enum { JSON_WIDE_DIGITS = 4300 }; // as many as Python reads

json_t *json_wide(const char *digits, size_t size); // with a minus where it is negative; or NULL
const char *json_wide_digits(const json_t *value);  // borrowed; NULL for every other value
int json_has_wide(const json_t *value);             // itself, or anywhere inside

#endif
