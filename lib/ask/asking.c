// SPDX-License-Identifier: MIT
#include "ask/asking.h"
#include "ask/columns.h"
#include "base/json.h"
#include "base/shown.h"
#include "base/utf8.h"

#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

// ---- what is asked ------------------------------------------------------------------------------

static int says_text(const char *text, size_t size, const char *what, struct err *e)
{
    if (utf8_valid_prefix(text, size) == size)
        return 0;
    return err_set(e, STATUS_FAILED,
                   "%s is not UTF-8 text (`iconv -f LATIN1 -t UTF-8` makes it so)", what);
}

int asking_say(struct asking *a, size_t i, const char *role, const char *text, size_t size,
               struct err *e)
{
    if (says_text(text, size, !strcmp(role, "user") ? "the question" : "the message", e) < 0)
        return -1;
    json_t *message = json_pack("{s:s, s:s%}", "role", role, "content", text, size);
    return json_array_append_new(a->messages[i], message) == 0 ? 0 : err_memory(e, size, "a chat");
}

void asking_unsay(struct asking *a, size_t i)
{
    size_t n = json_array_size(a->messages[i]);
    if (n)
        json_array_remove(a->messages[i], n - 1);
}

int asking_forget(struct asking *a, const char *system, struct err *e)
{
    for (size_t i = 0; system && i < a->n; i++)
        if (!a->speaker[i].chat)
            return err_set(e, STATUS_FAILED,
                           "%s: a system text needs a chat template and the model has none "
                           "(--chat-template FILE)",
                           a->speaker[i].directory);
    if (system && says_text(system, strlen(system), "the system text", e) < 0)
        return -1;
    for (size_t i = 0; i < a->n; i++) {
        json_decref(a->messages[i]);
        a->messages[i] = json_array();
        if (!a->messages[i])
            return err_memory(e, 64, "a chat");
        if (system && asking_say(a, i, "system", system, strlen(system), e) < 0)
            return -1;
    }
    return 0;
}

int asking_check(struct asking *a, struct err *e)
{
    struct token_list prompt;
    int result = 0;
    token_list_init(&prompt);
    for (size_t i = 0; i < a->n && result == 0; i++)
        result = speaker_prompt(&a->speaker[i], a->messages[i], &prompt, e);
    token_list_release(&prompt);
    return result;
}

int asking_open(struct asking *a, const struct ask_options *o, struct err *e)
{
    memset(a, 0, sizeof *a);
    a->o = o;
    if (device_open(&a->device, o->device, o->products, e) < 0)
        return -1;
    a->device.kv = draw_kv_dtype(o->reply.draw.kv_dtype);
    for (int i = 0; i < o->models.n; i++)
        if (speaker_open(&a->speaker[a->n++], o->models.text[i], &o->speaker, e) < 0)
            return -1;
    if (speakers_label(a->speaker, a->n, e) < 0)
        return -1;
    for (size_t i = 0; i < a->n; i++)
        if (!a->speaker[i].chat)
            message_note("%s: no chat template: the text is continued as it is",
                         a->speaker[i].label);
    if (asking_forget(a, o->system, e) < 0 || output_open(&a->out, o->output, e) < 0)
        return -1;
    a->out_open = 1;
    a->terminal = isatty(a->out.fd);
    return 0;
}

int asking_commit(struct asking *a, struct err *e)
{
    a->out_open = 0;
    return output_commit(&a->out, e);
}

void asking_release(struct asking *a)
{
    if (a->out_open)
        output_abort(&a->out);
    for (size_t i = 0; i < a->n; i++) {
        speaker_release(&a->speaker[i]);
        json_decref(a->messages[i]);
    }
    device_release(&a->device);
}

// ---- one showing of answers ---------------------------------------------------------------------

struct showing {
    struct asking *a;
    struct replies replies[OPTION_TEXTS_MAX];
    struct reply_options options;
    size_t samples; // of each speaker
    struct buffer text;
    int stopped;
};

// Nothing of a model or a name reaches a terminal raw.
static int put_shown(const char *text, size_t size, struct buffer *out, struct err *e)
{
    for (size_t i = 0; i < size;) {
        char c[4];
        size_t n = shown_character(c, text, size, &i);
        if (buffer_append(out, c, n, e) < 0)
            return -1;
    }
    return 0;
}

