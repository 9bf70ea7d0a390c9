// SPDX-License-Identifier: MIT
// Fields of records that become sequence columns (tok --keep-columns): a number in the first record
// makes an f32 column, anything else one of text.
#ifndef CONVERT_KEPT_FIELDS_H
#define CONVERT_KEPT_FIELDS_H

#include "stream/frame.h"
#include <jansson.h>

struct kept_fields {
    char *names; // separated by NULs
    size_t n;
    int column; // the first one's
};

// Of "A,B", or NULL: none. Fine to release when zeroed.
MUST_CHECK int kept_fields_init(struct kept_fields *k, const char *text, struct err *e);
void kept_fields_release(struct kept_fields *k);
// Appends the columns. first: the first record, NULL where it is no object.
MUST_CHECK int kept_fields_add(struct kept_fields *k, struct stream_header *h, const json_t *first,
                               struct err *e);
// Sets them in a frame of one sequence.
MUST_CHECK int kept_fields_set(const struct kept_fields *k, struct frame *f, const json_t *record,
                               struct err *e);

#endif
