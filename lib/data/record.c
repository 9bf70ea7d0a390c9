// SPDX-License-Identifier: MIT
#include "data/record.h"

#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/json_wide.h"

void record_init(struct record *r)
{
    memset(r, 0, sizeof *r);
    buffer_init(&r->text, 0);
    span_list_init(&r->spans);
}

void record_release(struct record *r)
{
    buffer_release(&r->text);
    span_list_release(&r->spans);
    free(r->id);
    free(r->mask);
    record_init(r);
}

static int missing(const struct record_settings *s, const char *name, struct err *e)
{
    return err_set(e, STATUS_FAILED, "key `%s`: missing", record_field_name(s, name));
}

// A string field; NULL with *e filled.
static const json_t *string_field(const struct record_settings *s, const json_t *object,
                                  const char *name, struct err *e)
{
    const json_t *v = record_field(s, object, name);
    if (json_is_string(v))
        return v;
    if (!v)
        missing(s, name, e);
    else
        err_set(e, STATUS_FAILED, "key `%s`: not a string", record_field_name(s, name));
    return NULL;
}

// A string field, appended to the text.
static int take(struct record *r, const struct record_settings *s, const json_t *object,
                const char *name, struct err *e)
{
    const json_t *v = string_field(s, object, name, e);
    if (!v)
        return -1;
    return buffer_append(&r->text, json_string_value(v), json_string_length(v), e);
}

static void begin(struct record *r, const struct record_settings *s)
{
    buffer_clear(&r->text);
    r->spans.n = 0;
    r->prompt_size = 0;
    r->has_spans = r->is_chat = r->is_tokens = 0;
    r->no_answer = r->empty_answer = r->quoted_calls = 0;
    r->left_out = 0;
    r->n = 0;
    r->open_end = r->is_prompt = s->prompts;
    r->trains_all = record_train_of(s) == RECORD_TRAIN_ALL;
}

// A text has no assistant, and where it is `whole` no prompt before a completion.
static int not_a_chat(const struct record_settings *s, int whole, struct err *e)
{
    if (record_train_of(s) == RECORD_TRAIN_ASSISTANT)
        return err_set(e, STATUS_FAILED,
                       "--train-on assistant needs messages: a plain text has no assistant");
    if (whole && record_train_of(s) == RECORD_TRAIN_COMPLETION)
        return err_set(e, STATUS_FAILED, "--train-on completion needs a prompt: a text has none");
    return 0;
}

static int finish_text(struct record *r, const struct record_settings *s)
{
    r->prompt_size = s->prompts ? r->text.size : 0;
    return 0;
}

static int read_text(struct record *r, const struct record_settings *s, const json_t *object,
                     struct err *e)
{
    return not_a_chat(s, 1, e) < 0 || take(r, s, object, "text", e) < 0 ? -1 : finish_text(r, s);
}

int record_read_plain(struct record *r, const struct record_settings *s, const char *text,
                      size_t size, struct err *e)
{
    begin(r, s);
    return not_a_chat(s, 1, e) < 0 || buffer_append(&r->text, text, size, e) < 0
               ? -1
               : finish_text(r, s);
}

// The text so far is the prompt.
static int take_answer(struct record *r, const struct record_settings *s, const json_t *object,
                       const char *name, struct err *e)
{
    r->prompt_size = r->text.size;
    if (!s->prompts && take(r, s, object, name, e) < 0)
        return -1;
    r->empty_answer = !s->prompts && r->text.size == r->prompt_size;
    return 0;
}

static int read_pair(struct record *r, const struct record_settings *s, const json_t *object,
                     struct err *e)
{
    const json_t *prompt = record_field(s, object, "prompt");
    if (!prompt)
        return missing(s, "prompt", e);
    if (json_is_array(prompt)) {
        const json_t *completion = record_field(s, object, "completion");
        if (!completion && !s->prompts)
            return missing(s, "completion", e);
        if (completion && !json_is_array(completion))
            return err_set(e, STATUS_FAILED, "key `%s`: not a list of messages as the prompt is",
                           record_field_name(s, "completion"));
        return record_read_message_pair(r, s, object, prompt, completion, e);
    }
    if (not_a_chat(s, 0, e) < 0 || take(r, s, object, "prompt", e) < 0)
        return -1;
    return take_answer(r, s, object, "completion", e);
}

