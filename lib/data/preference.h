// SPDX-License-Identifier: MIT
// Preference data: a record with a better and a worse answer becomes two records.
#ifndef DATA_PREFERENCE_H
#define DATA_PREFERENCE_H

#include "data/record.h"

enum preference_role { PREFERENCE_CHOSEN, PREFERENCE_REJECTED, PREFERENCE_PROMPT };
extern const char *const preference_roles[]; // "chosen", "rejected"

// Is it one, by its fields?
int preference_detect(const struct record_settings *s, const json_t *object);
// Does it hold messages, so that it needs a chat template?
int preference_is_chat(const struct record_settings *s, const json_t *object);
// A copy of `object` with its prompt, and as completion one of its answers, in the fields that a
// prompt-completion or instruction record has. Where there is no prompt (nor instruction) the
// answers are whole conversations, or texts, and what they begin with alike is the prompt.
// NULL with *e filled on failure. Free with json_decref.
json_t *preference_part(const struct record_settings *s, const json_t *object,
                        enum preference_role role, struct err *e);

#endif
