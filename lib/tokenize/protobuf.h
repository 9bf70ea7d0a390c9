// SPDX-License-Identifier: MIT
// Reads messages in the wire format of Protocol Buffers, field by field; nothing is copied.
#ifndef TOKENIZE_PROTOBUF_H
#define TOKENIZE_PROTOBUF_H

#include <stddef.h>
#include <stdint.h>

struct protobuf {
    const unsigned char *p, *end;
};

enum protobuf_kind { PROTOBUF_VARINT = 0, PROTOBUF_64 = 1, PROTOBUF_BYTES = 2, PROTOBUF_32 = 5 };

struct protobuf_field {
    uint32_t number;
    enum protobuf_kind kind;
    uint64_t value; // but for PROTOBUF_BYTES
    const unsigned char *data;
    size_t size;
};

// 1: the next field is in *f; 0: the message is over; -1: it is malformed (groups are, too).
int protobuf_next(struct protobuf *r, struct protobuf_field *f);
float protobuf_float(const struct protobuf_field *f); // of PROTOBUF_32

#endif
