// SPDX-License-Identifier: MIT
// A record of a data set as text: what is tokenized, where the prompt ends and, for chats, which
// bytes the assistant wrote.
#ifndef DATA_RECORD_H
#define DATA_RECORD_H

#include "base/memory.h"
#include "data/chat.h"
#include "data/fields.h"
#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

struct record {
    struct buffer text;
    size_t prompt_size;     // bytes of `text` that are the prompt
    struct span_list spans; // with has_spans: nothing outside of them is trained
    int has_spans;
    int is_chat;    // rendered by a template, which writes what special tokens there are
    int open_end;   // the text goes on (prompts) or has its own end (chats): no end token is added
    int is_prompt;  // the prompt alone: nothing is trained
    int trains_all; // every token is trained
    // Ids in place of text (pretokenized), each with its mask.
    int is_tokens;
    uint32_t *id;
    uint8_t *mask;
    size_t n, id_capacity, mask_capacity;
    size_t turn; // with settings for each turn: which answer of the chat it is, from 0
    // What should be said of it.
    int no_answer;     // a chat in which nobody is the assistant
    int empty_answer;  // the completion, or an answer of the assistant, is empty
    unsigned left_out; // what the template does not write (left_out.h)
    int quoted_calls;  // it writes arguments that are JSON text as a quoted string
};
void record_init(struct record *r);
void record_release(struct record *r);

// What an object looks like, and in *why the keys that it goes by and what else it might be. -1
// when it looks like nothing known; the message names the keys and, where they are common ones, the
// option that gives them our names.
MUST_CHECK int record_detect(const json_t *object, const struct record_settings *s,
                             enum record_format *format, struct buffer *why, struct err *e);
// Whether the record needs a chat template.
int record_is_chat(const json_t *object, const struct record_settings *s);
// Fills `r` from a JSON object, or from plain text (format RECORD_TEXT).
MUST_CHECK int record_read(struct record *r, const struct record_settings *s, const json_t *object,
                           struct err *e);
MUST_CHECK int record_read_plain(struct record *r, const struct record_settings *s,
                                 const char *text, size_t size, struct err *e);
// With settings for each turn: how many answers of a chat are to be trained. An answer is all that
// the assistant says without another's message in between.
MUST_CHECK int record_turns(const struct record_settings *s, const json_t *object, size_t *n,
                            struct err *e);
// The record's id: the field `id` (a string or number), else its number. Replaces *id.
MUST_CHECK int record_id(const struct record_settings *s, const json_t *object, size_t number,
                         struct buffer *id, struct err *e);
// The same of the value `v` of a key; NULL: the number.
MUST_CHECK int record_id_of(const json_t *v, const char *key, size_t number, struct buffer *id,
                            struct err *e);

// The parts that render chats (record_chat.c) and that read ids (record_tokens.c).
MUST_CHECK int record_read_messages(struct record *r, const struct record_settings *s,
                                    const json_t *object, struct err *e);
MUST_CHECK int record_read_message_pair(struct record *r, const struct record_settings *s,
                                        const json_t *object, const json_t *prompt,
                                        const json_t *completion, struct err *e);
MUST_CHECK int record_read_tokens(struct record *r, const struct record_settings *s,
                                  const json_t *object, struct err *e);

#endif