// What an answer is called beside others: "sft", "sft, sample 1", "sample 1".
static int put_name(const struct showing *s, size_t speaker, size_t sample, struct buffer *out,
                    struct err *e)
{
    const struct asking *a = s->a;
    int many = s->samples > 1;
    const char *label = a->n > 1 || !many ? a->speaker[speaker].label : "";
    if (put_shown(label, strlen(label), out, e) < 0)
        return -1;
    if (!many)
        return 0;
    return buffer_printf(out, e, "%ssample %zu", *label ? ", " : "",
                         sample + (size_t)s->options.draw.first_sample);
}

// Elsewhere than on a terminal an answer is as it was drawn.
static int put_text(struct showing *s, const char *text, size_t size, struct err *e)
{
    if (!s->a->terminal)
        return output_write(&s->a->out, text, size, e);
    buffer_clear(&s->text);
    return put_shown(text, size, &s->text, e) < 0
               ? -1
               : output_write(&s->a->out, s->text.data, s->text.size, e);
}

// Why an answer is not whole, and with --verbose its times.
static int tell_end(struct showing *s, size_t speaker, size_t sample, struct err *e)
{
    const struct replies *r = &s->replies[speaker];
    const struct reply *one = &r->reply[sample];
    struct buffer name;
    int result = 0;
    buffer_init(&name, 0);
    if (s->a->n * s->samples > 1 && (result = put_name(s, speaker, sample, &name, e)) == 0)
        result = buffer_string(&name, ": ", e);
    const char *prefix = name.size ? name.data : "";
    if (result == 0 && one->finish == FINISH_LENGTH && !r->stopped)
        message_note("%sstopped at %zu tokens%s", prefix, one->tokens,
                     one->tokens == r->options.max_new_tokens && !r->at_end
                         ? " (--max-new-tokens)"
                         : ", where the model's positions end");
    if (result == 0 && s->options.verbose)
        message_note("%s%zu tokens of prompt, first token after %.2f s, %zu tokens, %.1f tokens/s",
                     prefix, r->prompt.n, one->first, one->tokens,
                     one->seconds > one->first
                         ? (double)(one->tokens - 1) / (one->seconds - one->first)
                         : 0);
    buffer_release(&name);
    return result;
}

static int begin(struct showing *s, size_t speaker, struct err *e)
{
    struct asking *a = s->a;
    return replies_begin(&s->replies[speaker], &a->speaker[speaker], &a->device, &s->options,
                         a->messages[speaker], e);
}

static int step(struct showing *s, size_t speaker, struct err *e)
{
    if (replies_step(&s->replies[speaker], s->options.interruptible, e) < 0)
        return -1;
    s->stopped |= s->replies[speaker].stopped;
    return 0;
}

// ---- one after the other ------------------------------------------------------------------------

static int put_heading(struct showing *s, size_t speaker, size_t sample, struct err *e)
{
    struct buffer name;
    if (s->a->n * s->samples == 1)
        return 0;
    buffer_init(&name, 0);
    int result = put_name(s, speaker, sample, &name, e);
    if (result == 0)
        result =
            output_printf(&s->a->out, e, "%s== %s ==\n", speaker + sample ? "\n" : "", name.data);
    buffer_release(&name);
    return result;
}

// After a failure: what is said of it begins a line.
static void end_line(struct showing *s, size_t shown)
{
    struct err second;
    if (shown && s->a->terminal)
        MAY_FAIL(output_write(&s->a->out, "\n", 1, &second) < 0 ||
                 output_flush(&s->a->out, &second) < 0);
}

// The answer as it grows, with those behind it growing meanwhile.
static int show_one(struct showing *s, size_t speaker, size_t sample, struct err *e)
{
    struct replies *r = &s->replies[speaker];
    const struct reply *one = &r->reply[sample];
    size_t shown = 0;
    if (put_heading(s, speaker, sample, e) < 0)
        return -1;
    for (;;) {
        if (one->size > shown && put_text(s, one->text + shown, one->size - shown, e) < 0)
            return -1;
        shown = one->size;
        if (one->ended)
            break;
        if (output_flush(&s->a->out, e) < 0)
            return -1;
        if (step(s, speaker, e) < 0) {
            end_line(s, shown);
            return -1;
        }
    }
    if (output_write(&s->a->out, "\n", 1, e) < 0 || output_flush(&s->a->out, e) < 0)
        return -1;
    return tell_end(s, speaker, sample, e);
}

