// SPDX-License-Identifier: MIT
// Converts the lists of messages in data sets to those that a chat template reads: objects with
// `role` and `content`.
#ifndef DATA_MESSAGES_H
#define DATA_MESSAGES_H

#include "data/fields.h"

// Copies what it changes, shares the rest. NULL with *e filled; free with json_decref.
// - `from` and `value` become `role` and `content`, as do the names that the settings give.
// - Roles: first the settings' own; then, where `from` names it or the format is ShareGPT's,
//   human is user, gpt (chatgpt, bing, bard, model, bot) assistant, function and observation tool.
//   An unknown role is passed on, but one that `from` names is an error: nobody meant it for a
//   template.
// - A function_call, whose value is {"name", "arguments"} as JSON, is an assistant's tool call.
// - A content of parts {type, value} (LLaMA-Factory's) is joined; parts {type, text} go to the
//   template as they are, as transformers passes them, unless the settings ask for joining.
json_t *messages_plain(const struct record_settings *s, const json_t *list, struct err *e);

int message_is_assistant(const json_t *message);
// An assistant's message that says nothing.
int message_is_empty(const json_t *message);
// The loss weight that a message has (`loss_weight`, `weight` or `train`): 1 with *trains, 0 when
// it has none, -1 for one that is neither 0 nor 1.
MUST_CHECK int message_weight(const json_t *message, size_t i, int *trains, struct err *e);
// Whether some message has a weight other than what its role means.
MUST_CHECK int messages_weighted(const json_t *list, int *weighted, struct err *e);
// A part of the list, sharing its messages; NULL when memory is out.
json_t *messages_slice(const json_t *list, size_t begin, size_t end);

#endif
