// SPDX-License-Identifier: MIT
// A record of a data set as text: what is tokenized, where the prompt ends and, for chats, which
// bytes the assistant wrote.
#ifndef DATA_RECORD_H
#define DATA_RECORD_H

#include "base/error.h"
#include "base/memory.h"
#include "data/chat.h"
#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

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
int record_fields_parse(struct record_fields *f, const char *text, struct err *e);
// The same of roles, "user=narrator,assistant=bot"; any role may stand on the left.
int record_roles_parse(struct record_fields *f, const char *text, struct err *e);
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
    struct record_fields fields, roles;
};

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
    // What should be said of it.
    int empty_answer; // the completion, or an answer of the assistant, is empty
    int lost_calls;   // the template does not write the tool calls, or not the tools
    int quoted_calls; // it writes arguments that are JSON text as a quoted string
};
void record_init(struct record *r);
void record_release(struct record *r);

// What an object looks like, and in *why the keys that it goes by and what else it might be. -1
// when it looks like nothing known; the message names the keys and, where they are common ones, the
// option that gives them our names.
int record_detect(const json_t *object, const struct record_settings *s, enum record_format *format,
                  struct buffer *why, struct err *e);
// Whether the record needs a chat template.
int record_is_chat(const json_t *object, const struct record_settings *s);
// The format whose train-on rule is meant by DEFAULT.
enum record_train record_train_of(const struct record_settings *s);
// Fills `r` from a JSON object, or from plain text (format RECORD_TEXT).
int record_read(struct record *r, const struct record_settings *s, const json_t *object,
                struct err *e);
int record_read_plain(struct record *r, const struct record_settings *s, const char *text,
                      size_t size, struct err *e);
// The name that the data set has for our field.
const char *record_field_name(const struct record_settings *s, const char *name);
// A field by our name, renamed as the settings say; NULL when absent or null.
const json_t *record_field(const struct record_settings *s, const json_t *object, const char *name);
// The record's id: the field `id` (a string or number), else its number. Replaces *id.
int record_id(const struct record_settings *s, const json_t *object, size_t number,
              struct buffer *id, struct err *e);

// The parts that render chats (record_chat.c) and that read ids (record_tokens.c).
int record_read_messages(struct record *r, const struct record_settings *s, const json_t *object,
                         struct err *e);
int record_read_message_pair(struct record *r, const struct record_settings *s,
                             const json_t *object, const json_t *prompt, const json_t *completion,
                             struct err *e);
int record_read_tokens(struct record *r, const struct record_settings *s, const json_t *object,
                       struct err *e);

#endif
