// SPDX-License-Identifier: MIT
// How records are to be read, and the names that a data set has for their fields.
#ifndef DATA_FIELDS_H
#define DATA_FIELDS_H

#include "base/error.h"
#include <jansson.h>

struct chat;

enum record_format {
    RECORD_AUTO,
    RECORD_TEXT,              // text
    RECORD_MESSAGES,          // messages: [{role, content}, ...]
    RECORD_PROMPT_COMPLETION, // prompt, completion: strings, or lists of messages
    RECORD_INSTRUCTION,       // instruction, input, output (Alpaca)
    RECORD_SHAREGPT,          // conversations: [{from, value}, ...] (messages.h)
    RECORD_PREFERENCE,        // chosen, rejected and a prompt in one of these forms (preference.h)
    RECORD_PRETOKENIZED,      // input_ids, labels or masks
};
extern const char *const record_format_names[]; // by enum, NULL at the end

enum record_train {
    RECORD_TRAIN_DEFAULT,
    RECORD_TRAIN_COMPLETION,
    RECORD_TRAIN_ALL,
    RECORD_TRAIN_ASSISTANT
};

// What the text of an instruction record is.
enum instruction_form {
    INSTRUCTION_ALPACA,   // Stanford Alpaca's wording, the answer on a line of its own
    INSTRUCTION_STANFORD, // the same without the newline before the answer
    INSTRUCTION_CHAT      // messages: instruction, blank line, input; the output answers
};

// Names of fields, or of roles, that a data set uses in place of ours.
enum { RECORD_FIELDS_MAX = 32 };
struct record_fields {
    char *ours[RECORD_FIELDS_MAX], *theirs[RECORD_FIELDS_MAX];
    int n;
};
// Parses "prompt=question,completion=answer"; release with record_fields_release.
MUST_CHECK int record_fields_parse(struct record_fields *f, const char *text, struct err *e);
// The same of roles, "user=narrator,assistant=bot"; any role may stand on the left.
MUST_CHECK int record_roles_parse(struct record_fields *f, const char *text, struct err *e);
void record_fields_release(struct record_fields *f);

struct record_settings {
    enum record_format format; // decided, not AUTO
    enum record_train train; // DEFAULT: text all, prompt-completion completion, messages assistant,
                             // pretokenized what its labels or masks say
    enum instruction_form instruction;
    int prompts; // the prompt alone
    int add_generation_prompt;
    int continue_final_message; // the last message is not ended; as a prompt it is to be gone on
                                // with
    const struct chat *chat;    // NULL: there is none
    int texts_first;            // `chat` is NULL as the first record is no chat
    const char *now;            // for chat templates; NULL: no clock
    int joins_parts;            // contents that are lists of parts become one text
    int texts_only;             // what holds anything but text is refused
    int each_turn;              // a record for every answer of a chat (turns of record.h)
    int whole_only;             // what the template leaves out is an error
    struct record_fields fields, roles;
};

// What DEFAULT means for the format.
enum record_train record_train_of(const struct record_settings *s);
// The name that the data set has for our field.
const char *record_field_name(const struct record_settings *s, const char *name);
// A field by our name, renamed as the settings say; NULL when absent or null.
const json_t *record_field(const struct record_settings *s, const json_t *object, const char *name);

#endif
