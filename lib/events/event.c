// SPDX-License-Identifier: MIT
#include "events/event.h"
#include "base/crc32c.h"

#include <string.h>

enum wire { WIRE_VARINT = 0, WIRE_64 = 1, WIRE_BYTES = 2, WIRE_32 = 5 };
// Numbers of fields.
enum {
    EVENT_WALL_TIME = 1,
    EVENT_STEP = 2,
    EVENT_FILE_VERSION = 3,
    EVENT_SUMMARY = 5,
    EVENT_SESSION_LOG = 7,
    EVENT_SOURCE = 10,
    SOURCE_WRITER = 1,
    SUMMARY_VALUE = 1,
    VALUE_TAG = 1,
    VALUE_SIMPLE = 2,
    VALUE_TENSOR = 8,
    VALUE_METADATA = 9,
    METADATA_PLUGIN = 1,
    METADATA_CLASS = 4,
    PLUGIN_NAME = 1,
    TENSOR_TYPE = 1,
    TENSOR_SHAPE = 2,
    TENSOR_STRING = 8,
    SHAPE_DIMENSION = 2,
    DIMENSION_SIZE = 1,
    LOG_STATUS = 1,
};
enum { TYPE_STRING = 7, CLASS_TENSOR = 2, STATUS_START = 1 };

static const char version[] = "brain.Event:2", writer[] = "densepath tfevents";

// ---- the wire format

static int put_little(struct buffer *b, uint64_t value, size_t bytes, struct err *e)
{
    unsigned char text[8];
    for (size_t i = 0; i < bytes; i++)
        text[i] = (unsigned char)(value >> 8 * i);
    return buffer_append(b, text, bytes, e);
}

static int put_varint(struct buffer *b, uint64_t value, struct err *e)
{
    unsigned char text[10];
    size_t n = 0;
    for (; value >= 128; value >>= 7)
        text[n++] = (unsigned char)(value | 128);
    text[n++] = (unsigned char)value;
    return buffer_append(b, text, n, e);
}

static int put_key(struct buffer *b, unsigned number, enum wire wire, struct err *e)
{
    return put_varint(b, (uint64_t)number << 3 | wire, e);
}

static int put_number(struct buffer *b, unsigned number, uint64_t value, struct err *e)
{
    return put_key(b, number, WIRE_VARINT, e) < 0 ? -1 : put_varint(b, value, e);
}

static int put_double(struct buffer *b, unsigned number, double value, struct err *e)
{
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    return put_key(b, number, WIRE_64, e) < 0 ? -1 : put_little(b, bits, sizeof bits, e);
}

static int put_float(struct buffer *b, unsigned number, double value, struct err *e)
{
    float narrow = (float)value;
    uint32_t bits;
    memcpy(&bits, &narrow, sizeof bits);
    return put_key(b, number, WIRE_32, e) < 0 ? -1 : put_little(b, bits, sizeof bits, e);
}

static int put_bytes(struct buffer *b, unsigned number, const void *data, size_t size,
                     struct err *e)
{
    if (put_key(b, number, WIRE_BYTES, e) < 0 || put_varint(b, size, e) < 0)
        return -1;
    return buffer_append(b, data, size, e);
}

static int put_string(struct buffer *b, unsigned number, const char *s, struct err *e)
{
    return put_bytes(b, number, s, strlen(s), e);
}

// ---- records

// Of data whose checksum is stored with it, which a plain one is bad for.
static uint32_t masked_crc(const void *data, size_t size)
{
    uint32_t c = crc32c(data, size);
    return (c >> 15 | c << 17) + 0xa282ead8u;
}

static int put_record(struct buffer *out, const struct buffer *event, struct err *e)
{
    size_t at = out->size;
    if (put_little(out, event->size, 8, e) < 0 ||
        put_little(out, masked_crc(out->data + at, 8), 4, e) < 0 ||
        buffer_append(out, event->data, event->size, e) < 0)
        return -1;
    return put_little(out, masked_crc(event->data, event->size), 4, e);
}

static int begin(struct buffer *event, double time, int64_t step, struct err *e)
{
    buffer_init(event, 0);
    if (put_double(event, EVENT_WALL_TIME, time, e) < 0)
        return -1;
    return step ? put_number(event, EVENT_STEP, (uint64_t)step, e) : 0;
}

static int end(struct buffer *event, int result, struct buffer *out, struct err *e)
{
    if (result == 0)
        result = put_record(out, event, e);
    buffer_release(event);
    return result;
}

