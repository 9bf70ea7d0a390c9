// SPDX-License-Identifier: MIT
// How chat.c renders, for the files here that render parts of a chat.
#ifndef DATA_RENDERING_H
#define DATA_RENDERING_H

#include "data/chat.h"

// The template that renders the request.
const struct template *chat_template(const struct chat *c, const struct chat_request *r);
// Whether the request can be rendered at all.
MUST_CHECK int chat_check(const struct chat_request *r, struct err *e);
// The first n messages as the template sees them: keys without a value are left out, reasoning
// stands under each of its names. NULL with *e filled.
json_t *chat_plain_messages(const struct chat_request *r, size_t n, struct err *e);
// The context with these messages, which are taken over; NULL (as for none) with *e filled.
json_t *chat_context(const struct chat *c, const struct chat_request *r, json_t *messages,
                     int prompt, struct err *e);
// Where the loop over the messages stood: bytes of the text as it came to a message.
struct message_place {
    size_t message; // the number of messages: where the loop ended
    size_t at;
};
struct place_list {
    struct message_place *place; // free it
    size_t n, capacity;
};
// Appends the text of these messages, which are taken over; `prompt`: with the prompt for an
// answer. `spans` or `places` may be NULL.
MUST_CHECK int chat_render_messages(const struct chat *c, const struct chat_request *r,
                                    json_t *messages, int prompt, struct buffer *out,
                                    struct span_list *spans, struct place_list *places,
                                    struct err *e);

#endif
