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
// A text of JSON that has its own checksum, as "checksum": "xxh3:...": taken while hash_zeros
// stands there. Its first byte, of FINGERPRINT_SIZE; NULL: it has none. (Within strings quotation
// marks are escaped: there is one such place.)
extern const char hash_zeros[];
enum { FINGERPRINT_SIZE = 21 };
char *hash_place(char *text, size_t size);

#endif
