// SPDX-License-Identifier: MIT
#include "base/crc32c.h"

#include <pthread.h>

static uint32_t table[256];

static void make_table(void)
{
    for (uint32_t byte = 0; byte < 256; byte++) {
        uint32_t c = byte;
        for (int bit = 0; bit < 8; bit++)
            c = c >> 1 ^ (c & 1 ? 0x82f63b78u : 0); // the polynomial 0x1edc6f41, bits reversed
        table[byte] = c;
    }
}

uint32_t crc32c(const void *data, size_t size)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    const unsigned char *p = data;
    uint32_t c = ~0u;
    pthread_once(&once, make_table);
    for (size_t i = 0; i < size; i++)
        c = c >> 8 ^ table[(c ^ p[i]) & 255];
    return ~c;
}
