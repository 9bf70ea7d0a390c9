// SPDX-License-Identifier: MIT
// Records that are chats: rendered by the model's template.
#include "data/record.h"

#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "data/left_out.h"
#include "data/messages.h"

// A request and what it owns.
struct chat_job {
    struct chat_request q;
    json_t *messages, *tools;
    size_t answer; // of a turn alone: where its answer begins
};

static void job_release(struct chat_job *j)
{
    json_decref(j->messages);
    json_decref(j->tools);
}

static int need_chat(const struct record_settings *s, struct err *e)
{
    if (s->chat)
        return 0;
    return err_set(e, STATUS_FAILED,
                   s->texts_first
                       ? "messages, where the first record has texts (give each its own run)"
                       : "messages need a chat template and the model has none (--chat-template "
                         "FILE)");
}

// Tools are a list, or one as JSON text (columns that hold many kinds are kept so).
static int take_tools(struct chat_job *j, const struct record_settings *s, const json_t *object,
                      struct err *e)
{
    const json_t *tools = record_field(s, object, "tools");
    struct err reason;
    if (json_is_string(tools) && json_string_length(tools) == 0)
        return 0;
    if (json_is_string(tools)) {
        j->tools =
            json_parse_exact(json_string_value(tools), json_string_length(tools), "", &reason);
        if (!j->tools)
            return err_set(e, STATUS_FAILED, "key `%s`: neither a list nor one as JSON text",
                           record_field_name(s, "tools"));
    } else {
        j->tools = json_incref((json_t *)tools);
    }
    if (json_is_null(j->tools)) {
        json_decref(j->tools);
        j->tools = NULL;
    }
    j->q.tools = j->tools;
    if (j->tools && !json_is_array(j->tools))
        return err_set(e, STATUS_FAILED, "key `%s`: not a list", record_field_name(s, "tools"));
    return 0;
}

// ShareGPT's records may have their system message beside the others.
static int take_system(struct chat_job *j, const struct record_settings *s, const json_t *object,
                       struct err *e)
{
    const json_t *system = record_field(s, object, "system");
    const char *role = json_string_value(json_object_get(json_array_get(j->messages, 0), "role"));
    if ((s->format != RECORD_SHAREGPT && s->format != RECORD_PREFERENCE) ||
        !json_string_length(system) || (role && !strcmp(role, "system")))
        return 0;
    json_t *message = json_pack("{s:s, s:O}", "role", "system", "content", system);
    return json_array_insert_new(j->messages, 0, message) == 0 ? 0 : err_memory(e, 64, "messages");
}

static int request(struct chat_job *j, const struct record_settings *s, const json_t *object,
                   const json_t *messages, struct err *e)
{
    memset(j, 0, sizeof *j);
    j->q.documents = record_field(s, object, "documents");
    j->q.kwargs = record_field(s, object, "chat_template_kwargs");
    j->q.now = s->now;
    if (j->q.documents && !json_is_array(j->q.documents))
        return err_set(e, STATUS_FAILED, "key `documents`: not a list");
    if (j->q.kwargs && !json_is_object(j->q.kwargs))
        return err_set(e, STATUS_FAILED, "key `chat_template_kwargs`: not an object");
    if (need_chat(s, e) < 0 || take_tools(j, s, object, e) < 0 ||
        !(j->messages = messages_plain(s, messages, e)) || take_system(j, s, object, e) < 0)
        return -1;
    j->q.messages = j->messages;
    return 0;
}

// ---- what the template leaves out ---------------------------------------------------------------

// Arguments that are JSON text in the record: whether the template wrote them as a quoted string.
static int is_quoted(const struct record *r, const json_t *call)
{
    const json_t *function = json_object_get(call, "function");
    const json_t *arguments = json_object_get(function ? function : call, "arguments");
    struct err ignored; // err_whole knows
    char *quoted = json_is_string(arguments) && json_string_length(arguments) > 2
                       ? json_text(arguments, JSON_ENCODE_ANY, &ignored)
                       : NULL;
    int found = quoted && memmem(r->text.data ? r->text.data : "", r->text.size, quoted,
                                 strlen(quoted)) != NULL;
    free(quoted);
    return found;
}

