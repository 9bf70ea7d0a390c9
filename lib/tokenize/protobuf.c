// SPDX-License-Identifier: MIT
#include "tokenize/protobuf.h"

#include <string.h>

static int varint(struct protobuf *r, uint64_t *value)
{
    *value = 0;
    for (int shift = 0; shift < 64; shift += 7) {
        if (r->p == r->end)
            return -1;
        unsigned char byte = *r->p++;
        *value |= (uint64_t)(byte & 0x7F) << shift;
        if (byte < 0x80)
            return 0;
    }
    return -1;
}

static int fixed(struct protobuf *r, int bytes, uint64_t *value)
{
    *value = 0;
    if (r->end - r->p < bytes)
        return -1;
    for (int i = 0; i < bytes; i++)
        *value |= (uint64_t)*r->p++ << 8 * i;
    return 0;
}

int protobuf_next(struct protobuf *r, struct protobuf_field *f)
{
    uint64_t tag;
    if (r->p == r->end)
        return 0;
    if (varint(r, &tag) < 0 || tag >> 3 == 0 || tag >> 3 > UINT32_MAX)
        return -1;
    memset(f, 0, sizeof *f);
    f->number = (uint32_t)(tag >> 3);
    switch (tag & 7) {
    case PROTOBUF_VARINT:
        f->kind = PROTOBUF_VARINT;
        return varint(r, &f->value) < 0 ? -1 : 1;
    case PROTOBUF_64:
        f->kind = PROTOBUF_64;
        return fixed(r, 8, &f->value) < 0 ? -1 : 1;
    case PROTOBUF_32:
        f->kind = PROTOBUF_32;
        return fixed(r, 4, &f->value) < 0 ? -1 : 1;
    case PROTOBUF_BYTES:
        f->kind = PROTOBUF_BYTES;
        if (varint(r, &f->value) < 0 || f->value > (uint64_t)(r->end - r->p))
            return -1;
        f->data = r->p;
        f->size = (size_t)f->value;
        r->p += f->size;
        return 1;
    default:
        return -1;
    }
}

float protobuf_float(const struct protobuf_field *f)
{
    uint32_t bits = (uint32_t)f->value;
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}
