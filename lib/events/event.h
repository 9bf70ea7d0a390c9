// SPDX-License-Identifier: MIT
// Records of TensorBoard's event files: length, contents and their checksums as TensorFlow frames
// them (tensorflow/core/lib/io/record_writer.h), the contents an Event in the wire format of
// Protocol Buffers (tensorboard/compat/proto/event.proto, summary.proto). Each function appends one
// whole record to `out`. Times are seconds since 1970.
#ifndef EVENTS_EVENT_H
#define EVENTS_EVENT_H

#include "base/memory.h"
#include <stdint.h>

// The first record of a file, which also tells that this suite has written it.
MUST_CHECK int event_version(struct buffer *out, double time, struct err *e);
// Whether a file that begins with these bytes, of which EVENT_HEAD are enough, is of this suite.
enum { EVENT_HEAD = 64 };
int event_is_own(const void *head, size_t size);

// Scalars of one update: begin, add any number, end.
struct event_scalars {
    struct buffer values;
    size_t n;
};
void event_scalars_init(struct event_scalars *s);
void event_scalars_release(struct event_scalars *s);
// The value is stored as a float, as every writer of such files does it: beyond its range it
// becomes infinite, as a NaN it stays one.
MUST_CHECK int event_scalars_add(struct event_scalars *s, const char *tag, double value,
                                 struct err *e);
// Appends the record, and forgets the values; nothing where there are none.
MUST_CHECK int event_scalars_end(struct event_scalars *s, struct buffer *out, double time,
                                 int64_t step, struct err *e);

// Text in Markdown, valid UTF-8, for the plugin of texts.
MUST_CHECK int event_text(struct buffer *out, double time, int64_t step, const char *tag,
                          const char *text, size_t size, struct err *e);
// The run goes on from before `step`: what was told of it and of later ones no longer counts.
MUST_CHECK int event_restart(struct buffer *out, double time, int64_t step, struct err *e);

#endif