// Whether a list of parts stands in the text as Python would print it, and what does not stand
// there at all.
static int check_text(struct record *r, const struct record_settings *s, const struct chat_job *j,
                      struct err *e)
{
    const char *text = r->text.data ? r->text.data : "";
    size_t first;
    int parts = 0;
    if (!s->texts_only)
        return 0;
    for (size_t i = 0; i < json_array_size(j->q.messages); i++) {
        const json_t *message = json_array_get(j->q.messages, i);
        parts |= json_array_size(json_object_get(message, "content")) > 0;
        const json_t *calls = json_object_get(message, "tool_calls");
        for (size_t k = 0; k < json_array_size(calls) && !r->quoted_calls; k++)
            r->quoted_calls = is_quoted(r, json_array_get(calls, k));
        r->empty_answer |= message_is_empty(message);
    }
    static const char printed[] = "{'type': '";
    if (parts && memmem(text, r->text.size, printed, sizeof printed - 1))
        return err_set(e, STATUS_FAILED,
                       "the template prints a content of parts as a list, where it wants a text "
                       "(--join-parts)");
    r->left_out = left_out_find(text, r->text.size, j->q.messages, j->tools, j->answer, &first);
    if (r->left_out && s->whole_only)
        return left_out_error(r->left_out, first, e);
    return 0;
}

// ---- spans --------------------------------------------------------------------------------------

// How many spans the first n messages have.
static int count_spans(const struct record_settings *s, const struct chat_job *j, size_t n,
                       size_t *count, struct err *e)
{
    struct chat_request q = j->q;
    struct span_list spans;
    struct buffer text;
    json_t *part = messages_slice(j->q.messages, 0, n);
    *count = 0;
    span_list_init(&spans);
    buffer_init(&text, 0);
    q.messages = part;
    q.add_generation_prompt = 0;
    int result = !part    ? err_memory(e, 0, "messages")
                 : n == 0 ? 0
                          : chat_render_spans(s->chat, &q, &text, &spans, e);
    *count = spans.n;
    span_list_release(&spans);
    buffer_release(&text);
    json_decref(part);
    return result;
}

// Takes the spans of messages with weight 0 out of the list.
static int apply_weights(struct record *r, const struct record_settings *s,
                         const struct chat_job *j, struct err *e)
{
    size_t before = 0, after = 0, kept = 0;
    int marked = chat_marks_generation(s->chat, j->q.tools != NULL); // or each answer has one span
    for (size_t i = 0; i < json_array_size(j->q.messages); i++, before = after) {
        const json_t *message = json_array_get(j->q.messages, i);
        int trains = 1;
        after = before;
        if (!message_is_assistant(message))
            continue;
        if (message_weight(message, i, &trains, e) < 0)
            return -1;
        if (!marked)
            after = before + 1;
        else if (count_spans(s, j, i + 1, &after, e) < 0)
            after = SIZE_MAX;
        if (after < before || after > r->spans.n)
            return err_set(e, STATUS_FAILED,
                           "which bytes message %zu, whose loss weight is not the others', has in "
                           "the text cannot be told",
                           i);
        for (size_t k = before; k < after; k++)
            if (trains)
                r->spans.span[kept++] = r->spans.span[k];
    }
    if (after != r->spans.n)
        return err_set(e, STATUS_FAILED,
                       "the template marks more than the messages that have loss weights");
    r->spans.n = kept;
    return 0;
}

#define WEIGHTED "messages with loss weights (--train-on assistant and --turns each go by them)"

// The whole chat with what is trained of it.
static int has_answer(const json_t *messages)
{
    for (size_t i = 0; i < json_array_size(messages); i++)
        if (message_is_assistant(json_array_get(messages, i)))
            return 1;
    return 0;
}

static int render_whole(struct record *r, const struct record_settings *s, struct chat_job *j,
                        struct err *e)
{
    int weighted;
    if (record_train_of(s) == RECORD_TRAIN_ALL || s->prompts)
        weighted = 0;
    else if (messages_weighted(j->q.messages, &weighted, e) < 0)
        return -1;
    r->has_spans = record_train_of(s) == RECORD_TRAIN_ASSISTANT;
    r->no_answer = r->has_spans && !has_answer(j->q.messages);
    if (weighted && !r->has_spans)
        return err_set(e, STATUS_FAILED, WEIGHTED);
    j->q.add_generation_prompt = s->add_generation_prompt;
    j->q.continue_final_message = s->continue_final_message;
    int result = r->has_spans ? chat_render_spans(s->chat, &j->q, &r->text, &r->spans, e)
                              : chat_render(s->chat, &j->q, &r->text, e);
    if (result == 0 && weighted)
        result = apply_weights(r, s, j, e);
    return result < 0 ? -1 : check_text(r, s, j, e);
}

