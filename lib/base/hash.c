// SPDX-License-Identifier: MIT
#include "base/hash.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <xxhash.h>

uint64_t hash_bytes(const void *data, size_t size)
{
    return XXH3_64bits(data, size);
}

uint64_t hash_string(const char *s)
{
    return hash_bytes(s, strlen(s));
}

int hash_init(struct hash *h)
{
    h->state = XXH3_createState();
    if (!h->state)
        return -1;
    XXH3_64bits_reset(h->state);
    return 0;
}

void hash_release(struct hash *h)
{
    XXH3_freeState(h->state);
    h->state = NULL;
}

void hash_add(struct hash *h, const void *data, size_t size)
{
    if (size)
        XXH3_64bits_update(h->state, data, size);
}

uint64_t hash_value(const struct hash *h)
{
    return XXH3_64bits_digest(h->state);
}

void hash_fingerprint(uint64_t value, char out[FINGERPRINT_MAX])
{
    snprintf(out, FINGERPRINT_MAX, "xxh3:%016" PRIx64, value);
}

const char hash_zeros[] = "xxh3:0000000000000000";

char *hash_place(char *text, size_t size)
{
    static const char key[] = "\"checksum\":";
    char *end = text + size, *at = memmem(text, size, key, sizeof key - 1);
    at = at ? at + sizeof key - 1 : end;
    at += at < end && *at == ' ';
    return at < end && *at == '"' && end - at > FINGERPRINT_SIZE ? at + 1 : NULL;
}