int event_version(struct buffer *out, double time, struct err *e)
{
    struct buffer event, source;
    int result = begin(&event, time, 0, e);
    buffer_init(&source, 0);
    if (result == 0 && (put_string(&event, EVENT_FILE_VERSION, version, e) < 0 ||
                        put_string(&source, SOURCE_WRITER, writer, e) < 0 ||
                        put_bytes(&event, EVENT_SOURCE, source.data, source.size, e) < 0))
        result = -1;
    buffer_release(&source);
    return end(&event, result, out, e);
}

int event_is_own(const void *head, size_t size)
{
    return size >= sizeof writer && memmem(head, size, version, sizeof version - 1) &&
           memmem(head, size, writer, sizeof writer - 1);
}

void event_scalars_init(struct event_scalars *s)
{
    buffer_init(&s->values, 0);
    s->n = 0;
}

void event_scalars_release(struct event_scalars *s)
{
    buffer_release(&s->values);
}

int event_scalars_add(struct event_scalars *s, const char *tag, double value, struct err *e)
{
    struct buffer one;
    buffer_init(&one, 0);
    int result = put_string(&one, VALUE_TAG, tag, e);
    if (result == 0)
        result = put_float(&one, VALUE_SIMPLE, value, e);
    if (result == 0)
        result = put_bytes(&s->values, SUMMARY_VALUE, one.data, one.size, e);
    buffer_release(&one);
    s->n += result == 0;
    return result;
}

int event_scalars_end(struct event_scalars *s, struct buffer *out, double time, int64_t step,
                      struct err *e)
{
    struct buffer event;
    if (!s->n)
        return 0;
    int result = begin(&event, time, step, e);
    if (result == 0)
        result = put_bytes(&event, EVENT_SUMMARY, s->values.data, s->values.size, e);
    buffer_clear(&s->values);
    s->n = 0;
    return end(&event, result, out, e);
}

// A vector of one string: the plugin shows a scalar as well, but older ones only vectors.
static int put_text_tensor(struct buffer *value, const char *text, size_t size, struct err *e)
{
    static const unsigned char shape[] = {SHAPE_DIMENSION << 3 | WIRE_BYTES, 2,
                                          DIMENSION_SIZE << 3 | WIRE_VARINT, 1};
    struct buffer tensor;
    buffer_init(&tensor, 0);
    int result = put_number(&tensor, TENSOR_TYPE, TYPE_STRING, e);
    if (result == 0)
        result = put_bytes(&tensor, TENSOR_SHAPE, shape, sizeof shape, e);
    if (result == 0)
        result = put_bytes(&tensor, TENSOR_STRING, text, size, e);
    if (result == 0)
        result = put_bytes(value, VALUE_TENSOR, tensor.data, tensor.size, e);
    buffer_release(&tensor);
    return result;
}

static int put_text_metadata(struct buffer *value, struct err *e)
{
    static const unsigned char metadata[] = {METADATA_PLUGIN << 3 | WIRE_BYTES,
                                             6,
                                             PLUGIN_NAME << 3 | WIRE_BYTES,
                                             4,
                                             't',
                                             'e',
                                             'x',
                                             't',
                                             METADATA_CLASS << 3 | WIRE_VARINT,
                                             CLASS_TENSOR};
    return put_bytes(value, VALUE_METADATA, metadata, sizeof metadata, e);
}

int event_text(struct buffer *out, double time, int64_t step, const char *tag, const char *text,
               size_t size, struct err *e)
{
    struct buffer event, value, summary;
    int result = begin(&event, time, step, e);
    buffer_init(&value, 0);
    buffer_init(&summary, 0);
    if (result == 0 &&
        (put_string(&value, VALUE_TAG, tag, e) < 0 || put_text_tensor(&value, text, size, e) < 0 ||
         put_text_metadata(&value, e) < 0 ||
         put_bytes(&summary, SUMMARY_VALUE, value.data, value.size, e) < 0 ||
         put_bytes(&event, EVENT_SUMMARY, summary.data, summary.size, e) < 0))
        result = -1;
    buffer_release(&value);
    buffer_release(&summary);
    return end(&event, result, out, e);
}

int event_restart(struct buffer *out, double time, int64_t step, struct err *e)
{
    static const unsigned char log[] = {LOG_STATUS << 3 | WIRE_VARINT, STATUS_START};
    struct buffer event;
    int result = begin(&event, time, step, e);
    if (result == 0)
        result = put_bytes(&event, EVENT_SESSION_LOG, log, sizeof log, e);
    return end(&event, result, out, e);
}
