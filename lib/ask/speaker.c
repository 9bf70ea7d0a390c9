// SPDX-License-Identifier: MIT
#include "ask/speaker.h"
#include "data/left_out.h"
#include "infer/long_record.h"
#include "model/describe.h"
#include "model/directory.h"

#include <stdlib.h>
#include <string.h>

static int read_generation(struct speaker *s, struct err *e)
{
    struct directory_note note;
    if (directory_read_note(s->model->directory, &note, e) < 0)
        return -1;
    s->generation = note.generation;
    directory_release_note(&note);
    return 0;
}

int speaker_open(struct speaker *s, const char *directory, const struct speaker_options *o,
                 struct err *e)
{
    memset(s, 0, sizeof *s);
    s->directory = directory;
    s->records = (struct record_settings){
        .format = RECORD_MESSAGES, .prompts = 1, .now = o->now, .texts_only = 1};
    if (chat_check_file(o->template_file, e) < 0 || !(s->model = model_open(directory, e)) ||
        read_generation(s, e) < 0 || !(s->tokenizer = tokenizer_open(directory, e)) ||
        !(s->worker = tokenizer_worker_open(e)) ||
        example_settings_init(&s->examples, s->tokenizer, e) < 0 ||
        chat_open_any(directory, o->template_file, &s->chat, e) < 0)
        return -1;
    describe_unused(s->model, o->verbose);
    s->most = long_record_most(s->model);
    s->records.chat = s->chat;
    if (!s->chat)
        s->records.format = RECORD_TEXT;
    return 0;
}

void speaker_release(struct speaker *s)
{
    chat_close(s->chat);
    example_settings_release(&s->examples);
    tokenizer_worker_close(s->worker);
    tokenizer_close(s->tokenizer);
    model_close(s->model);
    free(s->label);
    memset(s, 0, sizeof *s);
}

static int read_record(struct speaker *s, const json_t *messages, struct record *r, struct err *e)
{
    if (!s->chat) {
        const json_t *last = json_array_get(messages, json_array_size(messages) - 1);
        const json_t *text = json_object_get(last, "content");
        return record_read_plain(r, &s->records, json_string_value(text), json_string_length(text),
                                 e);
    }
    json_t *object = json_pack("{s:O}", "messages", messages);
    int result = object ? record_read(r, &s->records, object, e) : err_memory(e, 64, "a chat");
    json_decref(object);
    return result;
}

// A system message, or an answer, that the template does not write. Blanks at the ends of answers
// and earlier thoughts go by design of many templates.
static void look_for_words(struct speaker *s, const struct record *r)
{
    if (!(r->left_out & LEFT_WORDS) || s->told)
        return;
    s->told = 1;
    message_warn("%s: the chat template does not write all of the messages' text", s->label);
}

static int check_length(const struct speaker *s, size_t n, struct err *e)
{
    if (n < s->most)
        return 0;
    err_set(e, STATUS_FAILED, "%s: %zu tokens leave no room in the model's %zu positions",
            s->directory, n, s->most);
    return -2;
}

int speaker_prompt(struct speaker *s, const json_t *messages, struct token_list *out, struct err *e)
{
    struct record r;
    struct example x;
    record_init(&r);
    example_init(&x);
    int result = read_record(s, messages, &r, e);
    if (result == 0)
        result = example_make(&x, &s->examples, s->worker, &r, e);
    if (result < 0)
        err_prefix(e, "%s", s->directory);
    if (result == 0)
        result = check_length(s, x.tokens.n, e);
    out->n = 0;
    for (size_t i = 0; result == 0 && i < x.tokens.n; i++)
        result = token_list_add(out, x.tokens.id[i], 0, 0, e);
    if (result == 0)
        look_for_words(s, &r);
    example_release(&x);
    record_release(&r);
    return result;
}

// The last name of a path, where it stands in it; *size: without slashes behind it.
static const char *last_name(const char *path, size_t *size)
{
    size_t end = strlen(path), start;
    while (end > 1 && path[end - 1] == '/')
        end--;
    for (start = end; start > 0 && path[start - 1] != '/'; start--)
        ;
    if (start == end)
        start = 0; // the root
    *size = end - start;
    return path + start;
}

static int same_name(const char *a, const char *b)
{
    size_t n, m;
    a = last_name(a, &n);
    b = last_name(b, &m);
    return n == m && !memcmp(a, b, n);
}

int speakers_label(struct speaker *s, size_t n, struct err *e)
{
    for (size_t i = 0; i < n; i++) {
        size_t size;
        const char *name = last_name(s[i].directory, &size);
        for (size_t k = 0; k < n; k++)
            if (k != i && same_name(s[i].directory, s[k].directory)) {
                name = s[i].directory;
                size = strlen(name);
            }
        s[i].label = strndup(name, size);
        if (!s[i].label)
            return err_memory(e, size, "a name");
    }
    return 0;
}
