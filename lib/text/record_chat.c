// SPDX-License-Identifier: MIT
#include "text/record.h"

#include <string.h>

static int need_chat(const struct record_settings *s, struct err *e)
{
    if (s->chat)
        return 0;
    return err_set(e, STATUS_FAILED,
                   "messages need a chat template and the model has none (--chat-template FILE)");
}

static int request(struct chat_request *q, const struct record_settings *s, const json_t *object,
                   const json_t *messages, struct err *e)
{
    memset(q, 0, sizeof *q);
    q->messages = messages;
    q->tools = record_field(s, object, "tools");
    q->documents = record_field(s, object, "documents");
    q->kwargs = record_field(s, object, "chat_template_kwargs");
    q->now = s->now;
    if (q->tools && !json_is_array(q->tools))
        return err_set(e, STATUS_FAILED, "key `tools`: not a list");
    if (q->documents && !json_is_array(q->documents))
        return err_set(e, STATUS_FAILED, "key `documents`: not a list");
    if (q->kwargs && !json_is_object(q->kwargs))
        return err_set(e, STATUS_FAILED, "key `chat_template_kwargs`: not an object");
    return need_chat(s, e);
}

static int is_assistant(const json_t *message)
{
    const char *role = json_string_value(json_object_get(message, "role"));
    return role && !strcmp(role, "assistant");
}

// What stands before the last answer, with the sign that an answer comes.
static int render_prompt(struct record *r, const struct record_settings *s, struct chat_request *q,
                         struct err *e)
{
    size_t n = json_array_size(q->messages);
    json_t *before = json_array();
    if (!before)
        return err_memory(e, 0, "messages");
    while (n > 0 && is_assistant(json_array_get(q->messages, n - 1)))
        n--;
    for (size_t i = 0; i < n; i++)
        json_array_append(before, json_array_get(q->messages, i));
    const json_t *whole = q->messages;
    q->messages = before;
    q->add_generation_prompt = 1;
    int result = chat_render(s->chat, q, &r->text, e);
    q->messages = whole;
    json_decref(before);
    r->prompt_size = r->text.size;
    return result;
}

int record_read_messages(struct record *r, const struct record_settings *s, const json_t *object,
                         struct err *e)
{
    const json_t *messages = record_field(s, object, "messages");
    struct chat_request q;
    r->is_chat = r->open_end = 1;
    if (!messages || !json_is_array(messages))
        return err_set(e, STATUS_FAILED, "key `messages`: %s", messages ? "not a list" : "missing");
    if (request(&q, s, object, messages, e) < 0)
        return -1;
    if (s->prompts)
        return render_prompt(r, s, &q, e);
    q.add_generation_prompt = s->add_generation_prompt;
    if (r->trains_all)
        return chat_render(s->chat, &q, &r->text, e);
    r->has_spans = 1;
    return chat_render_spans(s->chat, &q, &r->text, &r->spans, e);
}

static size_t common_prefix(const struct buffer *a, const struct buffer *b)
{
    size_t n = 0;
    while (n < a->size && n < b->size && a->data[n] == b->data[n])
        n++;
    return n;
}

int record_read_message_pair(struct record *r, const struct record_settings *s,
                             const json_t *object, const json_t *prompt, const json_t *completion,
                             struct err *e)
{
    struct chat_request q;
    r->is_chat = r->open_end = 1;
    if (request(&q, s, object, prompt, e) < 0)
        return -1;
    struct buffer front;
    buffer_init(&front, 0);
    q.add_generation_prompt = 1;
    int result = chat_render(s->chat, &q, s->prompts ? &r->text : &front, e);
    if (result == 0 && s->prompts) {
        r->prompt_size = r->text.size;
    } else if (result == 0) {
        json_t *whole = json_copy((json_t *)prompt);
        if (!whole || json_array_extend(whole, (json_t *)completion) < 0) {
            result = err_memory(e, 0, "messages");
        } else {
            q.messages = whole;
            q.add_generation_prompt = s->add_generation_prompt;
            r->has_spans = record_train_of(s) == RECORD_TRAIN_ASSISTANT;
            result = r->has_spans ? chat_render_spans(s->chat, &q, &r->text, &r->spans, e)
                                  : chat_render(s->chat, &q, &r->text, e);
            // A prompt that ends with the assistant's turn is not the beginning of the whole.
            r->prompt_size = common_prefix(&front, &r->text);
        }
        json_decref(whole);
    }
    buffer_release(&front);
    return result;
}