// ---- records ------------------------------------------------------------------------------------

// How a prompt ends: with the sign that an answer comes, or inside an answer that is to be gone on
// with.
static void end_prompt(struct chat_job *j, const struct record_settings *s)
{
    size_t n = json_array_size(j->q.messages);
    j->q.continue_final_message =
        s->continue_final_message && message_is_assistant(json_array_get(j->q.messages, n - 1));
    j->q.add_generation_prompt = !j->q.continue_final_message;
}

// Where the messages begin with which the assistant ends the chat; their number when it does not.
static size_t last_answer(const struct chat_job *j)
{
    size_t n = json_array_size(j->messages);
    while (n > 0 && message_is_assistant(json_array_get(j->messages, n - 1)))
        n--;
    return n;
}

// What stands before the last answer.
static int render_prompt(struct record *r, const struct record_settings *s, struct chat_job *j,
                         struct err *e)
{
    size_t n = s->continue_final_message ? json_array_size(j->messages) : last_answer(j);
    json_t *before = messages_slice(j->messages, 0, n);
    j->q.messages = before;
    end_prompt(j, s);
    int result = before ? chat_render(s->chat, &j->q, &r->text, e) : err_memory(e, 0, "messages");
    if (result == 0)
        result = check_text(r, s, j, e);
    json_decref(before);
    r->prompt_size = r->text.size;
    return result;
}

static size_t common_prefix(const struct buffer *a, const struct buffer *b)
{
    size_t n = 0;
    while (n < a->size && n < b->size && a->data[n] == b->data[n])
        n++;
    return n;
}

// The prompt of n messages alone.
static int render_front(struct record *r, const struct record_settings *s, struct chat_job *j,
                        size_t n_prompt, struct buffer *out, struct err *e)
{
    json_t *prompt = messages_slice(j->messages, 0, n_prompt);
    j->q.messages = prompt;
    j->q.add_generation_prompt = 1;
    if (s->prompts)
        end_prompt(j, s);
    int result = prompt ? chat_render(s->chat, &j->q, out, e) : err_memory(e, 0, "messages");
    if (result == 0 && s->prompts) {
        r->prompt_size = out->size;
        result = check_text(r, s, j, e);
    }
    json_decref(prompt);
    j->q.messages = j->messages;
    return result;
}

// The whole chat, of which the answer that ends it is trained.
static int render_answer(struct record *r, const struct record_settings *s, struct chat_job *j,
                         size_t n_prompt, struct err *e)
{
    struct span answer;
    int weighted;
    if (messages_weighted(j->q.messages, &weighted, e) < 0)
        return -1;
    if (weighted && !s->each_turn)
        return err_set(e, STATUS_FAILED, WEIGHTED);
    j->q.add_generation_prompt = s->add_generation_prompt;
    j->q.continue_final_message = s->continue_final_message;
    if (chat_render_answer(s->chat, &j->q, n_prompt, &r->text, &answer, e) < 0)
        return -1;
    r->prompt_size = answer.start;
    r->has_spans = answer.end < r->text.size;
    if (r->has_spans && span_list_add(&r->spans, answer, e) < 0)
        return -1;
    return check_text(r, s, j, e);
}

static int render_pair(struct record *r, const struct record_settings *s, struct chat_job *j,
                       size_t n_prompt, struct err *e)
{
    struct buffer front;
    if (s->prompts)
        return render_front(r, s, j, n_prompt, &r->text, e);
    if (record_train_of(s) == RECORD_TRAIN_COMPLETION)
        return render_answer(r, s, j, n_prompt, e);
    buffer_init(&front, 0);
    int result = render_front(r, s, j, n_prompt, &front, e);
    if (result == 0)
        result = render_whole(r, s, j, e);
    // A prompt that ends with the assistant's turn is not the beginning of the whole.
    r->prompt_size = common_prefix(&front, &r->text);
    buffer_release(&front);
    return result;
}

