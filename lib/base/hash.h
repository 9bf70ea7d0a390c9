// SPDX-License-Identifier: MIT
// XXH3 (64 bits) for checksums, fingerprints and keys of random streams.
#ifndef BASE_HASH_H
#define BASE_HASH_H

#include <stddef.h>
#include <stdint.h>

uint64_t hash_bytes(const void *data, size_t size);
uint64_t hash_string(const char *s);

// The same over pieces: hash_init, hash_add ..., hash_value, hash_release.
struct hash {
    struct XXH3_state_s *state;
};
int hash_init(struct hash *h); // 0 or -1 (out of memory)
void hash_release(struct hash *h);
void hash_add(struct hash *h, const void *data, size_t size);
uint64_t hash_value(const struct hash *h);

enum { FINGERPRINT_MAX = 24 };
void hash_fingerprint(uint64_t value, char out[FINGERPRINT_MAX]); // "xxh3:0123456789abcdef"

#endif
