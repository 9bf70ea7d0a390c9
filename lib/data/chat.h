// SPDX-License-Identifier: MIT
// Chats: a model directory's chat template, the context it is rendered with, and which bytes of the
// result the assistant wrote. Follows transformers' apply_chat_template.
#ifndef DATA_CHAT_H
#define DATA_CHAT_H

#include "base/error.h"
#include "base/memory.h"
#include "jinja/template.h"
#include <jansson.h>

struct chat; // immutable once opened: threads may share it

// The templates of DIR: chat_template.jinja ("default") and additional_chat_templates/NAME.jinja;
// where neither is there, `chat_template` of tokenizer_config.json (a string, or a list of named
// templates). `name` picks one; NULL takes "tool_use" for chats with tools when there is one, else
// "default". bos_token, eos_token and the other special tokens, strings or objects, come from
// tokenizer_config.json (and special_tokens_map.json, which wins when the config has no
// added_tokens_decoder); what is not set there is undefined in the template.
// NULL with *e filled when there is no template, it does not parse or a file is broken.
struct chat *chat_open(const char *directory, const char *name, struct err *e);
// A template given by the user: `source` under `name` (for messages), with DIR's special tokens
// (`directory` NULL: none).
struct chat *chat_open_source(const char *source, size_t size, const char *name,
                              const char *directory, struct err *e);
// The user's template from FILE, where FILE is not NULL, else DIR's; *c is NULL where there is
// none.
MUST_CHECK int chat_open_any(const char *directory, const char *file, struct chat **c,
                             struct err *e);
// Whether FILE (NULL is fine) can be a template, before anything is read: a folder cannot.
MUST_CHECK int chat_check_file(const char *file, struct err *e);
void chat_close(struct chat *c);
// Whether DIR has a template at all: 1, 0, or -1 with *e filled.
MUST_CHECK int chat_exists(const char *directory, struct err *e);

// The source of the default template, a string; borrowed.
const json_t *chat_source(const struct chat *c);
// Whether the template says by {% generation %} what the assistant wrote; `tools`: for chats with
// tools, which may have a template of their own.
int chat_marks_generation(const struct chat *c, int tools);

// What is rendered. All JSON is borrowed and read only; NULL is absent.
struct chat_request {
    const json_t *messages;  // an array of objects with `role`, not empty
    const json_t *tools;     // an array; the template sees none when absent
    const json_t *documents; // an array; the template sees none when absent
    const json_t *kwargs;    // an object: further template variables (chat_template_kwargs); they
                             // win over everything else
    int add_generation_prompt;
    int continue_final_message; // the text ends where the last message's content ends
    // What strftime_now() reads, "YYYY-MM-DDTHH:MM:SS". NULL: a template that asks fails, so that
    // no result depends on the day unless the caller says so.
    const char *now;
};

// Appends the rendered text to `out`.
MUST_CHECK int chat_render(const struct chat *c, const struct chat_request *r, struct buffer *out,
                           struct err *e);

// The same, with the spans (bytes from where `out` stood, ascending, not overlapping) that the
// assistant wrote and that are to be trained:
// - a template with {% generation %}: those blocks;
// - otherwise, for every assistant message k, what the template adds to the chat of messages
//   [0, k) rendered with add_generation_prompt, up to the end of the turn (whatever it writes
//   there: the stop token and a newline after it), where the whole chat begins with that;
// - where it does not, the stretch of each answer as answers.h finds and proves it.
// Where neither tells, this fails with a message that says so and names the ways out: never a
// guess. A chat without assistant messages gives no spans and no error.
MUST_CHECK int chat_render_spans(const struct chat *c, const struct chat_request *r,
                                 struct buffer *out, struct span_list *spans, struct err *e);
// The same of the messages from `from` on alone, an answer: what follows the chat before them with
// the prompt for it.
MUST_CHECK int chat_render_answer(const struct chat *c, const struct chat_request *r, size_t from,
                                  struct buffer *out, struct span *answer, struct err *e);

#endif