static int pair_of_messages(struct record *r, const struct record_settings *s, const json_t *object,
                            json_t *prompt, json_t *completion, struct err *e)
{
    int result = prompt && completion
                     ? record_read_message_pair(r, s, object, prompt, completion, e)
                     : err_memory(e, 0, "messages");
    json_decref(prompt);
    json_decref(completion);
    return result;
}

static json_t *message(const char *role, const char *text, size_t size)
{
    return json_pack("[{s:s, s:s%}]", "role", role, "content", text, size);
}

static int instruction_chat(struct record *r, const struct record_settings *s, const json_t *object,
                            const json_t *input, struct err *e)
{
    const json_t *output = s->prompts ? json_null() : string_field(s, object, "output", e);
    if (!output || take(r, s, object, "instruction", e) < 0 ||
        (input &&
         (buffer_append(&r->text, "\n\n", 2, e) < 0 || take(r, s, object, "input", e) < 0)))
        return -1;
    json_t *prompt = message("user", r->text.data ? r->text.data : "", r->text.size);
    buffer_clear(&r->text);
    return pair_of_messages(
        r, s, object, prompt,
        s->prompts ? json_array()
                   : message("assistant", json_string_value(output), json_string_length(output)),
        e);
}

// What an instruction record may hold beside and the text would not.
static int check_instruction(const struct record_settings *s, const json_t *object, struct err *e)
{
    static const char *const others[] = {"history", "system"};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        const json_t *v = record_field(s, object, others[i]);
        if (json_array_size(v) || json_string_length(v))
            return err_set(e, STATUS_FAILED,
                           "key `%s`: has no place in an instruction's text (make it messages)",
                           record_field_name(s, others[i]));
    }
    return 0;
}

// The wording of Stanford Alpaca (Taori et al., 2023).
static int read_instruction(struct record *r, const struct record_settings *s, const json_t *object,
                            struct err *e)
{
    const json_t *input = record_field(s, object, "input");
    if (input && !string_field(s, object, "input", e))
        return -1;
    if (!json_string_length(input))
        input = NULL;
    if (check_instruction(s, object, e) < 0)
        return -1;
    if (s->instruction == INSTRUCTION_CHAT)
        return instruction_chat(r, s, object, input, e);
    if (not_a_chat(s, 0, e) < 0 ||
        buffer_string(&r->text,
                      input
                          ? "Below is an instruction that describes a task, paired with an input "
                            "that provides further context. Write a response that appropriately "
                            "completes the request.\n\n### Instruction:\n"
                          : "Below is an instruction that describes a task. Write a response that "
                            "appropriately completes the request.\n\n### Instruction:\n",
                      e) < 0 ||
        take(r, s, object, "instruction", e) < 0 ||
        (input && (buffer_string(&r->text, "\n\n### Input:\n", e) < 0 ||
                   take(r, s, object, "input", e) < 0)) ||
        buffer_string(&r->text, "\n\n### Response:", e) < 0 ||
        (s->instruction == INSTRUCTION_ALPACA && buffer_append(&r->text, "\n", 1, e) < 0))
        return -1;
    return take_answer(r, s, object, "output", e);
}

int record_read(struct record *r, const struct record_settings *s, const json_t *object,
                struct err *e)
{
    begin(r, s);
    switch (s->format) {
    case RECORD_TEXT:
        return read_text(r, s, object, e);
    case RECORD_PROMPT_COMPLETION:
        return read_pair(r, s, object, e);
    case RECORD_PREFERENCE: // a part of one
        return record_field(s, object, "prompt") ? read_pair(r, s, object, e)
                                                 : read_instruction(r, s, object, e);
    case RECORD_INSTRUCTION:
        return read_instruction(r, s, object, e);
    case RECORD_PRETOKENIZED:
        return record_read_tokens(r, s, object, e);
    default:
        return record_read_messages(r, s, object, e);
    }
}

int record_id_of(const json_t *v, const char *key, size_t number, struct buffer *id, struct err *e)
{
    buffer_clear(id);
    if (!v)
        return buffer_printf(id, e, "%zu", number);
    if (json_is_string(v))
        return buffer_append(id, json_string_value(v), json_string_length(v), e);
    if (json_is_number(v) || json_wide_digits(v))
        return json_print(v, id, e);
    return err_set(e, STATUS_FAILED, "key `%s`: neither a string nor a number", key);
}

int record_id(const struct record_settings *s, const json_t *object, size_t number,
              struct buffer *id, struct err *e)
{
    const json_t *v = object ? record_field(s, object, "id") : NULL;
    return record_id_of(v, record_field_name(s, "id"), number, id, e);
}
