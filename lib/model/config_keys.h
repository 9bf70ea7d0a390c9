// SPDX-License-Identifier: MIT
// The keys of a config.json. Each is taken once, by the part of the reader that understands it;
// what is left at the end is either known to change no number or refused.
#ifndef MODEL_CONFIG_KEYS_H
#define MODEL_CONFIG_KEYS_H

#include "base/error.h"
#include <jansson.h>
#include <stdint.h>

struct config_keys {
    const char *file; // for messages
    json_t *left;     // an object: keys not taken yet
};
enum key_state { KEY_ABSENT, KEY_FOUND, KEY_NULL };

// `object` may be NULL: no keys.
MUST_CHECK int keys_open(struct config_keys *k, const json_t *object, const char *file,
                         struct err *e);
void keys_release(struct config_keys *k);

// Each takes `key` away. Absent and null leave *value as it is. Returns an enum key_state, or -1
// where the value is of another type.
MUST_CHECK int keys_int(struct config_keys *k, const char *key, int64_t *value, struct err *e);
MUST_CHECK int keys_real(struct config_keys *k, const char *key, double *value,
                         struct err *e); // finite
MUST_CHECK int keys_bool(struct config_keys *k, const char *key, int *value, struct err *e);
// At most `size` bytes with the NUL; a longer one is not known to anybody and is refused.
MUST_CHECK int keys_string(struct config_keys *k, const char *key, char *value, size_t size,
                           struct err *e);
// Any value: NULL where the key is absent or null. The caller's (json_decref).
json_t *keys_value(struct config_keys *k, const char *key);

// A whole number in 1 .. most; absent and null leave *value.
MUST_CHECK int keys_size(struct config_keys *k, const char *key, size_t *value, size_t most,
                         struct err *e);
// A key that says in other words what is known already: refused where it says something else.
MUST_CHECK int keys_agree_int(struct config_keys *k, const char *key, int64_t value, struct err *e);
MUST_CHECK int keys_agree_bool(struct config_keys *k, const char *key, int value, struct err *e);
MUST_CHECK int keys_agree_real(struct config_keys *k, const char *key, double value, struct err *e);
MUST_CHECK int keys_agree_string(struct config_keys *k, const char *key, const char *value,
                                 struct err *e);

// "FILE: key `KEY`: 'VALUE' is not known to this version"
MUST_CHECK int keys_refuse(const struct config_keys *k, const char *key, const char *value,
                           struct err *e);
// Lets through what is left and transformers reads nowhere, for the family `type` ("rope": in an
// object of rotary parameters), and adds it to `names`, ", " between them, as far as they fit.
void keys_let_through(struct config_keys *k, const char *type, char *names, size_t size);
// Refuses what is left and might change the model's numbers.
MUST_CHECK int keys_finish(const struct config_keys *k, struct err *e);

#endif