static int show_in_turn(struct showing *s, struct err *e)
{
    for (size_t i = 0; i < s->a->n && !s->stopped; i++) {
        if (begin(s, i, e) < 0)
            return -1;
        for (size_t k = 0; k < s->samples; k++)
            if (show_one(s, i, k, e) < 0)
                return -1;
    }
    return 0;
}

// ---- side by side -------------------------------------------------------------------------------

struct beside {
    size_t n, width;
    struct text_column *column; // [n] with texts as put_shown makes them
    struct buffer *text;        // [n]
    size_t *taken;              // [n] of the answer's own text
    struct buffer rows;
};

static struct reply *reply_at(struct showing *s, size_t i)
{
    return &s->replies[i / s->samples].reply[i % s->samples];
}

static int grow_columns(struct showing *s, struct beside *b, struct err *e)
{
    for (size_t i = 0; i < b->n; i++) {
        const struct reply *one = reply_at(s, i);
        if (put_shown(one->text + b->taken[i], one->size - b->taken[i], &b->text[i], e) < 0)
            return -1;
        b->taken[i] = one->size;
        b->column[i].text = b->text[i].size ? b->text[i].data : "";
        b->column[i].size = b->text[i].size;
        b->column[i].ended = one->ended;
    }
    buffer_clear(&b->rows);
    if (columns_rows(b->column, b->n, b->width, &b->rows, e) < 0)
        return -1;
    return b->rows.size ? output_write(&s->a->out, b->rows.data, b->rows.size, e) : 0;
}

// The names, cut where they are too long, and a line below them.
static int put_names(struct showing *s, struct beside *b, struct err *e)
{
    struct buffer names;
    int result = 0;
    buffer_init(&names, 0);
    for (size_t i = 0; i < b->n && result == 0; i++) {
        buffer_clear(&b->text[i]);
        result = put_name(s, i / s->samples, i % s->samples, &b->text[i], e);
        size_t size = b->text[i].size;
        while (result == 0 && columns_cells(b->text[i].data, size) > b->width)
            do
                size--;
            while (utf8_continues(b->text[i].data[size]));
        if (result == 0)
            b->column[i] = (struct text_column){b->text[i].data, size, 1, 0};
    }
    if (result == 0)
        result = columns_rows(b->column, b->n, b->width, &names, e);
    for (size_t i = 0; i < b->n && result == 0; i++) {
        for (size_t k = 0; k < b->width && result == 0; k++)
            result = buffer_append(&names, "-", 1, e);
        if (result == 0)
            result = buffer_string(&names, i + 1 < b->n ? "-+-" : "\n", e);
        buffer_clear(&b->text[i]);
        b->column[i] = (struct text_column){"", 0, 0, 0};
    }
    if (result == 0)
        result = output_write(&s->a->out, names.data, names.size, e);
    buffer_release(&names);
    return result;
}

static int show_columns(struct showing *s, struct beside *b, struct err *e)
{
    int ended = 0;
    if (put_names(s, b, e) < 0)
        return -1;
    for (size_t i = 0; i < s->a->n; i++)
        if (begin(s, i, e) < 0)
            return -1;
    while (!ended && !s->stopped) {
        ended = 1;
        for (size_t i = 0; i < s->a->n; i++) {
            if (!s->replies[i].ended && step(s, i, e) < 0)
                return -1;
            ended &= s->replies[i].ended;
        }
        if (!s->stopped && (grow_columns(s, b, e) < 0 || output_flush(&s->a->out, e) < 0))
            return -1;
    }
    for (size_t i = 0; i < s->a->n; i++)
        if (s->stopped && !s->replies[i].ended && replies_stop(&s->replies[i], e) < 0)
            return -1;
    if (grow_columns(s, b, e) < 0 || output_flush(&s->a->out, e) < 0)
        return -1;
    for (size_t i = 0; i < b->n; i++)
        if (tell_end(s, i / s->samples, i % s->samples, e) < 0)
            return -1;
    return 0;
}