// ---- a record for each answer -------------------------------------------------------------------

// Whether something of the assistant's messages [begin, end) is trained: 1, 0, or -1.
static int is_trained(const json_t *messages, size_t begin, size_t end, struct err *e)
{
    int some = 0;
    for (size_t i = begin; i < end; i++) {
        int trains = 1;
        if (message_weight(json_array_get(messages, i), i, &trains, e) < 0)
            return -1;
        if (i > begin && trains != some)
            return err_set(e, STATUS_FAILED,
                           "message %zu: its loss weight is not that of the answer it belongs to",
                           i);
        some = trains;
    }
    return some;
}

// How many answers are trained, or (`wanted` < that number) the messages [begin, end) of that one.
static int find_turns(const json_t *messages, size_t wanted, size_t *count, size_t *begin,
                      size_t *end, struct err *e)
{
    size_t n = json_array_size(messages);
    *count = 0;
    for (size_t i = 0; i < n; i++) {
        size_t from = i;
        while (i < n && message_is_assistant(json_array_get(messages, i)))
            i++;
        int trained = from < i ? is_trained(messages, from, i, e) : 0;
        if (trained < 0)
            return -1;
        if (!trained)
            continue;
        if (*count == wanted) {
            *begin = from;
            *end = i;
        }
        ++*count;
    }
    return 0;
}

// The messages of a record that is a chat; NULL with *e filled.
static const json_t *messages_of(const struct record_settings *s, const json_t *object,
                                 struct err *e)
{
    const char *name = s->format == RECORD_SHAREGPT ? "conversations" : "messages";
    const json_t *messages = record_field(s, object, name);
    if (json_is_array(messages))
        return messages;
    err_set(e, STATUS_FAILED, "key `%s`: %s", record_field_name(s, name),
            messages ? "not a list" : "missing");
    return NULL;
}

int record_turns(const struct record_settings *s, const json_t *object, size_t *n, struct err *e)
{
    size_t begin, end;
    const json_t *list = messages_of(s, object, e);
    json_t *messages = list ? messages_plain(s, list, e) : NULL;
    int result = messages ? find_turns(messages, SIZE_MAX, n, &begin, &end, e) : -1;
    json_decref(messages);
    return result;
}

// The chat up to the turn's answer.
static int render_turn(struct record *r, const struct record_settings *s, struct chat_job *j,
                       struct err *e)
{
    size_t n, begin = 0, end = 0;
    if (find_turns(j->messages, r->turn, &n, &begin, &end, e) < 0)
        return -1;
    json_t *part = messages_slice(j->messages, 0, end);
    if (!part)
        return err_memory(e, 0, "messages");
    json_decref(j->messages);
    j->q.messages = j->messages = part;
    j->answer = begin;
    return render_pair(r, s, j, begin, e);
}

int record_read_messages(struct record *r, const struct record_settings *s, const json_t *object,
                         struct err *e)
{
    const json_t *messages = messages_of(s, object, e);
    struct chat_job j;
    r->is_chat = r->open_end = 1;
    if (!messages)
        return -1;
    int result = request(&j, s, object, messages, e);
    if (result == 0 && s->each_turn)
        result = render_turn(r, s, &j, e);
    else if (result == 0 && s->prompts)
        result = render_prompt(r, s, &j, e);
    else if (result == 0 && record_train_of(s) == RECORD_TRAIN_COMPLETION)
        result = render_pair(r, s, &j, last_answer(&j), e); // the last answer completes the chat
    else if (result == 0)
        result = render_whole(r, s, &j, e);
    job_release(&j);
    return result;
}

int record_read_message_pair(struct record *r, const struct record_settings *s,
                             const json_t *object, const json_t *prompt, const json_t *completion,
                             struct err *e)
{
    struct chat_job j;
    json_t *whole = json_copy((json_t *)prompt);
    size_t n = json_array_size(completion);
    r->is_chat = r->open_end = 1;
    if (!whole || (n && json_array_extend(whole, (json_t *)completion) < 0)) {
        json_decref(whole);
        return err_memory(e, 0, "messages");
    }
    int result = request(&j, s, object, whole, e);
    if (result == 0)
        result = render_pair(r, s, &j, json_array_size(j.messages) - n, e);
    job_release(&j);
    json_decref(whole);
    return result;
}
