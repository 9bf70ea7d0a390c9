// SPDX-License-Identifier: MIT
#include "test.h"

#include "base/crc32c.h"
#include "events/event.h"
#include "tokenize/protobuf.h"

#include <stdlib.h>

// RFC 3720, B.4, and the check value of the catalogue of CRC algorithms.
static void crc32c_matches_published_values(void)
{
    unsigned char data[32];
    CHECK(crc32c("123456789", 9) == 0xe3069283);
    CHECK(crc32c("", 0) == 0);
    memset(data, 0, sizeof data);
    CHECK(crc32c(data, sizeof data) == 0x8a9136aa);
    memset(data, 0xff, sizeof data);
    CHECK(crc32c(data, sizeof data) == 0x62a8ab43);
    for (int i = 0; i < 32; i++)
        data[i] = (unsigned char)i;
    CHECK(crc32c(data, sizeof data) == 0x46dd794e);
    for (int i = 0; i < 32; i++)
        data[i] = (unsigned char)(31 - i);
    CHECK(crc32c(data, sizeof data) == 0x113fdb5c);
    // An iSCSI SCSI Read (10) command PDU.
    static const unsigned char pdu[48] = {[0] = 0x01,  [1] = 0xc0,  [16] = 0x14, [22] = 0x04,
                                          [27] = 0x14, [31] = 0x18, [32] = 0x28, [40] = 0x02};
    CHECK(crc32c(pdu, sizeof pdu) == 0xd9963a56);
}

static uint64_t little(const char *p, int bytes)
{
    uint64_t value = 0;
    for (int i = bytes - 1; i >= 0; i--)
        value = value << 8 | (unsigned char)p[i];
    return value;
}

// TensorFlow's mask: rotated by 15 bits, plus a constant (core/lib/hash/crc32c.h).
static uint64_t masked(const char *data, size_t size)
{
    uint32_t c = crc32c(data, size);
    return (uint32_t)((c >> 15 | c << 17) + 0xa282ead8u);
}

// The record at *at, whole by its checksums: its event.
static struct protobuf next_event(const struct buffer *b, size_t *at)
{
    const char *p = b->data + *at;
    size_t size = (size_t)little(p, 8);
    CHECK(b->size - *at >= size + 16);
    CHECK(little(p + 8, 4) == masked(p, 8));
    CHECK(little(p + 12 + size, 4) == masked(p + 12, size));
    *at += size + 16;
    const unsigned char *data = (const unsigned char *)p + 12;
    return (struct protobuf){data, data + size};
}

static struct protobuf inside(const struct protobuf_field *f)
{
    return (struct protobuf){f->data, f->data + f->size};
}

// Field `number` of the message.
static struct protobuf_field field(struct protobuf message, uint32_t number)
{
    struct protobuf_field f;
    while (protobuf_next(&message, &f) > 0)
        if (f.number == number)
            return f;
    return (struct protobuf_field){0};
}

static int is_text(struct protobuf_field f, const char *text)
{
    return f.kind == PROTOBUF_BYTES && f.size == strlen(text) && !memcmp(f.data, text, f.size);
}

static double time_of(struct protobuf event)
{
    double time;
    struct protobuf_field f = field(event, 1);
    memcpy(&time, &f.value, sizeof time);
    return time;
}

static void head_tells_version_and_writer(void)
{
    struct err e;
    struct buffer b;
    size_t at = 0;
    buffer_init(&b, 0);
    CHECK(event_version(&b, 1.5, &e) == 0);
    struct protobuf event = next_event(&b, &at);
    CHECK(at == b.size && b.size <= EVENT_HEAD);
    CHECK(time_of(event) == 1.5);
    CHECK(is_text(field(event, 3), "brain.Event:2"));
    CHECK(event_is_own(b.data, b.size));
    CHECK(!event_is_own(b.data, b.size - 8));
    CHECK(!event_is_own("", 0));
    buffer_release(&b);
}

static void scalars_of_an_update_are_one_event(void)
{
    static const double value[] = {0.1, -3, 1e300, NAN};
    struct err e;
    struct buffer b;
    struct event_scalars s;
    size_t at = 0, n = 0;
    buffer_init(&b, 0);
    event_scalars_init(&s);
    CHECK(event_scalars_end(&s, &b, 1, 1, &e) == 0);
    CHECK(b.size == 0);
    for (int i = 0; i < 4; i++)
        CHECK(event_scalars_add(&s, "train/loss", value[i], &e) == 0);
    CHECK(event_scalars_end(&s, &b, 1e9, 300, &e) == 0);
    struct protobuf event = next_event(&b, &at);
    CHECK(field(event, 2).value == 300);
    struct protobuf_field summary = field(event, 5), one;
    struct protobuf values = inside(&summary);
    for (; protobuf_next(&values, &one) > 0; n++) {
        struct protobuf_field simple = field(inside(&one), 2);
        float x = protobuf_float(&simple);
        CHECK(is_text(field(inside(&one), 1), "train/loss"));
        CHECK(n == 3 ? isnan(x) : x == (float)value[n]);
    }
    CHECK(n == 4);
    // Negative and no steps.
    CHECK(event_scalars_add(&s, "a", 1, &e) == 0);
    CHECK(event_scalars_end(&s, &b, 0, -1, &e) == 0);
    CHECK(field(next_event(&b, &at), 2).value == UINT64_MAX);
    event_scalars_release(&s);
    buffer_release(&b);
}

static void text_and_restart(void)
{
    struct err e;
    struct buffer b;
    size_t at = 0;
    buffer_init(&b, 0);
    CHECK(event_text(&b, 2, 7, "card", "# x", 3, &e) == 0);
    CHECK(event_restart(&b, 3, 5, &e) == 0);
    struct protobuf_field summary = field(next_event(&b, &at), 5), f = field(inside(&summary), 1);
    struct protobuf value = inside(&f);
    CHECK(is_text(field(value, 1), "card"));
    f = field(value, 8);
    CHECK(field(inside(&f), 1).value == 7);
    CHECK(is_text(field(inside(&f), 8), "# x"));
    f = field(value, 9);
    f = field(inside(&f), 1);
    CHECK(is_text(field(inside(&f), 1), "text"));
    struct protobuf restart = next_event(&b, &at);
    CHECK(field(restart, 2).value == 5);
    f = field(restart, 7);
    CHECK(field(inside(&f), 1).value == 1);
    CHECK(at == b.size);
    buffer_release(&b);
}

int main(void)
{
    RUN(crc32c_matches_published_values);
    RUN(head_tells_version_and_writer);
    RUN(scalars_of_an_update_are_one_event);
    RUN(text_and_restart);
    return test_end();
}