static int show_beside(struct showing *s, size_t width, struct err *e)
{
    struct beside b = {.n = s->a->n * s->samples, .width = width};
    buffer_init(&b.rows, 0);
    b.column = mem_alloc(b.n, sizeof *b.column, "columns", e);
    b.text = b.column ? mem_alloc(b.n, sizeof *b.text, "columns", e) : NULL;
    b.taken = b.text ? mem_alloc(b.n, sizeof *b.taken, "columns", e) : NULL;
    for (size_t i = 0; b.taken && i < b.n; i++)
        buffer_init(&b.text[i], 0);
    int result = b.taken ? show_columns(s, &b, e) : -1;
    for (size_t i = 0; b.taken && i < b.n; i++)
        buffer_release(&b.text[i]);
    buffer_release(&b.rows);
    free(b.column);
    free(b.text);
    free(b.taken);
    return result;
}

// ---- for programs -------------------------------------------------------------------------------

static json_t *reply_json(struct showing *s, size_t speaker, size_t sample)
{
    struct asking *a = s->a;
    const struct reply *one = &s->replies[speaker].reply[sample];
    const char *finish = one->finish == FINISH_STOP ? "stop" : "length";
    json_t *object = json_pack("{s:s, s:I}", "model", a->speaker[speaker].label, "sample",
                               (json_int_t)sample + s->options.draw.first_sample);
    if (a->speaker[speaker].chat)
        json_object_set(object, "messages", a->messages[speaker]);
    else
        json_object_set(object, "prompt",
                        json_object_get(json_array_get(a->messages[speaker], 0), "content"));
    json_object_set_new(object, "completion", json_stringn(one->text, one->size));
    json_object_set_new(object, "finish", json_string(finish));
    json_object_set_new(object, "tokens", json_integer((json_int_t)one->tokens));
    json_object_set_new(object, "first_seconds", json_real(one->first));
    json_object_set_new(object, "seconds", json_real(one->seconds));
    return object;
}

static int put_json(struct showing *s, size_t speaker, size_t sample, struct err *e)
{
    json_t *object = reply_json(s, speaker, sample);
    buffer_clear(&s->text);
    int result = object ? json_print(object, &s->text, e) : err_memory(e, 64, "a line");
    json_decref(object);
    if (result < 0 || buffer_append(&s->text, "\n", 1, e) < 0)
        return -1;
    return output_write(&s->a->out, s->text.data, s->text.size, e);
}

static int show_json(struct showing *s, struct err *e)
{
    for (size_t i = 0; i < s->a->n; i++) {
        if (begin(s, i, e) < 0)
            return -1;
        while (!s->replies[i].ended)
            if (step(s, i, e) < 0)
                return -1;
        for (size_t k = 0; k < s->samples; k++)
            if (put_json(s, i, k, e) < 0)
                return -1;
        if (output_flush(&s->a->out, e) < 0)
            return -1;
    }
    return 0;
}

// ---- all ----------------------------------------------------------------------------------------

// Columns of the terminal that several answers fit into side by side; 0: they do not.
static size_t width_beside(const struct showing *s)
{
    struct winsize size;
    size_t n = s->a->n * s->samples;
    if (!s->a->terminal || n < 2 || ioctl(s->a->out.fd, TIOCGWINSZ, &size) < 0)
        return 0;
    return columns_width(size.ws_col, n);
}

int asking_show(struct asking *a, uint32_t first, json_t **keep, int *stopped, struct err *e)
{
    struct showing s = {.a = a, .options = a->o->reply};
    s.options.draw.first_sample = first;
    s.samples = (size_t)s.options.draw.samples;
    buffer_init(&s.text, 0);
    size_t width = width_beside(&s);
    int result = a->o->json ? show_json(&s, e)
                 : width    ? show_beside(&s, width, e)
                            : show_in_turn(&s, e);
    for (size_t i = 0; keep && result == 0 && i < a->n; i++) {
        const struct reply *one = s.replies[i].reply;
        keep[i] = one ? json_stringn(one->text, one->size) : json_string("");
        if (!keep[i])
            result = err_memory(e, one ? one->size : 1, "an answer");
    }
    if (stopped)
        *stopped = s.stopped;
    for (size_t i = 0; i < a->n; i++)
        replies_release(&s.replies[i]);
    buffer_release(&s.text);
    return result;
}
